"""Which words a context brings: terms and DTMIs of the core language and of each known extension.

Sources: "Reserved strings", "Standard schemas" and (v2) "Semantic types" of the DTDL specifications, and the document
of each extension (DTDL.annotation.v2.md, ...). Extensions whose contexts the reference parser 1.1.3 does not know
(layering, mqtt;3, iotoperations, ...) are unknown here, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from twinloom.twin.dtdl.metamodel import (
    GEOSPATIAL,
    GEOSPATIAL_TERMS,
    NUMERIC_TERMS,
    PRIMITIVE,
    UNIT,
    VERSIONS,
    Adjunct,
    Prop,
    Version,
    classes,
    properties,
    reserved_terms,
)
from twinloom.twin.unit_names import UNITS

SEMANTIC_UNITS: dict[str, str] = {
    **{
        kind.removesuffix("Unit"): kind
        for kind in dict.fromkeys(unit.kind for unit in UNITS.values())
        if kind not in ("Unitless", "ChargeUnit", "Unit")
    },
    "Concentration": "Unitless",
    "Distance": "LengthUnit",
    "ElectricCharge": "ChargeUnit",
    "EnergyRate": "PowerUnit",
    "Humidity": "DensityUnit",
    "Latitude": "AngleUnit",
    "Longitude": "AngleUnit",
    "Luminosity": "PowerUnit",
    "RelativeDensity": "Unitless",
    "RelativeHumidity": "Unitless",
    "Thrust": "ForceUnit",
    "TimeSpan": "TimeUnit",
}
del SEMANTIC_UNITS["Time"]
"""Semantic type -> unit type (quantitativeTypes v1 and v2, the same table)."""

_NEW_TYPES = (
    "ApparentEnergy ApparentPower Concentration EnergyRate IonizingRadiationDose Irradiance Radioactivity "
    "ReactiveEnergy ReactivePower RelativeDensity"
)
_SINCE_QUANTITATIVE_TYPES = frozenset(_NEW_TYPES.split())
_NEW_UNITS = (
    "partsPerBillion partsPerMillion partsPerQuadrillion partsPerTrillion kiloampere microgramPerCubicMetre "
    "milligramPerCubicMetre ampereHour milliampereHour britishThermalUnit gigawattHour kiloBritishThermalUnit "
    "megawattHour milliwattHour terawattHour wattHour britishThermalUnitPerHour gigajoulePerHour joulePerHour "
    "joulePerSecond kiloBritishThermalUnitPerHour kilojoulePerHour kilojoulePerSecond megajoulePerHour "
    "tonOfRefrigeration millihertz massPoundPerHour decapascal hectopascal gauss cubicFootPerMinute "
    "cubicMetrePerHour cubicMetrePerMinute cubicMetrePerSecond gallonPerHour gallonPerMinute litrePerMinute "
    "millilitrePerMinute massPound"
)
_UNITS_SINCE_QUANTITATIVE_TYPES = frozenset(_NEW_UNITS.split())
_KINDS_SINCE_QUANTITATIVE_TYPES = frozenset(f"{name}Unit" for name in _SINCE_QUANTITATIVE_TYPES)


@dataclass(frozen=True, slots=True)
class Standard:
    """An element that the language defines: a primitive, a unit, a unit type as a schema, a command type."""

    dtmi: str
    term: str
    class_: str
    version: Version | None
    """The DTDL version that it belongs to; None for units of extensions."""
    unit_type: str = ""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a context adds. All by DTMI but `terms`, which leads from a term to its DTMI."""

    terms: Mapping[str, str]
    classes: Mapping[str, str]
    properties: Mapping[str, str]
    adjuncts: Mapping[str, Adjunct]
    standards: Mapping[str, Standard]
    abstract_types: frozenset[str] = frozenset()


