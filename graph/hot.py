"""The hot graph: models, twins, relationships and last values in memory, from which every read is answered.

A twin is a row; its numeric values are consecutive slots of columns. Everything is sized for a million twins in 2 GiB,
so there is no object a twin: ids, etags and times are columns too, values that are no numbers one short list a row.
All calls come from one thread (the event loop's). Returned arrays, lists and JSON values are the graph's own: read them
before the next `apply` or `fold`, and never change them.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twinloom.graph.adjacency import Rows
from twinloom.graph.columns import FUTURE_NS
from twinloom.graph.store import (
    Change,
    DropModel,
    DropRelationship,
    DropTwin,
    PutModels,
    PutRelationship,
    PutTwin,
    Snapshot,
)
from twinloom.graph.twin_rows import TextMeta, text_key
from twinloom.graph.twin_writes import TwinWrites
from twinloom.twin import dtdl
from twinloom.twin.errors import ModelViolation
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json, Relationship
from twinloom.twin.readings import Codes, Floats, ReadingBatch, Slots, TextReading, Times


@dataclass(frozen=True, slots=True)
class Folded:
    """What of a batch was applied, one row a value, oldest first within a slot; and how much was dropped, by reason."""

    slots: Slots
    values: Floats
    source_times_ns: Times
    quality: Codes
    texts: tuple[TextReading, ...]
    dropped: Mapping[str, int]


class Edge:
    """One relationship, as a view; `source` and `target` are rows. Valid until the next `apply`."""

    __slots__ = ("_graph", "_index", "id", "name", "source", "target")

    def __init__(self, graph: HotGraph, index: int) -> None:
        edges = graph._edges
        self._graph = graph
        self._index = index
        self.source: int = edges.source[index]
        self.target: int = edges.target[index]
        self.name: str = edges.names[edges.name[index]]
        self.id: str = edges.id_of(index, graph._ids[self.target])

    @property
    def properties(self) -> Mapping[str, Json]:
        return self._graph._edges.properties.get(self._index, {})

    @property
    def etag(self) -> str:
        return self._graph._edges.etags[self._index]

    @property
    def seq(self) -> int:
        return self._graph._edges.seqs[self._index]

    def relationship(self) -> Relationship:
        ids = self._graph._ids
        return Relationship(
            self.id, TwinId(ids[self.source]), self.name, TwinId(ids[self.target]), self.properties, self.etag, self.seq
        )


class HotGraph(TwinWrites):
    """See the module; `seq` is the last one applied, `layout_version` grows when twins or models come or go.

    What it says of single twins and their values is in `twin_rows.TwinRows`.
    """

    # ---- relationships ---------------------------------------------------------------------------------------------

    def out(self, row: int, name: str | None = None) -> Sequence[Edge]:
        return [Edge(self, index) for index in self._edges.out(row, name)]

    def into(self, row: int, name: str | None = None) -> Sequence[Edge]:
        return [Edge(self, index) for index in self._edges.into(row, name)]

    def relationship(self, source_id: str, rel_id: str) -> Relationship | None:
        row = self._row_of.get(source_id)
        index = None if row is None else self._edges.find(row, rel_id, self._ids)
        return None if index is None else Edge(self, index).relationship()

    def relationship_count(self) -> int:
        return self._edges.live

    def subtree(self, row: int, name: str = "contains") -> Rows:
        """int32 rows: the row itself, then all that it reaches over `name`, breadth-first, each once."""
        return self._edges.subtree(row, name)

    # ---- readings --------------------------------------------------------------------------------------------------

    def fold(self, batch: ReadingBatch, seq: int) -> Folded:
        """Applies a batch to the columns; stale, duplicate and impossible readings are dropped and counted by reason.

        See `Columns.judge` for the reasons of numeric readings; texts are dropped as unmapped (no such twin or field,
        or a numeric one), model_violation (the model forbids the value), future, stale or duplicate.
        """
        columns = self._columns
        columns.folds += 1
        slots, values, times, quality = batch.slots, batch.values, batch.source_times_ns, batch.quality
        fate = columns.judge(slots, values, times, quality, batch.received_ns)
        if len(fate.kept) != len(slots):
            slots, values = slots[fate.kept], values[fate.kept]
            times, quality = times[fate.kept], quality[fate.kept]
        if len(slots):
            columns.write(slots, values, times, quality, batch.received_ns, seq)
            self._last_seq[columns.owner[slots]] = seq
        texts = self._fold_texts(batch, seq, fate.dropped) if batch.texts else ()
        self.seq = max(self.seq, seq)
        return Folded(slots, values, times, quality, texts, fate.dropped)

    def _fold_texts(self, batch: ReadingBatch, seq: int, dropped: dict[str, int]) -> tuple[TextReading, ...]:
        applied: list[TextReading] = []
        latest = batch.received_ns + FUTURE_NS
        for reading in batch.texts:
            reason = self._fold_text(reading, seq, batch.received_ns, latest)
            if reason:
                dropped[reason] = dropped.get(reason, 0) + 1
            else:
                applied.append(reading)
        return tuple(applied)

    def _fold_text(self, reading: TextReading, seq: int, received_ns: int, latest: int) -> str:
        row = self._row_of.get(reading.twin)
        if row is None:
            return "unmapped"
        layout = self._layouts[self._layout[row]]
        place = layout.text_of.get(reading.path)
        if place is None:
            return "unmapped"
        if reading.source_time_ns > latest:
            return "future"
        key = text_key(row, place)
        meta = self._text_meta.get(key)
        if meta is not None and reading.source_time_ns <= meta.source_time_ns:
            return "stale" if reading.source_time_ns < meta.source_time_ns else "duplicate"
        if reading.value is not None:
            try:
                self.models.check_value(layout.model, reading.path, reading.value, by_client=False)
            except ModelViolation:
                return "model_violation"
            texts = self._texts[row]
            if texts is None:
                texts = self._texts[row] = [None] * len(layout.texts)
            texts[place] = reading.value
        elif reading.quality >> 30 == 0:
            return "model_violation"
        self._text_meta[key] = TextMeta(reading.source_time_ns, received_ns, reading.quality, seq)
        self._last_seq[row] = seq
        return ""

    # ---- changes ---------------------------------------------------------------------------------------------------

    def load(self, snapshot: Snapshot) -> None:
        """Fills an empty graph from a store's snapshot. Twins of unknown models are kept with what they have."""
        collecting = gc.isenabled()
        gc.disable()  # millions of new objects, none of them garbage: collections would double the time
        try:
            if snapshot.models:
                self._set_models(dtdl.parse(snapshot.models))
            for twin in snapshot.twins:
                self._add_twin(twin, twin.seq)
            for relationship in snapshot.relationships:
                self._add_relationship(relationship)
            for value in snapshot.last_values:
                self._restore(value)
        finally:
            if collecting:
                gc.enable()
        self.seq = max(self.seq, snapshot.seq)
        self.layout_version += 1

    def apply(self, changes: Sequence[Change], seq: int) -> None:
        """Applies changes that a store has committed; they come `stamped`. Records are not the graph's: left out."""
        version = self.layout_version + 1
        for change in changes:
            match change:
                case PutTwin():
                    self._put_twin(change, seq, version)
                case PutRelationship():
                    self._put_relationship(change, seq)
                case DropRelationship():
                    row = self._row_of.get(change.source)
                    index = None if row is None else self._edges.find(row, change.id, self._ids)
                    if index is not None:
                        self._drop_edge(index, seq)
                case DropTwin():
                    self._drop_twin(change.id, seq)
                    self.layout_version = version
                case PutModels():
                    self._put_models(change)
                    self.layout_version = version
                case DropModel():
                    self._set_models(self.models.without({change.id}))
                    self.layout_version = version
                case _:
                    pass
        self.seq = max(self.seq, seq)

    def _put_models(self, change: PutModels) -> None:
        if any(id in self.models for id in change.ids):
            kept = [interface.document for id, interface in self.models.interfaces.items() if id not in change.ids]
            self._set_models(dtdl.parse([*kept, *change.documents]))
        else:
            self._set_models(dtdl.parse(change.documents, base=self.models))

    def _drop_twin(self, id: TwinId, seq: int) -> None:
        row = self._row_of.get(id)
        if row is None:
            return
        for index in [*self._edges.out(row), *self._edges.into(row)]:
            if self._edges.source[index] >= 0:
                self._drop_edge(index, seq)
        self._drop_row(id, row, seq)

    def _add_relationship(self, edge: Relationship) -> None:
        source, target = self._row_of.get(edge.source), self._row_of.get(edge.target)
        if source is None or target is None:
            return
        self._edges.add(source, target, edge.name, edge.id, edge.target, edge.properties, edge.etag, edge.seq)

    def _put_relationship(self, change: PutRelationship, seq: int) -> None:
        edge = change.relationship
        source, target = self._row_of.get(edge.source), self._row_of.get(edge.target)
        if source is None or target is None:
            return
        index = None if change.create else self._edges.find(source, edge.id, self._ids)
        if index is None:
            self._edges.add(source, target, edge.name, edge.id, edge.target, edge.properties, edge.etag, edge.seq)
        else:
            if edge.properties:
                self._edges.properties[index] = edge.properties
            else:
                self._edges.properties.pop(index, None)
            self._edges.etags[index] = edge.etag
            self._edges.seqs[index] = edge.seq
        self._last_seq[source] = self._last_seq[target] = seq

    def _drop_edge(self, index: int, seq: int) -> None:
        source, target = self._edges.source[index], self._edges.target[index]
        self._edges.remove(index, self._ids[target])
        self._last_seq[source] = self._last_seq[target] = seq
