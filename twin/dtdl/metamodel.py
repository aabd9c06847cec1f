"""The metamodel of DTDL v2, v3 and v4 as data: classes, their properties, ranges and limits.

Source: "DTDL Language Specification" v2, v3 and v4, sections "DTDL element" and "Limits and exclusions"
(github.com/Azure/opendigitaltwins-dtdl). A limit that differs by version is a dict by version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, TypeAlias

Version: TypeAlias = Literal[2, 3, 4]
VERSIONS: tuple[Version, ...] = (2, 3, 4)

NAME_PATTERN = r"[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?"

PRIMITIVE = "Primitive"
GEOSPATIAL = "Geospatial"
UNIT = "Unit"
"""Classes of the standard elements, which documents name and never define."""

COMPLEX = frozenset({"Array", "Enum", "Map", "Object"})
SCHEMA = COMPLEX | {PRIMITIVE, GEOSPATIAL}
CONTENT = frozenset({"Command", "Component", "Property", "Relationship", "Telemetry"})

PropertyKind: TypeAlias = Literal[
    "string", "text", "integer", "boolean", "dtmi", "enum value", "element", "term", "json"
]


@dataclass(frozen=True, slots=True)
class Prop:
    """A property of a class. `text` is a localisable string, `element` elements of the classes in `range`."""

    kind: PropertyKind
    required: bool = False
    range: frozenset[str] = frozenset()
    many: bool = False
    longest: int = 0
    """Characters at most; 0: no limit."""
    pattern: str = ""
    lowest: int | None = None
    highest: int | None = None
    most: int = 0
    """Values at most, for `many`; 0: no limit."""
    inferred: str = ""
    """The class of a value without @type."""
    named: frozenset[str] = frozenset()
    """When not empty: the only standard elements that may stand here."""
    unique: tuple[str, ...] = ()
    """Properties of the values that must differ from value to value."""
    older: bool = False
    """Values may be written in an earlier version of DTDL."""
    identified: bool = False
    """Values must have an @id."""


_CLASSES: dict[str, dict[str, dict[str, object]]] = {
    "Array": {"elementSchema": {"kind": "element", "required": True, "range": SCHEMA, "older": True}},
    "Command": {
        "commandType": {"kind": "element", "range": frozenset({"CommandType"})},
        "request": {"kind": "element", "range": {2: "CommandPayload", 3: "CommandRequest", 4: "CommandRequest"}},
        "response": {"kind": "element", "range": {2: "CommandPayload", 3: "CommandResponse", 4: "CommandResponse"}},
    },
    "CommandPayload": {"schema": {"kind": "element", "required": True, "range": SCHEMA, "older": True}},
    "Component": {"schema": {"kind": "element", "required": True, "range": "Interface!", "older": True}},
    "Enum": {
        "enumValues": {
            "kind": "element",
            "range": "EnumValue",
            "required": {2: True, 3: False, 4: False},
            "many": True,
            "most": {2: 100, 3: 0, 4: 0},
            "unique": ("name", "enumValue"),
        },
        "valueSchema": {
            "kind": "element",
            "required": True,
            "range": frozenset({PRIMITIVE}),
            "named": frozenset({"integer", "string"}),
            "older": True,
        },
    },
    "EnumValue": {"enumValue": {"kind": "enum value", "required": True}},
    "Field": {"schema": {"kind": "element", "required": True, "range": SCHEMA, "older": True}},
    "Interface": {
        "contents": {
            "kind": "element",
            "range": CONTENT,
            "many": True,
            "most": {2: 300, 3: 0, 4: 0},
            "unique": ("name",),
            "older": True,
        },
        "extends": {"kind": "element", "range": "Interface!", "many": True, "most": {2: 2, 3: 0, 4: 0}, "older": True},
        "schemas": {"kind": "element", "range": COMPLEX | {GEOSPATIAL}, "many": True, "identified": True},
    },
    "Map": {
        "mapKey": {"kind": "element", "required": True, "range": "MapKey"},
        "mapValue": {"kind": "element", "required": True, "range": "MapValue"},
    },
    "MapKey": {
        "schema": {
            "kind": "element",
            "required": True,
            "range": frozenset({PRIMITIVE}),
            "named": frozenset({"string"}),
            "older": True,
        }
    },
    "MapValue": {"schema": {"kind": "element", "required": True, "range": SCHEMA, "older": True}},
    "Object": {
        "fields": {
            "kind": "element",
            "range": "Field",
            "required": {2: True, 3: False, 4: False},
            "many": True,
            "most": {2: 30, 3: 0, 4: 0},
            "unique": ("name",),
        }
    },
    "Property": {
        "schema": {"kind": "element", "required": True, "range": SCHEMA, "older": True},
        "writable": {"kind": "boolean"},
    },
    "Relationship": {
        "maxMultiplicity": {"kind": "integer", "lowest": 1, "highest": {2: 500, 3: None, 4: None}},
        "minMultiplicity": {"kind": "integer", "lowest": 0, "highest": 0},
        "properties": {
            "kind": "element",
            "range": frozenset({"Property"}),
            "many": True,
            "most": {2: 300, 3: 0, 4: 0},
            "unique": ("name",),
            "older": True,
        },
        "target": {"kind": "dtmi"},
        "writable": {"kind": "boolean"},
    },
    "Telemetry": {"schema": {"kind": "element", "required": True, "range": SCHEMA, "older": True}},
}
_CLASSES["CommandRequest"] = _CLASSES["CommandResponse"] = {
    **_CLASSES["CommandPayload"],
    "nullable": {"kind": "boolean", "since": 4},
}

_UNNAMED = frozenset({"Array", "Enum", "Interface", "Map", "Object"})


@cache
def classes(version: Version) -> frozenset[str]:
    """The concrete classes that documents of a version may write as @type."""
    payloads = {"CommandPayload"} if version == 2 else {"CommandRequest", "CommandResponse"}
    return frozenset(_CLASSES) - {"CommandPayload", "CommandRequest", "CommandResponse"} | payloads


@cache
def properties(class_: str, version: Version) -> Mapping[str, Prop]:
    """The properties of a class in a version of DTDL."""
    short = 64 if version == 2 else 512
    found: dict[str, Prop] = {
        "comment": Prop("string", longest=512),
        "description": Prop("text", longest=512),
        "displayName": Prop("text", longest=short),
    }
    if class_ not in _UNNAMED:
        found["name"] = Prop("string", required=True, longest=short, pattern=NAME_PATTERN)
    for name, row in _CLASSES[class_].items():
        settings = {key: value[version] if isinstance(value, dict) else value for key, value in row.items()}
        if settings.pop("since", 2) > version:  # type: ignore[operator]
            continue
        within = settings.get("range")
        if isinstance(within, str):
            # "Interface!": a single class that must be written as @type all the same
            settings["range"] = frozenset({within.rstrip("!")})
            settings["inferred"] = "" if within.endswith("!") else within
        found[name] = Prop(**settings)  # type: ignore[arg-type]
    return found


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits over several elements."""

    schema_depth: int
    """elementSchema and schema members on a path from an Array, Map or Object."""
    extends_depth: int
    extends_count: int
    """Interfaces in the hierarchy; 0: no limit beyond those of `extends` itself."""
    content_count: int
    """Contents of an Interface, inherited ones included (v2), or elements below contents (v3, v4)."""


