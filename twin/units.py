"""Unit names and conversion. Pint does the arithmetic; this module knows the names that plants use.

A unit may be written as a DTDL term (`degreeCelsius`), a symbol (`°C`, `mm/s`, `kW`), a UNECE Recommendation 20 common
code (`CEL`) or the number that OPC UA makes of it (EUInformation.unitId, `4408652`; OPC 10000-8 section 5.6.3).

Two units convert only when they measure the same kind of quantity. Dimensions alone do not tell: 1 Hz is no angular
velocity, a newton metre of torque no joule. DTDL's unit types do, so they are the kinds here; a unit that DTDL has no
term for (`mm/s`) gets the kind of its dimensions, with angle and information counted as dimensions.
"""

from __future__ import annotations

import math
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from twinloom.twin.errors import BadRequest
from twinloom.twin.unit_names import SPELLINGS, UNECE_CODES, UNITS

if TYPE_CHECKING:
    import pint

_LONGEST = 64
_NAME = r"(1|[A-Za-z_°%µμΩ′″₀-₉]+)((?:\*\*|\^)-?[1-9]|⁻?[¹²³⁴]|)"
_NEXT = rf" *([*·/ ]) *{_NAME}"
_PRODUCT = re.compile(rf"{_NAME}(?:{_NEXT})*")
_FACTOR = re.compile(rf"(?:^| *([*·/ ]) *){_NAME}")
_SUPERSCRIPTS = str.maketrans("⁻¹²³⁴", "-1234")
_ANGLES = frozenset({"radian", "degree", "turn", "arcminute", "arcsecond", "grade", "angular_degree", "revolution"})


def convert(value: float, from_unit: str, to_unit: str) -> float:
    """`value` in another unit of the same kind. Raises BadRequest when the kinds differ or a unit is unknown.

    >>> convert(100.0, "degreeCelsius", "degreeFahrenheit")
    212.0
    """
    factor, offset = converter(from_unit, to_unit)
    return value * factor + offset


@lru_cache(maxsize=4096)
def converter(from_unit: str, to_unit: str) -> tuple[float, float]:
    """(factor, offset): a value in `to_unit` is value * factor + offset. Also right for numpy arrays.

    >>> converter("mm/s", "m/s")
    (0.001, 0.0)
    """
    source, target = canonical(from_unit), canonical(to_unit)
    if source == target:
        return 1.0, 0.0
    if not source or not target or kind(source) != kind(target):
        raise BadRequest(
            f"{from_unit or 'no unit'} does not convert to {to_unit or 'no unit'}: "
            f"{kind(source) or 'no quantity'} is not {kind(target) or 'a quantity'}",
            remedy="choose a unit of the same quantity kind",
        )
    import pint

    have, want = _pint_unit(source), _pint_unit(target)
    quantity = _registry().Quantity
    try:
        offset = _tidy(float(quantity(0.0, have).to(want).magnitude))
        factor = _tidy(float(quantity(1.0, _interval(have)).to(_interval(want)).magnitude))
    except (pint.PintError, ArithmeticError) as error:
        raise BadRequest(
            f"{from_unit} does not convert to {to_unit}", remedy="choose a unit of the same quantity kind"
        ) from error
    return factor, offset


@lru_cache(maxsize=4096)
def canonical(unit: str) -> str:
    """The one name of a unit, however it is written: the DTDL term, or a symbol where DTDL has none; '' is no unit.

    >>> canonical("°C"), canonical("4408652"), canonical("millimetre/s"), canonical("kW")
    ('degreeCelsius', 'degreeCelsius', 'mm/s', 'kilowatt')
    """
    text = unit.strip()
    if not text or text in UNITS:
        return text
    if text in SPELLINGS:
        return SPELLINGS[text]
    code = _common_code(int(text)) if text.isascii() and text.isdigit() and 3 <= len(text) <= 9 else text
    if code in UNECE_CODES:
        return UNECE_CODES[code]
    parsed = _parse(text)
    return _by_pint_unit().get(str(parsed)) or f"{parsed:~}".replace(" ", "").replace("µ", "u").replace("μ", "u")


@lru_cache(maxsize=4096)
def symbol(unit: str) -> str:
    """What people read: `°C`, `mm/s`, `kW`, `rpm`, `%`. A unit that is unknown is shown as it is written.

    >>> symbol("degreeCelsius"), symbol("percent"), symbol("mm/s")
    ('°C', '%', 'mm/s')
    """
    try:
        name = canonical(unit)
    except BadRequest:
        return unit
    return UNITS[name].symbol if name in UNITS else name.replace("**2", "²").replace("**3", "³").replace("*", "·")


