"""The types that are generated from the plant's own models."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import build_schema, parse

from twinloom.api.schema import build
from twinloom.twin.dtdl import Models

SPINDLE = "toulouse/line-1/cnc-01/spindle"
MACHINE = "toulouse/line-1/cnc-01"
VALVE = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:com:example:Valve;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "opening", "schema": "double", "writable": True},
        {"@type": "Property", "name": "alerts", "schema": "integer", "writable": True},
    ],
}


async def test_a_model_is_a_type_with_its_properties_units_and_components(api: Any) -> None:
    await api.measure({(SPINDLE, "temperature"): 60.0, (MACHINE, "controller.operating_mode"): "automatic"})
    found = await api.data(
        """query($s: String!, $m: String!) {
            spindle(id: $s) { __typename dtId temperature f: temperature(unit: "degreeFahrenheit") vibration_x name }
            cncMachine(id: $m) { serial_number controller { operating_mode feed_override }
              contains(where: {NOT: {name: {startsWith: "Axis"}}}) { nodes { __typename dtId ... on Spindle {
              temperature } } } } }""",
        {"s": SPINDLE, "m": MACHINE},
    )
    assert found["spindle"] == {
        "__typename": "Spindle",
        "dtId": SPINDLE,
        "temperature": 60.0,
        "f": 140.0,
        "vibration_x": None,
        "name": "Spindle",
    }
    assert found["cncMachine"]["controller"] == {"operating_mode": "automatic", "feed_override": 100.0}
    parts = {node["dtId"].rpartition("/")[2]: node for node in found["cncMachine"]["contains"]["nodes"]}
    assert set(parts) == {"spindle", "coolant-pump", "tool-changer"}
    assert parts["spindle"] == {"__typename": "Spindle", "dtId": SPINDLE, "temperature": 60.0}
    assert parts["coolant-pump"]["__typename"] == "CoolantPump"


async def test_a_typed_filter_compares_in_the_unit_given(api: Any) -> None:
    await api.measure({(SPINDLE, "temperature"): 80.0, ("toulouse/line-1/cnc-02/spindle", "temperature"): 40.0})
    found = await api.data(
        """{ spindles(where: {OR: [{temperature: {gt: 340, unit: "kelvin"}}, {temperature: {eq: -1}}]},
             orderBy: [{by: "temperature"}]) { totalCount nodes { dtId } } }"""
    )
    assert found["spindles"] == {"totalCount": 1, "nodes": [{"dtId": SPINDLE}]}


async def test_a_base_model_is_an_interface_over_its_subtypes(api: Any) -> None:
    found = await api.data(
        """{ machineComponents(first: 7, filter: {subtreeOf: "toulouse/line-1/cnc-01"})
             { totalCount nodes { __typename name serial_number } } }"""
    )
    kinds = {node["__typename"] for node in found["machineComponents"]["nodes"]}
    assert kinds == {"Spindle", "Axis", "CoolantPump", "ToolChanger"}
    assert found["machineComponents"]["totalCount"] == 6


async def test_a_typo_in_a_typed_field_gets_a_suggestion(api: Any) -> None:
    answer = await api.ask("{ spindles { nodes { temprature } } }")
    assert answer["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert "temperature" in answer["errors"][0]["message"]


async def test_a_type_of_another_model_is_not_given(api: Any) -> None:
    assert (await api.data("query($id: String!) { spindle(id: $id) { dtId } }", {"id": MACHINE}))["spindle"] is None


async def test_uploaded_models_are_in_the_schema_at_once_and_gone_when_deleted(api: Any) -> None:
    before = await api.data("{ serviceInfo { schemaHash } }")
    upload = (
        "mutation($d: [JSON!]!) { uploadModels(input: {documents: $d}) { userErrors { message } models { modelId } } }"
    )
    assert (await api.data(upload, {"d": [VALVE]}))["uploadModels"]["userErrors"] == []
    after = await api.data("{ serviceInfo { schemaHash } valves { totalCount } }")
    assert after["serviceInfo"]["schemaHash"] != before["serviceInfo"]["schemaHash"]
    await api.data(
        """mutation { createTwin(input: {id: "v1", model: "dtmi:com:example:Valve;1", properties: {opening:
        0.5, alerts: 7}})
            { userErrors { message } } }"""
    )
    found = await api.data("{ valves { nodes { opening alerts { id } alerts_ } } }")
    assert found["valves"]["nodes"] == [{"opening": 0.5, "alerts": [], "alerts_": 7}]
    await api.data('mutation { deleteTwin(input: {id: "v1"}) { seq } }')
    await api.data('mutation { deleteModel(input: {id: "dtmi:com:example:Valve;1"}) { userErrors { message } } }')
    assert "errors" in await api.ask("{ valves { totalCount } }")


def test_the_schema_prints_and_reads_back(cnc_models: Models) -> None:
    text = build.sdl(build.schema_for(cnc_models))
    again = build_schema(text)
    assert {"Spindle", "CncMachine", "MachineComponent"} <= set(again.type_map)
    parse(text)
    assert build.digest_of(text) == build.digest_of(build.sdl(build.schema_for(cnc_models)))


@pytest.mark.parametrize("name", ["docs/schema.graphql"])
def test_the_schema_in_the_repository_is_the_schema(cnc_models: Models, name: str) -> None:
    from pathlib import Path

    text = (Path(__file__).resolve().parents[2] / name).read_text()
    assert text == build.sdl(build.schema_for(cnc_models)), "run: twinloom schema > docs/schema.graphql"
