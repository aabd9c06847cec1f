"""Scoring beside the fold: due components in one batch, with a deadline, never an exception, kept over restarts."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from twinloom.prognostics.layout import CNC_SPINDLE, Channel, Feature, Layout
from twinloom.runtime.limits import Limits
from twinloom.runtime.scoring import Assignment
from twinloom.twin.assessments import Health, ModelHealth, RulEstimate
from twinloom.twin.commands import DeleteTwin
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.signals import ReadingsFolded, RulScored

PUMP = ModelId("dtmi:com:example:Pump;1")
LAYOUT = Layout(
    channels=(Channel("pressure", "mbar", 0.0, 1e6), Channel("count", "", 0.0, 1e9, live=False)),
    features=(Feature("pressure", "pressure"), Feature("age", "count", "age")),
    window=4,
    stride=10.0,
    clock="count",
)


class Given:
    """An estimator that answers with what it is told, when it is told."""

    def __init__(self) -> None:
        self.asked: list[list] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def estimate(self, windows):
        self.asked.append(list(windows))
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return [RulEstimate(w.twin, 40.0, 30.0, 50.0, Health.B, "go on", ModelHealth.OK, "abc") for w in windows]


async def strides(hand, twins, first, last):
    t = time.time_ns() - 3600 * 10**9
    for n in range(first, last):
        for twin in twins:
            await hand.push((twin, "pressure", 2.0 + n / 100), (twin, "count", 5.0 * n), at_ns=t + n * 10**9)


async def test_due_components_are_scored_in_one_batch_and_published_kept_and_trended(start, hand, until):
    given = Given()
    service = await start(estimator=given, assignments=[Assignment(PUMP, LAYOUT)])
    feed = service.feed.subscribe(capacity=10_000)
    await strides(hand, ["p0", "p1"], 0, 5)
    await until(lambda: service.estimates.latest("p0") and service.estimates.latest("p1"), "both are scored")
    window = given.asked[-1][0]
    assert window.features[-1][0] == pytest.approx(1000 * 2.025, rel=1e-2), "bar became the model's mbar"
    scored = [i for i in iter(feed.poll, None) if isinstance(i, RulScored)]
    assert {e.twin for s in scored for e in s.estimates} == {"p0", "p1"}
    assert service.estimates.seq_of("p0") in {s.seq for s in scored}
    await service.historian.flush()
    points = await service.history.read(TwinId("p0"), "rul_low", 0, 2 << 60, 10)
    assert set(points.value.tolist()) == {30.0}
    assert service.metrics.predictions["ok"] >= 2
    before = service.estimates.latest("p0")
    await service.stop()
    again = await start(estimator=given, assignments=[Assignment(PUMP, LAYOUT)])
    assert again.estimates.latest("p0") == before


async def test_a_late_model_never_blocks_the_fold_and_the_baseline_answers_degraded(start, hand, until):
    given = Given()
    given.go.clear()
    limits = Limits(scoring_deadline_s=0.05)
    service = await start(estimator=given, assignments=[Assignment(PUMP, LAYOUT)], limits=limits)
    feed = service.feed.subscribe(capacity=10_000)
    await strides(hand, ["p0"], 0, 5)
    await until(lambda: service.estimates.latest("p0"), "the baseline answers")
    estimate = service.estimates.latest("p0")
    assert (estimate.model_health, estimate.reason.partition(":")[0]) == (ModelHealth.DEGRADED, "late")
    assert sum(isinstance(i, ReadingsFolded) for i in iter(feed.poll, None)) == 5
    await strides(hand, ["p0"], 5, 9)
    await until(lambda: service.metrics.fallbacks.get("late", 0) >= 2, "while it hangs the baseline goes on")
    assert len(given.asked) == 1
    given.go.set()
    await until(lambda: service.scorer._running.done(), "the late run ends")
    await strides(hand, ["p0"], 9, 13)
    await until(lambda: service.estimates.latest("p0").model_health is ModelHealth.OK, "the model is asked again")


async def test_an_estimator_that_raises_is_replaced_by_the_baseline(start, hand, until):
    given = Given()
    given.error = ValueError("broken")
    service = await start(estimator=given, assignments=[Assignment(PUMP, LAYOUT)])
    await strides(hand, ["p0"], 0, 5)
    await until(lambda: service.estimates.latest("p0"), "the baseline answers")
    assert service.estimates.latest("p0").reason == "error: ValueError"
    assert service.health().state == "ok"


async def test_without_a_model_every_estimate_is_degraded_and_says_why(start, hand, until):
    service = await start(assignments=[Assignment(PUMP, LAYOUT)])
    await strides(hand, ["p0"], 0, 5)
    await until(lambda: service.estimates.latest("p0"), "the baseline answers")
    estimate = service.estimates.latest("p0")
    assert estimate.model_health is ModelHealth.DEGRADED
    assert estimate.reason.startswith("no_model")


async def test_features_go_on_after_a_restart_where_they_were(start, hand, until):
    given = Given()
    service = await start(estimator=given, assignments=[Assignment(PUMP, LAYOUT)])
    await strides(hand, ["p0"], 0, 5)
    await until(lambda: given.asked, "scored")
    await service.stop()
    again = await start(estimator=given, assignments=[Assignment(PUMP, LAYOUT)])
    asked = len(given.asked)
    await hand.push(("p0", "pressure", 2.5), ("p0", "count", 35.0))
    await until(lambda: len(given.asked) > asked, "scored again")
    assert given.asked[-1][0].strides > 2
    assert not np.isnan(given.asked[-1][0].features[-3:]).any()
    await again.stop()


async def test_the_estimate_of_a_deleted_twin_is_gone_for_good(start, hand, until):
    service = await start(estimator=Given(), assignments=[Assignment(PUMP, LAYOUT)])
    await strides(hand, ["p2"], 0, 5)
    await until(lambda: service.estimates.latest("p2"), "scored")
    service._keep_estimates()
    await service.commits.drained()
    await service.orders.execute(DeleteTwin(id=TwinId("p2")))
    assert service.estimates.latest("p2") is None
    assert "estimate" not in {kind for kind, _, _ in (await service.store.load()).records}
    await service.pipeline.scored([RulEstimate(TwinId("p2"), 1, 0, 2, Health.D, "", ModelHealth.OK, "v")])
    assert service.estimates.latest("p2") is None


def test_the_example_plants_layout_finds_its_channels(cnc_models):
    fields = cnc_models.fields("dtmi:com:twinloom:cnc:Spindle;1")
    assert {c.name for c in CNC_SPINDLE.channels} <= fields.keys()


async def test_cancelling_the_service_does_not_wait_for_a_model_that_hangs(start, hand, until):
    given = Given()
    given.go.clear()
    service = await start(estimator=given, assignments=[Assignment(PUMP, LAYOUT)], limits=Limits(scoring_deadline_s=30))
    await strides(hand, ["p0"], 0, 5)
    await until(lambda: given.asked, "the model hangs")
    await asyncio.wait_for(service.stop(), 5)
    given.go.set()
