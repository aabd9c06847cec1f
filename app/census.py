"""What reached the feed, counted value by value, held against what the simulators say they put out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping

import numpy as np

from twinloom.adapters.opcua.ledger import Record
from twinloom.runtime.feed import LogGap, Missed, Subscription
from twinloom.runtime.service import Service
from twinloom.twin.ids import ModelId
from twinloom.twin.signals import ReadingsFolded

CNC_MACHINE = ModelId("dtmi:com:twinloom:cnc:CncMachine;1")
NEVER = np.iinfo(np.int64).max
# Samples that came whole and were refused for what they are: not lost. A duplicate is no sample of its own.
REFUSED = ("out_of_range", "not_a_number", "model_violation", "future")


class Census:
    """Counts each slot's applied readings from the feed itself, so that a loss anywhere before it shows."""

    def __init__(self, service: Service, subscription: Subscription) -> None:
        self._service = service
        self._subscription = subscription
        size = len(service.hot.values)
        self._counts = np.zeros(size, np.int64)
        self._first_ns = np.full(size, NEVER)
        self._skipped = 0
        self._first: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, service: Service) -> AsyncIterator[Census]:
        census = cls(service, service.feed.subscribe(after=None, capacity=1_000_000, overflow="drop_oldest"))
        counting = asyncio.create_task(census._count())
        try:
            yield census
        finally:
            counting.cancel()
            census._subscription.close()

    async def first_value(self) -> float:
        """When the first value came (`time.monotonic`), as soon as it did."""
        return await self._first

    def machines(self, count: int) -> list[str]:
        """`count` machine ids, round and round."""
        hot = self._service.hot
        ids = [str(hot.id_of(row)) for row in hot.rows_of(CNC_MACHINE)]
        return [ids[i % len(ids)] for i in range(count)] if ids else []

    def lost(self, records: Mapping[str, Record]) -> int:
        """Samples put out since each node's first one here, less those that arrived.

        Of a simulator without a ledger nothing can be said: the demo names it as a failure instead.
        """
        hot = self._service.hot
        missing = self._skipped
        for slot in np.nonzero(self._counts)[0]:
            plant, _, node = f"{hot.id_of(int(hot.owner[slot]))}/{hot.field_of(int(slot)).path}".partition("/")
            record = records.get(plant)
            if record is None:
                continue
            missing += max(0, record.between(node, int(self._first_ns[slot]), NEVER) - int(self._counts[slot]))
        refused = sum(self._service.metrics.dropped.get(reason, 0) for reason in REFUSED)
        return max(0, missing - refused)

    async def _count(self) -> None:
        async for item in self._subscription:
            match item:
                case ReadingsFolded():
                    np.add.at(self._counts, item.slots, 1)
                    np.minimum.at(self._first_ns, item.slots, item.source_times_ns)
                    if not self._first.done():
                        self._first.set_result(time.monotonic())
                case Missed() | LogGap():
                    self._skipped += getattr(item, "count", 1)
                case _:
                    pass
