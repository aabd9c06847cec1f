"""What every estimator of remaining useful life promises, whatever is in a window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from twinloom.prognostics.baseline import RuleBaseline
from twinloom.prognostics.chain import FallbackChain
from twinloom.prognostics.defaults import open_chain
from twinloom.prognostics.estimator import ComponentWindow, Refused, RulEstimator
from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import CNC_SPINDLE
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, WITHOUT_HISTORY, OnnxEstimator
from twinloom.prognostics.physics import WearPhysics
from twinloom.twin.assessments import Health, RulEstimate
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import BAD, GOOD
from twinloom.twin.wear import Fleet

MAKERS: dict[str, Callable[[], RulEstimator]] = {
    "onnx": lambda: OnnxEstimator.open(DEFAULT_MODEL, trusted=True),
    "onnx without history": lambda: OnnxEstimator.open(WITHOUT_HISTORY, name="onnx-lite", trusted=True),
    "physics": lambda: WearPhysics(),
    "baseline": RuleBaseline,
}


@pytest.fixture(params=sorted(MAKERS))
def estimator(request: pytest.FixtureRequest) -> RulEstimator:
    return MAKERS[request.param]()


@pytest.fixture
def chain() -> Iterator[FallbackChain]:
    made = open_chain(deadline_s=30.0)
    yield made
    made.close()


def spindles(count: int, days: int, quality: int = GOOD) -> list[ComponentWindow]:
    fleet, bank = Fleet(count, 11, start_ages="mixed"), FeatureBank(CNC_SPINDLE)
    twins = [bank_twin(i) for i in range(count)]
    for twin in twins:
        bank.add(twin)
    names = [channel.name for channel in CNC_SPINDLE.channels]
    rows, channels = np.repeat(np.arange(count), len(names)), np.tile(np.arange(len(names)), count)
    qualities = np.where(channels == CNC_SPINDLE.clock_index, GOOD, quality).astype(np.uint32)
    for tick in range(10 * days + 1):
        fleet.advance(2.4)
        shown = fleet.spindle()
        values = np.stack([shown[name] for name in names], axis=1).ravel()
        bank.observe(rows, channels, values, qualities, np.full(len(values), tick * 100_000_000))
    return bank.windows(twins)


def bank_twin(i: int) -> TwinId:
    return TwinId(f"m{i}/spindle")


def empty() -> ComponentWindow:
    bank = FeatureBank(CNC_SPINDLE)
    bank.add(bank_twin(0))
    return bank.windows([bank_twin(0)])[0]


def hostile() -> dict[str, ComponentWindow]:
    good = spindles(1, 20)[0]
    return {
        "empty": empty(),
        "one day": spindles(1, 1)[0],
        "bad quality": spindles(1, 20, BAD)[0],
        "NaN features": replace(good, features=np.full_like(good.features, np.nan)),
        "infinite features": replace(good, features=np.full_like(good.features, np.inf)),
        "NaN days": replace(good, daily=np.full_like(good.daily, np.nan)),
        "shifted sensor": replace(good, features=good.features * 50, daily=good.daily * 50),
        "silent clock": replace(good, defect="age: power_on_hours is silent"),
        "frozen": replace(good, frozen=np.full_like(good.frozen, 9)),
    }


def assert_sound(estimate: RulEstimate) -> None:
    assert math.isfinite(estimate.rul_days)
    assert 0 <= estimate.low <= estimate.rul_days <= estimate.high <= 90
    assert estimate.recommendation.endswith(".")
    assert estimate.model_version
    assert isinstance(estimate.health, Health)


def test_each_window_gets_one_sound_answer_of_its_own_twin_in_order(estimator: RulEstimator) -> None:
    windows = spindles(7, 20)
    answers = estimator.estimate(windows)
    assert [answer.twin for answer in answers] == [window.twin for window in windows]
    for answer in answers:
        assert isinstance(answer, RulEstimate)
        assert answer.method == estimator.name
        assert answer.model_version == estimator.version
        assert_sound(answer)


@pytest.mark.parametrize("kind", sorted(hostile()))
def test_a_window_that_cannot_be_scored_never_raises_nor_spoils_its_neighbour(
    estimator: RulEstimator, kind: str
) -> None:
    good = spindles(1, 20)[0]
    alone = estimator.estimate([good])[0]
    first, second = estimator.estimate([hostile()[kind], good])
    if isinstance(first, Refused):
        assert first.code and first.code.replace("_", "").isalpha()
    else:
        assert_sound(first)
    assert isinstance(alone, RulEstimate) and isinstance(second, RulEstimate)
    assert second.rul_days == pytest.approx(alone.rul_days, abs=1e-3)


def test_no_windows_are_no_work(estimator: RulEstimator) -> None:
    assert estimator.estimate([]) == []


def test_the_same_window_gets_the_same_answer(estimator: RulEstimator) -> None:
    window = spindles(1, 20)[0]
    assert estimator.estimate([window]) == estimator.estimate([window])


@pytest.mark.parametrize("kind", sorted(hostile()))
def test_the_chain_answers_everything_and_says_why_it_is_degraded(chain: FallbackChain, kind: str) -> None:
    (estimate,) = chain.estimate([hostile()[kind]])
    assert_sound(estimate)
    assert estimate.model_health.value == "degraded"
    assert estimate.reason


def test_no_model_scores_bad_quality_as_good(estimator: RulEstimator) -> None:
    (answer,) = estimator.estimate(spindles(1, 20, BAD))
    if isinstance(answer, RulEstimate):
        assert answer.health is Health.UNKNOWN
        assert answer.model_health.value == "degraded"
        assert (answer.low, answer.high) == (0.0, 90.0)
    else:
        assert answer.code == "bad_quality"
