"""Schemas: the shape of a value. A closed union of five kinds, all immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from twinloom.twin.instance import Json

NUMERIC = frozenset({"double", "float", "integer", "short", "byte", "unsignedShort", "unsignedByte", "unsignedInteger"})
"""Primitives whose every value a float64 column holds exactly. Long and decimal are not among them."""

GEOSPATIAL = frozenset({"point", "lineString", "polygon", "multiPoint", "multiLineString", "multiPolygon"})
"""Named GeoJSON geometries (RFC 7946), `Primitive`s here."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A built-in schema by its DTDL term: `double`, `string`, `dateTime`, `point`, ..."""

    name: str


@dataclass(frozen=True, slots=True)
class Enum:
    """`values` maps each enum value's name to the JSON value (integer or string) that stands for it."""

    value_schema: str
    values: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Array:
    element: Schema


@dataclass(frozen=True, slots=True)
class Map:
    """A JSON object with names from the application; `key` is always the string schema."""

    key: Schema
    value: Schema


@dataclass(frozen=True, slots=True)
class ObjectField:
    name: str
    schema: Schema
    display_name: str = ""
    unit: str = ""
    required: bool = False
    """True when the requirement extension makes the field required."""


@dataclass(frozen=True, slots=True)
class Object:
    fields: Mapping[str, ObjectField]


Schema: TypeAlias = Primitive | Enum | Array | Map | Object


def kind(schema: Schema) -> Literal["primitive", "enum", "array", "map", "object"]:
    """The schema's kind, in lower case.

    >>> kind(Array(Primitive("double")))
    'array'
    """
    match schema:
        case Primitive():
            return "primitive"
        case Enum():
            return "enum"
        case Array():
            return "array"
        case Map():
            return "map"
        case Object():
            return "object"
