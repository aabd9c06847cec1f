"""As faithful as the caller's time allows: the highest level whose measured p95 fits the budget, run with a deadline.

The bands are where a level starts from: light machine learning below 0.1 s, reduced-order physics below 1 s, high
fidelity beyond. What counts afterwards is what was measured on this machine. A level that overruns is left behind; the
next lower one answers, marked degraded, and the rule always does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from twinloom.prognostics.baseline import RuleBaseline
from twinloom.prognostics.chain import Link
from twinloom.prognostics.estimator import ComponentWindow, Observer, RulEstimator, Unobserved
from twinloom.twin.assessments import ModelHealth, RulEstimate

_KEPT = 64
_RESERVE = 0.8  # of the budget: what is left is for falling back in time


@dataclass(slots=True)
class Level:
    """`guess_s`: seconds a component before anything was measured."""

    estimator: RulEstimator
    guess_s: float
    link: Link = field(init=False)
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT), init=False)

    def __post_init__(self) -> None:
        self.link = Link(self.estimator)

    @property
    def p95_s(self) -> float:
        """Measured seconds a component, 95 % of runs below; the guess before the first run."""
        if not self._seconds:
            return self.guess_s
        return sorted(self._seconds)[min(int(0.95 * len(self._seconds)), len(self._seconds) - 1)]

    def measured(self, seconds: float, components: int) -> None:
        self._seconds.append(seconds / max(components, 1))


class FidelityChooser:
    """`levels` from the lightest to the most faithful."""

    def __init__(
        self,
        levels: Sequence[Level],
        baseline: RuleBaseline | None = None,
        *,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._levels = tuple(levels)
        self._baseline = baseline or RuleBaseline()
        self._observer: Observer = observer or Unobserved()
        self._clock = clock

    def choose(self, components: int, budget_s: float) -> list[Level]:
        """The levels that fit, best first."""
        return [level for level in reversed(self._levels) if level.p95_s * components <= _RESERVE * budget_s]

    def estimate(self, windows: Sequence[ComponentWindow], budget_s: float) -> list[RulEstimate]:
        """One estimate a window, within the budget; `details["fidelity"]` names the level. Never raises."""
        started = self._clock()
        answers: list[RulEstimate | None] = [None] * len(windows)
        reasons = [""] * len(windows)
        open_ = list(range(len(windows)))
        for level in self.choose(len(windows), budget_s):
            left_s = _RESERVE * budget_s - (self._clock() - started)
            if not open_ or left_s <= 0:
                break
            begun = self._clock()
            found = level.link.ask([windows[i] for i in open_], left_s)
            took = self._clock() - begun
            level.measured(took, len(open_))
            self._observer.took(level.estimator.name, took)
            still = []
            for i, answer in zip(open_, found, strict=True):
                if isinstance(answer, RulEstimate):
                    answers[i] = _marked(answer, level.estimator.name, reasons[i])
                else:
                    reasons[i] = reasons[i] or answer.reason
                    still.append(i)
            open_ = still
        for i, rule in zip(open_, self._baseline.estimate([windows[i] for i in open_]), strict=True):
            assert isinstance(rule, RulEstimate)
            answers[i] = _marked(rule, self._baseline.name, reasons[i] or f"late: no model fits into {budget_s:g} s")
        return [answer for answer in answers if answer is not None]

    def close(self) -> None:
        for level in self._levels:
            level.link.close()


def _marked(estimate: RulEstimate, fidelity: str, reason: str) -> RulEstimate:
    details = {**estimate.details, "fidelity": fidelity}
    if not reason:
        return replace(estimate, details=details)
    return replace(estimate, details=details, model_health=ModelHealth.DEGRADED, reason=reason)
