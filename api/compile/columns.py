"""Columns of twin fields for many rows at once: what a compiled selection reads instead of calling a resolver a twin.

This is the one file of the API that knows how the hot graph keeps its rows: at 1,000 twins times 10 fields a call a
value costs more than everything else of the request together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from twinloom.api.context import Context
from twinloom.api.schema.identity import global_id
from twinloom.api.schema.scalars import iso
from twinloom.graph.layout import Layout

TEXT_OR_NOTHING = {str, type(None)}
FEW = 6
"""Up to so many rows, calls a row are cheaper than numpy."""

KEPT_IDS = 50_000
_global_ids: dict[str, str] = {}


def global_ids(ids: Sequence[str]) -> list[str]:
    """Global ids of twins; the latest ones made are kept."""
    known = _global_ids
    try:
        return [known[id] for id in ids]
    except KeyError:
        pass
    if len(known) > KEPT_IDS:
        known.clear()
    for id in ids:
        if id not in known:
            known[id] = global_id("Twin", id)
    return [known[id] for id in ids]


@dataclass(frozen=True, slots=True)
class Places:
    """Where some paths are in a layout: `offsets` (k, 1) of those that are numbers; which of these are whole numbers
    (empty: none); the paths that are no numbers."""

    offsets: npt.NDArray[np.int32]
    whole: tuple[bool, ...]
    others: frozenset[str]


@lru_cache(maxsize=1024)
def places_of(layout: Layout, paths: tuple[str, ...]) -> Places:
    """Worked out once for a layout and the paths of a document."""
    offsets = [layout.slot_of[path] for path in paths if path in layout.slot_of]
    whole = tuple(layout.integral[offset] for offset in offsets)
    others = frozenset(path for path in paths if path not in layout.slot_of)
    return Places(np.array(offsets, np.int32).reshape(-1, 1), whole if any(whole) else (), others)


class Columns:
    """Fields of the twins at `rows`, each as a list in the order of the rows."""

    __slots__ = ("_bases", "_context", "_hot", "_layouts", "_pick", "rows")

    def __init__(self, context: Context, rows: Sequence[int]) -> None:
        self._context = context
        self._hot = context.hot
        self.rows = rows
        self._pick: Callable[[Any], Any] = itemgetter(*rows) if len(rows) > 1 else _only(rows)
        self._bases: npt.NDArray[np.int32] | None = None
        self._layouts: list[tuple[Layout, npt.NDArray[np.intp] | None]] = []

    def _prepare(self) -> npt.NDArray[np.int32]:
        hot = self._hot
        bases = np.array(self._pick(hot._base), np.int32)
        numbers = self._pick(hot._layout)
        kinds = set(numbers)
        if len(kinds) == 1:
            self._layouts = [(hot._layouts[numbers[0]], None)]
        else:
            array = np.array(numbers, np.int32)
            self._layouts = [(hot._layouts[kind], np.nonzero(array == kind)[0]) for kind in kinds]
        self._bases = bases
        return bases

    def ids(self) -> Sequence[str]:
        return self._pick(self._hot._ids)  # type: ignore[no-any-return]

    def global_ids(self) -> list[str]:
        return global_ids(self.ids())

    def models(self) -> list[str]:
        layouts = self._hot._layouts
        return [layouts[number].model for number in self._pick(self._hot._layout)]

    def names(self) -> Sequence[str | None]:
        read = self.value("name")
        if set(map(type, read)) <= TEXT_OR_NOTHING:
            return read
        return [name if isinstance(name, str) else None for name in read]

    def etags(self) -> Sequence[str]:
        return self._pick(self._hot._etags)  # type: ignore[no-any-return]

    def seqs(self) -> list[int]:
        if len(self.rows) > FEW:
            found: list[int] = self._hot._last_seq.take(self.rows).tolist()
            return found
        twin_seq = self._hot.twin_seq
        return [twin_seq(row) for row in self.rows]

    def created(self) -> list[str]:
        created = self._hot.created_ns
        return _times([created(row) for row in self.rows])

    def updated(self) -> list[str]:
        updated = self._hot.updated_ns
        return _times([updated(row) for row in self.rows])

    def properties(self) -> list[Any]:
        properties = self._hot.properties
        return [properties(row) for row in self.rows]

    def stale(self) -> list[bool]:
        since, ids = self._context.service.stale_since, self._hot._ids
        return [since(ids[row]) is not None for row in self.rows]

    def stale_since(self) -> list[str | None]:
        since, ids = self._context.service.stale_since, self._hot._ids
        return [None if (at := since(ids[row])) is None else iso(at) for row in self.rows]

    def value(self, path: str) -> Sequence[Any]:
        """Last values at a path; NaN stands for null, as JSON has it."""
        return self.table((path,))[0]

    def table(self, paths: Sequence[str]) -> list[Sequence[Any]]:
        """Last values at several paths, a list a path: numbers of one model are gathered in one step."""
        if len(self.rows) <= FEW:
            value, rows = self._hot.value, self.rows
            return [[value(row, path) for row in rows] for path in paths]
        bases = self._prepare() if self._bases is None else self._bases
        if len(self._layouts) > 1:
            return [self._mixed(path, bases) for path in paths]
        layout = self._layouts[0][0]
        places = places_of(layout, tuple(paths))
        columns: list[Sequence[Any]] = []
        if len(places.offsets):
            columns = self._hot.values.take(places.offsets + bases).tolist()
            if places.whole:
                columns = [
                    _whole(column) if whole else column for column, whole in zip(columns, places.whole, strict=True)
                ]
        if not places.others:
            return columns
        numbers = iter(columns)
        return [self._texts(layout, path) if path in places.others else next(numbers) for path in paths]

    def _texts(self, layout: Layout, path: str) -> Sequence[Any]:
        place = layout.text_of.get(path)
        if place is None or self._hot._extras:
            value = self._hot.value
            return [value(row, path) for row in self.rows]
        return [None if kept is None else kept[place] for kept in self._pick(self._hot._texts)]

    def _mixed(self, path: str, bases: npt.NDArray[np.int32]) -> Sequence[Any]:
        """A path of twins of several models: gathered where it is a number or nothing in all of them."""
        hot = self._hot
        if "." not in path and not hot._extras:
            gathered = np.full(len(bases), np.nan)
            for layout, at in self._layouts:
                offset = layout.slot_of.get(path)
                if offset is None:
                    if path in layout.text_of:
                        break
                elif layout.integral[offset]:
                    break
                else:
                    gathered[at] = hot.values[bases[at] + offset]
            else:
                found: list[Any] = gathered.tolist()
                return found
        value = hot.value
        return [value(row, path) for row in self.rows]


def _only(rows: Sequence[int]) -> Callable[[Any], Any]:
    return lambda column: [column[row] for row in rows]


def _whole(numbers: Sequence[float]) -> list[int | None]:
    return [None if number != number else int(number) for number in numbers]


def _times(times_ns: list[int]) -> list[str]:
    """ISO texts; equal times, as those of one commit, are written once."""
    made: dict[int, str] = {}
    return [made.get(time_ns) or made.setdefault(time_ns, iso(time_ns)) for time_ns in times_ns]
