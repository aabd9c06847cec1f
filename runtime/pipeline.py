"""The page: one value's way from a source to the subscribers, in the order in which it happens.

A micro-batch is what one source handed over within a few milliseconds. Every step takes it as columns, on the
event-loop thread, and none waits for a disk, a model or a subscriber; what is slow happens behind (`historian`,
`write_behind`, `scoring`, `commits`). The queue in front is bounded by values: a source that is ahead waits in
`accept`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence as Items

from twinloom.graph.hot import Folded, HotGraph
from twinloom.runtime.alerts import AlertBook
from twinloom.runtime.estimates import EstimateBook
from twinloom.runtime.feed import Feed
from twinloom.runtime.historian import Historian
from twinloom.runtime.ingest import Ingest, Mark, SourceReport
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.prognosis import Prognosis
from twinloom.runtime.scoring import Scorer
from twinloom.runtime.sequence import Sequence
from twinloom.runtime.staleness import Staleness
from twinloom.runtime.write_behind import WriteBehind
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import Clock, MachineAlarm, SlotRef, SourceStatus
from twinloom.twin.readings import Gap, ReadingBatch
from twinloom.twin.signals import GapMarked, ReadingsFolded, RulScored, SourceStateChanged

TICK_S = 0.25


class Pipeline:
    """Implements `ReadingSink` and `AlarmSink`. `run()`, `score()` and `tick()` are its tasks."""

    def __init__(
        self,
        hot: HotGraph,
        sequence: Sequence,
        scorer: Scorer,
        prognosis: Prognosis,
        alerts: AlertBook,
        estimates: EstimateBook,
        historian: Historian,
        write_behind: WriteBehind,
        feed: Feed,
        staleness: Staleness,
        metrics: Metrics,
        clock: Clock,
        *,
        capacity: int = 200_000,
    ) -> None:
        self.hot = hot
        self.sequence = sequence
        self.scorer = scorer
        self.prognosis = prognosis
        self.alerts = alerts
        self.estimates = estimates
        self.historian = historian
        self.write_behind = write_behind
        self.feed = feed
        self.staleness = staleness
        self.metrics = metrics
        self.clock = clock
        self.ingest = Ingest(capacity)

    # What a source calls.

    @property
    def layout_version(self) -> int:
        return self.hot.layout_version

    def resolve(self, twin: TwinId, path: str) -> SlotRef | None:
        return self.hot.resolve(twin, path)

    async def accept(self, batch: ReadingBatch) -> None:
        self.metrics.count_received(len(batch))
        await self.ingest.put(batch)

    async def durable(self) -> None:
        await self.ingest.passed()
        await self.historian.written()

    async def mark_gap(self, gap: Gap) -> None:
        await self.ingest.put(gap)

    async def alarm(self, alarm: MachineAlarm) -> None:
        await self.ingest.put(alarm)

    async def report(self, status: SourceStatus, twins: Items[TwinId]) -> None:
        await self.ingest.put(SourceReport(status, tuple(twins)))

    # What happens to it.

    async def run(self) -> None:
        """Takes what the sources hand over until cancelled."""
        async for item in self.ingest:
            match item:
                case ReadingBatch():
                    await self.process(item)
                case Gap():
                    await self._gap(item)
                case SourceReport():
                    await self._source_state(item)
                case MachineAlarm():
                    self.alerts.follow_machine(item)
                case Mark():
                    item.passed.set()

    async def process(self, batch: ReadingBatch) -> None:
        """One micro-batch: fold, observe, judge, keep, publish."""
        started = self.clock.monotonic_s()
        seq = self.sequence.try_next() or await self.sequence.next()

        folded = self.hot.fold(batch, seq)
        slots, values, times, quality = folded.slots, folded.values, folded.source_times_ns, folded.quality
        self._count(batch, folded)
        if not len(slots) and not folded.texts:
            self.feed.advance(seq)
            return

        self.scorer.observe(slots, values, quality, times)
        self.alerts.judge(slots, values, times, quality, batch.received_ns)
        self.historian.add(slots, values, times, quality, folded.texts)
        self.write_behind.mark(slots, folded.texts)

        self.feed.publish(
            ReadingsFolded(
                seq=seq,
                time_ns=self.clock.now_ns(),
                cause=batch.source,
                source=batch.source,
                slots=slots,
                values=values,
                source_times_ns=times,
                quality=quality,
                received_ns=batch.received_ns,
                texts=folded.texts,
            )
        )
        self.metrics.batch_seconds.observe(self.clock.monotonic_s() - started)

    async def scored(self, estimates: Items[RulEstimate]) -> None:
        """Fresh estimates: latest of each twin, where they came from, what stands above, trend, alerts, feed."""
        seq = self.sequence.try_next() or await self.sequence.next()
        now_ns = self.clock.now_ns()
        present = tuple(e for e in estimates if e.twin in self.hot)
        self.estimates.put(present, seq)
        self.prognosis.kept(present, seq, now_ns)
        self._conclude((*present, *self.prognosis.rolled(present)), seq, now_ns)

    async def rolled(self, estimates: Items[RulEstimate]) -> None:
        """Machines, lines and plants whose parts have changed."""
        if estimates:
            self._conclude(estimates, self.sequence.try_next() or await self.sequence.next(), self.clock.now_ns())

    def _conclude(self, estimates: Items[RulEstimate], seq: int, now_ns: int) -> None:
        present = tuple(e for e in estimates if e.twin in self.hot)
        if not present:
            self.feed.advance(seq)
            return
        self.hot.apply((), seq)
        self.estimates.put(present, seq)
        self.historian.add_estimates(present, now_ns)
        self.alerts.judge_estimates(present, now_ns)
        self.feed.publish(RulScored(seq=seq, time_ns=now_ns, cause="scoring", estimates=present))

    async def score(self) -> None:
        """Scores what is due until cancelled."""
        await self.scorer.run(self.scored)

    async def tick(self) -> None:
        """Raises what has held long enough though nothing new came, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.alerts.tick(self.clock.now_ns(), self.staleness.is_stale)

    async def _gap(self, gap: Gap) -> None:
        seq = self.sequence.try_next() or await self.sequence.next()
        self.hot.apply((), seq)
        self.historian.add_gap(gap)
        self.metrics.count_gap(gap.source)
        self.feed.publish(GapMarked(seq=seq, time_ns=self.clock.now_ns(), cause=gap.source, gap=gap))

    async def _source_state(self, report: SourceReport) -> None:
        status = report.status
        changed = self.staleness.report(status, report.twins)
        self.metrics.source(status.name, status.state)
        if not changed:
            return
        seq = self.sequence.try_next() or await self.sequence.next()
        self.hot.apply((), seq)
        self.feed.publish(
            SourceStateChanged(
                seq=seq,
                time_ns=self.clock.now_ns(),
                cause=status.name,
                source=status.name,
                state=status.state,
                reason=status.reason,
                twins=tuple(sorted(self.staleness.fed_by(status.name))),
            )
        )

    def _count(self, batch: ReadingBatch, folded: Folded) -> None:
        self.metrics.count_applied(len(folded.slots) + len(folded.texts))
        self.metrics.count_dropped(folded.dropped)
        self.metrics.count_lost(batch.lost)
