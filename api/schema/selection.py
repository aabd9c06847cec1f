"""Choosing twins: candidates, filter, order, and the keyset page."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from twinloom.api.context import Context
from twinloom.api.schema.connections import Binding, Page, decode_cursor, encode_cursor, page_size
from twinloom.api.schema.filters import TwinFilter, TwinOrder
from twinloom.api.schema.predicates import Candidates, candidates, predicate
from twinloom.api.schema.scalars import Json, OrderDirection
from twinloom.twin.errors import BadRequest


def twin_at(context: Context, row: int) -> Any:
    """The handle of a live row."""
    from twinloom.api.schema.twins import Twin  # the twin's own fields select twins

    return Twin(row=row, twin_id=context.hot.id_of(row))


Rank = tuple[int, Any]
"""A sortable JSON value: numbers before texts before the rest; (9, None) is unset and always last."""


def page_of_twins(
    context: Context, filter: TwinFilter | None, order: Sequence[TwinOrder] | None, first: int | None, after: str | None
) -> Page:
    """A page of all twins that match."""
    return _page(context, candidates(context, filter), filter, order, first, after, ("twins",))


def page_of_rows(
    context: Context,
    rows: Sequence[int],
    filter: TwinFilter | None,
    order: Sequence[TwinOrder] | None,
    first: int | None,
    after: str | None,
    bound: tuple[object, ...],
) -> Page:
    """A page of those of `rows` that match, by `order` and then by twin id."""
    return _page(context, Candidates(rows, done=filter is None), filter, order, first, after, bound)


def _page(
    context: Context,
    found: Candidates,
    filter: TwinFilter | None,
    order: Sequence[TwinOrder] | None,
    first: int | None,
    after: str | None,
    bound: tuple[object, ...],
) -> Page:
    size = page_size(first, 25, context.services.limits.twins_page)
    chosen = found.rows
    if not found.done:
        matches = predicate(context, filter)
        if matches is not None:
            chosen = [row for row in chosen if matches(row)]
    binding = Binding(*bound, filter, order)
    if order:
        return _ordered_page(context, chosen, order, size, after, binding)
    id_of = context.hot.id_of
    if not found.ordered:
        chosen = sorted(chosen, key=id_of)
    start = 0
    if after is not None:
        last = decode_cursor(after, binding.text)
        if not isinstance(last, str):
            raise BadRequest("`after` is not a cursor of this list", remedy="use an endCursor that was read")
        start = bisect_right(chosen, last, key=id_of)
    keys = chosen[start : start + size]
    return Page(
        keys=keys,
        node=lambda row: twin_at(context, row),
        cursor=lambda row: encode_cursor(binding.text, Json(id_of(row))),
        total=lambda: len(chosen),
        has_next=start + len(keys) < len(chosen),
        has_previous=start > 0,
    )


def _ordered_page(
    context: Context,
    rows: Sequence[int],
    order: Sequence[TwinOrder],
    size: int,
    after: str | None,
    binding: Binding,
) -> Page:
    if len(order) > 5:
        raise BadRequest("orderBy has more than 5 entries", remedy="sort by at most 5")
    readers = [_reader(context, one.by) for one in order]
    descending = [one.direction is OrderDirection.DESC for one in order]
    keyed = [([rank(read(row)) for read in readers], context.hot.id_of(row), row) for row in rows]
    keyed.sort(key=lambda entry: entry[1])
    for at in reversed(range(len(order))):
        if descending[at]:
            keyed.sort(key=lambda entry: (entry[0][at][0] != 9, entry[0][at]), reverse=True)
        else:
            keyed.sort(key=lambda entry: entry[0][at])
    start = 0
    if after is not None:
        key = decode_cursor(after, binding.text)
        if not isinstance(key, list) or len(key) != len(order) + 1:
            raise BadRequest("`after` is not a cursor of this list", remedy="use an endCursor that was read")
        last = [(rank_of[0], rank_of[1]) for rank_of in key[:-1]]
        low, high = 0, len(keyed)
        while low < high:
            middle = (low + high) // 2
            if _behind(keyed[middle], last, key[-1], descending):
                high = middle
            else:
                low = middle + 1
        start = low
    chosen = keyed[start : start + size]
    found = {entry[2]: entry for entry in chosen}
    return Page(
        keys=[entry[2] for entry in chosen],
        node=lambda row: twin_at(context, row),
        cursor=lambda row: encode_cursor(binding.text, Json([*found[row][0], found[row][1]])),
        total=lambda: len(rows),
        has_next=start + len(chosen) < len(keyed),
        has_previous=start > 0,
    )


def _behind(entry: tuple[list[Rank], str, int], last: list[Rank], last_id: str, descending: list[bool]) -> bool:
    for mine, other, down in zip(entry[0], last, descending, strict=True):
        if mine == other:
            continue
        if mine[0] == 9 or other[0] == 9:
            return mine[0] == 9
        return (mine < other) if down else (mine > other)
    return entry[1] > last_id


def rank(value: Any) -> Rank:
    """A key that sorts any JSON values.

    >>> sorted([rank("a"), rank(None), rank(2.5)])
    [(1, 2.5), (2, 'a'), (9, None)]
    """
    if value is None:
        return (9, None)
    if isinstance(value, bool):
        return (0, value)
    if isinstance(value, int | float):
        return (1, value) if value == value else (9, None)
    if isinstance(value, str):
        return (2, value)
    return (3, repr(value))


def _reader(context: Context, by: str) -> Callable[[int], Any]:
    hot = context.hot
    if by == "id":
        return hot.id_of
    if by == "seq":
        return hot.twin_seq
    if by == "updatedAt":
        return hot.updated_ns
    if by == "rulDays":
        return lambda row: found[0].rul_days if (found := context.estimate(hot.id_of(row))) else None
    if not context.known_path(by):
        raise context.unknown_path(by)
    return lambda row: hot.value(row, by)