LIMITS: dict[Version, Limits] = {
    2: Limits(schema_depth=5, extends_depth=10, extends_count=0, content_count=300),
    3: Limits(schema_depth=5, extends_depth=10, extends_count=1024, content_count=100_000),
    4: Limits(schema_depth=8, extends_depth=12, extends_count=1024, content_count=100_000),
}

INTERFACE_BYTES = 1024 * 1024
ID_LONGEST = 2048
INTERFACE_ID_LONGEST = 128

_OLD = "boolean date dateTime double duration float integer long string time"
_NEW = "byte bytes decimal short unsignedByte unsignedInteger unsignedLong unsignedShort uuid"
_SHAPES = "lineString multiLineString multiPoint multiPolygon point polygon"
PRIMITIVE_TERMS: dict[Version, frozenset[str]] = {
    2: frozenset(_OLD.split()),
    3: frozenset(_OLD.split()),
    4: frozenset(f"{_OLD} {_NEW}".split()),
}
GEOSPATIAL_TERMS = frozenset(_SHAPES.split())
_NUMBERS = "byte decimal double float integer long short unsignedByte unsignedInteger unsignedLong unsignedShort"
NUMERIC_TERMS = frozenset(_NUMBERS.split())

STANDARD_DEPTH: dict[str, int] = {
    "geopoint": 1,
    "vector": 1,
    "scaledDecimal": 1,
    "point": 2,
    "lineString": 3,
    "multiPoint": 3,
    "polygon": 4,
    "multiLineString": 4,
    "multiPolygon": 5,
}
"""Schemas that stand within a standard schema: a point is an Object with an Array of numbers."""

