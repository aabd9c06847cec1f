"""Turns a TwinFilter into a predicate over rows of the hot graph, once per filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import strawberry

from twinloom.api.context import Context
from twinloom.api.schema import traversal
from twinloom.api.schema.filters import PropertyFilter, RelationshipFilter, StringFilter, TwinFilter
from twinloom.api.schema.identity import suggestion
from twinloom.api.schema.scalars import QUALITIES
from twinloom.twin import units
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import ModelId

Predicate = Callable[[int], bool]
UNSET = strawberry.UNSET
MAX_NESTING = 8


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows that can match. `ordered`: ascending by twin id already. `done`: all of them match."""

    rows: Sequence[int]
    ordered: bool = False
    done: bool = False


def candidates(context: Context, filter: TwinFilter | None) -> Candidates:
    """The rows that a filter narrows the twins down to."""
    hot = context.hot
    if filter is None:
        return Candidates(hot.rows_of(), True, True)
    only = _given(filter) == 1
    if filter.id is not None:
        ids = filter.id.in_ if filter.id.eq is None else [filter.id.eq]
        if ids is not None:
            rows = [context.row(identity) for identity in ids]
            return Candidates([row for row in dict.fromkeys(rows) if row is not None])
    if filter.subtree_of is not None:
        return Candidates(hot.subtree(context.row_of(filter.subtree_of), "contains").tolist(), False, only)
    if filter.exact_model is not None:
        return Candidates(hot.rows_of(known_model(context, filter.exact_model), subtypes=False), True, only)
    if filter.model is not None:
        return Candidates(hot.rows_of(known_model(context, filter.model)), True, only)
    for part in filter.and_ or ():
        narrowed = candidates(context, part)
        if narrowed.rows is not hot.rows_of():
            return Candidates(narrowed.rows, narrowed.ordered)
    return Candidates(hot.rows_of(), True)


def _given(filter: TwinFilter) -> int:
    """How many conditions a filter has."""
    return sum(getattr(filter, name) is not None for name in filter.__dataclass_fields__)


def known_model(context: Context, model: str) -> ModelId:
    """`model` as a registered model's id. Raises BadRequest with the nearest one."""
    if model not in context.hot.models:
        raise BadRequest(
            f"there is no model {model[:80]!r}",
            remedy=suggestion(model, [str(known) for known in context.hot.models]) or "`models` lists them",
        )
    return ModelId(model)


def predicate(context: Context, filter: TwinFilter | None, depth: int = 0) -> Predicate | None:
    """The predicate of a filter; None when everything matches. Raises BadRequest for what means nothing."""
    if filter is None:
        return None
    if depth > MAX_NESTING:
        raise BadRequest("the filter is nested too deeply", remedy=f"nest at most {MAX_NESTING} filters")
    parts = list(_parts(context, filter, depth))
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    return lambda row: all(part(row) for part in parts)


def _parts(context: Context, filter: TwinFilter, depth: int) -> list[Predicate]:
    hot = context.hot
    parts: list[Predicate] = []
    if filter.exact_model is not None:
        exact = known_model(context, filter.exact_model)
        parts.append(lambda row: hot.model_of(row) == exact)
    if filter.model is not None:
        wanted = hot.models.subtypes(known_model(context, filter.model))
        parts.append(lambda row: hot.model_of(row) in wanted)
    if filter.id is not None:
        parts.append(_ids(context, filter.id))
    if filter.subtree_of is not None:
        below = frozenset(int(row) for row in hot.subtree(context.row_of(filter.subtree_of), "contains"))
        parts.append(below.__contains__)
    if filter.property is not None:
        parts.append(_property(context, filter.property))
    if filter.health is not None:
        zones = frozenset(filter.health)
        parts.append(lambda row: context.health(row, hot.id_of(row)) in zones)
    if filter.has_alert is not None:
        alerted = filter.has_alert
        parts.append(lambda row: context.has_alert(hot.id_of(row)) is alerted)
    if filter.stale is not None:
        stale = filter.stale
        parts.append(lambda row: (context.stale_since(hot.id_of(row)) is not None) is stale)
    if filter.relationship is not None:
        parts.append(_relationship(context, filter.relationship, depth))
    if filter.and_ is not None:
        parts.extend(found for part in filter.and_ if (found := predicate(context, part, depth + 1)) is not None)
    if filter.or_ is not None:
        choices = [predicate(context, part, depth + 1) for part in filter.or_]
        if None not in choices:
            tests = [choice for choice in choices if choice is not None]
            parts.append(lambda row: any(test(row) for test in tests))
    if filter.not_ is not None:
        inner = predicate(context, filter.not_, depth + 1)
        parts.append((lambda row: False) if inner is None else (lambda row: not inner(row)))
    return parts


