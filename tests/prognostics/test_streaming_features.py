"""The streaming state against a plain batch computation over whole lives."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import Channel, Feature, Layout
from twinloom.prognostics.train.windows import feature_rows
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import BAD, GOOD, UNCERTAIN

LAYOUT = Layout(
    channels=(Channel("a", "mm/s", -50.0, 50.0), Channel("b", "degC", live=False), Channel("hours", "h", 0.0, 1e6)),
    features=(
        Feature("a", "a"),
        Feature("a_ewma", "a", "ewma", 0.3),
        Feature("b_mean", "b", "mean"),
        Feature("age", "hours", "age"),
    ),
    window=4,
    stride=10.0,
    clock="hours",
)
A, B, HOURS = 0, 1, 2
Reading = tuple[int, int, float, int]  # component, channel, value, quality


def send(bank: FeatureBank, readings: list[Reading], time_ns: int = 0) -> None:
    table = np.array(readings, np.float64).reshape(-1, 4)
    bank.observe(
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        table[:, 2],
        table[:, 3].astype(np.uint32),
        np.full(len(table), time_ns),
    )


class PlainBank:
    """One reading at a time, one component at a time: what `FeatureBank` must equal."""

    def __init__(self) -> None:
        self.clock = float("nan")
        self.reset(-1)

    def reset(self, stride: int) -> None:
        self.stride = stride
        self.daily: list[list[float]] = []
        self.open: list[list[float]] = [[], [], []]
        self.count = [0, 0, 0]

    def read(self, channel: int, value: float, quality: int) -> None:
        limits = LAYOUT.channels[channel]
        good = quality < UNCERTAIN and limits.minimum <= value <= limits.maximum
        if good and channel == HOURS:
            stride = int(value // LAYOUT.stride)
            if self.stride < 0 or value < self.clock - LAYOUT.stride / 24:
                self.reset(stride)
            while self.stride < stride:
                self.daily.append(
                    [
                        float(np.mean(seen)) if seen and 2 * len(seen) >= count else float("nan")
                        for seen, count in zip(self.open, self.count, strict=True)
                    ]
                )
                self.open, self.count = [[], [], []], [0, 0, 0]
                self.stride += 1
            self.clock = value
        self.count[channel] += 1
        if good:
            self.open[channel].append(value)

    def features(self) -> npt.NDArray[np.float64]:
        rows = feature_rows(np.array(self.daily).reshape(-1, 3), LAYOUT)
        rows[:, 3] = (self.stride - len(rows) + 1 + np.arange(len(rows))) * LAYOUT.stride
        return rows[-LAYOUT.window :]


def a_reading() -> st.SearchStrategy[tuple[int, float, int]]:
    value = st.one_of(st.floats(-60, 60, width=32), st.just(float("nan")))
    sensor = st.tuples(st.sampled_from([A, B]), value, st.sampled_from([GOOD, GOOD, GOOD, UNCERTAIN, BAD]))
    tick = st.tuples(st.just(HOURS), st.floats(-3, 25), st.sampled_from([GOOD, GOOD, BAD]))
    return st.one_of(sensor, sensor, tick)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), a_reading()), max_size=120),
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
)
def test_the_streaming_state_equals_the_plain_one_however_readings_are_batched(
    steps: list[tuple[int, tuple[int, float, int]]], sizes: list[int]
) -> None:
    clocks, readings = [0.0] * 3, []
    for component, (channel, value, quality) in steps:
        if channel == HOURS:  # steps of the clock: forward, a little back, or a replacement
            clocks[component] = max(clocks[component] + value, 0.0) if value > -2.9 else 0.0
            value = clocks[component]
        readings.append((component, channel, value, quality))
    bank, plain = FeatureBank(LAYOUT), [PlainBank() for _ in range(3)]
    for i in range(3):
        bank.add(TwinId(f"c{i}"))
    at = turn = 0
    while at < len(readings):
        size = sizes[turn % len(sizes)]
        send(bank, readings[at : at + size])
        at, turn = at + size, turn + 1
    for component, channel, value, quality in readings:
        plain[component].read(channel, value, quality)
    for i, window in enumerate(bank.windows([TwinId(f"c{i}") for i in range(3)])):
        expected = plain[i].features()
        assert window.strides == len(expected)
        if len(expected):
            np.testing.assert_allclose(window.features[-len(expected) :], expected, rtol=2e-5, atol=1e-4)
            daily = np.array(plain[i].daily)[-LAYOUT.window :, :2]
            np.testing.assert_allclose(window.daily[-len(expected) :, :2], daily, rtol=1e-9, atol=1e-9)


def days(bank: FeatureBank, hours: list[float], value: float = 1.0, quality: int = GOOD) -> None:
    for i, hour in enumerate(hours):
        send(bank, [(0, HOURS, hour, GOOD), (0, A, value + i, quality), (0, B, 2.0, GOOD)], int(hour * 1e9))


@pytest.fixture
def bank() -> FeatureBank:
    made = FeatureBank(LAYOUT)
    made.add(TwinId("pump"))
    return made


def test_a_replaced_part_starts_with_no_history(bank: FeatureBank) -> None:
    days(bank, [5, 15, 25, 35, 45])
    assert bank.due()[0].strides == 4
    days(bank, [0.5, 10.5])
    (window,) = bank.due()
    assert window.strides == 1
    assert window.since_install
    assert window.features[-1].tolist() == [1.0, 1.0, 2.0, 10.0]


def test_a_component_is_due_once_for_each_stride_that_it_closes(bank: FeatureBank) -> None:
    days(bank, [5, 9])
    assert bank.due() == []
    days(bank, [11])
    assert [window.twin for window in bank.due()] == ["pump"]
    assert bank.due() == []


def test_a_long_silence_is_filled_marked_missing_and_not_scorable(bank: FeatureBank) -> None:
    days(bank, [5, 15, 25, 35, 45])
    days(bank, [75])
    (window,) = bank.due()
    assert window.features[-1, 3] == 70.0
    assert window.unfit([A], 4) == "missing: a in 2 of 4 strides"


def test_readings_of_bad_quality_are_named_and_never_become_features(bank: FeatureBank) -> None:
    days(bank, [5, 15, 25, 35, 45])
    days(bank, [55, 65], value=40.0, quality=BAD)
    (window,) = bank.due()
    assert window.features[:, 0].max() < 10
    assert window.unfit([A], 4) == "bad_quality: a bad in 1 of 4 strides"
    assert window.quality_share < 1


def test_a_frozen_sensor_is_named(bank: FeatureBank) -> None:
    for i in range(7):
        send(bank, [(0, HOURS, 10.0 * i + 5, GOOD), (0, A, 3.0, GOOD), (0, B, 2.0, GOOD)])
    (window,) = bank.due()
    assert window.unfit([A], 4).startswith("frozen: a unchanged for")
    assert window.unfit([B], 4) == ""


def test_a_component_whose_clock_is_silent_is_told_once_a_patience_with_the_reason() -> None:
    bank = FeatureBank(LAYOUT, clock_patience_s=30.0)
    bank.add(TwinId("pump"))
    told = []
    for second in range(100):
        send(bank, [(0, A, 1.0, GOOD)], (1000 + second) * 10**9)
        told += [(second, window.defect) for window in bank.due()]
    assert told == [(31, "age: hours is silent"), (62, "age: hours is silent"), (93, "age: hours is silent")]


def test_state_comes_back_bit_for_bit_from_its_json_and_goes_on_alike() -> None:
    banks = [FeatureBank(LAYOUT), FeatureBank(LAYOUT)]
    for each in banks:
        each.add(TwinId("pump"))
    days(banks[0], [5, 15, 25, 33])
    assert banks[1].restore(json.loads(json.dumps(banks[0].snapshot()))) == []
    assert banks[1].snapshot() == banks[0].snapshot()
    for each in banks:
        days(each, [36, 47], value=9.0)
    assert banks[1].snapshot() == banks[0].snapshot()


@pytest.mark.parametrize("broken", [None, {}, {"layout": "x"}, {"layout": LAYOUT.digest, "arrays": {"bucket": "?"}}])
def test_a_broken_snapshot_is_refused_and_leaves_no_half_state(bank: FeatureBank, broken: object) -> None:
    before = bank.snapshot()
    assert bank.restore({"pump": broken}) == ["pump"]  # type: ignore[dict-item]
    assert bank.snapshot() == before


def test_a_number_given_back_starts_blank_and_the_bank_grows(bank: FeatureBank) -> None:
    days(bank, [5, 15, 25])
    bank.remove(TwinId("pump"))
    numbers = [bank.add(TwinId(f"p{i}")) for i in range(100)]
    assert sorted(numbers) == list(range(100))
    assert {window.strides for window in bank.windows([TwinId(f"p{i}") for i in range(100)])} == {0}
