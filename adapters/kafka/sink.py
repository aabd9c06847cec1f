"""A follower of the feed that produces every signal to a topic: CloudEvents, keyed by twin, at least once.

How far it came is kept in Kafka itself, as the offset that its group commits, and written only after all replicas have
the events. After a crash or an outage it goes on `after` that seq; what is sent again has the same event ids. Where the
feed no longer reaches back, durable changes (twins, alerts, work orders) come from the graph's change log, and a gap
event says which seqs were not produced one by one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from twinloom.adapters.kafka.client import BROKER_ERRORS, consumer, producer, reason_of
from twinloom.adapters.kafka.events import Event, Names, change, events_of, feed_gap
from twinloom.adapters.kafka.settings import KafkaSettings
from twinloom.adapters.telemetry.tally import Tally
from twinloom.twin.errors import BadRequest, SourceUnavailable
from twinloom.twin.ports import Clock, SystemClock
from twinloom.twin.signals import AnySignal, Signal

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.25
_SIGNALS = 500
_KEEP_PROGRESS_S = 1.0
_RECORDS = ("put_record", "drop_record")
_TOLD = ("alert", "work_order", "command", "estimate")
_HEADERS = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


class Subscription(Protocol):
    """One reader of the feed: signals, and items with `from_seq` and `to_seq` for what it missed."""

    async def __anext__(self) -> object: ...

    def poll(self) -> object | None: ...

    def close(self) -> None: ...


class Feed(Protocol):
    """The feed, as a follower sees it (`twinloom.runtime.feed.Feed`)."""

    def subscribe(
        self,
        *,
        after: int | None = None,
        capacity: int = 1024,
        overflow: Literal["conflate", "drop_oldest", "close"] = "conflate",
    ) -> Subscription: ...


class Change(Protocol):
    """One entry of the graph's change log."""

    @property
    def seq(self) -> int: ...
    @property
    def time_ns(self) -> int: ...
    @property
    def cause(self) -> str: ...
    @property
    def changes(self) -> Sequence[Mapping[str, object]]: ...


Backlog = Callable[[int, int], AsyncIterator[Change]]
"""(from_seq, to_seq), both inclusive -> the change log's entries between them, in order."""


class KafkaFollower:
    """Produces to `settings.events`. `names` tells what a slot is; `server` is the `source` of the events."""

    def __init__(
        self,
        settings: KafkaSettings,
        feed: Feed,
        names: Names,
        *,
        server: str = "/twinloom",
        backlog: Backlog | None = None,
        capacity: int = 65_536,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._feed = feed
        self._names = names
        self._server = server
        self._backlog = backlog
        self._capacity = capacity
        self._clock = clock or SystemClock()
        self._tally = Tally(f"{settings.name} events", _log)
        self._place = TopicPartition(settings.events, 0)
        self._sent: list[asyncio.Future[Any]] = []
        self.after: int | None = None

    @property
    def counters(self) -> Mapping[str, int]:
        return dict(self._tally.counters)

    async def run(self) -> None:
        """Produces until cancelled or until the feed ends."""
        pause = _FIRST_PAUSE_S
        while True:
            lived = False
            try:
                async with (
                    producer(self._settings) as sender,
                    consumer(self._settings, group=f"{self._settings.group}-events") as keeper,
                ):
                    keeper.assign([self._place])
                    if self.after is None:
                        self.after = await keeper.committed(self._place)
                    lived = True
                    await self._follow(sender, keeper)
                    return
            except (SourceUnavailable, *BROKER_ERRORS) as error:
                self._tally.add("disconnects" if lived else "failed_connects")
                _log.warning("events to %s wait: %s", self._settings.bootstrap, reason_of(error))
            pause = _FIRST_PAUSE_S if lived else min(2 * pause, self._settings.retry_max_s)
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))

    async def _follow(self, sender: Any, keeper: Any) -> None:
        subscription = self._subscribe()
        self._sent = []
        kept_s, kept = self._clock.monotonic_s(), self.after
        try:
            while True:
                try:
                    # Progress that is not kept yet must not wait for the next signal.
                    async with asyncio.timeout(_KEEP_PROGRESS_S if kept != self.after else None):
                        items = [await subscription.__anext__()]
                except TimeoutError:
                    items = []
                except StopAsyncIteration:
                    await self._keep(keeper)
                    return
                while items and len(items) < _SIGNALS and (more := subscription.poll()) is not None:
                    items.append(more)
                for item in items:
                    await self._produce(sender, item)
                await self._acknowledged(sender)
                self.after = max([self.after or 0, *(_last_seq(item) for item in items)])
                if not items or self._clock.monotonic_s() - kept_s > _KEEP_PROGRESS_S:
                    await self._keep(keeper)
                    kept_s, kept = self._clock.monotonic_s(), self.after
        finally:
            subscription.close()

    def _subscribe(self) -> Subscription:
        try:
            return self._feed.subscribe(after=self.after, capacity=self._capacity, overflow="conflate")
        except BadRequest:
            # Another graph than the one whose seq was kept: its numbers say nothing here.
            self._tally.reject("unknown_seq", "", f"seq {self.after} lies ahead of this server; going on from now")
            self.after = None
            return self._feed.subscribe(capacity=self._capacity, overflow="conflate")

    async def _produce(self, sender: Any, item: object) -> None:
        if isinstance(item, Signal):
            for event in events_of(cast(AnySignal, item), self._names, self._server):
                await self._send(sender, event)
            return
        from_seq, to_seq = cast(Any, item).from_seq, cast(Any, item).to_seq
        self._tally.add("feed_gaps")
        if self._backlog is not None:
            seq = number = 0
            async for entry in self._backlog(from_seq, to_seq):
                # A large commit has several entries of one seq.
                number = number if entry.seq == seq else 0
                seq = entry.seq
                for document in entry.changes:
                    number += 1
                    if document.get("op") not in _RECORDS or document.get("kind") in _TOLD:
                        args = (seq, number, entry.time_ns, entry.cause, document)
                        await self._send(sender, change(self._server, *args))
        await self._send(sender, feed_gap(self._server, from_seq, to_seq, self._clock.now_ns()))

    async def _send(self, sender: Any, event: Event) -> None:
        key = event.key.encode() or None
        try:
            async with asyncio.timeout(4 * self._settings.timeout_s):
                sent = await sender.send(self._settings.events, event.body, key=key, headers=_HEADERS)
        except KafkaError as error:
            if error.retriable:
                raise
            self._tally.reject("refused_events", event.type, f"an event {event.id} is refused: {reason_of(error)}")
            return
        self._sent.append(sent)

    async def _acknowledged(self, sender: Any) -> None:
        sent, self._sent = self._sent, []
        if not sent:
            return
        async with asyncio.timeout(4 * self._settings.timeout_s):
            for result in await asyncio.gather(*sent, return_exceptions=True):
                if isinstance(result, KafkaError) and not result.retriable:
                    self._tally.reject("refused_events", "", f"an event is refused: {reason_of(result)}")
                elif isinstance(result, BaseException):
                    raise result
                else:
                    self._tally.add("events")

    async def _keep(self, keeper: Any) -> None:
        if self.after is not None:
            async with asyncio.timeout(self._settings.timeout_s):
                await keeper.commit({self._place: OffsetAndMetadata(self.after, "seq")})


def _last_seq(item: object) -> int:
    return item.seq if isinstance(item, Signal) else int(cast(Any, item).to_seq)