def kind(unit: str) -> str:
    """The kind of quantity a unit measures: DTDL's unit type (`TemperatureUnit`) or its dimensions; '' for no unit."""
    name = canonical(unit)
    if not name or name in UNITS:
        return UNITS[name].kind if name else ""
    parsed = _parse(name)
    return _kind_by_dimensions().get(_dimensions(parsed)) or " ".join(_dimensions(parsed))


def _common_code(number: int) -> str:
    """OPC UA's unitId back to the UNECE common code: each byte is a character (OPC 10000-8, 5.6.3.3)."""
    return number.to_bytes(4, "big").lstrip(b"\0").decode("latin-1")


def _parse(text: str) -> pint.Unit:
    """A product of unit names with small whole exponents. Pint's own grammar would also compute `9**9**9`."""
    import pint

    if len(text) > _LONGEST or not _PRODUCT.fullmatch(text):
        raise _unknown(text)
    registry = _registry()
    product = registry.Unit("dimensionless")
    divide = False
    try:
        for operator, name, exponent in _FACTOR.findall(text):
            # "1/s": the number one is no factor; "J/kg*K" divides by kg only, as pint reads it
            divide = operator == "/"
            if name == "1":
                continue
            power = int(exponent.lstrip("*^").translate(_SUPERSCRIPTS) or 1)
            term = SPELLINGS.get(name, name)
            factor = registry.Unit(UNITS[term].pint if term in UNITS else name) ** power
            product = product / factor if divide else product * factor
    except (pint.PintError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        raise _unknown(text) from error
    if product == registry.Unit("dimensionless"):
        raise _unknown(text)
    return product


def _unknown(text: str) -> BadRequest:
    return BadRequest(
        f"{text[:_LONGEST]!r} is not a unit",
        remedy="write a DTDL unit such as degreeCelsius, a symbol such as mm/s, or a UNECE code such as CEL",
    )


def _pint_unit(name: str) -> pint.Unit:
    return _registry().Unit(UNITS[name].pint) if name in UNITS else _parse(name)


def _interval(unit: pint.Unit) -> pint.Unit:
    """The unit of a difference: a step of 1 °C is 1.8 °F wide, though 1 °C is 33.8 °F."""
    name = {"degree_Celsius": "delta_degree_Celsius", "degree_Fahrenheit": "delta_degree_Fahrenheit"}.get(str(unit))
    return _registry().Unit(name) if name else unit


def _tidy(number: float) -> float:
    """`number` without the last bits' rounding noise: 31.999999999999943 is 32."""
    short = float(f"{number:.12g}")
    return (
        short if math.isclose(short, number, rel_tol=1e-14, abs_tol=1e-12 if abs(number) < 1e-12 else 0.0) else number
    )


@cache
def _registry() -> Any:
    """Built at first use: it takes a quarter of a second, and most commands need no unit."""
    import pint

    registry: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=False, cache_folder=None)
    # what pint's own file lacks, or holds as logarithmic (bel) or as Gaussian units of other dimensions (gauss)
    for definition in (
        "volt_ampere_reactive = volt * ampere = var",
        "ppb_billion = 1e-9",
        "ppt_trillion = 1e-12",
        "ppq = 1e-15",
        "sound_bel = [sound_level]",
        "sound_decibel = 0.1 * sound_bel",
        "si_gauss = 1e-4 * tesla",
        "si_maxwell = 1e-8 * weber",
    ):
        registry.define(definition)
    return registry


@cache
def _by_pint_unit() -> dict[str, str]:
    return {str(_registry().Unit(held.pint)): name for name, held in reversed(UNITS.items()) if held.pint}


@cache
def _kind_by_dimensions() -> dict[tuple[str, ...], str]:
    """The first kind of UNITS with those dimensions stands for all of them."""
    return {_dimensions(_registry().Unit(held.pint)): held.kind for held in reversed(UNITS.values())}


def _dimensions(unit: pint.Unit) -> tuple[str, ...]:
    """Pint's dimensions plus the two that pint holds for dimensionless."""
    angle = bits = 0.0
    for name, exponent in unit._units.items():
        power = float(str(exponent))
        angle += power * (name in _ANGLES or name.startswith("revolutions_per"))
        bits += power * name.endswith(("bit", "byte"))
    found = [f"{name}^{exponent:g}" for name, exponent in sorted(unit.dimensionality.items())]
    return (*found, f"[angle]^{angle:g}", f"[information]^{bits:g}")