_RESERVED_CLASSES = (
    "AdjunctType Alias Boolean CommandType ComplexSchema Content Date DateTime Double DtdlExtension Duration Entity "
    "Float Integer LatentType Long NamedEntity NamedLatentType NumericSchema PrimitiveSchema Schema SchemaField "
    "SemanticType SemanticUnit String TemporalSchema Time Unit UnitAttribute CommandPayload metamodel model"
)
_RESERVED_PROPERTIES = "aliasFor exponent languageMajorVersion symbol"
_RESERVED_2 = (
    "Boolean CommandType ComplexSchema Content Date DateTime Double Duration Entity Float Integer Long NamedEntity "
    "NumericSchema PrimitiveSchema Schema SchemaField SemanticType SemanticUnit String TemporalSchema Time Unit "
    "UnitAttribute BinaryPrefix BinaryUnit DecimalPrefix DecimalUnit QuantitativeType RatioUnit"
)
_PROPERTIES_2 = "baseUnit bottomUnit exponent languageMajorVersion prefix symbol topUnit unit"
_PREFIXES_2 = (
    "atto centi deci deka exa exbi femto gibi giga hecto kibi kilo mebi mega micro milli nano pebi peta pico tebi tera "
    "yobi yocto yotta zebi zepto zetta"
)


@cache
def reserved_terms(version: Version) -> Mapping[str, str]:
    """Every term of the core language by its DTMI's kind: `class`, `property`, `instance`, ..."""
    found = dict.fromkeys(classes(version), "class")
    if version == 2:
        found |= dict.fromkeys(_RESERVED_2.split(), "class") | dict.fromkeys(_PROPERTIES_2.split(), "property")
        found |= dict.fromkeys(_PREFIXES_2.split(), "unitprefix")
    else:
        found |= dict.fromkeys(_RESERVED_CLASSES.split(), "class")
        found |= dict.fromkeys(_RESERVED_PROPERTIES.split(), "property")
    if version == 4:
        found |= {name[0].upper() + name[1:]: "class" for name in _NEW.split()} | {"scaledDecimal": "schema"}
    found |= {name: "property" for class_ in classes(version) for name in properties(class_, version)}
    found |= dict.fromkeys(PRIMITIVE_TERMS[version], "instance") | dict.fromkeys(GEOSPATIAL_TERMS, "geospatial")
    return found | dict.fromkeys(("asynchronous", "synchronous"), "command type")


@dataclass(frozen=True, slots=True)
class Adjunct:
    """A type that an extension (or DTDL v2 itself) lets documents add to an element of the classes in `on`."""

    name: str
    dtmi: str
    versions: frozenset[int]
    on: frozenset[str]
    properties: Mapping[str, Prop] = field(default_factory=dict)
    property_dtmis: Mapping[str, str] = field(default_factory=dict)
    """DTMI -> term of the properties it adds."""
    schema: frozenset[str] = frozenset()
    """When not empty: what the element's schema must be: terms of primitives and names of classes."""
    with_: str = ""
    """The adjunct type that must be there, too."""
    semantic: bool = False
    """One at most of these at an element."""
    unit_type: str = ""
    never: str = ""
    """A boolean property of the element that must not be true."""
    unique_property: str = ""
    """A property whose values must differ among the elements of one parent."""