@cache
def core(version: Version) -> Vocabulary:
    """The words of `dtmi:dtdl:context;2`, `;3` or `;4`."""
    terms: dict[str, str] = {}
    standards: dict[str, Standard] = {}
    adjuncts: dict[str, Adjunct] = {}

    def standard(dtmi: str, term: str, class_: str, unit_type: str = "") -> str:
        standards[dtmi] = Standard(dtmi, term, class_, version, unit_type)
        return dtmi

    for term, kind in reserved_terms(version).items():
        match kind:
            case "instance":
                terms[term] = standard(f"dtmi:dtdl:instance:Schema:{term};{version}", term, PRIMITIVE)
            case "geospatial":
                terms[term] = standard(f"dtmi:standard:schema:geospatial:{term};{version}", term, GEOSPATIAL)
            case "schema":
                terms[term] = standard(f"dtmi:standard:schema:{term};{version}", term, "Object")
            case "command type":
                terms[term] = standard(f"dtmi:dtdl:instance:CommandType:{term};{version}", term, "CommandType")
            case "unitprefix":
                terms[term] = f"dtmi:standard:unitprefix:{term};{version}"
            case _:
                terms[term] = f"dtmi:dtdl:{kind}:{term};{version}"
    if version == 2:
        for term, unit in UNITS.items():
            if term not in _UNITS_SINCE_QUANTITATIVE_TYPES and unit.kind not in _KINDS_SINCE_QUANTITATIVE_TYPES:
                terms[term] = standard(f"dtmi:standard:unit:{term};2", term, UNIT, unit.kind)
                terms[unit.kind] = f"dtmi:standard:class:{unit.kind};2"
        for name, unit_type in SEMANTIC_UNITS.items():
            if name not in _SINCE_QUANTITATIVE_TYPES:
                dtmi = f"dtmi:standard:class:{name};2"
                terms[name] = dtmi
                adjuncts[dtmi] = _semantic(name, dtmi, "dtmi:dtdl:property:unit;2", unit_type, 2, "Property Telemetry")
    found_classes = {f"dtmi:dtdl:class:{name};{version}": name for name in classes(version)}
    found_properties = {
        f"dtmi:dtdl:property:{name};{version}": name
        for class_ in classes(version)
        for name in properties(class_, version)
    }
    abstract = frozenset(f"dtmi:dtdl:class:{name};{version}" for name in ("SemanticType", "AdjunctType"))
    if version == 2:
        abstract |= {"dtmi:standard:class:QuantitativeType;2"}
    return Vocabulary(terms, found_classes, found_properties, adjuncts, standards, abstract)


def _semantic(name: str, dtmi: str, property_: str, unit_type: str, version: int, on: str) -> Adjunct:
    return Adjunct(
        name=name,
        dtmi=dtmi,
        versions=frozenset({version}),
        on=frozenset(on.split()),
        properties={"unit": Prop("element", required=True, range=frozenset({UNIT}))},
        property_dtmis={property_: "unit"},
        schema=NUMERIC_TERMS,
        semantic=True,
        unit_type=unit_type,
    )


def _quantitative_types(number: int, version: Version) -> Vocabulary:
    space = f"dtmi:dtdl:extension:quantitativeTypes:v{number}"
    on = "CommandRequest CommandResponse Field MapValue Property Telemetry"
    terms: dict[str, str] = {"unit": f"{space}:property:unit"}
    adjuncts = {}
    standards = {}
    for name, unit_type in SEMANTIC_UNITS.items():
        dtmi = f"{space}:class:{name}"
        terms[name] = dtmi
        adjuncts[dtmi] = _semantic(name, dtmi, terms["unit"], unit_type, version, on)
    for term, unit in UNITS.items():
        dtmi = f"{space}:unit:{term}"
        # "byte" is DTDL v4's primitive, too: the core language's term stands, the unit is written as its DTMI
        terms[term] = dtmi
        standards[dtmi] = Standard(dtmi, term, UNIT, None, unit.kind)
        kind = f"{space}:enum:{unit.kind}"
        terms[unit.kind] = kind
        standards[kind] = Standard(kind, unit.kind, "Enum", version, unit.kind)
    alias = f"{space}:enum:EnergyRateUnit"
    terms["EnergyRateUnit"] = alias
    standards[alias] = Standard(alias, "EnergyRateUnit", "Enum", version, "PowerUnit")
    terms["QuantitativeType"] = f"{space}:class:QuantitativeType"
    return Vocabulary(terms, {}, {}, adjuncts, standards, frozenset({terms["QuantitativeType"]}))


