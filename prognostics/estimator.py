"""The port of everything that estimates remaining useful life, and what it is asked about: windows of features.

An estimator answers each window by an estimate or by a refusal with a named reason; it never raises for what is in a
window. `FallbackChain` asks the next estimator about what the first refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.layout import Layout
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.ids import TwinId

MAX_MISSING = 0.2
FROZEN_STRIDES = 3


@dataclass(frozen=True, slots=True)
class ComponentWindow:
    """What is known of one component now. W = layout.window, F features, C channels; the newest row is the last.

    features float32 (W, F); rows before the first `strides` ones seen are NaN. daily float64 (W, C): mean of each
    channel over each stride, NaN where no good reading came; bad bool (W, C): readings came but were mostly not good.
    frozen int (C,): for how many strides a channel has repeated itself exactly. `age`: the clock at the end of the
    newest row, in its unit; NaN while it is not known. `since_install`: watched since its first stride.
    `quality_share`: good readings / readings. `defect`: why nobody can score this window (`age`: the clock is silent),
    else "".
    """

    twin: TwinId
    layout: Layout
    features: npt.NDArray[np.float32]
    daily: npt.NDArray[np.float64]
    bad: npt.NDArray[np.bool_]
    frozen: npt.NDArray[np.int64]
    strides: int
    age: float
    since_install: bool
    quality_share: float
    source_time_ns: int
    defect: str = ""

    def unfit(self, channels: Sequence[int], strides: int, *, since_install: bool = False) -> str:
        """Why these channels of the last `strides` rows cannot be scored, "" when they can: `code: what of what`."""
        if self.defect:
            return self.defect
        if self.strides < strides:
            return f"history: {self.strides} of {strides} strides seen"
        if since_install and not self.since_install:
            return "history: not watched since installation"
        rows = self.daily[-strides:]
        if not np.isnan(rows).any() and not (self.frozen >= FROZEN_STRIDES).any():
            return ""
        for i in channels:
            channel = self.layout.channels[i]
            absent = int(np.isnan(rows[:, i]).sum())
            if absent > MAX_MISSING * strides or np.isnan(rows[-1, i]):
                bad = int(self.bad[-strides:, i].sum())
                if bad:
                    return f"bad_quality: {channel.name} bad in {bad} of {strides} strides"
                return f"missing: {channel.name} in {absent} of {strides} strides"
            if channel.live and self.frozen[i] >= FROZEN_STRIDES:
                return f"frozen: {channel.name} unchanged for {int(self.frozen[i])} strides"
        return ""


@dataclass(frozen=True, slots=True)
class Refused:
    """No estimate of this window from this estimator. `reason` is `code: detail`; the code labels the metric."""

    twin: TwinId
    reason: str

    @property
    def code(self) -> str:
        return self.reason.partition(":")[0]


class RulEstimator(Protocol):
    @property
    def name(self) -> str:
        """What `RulEstimate.method` says: `onnx`, `baseline`, ..."""
        ...

    @property
    def version(self) -> str:
        """The model's digest (12 hex digits) or the rule's name."""
        ...

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """One answer a window, in order. Safe to call from one worker thread at a time."""
        ...


class Observer(Protocol):
    """Where figures go; the runtime counts them in Prometheus."""

    def predicted(self, method: str, status: str, count: int) -> None:
        """`count` estimates by `method` with model health `status`."""
        ...

    def took(self, method: str, seconds: float) -> None:
        """One batch took `seconds` of wall time in `method`."""
        ...

    def fell_back(self, reason: str, count: int) -> None:
        """`count` windows went to a lower estimator for `reason` (the code only)."""
        ...


class Unobserved:
    """An observer that forgets."""

    def predicted(self, method: str, status: str, count: int) -> None:
        pass

    def took(self, method: str, seconds: float) -> None:
        pass

    def fell_back(self, reason: str, count: int) -> None:
        pass
