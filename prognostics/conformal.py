"""Honest intervals: Mondrian split conformal by predicted RUL (Vovk), and its online correction (ACI).

Residuals are larger in mid-life than near the end, so the calibration is made per bin of the *prediction*. Coverage is
promised for exchangeable machines; windows of one machine are not exchangeable among themselves, so coverage is quoted
as measured on machines that nobody trained or calibrated on. Adaptive conformal inference (Gibbs & Candes 2021) moves
the level by what came true: labels come when a part has failed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.contract import Interval
from twinloom.twin.instance import Json

Floats = npt.NDArray[np.float64]


def calibrate(predicted: Floats, truth: Floats, edges: Sequence[float], level: float = 0.9) -> Interval:
    """The table from out-of-fold predictions and truths (N,), both in target units and capped. A bin with fewer than
    20 windows takes the quantile of all."""
    residual = np.abs(predicted - truth)
    bins = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, len(edges) - 2)
    widths = []
    for k in range(len(edges) - 1):
        inside = residual[bins == k]
        widths.append(_quantile(inside if len(inside) >= 20 else residual, level))
    return Interval(level, tuple(float(edge) for edge in edges), tuple(widths))


def _quantile(scores: Floats, level: float) -> float:
    """The conformal quantile: the ceil((n + 1) level)-th smallest score."""
    n = len(scores)
    rank = min(int(np.ceil((n + 1) * level)), n)
    return float(np.partition(scores, rank - 1)[rank - 1])


class AdaptiveWidth:
    """A factor on the interval's half widths that follows what came true: ACI with rate `gamma` over the last `window`
    normalised scores |truth - predicted| / half width. Factor 1 until ten labels have come.

    >>> aci = AdaptiveWidth()
    >>> aci.learn(predicted=50.0, truth=90.0, half_width=20.0)
    >>> aci.factor
    1.0
    """

    def __init__(self, *, level: float = 0.9, gamma: float = 0.02, window: int = 200) -> None:
        self._level = level
        self._gamma = gamma
        self._window = window
        self._alpha = 1 - level
        self._scores: list[float] = []
        self._inside = 0
        self._seen = 0

    @property
    def factor(self) -> float:
        """What to multiply half widths by, 0.5 to 4."""
        if len(self._scores) < 10:
            return 1.0
        at = float(np.clip(1 - self._alpha, 0.0, 1.0))
        return float(np.clip(np.quantile(self._scores, at, method="higher"), 0.5, 4.0))

    @property
    def coverage(self) -> float:
        """The share of labels that fell into their (adapted) interval, NaN before the first."""
        return self._inside / self._seen if self._seen else float("nan")

    def learn(self, *, predicted: float, truth: float, half_width: float) -> None:
        """One label: what was predicted, with which calibrated half width, and what came true (target units)."""
        score = abs(truth - predicted) / max(half_width, 1e-9)
        inside = score <= self.factor
        self._seen += 1
        self._inside += inside
        self._alpha += self._gamma * ((1 - self._level) - (0.0 if inside else 1.0))
        self._alpha = float(np.clip(self._alpha, 0.001, 0.5))
        self._scores.append(score)
        del self._scores[: -self._window]

    def snapshot(self) -> dict[str, Json]:
        return {"alpha": self._alpha, "scores": list(self._scores), "inside": self._inside, "seen": self._seen}

    def restore(self, kept: dict[str, Json]) -> None:
        """Takes what `snapshot` gave; raises KeyError, TypeError or ValueError when it is something else."""
        scores = kept["scores"]
        if not isinstance(scores, list):
            raise TypeError("scores")
        self._scores = [float(score) for score in scores][-self._window :]
        self._alpha = float(kept["alpha"])
        self._inside, self._seen = int(kept["inside"]), int(kept["seen"])
