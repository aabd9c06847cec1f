"""A source's state and its outages: connecting -> live -> (stale) -> lost -> live, one marked gap an outage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from twinloom.adapters.telemetry.tally import Tally
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import Clock, ReadingSink, SourceState, SourceStatus
from twinloom.twin.readings import Gap, ReadingBatch


class Life:
    """`twins()` are those that the source feeds. An outage lasts from its last value to the next."""

    def __init__(self, tally: Tally, clock: Clock, twins: Callable[[], Sequence[TwinId]], log: logging.Logger) -> None:
        self._tally = tally
        self._clock = clock
        self._twins = twins
        self._log = log
        self._status = SourceStatus(tally.source, "connecting", clock.now_ns())
        self._last_ns = 0
        self._outage: tuple[int, str] | None = None
        self._was_live = False
        self.complete = True
        """Whether everything that was sent in the outage will still come."""

    @property
    def state(self) -> SourceState:
        return self._status.state

    def status(self) -> SourceStatus:
        return replace(self._status, counters=dict(self._tally.counters))

    async def enter(self, state: SourceState, reason: str, sink: ReadingSink) -> None:
        """Reports a change of state, once; the first step away from live opens an outage."""
        if state == "lost" and not self._was_live:
            state = "connecting"
        if state in ("stale", "lost") and self._outage is None:
            self._outage = (self._last_ns or self._clock.now_ns(), reason)
        changed = state != self._status.state
        if not changed and not (reason and not self._status.reason):
            return
        since_ns = self._clock.now_ns() if changed else self._status.since_ns
        self._status = SourceStatus(self._tally.source, state, since_ns, reason)
        self._was_live |= state == "live"
        log = self._log.info if state == "live" else self._log.warning
        log("source %s is %s%s", self._tally.source, state, f": {reason}" if reason else "")
        await sink.report(self.status(), self._twins())

    async def deliver(self, batch: ReadingBatch, sink: ReadingSink) -> None:
        """Hands a batch over; the first one that is newer than an outage ends and marks it."""
        await self.enter("live", "", sink)
        times = batch.source_times_ns
        newest = max([int(times.max())] if len(times) else [], default=0)
        newest = max([newest, *(text.source_time_ns for text in batch.texts)])
        if self._outage is not None and newest > self._outage[0]:
            start_ns, reason = self._outage
            later = [int(time) for time in times[times > start_ns].tolist()[:1]] or [newest]
            self._outage = None
            self._tally.add("gaps")
            await sink.mark_gap(
                Gap(self._tally.source, start_ns, later[0], reason, tuple(self._twins()), self.complete)
            )
            self.complete = True
        self._last_ns = max(self._last_ns, min(newest, batch.received_ns))
        await sink.accept(batch)
