"""Relationships in memory: edges as columns, each row's edges as a linked list, and subtrees by compressed rows.

About 60 bytes an edge. A subtree walks whole levels with numpy over a compressed copy of one relationship name's edges;
rows that changed since the copy was made are walked by their lists, so that one mutation does not cost a rebuild.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinloom.twin.instance import Json

Rows = npt.NDArray[np.int32]

HUB = 64
"""A row with more edges than this gets an index by relationship id."""

REBUILD = 512
"""A compressed copy is made anew when more rows than this have changed since."""

_NONE = -1


@dataclass(slots=True)
class _Compressed:
    """Edges of one name: targets of row r are `targets[start[r]:start[r + 1]]`, unless r changed since (`dirty`)."""

    start: npt.NDArray[np.int64]
    targets: Rows
    dirty: npt.NDArray[np.bool_]
    changes: int = 0


class Adjacency:
    """Edges by index. The caller sees to it that rows exist and that an id is not taken at its source."""

    __slots__ = (
        "_compressed",
        "_free",
        "_hubs",
        "_ids",
        "_name_index",
        "_next_in",
        "_next_out",
        "_prev_in",
        "_prev_out",
        "degree_in",
        "degree_out",
        "etags",
        "first_in",
        "first_out",
        "last_in",
        "last_out",
        "live",
        "name",
        "names",
        "properties",
        "seqs",
        "source",
        "target",
    )

    def __init__(self) -> None:
        self.source = array("i")
        self.target = array("i")
        self.name = array("i")
        self.seqs = array("q")
        self.etags: list[str] = []
        self.properties: dict[int, Mapping[str, Json]] = {}
        self.names: list[str] = []
        self.live = 0
        self._ids: list[str | None] = []
        self._name_index: dict[str, int] = {}
        self._next_out, self._prev_out = array("i"), array("i")
        self._next_in, self._prev_in = array("i"), array("i")
        self.first_out, self.last_out, self.degree_out = array("i"), array("i"), array("i")
        self.first_in, self.last_in, self.degree_in = array("i"), array("i"), array("i")
        self._free: list[int] = []
        self._hubs: dict[int, dict[str, int]] = {}
        self._compressed: dict[int, _Compressed] = {}

    def cover(self, rows: int) -> None:
        """Makes room for rows below `rows`."""
        missing = rows - len(self.first_out)
        if missing > 0:
            none, zero = array("i", [_NONE]) * missing, array("i", [0]) * missing
            for column in (self.first_out, self.last_out, self.first_in, self.last_in):
                column.extend(none)
            self.degree_out.extend(zero)
            self.degree_in.extend(zero)

    def id_of(self, edge: int, target_id: str) -> str:
        """The relationship's id. The default one, `name:target`, is not stored."""
        stored = self._ids[edge]
        return f"{self.names[self.name[edge]]}:{target_id}" if stored is None else stored

    def add(
        self,
        source: int,
        target: int,
        name: str,
        id: str,
        target_id: str,
        properties: Mapping[str, Json],
        etag: str,
        seq: int,
    ) -> int:
        number = self._name_index.get(name)
        if number is None:
            number = self._name_index[name] = len(self.names)
            self.names.append(name)
        kept_id = None if id == f"{name}:{target_id}" else id
        last_out, last_in = self.last_out[source], self.last_in[target]
        if self._free:
            edge = self._free.pop()
            self.source[edge], self.target[edge], self.name[edge], self.seqs[edge] = source, target, number, seq
            self._ids[edge], self.etags[edge] = kept_id, etag
            self._next_out[edge], self._prev_out[edge] = _NONE, last_out
            self._next_in[edge], self._prev_in[edge] = _NONE, last_in
        else:
            edge = len(self.source)
            self.source.append(source)
            self.target.append(target)
            self.name.append(number)
            self.seqs.append(seq)
            self._ids.append(kept_id)
            self.etags.append(etag)
            self._next_out.append(_NONE)
            self._prev_out.append(last_out)
            self._next_in.append(_NONE)
            self._prev_in.append(last_in)
        if properties:
            self.properties[edge] = properties
        if last_out < 0:
            self.first_out[source] = edge
        else:
            self._next_out[last_out] = edge
        self.last_out[source] = edge
        if last_in < 0:
            self.first_in[target] = edge
        else:
            self._next_in[last_in] = edge
        self.last_in[target] = edge
        self.degree_out[source] += 1
        self.degree_in[target] += 1
        hub = self._hubs.get(source)
        if hub is not None:
            hub[id] = edge
        if self._compressed:
            self._touch(number, source)
        self.live += 1
        return edge

    def remove(self, edge: int, target_id: str) -> None:
        source, target, number = self.source[edge], self.target[edge], self.name[edge]
        hub = self._hubs.get(source)
        if hub is not None:
            hub.pop(self.id_of(edge, target_id), None)
        after, before = self._next_out[edge], self._prev_out[edge]
        if before < 0:
            self.first_out[source] = after
        else:
            self._next_out[before] = after
        if after < 0:
            self.last_out[source] = before
        else:
            self._prev_out[after] = before
        after, before = self._next_in[edge], self._prev_in[edge]
        if before < 0:
            self.first_in[target] = after
        else:
            self._next_in[before] = after
        if after < 0:
            self.last_in[target] = before
        else:
            self._prev_in[after] = before
        self.degree_out[source] -= 1
        self.degree_in[target] -= 1
        self.source[edge] = _NONE
        self._ids[edge], self.etags[edge] = None, ""
        self.properties.pop(edge, None)
        self._free.append(edge)
        self._touch(number, source)
        self.live -= 1
        if not self.degree_out[source]:
            self._hubs.pop(source, None)

    def out(self, row: int, name: str | None = None) -> Iterator[int]:
        """Edges that leave a row, in the order in which they came."""
        return self._walk(self.first_out[row], self._next_out, name)

    def into(self, row: int, name: str | None = None) -> Iterator[int]:
        return self._walk(self.first_in[row], self._next_in, name)

    def _walk(self, edge: int, following: array[int], name: str | None) -> Iterator[int]:
        if name is None:
            while edge >= 0:
                yield edge
                edge = following[edge]
            return
        number = self._name_index.get(name, _NONE)
        names = self.name
        while edge >= 0 and number >= 0:
            if names[edge] == number:
                yield edge
            edge = following[edge]

    def find(self, source: int, id: str, ids: list[str]) -> int | None:
        """The edge of that id at a source; `ids` gives the twin id of a row."""
        hub = self._hubs.get(source)
        if hub is None:
            if self.degree_out[source] <= HUB:
                for edge in self.out(source):
                    if self.id_of(edge, ids[self.target[edge]]) == id:
                        return edge
                return None
            hub = {self.id_of(edge, ids[self.target[edge]]): edge for edge in self.out(source)}
            self._hubs[source] = hub
        return hub.get(id)

    def subtree(self, row: int, name: str) -> Rows:
        """The row and all that it reaches over `name`, each once, breadth-first."""
        number = self._name_index.get(name)
        if number is None:
            return np.array([row], np.int32)
        compressed = self._compressed.get(number)
        if compressed is None or compressed.changes > REBUILD or len(compressed.dirty) < len(self.first_out):
            compressed = self._compress(number)
        seen = np.zeros(len(self.first_out), bool)
        seen[row] = True
        frontier = np.array([row], np.int32)
        levels = [frontier]
        first = np.empty(len(seen), np.int32)
        while len(frontier):
            reached = self._expand(compressed, frontier, number)
            reached = reached[~seen[reached]]
            order = np.arange(len(reached), dtype=np.int32)
            first[reached[::-1]] = order[::-1]
            once = first[reached] == order
            if not once.all():
                reached = reached[once]
            seen[reached] = True
            if len(reached):
                levels.append(reached)
            frontier = reached
        return np.concatenate(levels)

    def _expand(self, compressed: _Compressed, frontier: Rows, number: int) -> Rows:
        begin = compressed.start[frontier]
        count = compressed.start[frontier + 1] - begin
        lists: list[tuple[int, list[int]]] = []
        if compressed.changes:
            for position in np.flatnonzero(compressed.dirty[frontier]).tolist():
                targets = [
                    self.target[edge]
                    for edge in self._walk(self.first_out[int(frontier[position])], self._next_out, self.names[number])
                ]
                count[position] = len(targets)
                lists.append((position, targets))
                begin[position] = 0
        total = int(count.sum())
        if not total:
            return np.empty(0, np.int32)
        ends = np.cumsum(count)
        starts = ends - count
        index = np.arange(total) + np.repeat(begin - starts, count)
        if not lists:
            found: Rows = compressed.targets[index]
            return found
        reached = np.empty(total, np.int32)
        if len(compressed.targets):
            # A changed row's places point anywhere until they are filled from its list.
            np.take(compressed.targets, index, mode="clip", out=reached)
        for position, targets in lists:
            reached[starts[position] : ends[position]] = targets
        return reached

    def _compress(self, number: int) -> _Compressed:
        rows = len(self.first_out)
        source = np.frombuffer(self.source, np.int32) if self.source else np.empty(0, np.int32)
        name = np.frombuffer(self.name, np.int32) if self.name else np.empty(0, np.int32)
        edges = np.flatnonzero((name == number) & (source >= 0))
        from_rows = source[edges]
        # An array cannot grow while numpy looks into it: only copies leave this function.
        targets = np.array(self.target, np.int32)[edges]
        order = np.argsort(from_rows, kind="stable")
        start = np.zeros(rows + 1, np.int64)
        np.cumsum(np.bincount(from_rows, minlength=rows), out=start[1:])
        compressed = _Compressed(start, targets[order], np.zeros(rows, bool))
        del source, name
        self._compressed[number] = compressed
        return compressed

    def _touch(self, number: int, source: int) -> None:
        compressed = self._compressed.get(number)
        if compressed is None:
            return
        if source >= len(compressed.dirty) or compressed.changes > REBUILD:
            del self._compressed[number]
        elif not compressed.dirty[source]:
            compressed.dirty[source] = True
            compressed.changes += 1
