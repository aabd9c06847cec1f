"""Columns of twin fields for many rows at once: what a compiled selection reads instead of calling a resolver a twin.

This is the one file of the API that knows how the hot graph keeps its rows: at 1,000 twins times 10 fields a call a
value costs more than everything else of the request together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from twinloom.api.context import Context
from twinloom.api.schema.identity import global_id
from twinloom.api.schema.scalars import iso

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


class Columns:
    """Fields of the twins at `rows`, each as a list in the order of the rows."""

    __slots__ = ("_array", "_bases", "_context", "_hot", "_kinds", "_layouts", "rows")

    def __init__(self, context: Context, rows: Sequence[int]) -> None:
        self._context = context
        self._hot = context.hot
        self.rows = rows
        self._array: npt.NDArray[np.intp] | None = None
        self._kinds: npt.NDArray[np.int32] | None = None
        self._bases: npt.NDArray[np.int32] | None = None
        self._layouts: list[tuple[Any, npt.NDArray[np.intp] | None]] = []

    def _prepare(self) -> None:
        hot = self._hot
        self._array = rows = np.array(self.rows, np.intp)
        # Views of the graph's arrays must not outlive this call: they could not grow meanwhile.
        self._kinds = np.frombuffer(hot._layout, np.int32)[rows]
        self._bases = np.frombuffer(hot._base, np.int32)[rows]
        first = int(self._kinds[0])
        if bool((self._kinds == first).all()):
            self._layouts = [(hot._layouts[first], None)]
        else:
            self._layouts = [
                (hot._layouts[kind], np.nonzero(self._kinds == kind)[0]) for kind in np.unique(self._kinds).tolist()
            ]

    def ids(self) -> list[str]:
        ids = self._hot._ids
        return [ids[row] for row in self.rows]

    def global_ids(self) -> list[str]:
        return global_ids(self.ids())

    def models(self) -> list[str]:
        model_of = self._hot.model_of
        if len(self.rows) > FEW:
            if self._array is None:
                self._prepare()
            if len(self._layouts) == 1:
                return [self._layouts[0][0].model] * len(self.rows)
        return [model_of(row) for row in self.rows]

    def names(self) -> list[str | None]:
        return [name if isinstance(name, str) else None for name in self.value("name")]

    def etags(self) -> list[str]:
        etags = self._hot._etags
        return [etags[row] for row in self.rows]

    def seqs(self) -> list[int]:
        if len(self.rows) > FEW:
            if self._array is None:
                self._prepare()
            found: list[int] = self._hot._last_seq[self._array].tolist()
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

    def value(self, path: str) -> list[Any]:
        """Last values at a path; NaN stands for null, as JSON has it."""
        hot = self._hot
        if len(self.rows) <= FEW:
            value = hot.value
            return [value(row, path) for row in self.rows]
        if self._array is None:
            self._prepare()
        assert self._bases is not None
        if len(self._layouts) == 1:
            layout = self._layouts[0][0]
            offset = layout.slot_of.get(path)
            if offset is not None:
                found: list[Any] = hot.values[self._bases + offset].tolist()
                return _whole(found) if layout.integral[offset] else found
            place = layout.text_of.get(path)
            if place is not None and not hot._extras:
                texts = hot._texts
                return [None if (kept := texts[row]) is None else kept[place] for row in self.rows]
        elif (
            all(path in layout.slot_of or path not in layout.text_of for layout, _ in self._layouts) and not hot._extras
        ):
            gathered = np.full(len(self.rows), np.nan)
            whole = False
            for layout, at in self._layouts:
                offset = layout.slot_of.get(path)
                if offset is not None:
                    whole = whole or layout.integral[offset]
                    gathered[at] = hot.values[self._bases[at] + offset]
            if not whole and "." not in path:
                return gathered.tolist()
        value = hot.value
        return [value(row, path) for row in self.rows]


def _whole(numbers: list[float]) -> list[int | None]:
    return [None if number != number else int(number) for number in numbers]


def _times(times_ns: list[int]) -> list[str]:
    """ISO texts; equal times, as those of one commit, are written once."""
    made: dict[int, str] = {}
    return [made.get(time_ns) or made.setdefault(time_ns, iso(time_ns)) for time_ns in times_ns]
