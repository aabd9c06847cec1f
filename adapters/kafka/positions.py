"""Offsets from `taken` over `durable` to `committed`: nothing is committed that a crash could still lose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from twinloom.adapters.kafka.client import BROKER_ERRORS, reason_of
from twinloom.adapters.telemetry.tally import Tally
from twinloom.twin.ports import ReadingSink

_log = logging.getLogger(__name__)


class Positions:
    """The next offset of each partition whose records were accepted, and how many values are not durable yet."""

    def __init__(self, consumer: Any, sink: ReadingSink, tally: Tally, *, interval_s: float, limit: int) -> None:
        self._consumer = consumer
        self._sink = sink
        self._tally = tally
        self._interval_s = interval_s
        self._limit = limit
        self._taken: dict[TopicPartition, int] = {}
        self._values = 0
        self._committing = asyncio.Lock()

    @property
    def full(self) -> bool:
        """True while more values wait for the history than may."""
        return self._values > self._limit

    def take(self, offsets: Mapping[TopicPartition, int], values: int) -> None:
        """These were accepted: `offsets` are the next ones to read."""
        self._taken.update(offsets)
        self._values += values

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """These belong to another member now."""
        for partition in partitions:
            self._taken.pop(partition, None)

    async def run(self) -> None:
        """Commits until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.commit()

    async def commit(self) -> None:
        """Waits until what was taken is durable, then commits it. A commit that fails is made up for by the next."""
        async with self._committing:
            if not self._taken:
                return
            taken, values = dict(self._taken), self._values
            await self._sink.durable()
            self._values -= values
            mine = self._consumer.assignment()
            offsets = {partition: offset for partition, offset in taken.items() if partition in mine}
            try:
                if offsets:
                    await self._consumer.commit(offsets)
            except BROKER_ERRORS as error:
                # At least once: the records come again, and the fold drops what it has.
                self._tally.reject("failed_commits", "", f"offsets were not committed: {reason_of(error)}")
                if isinstance(error, KafkaError) and not error.retriable:
                    self.drop(taken)
                return
            self._tally.add("commits")
            for partition, offset in taken.items():
                if self._taken.get(partition) == offset:
                    del self._taken[partition]

    async def settle(self, partitions: Iterable[TopicPartition], timeout_s: float) -> None:
        """A last commit before `partitions` go to another member."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.commit()
        except TimeoutError:
            _log.warning("source %s: partitions were given up before their values were durable", self._tally.source)
        self.drop(partitions)
