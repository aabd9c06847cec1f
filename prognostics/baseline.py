"""The estimate that always exists: a zone rule in the style of ISO 20816 and the linear trend of vibration.

It needs no model, no training and no minimum of history, so it closes every fallback chain. The trend runs to the end
of zone C. The interval is wide and `model_health` always `degraded`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twinloom.prognostics.advice import LIMITS, ZoneLimits, recommendation, zone, zone_of_vibration
from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.twin.assessments import Health, ModelHealth, RulEstimate

_TREND_STRIDES = 5
_ZONE_SHARE = {Health.A: 1.0, Health.B: 2 / 3, Health.C: 1 / 4, Health.D: 1 / 18, Health.UNKNOWN: 1 / 2}


class RuleBaseline:
    """`cap_days`: no estimate is longer. `severity`: the channels whose larger value is the vibration severity."""

    name = "baseline"
    version = "zone-trend-1"

    def __init__(
        self,
        *,
        cap_days: float = 90.0,
        limits: ZoneLimits = LIMITS,
        severity: tuple[str, ...] = ("vibration_x", "vibration_y"),
    ) -> None:
        self._cap = cap_days
        self._limits = limits
        self._severity = severity

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """One estimate a window, also of an empty one (zone unknown, interval the whole range). Never refuses."""
        return [self._one(window) for window in windows]

    def _one(self, window: ComponentWindow) -> RulEstimate:
        level, slope = _trend(window, self._severity)
        health = zone_of_vibration(level, self._limits)
        rul = self._cap * _ZONE_SHARE[health]
        method = "zone"
        if slope > 0 and health is not Health.D:
            rul = min(rul, (self._limits.vibration[2] - level) / slope)
            method = "trend"
        low, high = 0.3 * rul, min(2 * rul + self._cap / 3, self._cap)
        if health is Health.UNKNOWN:
            low, high = 0.0, self._cap
        health = zone(level, rul, self._limits) if health is not Health.UNKNOWN else health
        return RulEstimate(
            twin=window.twin,
            rul_days=rul,
            low=low,
            high=high,
            health=health,
            recommendation=recommendation(health, rul, low, trusted=False),
            model_health=ModelHealth.DEGRADED,
            model_version=self.version,
            method=self.name,
            reason=window.defect or "rule: no model was asked",
            source_time_ns=window.source_time_ns,
            quality_share=window.quality_share,
            details={"rule": method},
        )


def _trend(window: ComponentWindow, severity: Sequence[str]) -> tuple[float, float]:
    """Latest level [mm/s] and its slope a day, 0 when it is not clearly rising (below two standard errors)."""
    columns = [i for name in severity if (i := window.layout.channel_index(name)) >= 0]
    rows = window.daily[:, columns]
    seen = ~np.isnan(rows).all(axis=1)
    if not columns or not seen.any() or window.defect:
        return float("nan"), 0.0
    days = np.flatnonzero(seen).astype(np.float64)
    levels = np.nanmax(rows[seen], axis=1)
    if len(days) < _TREND_STRIDES:
        return float(np.median(levels)), 0.0
    x = days - days.mean()
    slope = float(x @ levels / (x @ x))
    fit = levels.mean() + slope * x
    error = float(np.sqrt(((levels - fit) ** 2).sum() / (len(days) - 2) / (x @ x)))
    level = float(levels.mean() + slope * (days[-1] - days.mean())) if slope > 2 * error else float(levels[-3:].mean())
    return level, slope if slope > 2 * error else 0.0
