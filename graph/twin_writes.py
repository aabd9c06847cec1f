"""How twins come, change and go: the structural writes behind `HotGraph.apply`.

A client's write and a source's reading may meet at one path. A write never turns back the source time that readings are
compared with, and an update does not take back telemetry that a source wrote while the update was on its way.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping

import numpy as np

from twinloom.graph.columns import QUARANTINE_FOLDS
from twinloom.graph.layout import Layout, layout_for
from twinloom.graph.store import LastValue, PutTwin
from twinloom.graph.twin_rows import TextMeta, TwinRows, text_key
from twinloom.twin.dtdl import Models
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Json, Twin

_NUMBERS = (float, int)


class TwinWrites(TwinRows):
    """Rows that can be written. Not for use by itself: `HotGraph` is."""

    def _set_models(self, models: Models) -> None:
        self.models = models
        self._sorted = {key: rows for key, rows in self._sorted.items() if key is None}
        moved: dict[int, tuple[Layout, Layout]] = {}
        for number, old in enumerate(self._layouts):
            if number:
                new = layout_for(models, old.model)
                if not new.same_as(old):
                    moved[number] = (old, new)
                self._layouts[number] = new
        if moved:
            for row in self._row_of.values():
                pair = moved.get(self._layout[row])
                if pair is not None:
                    self._relayout(row, *pair)

    def _relayout(self, row: int, old: Layout, new: Layout) -> None:
        """Moves a twin's values to the places that its changed model gives them; what the model lost is kept aside."""
        columns, old_base, old_texts = self._columns, self._base[row], self._texts[row]
        metas = {
            field.path: meta
            for place, field in enumerate(old.texts)
            if (meta := self._text_meta.pop(text_key(row, place), None)) is not None
        }
        aside = self._extras.pop(row, {})
        new_base = columns.take(new.width, row)
        self._base[row] = new_base
        self._texts[row] = None
        for offset, field in enumerate(old.fields):
            place = new.slot_of.get(field.path)
            if place is not None:
                columns.move(old_base + offset, new_base + place)
            else:
                number = float(columns.values[old_base + offset])
                if number == number:
                    aside[field.path] = int(number) if old.integral[offset] else number
        for place, field in enumerate(old.texts):
            if old_texts is not None and old_texts[place] is not None:
                aside[field.path] = old_texts[place]
        columns.free(old_base, old.width)
        for path, value in aside.items():
            self._set(row, new, path, value)
        for path, meta in metas.items():
            if path in new.text_of:
                self._text_meta[text_key(row, new.text_of[path])] = meta

    def _layout_number(self, model: ModelId) -> int:
        number = self._layout_index.get(model)
        if number is None:
            number = self._layout_index[model] = len(self._layouts)
            self._layouts.append(layout_for(self.models, model))
        return number

    def _add_twin(self, twin: Twin, seq: int) -> int:
        number = self._layout_number(twin.model)
        layout = self._layouts[number]
        if self._free_rows and self._free_rows[0][1] + QUARANTINE_FOLDS <= self._columns.folds:
            row = self._free_rows.popleft()[0]
            self._ids[row] = twin.id
            self._etags[row] = twin.etag
            self._layout[row] = number
            self._struct_seq[row] = twin.seq
            self._created[row] = twin.created_ns
            self._updated[row] = twin.updated_ns
            self._base[row] = self._columns.take(layout.width, row)
        else:
            row = len(self._ids)
            self._ids.append(twin.id)
            self._etags.append(twin.etag)
            self._layout.append(number)
            self._struct_seq.append(twin.seq)
            self._created.append(twin.created_ns)
            self._updated.append(twin.updated_ns)
            self._base.append(self._columns.take(layout.width, row))
            self._texts.append(None)
            if row >= len(self._last_seq):
                self._last_seq = np.concatenate([self._last_seq, np.zeros(len(self._last_seq), np.int64)])
            self._edges.cover(row + 1)
        self._row_of[twin.id] = row
        self._last_seq[row] = seq
        if twin.properties:
            self._fill(row, layout, twin, seq)
        if self._sorted or self._sorted_exact:
            for rows in self._sorted_lists(twin.model):
                insort(rows, row, key=self._ids.__getitem__)
        return row

    def _fill(self, row: int, layout: Layout, twin: Twin, seq: int) -> None:
        base, columns = self._base[row], self._columns
        numbers = False
        for path, value in layout.flat(twin.properties).items():
            offset = layout.slot_of.get(path)
            if offset is not None and type(value) in _NUMBERS:
                columns.values[base + offset] = value
                numbers = True
            else:
                self._set(row, layout, path, value)
        if numbers:
            columns.received[base : base + layout.width] = twin.updated_ns
            columns.seqs[base : base + layout.width] = seq

    def _set(self, row: int, layout: Layout, path: str, value: Json) -> None:
        """Puts a value where the layout says, or aside; None takes it away. Metadata stays as it is."""
        offset = layout.slot_of.get(path)
        if offset is not None and (value is None or type(value) in _NUMBERS):
            self._columns.values[self._base[row] + offset] = np.nan if value is None else value
            return
        place = layout.text_of.get(path)
        if place is not None:
            texts = self._texts[row]
            if texts is None:
                if value is None:
                    return
                texts = self._texts[row] = [None] * len(layout.texts)
            texts[place] = value
        elif value is None:
            self._extras.get(row, {}).pop(path, None)
        else:
            self._extras.setdefault(row, {})[path] = value

    def _put_twin(self, change: PutTwin, seq: int, version: int) -> None:
        twin = change.twin
        row = self._row_of.get(twin.id)
        if row is None:
            self._add_twin(twin, seq)
            self.layout_version = version
            return
        if twin.model != self.model_of(row):
            self._change_model(row, twin.model)
            self.layout_version = version
        layout = self._layouts[self._layout[row]]
        flat = layout.flat(twin.properties)
        if change.paths is None:
            known = [*layout.slot_of, *layout.text_of, *self._extras.get(row, {})]
            touched = list(dict.fromkeys([*known, *flat]))
        else:
            touched = [path for given in change.paths for path in self._below_path(row, layout, given, flat)]
        old_updated, old_seq = self._updated[row], self._struct_seq[row]
        written = {path: flat.get(path) for path in touched if self._writes(row, layout, path, flat.get(path), change)}
        texts = self._texts[row]
        for place, field in enumerate(layout.texts if texts is not None else ()):
            # What this write leaves alone keeps the time of its own last write.
            if texts is not None and texts[place] is not None and field.path not in written:
                self._text_meta.setdefault(text_key(row, place), TextMeta(0, old_updated, 0, old_seq))
        for path, value in written.items():
            self._set(row, layout, path, value)
            self._mark_written(row, layout, path, twin.updated_ns, seq)
        if not self._extras.get(row, True):
            del self._extras[row]
        self._etags[row] = twin.etag
        self._struct_seq[row] = twin.seq
        self._updated[row] = twin.updated_ns
        if twin.created_ns:
            self._created[row] = twin.created_ns
        self._last_seq[row] = seq

    def _below_path(self, row: int, layout: Layout, given: str, flat: Mapping[str, Json]) -> list[str]:
        """The fields that a written path means: itself, all of a component's, or the object that it leads into."""
        if given in layout.parts:
            return [given]
        prefix = given + "."
        known = [*layout.parts, *self._extras.get(row, {}), *flat]
        inside = [path for path in dict.fromkeys(known) if path.startswith(prefix)]
        outer = given
        while not inside and "." in outer:
            outer = outer.rpartition(".")[0]
            if outer in layout.parts:
                return [outer]
        return inside or [given]

    def _writes(self, row: int, layout: Layout, path: str, value: Json, change: PutTwin) -> bool:
        if self.value(row, path) == value:
            return change.paths is not None
        if change.paths is not None or path not in layout.telemetry:
            return True
        offset = layout.slot_of.get(path)
        if offset is not None:
            return not self._columns.source_times[self._base[row] + offset]
        meta = self._text_meta.get(text_key(row, layout.text_of[path]))
        return meta is None or not meta.source_time_ns

    def _mark_written(self, row: int, layout: Layout, path: str, updated_ns: int, seq: int) -> None:
        """A client's write keeps the last source time: it is what later readings are compared with."""
        offset = layout.slot_of.get(path)
        if offset is not None:
            slot = self._base[row] + offset
            self._columns.received[slot] = updated_ns
            self._columns.quality[slot] = 0
            self._columns.seqs[slot] = seq
        elif path in layout.text_of:
            key = text_key(row, layout.text_of[path])
            before = self._text_meta.get(key)
            if before is not None:
                self._text_meta[key] = TextMeta(before.source_time_ns, updated_ns, 0, seq)

    def _change_model(self, row: int, model: ModelId) -> None:
        for rows in self._sorted_lists(self.model_of(row)):
            _remove(rows, row, self._ids)
        old, number = self._layouts[self._layout[row]], self._layout_number(model)
        self._layout[row] = number
        self._relayout(row, old, self._layouts[number])
        for rows in self._sorted_lists(model):
            insort(rows, row, key=self._ids.__getitem__)

    def _drop_row(self, id: TwinId, row: int, seq: int) -> None:
        """Frees the row; its edges are gone already."""
        for rows in self._sorted_lists(self.model_of(row)):
            _remove(rows, row, self._ids)
        layout = self._layouts[self._layout[row]]
        self._columns.free(self._base[row], layout.width)
        for place in range(len(layout.texts)):
            self._text_meta.pop(text_key(row, place), None)
        self._extras.pop(row, None)
        self._texts[row] = None
        self._layout[row] = 0
        self._base[row] = 0
        self._last_seq[row] = seq
        del self._row_of[id]
        self._free_rows.append((row, self._columns.folds))

    def _restore(self, value: LastValue) -> None:
        row = self._row_of.get(value.twin)
        if row is None:
            return
        layout = self._layouts[self._layout[row]]
        offset = layout.slot_of.get(value.path)
        if offset is not None and (value.value is None or type(value.value) in _NUMBERS):
            columns, slot = self._columns, self._base[row] + offset
            if value.value is not None:
                columns.values[slot] = value.value
            columns.source_times[slot] = columns.received[slot] = value.source_time_ns
            columns.quality[slot] = value.quality
            columns.seqs[slot] = value.seq
        else:
            place = layout.text_of.get(value.path)
            if place is None:
                return
            if value.value is not None:
                self._set(row, layout, value.path, value.value)
            self._text_meta[text_key(row, place)] = TextMeta(
                value.source_time_ns, value.source_time_ns, value.quality, value.seq
            )
        if value.seq > self._last_seq[row]:
            self._last_seq[row] = value.seq


def _remove(rows: list[int], row: int, ids: list[str]) -> None:
    position = bisect_left(rows, ids[row], key=ids.__getitem__)
    del rows[position]
