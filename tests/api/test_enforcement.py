"""Every rule of a model holds on every mutation: the error has the pointer into what was written, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

THING = "dtmi:com:example:Thing;1"
INNER = "dtmi:com:example:Inner;1"
OTHER = "dtmi:com:example:Other;1"
CONTEXT = "dtmi:dtdl:context;3"
ENUM = {
    "@type": "Enum",
    "valueSchema": "string",
    "enumValues": [{"name": "on", "enumValue": "on"}, {"name": "off", "enumValue": "off"}],
}
DOCUMENTS: list[dict[str, Any]] = [
    {
        "@context": CONTEXT,
        "@id": THING,
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "count", "schema": "integer", "writable": True},
            {"@type": "Property", "name": "serial", "schema": "string"},
            {"@type": "Property", "name": "mode", "schema": ENUM, "writable": True},
            {
                "@type": "Property",
                "name": "levels",
                "writable": True,
                "schema": {"@type": "Array", "elementSchema": {"@type": "Array", "elementSchema": "double"}},
            },
            {
                "@type": "Property",
                "name": "tags",
                "writable": True,
                "schema": {
                    "@type": "Map",
                    "mapKey": {"name": "key", "schema": "string"},
                    "mapValue": {"name": "value", "schema": "boolean"},
                },
            },
            {
                "@type": "Property",
                "name": "place",
                "writable": True,
                "schema": {"@type": "Object", "fields": [{"name": "x", "schema": "double"}]},
            },
            {"@type": "Telemetry", "name": "speed", "schema": "double"},
            {"@type": "Component", "name": "inner", "schema": INNER},
            {
                "@type": "Relationship",
                "name": "drives",
                "target": OTHER,
                "maxMultiplicity": 1,
                "properties": [{"@type": "Property", "name": "ratio", "schema": "double", "writable": True}],
            },
        ],
    },
    {
        "@context": CONTEXT,
        "@id": INNER,
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "gain", "schema": "double", "writable": True},
            {"@type": "Property", "name": "fixed", "schema": "double"},
        ],
    },
    {"@context": CONTEXT, "@id": OTHER, "@type": "Interface"},
]
UPLOAD = "mutation ($d: [JSON!]!) { uploadModels(input: {documents: $d}) { userErrors { message } } }"
CREATE = """mutation ($i: CreateTwinInput!) { createTwin(input: $i) {
  twin { dtId } userErrors { code path message remedy } } }"""
UPDATE = """mutation ($i: UpdateTwinInput!) { updateTwin(input: $i) {
  twin { properties } userErrors { code path message remedy } } }"""
JOIN = """mutation ($i: CreateRelationshipInput!) { createRelationship(input: $i) {
  relationship { relationshipId } userErrors { code path message remedy } } }"""

WRONG_VALUES = [
    ({"count": 1.5}, "/count"),
    ({"count": 2**31}, "/count"),
    ({"count": True}, "/count"),
    ({"mode": "standby"}, "/mode"),
    ({"levels": [[1.0], ["high"]]}, "/levels/1/0"),
    ({"tags": {"a/b": 1}}, "/tags/a~1b"),
    ({"place": {"x": "left"}}, "/place/x"),
    ({"place": {"w": 1.0}}, "/place/w"),
    ({"inner": {"gain": "loud"}}, "/inner/gain"),
    ({"inner": {"pitch": 1.0}}, "/inner/pitch"),
    ({"colour": "red"}, "/colour"),
]


async def created(api: Any) -> None:
    assert (await api.data(UPLOAD, {"d": DOCUMENTS}))["uploadModels"]["userErrors"] == []
    for id, model in (("thing", THING), ("other", OTHER), ("other-2", OTHER)):
        done = await api.data(CREATE, {"i": {"id": id, "model": model}})
        assert done["createTwin"]["userErrors"] == []


async def test_a_twin_that_its_model_forbids_is_not_created(api: Any) -> None:
    await created(api)
    for properties, pointer in WRONG_VALUES:
        done = (await api.data(CREATE, {"i": {"id": "new", "model": THING, "properties": properties}}))["createTwin"]
        found = [(error["code"], error["path"]) for error in done["userErrors"]]
        assert (done["twin"], found) == (None, [("MODEL_VIOLATION", pointer)]), properties
        assert done["userErrors"][0]["remedy"]
    several = {"count": "x", "inner": {"gain": "y"}}
    done = (await api.data(CREATE, {"i": {"id": "new", "model": THING, "properties": several}}))["createTwin"]
    assert {error["path"] for error in done["userErrors"]} == {"/count", "/inner/gain"}


async def test_an_update_that_the_model_forbids_changes_nothing(api: Any) -> None:
    await created(api)
    read_only = [
        ({"serial": "x"}, "/serial"),
        ({"speed": 1.0}, "/speed"),
        ({"inner": {"fixed": 1.0}}, "/inner/fixed"),
        ({"inner.fixed": 1.0}, "/inner/fixed"),
    ]
    for properties, pointer in [*WRONG_VALUES, *read_only]:
        done = (await api.data(UPDATE, {"i": {"id": "thing", "properties": properties}}))["updateTwin"]
        found = [(error["code"], error["path"]) for error in done["userErrors"]]
        assert found == [("MODEL_VIOLATION", pointer)], properties
    assert (await api.data('{ twin(id: "thing") { properties } }'))["twin"]["properties"] == {}
    fits = {"count": 3, "mode": "on", "levels": [[1.0]], "tags": {"a": True}, "place": {"x": 1.0}, "inner.gain": 2.0}
    done = (await api.data(UPDATE, {"i": {"id": "thing", "properties": fits}}))["updateTwin"]
    assert done["userErrors"] == []
    assert done["twin"]["properties"]["inner"] == {"gain": 2.0}


async def test_relationships_keep_to_name_target_properties_and_multiplicity(api: Any) -> None:
    await created(api)
    wrong = [
        ({"name": "pulls", "target": "other"}, "/name"),
        ({"name": "drives", "target": "thing"}, "/target"),
        ({"name": "drives", "target": "other", "properties": {"ratio": "x"}}, "/properties/ratio"),
        ({"name": "drives", "target": "other", "properties": {"since": 1}}, "/properties/since"),
    ]
    for given, pointer in wrong:
        done = (await api.data(JOIN, {"i": {"source": "thing", **given}}))["createRelationship"]
        assert [(e["code"], e["path"]) for e in done["userErrors"]] == [("MODEL_VIOLATION", pointer)], given
    join = {"source": "thing", "name": "drives", "target": "other", "properties": {"ratio": 2.0}}
    assert (await api.data(JOIN, {"i": join}))["createRelationship"]["userErrors"] == []
    second = {"source": "thing", "name": "drives", "target": "other-2"}
    done = (await api.data(JOIN, {"i": second}))["createRelationship"]
    assert [error["path"] for error in done["userErrors"]] == ["/name"]
    assert "1 times" in done["userErrors"][0]["message"]


async def test_a_unit_of_another_quantity_is_refused_where_it_is_read_and_where_it_filters(api: Any) -> None:
    spindle = "toulouse/line-1/cnc-01/spindle"
    await api.measure({(spindle, "temperature"): 50.0})
    kelvin = await api.data(f'{{ twin(id: "{spindle}") {{ value(path: "temperature", unit: "kelvin") }} }}')
    assert kelvin["twin"]["value"] == pytest.approx(323.15)
    filtered = """query ($unit: String!) { twins(filter: {id: {eq: "%s"},
      property: {path: "temperature", gt: 120, unit: $unit}}) { totalCount } }""".replace("%s", spindle)
    assert (await api.data(filtered, {"unit": "degreeFahrenheit"}))["twins"]["totalCount"] == 1
    assert (await api.data(filtered, {"unit": "kelvin"}))["twins"]["totalCount"] == 1
    assert (await api.data(filtered, {"unit": "degreeCelsius"}))["twins"]["totalCount"] == 0
    for answer in (
        await api.ask(f'{{ twin(id: "{spindle}") {{ value(path: "temperature", unit: "bar") }} }}'),
        await api.ask(filtered, {"unit": "bar"}),
    ):
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
