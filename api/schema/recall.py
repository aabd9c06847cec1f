"""Reads the history store for one value: bounded, converted to the unit asked for, gaps beside."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from twinloom.api.context import Context
from twinloom.api.schema.aggregates import Percentile, percentiles_of
from twinloom.api.schema.history import Bucket, History, HistoryGap, Point, TextPoint
from twinloom.api.schema.identity import suggestion
from twinloom.api.schema.scalars import QUALITIES, DateTime, Json
from twinloom.twin import units
from twinloom.twin.errors import BadRequest, LimitExceeded
from twinloom.twin.ids import TwinId

MOST_RANKED = 500_000
"""Points that percentiles of one history may be worked out from."""

HOUR_NS = 3_600_000_000_000
ESTIMATES = {"rul_days": "day", "rul_low": "day", "rul_high": "day"}
"""Series that the server writes itself, with their units."""


async def history_of(
    context: Context,
    twin: TwinId,
    path: str,
    from_ns: int | None,
    to_ns: int | None,
    bucket_ms: int | None,
    first: int | None,
    unit: str | None,
    percentiles: list[float] | None = None,
) -> History:
    """Points (at most `first`) or buckets between two times; the last hour when none is given."""
    limits = context.services.limits
    context.histories += 1
    if context.histories > limits.history_per_request:
        raise LimitExceeded(
            f"the request reads more than {limits.history_per_request} histories", remedy="read fewer of them at once"
        )
    size = limits.history_points if first is None else first
    if size < 0:
        raise BadRequest(f"first: {size} is negative", remedy=f"give 0 to {limits.history_points}")
    if size > limits.history_points:
        raise LimitExceeded(
            f"first: {size} is above {limits.history_points}", remedy="read a shorter span, or in buckets"
        )
    until = time.time_ns() if to_ns is None else to_ns
    since = until - HOUR_NS if from_ns is None else from_ns
    if since > until:
        raise BadRequest("`from` is later than `to`", remedy="swap them")
    own = _unit_of(context, twin, path)
    convert = _converter(own, unit, path)
    history = context.service.history
    points: list[Point] = []
    texts: list[TextPoint] = []
    buckets: list[Bucket] = []
    row = context.service.hot.row(twin)
    if row is not None and context.service.hot.slot(row, path) < 0 and path not in ESTIMATES:
        if bucket_ms is not None:
            raise BadRequest(f"{path!r} is not numeric, so it has no buckets", remedy="leave `bucketMs` out")
        for said in await history.read_texts(twin, path, since, until, size):
            quality = QUALITIES[said.quality >> 30]
            texts.append(TextPoint(time=DateTime(said.source_time_ns), value=Json(said.value), quality=quality))
    elif bucket_ms is None:
        read = await history.read(twin, path, since, until, size)
        columns = (read.source_time_ns.tolist(), read.value.tolist(), read.quality.tolist())
        for time_ns, value, quality in zip(*columns, strict=True):
            points.append(Point(time=DateTime(time_ns), value=convert(value), quality=QUALITIES[quality >> 30]))
    else:
        if bucket_ms <= 0:
            raise BadRequest(f"bucketMs: {bucket_ms} is not positive", remedy="give 1 or more")
        span = (until - since) // (bucket_ms * 1_000_000) + 1
        if span > limits.history_points:
            raise LimitExceeded(
                f"{span} buckets are more than {limits.history_points}",
                remedy="make bucketMs larger or the span shorter",
            )
        ranks = await _ranks(context, twin, path, since, until, bucket_ms * 1_000_000, percentiles)
        found = await history.buckets(twin, path, since, until, bucket_ms * 1_000_000)
        for at, count in enumerate(found.count[:size].tolist()):
            buckets.append(
                Bucket(
                    start=DateTime(int(found.start_ns[at])),
                    count=count,
                    min=convert(float(found.minimum[at])),
                    max=convert(float(found.maximum[at])),
                    avg=convert(float(found.average[at])),
                    last=convert(float(found.last[at])),
                    percentiles=[
                        Percentile(p=one.p, value=convert(one.value)) for one in ranks.get(int(found.start_ns[at]), ())
                    ],
                )
            )
    gaps = [
        HistoryGap(
            source=gap.source,
            start=DateTime(gap.start_ns),
            end=DateTime(gap.end_ns),
            reason=gap.reason,
            filled=gap.filled,
        )
        for gap in await history.gaps(twin, since, until)
    ]
    return History(twin=twin, path=path, unit=unit or own, points=points, texts=texts, buckets=buckets, gaps=gaps)


async def _ranks(
    context: Context, twin: TwinId, path: str, since: int, until: int, bucket_ns: int, percentiles: list[float] | None
) -> dict[int, list[Percentile]]:
    """Percentiles by start of the bucket, from the points themselves: Bad quality left out, as in the buckets."""
    if not percentiles:
        return {}
    read = await context.service.history.read(twin, path, since, until, MOST_RANKED + 1)
    if len(read) > MOST_RANKED:
        raise LimitExceeded(f"percentiles over more than {MOST_RANKED} points", remedy="make the span shorter")
    good = (read.quality >> 31 == 0) & ~np.isnan(read.value)
    starts, values = read.source_time_ns[good] // bucket_ns * bucket_ns, read.value[good]
    cuts = np.flatnonzero(np.diff(starts)) + 1
    return {
        int(part[0]): percentiles_of(values[at : at + len(part)], percentiles)
        for at, part in zip([0, *cuts.tolist()], np.split(starts, cuts), strict=True)
        if len(part)
    }


def _unit_of(context: Context, twin: TwinId, path: str) -> str:
    row = context.row_of(twin)
    if path in ESTIMATES:
        return ESTIMATES[path]
    fields = context.hot.models.fields(context.hot.model_of(row))
    field = fields.get(path)
    if field is None:
        raise BadRequest(
            f"twin {twin!r} has no property {path[:80]!r}",
            remedy=suggestion(path, fields) or "`model { fields { path } }` lists them",
        )
    return field.unit or ""


def _converter(own: str, unit: str | None, path: str) -> Callable[[float | None], float | None]:
    if unit is None:
        return lambda value: value if value is None or value == value else None
    if not own:
        raise BadRequest(f"{path!r} has no unit, so it cannot be shown in {unit!r}", remedy="leave `unit` out")
    factor, offset = units.converter(own, unit)
    return lambda value: None if value is None or value != value else value * factor + offset
