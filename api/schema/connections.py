"""Relay connections over keyset pages: a cursor names the last key seen, bound to the sort and filter it came from.

A `Page` keeps keys (rows of the hot graph, ids), and makes nodes, cursors and the total only when they are asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
import strawberry

from twinloom.api.schema.described import described
from twinloom.api.schema.scalars import Json
from twinloom.twin.errors import BadRequest, LimitExceeded

T = TypeVar("T")


@dataclass(slots=True)
class Page:
    """One page: `keys` in order, how to make the node and the cursor of a key, and how many there are in all."""

    keys: Sequence[Any]
    node: Callable[[Any], Any]
    cursor: Callable[[Any], str]
    total: Callable[[], int]
    has_next: bool = False
    has_previous: bool = False


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    page: strawberry.Private[Page]
    key: strawberry.Private[Any]

    @described("Where this node stands: give it as `after` to go on behind it.")
    def cursor(self) -> str:
        return self.page.cursor(self.key)

    @strawberry.field
    def node(self) -> T:
        return self.page.node(self.key)  # type: ignore[no-any-return]


@strawberry.type(description="One page of a list, by keyset: stable while twins come and go.")
class Connection(Generic[T]):
    page: strawberry.Private[Page]

    @strawberry.field
    def edges(self) -> list[Edge[T]]:
        return [Edge(page=self.page, key=key) for key in self.page.keys]

    @described("The nodes of `edges`, without the cursors.")
    def nodes(self) -> list[T]:
        page = self.page
        return [page.node(key) for key in page.keys]

    @strawberry.field
    def page_info(self) -> PageInfo:
        page = self.page
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=page.cursor(page.keys[0]) if page.keys else None,
            end_cursor=page.cursor(page.keys[-1]) if page.keys else None,
        )

    @described("How many there are in all pages.")
    def total_count(self) -> int:
        return self.page.total()


def page_size(first: int | None, default: int, cap: int) -> int:
    """`first`, or the default. Raises BadRequest below 0 and LimitExceeded above the cap."""
    if first is None:
        return default
    if first < 0:
        raise BadRequest(f"first: {first} is negative", remedy=f"give 0 to {cap}")
    if first > cap:
        raise LimitExceeded(f"first: {first} is above {cap}", remedy=f"ask for at most {cap}, and page on with `after`")
    return first


def fingerprint(*parts: object) -> str:
    """What a cursor is bound to: 8 hex digits over sort and filter."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


class Binding:
    """A fingerprint that is worked out when a cursor is written or read, not before."""

    __slots__ = ("_parts", "_text")

    def __init__(self, *parts: object) -> None:
        self._parts = parts
        self._text = ""

    @property
    def text(self) -> str:
        if not self._text:
            self._text = fingerprint(*self._parts)
        return self._text


def encode_cursor(bound: str, key: Json) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([bound, key])).decode().rstrip("=")


def decode_cursor(cursor: str, bound: str) -> Any:
    """The key in a cursor. Raises BadRequest when it is no cursor, or one of another sort or filter."""
    try:
        told, key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadRequest("`after` is not a cursor of this API", remedy="use an endCursor that was read") from error
    if told != bound:
        raise BadRequest(
            "`after` is a cursor of another filter or order",
            remedy="page on with the same filter and orderBy, or start anew",
        )
    return key


def keyset(
    keys: Sequence[str],
    *,
    first: int,
    after: str | None,
    bound: str,
    node: Callable[[Any], Any],
) -> Page:
    """A page of text keys that ascend."""
    start = 0
    if after is not None:
        last = decode_cursor(after, bound)
        if not isinstance(last, str):
            raise BadRequest("`after` is not a cursor of this list", remedy="use an endCursor that was read")
        start = bisect_right(keys, last)
    chosen = keys[start : start + first]
    return Page(
        keys=chosen,
        node=node,
        cursor=lambda key: encode_cursor(bound, key),
        total=lambda: len(keys),
        has_next=start + len(chosen) < len(keys),
        has_previous=start > 0,
    )
