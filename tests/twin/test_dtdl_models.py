"""What parsed models tell: Interfaces, contents, hierarchy, fields; and the rules that hold between documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinloom.twin.dtdl import (
    EMPTY,
    Array,
    CommandType,
    ComponentType,
    Document,
    DtdlError,
    Enum,
    Map,
    Models,
    Object,
    Payload,
    Primitive,
    Property,
    RelationshipType,
    Telemetry,
    parse,
)
from twinloom.twin.errors import ModelViolation, NotFound
from twinloom.twin.ids import ModelId
from twinloom.twin.units import canonical

CNC = Path(__file__).parents[2] / "examples" / "cnc" / "models"
MACHINE = ModelId("dtmi:com:twinloom:cnc:CncMachine;1")
SPINDLE = ModelId("dtmi:com:twinloom:cnc:Spindle;1")
ASSET = ModelId("dtmi:com:twinloom:cnc:Asset;1")
QUANTITIES = "dtmi:dtdl:extension:quantitativeTypes;1"


def interface(id: str, version: int = 3, extensions: tuple[str, ...] = (), **members: Any) -> dict[str, Any]:
    context = [f"dtmi:dtdl:context;{version}", *extensions]
    return {"@context": context, "@id": id, "@type": "Interface", **members}


def codes(*documents: Any, base: Models = EMPTY) -> list[str]:
    with pytest.raises(DtdlError) as caught:
        parse(documents, base=base)
    return [defect.code for defect in caught.value.errors]


@pytest.fixture(scope="module")
def cnc() -> Models:
    return parse(Document(path.read_bytes(), path.name) for path in sorted(CNC.glob("*.json")))


def test_the_example_plant_has_its_ten_models(cnc: Models) -> None:
    assert len(cnc) == 10
    assert MACHINE in cnc and "dtmi:com:twinloom:cnc:Nothing;1" not in cnc
    assert set(cnc) == set(cnc.interfaces)
    assert cnc.get("dtmi:com:twinloom:cnc:Nothing;1") is None


def test_every_unit_of_the_example_plant_is_a_unit(cnc: Models) -> None:
    units = {field.unit for model in cnc for field in cnc.fields(model).values()} - {""}
    assert units >= {"mm/s", "mm/min", "percent", "degreeCelsius", "revolutionPerMinute", "kilowatt", "hour"}
    assert {canonical(unit) for unit in units} == units


def test_fields_hold_inherited_ones_and_those_of_components_by_dotted_path(cnc: Models) -> None:
    fields = cnc.fields(MACHINE)
    assert list(fields)[:2] == ["serial_number", "manufacturer"]
    override = fields["controller.feed_override"]
    assert (override.kind, override.writable, override.numeric, override.unit) == ("property", True, True, "percent")
    assert override.declared_in == "dtmi:com:twinloom:cnc:CncController;1"
    assert not fields["controller.operating_mode"].numeric
    assert fields["feed_rate"].unit == "mm/min" and fields["feed_rate"].kind == "telemetry"
    assert fields["name"].declared_in == ASSET


def test_the_hierarchy_is_transitive(cnc: Models) -> None:
    assert cnc.is_a(SPINDLE, ASSET) and cnc.is_a(SPINDLE, SPINDLE) and not cnc.is_a(ASSET, SPINDLE)
    assert cnc.subtypes(SPINDLE) == {SPINDLE}
    assert cnc.subtypes(ASSET) >= {ASSET, SPINDLE, MACHINE}
    with pytest.raises(NotFound):
        cnc.is_a("dtmi:no:such;1", ASSET)


def test_models_without_some_are_the_others(cnc: Models) -> None:
    fewer = cnc.without([SPINDLE])
    assert SPINDLE not in fewer and len(fewer) == 9 and SPINDLE in cnc
    assert SPINDLE not in fewer.subtypes(ASSET)


def test_contents_tell_where_they_are_declared_and_on_which_line(cnc: Models) -> None:
    found = cnc.interface(SPINDLE).contents["speed"]
    assert isinstance(found, Telemetry)
    assert found.declared_in == SPINDLE and found.semantic_types == ("AngularVelocity",)
    document = json.loads((CNC / "Spindle.json").read_text())
    assert document["contents"][int(found.pointer.rpartition("/")[2])]["name"] == "speed"
    lines = (CNC / "Spindle.json").read_text().splitlines()
    assert found.file == "Spindle.json" and lines[found.line - 1].strip() == "{"


def test_all_kinds_of_contents_and_schemas_are_read() -> None:
    models = parse(
        [
            interface("dtmi:com:example:Part;1", contents=[{"@type": "Property", "name": "mass", "schema": "double"}]),
            interface(
                "dtmi:com:example:All;1",
                extensions=(QUANTITIES,),
                displayName={"de": "Alles", "en": "All"},
                description=[{"@value": "Tout", "@language": "fr"}],
                schemas={"@id": "dtmi:com:example:list;1", "@type": "Array", "elementSchema": "string"},
                contents=[
                    {"@type": ["Telemetry", "Temperature"], "name": "t", "schema": "float", "unit": "kelvin"},
                    {"@type": "Property", "name": "tags", "schema": "dtmi:com:example:list;1", "writable": True},
                    {
                        "@type": "Property",
                        "name": "modes",
                        "schema": {
                            "@type": "Map",
                            "mapKey": {"name": "k", "schema": "string"},
                            "mapValue": {
                                "name": "v",
                                "schema": {
                                    "@type": "Enum",
                                    "valueSchema": "integer",
                                    "enumValues": [{"name": "off", "enumValue": 0}, {"name": "on", "enumValue": 1}],
                                },
                            },
                        },
                    },
                    {
                        "@type": "Property",
                        "name": "place",
                        "schema": {"@type": "Object", "fields": [{"name": "where", "schema": "point"}]},
                    },
                    {
                        "@type": "Relationship",
                        "name": "has",
                        "target": "dtmi:com:example:Part;1",
                        "minMultiplicity": 0,
                        "maxMultiplicity": 2,
                        "properties": [{"@type": "Property", "name": "since", "schema": "date"}],
                    },
                    {"@type": "Component", "name": "part", "schema": "dtmi:com:example:Part;1"},
                    {"@type": "Command", "name": "go", "request": {"name": "far", "schema": "long"}},
                ],
            ),
        ]
    )
    found = models.interface("dtmi:com:example:All;1")
    assert (found.version, found.display_name, found.description) == (3, "All", "Tout")
    t, tags, modes, place, has, part, go = found.contents.values()
    assert isinstance(t, Telemetry) and t.unit == "kelvin" and t.schema == Primitive("float")
    assert isinstance(tags, Property) and tags.schema == Array(Primitive("string")) and tags.writable
    assert isinstance(modes, Property) and isinstance(modes.schema, Map) and isinstance(modes.schema.value, Enum)
    assert modes.schema.value.values == {"off": 0, "on": 1}
    assert isinstance(place, Property) and isinstance(place.schema, Object)
    assert place.schema.fields["where"].schema == Primitive("point")
    assert isinstance(has, RelationshipType) and has.target == "dtmi:com:example:Part;1"
    assert (has.min_multiplicity, has.max_multiplicity, list(has.properties)) == (0, 2, ["since"])
    assert isinstance(part, ComponentType) and part.model == "dtmi:com:example:Part;1"
    assert isinstance(go, CommandType) and go.request == Payload("far", Primitive("long")) and go.response is None
    assert "part.mass" in models.fields(found.id)


def test_order_of_documents_and_of_references_does_not_matter() -> None:
    child = interface("dtmi:a:child;1", extends="dtmi:a:parent;1")
    parent = interface("dtmi:a:parent;1", contents=[{"@type": "Property", "name": "p", "schema": "string"}])
    assert set(parse([child, parent])) == set(parse([[parent], child])) == {"dtmi:a:child;1", "dtmi:a:parent;1"}


def test_new_documents_build_on_a_base_and_leave_it_alone(cnc: Models) -> None:
    lathe = interface(
        "dtmi:com:example:Lathe;1",
        extends=MACHINE,
        contents=[{"@type": "Component", "name": "second", "schema": "dtmi:com:twinloom:cnc:CncController;1"}],
    )
    more = parse([lathe], base=cnc)
    assert len(more) == len(cnc) + 1 and "dtmi:com:example:Lathe;1" not in cnc
    assert {"feed_rate", "second.feed_override", "controller.feed_override"} <= set(
        more.fields("dtmi:com:example:Lathe;1")
    )
    assert more.is_a("dtmi:com:example:Lathe;1", ASSET)
    clash = interface("dtmi:com:example:Bad;1", extends=MACHINE, contents=[
        {"@type": "Property", "name": "feed_rate", "schema": "double"}
    ])  # fmt: skip
    assert codes(clash, base=cnc) == ["nonUniquePropertyValue"]
    assert codes(interface(ASSET), base=cnc) == ["duplicateDefinition"]


def test_interfaces_defined_within_others_stand_on_their_own() -> None:
    inner = {"@id": "dtmi:a:inner;1", "@type": "Interface", "contents": []}
    outer = interface("dtmi:a:outer;1", contents=[{"@type": "Component", "name": "c", "schema": inner}])
    models = parse([outer])
    assert set(models) == {"dtmi:a:outer;1", "dtmi:a:inner;1"}
    assert models.interface("dtmi:a:outer;1").document["contents"][0]["schema"] == "dtmi:a:inner;1"
    assert outer["contents"][0]["schema"] is inner
    again = parse([found.document for found in models.interfaces.values()])
    assert again.interface("dtmi:a:outer;1").contents.keys() == {"c"}


def test_an_element_of_another_interface_cannot_be_referred_to() -> None:
    first = interface("dtmi:a:a;1", schemas={"@id": "dtmi:a:s;1", "@type": "Array", "elementSchema": "double"})
    second = interface("dtmi:a:b;1", contents=[{"@type": "Telemetry", "name": "t", "schema": "dtmi:a:s;1"}])
    assert codes(first, second) == ["crossPartitionReference"]


def test_a_v4_schema_may_contain_itself() -> None:
    tree = {"@id": "dtmi:a:tree;1", "@type": "Object", "fields": [
        {"name": "name", "schema": "string"},
        {"name": "below", "schema": {"@type": "Array", "elementSchema": "dtmi:a:tree;1"}},
    ]}  # fmt: skip
    contents = [{"@type": "Property", "name": "root", "schema": "dtmi:a:tree;1"}]
    models = parse([interface("dtmi:a:a;1", 4, schemas=[tree], contents=contents)])
    models.check_twin("dtmi:a:a;1", {"root": {"name": "r", "below": [{"name": "s", "below": []}]}})
    with pytest.raises(ModelViolation) as caught:
        models.check_twin("dtmi:a:a;1", {"root": {"below": [{"below": [{"name": 1}]}]}})
    assert caught.value.path == "/root/below/0/below/0/name"
    deep: Any = {}
    for _ in range(100_000):
        deep = {"below": [deep]}
    with pytest.raises(ModelViolation):
        models.check_twin("dtmi:a:a;1", {"root": deep})
    assert "recursiveStructure" in codes(interface("dtmi:a:a;1", 3, schemas=[tree], contents=contents))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(21.5, None), ("warm", "initialValueInvalid"), ({"a": 1}, "initialValueInvalid")],
)
def test_an_initial_value_fits_its_schema(value: Any, expected: str | None) -> None:
    contents = [{"@type": ["Property", "Initialized"], "name": "p", "schema": "double", "initialValue": value}]
    document = interface("dtmi:a:a;1", 3, ("dtmi:dtdl:extension:initialization;1",), contents=contents)
    if expected is None:
        assert parse([document]).interface("dtmi:a:a;1").contents["p"].annotations == {"initialValue": value}
    else:
        assert codes(document) == [expected]


def test_a_streaming_property_is_not_writable() -> None:
    content = {"@type": ["Property", "Streaming"], "name": "p", "schema": "double"}
    extensions = ("dtmi:dtdl:extension:streaming;1",)
    assert len(parse([interface("dtmi:a:a;1", 3, extensions, contents=[content])])) == 1
    assert codes(interface("dtmi:a:a;1", 3, extensions, contents=[{**content, "writable": True}])) == [
        "incorrectPropertyValue"
    ]


def test_an_unknown_extension_is_ignored_in_v2_and_refused_later() -> None:
    content = {"@type": ["Property", "Flavour"], "name": "p", "schema": "string", "taste": "sweet"}
    unknown = ("dtmi:example:flavour;1",)
    assert len(parse([interface("dtmi:a:a;1", 2, unknown, contents=[content])])) == 1
    for version in (3, 4):
        assert "unresolvableContextSpecifier" in codes(interface("dtmi:a:a;1", version, unknown, contents=[content]))


@pytest.mark.parametrize(("version", "deepest"), [(2, 10), (3, 10), (4, 12)])
def test_extends_is_as_deep_as_the_version_allows(version: int, deepest: int) -> None:
    def chain(length: int) -> list[Any]:
        return [
            interface(f"dtmi:a:i{n};1", version, **({"extends": f"dtmi:a:i{n + 1};1"} if n < length else {}))
            for n in range(length + 1)
        ]

    assert len(parse(chain(deepest))) == deepest + 1
    assert codes(*chain(deepest + 1)) == ["excessiveDepth"]


def test_no_interface_has_more_than_a_hundred_thousand_values_below_its_contents() -> None:
    def document(count: int) -> Any:
        # "dtmi:a:e;1" lets the Interfaces share their contents, so that none is larger than a mebibyte
        parts = [
            interface(f"dtmi:a:p{part};1", contents=[
                {"@type": "Telemetry", "name": f"t{part}x{n}", "schema": "double"} for n in range(count // 10)
            ])
            for part in range(10)
        ]  # fmt: skip
        return [*parts, interface("dtmi:a:e;1", extends=[part["@id"] for part in parts])]

    assert len(parse([document(40_000)])) == 11
    assert codes(document(60_000)) == ["excessiveCount"]
