"""CloudEvents 1.0 in all three content modes: structured and batched (JSON format), and binary (`ce_` headers)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from twinloom.adapters.telemetry.scalars import Poison


class _Envelope(msgspec.Struct):
    """A CloudEvent in structured mode (CloudEvents 1.0, JSON format)."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str = ""
    time: str = ""
    data: msgspec.Raw = msgspec.Raw()


_ONE = msgspec.json.Decoder(_Envelope)
_MANY = msgspec.json.Decoder(list[_Envelope])


def events(payload: bytes, headers: Mapping[str, str]) -> Iterator[tuple[bytes, dict[str, str]]]:
    """(data, attributes by `ce_` name) of each event. Raises msgspec.DecodeError; Poison for an event without data."""
    if "ce_id" in headers:
        yield payload, {name: value for name, value in headers.items() if name.startswith("ce_")}
        return
    for event in _MANY.decode(payload) if payload[:1] == b"[" else [_ONE.decode(payload)]:
        data = bytes(event.data)
        if not data:
            raise Poison("no_data", f"the event {event.id[:80]!r} has no JSON data")
        attributes = {"id": event.id, "source": event.source, "type": event.type, "subject": event.subject}
        yield data, {**{f"ce_{name}": value for name, value in attributes.items()}, "ce_time": event.time}
