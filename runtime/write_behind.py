"""Write-behind: the store gets the last value of each slot at an interval, however often it changed meanwhile.

What waits is one flag a slot and the last text of each path, so it is bounded by the plant, not by the outage.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import numpy as np
import numpy.typing as npt

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import GraphStore, LastValue
from twinloom.runtime.sequence import Sequence
from twinloom.twin.errors import StoreUnavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import Slots, TextReading

log = logging.getLogger(__name__)


class WriteBehind:
    """`mark` on the event-loop thread, never waiting; `run()` writes at most `rows` values each `interval_s`."""

    def __init__(
        self,
        store: GraphStore,
        hot: HotGraph,
        sequence: Sequence,
        *,
        interval_s: float = 1.0,
        rows: int = 20_000,
        timeout_s: float = 10.0,
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._store = store
        self._hot = hot
        self._sequence = sequence
        self._interval_s = interval_s
        self._limit = rows
        self._timeout_s = timeout_s
        self._before = before
        self._dirty: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._texts: dict[tuple[TwinId, str], TextReading] = {}
        self._under_way = 0  # taken, but not durable yet
        self._from = 0  # where the next round begins, so that every slot gets its turn
        self._writing = asyncio.Lock()
        self.away: StoreUnavailable | None = None

    @property
    def waiting(self) -> int:
        """Values that the store does not have yet."""
        return int(np.count_nonzero(self._dirty)) + len(self._texts) + self._under_way

    def mark(self, slots: Slots, texts: tuple[TextReading, ...]) -> None:
        """These slots and texts have new values."""
        if len(self._dirty) < len(self._hot.owner):
            grown = np.zeros(len(self._hot.owner), np.bool_)
            grown[: len(self._dirty)] = self._dirty
            self._dirty = grown
        self._dirty[slots] = True
        for text in texts:
            self._texts[(text.twin, text.path)] = text

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.flush()

    async def flush(self, *, everything: bool = False) -> bool:
        """Writes what waits (at most `rows` values unless `everything`). False when the store is away."""
        async with self._writing:
            while self.waiting or self._sequence.needs_mark:
                if not await self._round():
                    return False
                if not everything:
                    break
            return True

    async def _round(self) -> bool:
        slots = self._take()
        texts = dict(list(self._texts.items())[: self._limit])
        for key in texts:
            del self._texts[key]
        seq = self._sequence.current
        self._under_way = len(slots) + len(texts)
        try:
            rows = self._rows(slots) + [
                LastValue(t.twin, t.path, t.value, t.source_time_ns, t.quality) for t in texts.values()
            ]
            if rows and self._before is not None:
                # History first: after a crash a source may send again what the history lacks, and a newer last value
                # in the store would make the fold drop it as stale.
                await self._before()
            async with asyncio.timeout(self._timeout_s):
                if rows:
                    await self._store.write_values(rows, seq=seq)
                if self._sequence.needs_mark:
                    await self._store.reserve(seq)
                    self._sequence.marked(seq)
        except (StoreUnavailable, TimeoutError) as error:
            if self.away is None:
                log.warning("last values cannot be written to the graph store: %s", error or "time-out")
            self.away = StoreUnavailable(f"the graph store cannot be reached ({error or 'time-out'})")
            self._dirty[slots] = True
            self._texts = {**texts, **self._texts}
            return False
        finally:
            self._under_way = 0
        if self.away is not None:
            log.info("last values are written to the graph store again")
            self.away = None
        return True

    def _take(self) -> Slots:
        dirty = np.flatnonzero(self._dirty)
        if len(dirty) > self._limit:
            start = int(np.searchsorted(dirty, self._from))
            dirty = np.roll(dirty, -start)[: self._limit]
            self._from = int(dirty[-1]) + 1
        self._dirty[dirty] = False
        return dirty.astype(np.int32)

    def _rows(self, slots: Slots) -> list[LastValue]:
        hot = self._hot
        live = slots[hot.owner[slots] >= 0]
        return [
            LastValue(hot.id_of(row), hot.field_of(slot).path, value if value == value else None, time_ns, quality)
            for slot, row, value, time_ns, quality in zip(
                live.tolist(),
                hot.owner[live].tolist(),
                hot.values[live].tolist(),
                hot.source_times[live].tolist(),
                hot.quality[live].tolist(),
                strict=True,
            )
        ]
