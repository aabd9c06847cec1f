"""Source times of messages as ns since 1970 UTC. What is no time between 1970 and 2262 is refused with ValueError."""

from __future__ import annotations

from datetime import UTC, datetime

_FACTOR = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
UNITS = ("auto", "iso", "s", "ms", "us", "ns")
_LAST_NS = 2**63 - 1


def to_ns(value: object, unit: str = "auto") -> int:
    """`value` (a number, or an ISO 8601 text; without an offset it is UTC) as ns.

    `auto` tells the unit of a number by its size: below 1e11 seconds, below 1e14 ms, below 1e17 us, else ns.

    >>> to_ns(1_700_000_000.5, "s"), to_ns("2023-11-14T22:13:20.5Z"), to_ns(1_700_000_000_500)
    (1700000000500000000, 1700000000500000000, 1700000000500000000)
    """
    if isinstance(value, str):
        ns = _iso_ns(value)
    elif isinstance(value, bool) or not isinstance(value, int | float) or unit == "iso":
        raise ValueError("is no time")
    else:
        if not -1e20 < value < 1e20:
            raise ValueError("is no time")
        factor = factor_of(value, unit)
        # Whole and fraction apart: a float of 1.7e18 has no nanoseconds left.
        ns = value * factor if isinstance(value, int) else int(value) * factor + round((value % 1) * factor)
    if not 0 < ns <= _LAST_NS:
        raise ValueError("lies outside 1970 to 2262")
    return ns


def factor_of(value: float, unit: str) -> int:
    """The ns of one unit of a time that is a number."""
    if unit == "auto":
        unit = "s" if value < 1e11 else "ms" if value < 1e14 else "us" if value < 1e17 else "ns"
    return _FACTOR[unit]


def _iso_ns(text: str) -> int:
    fraction = 0
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        fraction = int(tail[:digits][:9].ljust(9, "0")) if digits else 0
        text = head + tail[digits:]
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + fraction
