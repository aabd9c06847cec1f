"""History in group commits: what was applied is appended within 250 ms, in one transaction for all of it.

While the history cannot be written, rows wait up to a bound; above it the oldest go and are counted as lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from twinloom.graph.history import HistoryRows, HistoryStore
from twinloom.graph.hot import HotGraph
from twinloom.runtime.estimates import HISTORY_PATHS
from twinloom.runtime.metrics import Metrics
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.errors import StoreUnavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import Clock
from twinloom.twin.readings import Codes, Floats, Gap, Slots, TextReading, Times

log = logging.getLogger(__name__)

KEPT_GAPS = 10_000
KEPT_TEXTS = 100_000


class Historian:
    """`add*` on the event-loop thread, never waiting; `run()` writes what has gathered every `interval_s`."""

    def __init__(
        self,
        history: HistoryStore,
        hot: HotGraph,
        clock: Clock,
        metrics: Metrics,
        *,
        interval_s: float = 0.18,
        capacity: int = 2_000_000,
        retry_s: float = 1.0,
    ) -> None:
        self._history = history
        self._hot = hot
        self._clock = clock
        self._metrics = metrics
        self._interval_s = interval_s
        self._capacity = capacity
        self._retry_s = retry_s
        self._rows: deque[HistoryRows] = deque()
        self._texts: deque[TextReading] = deque(maxlen=KEPT_TEXTS)
        self._gaps: deque[Gap] = deque(maxlen=KEPT_GAPS)
        self._waiting = 0
        self._series: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._layout = -1
        self._flushing = asyncio.Lock()
        self._awaited: list[asyncio.Future[None]] = []
        self.away: StoreUnavailable | None = None

    @property
    def waiting(self) -> int:
        """Values that are not durable yet."""
        return self._waiting

    def add(
        self, slots: Slots, values: Floats, source_times_ns: Times, quality: Codes, texts: Sequence[TextReading] = ()
    ) -> None:
        """Applied readings, as columns of equal length."""
        if len(slots):
            self._put(HistoryRows(self._series_of(slots), source_times_ns, values, quality))
        if texts:
            self.add_texts(texts)

    def add_texts(self, texts: Sequence[TextReading]) -> None:
        dropped = len(self._texts) + len(texts) - KEPT_TEXTS
        if dropped > 0:
            self._metrics.count_lost({"history_overflow": dropped})
        self._texts.extend(texts)

    def add_estimates(self, estimates: Sequence[RulEstimate], now_ns: int) -> None:
        """Estimates as three series below the twin: rul_days, rul_low, rul_high."""
        of = self._history.series_of
        series = [of(e.twin, path) for e in estimates for path in HISTORY_PATHS]
        times = [e.source_time_ns or now_ns for e in estimates for _ in HISTORY_PATHS]
        values = [v for e in estimates for v in (e.rul_days, e.low, e.high)]
        self._put(
            HistoryRows(
                np.array(series, np.int32),
                np.array(times, np.int64),
                np.array(values, np.float64),
                np.zeros(len(series), np.uint32),
            )
        )

    def add_gap(self, gap: Gap) -> None:
        self._gaps.append(gap)

    async def written(self) -> None:
        """Returns once everything that was added before this call is durable: with the next group commit that works."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append(future)
        await future

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s if self.away is None else self._retry_s)
            await self.flush()

    async def flush(self) -> bool:
        """Makes everything that has gathered durable. False when the history cannot be written now."""
        async with self._flushing:
            rows, texts, gaps = list(self._rows), list(self._texts), list(self._gaps)
            self._rows.clear()
            self._texts.clear()
            self._gaps.clear()
            awaited, self._awaited = self._awaited, []
            started = self._clock.monotonic_s()
            try:
                if rows:
                    await self._history.append(_joined(rows))
                    self._waiting -= sum(len(r) for r in rows)
                    rows = []
                if texts:
                    await self._history.append_texts(texts)
                    texts = []
                while gaps:
                    await self._history.append_gap(gaps[0])
                    gaps.pop(0)
            except StoreUnavailable as error:
                if self.away is None:
                    log.warning("the history cannot be written: %s", error)
                self.away = error
                self._rows.extendleft(reversed(rows))
                self._texts.extendleft(reversed(texts))
                self._gaps.extendleft(reversed(gaps))
                self._awaited[:0] = awaited
                self._shed()
                return False
            if self.away is not None:
                log.info("the history is written again")
                self.away = None
            self._metrics.history_seconds.observe(self._clock.monotonic_s() - started)
            for future in awaited:
                if not future.done():
                    future.set_result(None)
            return True

    def _put(self, rows: HistoryRows) -> None:
        self._rows.append(rows)
        self._waiting += len(rows)
        self._shed()

    def _shed(self) -> None:
        while self._waiting > self._capacity and self._rows:
            lost = len(self._rows.popleft())
            self._waiting -= lost
            self._metrics.count_lost({"history_overflow": lost})

    def _series_of(self, slots: Slots) -> npt.NDArray[np.int32]:
        if self._layout != self._hot.layout_version or len(self._series) < len(self._hot.owner):
            self._layout = self._hot.layout_version
            self._series = np.full(len(self._hot.owner), -1, np.int32)
        series = self._series[slots]
        unknown = series < 0
        if unknown.any():
            for slot in np.unique(slots[unknown]).tolist():
                twin: TwinId = self._hot.id_of(int(self._hot.owner[slot]))
                self._series[slot] = self._history.series_of(twin, self._hot.field_of(slot).path)
            series = self._series[slots]
        return series


def _joined(rows: Sequence[HistoryRows]) -> HistoryRows:
    if len(rows) == 1:
        return rows[0]
    return HistoryRows(
        np.concatenate([r.series for r in rows]),
        np.concatenate([r.source_time_ns for r in rows]),
        np.concatenate([r.value for r in rows]),
        np.concatenate([r.quality for r in rows]),
    )
