"""Kafka as a `Source`: records in batches to columns, offsets committed once their values are in the history.

One consumer of a group, so that several servers share the partitions; a twin's records are in one partition when they
are keyed by twin, and keep their order. A record that no rule can read goes to the dead-letter topic with the reason.
When the broker goes away the consumer stays and reads on where it was; nothing is lost unless retention took it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from twinloom.adapters.kafka.client import BROKER_ERRORS, consumer, producer, reason_of
from twinloom.adapters.kafka.mapping import KafkaMapping, read_mapping
from twinloom.adapters.kafka.positions import Positions
from twinloom.adapters.kafka.settings import KafkaSettings
from twinloom.adapters.telemetry.decoder import Decoder, Message
from twinloom.adapters.telemetry.life import Life
from twinloom.adapters.telemetry.scalars import Poison
from twinloom.adapters.telemetry.tally import Tally
from twinloom.adapters.telemetry.targets import Targets
from twinloom.adapters.telemetry.templates import captures
from twinloom.twin.errors import SourceUnavailable
from twinloom.twin.ports import Clock, ReadingSink, SourceStatus, SystemClock

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.25
_POLL_MS = 100
_SETTLE_S = 5.0
_MILLISECOND = 1_000_000


class KafkaSource:
    """Reads the topics of `mapping` from the cluster of `settings`. Only BadFile and BadSetting end `run`."""

    def __init__(self, settings: KafkaSettings, mapping: KafkaMapping, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.rules = mapping.rules
        self.clock = clock or SystemClock()
        self.tally = Tally(settings.name, _log)
        self.targets = Targets(self.tally)
        self.decoder = Decoder(mapping.rules, settings.variables, self.targets, self.tally)
        self.life = Life(self.tally, self.clock, lambda: self.targets.twins, _log)

    @property
    def name(self) -> str:
        return self.settings.name

    def status(self) -> SourceStatus:
        return self.life.status()

    async def run(self, sink: ReadingSink) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            lived = False
            try:
                async with consumer(self.settings, group=self.settings.group) as client, AsyncExitStack() as stack:
                    stream = _Stream(self, client, sink, stack)
                    try:
                        await stream.run()
                    finally:
                        lived = stream.lived
            except (SourceUnavailable, *BROKER_ERRORS) as error:
                self.tally.add("disconnects" if lived else "failed_connects")
                await self.life.enter("lost", reason_of(error), sink)
            pause = _FIRST_PAUSE_S if lived else min(2 * pause, self.settings.retry_max_s)
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))


class _Stream:
    """What one consumer delivers. `lived`: the broker gave it partitions."""

    def __init__(self, source: KafkaSource, client: Any, sink: ReadingSink, stack: AsyncExitStack) -> None:
        self._source = source
        self._settings = source.settings
        self._tally = source.tally
        self._client = client
        self._sink = sink
        self._stack = stack
        self._producer: Any = None
        self._positions = Positions(
            client,
            sink,
            source.tally,
            interval_s=self._settings.commit_interval_s,
            limit=self._settings.undurable_values,
        )
        self._needs_headers = any(rule.format == "cloudevents" for rule in source.rules)
        self._heard_s = source.clock.monotonic_s()
        self._failed_probes = 0
        self._paused: frozenset[TopicPartition] = frozenset()
        self.lived = False

    async def run(self) -> None:
        self._subscribe()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._positions.run())
                group.create_task(self._watch())
                while True:
                    await self._step()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _subscribe(self) -> None:
        listener = _Rebalance(self._positions)
        topics = [rule.topic for rule in self._source.rules]
        if any(captures(topic) for topic in topics):
            patterns = (re.sub(r"\(\?P<\w+>", "(?:", rule.topic_pattern.pattern) for rule in self._source.rules)
            # aiokafka matches from the start only; internal topics are never telemetry.
            self._client.subscribe(pattern=f"^(?!__)(?:{'|'.join(patterns)})$", listener=listener)
        else:
            self._client.subscribe(topics=topics, listener=listener)

    async def _step(self) -> None:
        self._hold_back()
        try:
            records = await self._client.getmany(timeout_ms=_POLL_MS, max_records=self._settings.poll_records)
        except NoOffsetForPartitionError as error:
            partition = error.args[0]
            start = self._settings.start == "earliest"
            await (self._client.seek_to_beginning if start else self._client.seek_to_end)(partition)
            return
        except OffsetOutOfRangeError as error:
            await self._skip_what_is_gone(error.args[0])
            return
        if records:
            self._heard()
            await self._take(records)

    def _heard(self) -> None:
        self._heard_s = self._source.clock.monotonic_s()
        self._failed_probes = 0
        self.lived = True

    def _hold_back(self) -> None:
        """Pauses while too much waits for the history: records stay in Kafka, which can keep them."""
        if self._positions.full:
            self._paused = frozenset(self._client.assignment())
            self._client.pause(*self._paused)
        elif self._paused:
            self._client.resume(*(self._paused & self._client.assignment()))
            self._paused = frozenset()

    async def _skip_what_is_gone(self, gone: dict[TopicPartition, int]) -> None:
        first = await self._client.beginning_offsets(list(gone))
        missing = sum(max(0, first[partition] - offset) for partition, offset in gone.items())
        self._tally.reject("gone_by_retention", "", f"{missing} records were deleted before they were read", missing)
        self._source.life.complete = False
        await self._client.seek_to_beginning(*gone)

    async def _take(self, records: dict[TopicPartition, Sequence[Any]]) -> None:
        source = self._source
        decoder = source.decoder
        decoder.follow(self._sink)
        received_ns = source.clock.now_ns()
        offsets: dict[TopicPartition, int] = {}
        poisoned: list[tuple[Any, Poison]] = []
        for partition, found in records.items():
            for record in found:
                try:
                    self._read(record)
                except Poison as poison:
                    poisoned.append((record, poison))
            offsets[partition] = found[-1].offset + 1
            self._tally.add("records", len(found))
        if poisoned:
            await self._bury(poisoned)
        values = decoder.waiting
        batch = decoder.batch(received_ns)
        if batch is not None:
            await source.life.deliver(batch, self._sink)
        self._positions.take(offsets, values)

    def _read(self, record: Any) -> None:
        payload = record.value
        if payload is None:
            self._tally.add("tombstones")
            return
        if len(payload) > self._settings.message_bytes:
            raise Poison("too_large", f"{len(payload)} bytes; at most {self._settings.message_bytes} are taken")
        headers = {}
        if self._needs_headers:
            headers = {name: value.decode("utf-8", "replace") for name, value in record.headers if value is not None}
        key = record.key.decode("utf-8", "replace") if record.key else ""
        self._source.decoder.take(Message(record.topic, payload, record.timestamp * _MILLISECOND, key, headers))

    async def _bury(self, poisoned: Sequence[tuple[Any, Poison]]) -> None:
        """Counts poison, and sends it to the dead-letter topic before its offset can be committed."""
        for record, poison in poisoned:
            place = f"{record.topic} partition {record.partition} offset {record.offset}"
            self._tally.add("poison")
            self._tally.reject(poison.reason, record.topic, f"{place}: {poison.detail}")
        topic = self._settings.dead_letter
        if not topic:
            return
        if self._producer is None:
            self._producer = await self._stack.enter_async_context(producer(self._settings))
        async with asyncio.timeout(4 * self._settings.timeout_s):
            await asyncio.gather(*(self._bury_one(topic, record, poison) for record, poison in poisoned))

    async def _bury_one(self, topic: str, record: Any, poison: Poison) -> None:
        headers = [
            *record.headers,
            ("twinloom-reason", poison.reason.encode()),
            ("twinloom-detail", poison.detail[:500].encode("utf-8", "replace")),
            ("twinloom-topic", record.topic.encode()),
            ("twinloom-partition", str(record.partition).encode()),
            ("twinloom-offset", str(record.offset).encode()),
        ]
        payload = record.value if len(record.value) <= self._settings.message_bytes else None
        try:
            await self._producer.send_and_wait(topic, payload, key=record.key, headers=headers)
        except KafkaError as error:
            if error.retriable:
                raise
            self._tally.reject("dead_letter_refused", topic, f"{topic} takes no dead letters: {reason_of(error)}")
        else:
            self._tally.add("dead_letters")

    async def _watch(self) -> None:
        """Asks the cluster whether it is there while no record says so; aiokafka itself would wait in silence."""
        settings = self._settings
        while True:
            await asyncio.sleep(settings.probe_s)
            if self._source.clock.monotonic_s() - self._heard_s < settings.probe_s:
                continue
            partitions = list(self._client.assignment())
            if not partitions:
                continue
            try:
                async with asyncio.timeout(settings.timeout_s):
                    await self._client.end_offsets(partitions)
            except BROKER_ERRORS as error:
                self._failed_probes += 1
                self._tally.add("failed_probes")
                state = "stale" if self._failed_probes == 1 else "lost"
                reason = str(error) and reason_of(error)
                await self._source.life.enter(
                    "stale" if state == "stale" else "lost", reason or "the cluster does not answer", self._sink
                )
            else:
                self._heard()
                await self._source.life.enter("live", "", self._sink)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, positions: Positions) -> None:
        self._positions = positions

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._positions.settle(revoked, _SETTLE_S)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing to do: a partition begins at its committed offset, or where `start` says."""


def sources_of(file: Path) -> list[KafkaSource]:
    """One source a broker of the mapping file: the entry point `kafka` of `twinloom.sources`. Raises BadFile."""
    mapping = read_mapping(file)
    return [KafkaSource(broker, mapping) for broker in mapping.brokers]
