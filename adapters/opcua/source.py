"""One OPC UA server as a `Source`: connects, subscribes, hands over columns, survives what servers do.

States: connecting -> live -> (stale: three keep-alives without a word) -> lost (session over, reconnecting) -> live.
One outage, from the last value before it to the first after it, is one marked gap, filled from the server's own history
where it has one. A new connection is a new client; every wait has a time-out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from asyncua import ua

from twinloom.adapters.opcua.backfill import Backfill, read_history
from twinloom.adapters.opcua.decode import Publication, decode, decode_slowly, publication_of
from twinloom.adapters.opcua.discover import MappedNode, discover
from twinloom.adapters.opcua.mapping import OpcUaMapping, read_mapping
from twinloom.adapters.opcua.session import Item, Session, Subscription, connect
from twinloom.adapters.opcua.settings import OpcUaSettings, Sampling
from twinloom.adapters.opcua.table import Key, Table
from twinloom.twin.errors import SourceUnavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import Clock, ReadingSink, SourceState, SourceStatus, SystemClock
from twinloom.twin.readings import Gap, ReadingBatch

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.25
_DISCOVER_S = 60.0
_DEDUPLICATE_S = 3.0
_MOST_HELD = 200_000
_MOST_REPUBLISHED = 64


class OpcUaSource:
    """Reads the server of `settings` by the rules of `mapping`. Only BadFile and BadSetting end `run`."""

    def __init__(self, settings: OpcUaSettings, mapping: OpcUaMapping, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._mapping = mapping
        self._clock = clock or SystemClock()
        self._counters: Counter[str] = Counter()
        self._status = SourceStatus(settings.name, "connecting", self._clock.now_ns())
        self._last: dict[Key, int] = {}
        self._twins: tuple[TwinId, ...] = ()
        self._outage: tuple[int, str] | None = None
        self._was_live = False

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def state(self) -> SourceState:
        return self._status.state

    def status(self) -> SourceStatus:
        return replace(self._status, counters=dict(self._counters))

    async def run(self, sink: ReadingSink) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            lived = False
            try:
                async with connect(self._settings) as session:
                    reader = _Reader(self, session, sink)
                    try:
                        await reader.run()
                    finally:
                        lived = reader.lived
                        reader.table.remember(self._last)
            except (SourceUnavailable, ConnectionError, TimeoutError, ua.UaError, OSError) as error:
                reason = str(error) or type(error).__name__
                self._counters["disconnects" if lived else "failed_connects"] += 1
                await self.enter("lost" if self._was_live else "connecting", reason, sink)
            pause = _FIRST_PAUSE_S if lived else min(2 * pause, self._settings.retry_max_s)
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))

    async def enter(self, state: SourceState, reason: str, sink: ReadingSink) -> None:
        """Reports a change of state; the first step away from live opens an outage."""
        if state in ("stale", "lost") and self._was_live and self._outage is None:
            self._outage = (max(self._last.values(), default=0) or self._clock.now_ns(), reason)
        changed = state != self._status.state
        news = changed or (bool(reason) and not self._status.reason)
        self._status = SourceStatus(
            self.name, state, self._clock.now_ns() if changed else self._status.since_ns, reason
        )
        if state == "live":
            self._was_live = True
        if news:
            log = _log.info if state == "live" else _log.warning
            log("opcua source %s is %s%s", self.name, state, f": {reason}" if reason else "")
            await sink.report(self.status(), self._twins)


class _Reader:
    """One session's stream. `lived`: it delivered something."""

    def __init__(self, source: OpcUaSource, session: Session, sink: ReadingSink) -> None:
        self._source = source
        self._session = session
        self._sink = sink
        self._clock = source._clock
        self._settings = source._settings
        self._counters = source._counters
        self.table = Table(source.name, (), {})
        self.lived = False
        self._layout = -1
        self._subscriptions: dict[int, Subscription] = {}
        self._lanes: dict[tuple[float, bool], Subscription] = {}
        self._objects: set[int] = set()
        self._heard: dict[int, float] = {}
        self._expected: dict[int, int] = {}
        self._held: list[ReadingBatch] | None = None
        self._held_count = 0
        self._backfill: asyncio.Task[Backfill] | None = None
        self._live_since_s = 0.0

    async def run(self) -> None:
        async with asyncio.timeout(_DISCOVER_S):
            nodes = await discover(self._session, self._source._mapping)
            self.table = Table(self._source.name, nodes, self._source._last)
            self.table.counters = self._counters
            await self._resolve()
        try:
            if self._source._outage is not None and self._source._last:
                self._held = []
                self._backfill = asyncio.create_task(self._read_history())
            self._session.publish(max(3, 2 * len(self._subscriptions)))
            while True:
                await self._step()
        finally:
            if self._backfill is not None:
                self._backfill.cancel()

    async def _resolve(self) -> None:
        """Looks targets up and watches what is new. Raises ConnectionError when a node must change its lane."""
        self._layout = self._sink.layout_version
        if self.table.resolve(self._sink):
            raise ConnectionError("the models changed: subscribing again")
        self._source._twins = self.table.twins
        wanted = np.flatnonzero(self.table.resolved & ~self.table.watched).tolist()
        lanes: dict[tuple[float, bool], list[int]] = {}
        for i in wanted:
            interval = self.table.nodes[i].target.sampling.publishing_interval_ms
            lanes.setdefault((interval, bool(self.table.is_text[i])), []).append(i)
        for lane, members in lanes.items():
            subscription = self._lanes.get(lane) or await self._open_lane(lane)
            items = [_item(i, self.table.nodes[i], numeric=not lane[1]) for i in members]
            results = await self._session.watch(subscription, items)
            for i, result in zip(members, results, strict=True):
                self.table.watched[i] = result.StatusCode.is_good()
                if not self.table.watched[i]:
                    self._counters["refused_nodes"] += 1
                    self.table.say_once(f"node {self.table.nodes[i].place} is refused ({result.StatusCode.name})")
                elif result.RevisedQueueSize < min(items[0].sampling.queue_size, 2):
                    self.table.say_once(f"the server keeps only {result.RevisedQueueSize} sample of a node")
        if not self._subscriptions:
            # A session without subscriptions would have nothing that keeps it alive or tells of its loss.
            await self._open_lane((self._settings.sampling.publishing_interval_ms, False))

    async def _open_lane(self, lane: tuple[float, bool]) -> Subscription:
        subscription = await self._session.subscribe(Sampling(publishing_interval_ms=lane[0]))
        self._lanes[lane] = self._subscriptions[subscription.id] = subscription
        self._heard[subscription.id] = self._clock.monotonic_s()
        if lane[1]:
            self._objects.add(subscription.id)
        return subscription

    async def _step(self) -> None:
        now = self._clock.monotonic_s()
        due = min(self._heard[number] + granted.silent_s for number, granted in self._subscriptions.items())
        bodies = await self._session.bodies(max(0.02, due - now))
        received_ns = self._clock.now_ns()
        if bodies and self._source.state == "stale":
            # The server is back: its other subscriptions get a whole period to speak, too.
            self._heard = dict.fromkeys(self._heard, self._clock.monotonic_s())
        publications: list[Publication] = []
        for body in bodies:
            publications += await self._understand(body)
        if publications and (batch := self.table.batch(publications, received_ns)) is not None:
            began = self._clock.monotonic_s()
            await self._deliver(batch)
            # While the pipeline holds us back no request is at the server: its silence then says nothing.
            held_back = self._clock.monotonic_s() - began
            if held_back > 0.01:
                self._heard = {number: heard + held_back for number, heard in self._heard.items()}
        elif bodies and self._source.state != "live" and not self._waits_for_data():
            await self._go_live(received_ns)
        if self._backfill is not None and self._backfill.done():
            await self._flush()
        if bodies:
            self._session.rearm()
        await self._watch_silence()
        if self._sink.layout_version != self._layout:
            await self._resolve()

    def _waits_for_data(self) -> bool:
        """A gap ends with a value: after an outage a keep-alive alone does not end it while values are expected."""
        return self._source._outage is not None and bool(self.table.watched.any())

    async def _understand(self, body: bytes) -> list[Publication]:
        """The publications in one response, those republished before it first. Bad bytes are counted, not raised."""
        try:
            publication = decode(body)
            if publication is None or publication.subscription in self._objects:
                objects = publication is not None
                publication = decode_slowly(body, objects=objects)
                self._counters["decoded_by_asyncua"] += 1
                if not objects and publication.subscription in self._objects:
                    publication = decode_slowly(body, objects=True)
        except (struct.error, IndexError, ValueError, ua.UaError) as error:
            self._counters["undecodable"] += 1
            self.table.say_once(f"a response could not be decoded: {error}")
            return []
        number = publication.subscription
        self._counters["publishes"] += 1
        self._heard[number] = self._clock.monotonic_s()
        missed = await self._recover(publication)
        if publication.keep_alive:
            return missed
        self._session.acknowledge(number, publication.sequence)
        for other in publication.others:
            self._hear(other)
        return [*missed, publication]

    def _hear(self, notification: Any) -> None:
        if isinstance(notification, ua.StatusChangeNotification):
            self._counters["status_changes"] += 1
            raise ConnectionError(f"the server ended the subscription ({notification.Status.name})")
        self._counters["unknown_notifications"] += 1

    async def _recover(self, publication: Publication) -> list[Publication]:
        """Messages between the last one and this one, by Republish; what is gone is counted as missed."""
        number, sequence = publication.subscription, publication.sequence
        expected = self._expected.get(number, sequence)
        self._expected[number] = sequence if publication.keep_alive else sequence % 0xFFFFFFFF + 1
        missing = (sequence - expected) % 0xFFFFFFFF if sequence != expected else 0
        if not 0 < missing < 0x7FFFFFFF:
            return []
        found: list[Publication] = []
        for step in range(min(missing, _MOST_REPUBLISHED)):
            wanted = (expected - 1 + step) % 0xFFFFFFFF + 1
            message = await self._session.republish(number, wanted)
            if message is not None:
                again = publication_of(message, objects=number in self._objects)
                found.append(again)
                self._session.acknowledge(number, wanted)
        self._counters["republished"] += len(found)
        if len(found) < missing:
            self._counters["missed_messages"] += missing - len(found)
            self.table.say_once(f"{missing - len(found)} messages were lost and could not be had again")
        return found

    async def _deliver(self, batch: ReadingBatch) -> None:
        if self._source.state != "live" or not self.lived:
            await self._go_live(_first_time(batch))
        if self._held is None:
            await self._sink.accept(batch)
            return
        self._held.append(batch)
        self._held_count += len(batch)
        if self._held_count > _MOST_HELD and self._backfill is not None:
            self._backfill.cancel()

    async def _go_live(self, first_ns: int) -> None:
        if not self.lived:
            self._counters["connects"] += 1
        self.lived = True
        self._live_since_s = self._clock.monotonic_s()
        await self._source.enter("live", "", self._sink)
        if self._source._outage is not None and self._backfill is None:
            await self._mark(first_ns, filled=False)

    async def _mark(self, end_ns: int, *, filled: bool) -> None:
        assert self._source._outage is not None
        start_ns, reason = self._source._outage
        self._source._outage = None
        self._counters["gaps"] += 1
        gap = Gap(self._source.name, start_ns, max(start_ns, end_ns), reason, self.table.twins, filled)
        await self._sink.mark_gap(gap)

    async def _read_history(self) -> Backfill:
        async with asyncio.timeout(self._settings.backfill_s):
            return await read_history(self._session, self.table, self._clock.now_ns())

    async def _flush(self) -> None:
        """After the attempt to fill the gap: history first, then what was held back, then the mark."""
        task, held = self._backfill, self._held or []
        if task is None or not held:
            return
        self._backfill = self._held = None
        try:
            backfill = task.result()
        except (TimeoutError, asyncio.CancelledError, ConnectionError, ua.UaError) as error:
            self._counters["backfills_failed"] += 1
            _log.warning("opcua source %s: history could not be read: %s", self._source.name, error)
            backfill = None
        end_ns = min(_first_time(batch) for batch in held)
        if backfill is not None and len(backfill.handles):
            filling = self._fill(backfill, held)
            if filling is not None:
                await self._sink.accept(filling)
        if self._source._outage is not None:
            await self._mark(end_ns, filled=backfill is not None and backfill.complete)
        for batch in held:
            await self._sink.accept(batch)

    def _fill(self, backfill: Backfill, held: Sequence[ReadingBatch]) -> ReadingBatch | None:
        """History as a batch that ends, per slot, before the first live value."""
        first = np.full(len(self.table.slots), np.iinfo(np.int64).max)
        slots = np.concatenate([batch.slots for batch in held])
        times = np.concatenate([batch.source_times_ns for batch in held])
        of_slot = {int(slot): i for i, slot in enumerate(self.table.slots)}
        for slot, time in zip(slots.tolist(), times.tolist(), strict=True):
            i = of_slot.get(slot)
            if i is not None and time < first[i]:
                first[i] = time
        before = backfill.times_ns < first[backfill.handles]
        publication = Publication(
            subscription=0,
            sequence=0,
            handles=backfill.handles[before],
            values=backfill.values[before],
            times_ns=backfill.times_ns[before],
            status=backfill.status[before],
        )
        kept, deduplicate = self.table.last.copy(), self.table.deduplicate
        self.table.deduplicate = False
        filling = self.table.batch([publication], self._clock.now_ns())
        self.table.last, self.table.deduplicate = kept, deduplicate
        self._counters["backfilled"] += int(before.sum())
        return filling

    async def _watch_silence(self) -> None:
        now = self._clock.monotonic_s()
        if self.table.deduplicate and self.lived and now - self._live_since_s > _DEDUPLICATE_S:
            self.table.deduplicate = False
        silent = max(now - self._heard[number] - granted.silent_s for number, granted in self._subscriptions.items())
        if silent < 0:
            return
        if silent > self._settings.give_up_s:
            raise ConnectionError("no keep-alive came")
        self.table.remember(self._source._last)
        await self._source.enter("stale", "no keep-alive came", self._sink)


def _first_time(batch: ReadingBatch) -> int:
    times = [int(batch.source_times_ns.min())] if len(batch.slots) else []
    times += [text.source_time_ns for text in batch.texts]
    return min(times, default=batch.received_ns)


def _item(handle: int, node: MappedNode, *, numeric: bool) -> Item:
    return Item(
        node=node.node,
        handle=handle,
        sampling=node.target.sampling,
        percent_range=np.isfinite(node.high),
        numeric=numeric,
    )


def sources_of(file: Path) -> list[OpcUaSource]:
    """One source a server of the mapping file: the entry point `opcua` of `twinloom.sources`. Raises BadFile."""
    mapping = read_mapping(file)
    return [OpcUaSource(server, mapping) for server in mapping.servers]
