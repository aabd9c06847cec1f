"""What a confirmed failure teaches: the life is replayed against the estimates that were given during it.

Labels come late and seldom, so the model's weights never change in process (retrain by script, shadow, swap). What does
change, per component type: a recalibration of the estimate by river's online linear regression, clipped to +-30 %; the
width of the interval, by adaptive conformal inference; and the verdict on performance, by ADWIN on the residuals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twinloom.prognostics.conformal import AdaptiveWidth
from twinloom.twin.assessments import ModelHealth, RulEstimate
from twinloom.twin.instance import Json

_CLIP = 0.3
_KEPT_LIVES = 30
_ENOUGH_LIVES = 3
_RATE = 0.05


@dataclass(frozen=True, slots=True)
class Given:
    """One estimate that was given: at which age [days of the part's clock], what, and its calibrated half width."""

    age_days: float
    rul_days: float
    half_width: float


class Learner:
    """Of one component type under one model. `lives`: how many confirmed failures it has seen."""

    def __init__(self, cap_days: float, *, level: float = 0.9) -> None:
        self._cap = cap_days
        self._level = level
        self._width = AdaptiveWidth(level=level)
        self._regression: Any = None  # both made with the first label: importing river takes seconds
        self._adwin: Any = None
        self._drifted = False
        self._error_sum = 0.0
        self._labels = 0
        self._history: list[list[tuple[float, float, float]]] = []  # predicted, truth, half width of the last lives
        self.lives = 0

    def failed(self, life: Sequence[Given], age_days: float) -> None:
        """A confirmed failure at `age_days`: every estimate of that life gets its label, oldest first."""
        self._replay(
            [
                (min(given.rul_days, self._cap), min(age_days - given.age_days, self._cap), given.half_width)
                for given in sorted(life, key=lambda entry: entry.age_days)
                if given.age_days <= age_days
            ]
        )

    def _replay(self, labels: list[tuple[float, float, float]]) -> None:
        for predicted, truth, half_width in labels:
            self._learn(predicted, truth, half_width)
        self._history.append(labels)
        del self._history[:-_KEPT_LIVES]
        self.lives += 1

    def _learn(self, predicted: float, truth: float, half_width: float) -> None:
        if self._regression is None:
            self._regression, self._adwin = _streaming()
        self._width.learn(predicted=self.recalibrated(predicted), truth=truth, half_width=half_width)
        self._regression.learn_one(self._inputs(predicted), (truth - predicted) / self._cap)
        self._adwin.update(abs(truth - predicted) / self._cap)
        if self._adwin.drift_detected:
            self._drifted = self._adwin.estimation > self._error_sum / max(self._labels, 1)
        self._error_sum += abs(truth - predicted) / self._cap
        self._labels += 1

    def _inputs(self, predicted: float) -> dict[str, float]:
        return {"rul": predicted / self._cap}

    def recalibrated(self, rul_days: float) -> float:
        """The estimate after correction, within +-30 % of what the model said; unchanged before three lives."""
        if self.lives < _ENOUGH_LIVES or self._regression is None:
            return rul_days
        shift = float(self._regression.predict_one(self._inputs(rul_days))) * self._cap
        bound = _CLIP * rul_days
        return min(max(rul_days + min(max(shift, -bound), bound), 0.0), self._cap)

    def adjust(self, estimate: RulEstimate) -> RulEstimate:
        """The estimate recalibrated and its interval widened or narrowed by what came true."""
        if self.lives < _ENOUGH_LIVES:
            return estimate
        rul, factor = self.recalibrated(estimate.rul_days), self._width.factor
        low = max(rul - factor * (estimate.rul_days - estimate.low), 0.0)
        high = min(rul + factor * (estimate.high - estimate.rul_days), self._cap)
        given = [estimate.rul_days, estimate.low, estimate.high]
        details = {**estimate.details, "model_gave": given, "width_factor": factor}
        return replace(estimate, rul_days=rul, low=min(low, rul), high=max(high, rul), details=details)

    @property
    def coverage(self) -> float:
        """The share of labels inside their interval, NaN before the first."""
        return self._width.coverage

    def health(self) -> tuple[ModelHealth, str]:
        """`drifting` when the residuals have grown (ADWIN) or coverage has fallen 10 points below its promise."""
        if self._drifted:
            return ModelHealth.DRIFTING, "performance: errors have grown on confirmed failures"
        if self.lives >= _ENOUGH_LIVES and self.coverage < self._level - 0.1:
            return ModelHealth.DRIFTING, f"performance: {self.coverage:.0%} of failures fell into their interval"
        return ModelHealth.OK, ""

    def snapshot(self) -> dict[str, Json]:
        """The labels of the last thirty lives, as JSON; `restore` learns them again."""
        return {"lives": self.lives, "history": [[list(label) for label in life] for life in self._history]}

    def restore(self, kept: Mapping[str, Json]) -> None:
        """Takes what `snapshot` gave: the labels are learned again in order. Raises KeyError, TypeError or ValueError
        for anything else, and stays as it was."""
        history = [[(float(p), float(t), float(w)) for p, t, w in life] for life in kept["history"]]
        fresh = Learner(self._cap, level=self._level)
        fresh.lives = int(kept["lives"]) - len(history)
        for life in history:
            fresh._replay(life)
        self.__dict__.update(fresh.__dict__)


def _streaming() -> tuple[Any, Any]:
    """The regression of the correction, and ADWIN on the residuals."""
    from river import linear_model, optim
    from river.drift import ADWIN

    regression = linear_model.LinearRegression(optimizer=optim.SGD(_RATE), intercept_lr=_RATE, l2=1e-4)
    return regression, ADWIN(0.002)
