"""What confirmed failures teach, and what intervals promise."""

from __future__ import annotations

import json

import numpy as np
import pytest

from twinloom.prognostics.conformal import AdaptiveWidth, calibrate
from twinloom.prognostics.drift import DriftWatch
from twinloom.prognostics.learning import Given, Learner
from twinloom.twin.assessments import Health, ModelHealth, RulEstimate
from twinloom.twin.ids import TwinId


def test_mondrian_intervals_cover_what_they_promise_in_every_bin() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 90, 20_000)
    predicted = np.clip(truth + rng.standard_normal(20_000) * (2 + 0.2 * truth), 0, 90)
    table = calibrate(predicted[:10_000], truth[:10_000], (0, 30, 60, 90))
    assert table.half_widths[0] < table.half_widths[1]
    at = np.clip(np.searchsorted(table.edges, predicted[10_000:], side="right") - 1, 0, 2)
    inside = np.abs(predicted[10_000:] - truth[10_000:]) <= np.array(table.half_widths)[at]
    for k in range(3):
        assert inside[at == k].mean() == pytest.approx(0.9, abs=0.02)


def test_the_adaptive_width_holds_coverage_after_the_world_has_changed() -> None:
    rng, aci = np.random.default_rng(2), AdaptiveWidth()
    covered = {"static": [], "adaptive": []}  # type: ignore[var-annotated]
    for i in range(3000):
        error = rng.standard_normal() * (1.0 if i < 1000 else 2.5)
        half = 1.645
        if i >= 1500:
            covered["static"].append(abs(error) <= half)
            covered["adaptive"].append(abs(error) <= half * aci.factor)
        aci.learn(predicted=50.0, truth=50.0 + error, half_width=half)
    assert np.mean(covered["static"]) < 0.6
    assert np.mean(covered["adaptive"]) == pytest.approx(0.9, abs=0.03)


def test_an_adaptive_width_comes_back_from_json() -> None:
    aci, again = AdaptiveWidth(), AdaptiveWidth()
    for i in range(40):
        aci.learn(predicted=50.0, truth=50.0 + i % 7, half_width=3.0)
    again.restore(json.loads(json.dumps(aci.snapshot())))
    assert (again.factor, again.coverage) == (aci.factor, aci.coverage)


def lives(bias: float, count: int, seed: int = 3) -> list[tuple[list[Given], float]]:
    """Lives whose estimates are `bias` days too long, with some noise."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        end = float(rng.uniform(80, 200))
        ages = np.arange(14, int(end))
        left = np.minimum(end - ages, 90.0)
        given = np.clip(left + bias + 3 * rng.standard_normal(len(ages)), 0, 90)
        found.append(([Given(float(a), float(g), 15.0) for a, g in zip(ages, given, strict=True)], end))
    return found


def estimate(rul: float) -> RulEstimate:
    return RulEstimate(TwinId("m"), rul, max(rul - 15, 0), min(rul + 15, 90), Health.B, "x.", ModelHealth.OK, "v")


def test_a_constant_bias_is_learned_from_confirmed_failures() -> None:
    learner = Learner(90.0)
    for life, end in lives(bias=10.0, count=12):
        learner.failed(life, end)
    assert learner.adjust(estimate(50.0)).rul_days == pytest.approx(40.0, abs=4.0)
    assert learner.adjust(estimate(50.0)).details["model_gave"] == [50.0, 35.0, 65.0]


def test_the_correction_never_exceeds_thirty_per_cent_and_waits_for_three_lives() -> None:
    learner = Learner(90.0)
    for life, end in lives(bias=60.0, count=2):
        learner.failed(life, end)
    assert learner.adjust(estimate(50.0)) == estimate(50.0)
    for life, end in lives(bias=60.0, count=10):
        learner.failed(life, end)
    for rul in (5.0, 30.0, 80.0):
        assert abs(learner.adjust(estimate(rul)).rul_days - rul) <= 0.3 * rul + 1e-9


def test_a_model_whose_errors_grow_is_drifting_and_a_good_one_is_not() -> None:
    good, bad = Learner(90.0), Learner(90.0)
    for life, end in lives(bias=0.0, count=8):
        good.failed(life, end)
        bad.failed(life, end)
    for life, end in lives(bias=40.0, count=8, seed=4):
        bad.failed(life, end)
    assert good.health() == (ModelHealth.OK, "")
    assert bad.health()[0] is ModelHealth.DRIFTING
    assert bad.health()[1].startswith("performance:")


def test_a_learner_comes_back_from_json_as_it_was() -> None:
    learner, again = Learner(90.0), Learner(90.0)
    for life, end in lives(bias=8.0, count=6):
        learner.failed(life, end)
    again.restore(json.loads(json.dumps(learner.snapshot())))
    assert again.adjust(estimate(40.0)) == learner.adjust(estimate(40.0))
    assert (again.health(), again.lives, again.coverage) == (learner.health(), 6, learner.coverage)
    with pytest.raises((KeyError, TypeError, ValueError)):
        again.restore({"history": 3, "lives": 1})
    assert again.lives == 6


def test_drift_is_found_in_the_channel_that_moved_and_in_no_other() -> None:
    rng, watch = np.random.default_rng(1), DriftWatch(3)
    found: list[tuple[int, int]] = []
    for i in range(2000):
        row = rng.standard_normal(3)
        row[1] += 1.0 if i >= 1000 else 0.0
        row[2] = np.nan if i % 10 else row[2]
        found += [(i, channel) for channel in watch.observe(row)]
    assert {channel for _, channel in found} == {1}
    assert 1000 < min(i for i, _ in found) < 1150
