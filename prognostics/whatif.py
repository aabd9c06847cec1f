"""What if: a scenario laid over a component's window and scored again; reality is never touched.

A change of load moves the model's inputs and, by Archard's law, the rate of wear: the answer is the model's estimate
of the window as it is, stretched by (1 / load factor)^m from the day of the change on. A new part has no wear: its
window is that of a part that has just run in. A swap scores the other component's window in this machine's place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from twinloom.prognostics.advice import LIMITS, ZoneLimits, recommendation, zone
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.errors import BadRequest

_WEAR_EXPONENT = 1.25  # between 1 and 1.5 for the spindles of `twinloom.twin.wear`

Scored = Callable[[Sequence[ComponentWindow]], list[RulEstimate]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`load_factor`: 0.8 is a fifth less load from now on. `new_part`: the component is replaced today. `swap`: the
    window of the component that takes its place. One of the last two at most."""

    load_factor: float = 1.0
    new_part: bool = False
    swap: ComponentWindow | None = None

    def __post_init__(self) -> None:
        if not 0.1 <= self.load_factor <= 3.0:
            raise BadRequest(f"a load factor of {self.load_factor:g} means nothing", remedy="use 0.1 to 3")
        if self.new_part and self.swap is not None:
            raise BadRequest("a part is either new or another machine's", remedy="give one of the two")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """now: the estimate as things are; then: in the scenario; gain_days: the difference."""

    now: RulEstimate
    then: RulEstimate

    @property
    def gain_days(self) -> float:
        return self.then.rul_days - self.now.rul_days


def what_if(
    window: ComponentWindow, scenario: Scenario, score: Scored, *, cap_days: float = 90.0, limits: ZoneLimits = LIMITS
) -> WhatIf:
    """Scores the window as it is and under the scenario, in one batch of `score` (a chain's `estimate`)."""
    if scenario.swap is not None:
        overlaid = replace(scenario.swap, twin=window.twin)
    else:
        overlaid = run_in(window) if scenario.new_part else window
    now, then = score([window, overlaid])
    if scenario.load_factor != 1.0:
        stretch = scenario.load_factor**-_WEAR_EXPONENT
        rul = min(then.rul_days * stretch, cap_days)
        low, high = min(then.low * stretch, rul), max(min(then.high * stretch, cap_days), rul)
        level = _level(overlaid)
        health = zone(level, rul, limits)
        then = replace(
            then,
            rul_days=rul,
            low=low,
            high=high,
            health=health,
            recommendation=recommendation(health, rul, low),
            details={**then.details, "load_factor": scenario.load_factor},
        )
    return WhatIf(now, then)


def run_in(window: ComponentWindow) -> ComponentWindow:
    """The window of a new part in the same machine: the work stays, vibration is that of zone A and age starts at 0."""
    layout = window.layout
    features, daily = window.features.copy(), window.daily.copy()
    for i, feature in enumerate(layout.features):
        if feature.transform == "age":
            features[:, i] = layout.stride * np.arange(1, layout.window + 1)
        elif feature.channel.startswith("vibration"):
            features[:, i] = 0.8 * LIMITS.vibration[0]
    for i, channel in enumerate(layout.channels):
        if channel.name.startswith("vibration"):
            daily[:, i] = 0.8 * LIMITS.vibration[0]
    age = layout.stride * layout.window
    return replace(window, features=features, daily=daily, age=age, since_install=True)


def _level(window: ComponentWindow) -> float:
    columns = [i for i, channel in enumerate(window.layout.channels) if channel.name.startswith("vibration")]
    return float(window.daily[-1, columns].max()) if columns else float("nan")
