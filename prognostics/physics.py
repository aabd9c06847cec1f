"""Reduced-order physics of wear: Archard's law on the vibration that shows it, followed by a particle filter.

Archard: worn volume grows with load times sliding distance, so damage D grows by `rate` * load share an hour. Once D
passes an onset, vibration grows with h = ((D - onset) / (1 - onset))^g, the form of a spalling bearing. Each particle
is one hypothesis of (D, rate, onset, g, base, gain); the days of the window weigh them by how well they explain the
vibration seen, and the survivors' remaining lives are the estimate. No training data enters: the priors are ranges.
`taylor_life`, `archard_wear` and `paris_cycles` are the closed forms for tools, contacts and cracks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.advice import LIMITS, ZoneLimits, recommendation, zone
from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.twin.assessments import ModelHealth, RulEstimate

Floats = npt.NDArray[np.float64]

_PARTICLES = 500
_STRIDES = 5
_NEEDED = ("vibration_x", "vibration_y", "load")


def taylor_life(speed_m_min: float, *, c: float, n: float, feed: float = 1.0, feed_exponent: float = 0.0) -> float:
    """Tool life T [min] by Taylor's extended law v T^n f^a = C.

    >>> round(taylor_life(100.0, c=200.0, n=0.25), 3)
    16.0
    """
    return float((c / (speed_m_min * feed**feed_exponent)) ** (1 / n))


def archard_wear(load_n: float, sliding_m: float, *, k: float, hardness_pa: float) -> float:
    """Worn volume V [m3] by Archard's law V = k F s / H.

    >>> archard_wear(100.0, 1000.0, k=1e-4, hardness_pa=1e9)
    1e-08
    """
    return k * load_n * sliding_m / hardness_pa


def paris_cycles(
    start_m: float, end_m: float, stress_range_mpa: float, *, c: float, m: float, geometry: float = 1.0
) -> float:
    """Load cycles for a crack to grow from `start_m` to `end_m` by Paris' law da/dN = C (Y ds sqrt(pi a))^m, in closed
    form. c in m/cycle per (MPa sqrt(m))^m.

    >>> round(paris_cycles(1e-3, 1e-2, 100.0, c=1e-11, m=3.0))
    776634
    """
    factor = c * (geometry * stress_range_mpa * np.sqrt(np.pi)) ** m
    if m == 2:
        return float(np.log(end_m / start_m) / factor)
    power = 1 - m / 2
    return float((end_m**power - start_m**power) / (power * factor))


class WearPhysics:
    """A particle filter over the window of each component. `life_hours`: 5 and 95 % of the lives that the handbook
    gives for this part at nominal load; the seed makes an estimate reproducible."""

    name = "physics"
    version = "archard-pf-1"

    def __init__(
        self,
        *,
        particles: int = _PARTICLES,
        life_hours: tuple[float, float] = (1200.0, 12_000.0),
        cap_days: float = 90.0,
        limits: ZoneLimits = LIMITS,
        seed: int = 1,
    ) -> None:
        self._n = particles
        self._life = life_hours
        self._cap = cap_days
        self._limits = limits
        self._seed = seed

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """One answer a window; refuses windows of fewer than five days or without vibration and load."""
        return [self._one(window) for window in windows]

    def _one(self, window: ComponentWindow) -> RulEstimate | Refused:
        columns = [window.layout.channel_index(name) for name in _NEEDED]
        if min(columns) < 0:
            return Refused(window.twin, "layout: no vibration and load to follow")
        strides = min(window.strides, window.layout.window)
        reason = window.unfit(columns, max(strides, _STRIDES))
        if reason:
            return Refused(window.twin, reason)
        rows = window.daily[-strides:]
        seen = np.fmax(rows[:, columns[0]], rows[:, columns[1]])
        load = np.nan_to_num(rows[:, columns[2]], nan=float(np.nanmean(rows[:, columns[2]]))) / 100
        if not (np.isfinite(window.age) and np.nanmax(seen) < 100):
            return Refused(window.twin, "out_of_range: vibration beyond what this physics describes")
        particles = self._explaining(seen, load, window.age, window.layout.stride)
        if particles is None:
            return Refused(window.twin, "unexplained: no particle explains the vibration seen")
        days = np.clip(self._hours_left(*particles, load[-1]) / 24.0, 0.0, self._cap)
        low, rul, high = (float(value) for value in (np.quantile(days, 0.05), days.mean(), np.quantile(days, 0.95)))
        health = zone(float(seen[-1]), rul, self._limits)
        return RulEstimate(
            twin=window.twin,
            rul_days=rul,
            low=min(low, rul),
            high=max(high, rul),
            health=health,
            recommendation=recommendation(health, rul, low),
            model_health=ModelHealth.OK,
            model_version=self.version,
            method=self.name,
            source_time_ns=window.source_time_ns,
            quality_share=window.quality_share,
            details={"particles": self._n},
        )

    def _hours_left(self, damage: Floats, rate: Floats, load: float) -> Floats:
        """Hours until D = 1 for each particle: at a constant rate, the mean of its past."""
        left: Floats = (1 - damage) / np.maximum(rate, 1e-9)
        return left

    def _explaining(self, seen: Floats, load: Floats, age_h: float, stride_h: float) -> tuple[Floats, Floats] | None:
        """Damage and its rate an hour, each (particles,), resampled by how well they explain the vibration seen; None
        when no particle does."""
        rng, n = np.random.default_rng(self._seed), self._n
        life = np.exp(rng.uniform(math.log(self._life[0]), math.log(self._life[1]), n))
        onset, growth = rng.uniform(0.3, 0.7, n), rng.uniform(1.3, 3.2, n)
        gain = np.exp(rng.normal(np.log(5.5), 0.25, n))
        # D at the window's end: what the age and the life suggest, spread wide, for age is a weak witness.
        damage = np.clip(rng.normal(age_h / life, 0.25), 0.0, 1.0)
        damage[n // 4 :] = rng.uniform(0.0, 1.0, n - n // 4)
        share = load / max(float(load.mean()), 1e-3)
        done = np.cumsum((share * stride_h)[::-1])[::-1] - share * stride_h
        rate = np.where(age_h > 10 * stride_h, damage / max(age_h, stride_h), 1 / life)
        path = np.maximum(damage[:, None] - rate[:, None] * done[None, :], 0.0)
        h = np.clip((path - onset[:, None]) / (1 - onset[:, None]), 0.0, 1.2) ** growth[:, None]
        base = np.clip(rng.normal(1.15, 0.25, n), 0.3, 3.0)[:, None]
        error = (seen[None, :] - base - gain[:, None] * h) / (0.12 + 0.1 * seen[None, :])
        weight = np.exp(-0.5 * np.nansum(error**2, axis=1) / np.sqrt(len(seen)))  # days are not independent
        prior = np.exp(-0.5 * (np.log(np.maximum(damage / np.maximum(rate, 1e-9), 1.0) / 4000.0) / 0.7) ** 2)
        weight *= prior
        total = float(weight.sum())
        if not total > 1e-12:
            return None
        at = np.searchsorted(np.cumsum(weight) / total, (rng.random() + np.arange(n)) / n)
        kept = np.minimum(at, n - 1)
        return damage[kept], rate[kept]
