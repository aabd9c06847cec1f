"""The numeric values of all twins as columns by slot, and the vectorised fold of readings into them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from twinloom.twin.readings import Codes, Floats, Slots, Times

FUTURE_NS = 3_600_000_000_000
"""A source clock may run ahead of ours by an hour; what claims to be later is no reading."""

QUARANTINE_FOLDS = 4096
"""A freed place is not given to another twin before so many folds, so that batches under way cannot hit it."""

Number = TypeVar("Number", bound=np.generic)
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Fate:
    """Which of n readings are applied (`kept`, positions in order) and how many are dropped for each reason."""

    kept: npt.NDArray[np.intp]
    dropped: dict[str, int]


class Columns:
    """Arrays by slot, grown as needed; `n` slots are in use or freed. Arrays are replaced when they grow.

    values f64 (nan: never set), source_times i64 ns (0: no source has written it), received i64 ns, quality u32,
    seqs i64, owner i32 (row, -1: dead).
    """

    __slots__ = (
        "_free",
        "_maximum",
        "_minimum",
        "_scratch",
        "folds",
        "n",
        "owner",
        "quality",
        "received",
        "seqs",
        "source_times",
        "values",
    )

    def __init__(self, capacity: int = 1024) -> None:
        self.n = 0
        self.folds = 0
        self.values: Floats = np.full(capacity, np.nan)
        self.source_times: Times = np.zeros(capacity, np.int64)
        self.received: Times = np.zeros(capacity, np.int64)
        self.quality: Codes = np.zeros(capacity, np.uint32)
        self.seqs: Times = np.zeros(capacity, np.int64)
        self.owner: Slots = np.full(capacity, -1, np.int32)
        self._scratch: Slots = np.zeros(capacity, np.int32)
        self._minimum: Floats | None = None
        self._maximum: Floats | None = None
        self._free: dict[int, deque[tuple[int, int]]] = {}

    def reserve(self, extra: int) -> None:
        """Makes room for `extra` more slots at once."""
        need = self.n + extra
        size = len(self.values)
        if need <= size:
            return
        size = max(need, size + size // 2)
        self.values = _grown(self.values, size, np.nan)
        self.source_times = _grown(self.source_times, size, 0)
        self.received = _grown(self.received, size, 0)
        self.quality = _grown(self.quality, size, 0)
        self.seqs = _grown(self.seqs, size, 0)
        self.owner = _grown(self.owner, size, -1)
        self._scratch = np.zeros(size, np.int32)
        if self._minimum is not None and self._maximum is not None:
            self._minimum = _grown(self._minimum, size, -np.inf)
            self._maximum = _grown(self._maximum, size, np.inf)

    def take(self, width: int, row: int) -> int:
        """`width` consecutive slots for a row; the base of them. Width 0 has no slots (base 0)."""
        if not width:
            return 0
        free = self._free.get(width)
        if free and free[0][1] + QUARANTINE_FOLDS <= self.folds:
            base = free.popleft()[0]
        else:
            if self.n + width > len(self.values):
                self.reserve(width)
            base = self.n
            self.n += width
        self.owner[base : base + width] = row
        return base

    def free(self, base: int, width: int) -> None:
        """Gives slots back. They are dead at once and empty when they live again."""
        if not width:
            return
        span = slice(base, base + width)
        self.owner[span] = -1
        self.values[span] = np.nan
        self.source_times[span] = 0
        self.received[span] = 0
        self.quality[span] = 0
        self.seqs[span] = 0
        if self._minimum is not None and self._maximum is not None:
            self._minimum[span] = -np.inf
            self._maximum[span] = np.inf
        self._free.setdefault(width, deque()).append((base, self.folds))

    def move(self, old: int, new: int) -> None:
        """Copies everything of one slot to another."""
        for column in (self.values, self.source_times, self.received, self.quality, self.seqs):
            column[new] = column[old]
        if self._minimum is not None and self._maximum is not None:
            self._minimum[new] = self._minimum[old]
            self._maximum[new] = self._maximum[old]

    def set_range(self, slot: int, minimum: float, maximum: float) -> None:
        if self._minimum is None or self._maximum is None:
            self._minimum = np.full(len(self.values), -np.inf)
            self._maximum = np.full(len(self.values), np.inf)
        self._minimum[slot] = minimum
        self._maximum[slot] = maximum

    def range_of(self, slot: int) -> tuple[float, float]:
        if self._minimum is None or self._maximum is None:
            return float("-inf"), float("inf")
        return float(self._minimum[slot]), float(self._maximum[slot])

    def judge(self, slots: Slots, values: Floats, times: Times, quality: Codes, received_ns: int) -> Fate:
        """Which readings are news. Reads the columns, changes nothing.

        A reading is dropped for the first of these that holds: unmapped (dead slot), not_a_number (an infinity, or NaN
        with Good quality), future, out_of_range, stale (older than the last of its slot), duplicate (as old). Several
        readings of one slot are judged in order, each against the one before.
        """
        n = len(slots)
        dropped: dict[str, int] = {}
        inside = (slots >= 0) & (slots < self.n)
        safe = slots if inside.all() else np.where(inside, slots, 0).astype(np.int32)
        alive = inside & (self.owner[safe] >= 0) if self.n else np.zeros(n, bool)
        ok = _drop(dropped, "unmapped", np.ones(n, bool), ~alive)
        finite = np.isfinite(values)
        if not finite.all():
            ok = _drop(dropped, "not_a_number", ok, ~finite & (np.isinf(values) | (quality >> 30 == 0)))
        ok = _drop(dropped, "future", ok, times > received_ns + FUTURE_NS)
        if self._minimum is not None and self._maximum is not None:
            outside = (values < self._minimum[safe]) | (values > self._maximum[safe])
            ok = _drop(dropped, "out_of_range", ok, outside)
        position = np.arange(n) if ok.all() else np.flatnonzero(ok)
        slot, time = slots[position], times[position]
        last = self.source_times[slot] if len(slot) else time
        if self._repeats(slot):
            last = _last_before(slot, time, last)
        stale, same = time < last, time == last
        if stale.any() or same.any():
            for reason, mask in (("stale", stale), ("duplicate", same)):
                count = int(np.count_nonzero(mask))
                if count:
                    dropped[reason] = count
            position = position[~(stale | same)]
        return Fate(position, dropped)

    def write(self, slots: Slots, values: Floats, times: Times, quality: Codes, received_ns: int, seq: int) -> None:
        """Applies readings; of several of one slot the last stays. NaN changes quality and time, not the value."""
        number = np.isfinite(values)
        if number.all():
            self.values[slots] = values
        else:
            self.values[slots[number]] = values[number]
        self.source_times[slots] = times
        self.quality[slots] = quality
        self.received[slots] = received_ns
        self.seqs[slots] = seq

    def _repeats(self, slot: Slots) -> bool:
        order = np.arange(len(slot), dtype=np.int32)
        self._scratch[slot] = order
        return not bool((self._scratch[slot] == order).all())


def _drop(dropped: dict[str, int], reason: str, ok: Mask, bad: Mask) -> Mask:
    bad = bad & ok
    count = int(np.count_nonzero(bad))
    if not count:
        return ok
    dropped[reason] = count
    return ok & ~bad


def _last_before(slot: Slots, time: Times, last: Times) -> Times:
    """For each reading the newest time that its slot had before it: `last`, or that of an earlier reading here."""
    order = np.argsort(slot, kind="stable")
    sorted_slot, sorted_time = slot[order], time[order]
    distinct, rank = np.unique(sorted_time, return_inverse=True)
    start = np.empty(len(order), bool)
    start[0] = True
    np.not_equal(sorted_slot[1:], sorted_slot[:-1], out=start[1:])
    span = len(distinct) + 1
    segment = (np.cumsum(start) - 1) * span
    # The segment's offset outweighs every rank, so one running maximum serves all segments; 0 is "nothing before".
    highest = np.maximum.accumulate(segment + rank + 1)
    before = np.empty(len(order), np.int64)
    before[0] = 0
    before[1:] = highest[:-1] - segment[:-1]
    before[start] = 0
    newest = np.where(before > 0, distinct[np.maximum(before, 1) - 1], np.iinfo(np.int64).min)
    out = np.empty(len(order), np.int64)
    out[order] = np.maximum(newest, last[order])
    return out


def _grown(old: npt.NDArray[Number], size: int, fill: float) -> npt.NDArray[Number]:
    new = np.zeros(size, old.dtype) if fill == 0 else np.full(size, fill, old.dtype)
    new[: len(old)] = old
    return new
