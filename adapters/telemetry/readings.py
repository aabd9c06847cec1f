"""A list of readings (`shape: readings`) as msgspec structs that are made for its rule."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec

from twinloom.adapters.telemetry.rules import Rule
from twinloom.adapters.telemetry.templates import steps


class ReadingsReader:
    """Decodes the readings of one rule into structs: with numbers only where it can, else with any values."""

    def __init__(self, rule: Rule) -> None:
        self._names = [f"f{i}" for i in range(len(rule.fields))]
        self._name: Callable[[Any], Any] = attrgetter(*self._names, "name")
        names = {"name": rule.name, "value": rule.value, **dict(zip(self._names, rule.fields, strict=True))}
        optional = {key: getattr(rule, key)[1:] for key in ("time", "quality") if getattr(rule, key).startswith(".")}
        names.update(optional)
        rename = names.get
        self._whole = rule.at == ""
        self._at = rule.at
        self._needs_message = bool(rule.context) or "/" in (rule.time[:1], rule.quality[:1])
        self._decoders: list[msgspec.json.Decoder[Any]] = []
        for value_type in (float, Any):
            columns: list[tuple[str, Any]] = [("name", str), ("value", value_type)]
            columns += [(name, str | int) for name in self._names]
            columns += [(key, Any) for key in optional]
            reading: Any = msgspec.defstruct("Reading", columns, rename=rename, gc=False)
            shape: Any = list[reading]
            for step in reversed(steps(rule.at)):
                shape = msgspec.defstruct("Message", [("inner", shape)], rename={"inner": step}.get)
            self._decoders.append(msgspec.json.Decoder(shape))
        self._single = msgspec.json.Decoder(list[Any])

    def read(self, payload: bytes) -> tuple[list[Any], bool, Any]:
        """(readings, all values are numbers, the message where a pointer needs it). Raises msgspec.DecodeError."""
        if self._whole and payload[:1] == b"{":
            payload = b"[" + payload + b"]"
        try:
            found, numeric = self._decoders[0].decode(payload), True
        except msgspec.ValidationError:
            found, numeric = self._decoders[1].decode(payload), False
        while not isinstance(found, list):
            found = found.inner
        message = msgspec.json.decode(payload) if self._needs_message else None
        return found, numeric, message

    def names(self, readings: list[Any]) -> list[Any]:
        """What each reading is called: its name, or a tuple of its fields and its name."""
        return list(map(self._name, readings))

    def parts(self, name: Any) -> tuple[tuple[str, ...], str]:
        """A name of `names` as (fields as texts, name)."""
        if isinstance(name, tuple):
            return tuple(map(str, name[:-1])), str(name[-1])
        return (), str(name)
