"""Single parts of a message: what is at a pointer, times, qualities. What makes no sense is `Poison`."""

from __future__ import annotations

from typing import Any

import numpy as np

from twinloom.adapters.telemetry.templates import pointed
from twinloom.adapters.telemetry.times import factor_of, to_ns
from twinloom.twin.readings import BAD, GOOD, UNCERTAIN, Times

_QUALITY = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}


class Poison(Exception):
    """A message that no rule can read, and why. `reason` is a name that is counted, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def at(document: Any, pointer: str) -> Any:
    try:
        return pointed(document, pointer)
    except KeyError:
        raise Poison("missing_member", f"there is nothing at {pointer}") from None


def text_at(document: Any, pointer: str) -> str:
    value = at(document, pointer)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Poison("wrong_shape", f"what is at {pointer} names no twin")
    return str(value)


def items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Poison("wrong_shape", "a column is a JSON array")
    return value


def time_ns_of(value: Any, unit: str) -> int:
    try:
        return to_ns(value, unit)
    except ValueError as error:
        raise Poison("bad_time", f"{str(value)[:80]!r} {error}") from None


def times_of(values: Any, unit: str) -> Times:
    """Times as a column; the same time again and again is understood once."""
    values = items(values)
    if values and set(map(type, values)) == {int}:
        low, high = min(values), max(values)
        if time_ns_of(low, unit) and time_ns_of(high, unit):
            factor = factor_of(low, unit)
            if factor == factor_of(high, unit):
                return np.array(values, np.int64) * factor
    known: dict[Any, int] = {}
    times: list[int] = []
    for value in values:
        try:
            time = known.get(value)
        except TypeError:
            raise Poison("bad_time", f"{str(value)[:80]!r} is no time") from None
        if time is None:
            time = known[value] = time_ns_of(value, unit)
        times.append(time)
    return np.array(times, np.int64)


def quality_of(value: Any) -> int:
    """A quality as a StatusCode: a number as it is, or good, uncertain, bad, true, false."""
    if isinstance(value, bool):
        return GOOD if value else BAD
    if isinstance(value, int) and 0 <= value < 2**32:
        return value
    if isinstance(value, str) and value.lower() in _QUALITY:
        return _QUALITY[value.lower()]
    raise Poison("bad_quality", f"{str(value)[:80]!r} is no quality")
