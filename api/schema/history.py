"""History of one value: points or buckets, and the gaps, so that nobody mistakes silence for a constant value."""

from __future__ import annotations

import strawberry

from twinloom.api.schema.aggregates import Percentile
from twinloom.api.schema.scalars import DateTime, Json, Quality


@strawberry.type
class Point:
    time: DateTime
    value: float | None
    quality: Quality


@strawberry.type(description="A value that is no number: a text, an enumeration, a structure.")
class TextPoint:
    time: DateTime
    value: Json | None
    quality: Quality


@strawberry.type(description="What happened in one span of `bucketMs`, from `start` on.")
class Bucket:
    start: DateTime
    count: int
    min: float | None
    max: float | None
    avg: float | None
    last: float | None
    percentiles: list[Percentile] = strawberry.field(default_factory=list, description="Those that were asked for.")


@strawberry.type(description="A span for which a source delivered nothing.")
class HistoryGap:
    source: str
    start: DateTime
    end: DateTime
    reason: str
    filled: bool = strawberry.field(description="True when the values came later (backfill).")


@strawberry.type
class History:
    twin: str
    path: str
    unit: str
    points: list[Point] = strawberry.field(description="Single values, oldest first; empty when `bucketMs` was given.")
    texts: list[TextPoint] = strawberry.field(description="The same for a property that is not numeric.")
    buckets: list[Bucket]
    gaps: list[HistoryGap]
