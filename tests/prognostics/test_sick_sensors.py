"""Sensors that die, freeze, shift or are swapped: a named reason for that machine, and the others are scored on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from twinloom.prognostics.defaults import open_chain
from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import CNC_SPINDLE
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import BAD_NO_COMMUNICATION, UNCERTAIN
from twinloom.twin.wear import Fleet

VX, VY, TEMPERATURE, LOAD, SPEED, HOURS = range(6)
SICK, DAYS, ONSET = 2, 30, 18
Table = npt.NDArray[np.float64]
Fault = Callable[[Table, npt.NDArray[np.uint32], Table], None]  # values (6,), quality (6,) of the sick one, at onset


def dead(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    quality[VX] = BAD_NO_COMMUNICATION


def uncertain(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    quality[VY] = UNCERTAIN


def frozen(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    values[TEMPERATURE] = first[TEMPERATURE]


def shifted(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    values[VX] += 40.0


def in_fahrenheit(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    values[TEMPERATURE] = values[TEMPERATURE] * 9 / 5 + 32


def swapped(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    values[VX], values[TEMPERATURE] = values[TEMPERATURE], values[VX]


def not_a_number(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    values[VX] = np.nan


def beyond_its_range(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    values[VY] = 1e6


def ageless(values: Table, quality: npt.NDArray[np.uint32], first: Table) -> None:
    quality[HOURS] = BAD_NO_COMMUNICATION


FAULTS: dict[str, tuple[Fault, str]] = {
    "dead": (dead, "bad_quality: vibration_x"),
    "uncertain": (uncertain, "bad_quality: vibration_y"),
    "frozen": (frozen, "frozen: temperature"),
    "shifted": (shifted, "out_of_range: vibration_x"),
    "in Fahrenheit": (in_fahrenheit, "out_of_range: temperature"),
    "swapped": (swapped, "out_of_range: vibration_x"),
    "not a number": (not_a_number, "bad_quality: vibration_x"),
    "beyond its range": (beyond_its_range, "bad_quality: vibration_y"),
    "without age": (ageless, "age: power_on_hours is silent"),
}


def scored_at_the_end(fault: Fault) -> list[RulEstimate]:
    """The last estimate of each of five machines; machine SICK has the fault from day ONSET on."""
    fleet, bank = Fleet(5, 21, start_ages="mixed"), FeatureBank(CNC_SPINDLE, clock_patience_s=30.0)
    twins = [TwinId(f"m{i}/spindle") for i in range(5)]
    for twin in twins:
        bank.add(twin)
    chain = open_chain(deadline_s=60.0)
    latest: dict[TwinId, RulEstimate] = {}
    names = [channel.name for channel in CNC_SPINDLE.channels]
    first = np.zeros(6)
    for tick in range(10 * DAYS + 1):
        fleet.advance(2.4)
        shown = fleet.spindle()
        values = np.stack([shown[name] for name in names], axis=1)
        quality = np.zeros((5, 6), np.uint32)
        if tick == 10 * ONSET:
            first = values[SICK].copy()
        if tick >= 10 * ONSET:
            fault(values[SICK], quality[SICK], first)
        rows, channels = np.repeat(np.arange(5), 6), np.tile(np.arange(6), 5)
        bank.observe(rows, channels, values.ravel(), quality.ravel(), np.full(30, tick * 10**9))
        latest |= {estimate.twin: estimate for estimate in chain.estimate(bank.due())}
    chain.close()
    return [latest[twin] for twin in twins]


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_a_sick_sensor_is_named_and_the_other_machines_are_scored_on(kind: str) -> None:
    fault, reason = FAULTS[kind]
    estimates = scored_at_the_end(fault)
    sick = estimates[SICK]
    assert sick.model_health.value == "degraded"
    assert sick.method != "onnx"
    assert sick.reason.startswith(reason)
    for i, other in enumerate(estimates):
        if i != SICK:
            assert (other.method, other.model_health.value, other.reason) == ("onnx", "ok", "")
