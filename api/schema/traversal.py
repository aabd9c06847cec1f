"""Walks over the hot graph: edges of a twin, its neighbours, what lies below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twinloom.api.schema.connections import Page, decode_cursor, encode_cursor, fingerprint
from twinloom.api.schema.scalars import Direction, Json
from twinloom.twin.errors import BadRequest

if TYPE_CHECKING:
    from twinloom.graph.hot import HotGraph


def edges(hot: HotGraph, row: int, name: str | None, direction: Direction) -> Sequence[Any]:
    """The edges at one end of a twin, all names or one."""
    return hot.out(row, name) if direction is Direction.OUTGOING else hot.into(row, name)


def neighbours(hot: HotGraph, row: int, name: str | None, direction: Direction) -> list[int]:
    """Rows at the other end, each once."""
    if direction is Direction.OUTGOING:
        return list(dict.fromkeys(edge.target for edge in hot.out(row, name)))
    return list(dict.fromkeys(edge.source for edge in hot.into(row, name)))


def below(hot: HotGraph, row: int, name: str, max_depth: int | None) -> list[int]:
    """Rows that `name` reaches from `row` in at most `max_depth` steps, itself excluded, each once."""
    if max_depth is None:
        return [int(found) for found in hot.subtree(row, name)[1:]]
    if max_depth < 0:
        raise BadRequest(f"maxDepth: {max_depth} is negative", remedy="give 1 or more, or leave it out")
    seen = {row}
    level = [row]
    found: list[int] = []
    for _ in range(max_depth):
        level = [edge.target for at in level for edge in hot.out(at, name)]
        level = [target for target in dict.fromkeys(level) if target not in seen]
        if not level:
            break
        seen.update(level)
        found.extend(level)
    return found


def edge_page(found: Sequence[Any], *, first: int, after: str | None, bound: tuple[object, ...]) -> Page:
    """A page of edges by (source row, relationship id)."""
    binding = fingerprint(*bound)
    ordered = sorted(found, key=_edge_key)
    start = 0
    if after is not None:
        last = decode_cursor(after, binding)
        if not isinstance(last, list) or len(last) != 2:
            raise BadRequest("`after` is not a cursor of this list", remedy="use an endCursor that was read")
        key = (last[0], last[1])
        while start < len(ordered) and _edge_key(ordered[start]) <= key:
            start += 1
    chosen = ordered[start : start + first]
    cursor: Callable[[Any], str] = lambda edge: encode_cursor(binding, Json(list(_edge_key(edge))))  # noqa: E731
    return Page(chosen, lambda edge: edge, cursor, lambda: len(ordered), start + len(chosen) < len(ordered), start > 0)


def _edge_key(edge: Any) -> tuple[int, str]:
    return (edge.source, edge.id)
