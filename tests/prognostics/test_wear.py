"""The synthetic fleet: the same in law at every step size, known ends, machines of their own."""

from __future__ import annotations

import numpy as np
import pytest

from twinloom.twin.wear import Fleet


def lives(step_h: float, machines: int = 80, seed: int = 3) -> list[float]:
    fleet = Fleet(machines, seed)
    ended = np.full(machines, np.nan)
    while np.isnan(ended).any():
        fleet.advance(step_h)
        ended = np.where(fleet.failed & np.isnan(ended), fleet.hours / 24, ended)
    return ended.tolist()


def test_lives_have_the_published_spread_and_do_not_depend_on_the_step() -> None:
    coarse, fine = lives(24.0), lives(2.4)
    for step in (coarse, fine):
        low, middle, high = np.quantile(step, [0.1, 0.5, 0.9])
        assert 65 < low < 120 and 150 < middle < 230 and 280 < high < 450
    # the same lives were drawn, only the loads differ: the ends agree machine by machine
    assert np.corrcoef(coarse, fine)[0, 1] > 0.99


def test_a_machine_is_the_same_in_a_small_and_in_a_large_fleet() -> None:
    small, large = Fleet(2, 7), Fleet(30, 7)
    for fleet in (small, large):
        fleet.advance(100.0)
    assert small.damage.tolist() == large.damage[:2].tolist()


def test_reading_more_often_does_not_change_how_machines_wear() -> None:
    quiet, read = Fleet(5, 7), Fleet(5, 7)
    for _ in range(50):
        quiet.advance(2.4)
        read.advance(2.4)
        read.spindle()
        read.spindle()
    assert quiet.damage.tolist() == read.damage.tolist()


def test_damage_never_heals_and_remaining_life_is_what_then_passes() -> None:
    fleet = Fleet(30, 9)
    fleet.advance(24.0)
    told, before = fleet.rul_days(), fleet.damage
    ended = np.full(30, np.nan)
    while np.isnan(ended).any():
        fleet.advance(6.0)
        assert (fleet.damage >= before - 1e-12).all()
        before = fleet.damage
        ended = np.where(fleet.failed & np.isnan(ended), fleet.hours / 24, ended)
    assert np.corrcoef(told, ended - 1)[0, 1] > 0.98
    assert (fleet.rul_days() == 0).all()


def test_a_mixed_fleet_has_one_machine_in_twelve_near_its_end() -> None:
    left = Fleet(16, 3, start_ages="mixed").rul_days()
    assert 20 <= left[5] <= 30
    assert (left > 30).sum() >= 12
    assert 20 <= Fleet(1, 3, start_ages="mixed").rul_days()[0] <= 30


def test_a_replaced_part_starts_anew_and_the_others_go_on() -> None:
    fleet = Fleet(3, 5, start_ages="mixed")
    fleet.advance(48.0)
    before = fleet.damage
    fleet.replace(1)
    after = fleet.damage
    assert after[1] == 0 and after[[0, 2]].tolist() == before[[0, 2]].tolist()
    assert fleet.spindle()["power_on_hours"][1] == 0


@pytest.mark.parametrize("step_h", [0.01, 2.4])
def test_sensors_stay_in_their_ranges(step_h: float) -> None:
    fleet = Fleet(12, 5, start_ages="mixed")
    for _ in range(200):
        fleet.advance(step_h)
        shown = fleet.spindle()
        assert (shown["load"] >= 0).all() and (shown["load"] <= 100).all()
        assert (shown["speed"] >= 0).all() and (shown["speed"] < 15_000).all()
        assert (shown["temperature"] > 0).all() and (shown["temperature"] < 90).all()
        assert (shown["vibration_x"] > 0).all() and (shown["vibration_x"] < 15).all()
