"""Explanations, roll-ups, forecasts, scenarios and models over the API."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import pytest_asyncio

from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL
from twinloom.prognostics.served import Served
from twinloom.runtime.scoring import Assignment
from twinloom.twin.ids import ModelId

SPINDLE = "dtmi:com:twinloom:cnc:Spindle;1"
ONE, TWO = "toulouse/line-1/cnc-01/spindle", "toulouse/line-1/cnc-02/spindle"


@pytest_asyncio.fixture
async def scored(start: Any, make_service: Any, tmp_path: Path) -> Any:
    """A server with two scored spindles and a folder of models."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(DEFAULT_MODEL.with_name("cnc-spindle-lite.onnx"), folder / "other.onnx")
    served = Served.open()
    assignments = [Assignment(ModelId(SPINDLE), served.layout)]
    api = await start(service=make_service(estimator=served, assignments=assignments, models=folder))
    for day in range(100, 120):
        await live(api, ONE, day, 1.1)
        await live(api, TWO, day, 4.0)
    for twin in (ONE, TWO):
        await scored_by_the_model(api, twin)
    return api


async def scored_by_the_model(api: Any, twin: str) -> None:
    """Returns once the twin has an estimate of the full window, not of the model without history."""
    deadline = time.monotonic() + 20
    while (found := api.service.estimates.latest(twin)) is None or found.method != "onnx":
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)


async def live(api: Any, twin: str, day: int, vibration: float) -> None:
    values = {
        "vibration_x": vibration + day / 1000,
        "vibration_y": vibration * 0.9 + day / 900,
        "temperature": 40 + day / 100,
    }
    values |= {"load": 55.0, "speed": 8000.0, "power_on_hours": 24.0 * day}
    await api.measure({(twin, name): value for name, value in values.items()})


async def test_an_estimate_explains_itself(scored: Any) -> None:
    found = await scored.data("query($t: String!) { twin(id: $t) { rul { rulDays seq modelVersion } } }", {"t": ONE})
    rul = found["twin"]["rul"]
    said = await scored.data(
        """query($t: String!, $s: Long) { explainRul(twin: $t, seq: $s) {
             dtId seq exact difference method modelVersion rulDays modelGave recomputed qualityShare driftScore
             windowDigest window contributions { feature days } } }""",
        {"t": ONE, "s": rul["seq"]},
    )
    said = said["explainRul"]
    assert said["exact"] is True
    assert (said["rulDays"], said["seq"], said["modelVersion"]) == (rul["rulDays"], rul["seq"], rul["modelVersion"])
    assert said["recomputed"] == said["modelGave"]
    assert len(said["window"]["vibration_x"]) == 14
    assert said["contributions"]
    refused = await scored.ask('{ explainRul(twin: "toulouse") { exact } }')
    assert "rolled up" in refused["errors"][0]["message"]
    refused = await scored.ask('{ explainRul(twin: "nowhere") { exact } }')
    assert refused["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_plants_lines_and_machines_have_a_life_and_it_can_be_subscribed_to(scored: Any) -> None:
    query = "{ twin(id: %s) { rul { rulDays dtId method recommendation } health } }"
    plant = (await scored.data(query % '"toulouse"'))["twin"]
    part = (await scored.data(query % f'"{TWO}"'))["twin"]
    assert plant["rul"]["method"] == "rollup"
    assert plant["rul"]["rulDays"] == part["rul"]["rulDays"]
    assert plant["health"] == part["health"]
    assert plant["rul"]["recommendation"].startswith(TWO)
    async with scored.socket() as socket:
        await socket.subscribe(
            'subscription { rulChanged(filter: {ids: ["toulouse"]}) { estimate { dtId rulDays method } } }'
        )
        await socket.settle()
        await live(scored, TWO, 120, 6.0)
        changed = (await socket.data())["rulChanged"]["estimate"]
    assert (changed["dtId"], changed["method"]) == ("toulouse", "rollup")


async def test_a_forecast_keeps_to_its_budget_and_a_scenario_touches_nothing(scored: Any) -> None:
    found = await scored.data(
        f"""{{ rulForecast(twin: "toulouse/line-1", budgetMs: 2000) {{
               tookMs levels {{ name p95Ms }} whole {{ rulDays }}
               estimates {{ fidelity estimate {{ dtId rulDays }} }} }}
             new: scenario(twin: "{TWO}", input: {{newPart: true}}) {{ gainDays now {{ rulDays }} }}
             swap: scenario(twin: "{TWO}", input: {{swapWith: "{ONE}"}}) {{ gainDays }}
             line: scenario(twin: "toulouse/line-1", input: {{loadFactor: 0.5}}) {{
               gainDays now {{ rulDays }} then {{ rulDays }} components {{ dtId gainDays }} }} }}"""
    )
    forecast = found["rulForecast"]
    assert forecast["tookMs"] < 2000
    assert forecast["whole"]["rulDays"] == min(e["estimate"]["rulDays"] for e in forecast["estimates"])
    assert found["new"]["gainDays"] > 0
    assert found["swap"]["gainDays"] > 0
    assert found["new"]["now"] is None
    assert found["line"]["then"]["rulDays"] >= found["line"]["now"]["rulDays"]
    refused = await scored.ask('{ rulForecast(twin: "toulouse", budgetMs: 0) { tookMs } }')
    assert refused["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_models_are_loaded_swapped_and_rolled_back_by_who_may_write(scored: Any, tmp_path: Path) -> None:
    load = """mutation($f: String!) { loadRulModel(input: {file: $f, shadow: "*"}) {
                model { digest active shadows } userErrors { code } } }"""
    loaded = (await scored.data(load, {"f": "other.onnx"}))["loadRulModel"]
    assert loaded["userErrors"] == []
    digest = loaded["model"]["digest"]
    assert (loaded["model"]["active"], loaded["model"]["shadows"]) == ([], ["*"])
    refused = (await scored.data(load, {"f": "../other.onnx"}))["loadRulModel"]
    assert refused["userErrors"][0]["code"] == "NOT_FOUND"
    swap = "mutation($d: String!) { swapRulModel(input: {digest: $d}) { model { active } userErrors { message } } }"
    assert (await scored.data(swap, {"d": digest}))["swapRulModel"]["model"]["active"] == ["*"]
    assert (await scored.data("{ rulModels { digest active } }"))["rulModels"][0]["digest"] == digest
    back = "mutation { rollbackRulModel(input: {}) { model { digest } userErrors { code } } }"
    assert (await scored.data(back))["rollbackRulModel"]["model"]["digest"] != digest
    assert (await scored.data(back))["rollbackRulModel"]["userErrors"][0]["code"] == "CONFLICT"
    answer = await scored.http.post(
        "/graphql",
        json={"query": back},
        headers={"authorization": "Bearer a-reader-of-the-tests-0123456789"},
    )
    assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