def _extension(name: str, number: int, *rows: tuple[str, str, str, Mapping[str, object]], versions: str) -> Vocabulary:
    """Adjunct types as rows of (name, classes, schema constraint, settings); properties among the settings."""
    space = f"dtmi:dtdl:extension:{name}:v{number}"
    terms: dict[str, str] = {}
    adjuncts: dict[str, Adjunct] = {}
    allowed = frozenset(int(version) for version in versions.split())
    for type_, on, schema, settings in rows:
        rest = dict(settings)
        added: Mapping[str, Prop] = rest.pop("properties", {})  # type: ignore[assignment]
        dtmi = f"{space}:{type_}"
        terms[type_] = dtmi
        named = {f"{space}:{type_}:{property_}": property_ for property_ in added}
        terms |= {property_: property_dtmi for property_dtmi, property_ in named.items()}
        adjuncts[dtmi] = Adjunct(
            name=type_,
            dtmi=dtmi,
            versions=allowed,
            on=frozenset(on.split()),
            properties=added,
            property_dtmis=named,
            schema=frozenset(schema.split()),
            **rest,  # type: ignore[arg-type]
        )
    return Vocabulary(terms, {}, {}, adjuncts, {})


_LABEL = r"[\x21\x24-\x2a\x2c-\x2e\x30-\x7a\x7c\x7e]"
_TOKEN = r"\{(?:[A-Za-z]+:)?[A-Za-z]+\}"
_TOPIC = rf"(?!\$)(?:{_LABEL}+|{_TOKEN})(?:/(?:{_LABEL}+|{_TOKEN}))*"


def _mqtt(number: int, versions: str) -> Vocabulary:
    topics = {name: Prop("string", pattern=_TOPIC) for name in ("commandTopic", "telemetryTopic")}
    groups = {name: Prop("string", pattern=f"{_LABEL}+") for name in ("cmdServiceGroupId", "telemServiceGroupId")}
    interface = {"payloadFormat": Prop("string", required=True), **topics, **(groups if number > 1 else {})}
    ttl = Prop("string", required=True, pattern=_DURATION)
    index = {"index": Prop("integer", required=True, lowest=1)}
    rows: list[tuple[str, str, str, Mapping[str, object]]] = [
        ("Mqtt", "Interface", "", {"properties": interface}),
        ("Idempotent", "Command", "", {}),
        ("Cacheable", "Command", "", {"properties": {"ttl": ttl}, "with_": "Idempotent"}),
        ("Indexed", "EnumValue Field Telemetry", "", {"properties": index, "unique_property": "index"}),
    ]
    if number > 1:
        rows.append(("Transparent", "CommandRequest CommandResponse", "Object", {}))
    return _extension("mqtt", number, *rows, versions=versions)


_DURATION = r"P(?=[^\s])(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?"


def _annotation(number: int, versions: str) -> Vocabulary:
    added = {"annotates": Prop("string", required=True)}
    return _extension(
        "annotation", number, ("ValueAnnotation", "Property Telemetry", "", {"properties": added}), versions=versions
    )


def _overriding(number: int, versions: str) -> Vocabulary:
    settings = {"properties": {"overrides": Prop("term", required=True)}, "with_": "ValueAnnotation"}
    return _extension("overriding", number, ("Override", "Property", "", settings), versions=versions)


def _historization(number: int, versions: str) -> Vocabulary:
    return _extension("historization", number, ("Historized", "Property Telemetry", "", {}), versions=versions)


