"""Is the world still the one that the model was trained for? ADWIN (Bifet & Gavalda 2007) on inputs, by river.

A single part drifts because it wears; a fleet whose parts are replaced does not. So inputs are watched per channel over
all components together, as z-scores against the ranges in the model's contract, one value a component and stride. ADWIN
says *that* a mean has changed; only a mean that now lies more than `FAR` training deviations off matters to the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.contract import ModelContract
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.layout import Layout

FAR = 1.0
_DELTA = 0.002
_SETTLED = 64  # values before a mean says anything


class DriftWatch:
    """One ADWIN a channel."""

    def __init__(self, channels: int, *, delta: float = _DELTA) -> None:
        self._delta = delta
        self._detectors: list[Any] = []  # made with the first values: importing river takes seconds
        self.changes = [0] * channels

    def observe(self, values: npt.NDArray[np.float64]) -> list[int]:
        """Takes one value a channel, (channels,), NaN where there is none. Returns the channels that changed."""
        if not self._detectors:
            from river.drift import ADWIN

            self._detectors = [ADWIN(self._delta) for _ in self.changes]
        changed = []
        for i, (detector, value) in enumerate(zip(self._detectors, values.tolist(), strict=True)):
            if value == value:
                detector.update(value)
                if detector.drift_detected:
                    changed.append(i)
                    self.changes[i] += 1
        return changed

    def mean(self, channel: int) -> float:
        """The mean of the channel's present window, NaN before enough values came."""
        if not self._detectors:
            return float("nan")
        detector = self._detectors[channel]
        return float(detector.estimation) if detector.width >= _SETTLED else float("nan")


class InputDrift:
    """Watches what a model is fed. `score`: the largest |mean| of the "value" features, in training deviations."""

    def __init__(self, contract: ModelContract, *, far: float = FAR) -> None:
        self._far = far
        chosen = [i for i, f in enumerate(contract.layout.features) if f.transform == "value"]
        self.channels = tuple(contract.layout.features[i].name for i in chosen)
        self._key = [contract.layout.features[i].channel for i in chosen]
        self._mean = np.array([contract.ranges[i].mean for i in chosen])
        self._std = np.array([contract.ranges[i].std for i in chosen])
        self._watch = DriftWatch(len(chosen))
        self._places: dict[str, list[int]] = {}
        self.detected: dict[str, int] = dict.fromkeys(self.channels, 0)

    def observe(self, windows: Sequence[ComponentWindow]) -> list[str]:
        """The newest row of each window. Returns the channels in which a change was found now."""
        rows = [w.features[-1, places] for w in windows if (places := self._of(w.layout)) and w.strides]
        if not rows:
            return []
        z = (np.stack(rows).astype(np.float64) - self._mean) / self._std
        z[~np.isfinite(z)] = np.nan
        found: set[str] = set()
        for row in np.clip(z, -10.0, 10.0):
            for i in self._watch.observe(row):
                self.detected[self.channels[i]] += 1
                found.add(self.channels[i])
        return sorted(found)

    def _of(self, layout: Layout) -> list[int]:
        """Where the watched channels are among the layout's features; empty when one is not."""
        places = self._places.get(layout.digest)
        if places is None:
            kept = {f.channel: i for i, f in enumerate(layout.features) if f.transform == "value"}
            places = [kept[key] for key in self._key] if all(key in kept for key in self._key) else []
            self._places[layout.digest] = places
        return places

    @property
    def score(self) -> float:
        means = [abs(self._watch.mean(i)) for i in range(len(self.channels))]
        return max((mean for mean in means if mean == mean), default=0.0)

    @property
    def reason(self) -> str:
        """`drift: channel ...` for the channel that is furthest off, "" while all are near."""
        means = [self._watch.mean(i) for i in range(len(self.channels))]
        worst = max(range(len(means)), key=lambda i: abs(means[i]) if means[i] == means[i] else -1.0, default=-1)
        if worst < 0 or not abs(means[worst]) > self._far:
            return ""
        side = "above" if means[worst] > 0 else "below"
        return f"drift: {self.channels[worst]} is {abs(means[worst]):.1f} deviations {side} training"
