"""Scalars and enums of the schema. Inside the server a DateTime is an int: ns since 1970 UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, NewType

import strawberry
from graphql import GraphQLError

from twinloom.twin.assessments import AlertState, ModelHealth, Severity, WorkOrderState
from twinloom.twin.assessments import Health as HealthZone

Json = NewType("Json", object)
Long = NewType("Long", int)
DateTime = NewType("DateTime", int)

__all__ = [
    "QUALITIES",
    "SCALARS",
    "AlertState",
    "DateTime",
    "Direction",
    "HealthZone",
    "Json",
    "Long",
    "ModelHealth",
    "OrderDirection",
    "Quality",
    "Severity",
    "TwinChangeKind",
    "WorkOrderState",
    "iso",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAFE = 1 << 63


def iso(time_ns: int) -> str:
    """ISO 8601 in UTC with microseconds.

    >>> iso(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123456Z'
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{_to_the_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=1024)
def _to_the_second(seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def time_ns_of(text: object) -> int:
    """ns since 1970 of an ISO 8601 text; one without an offset is UTC. Raises GraphQLError when it is none.

    >>> time_ns_of("1970-01-01T00:00:01Z")
    1000000000
    """
    if not isinstance(text, str):
        raise GraphQLError(f"DateTime cannot represent {str(text)[:40]!r}: write ISO 8601 text")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise GraphQLError(f"DateTime cannot represent {text[:40]!r}: write ISO 8601, 2026-01-31T12:00:00Z") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    span = moment - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000_000 + span.microseconds * 1_000


def long_of(value: object) -> int:
    """A whole number of up to 64 bits, sent as a number or as digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise GraphQLError(f"Long cannot represent {str(value)[:40]!r}")
    if isinstance(value, str):
        if len(value) > 20 or not value.lstrip("-").isdecimal():
            raise GraphQLError(f"Long cannot represent {value[:40]!r}")
        value = int(value)
    if isinstance(value, float):
        if not math.isfinite(value) or value != int(value):
            raise GraphQLError(f"Long cannot represent {value}")
        value = int(value)
    if not -_SAFE <= value < _SAFE:
        raise GraphQLError("Long cannot represent a number beyond 64 bits")
    return value


def _same(value: Any) -> Any:
    return value


SCALARS: dict[object, Any] = {
    Json: strawberry.scalar(
        name="JSON",
        description="Any JSON value.",
        serialize=_same,
        parse_value=_same,
    ),
    Long: strawberry.scalar(
        name="Long", description="A whole number of up to 64 bits, a JSON number.", serialize=_same, parse_value=long_of
    ),
    DateTime: strawberry.scalar(
        name="DateTime",
        description="ISO 8601 in UTC, with microseconds: 2026-01-31T12:00:00.000000Z.",
        serialize=iso,
        parse_value=time_ns_of,
        specified_by_url="https://scalars.graphql.org/andimarek/date-time",
    ),
}

strawberry.enum(Severity)
strawberry.enum(AlertState)
strawberry.enum(WorkOrderState)
strawberry.enum(HealthZone, name="HealthZone")
strawberry.enum(ModelHealth)


@strawberry.enum(description="Which end of a relationship the twin is: OUTGOING when it is the source.")
class Direction(Enum):
    OUTGOING = "outgoing"
    INCOMING = "incoming"


@strawberry.enum(description="Severity bits of an OPC UA StatusCode (Part 4, 7.39).")
class Quality(Enum):
    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


@strawberry.enum
class OrderDirection(Enum):
    ASC = "asc"
    DESC = "desc"


@strawberry.enum
class TwinChangeKind(Enum):
    VALUES = "values"
    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    RELATED = "related"
    STATE = "state"
    GAP = "gap"


QUALITIES = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)
"""By the two top bits of a StatusCode: `QUALITIES[code >> 30]`."""
