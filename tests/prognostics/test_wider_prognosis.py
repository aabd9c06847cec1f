"""Physics, fidelity within a budget, roll-up, what-if and what it is all worth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.prognostics.fidelity import FidelityChooser, Level
from twinloom.prognostics.high_fidelity import OdeMonteCarlo
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, OnnxEstimator
from twinloom.prognostics.physics import WearPhysics, archard_wear, paris_cycles, taylor_life
from twinloom.prognostics.rollup import RollUp, Rule, rule_of
from twinloom.prognostics.value import CostTable, as_text, value_report
from twinloom.prognostics.whatif import Scenario, what_if
from twinloom.twin.assessments import Health, ModelHealth, RulEstimate
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import TwinId


def test_the_closed_forms_obey_their_laws() -> None:
    assert taylor_life(100.0, c=200.0, n=0.25) / taylor_life(200.0, c=200.0, n=0.25) == pytest.approx(16.0)
    assert archard_wear(200.0, 10.0, k=1e-4, hardness_pa=1e9) == 2 * archard_wear(100.0, 10.0, k=1e-4, hardness_pa=1e9)
    for m in (2.0, 3.0):  # the closed form against the law integrated in small steps
        cracks = np.linspace(1e-3, 1e-2, 200_001)
        speed = 1e-11 * (100.0 * np.sqrt(np.pi * (cracks[1:] + cracks[:-1]) / 2)) ** m
        assert paris_cycles(1e-3, 1e-2, 100.0, c=1e-11, m=m) == pytest.approx((np.diff(cracks) / speed).sum(), rel=1e-4)


@pytest.mark.parametrize("physics", [WearPhysics(), OdeMonteCarlo(particles=60)], ids=lambda p: p.name)
def test_physics_tells_sick_from_sound_and_covers_the_truth(physics: WearPhysics, watch: Callable[..., Any]) -> None:
    fleet, bank = watch(18, days=16, seed=9)
    answers = physics.estimate(bank.windows([TwinId(f"m{i}/spindle") for i in range(18)]))
    truth = np.minimum(fleet.rul_days(), 90.0)
    estimates = [answer for answer in answers if isinstance(answer, RulEstimate)]
    assert len(estimates) == 18
    inside = [e.low <= t <= e.high for e, t in zip(estimates, truth, strict=True)]
    assert np.mean(inside) >= 0.8
    rul = np.array([e.rul_days for e in estimates])
    assert rul[truth < 20].max() < rul[truth > 80].mean()
    assert np.corrcoef(rul, truth)[0, 1] > 0.6


class Timed:
    """An estimator that answers, or hangs until let go."""

    def __init__(self, name: str, gate: threading.Event | None = None) -> None:
        self.name, self.version, self._gate = name, "v", gate

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        if self._gate is not None:
            assert self._gate.wait(30)
        return [RulEstimate(w.twin, 40.0, 30.0, 50.0, Health.B, "x.", ModelHealth.OK, "v", self.name) for w in windows]


def test_the_most_faithful_level_that_fits_the_budget_answers(windows: list[ComponentWindow]) -> None:
    levels = [Level(Timed("ml"), 0.0001), Level(Timed("rom"), 0.1), Level(Timed("ode"), 1.0)]
    chooser = FidelityChooser(levels)
    for budget, expected in ((60.0, "ode"), (2.0, "ode")):  # measured: ode is far faster than its guess
        estimates = chooser.estimate(windows, budget)
        assert {e.details["fidelity"] for e in estimates} == {expected}
        assert {e.model_health for e in estimates} == {ModelHealth.OK}
    chooser.close()
    fresh = FidelityChooser([Level(Timed("ml"), 0.0001), Level(Timed("rom"), 0.1), Level(Timed("ode"), 1.0)])
    assert {e.details["fidelity"] for e in fresh.estimate(windows, 1.0)} == {"rom"}
    assert {e.details["fidelity"] for e in fresh.estimate(windows, 0.00001)} == {"baseline"}
    fresh.close()


def test_an_overrun_is_left_behind_and_the_next_lower_level_answers_degraded(windows: list[ComponentWindow]) -> None:
    gate = threading.Event()
    slow = Level(Timed("ode", gate), 1e-9)
    slow.link = type(slow.link)(slow.estimator, 0.1)
    chooser = FidelityChooser([Level(Timed("ml"), 1e-9), slow])
    begun = threading.Timer(30, gate.set)
    begun.start()
    estimates = chooser.estimate(windows, 0.5)
    begun.cancel()
    gate.set()
    chooser.close()
    assert {(e.details["fidelity"], e.model_health) for e in estimates} <= {
        ("ml", ModelHealth.DEGRADED),
        ("baseline", ModelHealth.DEGRADED),
    }
    assert all(e.reason.startswith("late") for e in estimates)
    assert slow.p95_s > 0.01


PARENT = {f"p{p}/m{m}/c{c}": f"p{p}/m{m}" for p in range(2) for m in range(3) for c in range(3)}
PARENT |= {f"p{p}/m{m}": f"p{p}" for p in range(2) for m in range(3)}
LEAVES = sorted(PARENT.keys() - set(PARENT.values()))


def rul_of(twin: str, days: float) -> RulEstimate:
    zone = Health.D if days < 14 else Health.A
    return RulEstimate(TwinId(twin), days, days / 2, days * 1.5, zone, "x.", ModelHealth.OK, "v")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LEAVES), st.floats(0, 90)), max_size=30),
    st.sampled_from([Rule(), Rule("k-of-n", 2)]),
)
def test_incremental_roll_up_equals_rolling_up_everything_at_the_end(
    changes: list[tuple[str, float]], rule: Rule
) -> None:
    parent: Callable[[TwinId], TwinId | None] = lambda twin: TwinId(PARENT[twin]) if twin in PARENT else None  # noqa: E731
    step, whole = RollUp(parent, rule_for=lambda twin: rule), RollUp(parent, rule_for=lambda twin: rule)
    for twin, days in changes:
        step.update([rul_of(twin, days)])
    whole.update([rul_of(twin, days) for twin, days in dict(changes).items()])
    for twin in {*PARENT.values()}:
        assert step.get(TwinId(twin)) == whole.get(TwinId(twin))


def test_rules_say_how_a_whole_lasts() -> None:
    parent: Callable[[TwinId], TwinId | None] = lambda twin: TwinId("m") if twin != "m" else None  # noqa: E731
    parts = [rul_of("a", 10.0), rul_of("b", 40.0), rul_of("c", 70.0)]
    expected = {"min": 10.0, "k-of-n 2": 40.0, "k-of-n 1": 70.0, "weighted": 55.0}
    weight = {"a": 0.0, "b": 1.0, "c": 1.0}
    for text, days in expected.items():
        rolled = RollUp(parent, rule_for=lambda twin, t=text: rule_of(f"rollup: {t}"), weight_of=lambda t: weight[t])
        (value,) = rolled.update(parts)
        assert value.rul_days == days, text
    assert rule_of("a machine like any other") == Rule()
    with pytest.raises(BadRequest, match="median"):
        rule_of("rollup: median")


def test_a_part_taken_away_no_longer_counts() -> None:
    parent: Callable[[TwinId], TwinId | None] = lambda twin: TwinId("m") if twin != "m" else None  # noqa: E731
    rolled = RollUp(parent)
    rolled.update([rul_of("a", 10.0), rul_of("b", 40.0)])
    (value,) = rolled.remove(TwinId("a"))
    assert (value.rul_days, value.deciding, value.health) == (40.0, "b", Health.A)
    assert rolled.remove(TwinId("b")) == [] and rolled.get(TwinId("m")) is None


def test_a_scenario_changes_the_estimate_and_leaves_reality_alone(watch: Callable[..., Any]) -> None:
    _, bank = watch(6, days=20)
    windows = bank.windows([TwinId(f"m{i}/spindle") for i in range(6)])
    model = OnnxEstimator.open(DEFAULT_MODEL, trusted=True)

    def score(asked: Sequence[ComponentWindow]) -> list[RulEstimate]:
        return [answer for answer in model.estimate(asked) if isinstance(answer, RulEstimate)]

    before = bank.snapshot()
    ruls = [estimate.rul_days for estimate in score(windows)]
    sick, sound = windows[int(np.argmin(ruls))], windows[int(np.argmax(ruls))]
    assert what_if(sick, Scenario(load_factor=0.7), score).gain_days > 0
    assert what_if(sick, Scenario(load_factor=1.5), score).gain_days < 0
    assert what_if(sick, Scenario(new_part=True), score).then.rul_days > 60
    swapped = what_if(sick, Scenario(swap=sound), score)
    assert swapped.then.twin == sick.twin
    assert swapped.then.rul_days == pytest.approx(max(ruls))
    assert bank.snapshot() == before


@pytest.mark.parametrize("wrong", [{"load_factor": 0.0}, {"load_factor": 9.0}, {"load_factor": float("nan")}])
def test_a_scenario_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadRequest):
        Scenario(**wrong)  # type: ignore[arg-type]


def test_a_clairvoyant_policy_beats_the_two_others_and_the_sums_are_right() -> None:
    lives = [60.0, 100.0, 140.0, 180.0]
    costs = CostTable(investment=100_000.0, running_per_year=1000.0)
    report = value_report(lives, lambda i: lives[i] - np.arange(1, int(lives[i]) + 1), costs, machines=10, years=2)
    failing, fixed, predictive = report.outcomes
    assert failing.replacements == 0 and failing.life_used == 1.0
    assert predictive.failures == 0 and predictive.mtbf_days == float("inf")
    assert predictive.cost < min(failing.cost, fixed.cost)
    for o in report.outcomes:
        assert o.cost == pytest.approx(
            o.downtime_hours * 450 + (o.failures + o.replacements) * 6500 + o.failures * 4000
        )
        assert o.downtime_hours == pytest.approx(36 * o.failures + 6 * o.replacements)
    best = min(failing.cost, fixed.cost)
    assert report.saved_per_year == pytest.approx((best - predictive.cost) / 2 - 1000)
    assert report.payback_years == pytest.approx(100_000 / report.saved_per_year)
    text = as_text(report, costs)
    assert "Assumptions:" in text and "payback" in text
    assert report.as_json()["outcomes"][2]["mtbf_days"] is None


def test_a_blind_policy_is_worth_nothing() -> None:
    report = value_report([50.0] * 4, lambda i: np.full(50, np.nan), CostTable(), machines=5, years=1)
    assert report.outcomes[2].failures == report.outcomes[0].failures
    assert report.saved_per_year <= 0 and report.payback_years == float("inf")


@pytest.mark.parametrize("document", [{"parts": 3}, {"part": -1}, {"part": "dear"}, {"part": True}, {"currency": 3}])
def test_a_cost_that_means_nothing_is_named(document: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(document))):
        CostTable.read(document)


def test_physics_refuses_what_it_cannot_explain(windows: list[ComponentWindow]) -> None:
    strange = replace(windows[0], daily=np.where(np.isnan(windows[0].daily), np.nan, windows[0].daily * 30))
    (answer,) = WearPhysics().estimate([strange])
    assert isinstance(answer, Refused)
    assert answer.code in ("unexplained", "out_of_range")