def _iotcentral() -> Vocabulary:
    geometry = " ".join(sorted(GEOSPATIAL_TERMS))
    on = "Property Telemetry"
    types = {
        "State": ("Enum", ""),
        "Event": ("double float integer long string", ""),
        "Location": (f"{geometry} geopoint", ""),
        "VelocityVector": ("vector", "VelocityUnit"),
        "AccelerationVector": ("vector", "AccelerationUnit"),
    }
    unit = {"unit": Prop("element", range=frozenset({UNIT}))}
    adjuncts = {
        f"dtmi:iotcentral:class:{name};2": Adjunct(
            name=name,
            dtmi=f"dtmi:iotcentral:class:{name};2",
            versions=frozenset({2}),
            on=frozenset(on.split()),
            properties=unit if unit_type else {},
            property_dtmis={"dtmi:dtdl:property:unit;2": "unit"} if unit_type else {},
            schema=frozenset(schema.split()),
            semantic=True,
            unit_type=unit_type,
        )
        for name, (schema, unit_type) in types.items()
    }
    standards = {
        f"dtmi:iotcentral:schema:{term};2": Standard(f"dtmi:iotcentral:schema:{term};2", term, "Object", None)
        for term in ("geopoint", "vector")
    }
    terms = {adjunct.name: dtmi for dtmi, adjunct in adjuncts.items()}
    return Vocabulary(terms | {held.term: dtmi for dtmi, held in standards.items()}, {}, {}, adjuncts, standards)


PREVIEWS: Mapping[str, tuple[Version, ...]] = {
    "dtmi:dtdl:extension:initialization;1": (2, 3),
    "dtmi:dtdl:extension:streaming;1": (3,),
}
"""Published as previews and unknown to the reference parser 1.1.3; with the versions of DTDL they are for."""


@cache
def extensions() -> Mapping[str, Vocabulary]:
    """The known extension contexts by their specifiers."""
    initial = {"properties": {"initialValue": Prop("json", required=True)}}
    space = "dtmi:dtdl:extension"
    return {
        f"{space}:quantitativeTypes;1": _quantitative_types(1, 3),
        f"{space}:quantitativeTypes;2": _quantitative_types(2, 4),
        f"{space}:annotation;1": _annotation(1, "3"),
        f"{space}:annotation;2": _annotation(2, "3 4"),
        f"{space}:overriding;1": _overriding(1, "3"),
        f"{space}:overriding;2": _overriding(2, "3 4"),
        f"{space}:historization;1": _historization(1, "3"),
        f"{space}:historization;2": _historization(2, "3 4"),
        f"{space}:requirement;1": _extension("requirement", 1, ("Required", "Field", "", {}), versions="3 4"),
        f"{space}:initialization;1": _extension(
            "initialization", 1, ("Initialized", "Property", "", initial), versions="2 3"
        ),
        f"{space}:streaming;1": _extension(
            "streaming", 1, ("Streaming", "Property", "", {"never": "writable"}), versions="3"
        ),
        f"{space}:mqtt;1": _mqtt(1, "3"),
        f"{space}:mqtt;2": _mqtt(2, "3 4"),
        "dtmi:iotcentral:context;2": _iotcentral(),
    }


def merged(parts: Iterable[Vocabulary]) -> Vocabulary:
    """Several vocabularies as one; of two meanings of a term the first stands."""
    terms: dict[str, str] = {}
    classes_: dict[str, str] = {}
    properties_: dict[str, str] = {}
    adjuncts: dict[str, Adjunct] = {}
    standards: dict[str, Standard] = {}
    abstract: frozenset[str] = frozenset()
    for part in parts:
        terms = {**part.terms, **terms}
        classes_ |= part.classes
        properties_ |= part.properties
        adjuncts |= part.adjuncts
        standards |= part.standards
        abstract |= part.abstract_types
    return Vocabulary(terms, classes_, properties_, adjuncts, standards, abstract)


@cache
def standard_elements() -> Mapping[str, Standard]:
    """Every standard element of every version and extension: references by DTMI may reach back to older versions."""
    every = [core(version) for version in VERSIONS] + list(extensions().values())
    return {dtmi: held for part in every for dtmi, held in part.standards.items()}
