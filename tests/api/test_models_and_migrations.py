"""The registry of models and their migrations, through GraphQL."""

from __future__ import annotations

from typing import Any

import pytest

MACHINE = "dtmi:com:twinloom:cnc:CncMachine;1"
SPINDLE = "dtmi:com:twinloom:cnc:Spindle;1"
AXIS = "dtmi:com:twinloom:cnc:Axis;1"
UPLOAD = """mutation ($documents: [JSON!]!) { uploadModels(input: {documents: $documents}) {
  models { modelId } userErrors { code message path remedy } } }"""
PLAN = """mutation ($input: PlanModelMigrationInput!) { planModelMigration(input: $input) {
  migration { planId state running seq createdAt twins moved problemCount moves { from to renames defaults }
    breakingChanges { model path kind reason } problems { dtId path reason }
    samples { dtId changes { path before after } } }
  userErrors { code message remedy } clientMutationId } }"""
ACT = """mutation ($id: String!) { %sModelMigration(input: {planId: $id}) {
  migration { planId state running moved twins } seq userErrors { code message remedy } } }"""


def second_axis() -> dict[str, Any]:
    return {
        "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"],
        "@id": "dtmi:com:twinloom:cnc:Axis;2",
        "@type": "Interface",
        "extends": "dtmi:com:twinloom:cnc:MachineComponent;1",
        "contents": [
            {"@type": "Property", "name": "axis_letter", "schema": "string", "writable": True},
            {"@type": "Telemetry", "name": "load", "schema": "double", "comment": "unit: %"},
            {"@type": ["Telemetry", "Distance"], "name": "position", "schema": "double", "unit": "metre"},
        ],
    }


async def test_a_model_tells_what_it_needs_and_who_needs_it(api: Any) -> None:
    found = await api.data(
        """query ($id: String!) { model(id: $id) { twinCount
          dependencies { kind name modelId model { displayName } } dependents { kind name modelId } } }""",
        {"id": MACHINE},
    )
    model = found["model"]
    assert model["twinCount"] == 47
    assert ("component", "controller") in {(d["kind"], d["name"]) for d in model["dependencies"]}
    assert all(d["model"] is not None for d in model["dependencies"])
    base = next(d["modelId"] for d in model["dependencies"] if d["kind"] == "extends")
    found = await api.data("query ($id: String!) { model(id: $id) { dependents { kind modelId } } }", {"id": base})
    assert {"kind": "extends", "modelId": MACHINE} in found["model"]["dependents"]


async def test_a_model_is_deleted_only_when_nobody_uses_it_and_a_decommissioned_one_takes_no_twins(api: Any) -> None:
    delete = """mutation ($id: String!, $keep: Boolean!) { deleteModel(input: {id: $id, decommission: $keep}) {
      models { modelId decommissioned } userErrors { code message remedy } } }"""
    base, derived = "dtmi:com:example:Base;1", "dtmi:com:example:Derived;1"
    documents = [
        {"@context": "dtmi:dtdl:context;4", "@id": derived, "@type": "Interface", "extends": base},
        {"@context": "dtmi:dtdl:context;3", "@id": base, "@type": "Interface"},
    ]
    uploaded = await api.data(UPLOAD, {"documents": documents})
    assert uploaded["uploadModels"]["userErrors"] == []
    used = await api.data(delete, {"id": SPINDLE, "keep": False})
    assert used["deleteModel"]["userErrors"][0]["code"] == "CONFLICT"
    assert "47 twins" in used["deleteModel"]["userErrors"][0]["message"]
    needed = await api.data(delete, {"id": base, "keep": False})
    assert derived in needed["deleteModel"]["userErrors"][0]["message"]
    kept = await api.data(delete, {"id": derived, "keep": True})
    assert kept["deleteModel"]["models"] == [{"modelId": derived, "decommissioned": True}]
    create = 'mutation { createTwin(input: {id: "x", model: "%s"}) { userErrors { code } } }'
    refused = await api.data(create % derived)
    assert refused["createTwin"]["userErrors"] == [{"code": "CONFLICT"}]
    for id in (derived, base):
        assert (await api.data(delete, {"id": id, "keep": False}))["deleteModel"]["userErrors"] == []
    assert (await api.data("query ($id: String!) { model(id: $id) { modelId } }", {"id": base}))["model"] is None