def _ids(context: Context, filter: StringFilter) -> Predicate:
    id_of = context.hot.id_of
    tests: list[Callable[[str], bool]] = []
    if filter.eq is not None:
        wanted = context.twin_id(filter.eq)
        tests.append(lambda text: text == wanted)
    if filter.ne is not None:
        unwanted = context.twin_id(filter.ne)
        tests.append(lambda text: text != unwanted)
    if filter.in_ is not None:
        some = frozenset(context.twin_id(identity) for identity in filter.in_)
        tests.append(some.__contains__)
    if filter.contains is not None:
        part = filter.contains
        tests.append(lambda text: part in text)
    if filter.starts_with is not None:
        start = filter.starts_with
        tests.append(lambda text: text.startswith(start))
    return lambda row: all(test(id_of(row)) for test in tests)


def _relationship(context: Context, filter: RelationshipFilter, depth: int) -> Predicate:
    hot = context.hot
    some = predicate(context, filter.some, depth + 1)
    every = predicate(context, filter.every, depth + 1)
    none = predicate(context, filter.none, depth + 1)

    def matches(row: int) -> bool:
        ends = traversal.neighbours(hot, row, filter.name, filter.direction)
        if filter.some is not None and not any(some is None or some(end) for end in ends):
            return False
        if filter.every is not None and every is not None and not all(every(end) for end in ends):
            return False
        return filter.none is None or not any(none is None or none(end) for end in ends)

    return matches


def _property(context: Context, filter: PropertyFilter) -> Predicate:
    hot, path = context.hot, filter.path
    if not context.known_path(path):
        raise context.unknown_path(path)
    qualities = None if filter.quality is None else frozenset(filter.quality)
    tests = _comparisons(filter)
    scales: dict[ModelId, tuple[float, float] | None] = {}
    unit = filter.unit

    def scale(model: ModelId) -> tuple[float, float] | None:
        if model not in scales:
            field = hot.models.fields(model).get(path)
            scales[model] = units.converter(field.unit, unit) if field is not None and field.unit and unit else None
        return scales[model]

    if unit is not None:
        units.canonical(unit)

    def matches(row: int) -> bool:
        value = hot.value(row, path)
        if unit is not None and isinstance(value, int | float) and not isinstance(value, bool):
            factors = scale(hot.model_of(row))
            if factors is None:
                return False
            value = value * factors[0] + factors[1]
        if qualities is not None:
            reading = hot.get(row, path)
            if reading is None or QUALITIES[reading.quality >> 30] not in qualities:
                return False
        return all(test(value) for test in tests)

    return matches


def _comparisons(filter: PropertyFilter) -> list[Callable[[Any], bool]]:
    tests: list[Callable[[Any], bool]] = []
    if filter.eq is not UNSET:
        equal = filter.eq
        tests.append(lambda value: same(value, equal))
    if filter.ne is not UNSET:
        other = filter.ne
        tests.append(lambda value: not same(value, other))
    if filter.in_ is not None:
        some = filter.in_
        tests.append(lambda value: any(same(value, one) for one in some))
    if filter.is_null is not None:
        null = filter.is_null
        tests.append(lambda value: (value is None) is null)
    if filter.contains is not None:
        part = filter.contains
        tests.append(lambda value: isinstance(value, str) and part in value)
    if filter.starts_with is not None:
        start = filter.starts_with
        tests.append(lambda value: isinstance(value, str) and value.startswith(start))
    for bound, test in (
        (filter.gt, lambda value, bound: value > bound),
        (filter.gte, lambda value, bound: value >= bound),
        (filter.lt, lambda value, bound: value < bound),
        (filter.lte, lambda value, bound: value <= bound),
    ):
        if bound is not None:
            tests.append(_ordered(bound, test))
    return tests


def _ordered(bound: Any, test: Callable[[Any, Any], bool]) -> Callable[[Any], bool]:
    if isinstance(bound, bool) or not isinstance(bound, int | float | str):
        raise BadRequest("gt, gte, lt and lte compare numbers or texts", remedy="give a number or a text")
    kind: Any = str if isinstance(bound, str) else (int, float)
    return lambda value: isinstance(value, kind) and not isinstance(value, bool) and test(value, bound)


def same(value: Any, other: Any) -> bool:
    """JSON equality: 1 equals 1.0 but not true."""
    return isinstance(value, bool) is isinstance(other, bool) and bool(value == other)
