"""OPC UA values of the slow lane as plain JSON: text, enumerations, structures, arrays."""

from __future__ import annotations

import base64
import dataclasses
import enum
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncua import ua

from twinloom.twin.instance import Json

_DEEPEST = 8


def plain(value: Any, depth: int = 0) -> Json:
    """`value` as JSON: LocalizedText and QualifiedName become their text, DateTime ISO 8601, ByteString base64,
    a structure an object. NaN, infinities and what nests deeper than eight levels become None.

    >>> plain(ua.LocalizedText("Leerlauf", "de"))
    'Leerlauf'
    """
    match value:
        case None | bool() | str():
            return value
        case enum.Enum():
            return plain(value.value, depth)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case ua.LocalizedText():
            return value.Text
        case ua.QualifiedName():
            return value.Name
        case ua.NodeId():
            return value.to_string()
        case ua.StatusCode():
            return int(value.value)
        case UUID():
            return str(value)
        case ua.Variant():
            return plain(value.Value, depth)
    if depth >= _DEEPEST:
        return None
    if isinstance(value, list | tuple):
        return [plain(entry, depth + 1) for entry in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            entry.name: plain(getattr(value, entry.name), depth + 1)
            for entry in dataclasses.fields(value)
            if entry.name != "Encoding"
        }
    return str(value)
