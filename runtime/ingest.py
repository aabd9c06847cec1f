"""The bounded queue between the sources and the fold, in the order of arrival.

It is bounded by values, so a source that is ahead waits (back-pressure) and memory stays bounded. Batches of one source
that lie side by side are joined to one micro-batch: what came within `linger_s` is folded and published at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from twinloom.twin.ids import TwinId
from twinloom.twin.ports import MachineAlarm, SourceStatus
from twinloom.twin.readings import Gap, ReadingBatch

LINGER_S = 0.005
MAX_JOINED = 65_536  # values in one micro-batch: the loop serves everyone else in between


@dataclass(frozen=True, slots=True)
class SourceReport:
    """A source's word about itself and the twins it feeds."""

    status: SourceStatus
    twins: tuple[TwinId, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the queue: `passed` is set once everything that was put before it is processed."""

    passed: asyncio.Event


Item: TypeAlias = ReadingBatch | Gap | SourceReport | MachineAlarm | Mark


class Ingest(AsyncIterator[Item]):
    """`capacity` values may wait; `put` waits above it. One batch larger than that is taken when the queue is empty."""

    def __init__(self, capacity: int, *, linger_s: float = LINGER_S) -> None:
        self._capacity = capacity
        self._linger_s = linger_s
        self._items: deque[Item] = deque()
        self._values = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ready: deque[Item] = deque()

    @property
    def waiting(self) -> int:
        """Values that wait."""
        return self._values

    async def put(self, item: Item) -> None:
        size = _size(item)
        while self._values and self._values + size > self._capacity:
            self._taken.clear()
            await self._taken.wait()
        self._items.append(item)
        self._values += size
        self._idle.clear()
        self._arrived.set()

    async def passed(self) -> None:
        """Returns once everything that was put before this call is processed, however much comes after it."""
        mark = Mark(asyncio.Event())
        await self.put(mark)
        await mark.passed.wait()

    async def drained(self) -> None:
        """Returns once everything that was put is processed."""
        await self._idle.wait()

    def __aiter__(self) -> Ingest:
        return self

    async def __anext__(self) -> Item:
        if not self._ready:
            if not self._items:
                self._idle.set()
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(self._linger_s)
            else:
                await asyncio.sleep(0)  # whoever else uses the loop gets its turn between micro-batches
            self._take()
        return self._ready.popleft()

    def _take(self) -> None:
        run: list[ReadingBatch] = []
        while self._items:
            item = self._items.popleft()
            self._values -= _size(item)
            if isinstance(item, ReadingBatch):
                run.append(item)
            else:
                self._ready.extend(joined(run))
                run = []
                self._ready.append(item)
        self._ready.extend(joined(run))
        self._taken.set()


def joined(batches: Sequence[ReadingBatch]) -> list[ReadingBatch]:
    """Batches of one source joined, each source in its own order, at most MAX_JOINED values each."""
    by_source: dict[str, list[ReadingBatch]] = {}
    for batch in batches:
        by_source.setdefault(batch.source, []).append(batch)
    out: list[ReadingBatch] = []
    for group in by_source.values():
        start, size = 0, 0
        for end, batch in enumerate(group):
            if end > start and size + len(batch) > MAX_JOINED:
                out.append(_join(group[start:end]))
                start, size = end, 0
            size += len(batch)
        out.append(_join(group[start:]))
    return out


def _join(batches: Sequence[ReadingBatch]) -> ReadingBatch:
    if len(batches) == 1:
        return batches[0]
    lost: dict[str, int] = {}
    for batch in batches:
        for reason, count in batch.lost.items():
            lost[reason] = lost.get(reason, 0) + count
    return ReadingBatch(
        source=batches[0].source,
        slots=np.concatenate([b.slots for b in batches]),
        values=np.concatenate([b.values for b in batches]),
        source_times_ns=np.concatenate([b.source_times_ns for b in batches]),
        quality=np.concatenate([b.quality for b in batches]),
        received_ns=batches[-1].received_ns,
        texts=tuple(t for b in batches for t in b.texts),
        lost=lost,
    )


def _size(item: Item) -> int:
    return len(item) if isinstance(item, ReadingBatch) else 1
