"""Estimates in the running service: where they came from, what stands above them, whether they can be trusted."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.seed import read_plant
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL
from twinloom.prognostics.served import Served
from twinloom.runtime.alerts import MODEL_HEALTH
from twinloom.runtime.limits import Limits
from twinloom.runtime.prognosis import life_of
from twinloom.runtime.rules import read_rules
from twinloom.runtime.scoring import Assignment
from twinloom.runtime.service import Service
from twinloom.twin.assessments import AlertState, ModelHealth
from twinloom.twin.commands import CloseWorkOrder, CreateTwin, DeleteTwin, UploadModels
from twinloom.twin.errors import BadFile, BadRequest, Conflict, NotFound
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.readings import ReadingBatch
from twinloom.twin.signals import RulScored

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "cnc"
SPINDLE = ModelId("dtmi:com:twinloom:cnc:Spindle;1")
ONE = TwinId("toulouse/line-1/cnc-01/spindle")
TWO = TwinId("toulouse/line-1/cnc-02/spindle")
BAD = 0x80000000

Begin = Callable[..., Awaitable[Service]]


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """Starts a service over the CNC plant with the packaged models; again: over the same folder."""
    running: list[Service] = []

    async def start(**more: Any) -> Service:
        served = Served.open()
        service = Service(
            store=SqliteStore(tmp_path / "twins.db"),
            history=DuckdbHistory(tmp_path / "history.db"),
            seed=read_plant(EXAMPLES / "plant.yaml").changes,
            rules=read_rules(EXAMPLES / "rules.yaml"),
            estimator=served,
            assignments=[Assignment(SPINDLE, served.layout)],
            limits=Limits(history_interval_s=0.02, scoring_deadline_s=10.0),
            **more,
        )
        await service.start()
        running.append(service)
        return service

    yield start
    for service in running:
        await service.stop()


async def live(service: Service, twin: TwinId, days: range, *, vibration: float = 1.1, quality: int = 0) -> None:
    """Hands over one reading a channel and day; returns when the last day is scored."""
    row = service.hot.row(twin)
    assert row is not None
    for day in days:
        values = {
            "vibration_x": vibration + day / 1000,
            "vibration_y": vibration * 0.9 + day / 1000,
            "temperature": 40 + day / 100,
            "load": 55.0,
            "speed": 8000.0,
            "power_on_hours": 24.0 * day,
        }
        now = time.time_ns()
        service_slots = [service.hot.slot(row, name) for name in values]
        qualities = [0 if name == "power_on_hours" else quality for name in values]
        await service.pipeline.accept(
            ReadingBatch(
                "test",
                np.array(service_slots, np.int32),
                np.array(list(values.values())),
                np.full(len(values), now),
                np.array(qualities, np.uint32),
                now,
                (),
            )
        )
        await service.pipeline.ingest.drained()

    def scored() -> bool:
        window, estimate = service.scorer.seen.get(twin), service.estimates.latest(twin)
        return (
            window is not None
            and estimate is not None
            and window.age == 24.0 * days[-1]
            and estimate.source_time_ns == window.source_time_ns
        )

    await eventually(scored, "scored")


async def eventually(holds: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.005)


async def test_an_estimate_is_computed_again_bit_for_bit_also_after_a_restart(begin: Begin) -> None:
    service = await begin()
    await live(service, ONE, range(100, 120))
    first, seq = service.estimates.latest(ONE), service.estimates.seq_of(ONE)
    assert first is not None
    assert (first.method, first.model_health) == ("onnx", ModelHealth.OK)
    await live(service, ONE, range(120, 122), vibration=4.0)
    await service.stop()

    again = await begin()
    found = await again.prognosis.explain(ONE, seq)
    assert found.explanation.exact
    assert found.explanation.difference == ""
    assert found.record["model"] == hashlib.sha256(DEFAULT_MODEL.read_bytes()).hexdigest()[:12]
    assert found.explanation.estimate.rul_days == first.rul_days  # type: ignore[union-attr]
    assert (found.record["low"], found.record["high"]) == (first.low, first.high)
    assert found.window.quality_share == first.quality_share == 1.0
    assert found.explanation.contributions
    latest = await again.prognosis.explain(ONE)
    assert latest.record["seq"] > seq
    with pytest.raises(NotFound):
        await again.prognosis.explain(ONE, 1)


async def test_machines_lines_and_plants_carry_the_least_of_their_parts_and_say_which(begin: Begin) -> None:
    service = await begin()
    feed = service.feed.subscribe(capacity=10_000)
    await live(service, ONE, range(100, 120))
    await live(service, TWO, range(100, 120), vibration=5.0)
    one, two = service.estimates.latest(ONE), service.estimates.latest(TWO)
    assert one is not None
    assert two is not None
    assert two.rul_days < one.rul_days
    for whole, worst in (
        ("toulouse/line-1/cnc-01", one),
        ("toulouse/line-1/cnc-02", two),
        ("toulouse/line-1", two),
        ("toulouse", two),
    ):
        rolled = service.estimates.latest(whole)
        assert rolled is not None, whole
        assert (rolled.rul_days, rolled.health, rolled.method) == (worst.rul_days, worst.health, "rollup")
        assert rolled.details["deciding"] == worst.twin
    assert service.estimates.latest("hamburg") is None
    published = {e.twin for s in iter(feed.poll, None) if isinstance(s, RulScored) for e in s.estimates}
    assert {"toulouse", "toulouse/line-1", "toulouse/line-1/cnc-02"} <= published
    with pytest.raises(BadRequest, match="rolled up from toulouse/line-1/cnc-02/spindle"):
        await service.prognosis.explain(TwinId("toulouse"))

    await service.orders.execute(DeleteTwin(id=TWO, detach=True))
    await eventually(lambda: service.estimates.latest("toulouse").rul_days == one.rul_days, "the other decides")  # type: ignore[union-attr]
    assert service.estimates.latest("toulouse/line-1/cnc-02") is None
    await service.stop()
    again = await begin()
    assert again.estimates.latest("toulouse").details["deciding"] == ONE  # type: ignore[union-attr]


async def test_degraded_estimates_raise_one_alert_that_clears_when_they_are_good_again(begin: Begin) -> None:
    service = await begin()

    def standing() -> list[Any]:
        return service.alerts.find(rule=MODEL_HEALTH, states=[AlertState.RAISED])

    await live(service, ONE, range(100, 120))
    for day in (120, 121, 122):
        await live(service, ONE, range(day, day + 1), quality=BAD)
    await eventually(standing, "the alert")
    (alert,) = standing()
    assert alert.twin == ONE
    assert "bad_quality" in alert.message
    await live(service, ONE, range(123, 140))
    await eventually(lambda: not standing(), "it clears")
    assert len(service.alerts.find(rule=MODEL_HEALTH)) == 1


async def test_a_model_that_drifts_raises_one_alert_a_plant(begin: Begin) -> None:
    service = await begin()
    await live(service, ONE, range(100, 120))
    digest = service.prognosis.served.version  # type: ignore[union-attr]
    service.prognosis.served.health_changed(
        digest, ModelHealth.DRIFTING, "drift: load is 3.0 deviations above training"
    )  # type: ignore[union-attr, misc]
    await eventually(lambda: service.alerts.find(rule=MODEL_HEALTH), "the alert")
    (alert,) = service.alerts.find(rule=MODEL_HEALTH)
    assert (alert.twin, "drift: load" in alert.message) == ("toulouse", True)
    service.prognosis.served.health_changed(digest, ModelHealth.OK, "")  # type: ignore[union-attr, misc]
    await eventually(lambda: not service.alerts.current(), "it clears")


async def test_a_scenario_scores_again_and_leaves_no_trace(begin: Begin) -> None:
    service = await begin()
    await live(service, ONE, range(100, 120), vibration=4.0)
    await live(service, TWO, range(100, 120))
    before = dict(service.metrics.predictions), service.feed.last_seq, service.estimates.latest(ONE)
    (less,), _, _ = await service.prognosis.scenario(ONE, load_factor=0.5)
    assert less.gain_days > 0
    (new,), _, _ = await service.prognosis.scenario(ONE, new_part=True)
    assert new.then.rul_days > new.now.rul_days
    (swapped,), _, _ = await service.prognosis.scenario(ONE, swap=TWO)
    assert swapped.then.rul_days == service.estimates.latest(TWO).rul_days  # type: ignore[union-attr]
    answers, now, then = await service.prognosis.scenario(TwinId("toulouse/line-1/cnc-01"), new_part=True)
    assert now is not None
    assert then is not None
    assert (len(answers), now.rul_days, then.rul_days) == (1, new.now.rul_days, new.then.rul_days)
    assert (dict(service.metrics.predictions), service.feed.last_seq, service.estimates.latest(ONE)) == before
    with pytest.raises(BadRequest):
        await service.prognosis.scenario(TwinId("derby"), load_factor=99)


async def test_a_larger_budget_gives_a_more_faithful_forecast(begin: Begin) -> None:
    service = await begin()
    await live(service, ONE, range(100, 120), vibration=3.0)
    tiny = await service.prognosis.forecast(ONE, 0.0005)
    assert tiny.estimates[0].details["fidelity"] == "baseline"
    assert tiny.estimates[0].reason.startswith("late")
    light = await service.prognosis.forecast(ONE, 0.015)
    assert light.estimates[0].details["fidelity"] in ("onnx", "physics")
    levels: set[str] = set()
    async with asyncio.timeout(60):
        while "ode" not in levels:
            high = await service.prognosis.forecast(ONE, 8.0)
            levels.add(str(high.estimates[0].details["fidelity"]))
    assert 0 <= high.estimates[0].low <= high.estimates[0].rul_days <= high.estimates[0].high


async def test_a_confirmed_failure_is_durable_and_teaches_the_model_that_gave_the_estimates(begin: Begin) -> None:
    service = await begin()
    await live(service, ONE, range(100, 120), vibration=6.0)
    for day in range(120, 124):
        await live(service, ONE, range(day, day + 1), vibration=6.0)
    await eventually(lambda: service.work_orders.find(twin=ONE), "a work order")
    (order, *_) = service.work_orders.find(twin=ONE)
    await service.orders.execute(CloseWorkOrder(order=order.id, failure_confirmed=True))
    (model, *_) = service.prognosis.models.loaded()
    await eventually(lambda: service.prognosis.models.get(model.digest).lives == 1, "learned", 60)
    await service.commits.drained()
    assert b"prediction_interval_coverage{" in service.metrics.text()
    await service.stop()
    again = await begin()
    await eventually(lambda: again.prognosis.models.get(model.digest).lives == 1, "known again", 60)


def test_the_life_that_failed_is_the_one_during_which_the_order_was_opened() -> None:
    def kept(age: float, at: int, model: str = "m") -> dict[str, Any]:
        return {"window": {"age": age}, "published_ns": at, "model": model, "model_gave": [10.0, 5.0, 15.0]}

    records = [kept(24, 1), kept(48, 2), kept(72, 3), kept(24, 10), kept(48, 11)]
    assert life_of(records, 5) == ({"m": [(24, 10.0, 5.0), (48, 10.0, 5.0), (72, 10.0, 5.0)]}, 72.0)
    assert life_of(records, 11)[1] == 48.0


async def test_models_are_swapped_by_digest_rolled_back_and_in_force_again_after_a_restart(
    begin: Begin, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(DEFAULT_MODEL.with_name("cnc-spindle-lite.onnx"), folder / "other.onnx")
    (folder / "broken.onnx").write_bytes(b"no model")
    service = await begin(models=folder)
    models = service.prognosis.models
    (first,) = models.loaded()
    for name in ("../other.onnx", "/etc/passwd", "none.onnx"):
        with pytest.raises(NotFound):
            await models.load(name, "ann")
    with pytest.raises(BadFile):
        await models.load("broken.onnx", "ann")
    with pytest.raises(Conflict):
        await models.roll_back("*", "ann")
    other = await models.load("other.onnx", "ann")
    assert other.active == ()
    await models.shadow(other.digest, "*", "ann")
    await live(service, ONE, range(100, 120))
    assert service.estimates.latest(ONE).model_version == first.digest  # type: ignore[union-attr]
    assert models.get(other.digest).figures.windows > 0  # type: ignore[union-attr]
    await models.swap(other.digest, SPINDLE, "ann")
    await live(service, ONE, range(120, 121))
    assert service.estimates.latest(ONE).model_version == other.digest  # type: ignore[union-attr]
    await service.stop()

    again = await begin(models=folder)
    await eventually(lambda: len(again.prognosis.models.loaded()) == 2, "loaded again")
    assert again.prognosis.models.get(other.digest).active == (SPINDLE,)
    await again.prognosis.models.swap(first.digest, SPINDLE, "ann")
    assert (await again.prognosis.models.roll_back(SPINDLE, "ann")).digest == other.digest


async def test_a_rule_in_the_models_comment_decides_what_a_whole_lasts(begin: Begin) -> None:
    service = await begin()
    line = "dtmi:com:example:Pair;1"
    document = {
        "@context": "dtmi:dtdl:context;3",
        "@id": line,
        "@type": "Interface",
        "comment": "One of the two must run. rollup: k-of-n 1",
        "contents": [{"@type": "Relationship", "name": "contains"}],
    }
    await service.orders.execute(UploadModels(documents=(document,)))
    await service.orders.execute(CreateTwin(id=TwinId("pair"), model=ModelId(line)))
    rule = service.prognosis.rollups.rule_for(TwinId("pair"))
    assert (rule.kind, rule.k) == ("k-of-n", 1)
