"""Unit names and conversion."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloom.twin.errors import BadRequest
from twinloom.twin.unit_names import SPELLINGS, UNECE_CODES, UNITS
from twinloom.twin.units import canonical, convert, converter, kind, symbol


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (100.0, "degreeCelsius", "degreeFahrenheit", 212.0),
        (32.0, "degF", "°C", 0.0),
        (0.0, "°C", "K", 273.15),
        (1.0, "mm/s", "metrePerSecond", 0.001),
        (600.0, "mm/min", "mm/s", 10.0),
        (60.0, "rpm", "revolutionPerSecond", 1.0),
        (1.0, "revolutionPerMinute", "radianPerSecond", 2 * math.pi / 60),
        (1.0, "kW", "watt", 1000.0),
        (1.0, "bar", "kilopascal", 100.0),
        (48.0, "hour", "day", 2.0),
        (1.0, "percent", "unity", 0.01),
        (2.0, "litrePerMinute", "cubicMetrePerHour", 0.12),
        (1.0, "inch", "millimetre", 25.4),
        (1.0, "bel", "decibel", 10.0),
        (1.0, "kibibyte", "byte", 1024.0),
        (1.0, "gauss", "tesla", 1e-4),
    ],
)
def test_values_convert_within_a_quantity_kind(value: float, source: str, target: str, expected: float) -> None:
    assert convert(value, source, target) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("degreeCelsius", "degreeCelsius"),
        ("°C", "degreeCelsius"),
        ("degC", "degreeCelsius"),
        ("CEL", "degreeCelsius"),
        ("4408652", "degreeCelsius"),
        ("20529", "percent"),
        ("mm/s", "mm/s"),
        ("mm s⁻¹", "mm/s"),
        ("C16", "mm/s"),
        ("millimetre/s", "mm/s"),
        ("kW", "kilowatt"),
        ("µm", "micrometre"),
        ("μm", "micrometre"),
        ("1/min", "revolutionPerMinute"),
        (" rpm ", "revolutionPerMinute"),
        ("m/s^2", "metrePerSecondSquared"),
        ("N·m", "newtonMetre"),
        ("h", "hour"),
        ("1", "unity"),
        ("", ""),
    ],
)
def test_one_unit_has_one_name_however_it_is_written(written: str, name: str) -> None:
    assert canonical(written) == name
    assert canonical(canonical(written)) == name


@pytest.mark.parametrize(
    ("unit", "shown"),
    [("degreeCelsius", "°C"), ("mm/s", "mm/s"), ("kilowatt", "kW"), ("revolutionPerMinute", "rpm"), ("percent", "%"),
     ("metrePerSecondSquared", "m/s²"), ("mm**3/s", "mm³/s"), ("no such unit", "no such unit")],
)  # fmt: skip
def test_people_see_symbols(unit: str, shown: str) -> None:
    assert symbol(unit) == shown


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("hertz", "revolutionPerMinute"),
        ("newtonMetre", "joule"),
        ("kilowattHour", "kilowatt"),
        ("voltAmpere", "watt"),
        ("bit", "unity"),
        ("radian", "unity"),
        ("becquerel", "hertz"),
        ("mm/s", "mm"),
        ("", "metre"),
        ("percent", ""),
    ],
)
def test_units_of_different_kinds_do_not_convert_and_both_are_named(source: str, target: str) -> None:
    with pytest.raises(BadRequest) as caught:
        converter(source, target)
    assert (source or "no unit") in caught.value.message and (target or "no unit") in caught.value.message


@pytest.mark.parametrize(
    "text", ["foo", "5", "2 m", "m//s", "m/", "9**9**9**9", "m**99", "m**9**9", "__import__", "m" * 100, "1e9 m"]
)
def test_what_is_no_unit_is_refused_at_once(text: str) -> None:
    before = time.process_time()
    with pytest.raises(BadRequest):
        canonical(text)
    assert time.process_time() - before < 1.0


@pytest.mark.parametrize("term", sorted(UNITS))
def test_every_dtdl_unit_converts_to_the_others_of_its_kind_and_back(term: str) -> None:
    for other, unit in UNITS.items():
        if unit.kind == UNITS[term].kind:
            assert convert(convert(12.5, term, other), other, term) == pytest.approx(12.5, rel=1e-9)
    assert canonical(UNITS[term].symbol) in (term, SPELLINGS[UNITS[term].symbol])
    assert kind(term) == UNITS[term].kind


def test_every_common_code_and_spelling_names_a_unit() -> None:
    for written in [*UNECE_CODES, *SPELLINGS]:
        assert kind(written), written
        assert canonical(canonical(written)) == canonical(written)


def test_a_converter_works_on_columns() -> None:
    factor, offset = converter("degreeFahrenheit", "degreeCelsius")
    values = np.array([32.0, 212.0]) * factor + offset
    np.testing.assert_allclose(values, [0.0, 100.0], atol=1e-9)


@given(st.text(max_size=20))
def test_any_text_is_a_unit_or_a_bad_request(text: str) -> None:
    try:
        name = canonical(text)
    except BadRequest:
        assert symbol(text) == text
    else:
        assert canonical(name) == name
