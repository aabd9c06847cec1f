"""Zones, recommendations and the rule that answers when no model does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from twinloom.prognostics.advice import recommendation, zone, zone_of_vibration
from twinloom.prognostics.baseline import RuleBaseline
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.twin.assessments import Health, RulEstimate


@pytest.mark.parametrize(
    ("rms", "expected"),
    [(0.5, "A"), (1.4, "A"), (1.41, "B"), (2.8, "B"), (4.5, "C"), (4.51, "D"), (float("nan"), "unknown")],
)
def test_zones_begin_above_their_limits(rms: float, expected: str) -> None:
    assert zone_of_vibration(rms).value == expected


@pytest.mark.parametrize(
    ("rms", "rul", "expected"),
    [
        (1.0, 90, "A"),
        (1.0, 59, "B"),
        (1.0, 29, "C"),
        (1.0, 13, "D"),
        (5.0, 90, "D"),
        (2.0, 29, "C"),
        (float("nan"), 90, "A"),
    ],
)
def test_a_short_life_worsens_the_zone_of_the_vibration(rms: float, rul: float, expected: str) -> None:
    assert zone(rms, rul).value == expected


def test_advice_becomes_more_urgent_and_says_when_it_is_only_a_rule() -> None:
    assert recommendation(Health.A, 90, 70) == "No action."
    assert "Replace within 8 days" in recommendation(Health.D, 12, 8)
    assert "Replace now" in recommendation(Health.D, 3, 0)
    assert "inspect first" in recommendation(Health.D, 3, 0, trusted=False)
    assert "inspect" not in recommendation(Health.A, 90, 70, trusted=False)


def rising(window: ComponentWindow, start: float, slope: float) -> ComponentWindow:
    daily = window.daily.copy()
    daily[:, :2] = (start + slope * np.arange(len(daily)))[:, None]
    return replace(window, daily=daily)


def judged(window: ComponentWindow) -> RulEstimate:
    (answer,) = RuleBaseline().estimate([window])
    assert isinstance(answer, RulEstimate)
    return answer


def test_a_rising_vibration_is_extrapolated_to_the_end_of_zone_c(windows: list[ComponentWindow]) -> None:
    estimate = judged(rising(windows[0], 1.5, 0.1))  # 2.8 on the last of 14 days: 17 days to 4.5
    assert estimate.rul_days == pytest.approx(17.0, abs=0.01)
    assert estimate.low < 17 < estimate.high
    assert estimate.details["rule"] == "trend"


def test_a_level_vibration_is_judged_by_its_zone(windows: list[ComponentWindow]) -> None:
    lives = [judged(rising(windows[0], level, 0.0)).rul_days for level in (1.0, 2.0, 3.5, 5.0)]
    assert lives == sorted(lives, reverse=True) and lives[0] == 90 and lives[-1] == 5


def test_the_rule_covers_the_truth_widely_on_a_whole_fleet(watch: Callable[..., Any]) -> None:
    fleet, bank = watch(24, days=16, seed=31)
    estimates = [judged(window) for window in bank.due()]
    truth = {f"m{i}/spindle": rul for i, rul in enumerate(np.minimum(fleet.rul_days(), 90))}
    inside = [estimate.low <= truth[estimate.twin] <= estimate.high for estimate in estimates]
    assert np.mean(inside) >= 0.7
