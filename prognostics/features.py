"""Streaming features: the state of every component of one layout, as columns, at O(1) a reading.

How the runtime feeds it. A bank is made for a `Layout`; `add(twin)` gives a component its number (a row of every
array). Readings come as columns of equal length k, in the order in which they were taken:

    components int (k,)   the component's number       values  float64 (k,)   in the channel's unit
    channels   int (k,)   index in layout.channels     quality uint32 (k,)    OPC UA StatusCode
    source_times_ns int64 (k,)

Readings gather in the component's open stride. A good reading of the clock channel that enters a later stride closes
it: a row of W x F features in a ring. One that falls back by more than `_RESET` strides means that the part was
replaced, and clears the component's state. Strides in which nothing came are filled with the last known value and
marked missing. Readings that are not Good, not finite or out of the channel's range are counted, never used.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.layout import Layout
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]

_RESET = 1 / 24  # of a stride: a counter that is read a little out of order is no replacement


class FeatureBank:
    """Streaming state of up to any number of components; it grows by doubling.

    >>> from twinloom.prognostics.layout import CNC_SPINDLE
    >>> bank = FeatureBank(CNC_SPINDLE)
    >>> bank.add(TwinId("m/spindle"))
    0
    """

    def __init__(self, layout: Layout, *, clock_patience_s: float = 30.0) -> None:
        self.layout = layout
        self._patience_ns = int(clock_patience_s * 1e9)
        self._number: dict[TwinId, int] = {}
        self._twins: list[TwinId | None] = []
        self._free: list[int] = []
        index = {channel.name: i for i, channel in enumerate(layout.channels)}
        self._minimum = np.array([channel.minimum for channel in layout.channels])
        self._maximum = np.array([channel.maximum for channel in layout.channels])
        self._clock_channel = layout.clock_index

        def places(transform: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
            chosen = [(i, index[f.channel]) for i, f in enumerate(layout.features) if f.transform == transform]
            pairs = np.array(chosen, np.int64).reshape(-1, 2)
            return pairs[:, 0], pairs[:, 1]

        self._value_at, self._ewma_at = places("value"), places("ewma")
        self._mean_at, self._age_at = places("mean"), places("age")
        self._alpha = np.array([f.alpha for f in layout.features if f.transform == "ewma"])
        self._state: dict[str, npt.NDArray[Any]] = {}
        self._due = np.zeros(0, np.bool_)
        self._told = np.zeros(0, np.int64)
        self._reserve(16)

    # -- who is watched ------------------------------------------------------------------------------------------

    def add(self, twin: TwinId) -> int:
        """The component's number; a new one starts with no history."""
        if twin in self._number:
            return self._number[twin]
        row = self._free.pop() if self._free else len(self._twins)
        if row == len(self._twins):
            self._twins.append(None)
            if row >= len(self._bucket):
                self._reserve(2 * len(self._bucket))
        self._twins[row] = twin
        self._number[twin] = row
        self._clear(np.array([row]))
        return row

    def remove(self, twin: TwinId) -> None:
        """Forgets the component; its number may be given to another."""
        row = self._number.pop(twin, None)
        if row is not None:
            self._twins[row] = None
            self._clear(np.array([row]))
            self._free.append(row)

    def number(self, twin: TwinId) -> int | None:
        return self._number.get(twin)

    def __len__(self) -> int:
        return len(self._number)

    def _reserve(self, rows: int) -> None:
        c, w, f = len(self.layout.channels), self.layout.window, len(self.layout.features)
        nan, state = np.nan, self._state
        shapes: dict[str, tuple[tuple[int, ...], Any, Any]] = {
            "bucket": ((), np.int64, -1),
            "clock": ((), np.float64, nan),
            "clock_time": ((), np.int64, 0),
            "time": ((), np.int64, 0),
            "strides": ((), np.int64, 0),
            "first": ((), np.int64, -1),
            "total": ((c,), np.int64, 0),
            "good": ((c,), np.int64, 0),
            "sum": ((c,), np.float64, 0.0),
            "held": ((c,), np.float64, nan),
            "frozen": ((c,), np.int64, 0),
            "ewma": ((len(self._alpha),), np.float64, nan),
            "mean": ((len(self._mean_at[0]),), np.float64, nan),
            "mean_count": ((len(self._mean_at[0]),), np.int64, 0),
            "ring": ((w, f), np.float32, nan),
            "daily": ((w, c), np.float64, nan),
            "bad": ((w, c), np.bool_, False),
            "ring_total": ((w,), np.int64, 0),
            "ring_good": ((w,), np.int64, 0),
        }
        self._blank = {name: blank for name, (_, _, blank) in shapes.items()}
        for name, (shape, dtype, blank) in shapes.items():
            grown = np.full((rows, *shape), blank, dtype=dtype)
            if name in state:
                grown[: len(state[name])] = state[name]
            state[name] = grown
        self._due = np.r_[self._due, np.zeros(rows - len(self._due), np.bool_)]
        self._told = np.r_[self._told, np.zeros(rows - len(self._told), np.int64)]
        self._bucket: npt.NDArray[np.int64] = state["bucket"]
        self._clock: Floats = state["clock"]
        self._clock_time: npt.NDArray[np.int64] = state["clock_time"]
        self._time: npt.NDArray[np.int64] = state["time"]

    def _clear(self, rows: Ints) -> None:
        for name, array in self._state.items():
            array[rows] = self._blank[name]
        self._due[rows] = False
        self._told[rows] = 0

    # -- readings ------------------------------------------------------------------------------------------------

    def observe(
        self, components: Ints, channels: Ints, values: Floats, quality: Ints, source_times_ns: npt.NDArray[np.int64]
    ) -> None:
        """Takes k readings (see the module's first lines). Nothing is raised for what is in them."""
        if not len(components):
            return
        good = (quality < 0x40000000) & (values >= self._minimum[channels]) & (values <= self._maximum[channels])
        ticks = np.flatnonzero(good & (channels == self._clock_channel))
        self._time[components] = source_times_ns
        if not len(ticks):
            self._gather(components, channels, values, good)
            return
        who, reading = components[ticks], values[ticks]
        stride = self.layout.stride
        back = stride * _RESET
        moved = (reading // stride != self._bucket[who]) | (reading < self._clock[who] - back)
        if moved.any():
            entering = np.zeros(len(self._bucket), np.bool_)
            entering[who[moved]] = True
            apart = entering[components]
            self._observe_in_rounds(components[apart], channels[apart], values[apart], good[apart])
            staying = ~apart
            self._gather(components[staying], channels[staying], values[staying], good[staying])
            staying = ~entering[who]
            self._clock[who[staying]] = reading[staying]
        else:
            self._gather(components, channels, values, good)
            self._clock[who] = reading
        self._clock_time[who] = source_times_ns[ticks]

    def _observe_in_rounds(self, components: Ints, channels: Ints, values: Floats, good: npt.NDArray[np.bool_]) -> None:
        """Readings of components that enter another stride: round r takes those after a component's r-th entry."""
        order = np.argsort(components, kind="stable")
        components, channels, values, good = components[order], channels[order], values[order], good[order]
        stride = self.layout.stride
        ticks = np.flatnonzero(good & (channels == self._clock_channel))
        who, reading = components[ticks], values[ticks]
        before = np.empty_like(reading)
        before[1:] = reading[:-1]
        first = _starts(who)
        before[first] = self._clock[who[first]]
        entered = ~((before // stride == reading // stride) & (reading >= before - stride * _RESET))
        steps = np.zeros(len(components), np.int64)
        steps[ticks] = entered
        total = np.cumsum(steps)
        starts = _starts(components)
        offset = (total - steps)[starts]
        turn = total - offset[np.cumsum(starts) - 1]
        for r in range(int(turn.max()) + 1):
            if r:
                entering = entered & (turn[ticks] == r)
                self._enter(who[entering], reading[entering])
            now = turn == r
            self._gather(components[now], channels[now], values[now], good[now])
            ticking = turn[ticks] == r
            self._clock[who[ticking]] = reading[ticking]

    def _gather(self, components: Ints, channels: Ints, values: Floats, good: npt.NDArray[np.bool_]) -> None:
        cell = components * len(self.layout.channels) + channels
        np.add.at(self._state["total"].reshape(-1), cell, 1)
        if not good.all():
            cell, values = cell[good], values[good]
        np.add.at(self._state["good"].reshape(-1), cell, 1)
        np.add.at(self._state["sum"].reshape(-1), cell, values)

    # -- strides -------------------------------------------------------------------------------------------------

    def _enter(self, rows: Ints, reading: Floats) -> None:
        """The clocks of `rows` (each once) entered another stride."""
        stride = self.layout.stride
        bucket = (reading // stride).astype(np.int64)
        new = (self._bucket[rows] < 0) | (reading < self._clock[rows] - stride * _RESET)
        if new.any():
            fresh = rows[new]
            times = self._time[fresh].copy()
            self._clear(fresh)
            self._time[fresh] = times
            self._bucket[fresh] = bucket[new]
            self._state["first"][fresh] = bucket[new]
            rows, bucket = rows[~new], bucket[~new]
        while len(rows):
            going = bucket > self._bucket[rows]
            rows, bucket = rows[going], bucket[going]
            if not len(rows):
                return
            self._close(rows)
            silent = bucket - self._bucket[rows]
            self._bucket[rows] += np.maximum(silent - self.layout.window, 0)  # a longer silence leaves nothing else

    def _close(self, rows: Ints) -> None:
        state = self._state
        total, good = state["total"][rows], state["good"][rows]
        present = (good > 0) & (2 * good >= total)
        mean = state["sum"][rows] / np.maximum(good, 1)
        held = state["held"][rows]
        value = np.where(present, mean, held)
        state["frozen"][rows] = np.where(present & (mean == held), state["frozen"][rows] + 1, 0)
        state["held"][rows] = value
        newest = value[:, self._ewma_at[1]]
        ewma = state["ewma"][rows]
        state["ewma"][rows] = ewma = np.where(np.isnan(ewma), newest, ewma + self._alpha * (newest - ewma))
        row = np.empty((len(rows), len(self.layout.features)), np.float32)
        row[:, self._value_at[0]] = value[:, self._value_at[1]]
        row[:, self._ewma_at[0]] = ewma
        if len(self._mean_at[0]):
            row[:, self._mean_at[0]] = self._running_mean(rows, value[:, self._mean_at[1]])
        row[:, self._age_at[0]] = ((self._bucket[rows] + 1) * self.layout.stride)[:, None]
        at = state["strides"][rows] % self.layout.window
        state["ring"][rows, at] = row
        state["daily"][rows, at] = np.where(present, mean, np.nan)
        state["bad"][rows, at] = ~present & (total > 0)
        state["ring_total"][rows, at] = total.sum(axis=1)
        state["ring_good"][rows, at] = good.sum(axis=1)
        state["strides"][rows] += 1
        self._bucket[rows] += 1
        for name in ("total", "good", "sum"):
            state[name][rows] = 0
        self._due[rows] = True

    def _running_mean(self, rows: Ints, newest: Floats) -> Floats:
        count = self._state["mean_count"][rows] + ~np.isnan(newest)
        known = self._state["mean"][rows]
        step = (newest - known) / np.maximum(count, 1)
        mean: Floats = np.where(np.isnan(known), newest, known + np.where(np.isnan(step), 0.0, step))
        self._state["mean"][rows] = mean
        self._state["mean_count"][rows] = count
        return mean

    # -- windows -------------------------------------------------------------------------------------------------

    def due(self) -> list[ComponentWindow]:
        """Windows of the components that closed a stride since the last call, and of those whose clock has fallen
        silent for `clock_patience_s` while other channels went on (defect `age`, told once per patience)."""
        silent = self._time - np.maximum(self._clock_time, self._told) > self._patience_ns
        started = silent & (self._told == 0) & (self._clock_time == 0)
        self._told[started] = self._time[started]  # a component just seen gets its patience from here
        silent &= ~started
        self._told[silent] = self._time[silent]
        rows = np.flatnonzero(self._due | silent)
        self._due[rows] = False
        return self._windows(rows, silent[rows])

    def windows(self, twins: Iterable[TwinId]) -> list[ComponentWindow]:
        """The present windows of these components, due or not; unknown ones are left out."""
        rows = np.array([self._number[twin] for twin in twins if twin in self._number], np.int64)
        silent = self._time[rows] - np.maximum(self._clock_time[rows], 0) > self._patience_ns
        return self._windows(rows, silent)

    def _windows(self, rows: Ints, silent: npt.NDArray[np.bool_]) -> list[ComponentWindow]:
        state, w = self._state, self.layout.window
        strides = state["strides"][rows]
        order = (strides[:, None] + np.arange(w)) % w
        pick = (rows[:, None], order)
        features, daily, bad = state["ring"][pick], state["daily"][pick], state["bad"][pick]
        totals, goods = state["ring_total"][rows].sum(axis=1), state["ring_good"][rows].sum(axis=1)
        share = goods / np.maximum(totals, 1)
        found = []
        for i, row in enumerate(rows.tolist()):
            twin = self._twins[row]
            if twin is None:
                continue
            found.append(
                ComponentWindow(
                    twin=twin,
                    layout=self.layout,
                    features=features[i],
                    daily=daily[i],
                    bad=bad[i],
                    frozen=state["frozen"][row].copy(),
                    strides=min(int(strides[i]), w),
                    age=float(self._bucket[row] * self.layout.stride) if self._bucket[row] >= 0 else float("nan"),
                    since_install=bool(state["first"][row] == 0),
                    quality_share=float(share[i]) if totals[i] else 0.0,
                    source_time_ns=int(self._time[row]),
                    defect=f"age: {self.layout.clock} is silent" if silent[i] else "",
                )
            )
        return found

    # -- persistence ---------------------------------------------------------------------------------------------

    def snapshot(self, twins: Iterable[TwinId] | None = None) -> dict[str, Json]:
        """State of these components (default: all) as JSON values by twin id; floats are kept bit for bit."""
        chosen = self._number if twins is None else {twin: self._number[twin] for twin in twins if twin in self._number}
        return {
            twin: {
                "layout": self.layout.digest,
                "arrays": {
                    name: base64.b64encode(array[row].tobytes()).decode() for name, array in self._state.items()
                },
            }
            for twin, row in chosen.items()
        }

    def restore(self, states: Mapping[str, Json]) -> list[TwinId]:
        """Puts back what `snapshot` gave for components that were added. Returns those whose state could not be
        used (another layout, broken): they start with no history."""
        refused = []
        for twin, row in self._number.items():
            if twin in states and not self._put(row, states[twin]):
                refused.append(twin)
        return refused

    def _put(self, row: int, kept: Json) -> bool:
        if not isinstance(kept, Mapping) or kept.get("layout") != self.layout.digest:
            return False
        arrays = kept.get("arrays")
        if not isinstance(arrays, Mapping) or arrays.keys() != self._state.keys():
            return False
        found = {}
        for name, array in self._state.items():
            try:
                flat = np.frombuffer(base64.b64decode(str(arrays[name]), validate=True), array.dtype)
            except ValueError:
                return False
            if flat.size != array[row].size:
                return False
            found[name] = flat.reshape(array[row].shape)
        for name, value in found.items():
            self._state[name][row] = value
        return True


def _starts(sorted_ids: Ints) -> npt.NDArray[np.bool_]:
    """True where a run of equal ids begins."""
    starts = np.ones(len(sorted_ids), np.bool_)
    np.not_equal(sorted_ids[1:], sorted_ids[:-1], out=starts[1:])
    return starts
