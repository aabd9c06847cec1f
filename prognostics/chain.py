"""The fallback chain: each window is asked of the best estimator first and of the next ones until one answers.

An estimator that raises, is late or gives nonsense is treated like one that refused, with a named reason; the last link
is a `RuleBaseline`, which always answers. An estimate that did not come from the first link is `degraded` and says why.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import replace

from twinloom.prognostics.baseline import RuleBaseline
from twinloom.prognostics.estimator import ComponentWindow, Observer, Refused, RulEstimator, Unobserved
from twinloom.twin.assessments import ModelHealth, RulEstimate

_log = logging.getLogger(__name__)

Answers = list[RulEstimate | Refused]


class FallbackChain:
    """`estimators` from best to simplest; `missing` says why there is no better one (a model that could not be
    loaded). A link that takes longer than `deadline_s` is left alone: its windows go to the next, and it is not asked
    again before the late run has ended. Thread-safe; call it from a worker thread."""

    def __init__(
        self,
        estimators: Sequence[RulEstimator],
        baseline: RuleBaseline | None = None,
        *,
        missing: str = "",
        deadline_s: float = 1.0,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._links = [Link(estimator, deadline_s) for estimator in estimators]
        self._baseline = baseline or RuleBaseline()
        self._missing = missing
        self._observer: Observer = observer or Unobserved()
        self._clock = clock

    @property
    def estimators(self) -> tuple[RulEstimator, ...]:
        """Every link, the baseline last."""
        return (*(link.estimator for link in self._links), self._baseline)

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate]:
        """One estimate a window, in order. Never raises."""
        answers: list[RulEstimate | None] = [None] * len(windows)
        reasons = [self._missing] * len(windows)
        open_ = list(range(len(windows)))
        for link in self._links:
            if not open_:
                break
            asked = [windows[i] for i in open_]
            started = self._clock()
            found = link.ask(asked)
            self._observer.took(link.estimator.name, self._clock() - started)
            still = []
            for i, answer in zip(open_, found, strict=True):
                if isinstance(answer, RulEstimate):
                    answers[i] = _degraded(answer, reasons[i])
                else:
                    reasons[i] = reasons[i] or answer.reason
                    still.append(i)
            open_ = still
        for i, rule in zip(open_, self._baseline.estimate([windows[i] for i in open_]), strict=True):
            assert isinstance(rule, RulEstimate)
            answers[i] = _degraded(rule, reasons[i] or rule.reason)
        done = [answer for answer in answers if answer is not None]
        self._count(done, reasons)
        return done

    def _count(self, done: Sequence[RulEstimate], reasons: Sequence[str]) -> None:
        status: dict[tuple[str, str], int] = {}
        for estimate in done:
            key = (estimate.method, estimate.model_health.value)
            status[key] = status.get(key, 0) + 1
        for (method, health), count in status.items():
            self._observer.predicted(method, health, count)
        codes: dict[str, int] = {}
        for reason in reasons:
            if reason:
                code = reason.partition(":")[0]
                codes[code] = codes.get(code, 0) + 1
        for code, count in codes.items():
            self._observer.fell_back(code, count)

    def settle(self) -> None:
        """Waits until no run that was left behind is going on any more."""
        for link in self._links:
            link.settle()

    def close(self) -> None:
        """Lets the worker threads end; a run that is late is not waited for."""
        for link in self._links:
            link.close()


class Link:
    """One estimator with its own worker thread, so that a run that is late can be left behind."""

    def __init__(self, estimator: RulEstimator, deadline_s: float = 1.0) -> None:
        self.estimator = estimator
        self._deadline_s = deadline_s
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"rul-{estimator.name}")
        self._busy = threading.Lock()
        self._late = False  # the run that goes on now has been left behind

    def ask(self, windows: Sequence[ComponentWindow], deadline_s: float | None = None) -> Answers:
        """The estimator's answers, or refusals with the reason `late`, `error` or `nonsense`."""
        wait_s = self._deadline_s if deadline_s is None else deadline_s
        if not self._busy.acquire(timeout=0 if self._late else wait_s):
            return [Refused(window.twin, "late: the last run has not ended yet") for window in windows]
        future = self._worker.submit(self._run, windows)
        try:
            return future.result(wait_s)
        except Late:
            self._late = True
            cancel = getattr(self.estimator, "cancel", None)
            if cancel is not None:
                cancel()
            return [Refused(window.twin, f"late: no answer in {wait_s:g} s") for window in windows]

    def _run(self, windows: Sequence[ComponentWindow]) -> Answers:
        try:
            answers = self.estimator.estimate(windows)
            return [_sane(window, answer) for window, answer in zip(windows, answers, strict=True)]
        except Exception as error:  # the port's promise: whatever a plugged-in estimator does, other scores go on
            _log.exception("estimator %s failed", self.estimator.name)
            return [Refused(window.twin, f"error: {type(error).__name__}") for window in windows]
        finally:
            self._late = False
            self._busy.release()

    def settle(self) -> None:
        """Waits for the end of a run that was left behind."""
        with self._busy:
            pass

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)


def _sane(window: ComponentWindow, answer: RulEstimate | Refused) -> RulEstimate | Refused:
    if isinstance(answer, RulEstimate) and not (
        math.isfinite(answer.rul_days)
        and math.isfinite(answer.high)
        and 0 <= answer.low <= answer.rul_days <= answer.high
    ):
        return Refused(window.twin, "nonsense: the estimate is not a number inside its interval")
    return answer


def _degraded(estimate: RulEstimate, reason: str) -> RulEstimate:
    return replace(estimate, model_health=ModelHealth.DEGRADED, reason=reason) if reason else estimate