async def test_an_upload_with_one_wrong_model_registers_none(api: Any) -> None:
    good = {"@context": "dtmi:dtdl:context;3", "@id": "dtmi:com:example:Good;1", "@type": "Interface"}
    bad = {**good, "@id": "dtmi:com:example:Bad;1", "contents": [{"@type": "Property", "name": "x", "schema": "duble"}]}
    done = (await api.data(UPLOAD, {"documents": [good, bad]}))["uploadModels"]
    assert done["models"] == []
    assert [error["path"] for error in done["userErrors"]] == ["/contents/0/schema"]
    assert (await api.data('{ model(id: "dtmi:com:example:Good;1") { modelId } }'))["model"] is None


async def test_a_migration_is_planned_applied_and_reverted(api: Any) -> None:
    await api.measure({("toulouse/line-1/cnc-01/axis-x", "position"): 250.0})
    before = await api.data('{ twin(id: "toulouse/line-1/cnc-01/axis-x") { modelId properties } }')
    assert (await api.data(UPLOAD, {"documents": [second_axis()]}))["uploadModels"]["userErrors"] == []
    given = {"from": AXIS, "to": "dtmi:com:twinloom:cnc:Axis;2", "renames": {"letter": "axis_letter"}}
    planned = (await api.data(PLAN, {"input": {**given, "clientMutationId": "m"}}))["planModelMigration"]
    migration = planned["migration"]
    assert (planned["userErrors"], planned["clientMutationId"]) == ([], "m")
    assert (migration["state"], migration["twins"], migration["moved"], migration["problemCount"]) == (
        "planned",
        141,
        0,
        0,
    )
    assert {("letter", "renamed"), ("letter", "schema"), ("position", "unit")} <= {
        (change["path"], change["kind"]) for change in migration["breakingChanges"]
    }
    assert len(migration["samples"]) == 10
    assert [change["path"] for change in migration["samples"][0]["changes"]] == ["letter", "axis_letter"]

    done = (await api.data(ACT % "apply", {"id": migration["planId"]}))["applyModelMigration"]
    assert done["userErrors"] == []
    assert done["migration"] == {
        "planId": migration["planId"],
        "state": "applied",
        "running": False,
        "moved": 141,
        "twins": 141,
    }
    twin = (
        await api.data(
            """query ($seq: Long) { twin(id: "toulouse/line-1/cnc-01/axis-x", minSeq: $seq) {
              modelId properties value(path: "position", unit: "millimetre") } }""",
            {"seq": done["seq"]},
        )
    )["twin"]
    assert twin["modelId"] == "dtmi:com:twinloom:cnc:Axis;2"
    assert twin["properties"]["axis_letter"] == "X"
    assert "letter" not in twin["properties"]
    assert twin["properties"]["position"] == pytest.approx(0.25)
    assert twin["value"] == pytest.approx(250.0)

    again = (await api.data(ACT % "apply", {"id": migration["planId"]}))["applyModelMigration"]
    assert [error["code"] for error in again["userErrors"]] == ["CONFLICT"]
    back = (await api.data(ACT % "revert", {"id": migration["planId"]}))["revertModelMigration"]
    assert (back["migration"]["state"], back["migration"]["moved"]) == ("reverted", 0)
    assert await api.data('{ twin(id: "toulouse/line-1/cnc-01/axis-x") { modelId properties } }') == before
    listed = await api.data("{ modelMigrations { planId state } }")
    assert listed["modelMigrations"] == [{"planId": migration["planId"], "state": "reverted"}]


async def test_a_migration_that_means_nothing_is_a_user_error(api: Any) -> None:
    for given, code in (
        ({"from": AXIS, "to": AXIS}, "BAD_USER_INPUT"),
        ({"from": AXIS, "to": "dtmi:com:example:Nothing;1"}, "NOT_FOUND"),
        ({"from": AXIS, "to": SPINDLE, "renames": {"nothing": "speed"}}, "BAD_USER_INPUT"),
        ({"from": AXIS, "to": SPINDLE, "renames": ["letter"]}, "BAD_USER_INPUT"),
        ({"from": AXIS, "to": SPINDLE, "defaults": {"speed": "fast"}}, "MODEL_VIOLATION"),
    ):
        done = (await api.data(PLAN, {"input": given}))["planModelMigration"]
        assert (done["migration"], [error["code"] for error in done["userErrors"]]) == (None, [code]), given
    missing = (await api.data(ACT % "apply", {"id": "none"}))["applyModelMigration"]
    assert [error["code"] for error in missing["userErrors"]] == ["NOT_FOUND"]


async def test_a_reader_may_not_plan_a_migration(start: Any) -> None:
    api = await start(token="a-reader-of-the-tests-0123456789")
    answer = await api.ask(PLAN, {"input": {"from": AXIS, "to": SPINDLE}})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
