"""One answer a window, whatever the models do; and the figures that are told on the way."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from twinloom.prognostics.baseline import RuleBaseline
from twinloom.prognostics.chain import FallbackChain
from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.twin.assessments import Health, ModelHealth, RulEstimate


def estimate_of(window: ComponentWindow, rul: float = 40.0, low: float = 30.0, high: float = 50.0) -> RulEstimate:
    return RulEstimate(window.twin, rul, low, high, Health.B, "Keep running.", ModelHealth.OK, "v1", "fake")


class Fake:
    """An estimator that does as told."""

    def __init__(self, name: str = "fake", answer: object = None) -> None:
        self.name, self.version, self._answer = name, "v1", answer
        self.asked: list[int] = []

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        self.asked.append(len(windows))
        if isinstance(self._answer, Exception):
            raise self._answer
        if callable(self._answer):
            return [self._answer(window) for window in windows]
        return [estimate_of(window) for window in windows]


class Told:
    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = []

    def predicted(self, method: str, status: str, count: int) -> None:
        self.lines.append(("predicted", method, status, str(count)))

    def took(self, method: str, seconds: float) -> None:
        assert seconds >= 0
        self.lines.append(("took", method))

    def fell_back(self, reason: str, count: int) -> None:
        self.lines.append(("fell back", reason, str(count)))


def test_only_what_the_first_refused_is_asked_of_the_next(windows: list[ComponentWindow]) -> None:
    first = Fake(
        "first", lambda w: Refused(w.twin, "history: 2 of 14") if w.twin == windows[2].twin else estimate_of(w)
    )
    second, told = Fake("second"), Told()
    chain = FallbackChain([first, second], observer=told)
    estimates = chain.estimate(windows)
    chain.close()
    assert (first.asked, second.asked) == ([6], [1])
    assert [estimate.reason for estimate in estimates] == ["", "", "history: 2 of 14", "", "", ""]
    assert estimates[2].model_health is ModelHealth.DEGRADED
    assert ("fell back", "history", "1") in told.lines
    assert ("predicted", "fake", "ok", "5") in told.lines
    assert ("predicted", "fake", "degraded", "1") in told.lines


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (RuntimeError("boom"), "error"),
        (MemoryError(), "error"),
        (lambda w: estimate_of(w, rul=float("nan")), "nonsense"),
        (lambda w: estimate_of(w, low=60.0), "nonsense"),
        (lambda w: estimate_of(w, high=float("inf")), "nonsense"),
    ],
)
def test_a_model_that_raises_or_talks_nonsense_is_replaced_by_the_rule(
    windows: list[ComponentWindow], answer: object, code: str
) -> None:
    chain = FallbackChain([Fake(answer=answer)])
    estimates = chain.estimate(windows)
    chain.close()
    assert {(estimate.method, estimate.reason.partition(":")[0]) for estimate in estimates} == {("baseline", code)}


def test_a_model_that_answers_too_few_is_replaced_by_the_rule(windows: list[ComponentWindow]) -> None:
    class Short(Fake):
        def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
            return super().estimate(windows)[1:]

    chain = FallbackChain([Short()])
    assert {estimate.method for estimate in chain.estimate(windows)} == {"baseline"}
    chain.close()


def test_a_late_model_is_left_behind_and_asked_again_once_it_has_ended(windows: list[ComponentWindow]) -> None:
    go_on, cancelled = threading.Event(), threading.Event()

    class Slow(Fake):
        def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
            if not self.asked:
                self.asked.append(0)
                assert go_on.wait(30)
            return super().estimate(windows)

        def cancel(self) -> None:
            cancelled.set()

    slow = Slow()
    chain = FallbackChain([slow], deadline_s=0.05)
    first = chain.estimate(windows)
    assert {estimate.reason for estimate in first} == {"late: no answer in 0.05 s"}
    assert cancelled.is_set()
    assert {estimate.reason for estimate in chain.estimate(windows)} == {"late: the last run has not ended yet"}
    go_on.set()
    chain.settle()
    patient = FallbackChain([slow], deadline_s=30.0)
    assert {estimate.reason for estimate in patient.estimate(windows)} == {""}
    chain.close()
    patient.close()


def test_the_rule_alone_is_degraded_and_wide(windows: list[ComponentWindow]) -> None:
    chain = FallbackChain([], RuleBaseline(), missing="missing: there is no model file")
    for estimate in chain.estimate(windows):
        assert estimate.reason == "missing: there is no model file"
        assert estimate.high - estimate.low >= 0.5 * estimate.rul_days
    chain.close()


def test_scores_go_on_while_several_threads_ask(windows: list[ComponentWindow]) -> None:
    chain = FallbackChain([Fake()], deadline_s=30.0)
    methods: list[str] = []

    def ask() -> None:
        for _ in range(50):
            methods.extend(estimate.method for estimate in chain.estimate(windows))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain.close()
    assert methods == ["fake"] * 6 * 200
