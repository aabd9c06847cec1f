"""Twins as rows of columns, and every question about a twin's identity and values. Writing is in `twin_writes`."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from twinloom.graph.adjacency import Adjacency
from twinloom.graph.columns import Columns
from twinloom.graph.layout import Layout, nest
from twinloom.twin import dtdl
from twinloom.twin.dtdl import Field, Models
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Json, PropertyValue, Twin
from twinloom.twin.ports import SlotRef
from twinloom.twin.readings import Codes, Floats, Slots, Times

_UNKNOWN = Layout(ModelId(""), {})


@dataclass(frozen=True, slots=True)
class TextMeta:
    """When and how a value that is no number came; `source_time_ns` 0: from a client."""

    source_time_ns: int
    received_ns: int
    quality: int
    seq: int


class TwinRows:
    """A twin is a row: its id, etag, times and layout in columns by row, its numbers in columns by slot."""

    def __init__(self, models: Models = dtdl.EMPTY) -> None:
        self.models = models
        self.seq = 0
        self.layout_version = 0
        self._columns = Columns()
        self._edges = Adjacency()
        self._layouts: list[Layout] = [_UNKNOWN]
        self._layout_index: dict[ModelId, int] = {}
        self._row_of: dict[str, int] = {}
        self._ids: list[str] = []
        self._etags: list[str] = []
        self._layout = array("i")
        self._base = array("i")
        self._struct_seq = array("q")
        self._created = array("q")
        self._updated = array("q")
        self._last_seq: Times = np.zeros(1024, np.int64)
        self._texts: list[list[Json] | None] = []
        self._text_meta: dict[int, TextMeta] = {}
        self._extras: dict[int, dict[str, Json]] = {}
        self._free_rows: deque[tuple[int, int]] = deque()
        self._sorted: dict[ModelId | None, list[int]] = {}
        self._sorted_exact: dict[ModelId, list[int]] = {}

    # ---- columns by slot -------------------------------------------------------------------------------------------

    @property
    def owner(self) -> Slots:
        """int32 by slot: the row, -1 where dead."""
        return self._columns.owner

    @property
    def values(self) -> Floats:
        """float64 by slot, NaN where never set."""
        return self._columns.values

    @property
    def source_times(self) -> Times:
        """int64 ns by slot; 0 where no source has written (a client may have: see `get`)."""
        return self._columns.source_times

    @property
    def received(self) -> Times:
        return self._columns.received

    @property
    def quality(self) -> Codes:
        return self._columns.quality

    @property
    def seqs(self) -> Times:
        return self._columns.seqs

    # ---- rows ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, id: object) -> bool:
        return id in self._row_of

    def row(self, id: str) -> int | None:
        return self._row_of.get(id)

    def rows(self) -> Iterator[int]:
        return iter(self._row_of.values())

    def id_of(self, row: int) -> TwinId:
        return TwinId(self._ids[row])

    def model_of(self, row: int) -> ModelId:
        return self._layouts[self._layout[row]].model

    def layout_of(self, row: int) -> Layout:
        """Which paths are where among the twin's values; twins of one model share it until models change."""
        return self._layouts[self._layout[row]]

    def etag(self, row: int) -> str:
        return self._etags[row]

    def twin_seq(self, row: int) -> int:
        """The seq of the last change of anything of the twin: its values, its properties, its relationships."""
        return int(self._last_seq[row])

    def created_ns(self, row: int) -> int:
        return self._created[row]

    def updated_ns(self, row: int) -> int:
        """When a client last changed the twin (not when a source did)."""
        return self._updated[row]

    def rows_of(self, model: ModelId | None = None, *, subtypes: bool = True) -> Sequence[int]:
        """Rows of a model's twins, by default of those that extend it too, ascending by twin id; of all twins for None.

        Page through it with `bisect_right(rows, after_id, key=graph.id_of)`.
        """
        if model is not None and not subtypes:
            rows = self._sorted_exact.get(model)
            if rows is None:
                rows = self._sorted_exact[model] = self._sort({model})
            return rows
        rows = self._sorted.get(model)
        if rows is None:
            wanted = None if model is None else self._below(model)
            rows = self._sorted[model] = self._sort(wanted)
        return rows

    def _below(self, model: ModelId) -> frozenset[ModelId]:
        return self.models.subtypes(model) if model in self.models else frozenset({model})

    def _sort(self, wanted: set[ModelId] | frozenset[ModelId] | None) -> list[int]:
        if wanted is None:
            found = list(self._row_of.values())
        else:
            layouts = {k for k, layout in enumerate(self._layouts) if layout.model in wanted}
            found = [row for row in self._row_of.values() if self._layout[row] in layouts]
        found.sort(key=self._ids.__getitem__)
        return found

    # ---- values ----------------------------------------------------------------------------------------------------

    def slot(self, row: int, path: str) -> int:
        """The slot of a numeric field of the twin, or -1."""
        offset = self._layouts[self._layout[row]].slot_of.get(path)
        return -1 if offset is None else self._base[row] + offset

    def base(self, row: int) -> int:
        return self._base[row]

    def field_of(self, slot: int) -> Field:
        row = int(self._columns.owner[slot])
        if row < 0:
            raise IndexError(f"slot {slot} is dead")
        return self._layouts[self._layout[row]].fields[slot - self._base[row]]

    def value(self, row: int, path: str) -> Json:
        """The last value at a path, or None. A path may also lead into an object value: `placement.x`."""
        layout = self._layouts[self._layout[row]]
        offset = layout.slot_of.get(path)
        if offset is not None:
            number = float(self._columns.values[self._base[row] + offset])
            if number == number:
                return int(number) if layout.integral[offset] else number
        else:
            place = layout.text_of.get(path)
            if place is not None:
                texts = self._texts[row]
                return None if texts is None else texts[place]
        extras = self._extras.get(row)
        if extras is not None and path in extras:
            return extras[path]
        head, dot, tail = path.rpartition(".")
        if dot and offset is None:
            outer = self.value(row, head)
            if isinstance(outer, dict):
                return outer.get(tail)
        return None

    def get(self, row: int, path: str) -> PropertyValue | None:
        """The last value with its metadata; None when nobody ever set it.

        The value is None when a source has only ever said that it has none (Bad quality). The source time of what a
        client wrote is the time of the write.
        """
        layout = self._layouts[self._layout[row]]
        offset = layout.slot_of.get(path)
        if offset is not None:
            columns, slot = self._columns, self._base[row] + offset
            number, received = float(columns.values[slot]), int(columns.received[slot])
            source_time = int(columns.source_times[slot])
            if number == number or source_time:
                value: Json = None
                if number == number:
                    value = int(number) if layout.integral[offset] else number
                return PropertyValue(
                    value, source_time or received, received, int(columns.quality[slot]), int(columns.seqs[slot])
                )
        value = self.value(row, path)
        place = layout.text_of.get(path)
        meta = None if place is None else self._text_meta.get(text_key(row, place))
        if meta is not None and (value is not None or meta.source_time_ns):
            return PropertyValue(
                value, meta.source_time_ns or meta.received_ns, meta.received_ns, meta.quality, meta.seq
            )
        if value is None:
            return None
        updated = self._updated[row]
        return PropertyValue(value, updated, updated, 0, self._struct_seq[row])

    def properties(self, row: int) -> dict[str, Json]:
        """Every value that is set, as nested plain JSON; a new object."""
        layout = self._layouts[self._layout[row]]
        out: dict[str, Json] = {}
        parts = layout.parts
        extras = self._extras.get(row)
        if extras is not None:
            for path, value in extras.items():
                nest(out, tuple(path.split(".")), value)
        if layout.width:
            base = self._base[row]
            numbers = self._columns.values[base : base + layout.width].tolist()
            for field, number, integral in zip(layout.fields, numbers, layout.integral, strict=True):
                if number == number:
                    nest(out, parts[field.path], int(number) if integral else number)
        texts = self._texts[row]
        if texts is not None:
            for field, value in zip(layout.texts, texts, strict=True):
                if value is not None:
                    nest(out, parts[field.path], value)
        return out

    def twin(self, id: str) -> Twin | None:
        """A snapshot, last telemetry values included."""
        row = self._row_of.get(id)
        if row is None:
            return None
        return Twin(
            TwinId(id),
            self.model_of(row),
            self.properties(row),
            self._etags[row],
            self._struct_seq[row],
            self._created[row],
            self._updated[row],
        )

    def resolve(self, twin: TwinId, path: str) -> SlotRef | None:
        """Where a source's value lands: its slot, unit and accepted range; None when no such twin or field exists."""
        row = self._row_of.get(twin)
        if row is None:
            return None
        layout = self._layouts[self._layout[row]]
        offset = layout.slot_of.get(path)
        if offset is None:
            place = layout.text_of.get(path)
            return None if place is None else SlotRef(-1, layout.texts[place].unit)
        slot = self._base[row] + offset
        minimum, maximum = self._columns.range_of(slot)
        return SlotRef(slot, layout.fields[offset].unit, minimum, maximum)

    def set_range(self, slot: int, minimum: float, maximum: float) -> None:
        """The range outside which a reading is dropped; it stays with the slot until the twin goes."""
        self._columns.set_range(slot, minimum, maximum)

    def _sorted_lists(self, model: ModelId) -> Iterator[list[int]]:
        exact = self._sorted_exact.get(model)
        if exact is not None:
            yield exact
        for base, rows in self._sorted.items():
            if base is None or model == base or (model in self.models and self.models.is_a(model, base)):
                yield rows


def text_key(row: int, place: int) -> int:
    """The key of a text's metadata: models have fewer than 2**20 fields."""
    return row << 20 | place
