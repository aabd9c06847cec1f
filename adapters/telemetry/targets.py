"""Where values go: (twin, path) names as handles, which index columns of slots and of unit conversion.

A name is looked up in the core once, and again when its layout changes; a value then costs an array index.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from twinloom.adapters.telemetry.tally import Tally
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import TwinId, twin_id
from twinloom.twin.instance import Json
from twinloom.twin.ports import ReadingSink, SlotRef
from twinloom.twin.readings import GOOD, Codes, Floats, ReadingBatch, TextReading, Times
from twinloom.twin.units import converter

Handles = npt.NDArray[np.int32]
UNMAPPED, NUMBER, TEXT = 0, 1, 2
LONGEST_TEXT = 65_536
NOWHERE = 0
"""The handle of every name that can never be a target."""


class Targets:
    """The targets of one source. `version` grows whenever a handle's kind may have changed."""

    def __init__(self, tally: Tally, *, capacity: int = 1_000_000) -> None:
        self._tally = tally
        self._capacity = capacity
        self._handles: dict[tuple[str, str, str], int] = {}
        self._names: list[tuple[TwinId, str, str]] = [(TwinId(""), "", "")]
        self._sink: ReadingSink | None = None
        self._layout = -1
        self.version = 0
        self.kinds: list[int] = [UNMAPPED]
        self._slots: Handles = np.full(64, -1, np.int32)
        self._factor: Floats = np.ones(64)
        self._offset: Floats = np.zeros(64)
        self._converts = False
        self._twins: tuple[TwinId, ...] | None = None

    def __len__(self) -> int:
        return len(self._names) - 1

    @property
    def twins(self) -> tuple[TwinId, ...]:
        """Every twin that this source has fed."""
        if self._twins is None:
            fed = (name[0] for name, kind in zip(self._names, self.kinds, strict=True) if kind != UNMAPPED)
            self._twins = tuple(dict.fromkeys(fed))
        return self._twins

    def name(self, handle: int) -> tuple[TwinId, str]:
        twin, path, _ = self._names[handle]
        return twin, path

    def follow(self, sink: ReadingSink) -> None:
        """Looks every name up again when the core's layout is another."""
        if sink is self._sink and sink.layout_version == self._layout:
            return
        self._sink, self._layout = sink, sink.layout_version
        self.version += 1
        self._converts = False
        self._twins = None
        for handle in range(1, len(self._names)):
            self._resolve(handle)

    def handle(self, twin: str, path: str, unit: str = "") -> int:
        """The handle of a value that arrives in `unit` ('' = the model's); NOWHERE when there can be none."""
        key = (twin, path, unit)
        found = self._handles.get(key)
        return found if found is not None else self._add(key)

    def _add(self, key: tuple[str, str, str]) -> int:
        if len(self) >= self._capacity:
            self._tally.reject(
                "too_many_names", "", f"more than {self._capacity} values were named; others are dropped"
            )
            return NOWHERE
        twin, path, unit = key
        try:
            checked = twin_id(twin)
        except BadRequest as error:
            self._tally.reject("bad_twin_id", "", str(error))
            return NOWHERE
        handle = len(self._names)
        if handle == len(self._slots):
            self._slots = np.concatenate([self._slots, np.full(handle, -1, np.int32)])
            self._factor = np.concatenate([self._factor, np.ones(handle)])
            self._offset = np.concatenate([self._offset, np.zeros(handle)])
        self._names.append((checked, path, unit))
        self.kinds.append(UNMAPPED)
        self._handles[key] = handle
        self._resolve(handle)
        self._twins = None
        return handle

    def _resolve(self, handle: int) -> None:
        twin, path, unit = self._names[handle]
        found = self._sink.resolve(twin, path) if self._sink is not None else None
        self._slots[handle] = -1
        self.kinds[handle] = UNMAPPED
        if found is None:
            if self._sink is not None:
                self._tally.reject("unmapped_names", "", f"there is no property {path[:200]!r} of a twin {twin!r}")
        elif found.slot < 0:
            self.kinds[handle] = TEXT
        elif self._set_unit(handle, unit, found):
            self._slots[handle] = found.slot
            self.kinds[handle] = NUMBER

    def _set_unit(self, handle: int, unit: str, found: SlotRef) -> bool:
        self._factor[handle], self._offset[handle] = 1.0, 0.0
        if not unit or not found.unit:
            return True
        try:
            factor, offset = converter(unit, found.unit)
        except BadRequest as error:
            twin, path, _ = self._names[handle]
            self._tally.reject("unit_mismatch", f"{twin} {path}", f"{twin} {path} is not read: {error}")
            return False
        self._factor[handle], self._offset[handle] = factor, offset
        self._converts |= factor != 1.0 or offset != 0.0
        return True

    def text(self, handle: int, value: Json, time_ns: int, quality: int = GOOD) -> TextReading | None:
        """A value for the slow lane; None, counted, when its target takes none."""
        twin, path, _ = self._names[handle]
        kind = self.kinds[handle]
        if kind == UNMAPPED:
            self._tally.add("unmapped")
            return None
        if kind == NUMBER:
            self._tally.reject("type_mismatch", f"{twin} {path}", f"{twin} {path} is a number and was sent none")
            return None
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            self._tally.reject(
                "text_too_long",
                f"{twin} {path}",
                f"{twin} {path} was sent {len(value)} characters; at most {LONGEST_TEXT} are taken",
            )
            return None
        return TextReading(twin, path, value, time_ns, quality)

    def batch(
        self,
        handles: Handles,
        values: Floats,
        times_ns: Times,
        quality: Codes,
        received_ns: int,
        texts: tuple[TextReading, ...] = (),
        lost: dict[str, int] | None = None,
    ) -> ReadingBatch | None:
        """Columns by handle as a batch in the models' units; None when nothing of them has a place."""
        self._tally.add("received", len(handles) + len(texts))
        slots = self._slots[handles]
        if self._converts:
            values = values * self._factor[handles] + self._offset[handles]
        if len(slots) and int(slots.min()) < 0:
            alive = slots >= 0
            self._tally.add("unmapped", int(len(alive) - np.count_nonzero(alive)))
            slots, values, times_ns, quality = slots[alive], values[alive], times_ns[alive], quality[alive]
        if not len(slots) and not texts and not lost:
            return None
        return ReadingBatch(
            self._tally.source, slots, values, times_ns, quality, received_ns, texts=texts, lost=lost or {}
        )
