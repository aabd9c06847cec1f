"""How values, limits and lives are worded in badges and legends."""

from __future__ import annotations

import math
from collections.abc import Sequence

from twinloom.viewer.palettes import State
from twinloom.viewer.plant import Rule

SEVERITY = {"INFO": State.NOTICE, "WARNING": State.WARNING, "CRITICAL": State.CRITICAL}


def threshold_labels(rules: Sequence[Rule], unit: str) -> dict[State, str]:
    """What each severity of `rules` means in `unit`: {CRITICAL: "< 14 d", WARNING: "14 to 30 d", HEALTHY: "≥ 30 d"}."""
    labels: dict[State, str] = {}
    below = sorted((r.below, SEVERITY.get(r.severity, State.NOTICE)) for r in rules if r.below is not None)
    above = sorted(
        ((r.above, SEVERITY.get(r.severity, State.NOTICE)) for r in rules if r.above is not None), reverse=True
    )
    previous: float | None = None
    for limit, state in below:
        labels[state] = f"< {limit:g} {unit}" if previous is None else f"{previous:g} to {limit:g} {unit}"
        previous = limit
    healthy = f"≥ {previous:g} {unit}" if previous is not None else ""
    previous = None
    for limit, state in above:
        text = f"> {limit:g} {unit}" if previous is None else f"{limit:g} to {previous:g} {unit}"
        labels[state] = f"{labels[state]} or {text}" if state in labels else text
        previous = limit
    if previous is not None:
        healthy = f"{healthy} and ≤ {previous:g} {unit}" if healthy else f"≤ {previous:g} {unit}"
    if healthy:
        labels[State.HEALTHY] = healthy
    return {state: label.strip() for state, label in labels.items()}


def life_left(days: float) -> str:
    """`9 d left`, rounded down so that it never reads above its threshold; below two days in hours.

    >>> life_left(9.4), life_left(0.5), life_left(0.01)
    ('9 d left', '12 h left', 'due now')
    """
    if days >= 2:
        return f"{int(days)} d left"
    return f"{int(days * 24)} h left" if days * 24 >= 1 else "due now"


def quantity(value: float, symbol: str) -> str:
    """A number to three digits with its unit.

    >>> quantity(5.0678, "mm/s"), quantity(1500.2, "rpm")
    ('5.07 mm/s', '1500 rpm')
    """
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(digits, 4)}f} {symbol}".strip()


def unit_symbol(unit: str) -> str:
    """A display symbol where the API sent only a unit's name."""
    return {"degreeCelsius": "°C", "percent": "%", "day": "d", "days": "d", "kilowatt": "kW"}.get(unit, unit)
