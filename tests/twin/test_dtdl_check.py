"""Enforcement: what a model lets a twin, a value, a relationship and a command be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloom.twin.dtdl import Document, Models, Violation, parse
from twinloom.twin.dtdl.check import compiled, problems
from twinloom.twin.dtdl.schemas import Array, Enum, Map, Object, ObjectField, Primitive, Schema
from twinloom.twin.errors import ModelViolation

PUMP, PLANT, MOTOR = "dtmi:com:example:Pump;1", "dtmi:com:example:Plant;1", "dtmi:com:example:Motor;1"
TEXT = json.dumps(
    [
        {
            "@context": ["dtmi:dtdl:context;4", "dtmi:dtdl:extension:requirement;1"],
            "@id": PUMP,
            "@type": "Interface",
            "contents": [
                {"@type": "Property", "name": "label", "schema": "string", "writable": True},
                {"@type": "Property", "name": "serial", "schema": "string"},
                {"@type": "Telemetry", "name": "flow", "schema": "double"},
                {
                    "@type": "Property",
                    "name": "place",
                    "writable": True,
                    "schema": {
                        "@type": "Object",
                        "fields": [
                            {"@type": ["Field", "Required"], "name": "x", "schema": "double"},
                            {"name": "note", "schema": "string"},
                        ],
                    },
                },
                {
                    "@type": "Property",
                    "name": "levels",
                    "writable": True,
                    "schema": {
                        "@type": "Map",
                        "mapKey": {"name": "k", "schema": "string"},
                        "mapValue": {"name": "v", "schema": {"@type": "Array", "elementSchema": "integer"}},
                    },
                },
                {"@type": "Component", "name": "motor", "schema": MOTOR},
                {
                    "@type": "Relationship",
                    "name": "feeds",
                    "target": PUMP,
                    "maxMultiplicity": 2,
                    "properties": [{"@type": "Property", "name": "share", "schema": "double"}],
                },
                {"@type": "Relationship", "name": "near"},
                {
                    "@type": "Command",
                    "name": "prime",
                    "request": {"name": "for", "schema": "duration"},
                    "response": {"name": "ok", "schema": "boolean", "nullable": True},
                },
                {"@type": "Command", "name": "stop"},
            ],
        },
        {
            "@context": "dtmi:dtdl:context;4",
            "@id": MOTOR,
            "@type": "Interface",
            "contents": [
                {
                    "@type": "Property",
                    "name": "mode",
                    "writable": True,
                    "schema": {
                        "@type": "Enum",
                        "valueSchema": "string",
                        "enumValues": [{"name": "slow", "enumValue": "s"}, {"name": "fast", "enumValue": "f"}],
                    },
                },
                {"@type": "Command", "name": "spin", "request": {"name": "rpm", "schema": "integer"}},
            ],
        },
        {"@context": "dtmi:dtdl:context;4", "@id": PLANT, "@type": "Interface"},
        {"@context": "dtmi:dtdl:context;4", "@id": "dtmi:com:example:BigPump;1", "@type": "Interface", "extends": PUMP},
    ],
    indent=1,
)


@pytest.fixture(scope="module")
def models() -> Models:
    return parse([Document(TEXT, "pump.json")])


def violation(check: Callable[[], object]) -> Violation:
    with pytest.raises(Violation) as caught:
        check()
    assert isinstance(caught.value, ModelViolation)
    assert all(defect.remedy for defect in caught.value.errors)
    return caught.value


def test_a_twin_that_fits_is_accepted_telemetry_included(models: Models) -> None:
    models.check_twin(PUMP, {})
    models.check_twin(
        PUMP,
        {"label": "P1", "flow": 3, "place": {"x": 1.5}, "levels": {"low": [1, 2.0]}, "motor": {"mode": "s"}},
    )


@pytest.mark.parametrize(
    ("properties", "codes"),
    [
        ({"lable": "P1"}, {"/lable": "unknownName"}),
        ({"label": 1}, {"/label": "wrongType"}),
        ({"label": None}, {"/label": "wrongType"}),
        ({"flow": True}, {"/flow": "wrongType"}),
        ({"flow": float("nan")}, {"/flow": "wrongType"}),
        ({"place": {"note": "n"}}, {"/place/x": "requiredMissing"}),
        ({"place": {"x": "1", "y": 2}}, {"/place/x": "wrongType", "/place/y": "unknownName"}),
        ({"place": [1]}, {"/place": "wrongType"}),
        ({"levels": {"low": [1, 1.5, "2"]}}, {"/levels/low/1": "wrongType", "/levels/low/2": "wrongType"}),
        ({"levels": {"low": [2**31]}}, {"/levels/low/0": "wrongType"}),
        ({"motor": {"mode": "m"}}, {"/motor/mode": "notInEnum"}),
        ({"motor": {"mood": "s"}}, {"/motor/mood": "unknownName"}),
        ({"motor": 1}, {"/motor": "componentNotObject"}),
        ({"feeds": 1}, {"/feeds": "unknownName"}),
        ({"prime": 1, "label": []}, {"/prime": "unknownName", "/label": "wrongType"}),
    ],
)
def test_every_problem_of_a_twin_is_reported_with_its_pointer(
    models: Models, properties: dict[str, Any], codes: dict[str, str]
) -> None:
    error = violation(lambda: models.check_twin(PUMP, properties))
    assert {defect.path: defect.code for defect in error.errors} == codes
    assert error.path == error.errors[0].path


def test_the_error_names_the_line_of_the_model(models: Models) -> None:
    error = violation(lambda: models.check_twin(PUMP, {"motor": {"mode": "m"}}))
    (defect,) = error.errors
    assert defect.file == "pump.json"
    following = "".join(TEXT.splitlines()[defect.line - 1 : defect.line + 3])
    assert '"mode"' in following
    assert f"pump.json:{defect.line}" in error.message and MOTOR in error.message


def test_clients_write_writable_properties_only(models: Models) -> None:
    models.check_value(PUMP, "label", "x", by_client=True)
    models.check_value(PUMP, "motor.mode", "f", by_client=True)
    models.check_value(PUMP, "serial", "x", by_client=False)
    models.check_value(PUMP, "flow", 1.5, by_client=False)
    for path, value in (("serial", "x"), ("flow", 1.5)):
        error = violation(lambda path=path, value=value: models.check_value(PUMP, path, value, by_client=True))
        assert [defect.code for defect in error.errors] == ["notWritable"]
    for path in ("nothing", "motor.nothing", "label.x", "feeds", "stop"):
        error = violation(lambda path=path: models.check_value(PUMP, path, 1, by_client=False))
        assert [defect.code for defect in error.errors] == ["unknownName"]
    error = violation(lambda: models.check_value(PUMP, "levels", {"a": 1}, by_client=True))
    assert error.path == "/levels/a"


def test_a_relationship_has_a_target_of_its_model_a_bound_and_properties(models: Models) -> None:
    models.check_relationship(PUMP, "feeds", PUMP, {"share": 0.5}, existing=1)
    models.check_relationship(PUMP, "feeds", "dtmi:com:example:BigPump;1", {}, existing=0)
    models.check_relationship("dtmi:com:example:BigPump;1", "near", PLANT, {}, existing=99)
    error = violation(lambda: models.check_relationship(PUMP, "feeds", PLANT, {"share": "x", "y": 1}, existing=2))
    assert [(defect.code, defect.path) for defect in error.errors] == [
        ("wrongTarget", "/target"),
        ("maxMultiplicity", "/name"),
        ("wrongType", "/properties/share"),
        ("unknownName", "/properties/y"),
    ]
    error = violation(lambda: models.check_relationship(PUMP, "contains", PUMP, {}, existing=0))
    assert [defect.code for defect in error.errors] == ["unknownRelationship"]


def test_multiplicities_of_a_whole_twin_are_checked(models: Models) -> None:
    models.checker(PUMP).check_multiplicities({"feeds": 2})
    error = violation(lambda: models.checker(PUMP).check_multiplicities({"feeds": 3}))
    assert [defect.code for defect in error.errors] == ["maxMultiplicity"]


def test_commands_take_their_request_and_give_their_response(models: Models) -> None:
    assert models.check_command(PUMP, "prime", "PT1M").name == "prime"
    assert models.check_command(PUMP, "motor.spin", 900).name == "spin"
    assert models.check_command(PUMP, "stop", None).request is None
    models.check_response(PUMP, "prime", True)
    models.check_response(PUMP, "prime", None)
    for check, code in (
        (lambda: models.check_command(PUMP, "prime", "soon"), "wrongType"),
        (lambda: models.check_command(PUMP, "prime", None), "wrongType"),
        (lambda: models.check_command(PUMP, "stop", 1), "unexpectedPayload"),
        (lambda: models.check_command(PUMP, "label", 1), "unknownCommand"),
        (lambda: models.check_response(PUMP, "prime", 1), "wrongType"),
        (lambda: models.check_response(PUMP, "stop", 1), "unexpectedPayload"),
    ):
        assert [defect.code for defect in violation(check).errors] == [code]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ("boolean", [True, False], [0, 1, "true", None]),
        ("byte", [-128, 127, 1.0], [128, -129, 1.5, True]),
        ("unsignedByte", [0, 255], [-1, 256]),
        ("short", [-(2**15)], [2**15]),
        ("integer", [2**31 - 1, -(2**31), 3.0], [2**31, 0.5, "1", True, None]),
        ("long", [2**63 - 1], [2**63]),
        ("unsignedLong", [2**64 - 1], [2**64, -1]),
        ("float", [1, 3.4e38], [3.5e38, float("inf")]),
        ("double", [1, 1.7e308, -2], [float("nan"), float("inf"), 10**400, True, "1"]),
        ("decimal", ["1.50", 2, "-3e2"], ["x", "NaN", None, []]),
        ("string", ["", "é"], ["\ud800", 1, None]),
        ("bytes", ["", "AAA="], ["A", "é", "a b", 1]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567", 1]),
        ("date", ["2024-02-29"], ["2023-02-29", "20240229", "2024-W01-1", "2024-2-3", 1]),
        ("time", ["23:59:60", "12:00:00.5Z", "12:00:00+01:00"], ["24:00:00", "12:00", "12:00:00+24:00"]),
        ("dateTime", ["2026-01-31T12:00:00Z", "2026-01-31t12:00:00.1+02:00"], ["2026-01-31", "2026-01-31T12:00:00", 1]),
        ("duration", ["PT1H30M", "P1Y2M3DT4H5M6.5S", "P2W"], ["P", "PT", "1H", "P1H"]),
        ("point", [{"type": "Point", "coordinates": [1, 2]}], [{"type": "Point", "coordinates": [1]}, [1, 2], {}]),
        ("polygon", [{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}], [
            {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}
        ]),
    ],
)  # fmt: skip
def test_primitives_admit_what_the_language_says(schema: str, good: list[Any], bad: list[Any]) -> None:
    fits = compiled(Primitive(schema))
    assert [value for value in good if not fits(value)] == []
    assert [value for value in bad if fits(value)] == []


SCHEMAS = st.recursive(
    st.sampled_from(["double", "string", "integer", "boolean"]).map(Primitive)
    | st.just(Enum("integer", {"a": 1, "b": 2})),
    lambda inner: (
        inner.map(Array)
        | inner.map(lambda value: Map(Primitive("string"), value))
        | st.dictionaries(st.sampled_from("xyz"), inner).map(
            lambda fields: Object(
                {name: ObjectField(name, schema, required=name == "x") for name, schema in fields.items()}
            )
        )
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)


@given(SCHEMAS, VALUES)
def test_the_fast_check_and_the_explanation_agree(schema: Schema, value: Any) -> None:
    assert compiled(schema)(value) == (not list(problems(schema, value, "")))


def test_the_example_plant_fits_its_models() -> None:
    folder = Path(__file__).parents[2] / "examples" / "cnc" / "models"
    cnc = parse(Document(path.read_bytes(), path.name) for path in sorted(folder.glob("*.json")))
    place = {"x": 0.0, "y": 0.35, "z": 1.55, "heading": 0.0}
    cnc.check_twin("dtmi:com:twinloom:cnc:Spindle;1", {"name": "Spindle", "placement": place, "vibration_x": 1.2})
    cnc.check_relationship(
        "dtmi:com:twinloom:cnc:CncMachine;1", "contains", "dtmi:com:twinloom:cnc:Spindle;1", {}, existing=5
    )
