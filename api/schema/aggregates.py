"""Aggregates over twins: count, min, max, avg, sum and percentiles of values, by model, health or properties."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import strawberry

from twinloom.api.compile.columns import Columns
from twinloom.api.context import Context
from twinloom.api.schema.described import described
from twinloom.api.schema.filters import TwinFilter
from twinloom.api.schema.predicates import candidates, predicate
from twinloom.api.schema.scalars import QUALITIES, Json, Quality
from twinloom.twin import units
from twinloom.twin.errors import BadRequest, LimitExceeded
from twinloom.twin.instance import Json as AnyJson

MOST_GROUPS = 1_000
MOST_PATHS = 20
MOST_PERCENTILES = 20


@strawberry.type
class Percentile:
    p: float = strawberry.field(description="0 to 100.")
    value: float | None


@strawberry.type(description="The numbers at one path, over the twins of a group that have one.")
class Aggregate:
    path: str
    unit: str
    numbers: strawberry.Private[npt.NDArray[np.float64]]

    @described("How many twins of the group have a number there.")
    def count(self) -> int:
        return len(self.numbers)

    @strawberry.field
    def min(self) -> float | None:
        return float(self.numbers.min()) if len(self.numbers) else None

    @strawberry.field
    def max(self) -> float | None:
        return float(self.numbers.max()) if len(self.numbers) else None

    @strawberry.field
    def avg(self) -> float | None:
        return float(self.numbers.mean()) if len(self.numbers) else None

    @strawberry.field
    def sum(self) -> float:
        return float(self.numbers.sum())

    @described("By linear interpolation between the nearest ranks.")
    def percentiles(self, p: list[float]) -> list[Percentile]:
        return percentiles_of(self.numbers, p)


@strawberry.type
class TwinGroup:
    key: Json = strawberry.field(description="The value of each `groupBy`; an empty object when nothing was grouped.")
    count: int = strawberry.field(description="How many twins are in the group.")
    aggregates: list[Aggregate]


def percentiles_of(numbers: npt.NDArray[np.float64], p: Sequence[float]) -> list[Percentile]:
    """Percentiles of numbers. Raises BadRequest outside 0..100, LimitExceeded for too many."""
    if len(p) > MOST_PERCENTILES:
        raise LimitExceeded(f"{len(p)} percentiles are more than {MOST_PERCENTILES}", remedy="ask for fewer")
    if any(not 0 <= one <= 100 for one in p):
        raise BadRequest("a percentile lies between 0 and 100", remedy="p: [50, 90, 99]")
    if not len(numbers):
        return [Percentile(p=one, value=None) for one in p]
    found = np.percentile(numbers, list(p)).tolist() if p else []
    return [Percentile(p=one, value=value) for one, value in zip(p, found, strict=True)]


def groups_of(
    context: Context,
    filter: TwinFilter | None,
    of: Sequence[str],
    group_by: Sequence[str],
    unit: str | None,
    quality: Sequence[Quality] | None,
) -> list[TwinGroup]:
    """The groups, the largest first. Raises BadRequest for an unknown path or a unit that does not fit."""
    if len(of) > MOST_PATHS or len(group_by) > 3:
        raise LimitExceeded(f"more than {MOST_PATHS} paths or 3 groupings", remedy="ask for fewer at once")
    for path in (*of, *(name for name in group_by if name not in ("model", "health"))):
        if not context.known_path(path):
            raise context.unknown_path(path)
    chosen = candidates(context, filter)
    rows = chosen.rows
    matches = None if chosen.done else predicate(context, filter)
    if matches is not None:
        rows = [row for row in rows if matches(row)]
    keys = _keys(context, rows, group_by)
    members: dict[Hashable, list[int]] = {}
    for at, key in enumerate(keys):
        members.setdefault(key, []).append(at)
    if len(members) > MOST_GROUPS:
        raise LimitExceeded(f"more than {MOST_GROUPS} groups", remedy="group by something with fewer values")
    columns = {path: _numbers(context, rows, path, unit, quality) for path in of}
    groups = []
    for key, positions in members.items():
        values = key if isinstance(key, tuple) else ()
        aggregates = []
        for path, (numbers, shown) in columns.items():
            own = numbers[positions]
            aggregates.append(Aggregate(path=path, unit=shown, numbers=own[~np.isnan(own)]))
        groups.append(
            TwinGroup(key=Json(dict(zip(group_by, values, strict=True))), count=len(positions), aggregates=aggregates)
        )
    groups.sort(key=lambda group: (-group.count, repr(group.key)))
    return groups


def _keys(context: Context, rows: Sequence[int], group_by: Sequence[str]) -> list[Hashable]:
    hot = context.hot
    readers: list[Callable[[int], Any]] = []
    for name in group_by:
        if name == "model":
            readers.append(hot.model_of)
        elif name == "health":
            readers.append(lambda row: context.health(row, hot.id_of(row)).name)
        else:
            readers.append(_reader(context, name))
    return [tuple(read(row) for read in readers) for row in rows]


def _reader(context: Context, path: str) -> Callable[[int], Any]:
    return lambda row: _hashable(context.hot.value(row, path))


def _hashable(value: AnyJson) -> Any:
    return repr(value) if isinstance(value, dict | list) else value


def _numbers(
    context: Context, rows: Sequence[int], path: str, unit: str | None, quality: Sequence[Quality] | None
) -> tuple[npt.NDArray[np.float64], str]:
    """The numbers at a path, NaN where a twin has none; in one unit, whatever the models say."""
    hot = context.hot
    read = Columns(context, rows).value(path) if len(rows) else []
    numbers = np.array(
        [value if isinstance(value, int | float) and not isinstance(value, bool) else np.nan for value in read],
        np.float64,
    )
    if quality is not None:
        wanted = frozenset(quality)
        for at, row in enumerate(rows):
            reading = hot.get(row, path)
            if reading is None or QUALITIES[reading.quality >> 30] not in wanted:
                numbers[at] = np.nan
    shown = unit or ""
    models = {hot.model_of(row) for row in rows}
    for model in sorted(models):
        field = hot.models.fields(model).get(path) if model in hot.models else None
        own = (field.unit or "") if field is not None else ""
        if field is None or own == shown:
            continue
        if not shown:
            shown = own
            continue
        if not own:
            raise BadRequest(f"{path!r} has no unit in {model}", remedy="leave `unit` out, or filter by model")
        factor, offset = units.converter(own, shown)
        mask = np.array([hot.model_of(row) == model for row in rows])
        numbers[mask] = numbers[mask] * factor + offset
    return numbers, shown
