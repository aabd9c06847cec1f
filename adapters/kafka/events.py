"""Signals as CloudEvents 1.0 (JSON format): one event a twin, with an id that a second sending repeats.

The id is made of the seq and the place in the signal, so that whoever reads the topic drops duplicates by
(`source`, `id`). The key is the twin: all events of a twin stay in order in one partition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from twinloom.twin import signals
from twinloom.twin.ids import TwinId

Names = Callable[[int], tuple[TwinId, str] | None]
"""slot -> (twin, path), or None when the slot is dead."""

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Event:
    key: str
    id: str
    type: str
    body: bytes


def events_of(signal: signals.AnySignal, names: Names, source: str) -> Iterator[Event]:
    """The events of one signal. `source` names this server (a URI reference)."""
    base = type(signal).__name__
    kind = "com.twinloom." + _WORDS.sub(".", base).lower()
    seq, at = signal.seq, time_text(signal.time_ns)

    def event(key: str, number: int, data: object) -> Event:
        return envelope(source, f"{seq}-{number}", kind, key, at, {"seq": seq, "cause": signal.cause, **_dict(data)})

    match signal:
        case signals.ReadingsFolded():
            for number, (twin, values) in enumerate(_by_twin(signal, names).items()):
                yield event(twin, number, {"origin": signal.source, "values": values})
        case signals.TwinCreated() | signals.TwinDeleted():
            yield event(signal.twin, 0, {"twin": signal.twin, "model": signal.model})
        case signals.TwinUpdated():
            yield event(signal.twin, 0, {"twin": signal.twin, "paths": signal.paths})
        case signals.RelationshipCreated() | signals.RelationshipDeleted():
            yield event(signal.relationship.source, 0, {"relationship": signal.relationship})
        case signals.ModelsChanged():
            yield event("", 0, {"uploaded": signal.uploaded, "deleted": signal.deleted})
        case signals.RulScored():
            for number, estimate in enumerate(signal.estimates):
                yield event(estimate.twin, number, {"estimate": estimate})
        case signals.AlertRaised() | signals.AlertAcknowledged() | signals.AlertCleared():
            yield event(signal.alert.twin, 0, {"alert": signal.alert})
        case signals.WorkOrderOpened() | signals.WorkOrderClosed():
            yield event(signal.order.twin, 0, {"work_order": signal.order})
        case signals.GapMarked():
            for number, twin in enumerate(signal.gap.twins or ("",)):
                yield event(twin, number, {"gap": signal.gap})
        case signals.SourceStateChanged():
            for number, twin in enumerate(signal.twins or ("",)):
                yield event(twin, number, {"origin": signal.source, "state": signal.state, "reason": signal.reason})


def feed_gap(source: str, from_seq: int, to_seq: int, time_ns: int) -> Event:
    """Signals from `from_seq` to `to_seq` (inclusive) were not produced one by one: read the state anew."""
    data = {"from_seq": from_seq, "to_seq": to_seq}
    return envelope(source, f"gap-{from_seq}-{to_seq}", "com.twinloom.feed.gap", "", time_text(time_ns), data)


def change(source: str, seq: int, number: int, time_ns: int, cause: str, document: Mapping[str, object]) -> Event:
    """A durable change from the graph's change log, for a time that the feed no longer holds."""
    inner = document.get("document")
    key = inner.get("twin") if isinstance(inner, dict) else document.get("source") or document.get("id")
    data = {"seq": seq, "cause": cause, "change": document}
    return envelope(source, f"{seq}-c{number}", "com.twinloom.change", str(key or ""), time_text(time_ns), data)


def envelope(source: str, id: str, kind: str, key: str, time: str, data: object) -> Event:
    document = {
        "specversion": "1.0", "id": id, "source": source, "type": kind, "time": time,
        "datacontenttype": "application/json", "data": data,
    }  # fmt: skip
    if key:
        document["subject"] = key
    return Event(key, id, kind, orjson.dumps(document, default=_plain, option=_OPTIONS))


def time_text(time_ns: int) -> str:
    """RFC 3339 with nanoseconds.

    >>> time_text(1_700_000_000_000_000_001)
    '2023-11-14T22:13:20.000000001Z'
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _by_twin(signal: signals.ReadingsFolded, names: Names) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    columns = (signal.slots, signal.values, signal.source_times_ns, signal.quality)
    for slot, value, time_ns, quality in zip(*(column.tolist() for column in columns), strict=True):
        name = names(slot)
        if name is not None:
            row = {"path": name[1], "value": value, "time": time_text(time_ns), "quality": quality}
            found.setdefault(name[0], []).append(row)
    for text in signal.texts:
        row = {"path": text.path, "value": text.value, "time": time_text(text.source_time_ns), "quality": text.quality}
        found.setdefault(text.twin, []).append(row)
    return found


def _dict(data: object) -> dict[str, object]:
    assert isinstance(data, dict)
    return data


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
