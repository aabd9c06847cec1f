"""One connection's stream: subscribes or takes over, decodes, recovers what went missing, notices silence.

What the server holds for a session (subscriptions, items, sequence numbers) is the `Stream`; it outlives a lost
connection, so that the next reader can go on with it.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from asyncua import ua

from twinloom.adapters.opcua.backfill import Backfill, read_history
from twinloom.adapters.opcua.decode import Publication, decode
from twinloom.adapters.opcua.discover import MappedMethod, MappedNode, discover
from twinloom.adapters.opcua.events import watch_alarms
from twinloom.adapters.opcua.fallback import decode_slowly, publication_of
from twinloom.adapters.opcua.session import Item, Session, SessionEnded, Subscription
from twinloom.adapters.opcua.settings import Sampling
from twinloom.adapters.opcua.table import Table
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import AlarmSink, ReadingSink
from twinloom.twin.readings import Gap, ReadingBatch

if TYPE_CHECKING:
    from twinloom.adapters.opcua.source import OpcUaSource

_log = logging.getLogger(__name__)
_DISCOVER_S = 60.0
_DEDUPLICATE_S = 3.0
_MOST_HELD = 200_000
_MOST_REPUBLISHED = 64
_FILTER_REFUSED = frozenset(
    int(code)
    for code in (
        ua.StatusCodes.BadMonitoredItemFilterInvalid,
        ua.StatusCodes.BadMonitoredItemFilterUnsupported,
        ua.StatusCodes.BadFilterNotAllowed,
        ua.StatusCodes.BadDeadbandFilterInvalid,
    )
)


@dataclass(frozen=True, slots=True)
class Connection:
    """What a connected source knows, for whoever writes through the same session."""

    session: Session
    table: Table
    methods: tuple[MappedMethod, ...]


@dataclass(slots=True)
class Stream:
    """What the server holds for a session, and outlives its connection: subscriptions, their items and numbers."""

    table: Table
    methods: tuple[MappedMethod, ...] = ()
    layout: int = -1
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    lanes: dict[tuple[float, bool], Subscription] = field(default_factory=dict)
    objects: set[int] = field(default_factory=set)
    expected: dict[int, int] = field(default_factory=dict)
    twin_of_node: dict[ua.NodeId, TwinId] = field(default_factory=dict)


class Reader:
    """Reads one connection. `lived`: it delivered something.

    With a `stream` it goes on with a session that was there before: nothing is browsed or subscribed, and what was
    missed is asked for again.
    """

    def __init__(self, source: OpcUaSource, session: Session, sink: ReadingSink, stream: Stream | None) -> None:
        self._source = source
        self._session = session
        self._sink = sink
        self._clock = source.clock
        self._settings = source.settings
        self._counters = source.counters
        self._resumed = stream is not None
        self.stream = stream or Stream(Table(source.name, (), {}))
        self.table = self.stream.table
        self.lived = False
        self._heard: dict[int, float] = {}
        self._spoke: set[int] = set()
        self._held: list[Publication] | None = None
        self._backfill: asyncio.Task[Backfill] | None = None
        self._live_since_s = 0.0

    async def run(self) -> None:
        if self._resumed:
            self._counters["resumed"] += 1
            self.table.deduplicate = True
        else:
            async with asyncio.timeout(_DISCOVER_S):
                await self._subscribe()
        self._source.connected(Connection(self._session, self.table, self.stream.methods))
        self._heard = dict.fromkeys(self.stream.subscriptions, self._clock.monotonic_s())
        try:
            if self._source.outage is not None and self._source.knows_times and not self._resumed:
                self._held = []
                self._backfill = asyncio.create_task(self._read_history())
            self._session.publish(max(3, 2 * len(self.stream.subscriptions)))
            while True:
                await self._step()
        finally:
            if self._backfill is not None:
                self._backfill.cancel()

    async def _subscribe(self) -> None:
        nodes, methods = await discover(self._session, self._source.mapping)
        self.table = self.stream.table = Table(self._source.name, nodes, self._source.last)
        self.table.counters = self._counters
        self.stream.methods = tuple(methods)
        await self._resolve()
        if self._settings.events:
            await self._watch_alarms()

    async def _resolve(self) -> None:
        """Looks targets up and watches what is new. Raises SessionEnded when a node must change its lane."""
        self.stream.layout = self._sink.layout_version
        if self.table.resolve(self._sink):
            raise SessionEnded("the models changed: subscribing again")
        self._source.twins = self.table.twins
        wanted = np.flatnonzero(self.table.resolved & ~self.table.watched).tolist()
        lanes: dict[tuple[float, bool], list[int]] = {}
        for i in wanted:
            interval = self.table.nodes[i].target.sampling.publishing_interval_ms
            lanes.setdefault((interval, bool(self.table.is_text[i])), []).append(i)
        for lane, members in lanes.items():
            subscription = self.stream.lanes.get(lane) or await self._open_lane(lane)
            items = [_item(i, self.table.nodes[i], numeric=not lane[1]) for i in members]
            results = await self._watch(subscription, items)
            for i, result in zip(members, results, strict=True):
                self.table.watched[i] = result.StatusCode.is_good()
                if not self.table.watched[i]:
                    self._counters["refused_nodes"] += 1
                    self.table.say_once(f"node {self.table.nodes[i].place} is refused ({result.StatusCode.name})")
                elif result.RevisedQueueSize < min(items[0].sampling.queue_size, 2):
                    self.table.say_once(f"the server keeps only {result.RevisedQueueSize} sample of a node")
        if not self.stream.subscriptions:
            # A session without subscriptions would have nothing that keeps it alive or tells of its loss.
            await self._open_lane((self._settings.sampling.publishing_interval_ms, False))

    async def _watch(self, subscription: Subscription, items: list[Item]) -> list[ua.MonitoredItemCreateResult]:
        """Watches the items; those whose filter the server does not know once more without it."""
        results = await self._session.watch(subscription, items)
        again = [n for n, result in enumerate(results) if result.StatusCode.value in _FILTER_REFUSED]
        if again:
            first = self.table.nodes[items[again[0]].handle]
            name = results[again[0]].StatusCode.name
            self._counters["filters_refused"] += len(again)
            self.table.say_once(f"{len(again)} nodes are read without deadband, the first is {first.place} ({name})")
            bare = [replace(items[n], sampling=_without_filter(items[n].sampling)) for n in again]
            for n, result in zip(again, await self._session.watch(subscription, bare), strict=True):
                results[n] = result
        return results

    async def _open_lane(self, lane: tuple[float, bool]) -> Subscription:
        subscription = await self._session.subscribe(Sampling(publishing_interval_ms=lane[0]))
        self.stream.lanes[lane] = self.stream.subscriptions[subscription.id] = subscription
        self._heard[subscription.id] = self._clock.monotonic_s()
        if lane[1]:
            self.stream.objects.add(subscription.id)
        return subscription

    async def _step(self) -> None:
        now = self._clock.monotonic_s()
        due = min(self._heard[number] + granted.silent_s for number, granted in self.stream.subscriptions.items())
        bodies = await self._session.bodies(max(0.02, due - now))
        received_ns = self._clock.now_ns()
        if bodies and self._source.state == "stale":
            # The server is back: its other subscriptions get a whole period to speak, too.
            self._heard = dict.fromkeys(self._heard, self._clock.monotonic_s())
        publications: list[Publication] = []
        broken: Exception | None = None
        for body in bodies:
            try:
                publications += await self._understand(body)
            except (ConnectionError, TimeoutError) as error:
                broken = error  # what was understood before is delivered before the session is given up
                break
        if self._held is not None:
            await self._hold(publications, received_ns)
        elif publications and (batch := self.table.batch(publications, received_ns)) is not None:
            began = self._clock.monotonic_s()
            await self._deliver(batch)
            # While the pipeline holds us back no request is at the server: its silence then says nothing.
            held_back = self._clock.monotonic_s() - began
            if held_back > 0.01:
                self._heard = {number: heard + held_back for number, heard in self._heard.items()}
        elif bodies and self._source.state != "live" and not self._waits_for_data():
            await self._go_live(received_ns)
        if broken is not None:
            raise broken
        if bodies:
            self._session.rearm()
        await self._watch_silence()
        if self._sink.layout_version != self.stream.layout:
            await self._resolve()

    def _waits_for_data(self) -> bool:
        """A gap ends with a value: after an outage a keep-alive alone does not end it while values are expected."""
        return self._source.outage is not None and bool(self.table.watched.any())

    async def _understand(self, body: bytes) -> list[Publication]:
        """The publications in one response, those republished before it first. Bad bytes are counted, not raised."""
        try:
            publication = decode(body)
            if publication is None or publication.subscription in self.stream.objects:
                objects = publication is not None
                publication = decode_slowly(body, objects=objects)
                self._counters["decoded_by_asyncua"] += 1
                if not objects and publication.subscription in self.stream.objects:
                    publication = decode_slowly(body, objects=True)
        except (struct.error, IndexError, ValueError, ua.UaError) as error:
            self._counters["undecodable"] += 1
            self.table.say_once(f"a response could not be decoded: {error}")
            return []
        number = publication.subscription
        self._counters["publishes"] += 1
        self._heard[number] = self._clock.monotonic_s()
        self._spoke.add(number)
        heard = await self._recover(publication)
        if not publication.keep_alive:
            self._session.acknowledge(number, publication.sequence)
            heard.append(publication)
        for message in heard:
            for other in message.others:
                await self._hear(other)
        return heard

    async def _watch_alarms(self) -> None:
        lane = (self._settings.sampling.publishing_interval_ms, True)
        subscription = self.stream.lanes.get(lane) or await self._open_lane(lane)
        twins: dict[ua.NodeId, TwinId] = {}
        for node in self.table.nodes:
            twins[node.node] = node.target.twin
            if node.owner is not None and "." not in node.target.path:
                twins[node.owner] = node.target.twin
        self.stream.twin_of_node = twins
        try:
            await watch_alarms(self._session, subscription)
        except ua.UaStatusCodeError as error:
            self.table.say_once(f"alarms are not offered ({ua.StatusCode(error.code).name})")

    async def _hear(self, notification: Any) -> None:
        if isinstance(notification, ua.EventNotificationList):
            changes = self._source.alarms.hear(
                notification.Events or (), self.stream.twin_of_node, self._clock.now_ns()
            )
            self._counters["alarms"] += len(changes)
            if isinstance(self._sink, AlarmSink):
                for alarm in changes:
                    await self._sink.alarm(alarm)
            return
        if isinstance(notification, ua.StatusChangeNotification):
            self._counters["status_changes"] += 1
            raise SessionEnded(f"the server ended the subscription ({notification.Status.name})")
        self._counters["unknown_notifications"] += 1

    async def _recover(self, publication: Publication) -> list[Publication]:
        """Messages between the last one and this one, by Republish; what is gone is counted as missed."""
        number, sequence = publication.subscription, publication.sequence
        expected = self.stream.expected.get(number, sequence)
        missing = (sequence - expected) % 0xFFFFFFFF if sequence != expected else 0
        found: list[Publication] = []
        if 0 < missing < 0x7FFFFFFF:
            for step in range(min(missing, _MOST_REPUBLISHED)):
                wanted = (expected - 1 + step) % 0xFFFFFFFF + 1
                message = await self._session.republish(number, wanted)
                if message is not None:
                    again = publication_of(message, objects=number in self.stream.objects)
                    found.append(again)
                    self._session.acknowledge(number, wanted)
            self._counters["republished"] += len(found)
            if len(found) < missing:
                self._counters["missed_messages"] += missing - len(found)
                self.table.say_once(f"{missing - len(found)} messages were lost and could not be had again")
        # Only now: had the connection broken, the next one would have to ask for them.
        self.stream.expected[number] = sequence if publication.keep_alive else sequence % 0xFFFFFFFF + 1
        return found

    async def _deliver(self, batch: ReadingBatch) -> None:
        if self._source.state != "live" or not self.lived:
            await self._go_live(_first_time(batch))
        await self._sink.accept(batch)

    async def _hold(self, publications: Sequence[Publication], received_ns: int) -> None:
        """Keeps live values back while the server's history is asked for what was missed."""
        assert self._held is not None and self._backfill is not None
        self._held += publications
        if sum(len(publication.handles) for publication in self._held) > _MOST_HELD:
            self._backfill.cancel()
        if not self._backfill.done() or not self._held:
            return
        held, task = self._held, self._backfill
        self._held = self._backfill = None
        found = await self._outcome(task)
        if found is not None and len(found.handles):
            await self._fill(found)
        batch = self.table.batch(held, received_ns)
        if batch is None:
            return
        if self._source.outage is not None:
            await self._mark(_first_time(batch), filled=found is not None and found.complete)
        await self._deliver(batch)

    async def _outcome(self, task: asyncio.Task[Backfill]) -> Backfill | None:
        try:
            return await task
        except (TimeoutError, ConnectionError, ua.UaError) as error:
            reason = str(error) or type(error).__name__
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            reason = "too many live values came meanwhile"
        self._counters["backfills_failed"] += 1
        _log.warning("opcua source %s: history could not be read: %s", self._source.name, reason)
        return None

    async def _fill(self, found: Backfill) -> None:
        """Hands history over; live values that it already has are dropped as duplicates afterwards."""
        table = self.table
        publication = Publication(0, 0, found.handles, found.values, found.times_ns, found.status)
        table.deduplicate = False
        filling = table.batch([publication], self._clock.now_ns())
        table.deduplicate = True
        np.maximum.at(table.filled_to, found.handles, found.times_ns)
        self._counters["backfilled"] += len(found.handles)
        if filling is not None:
            await self._sink.accept(filling)

    async def _go_live(self, first_ns: int) -> None:
        # Without a new subscription, whatever the server had is here unless it says otherwise.
        continues = self._resumed or self.lived
        if not self.lived:
            self._counters["connects"] += 1
        self.lived = True
        self._live_since_s = self._clock.monotonic_s()
        await self._source.enter("live", "", self._sink)
        if self._source.outage is not None and self._backfill is None:
            await self._mark(first_ns, filled=continues and self._source.losses == self._source.losses_before)

    async def _mark(self, end_ns: int, *, filled: bool) -> None:
        assert self._source.outage is not None
        start_ns, reason = self._source.outage
        self._source.outage = None
        self._counters["gaps"] += 1
        gap = Gap(self._source.name, start_ns, max(start_ns, end_ns), reason, self.table.twins, filled)
        await self._sink.mark_gap(gap)

    async def _read_history(self) -> Backfill:
        async with asyncio.timeout(self._settings.backfill_s):
            return await read_history(self._session, self.table, self._clock.now_ns())

    async def _watch_silence(self) -> None:
        now = self._clock.monotonic_s()
        if self.table.deduplicate and self.lived and now - self._live_since_s > _DEDUPLICATE_S:
            self.table.deduplicate = False
        granted = self.stream.subscriptions
        silent = max(now - self._heard[number] - granted[number].silent_s for number in granted)
        if silent < 0:
            return
        if silent > self._settings.give_up_s:
            if self._resumed and not self._spoke >= set(self.stream.subscriptions):
                raise SessionEnded("a subscription is gone")
            raise ConnectionError("no keep-alive came")
        self.table.remember(self._source.last)
        await self._source.enter("stale", "no keep-alive came", self._sink)


def _first_time(batch: ReadingBatch) -> int:
    times = [int(batch.source_times_ns.min())] if len(batch.slots) else []
    times += [text.source_time_ns for text in batch.texts]
    return min(times, default=batch.received_ns)


def _without_filter(sampling: Sampling) -> Sampling:
    return replace(sampling, deadband=0.0, deadband_percent=0.0, report="value")


def _item(handle: int, node: MappedNode, *, numeric: bool) -> Item:
    return Item(
        node=node.node,
        handle=handle,
        sampling=node.target.sampling,
        percent_range=np.isfinite(node.high),
        numeric=numeric,
    )
