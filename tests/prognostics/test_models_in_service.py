"""Models beside one another: swapped by digest, in the shadow, rolled back, under watch, explained."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import CNC_SPINDLE
from twinloom.prognostics.monitored import Monitored
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, OnnxEstimator
from twinloom.prognostics.provenance import RawReading, explain, read_window, record_of, replay
from twinloom.prognostics.registry import ModelRegistry
from twinloom.twin.assessments import ModelHealth, RulEstimate
from twinloom.twin.errors import BadFile, BadRequest, Conflict, NotFound
from twinloom.twin.ids import TwinId
from twinloom.twin.wear import Fleet

MakeModel = Callable[..., bytes]


@pytest.fixture
def default() -> OnnxEstimator:
    return OnnxEstimator.open(DEFAULT_MODEL, trusted=True)


def test_swaps_under_load_fail_no_score_and_a_broken_model_is_never_used(
    make_model: MakeModel, windows: list[ComponentWindow]
) -> None:
    registry = ModelRegistry()
    registry.activate(registry.add(make_model(1.0), trusted=True))
    answers: list[float] = []
    failures: list[object] = []
    stop = threading.Event()

    def score() -> None:
        while not stop.is_set():
            for answer in registry.estimate(windows):
                if isinstance(answer, RulEstimate):
                    answers.append(answer.rul_days)
                else:
                    failures.append(answer)

    thread = threading.Thread(target=score)
    thread.start()
    swapped, refused = [1.0], 0
    for i in range(100):
        if i % 5 == 4:
            with pytest.raises(BadFile):
                registry.add(make_model(99.0)[: 40 + i], trusted=True)
            refused += 1
        else:
            registry.activate(registry.add(make_model(2.0 + i / 2), trusted=True))
            swapped.append(2.0 + i / 2)
    stop.set()
    thread.join()
    assert refused == 20
    assert failures == []
    assert set(answers) <= set(swapped)
    assert [a.rul_days for a in registry.estimate(windows) if isinstance(a, RulEstimate)] == [swapped[-1]] * 6


def test_a_roll_back_puts_the_model_before_in_force(make_model: MakeModel) -> None:
    registry = ModelRegistry()
    digests = [registry.add(make_model(value), trusted=True) for value in (10.0, 20.0, 30.0)]
    assert [registry.activate(digest) for digest in digests] == ["", digests[0], digests[1]]
    assert registry.roll_back() == digests[1]
    assert registry.roll_back() == digests[0]
    with pytest.raises(Conflict):
        registry.roll_back()
    assert registry.version == digests[0]


def test_the_most_specific_assignment_decides(make_model: MakeModel, windows: list[ComponentWindow]) -> None:
    registry = ModelRegistry(types_of=lambda twin: ("Spindle",) if twin != windows[1].twin else ("Motor",))
    for value, target in ((10.0, "*"), (20.0, "Spindle"), (30.0, windows[0].twin)):
        registry.activate(registry.add(make_model(value), trusted=True), target)
    rul = [a.rul_days for a in registry.estimate(windows) if isinstance(a, RulEstimate)]
    assert rul == [30.0, 10.0, 20.0, 20.0, 20.0, 20.0]


def test_a_shadow_is_compared_and_never_answers(make_model: MakeModel, windows: list[ComponentWindow]) -> None:
    registry = ModelRegistry()
    registry.activate(registry.add(make_model(50.0), trusted=True))
    shadow = registry.add(make_model(47.0), trusted=True)
    registry.shadow(shadow)
    assert {a.rul_days for a in registry.estimate(windows) if isinstance(a, RulEstimate)} == {50.0}
    figures = registry.shadow_figures[shadow]
    assert (figures.windows, figures.mean_difference, figures.largest_difference) == (6, -3.0, 3.0)
    with pytest.raises(Conflict):
        registry.remove(shadow)
    registry.end_shadow()
    registry.remove(shadow)
    with pytest.raises(NotFound):
        registry.activate(shadow)


def test_without_an_assignment_the_reason_is_named(windows: list[ComponentWindow]) -> None:
    assert {a.reason for a in ModelRegistry().estimate(windows) if isinstance(a, Refused)} == {
        "missing: no model is assigned"
    }


def test_a_shifted_fleet_turns_the_model_drifting_and_back_is_told_once(default: OnnxEstimator) -> None:
    told: list[tuple[ModelHealth, str]] = []
    model = Monitored(default, health_changed=lambda health, reason: told.append((health, reason)))
    rng, row = np.random.default_rng(1), np.array([entry.mean for entry in default.contract.ranges])
    std = np.array([entry.std for entry in default.contract.ranges])

    def windows(shift: float) -> list[ComponentWindow]:
        made = []
        for i in range(40):
            features = row + 0.3 * std * rng.standard_normal((14, len(row)))
            features[:, 2] += shift * std[2]
            daily = features[:, [0, 1, 2, 3, 4, 9]].astype(np.float64)
            made.append(window_of(features.astype(np.float32), daily, TwinId(f"m{i}")))
        return made

    for _ in range(20):
        answers = model.estimate(windows(0.0))
    assert {a.model_health for a in answers if isinstance(a, RulEstimate)} == {ModelHealth.OK}
    for _ in range(30):
        answers = model.estimate(windows(2.5))
    (reason,) = {a.reason for a in answers if isinstance(a, RulEstimate)}
    assert reason.startswith("drift: temperature is 2.")
    assert [health for health, _ in told] == [ModelHealth.DRIFTING]
    assert model.drift.detected["temperature"] >= 1


def window_of(features: Any, daily: Any, twin: TwinId) -> ComponentWindow:
    return ComponentWindow(
        twin,
        CNC_SPINDLE,
        features,
        daily,
        np.zeros(daily.shape, np.bool_),
        np.zeros(6, np.int64),
        14,
        400.0,
        True,
        1.0,
        1,
    )


def readings_of(days: int, seed: int = 5) -> list[list[RawReading]]:
    """Readings of three spindles, as history keeps them."""
    fleet = Fleet(3, seed, start_ages="mixed")
    found: list[list[RawReading]] = [[], [], []]
    for tick in range(10 * days):
        fleet.advance(2.4)
        shown = fleet.spindle()
        for i in range(3):
            for channel in CNC_SPINDLE.channels:
                found[i].append(RawReading(channel.name, float(shown[channel.name][i]), 0, tick * 10**8))
    return found


def live_windows(found: list[list[RawReading]]) -> list[ComponentWindow]:
    """What the service saw: all three spindles together, in batches of 36 readings."""
    bank = FeatureBank(CNC_SPINDLE)
    rows = [bank.add(TwinId(f"m{i}")) for i in range(3)]
    columns: list[tuple[int, int, float, int, int]] = []
    for k in range(len(found[0])):
        for i in range(3):
            r = found[i][k]
            columns.append((rows[i], CNC_SPINDLE.channel_index(r.channel), r.value, r.quality, r.source_time_ns))
    windows: list[ComponentWindow] = []
    for at in range(0, len(columns), 36):
        table = list(zip(*columns[at : at + 36], strict=True))
        bank.observe(
            np.array(table[0]),
            np.array(table[1]),
            np.array(table[2]),
            np.array(table[3], np.uint32),
            np.array(table[4]),
        )
        windows += bank.due()
    return windows


def test_an_estimate_is_computed_again_bit_for_bit_from_the_raw_history(default: OnnxEstimator) -> None:
    found = readings_of(20)
    seen = [window for window in live_windows(found) if window.twin == "m1"]
    last = seen[-1]
    (estimate,) = default.estimate([last])
    assert isinstance(estimate, RulEstimate)
    record = json.loads(json.dumps(record_of(last, estimate)))
    replayed = replay(TwinId("m1"), found[1], CNC_SPINDLE)
    again = next(w for w in replayed if w.features[-1, -1] == last.features[-1, -1])
    np.testing.assert_array_equal(again.features, last.features)
    means = [entry.mean for entry in default.contract.ranges]
    explained = explain(record, again, default, training_means=means)
    assert (explained.exact, explained.difference) == (True, "")
    assert {name for name, _ in explained.contributions} == {f.name for f in CNC_SPINDLE.features}


def test_a_kept_window_comes_back_whole_from_its_record(default: OnnxEstimator, windows: list[ComponentWindow]) -> None:
    estimates = default.estimate(windows)
    for window, estimate in zip(windows, estimates, strict=True):
        assert isinstance(estimate, RulEstimate)
        record = json.loads(json.dumps(record_of(window, estimate)))
        explained = explain(record, read_window(record, CNC_SPINDLE), default)
        assert explained.exact and explained.estimate == estimate


def test_another_model_or_another_window_is_not_passed_off_as_the_same(
    default: OnnxEstimator, windows: list[ComponentWindow], make_model: MakeModel
) -> None:
    (estimate,) = default.estimate(windows[:1])
    assert isinstance(estimate, RulEstimate)
    record = record_of(windows[0], estimate)
    assert explain(record, windows[1], default).difference == "the window is another one than the estimate saw"
    with pytest.raises(BadRequest, match=default.version):
        explain(record, windows[0], OnnxEstimator(make_model(3.0), trusted=True))


@pytest.mark.parametrize("batch", [1, 2, 3, 16, 47])
def test_a_score_does_not_depend_on_the_batch_that_it_was_in(default: OnnxEstimator, batch: int) -> None:
    means = np.array([entry.mean for entry in default.contract.ranges], np.float32)
    x = np.abs(means * (1 + 0.1 * np.random.default_rng(1).standard_normal((64, 14, 10)))).astype(np.float32)
    parts = [default.predict(x[i : i + batch]) for i in range(0, 64, batch)]
    np.testing.assert_array_equal(np.concatenate(parts), default.predict(x))
