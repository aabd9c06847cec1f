"""A twin, its relationships and its values, as plain data.

Properties are plain JSON values keyed by the content names of the model; the properties of a DTDL component are a
nested object under the component's name. A *path* addresses one value: `temperature`, or `controller.mode` for a
component's property (DTDL names have no dots).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from twinloom.twin.ids import ModelId, TwinId

Json: TypeAlias = Any
"""None, bool, int, float, str, list[Json] or dict[str, Json]."""


@dataclass(frozen=True, slots=True)
class Twin:
    """What the store keeps of a twin. `etag` changes with each structural write (not with telemetry)."""

    id: TwinId
    model: ModelId
    properties: Mapping[str, Json] = field(default_factory=dict)
    etag: str = ""
    seq: int = 0
    created_ns: int = 0
    updated_ns: int = 0


@dataclass(frozen=True, slots=True)
class Relationship:
    """A directed, named edge. `id` is unique among the relationships of `source`."""

    id: str
    source: TwinId
    name: str
    target: TwinId
    properties: Mapping[str, Json] = field(default_factory=dict)
    etag: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class PropertyValue:
    """The last value at a path. Times are ns since 1970 UTC; `quality` is an OPC UA StatusCode (0 = Good)."""

    value: Json
    source_time_ns: int
    received_ns: int
    quality: int
    seq: int
