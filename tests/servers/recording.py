"""A `ReadingSink` that keeps what it gets, and lets tests wait for it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import numpy as np

from twinloom.twin.ids import TwinId
from twinloom.twin.ports import MachineAlarm, SlotRef, Source, SourceStatus
from twinloom.twin.readings import Gap, ReadingBatch, TextReading

TEXT_PATHS = ("controller.operating_mode", "controller.program_name")


class RecordingSink:
    """Gives every (twin, path) that `accepts` likes a slot of its own. `units` are the model's, by path."""

    def __init__(
        self,
        accepts: Callable[[str, str], bool] = lambda twin, path: True,
        *,
        units: Mapping[str, str] | None = None,
        text_paths: Sequence[str] = TEXT_PATHS,
    ) -> None:
        self.layout_version = 1
        self.slots: dict[tuple[str, str], int] = {}
        self.batches: list[ReadingBatch] = []
        self.gaps: list[Gap] = []
        self.alarms: list[MachineAlarm] = []
        self.statuses: list[SourceStatus] = []
        self.twins: Sequence[TwinId] = ()
        self.accepts = accepts
        self.gate = asyncio.Event()
        self.gate.set()
        self.durable_gate = asyncio.Event()
        self.durable_gate.set()
        self.durable_batches = 0
        self._units = units or {}
        self._text_paths = text_paths
        self._changed = asyncio.Event()

    def resolve(self, twin: TwinId, path: str) -> SlotRef | None:
        if not self.accepts(twin, path):
            return None
        if path in self._text_paths:
            return SlotRef(-1, "")
        return SlotRef(self.slots.setdefault((twin, path), len(self.slots)), self._units.get(path, ""))

    async def accept(self, batch: ReadingBatch) -> None:
        await self.gate.wait()
        self.batches.append(batch)
        self._changed.set()

    async def durable(self) -> None:
        """Everything that was accepted counts as durable once `durable_gate` is open (it is at first)."""
        batches = len(self.batches)
        await self.durable_gate.wait()
        self.durable_batches = max(self.durable_batches, batches)

    async def mark_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self._changed.set()

    async def alarm(self, alarm: MachineAlarm) -> None:
        self.alarms.append(alarm)
        self._changed.set()

    async def report(self, status: SourceStatus, twins: Sequence[TwinId]) -> None:
        self.statuses.append(status)
        self.twins = twins
        self._changed.set()

    async def until(self, condition: Callable[[], bool], deadline_s: float = 15.0) -> None:
        """Waits until `condition` holds; fails the test after the deadline, with what was seen."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._changed.clear()
                    with suppress(TimeoutError):  # not all that is waited for comes through the sink
                        async with asyncio.timeout(0.05):
                            await self._changed.wait()
        except TimeoutError:
            seen = [(status.state, status.reason) for status in self.statuses]
            raise AssertionError(f"waited {deadline_s} s in vain; {self.count} values, states {seen}") from None

    async def wait_for_wall_time(self, time_ns: int) -> None:
        """Until the wall clock shows `time_ns`: for what another process does by its own clock."""
        await asyncio.sleep(max(0.0, (time_ns - time.time_ns()) / 1e9))

    @property
    def count(self) -> int:
        return sum(len(batch.slots) for batch in self.batches)

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.statuses]

    @property
    def texts(self) -> list[TextReading]:
        return [text for batch in self.batches for text in batch.texts]

    def series(self, twin: str, path: str) -> list[tuple[int, float, int]]:
        """(source time ns, value, quality) of one value, in the order of arrival."""
        slot = self.slots[twin, path]
        rows: list[tuple[int, float, int]] = []
        for batch in self.batches:
            chosen = batch.slots == slot
            rows += zip(
                batch.source_times_ns[chosen].tolist(),
                batch.values[chosen].tolist(),
                batch.quality[chosen].tolist(),
                strict=True,
            )
        return rows

    def duplicates(self) -> int:
        """How many (slot, source time) pairs came more than once."""
        seen: Counter[tuple[int, int]] = Counter()
        for batch in self.batches:
            seen.update(zip(batch.slots.tolist(), batch.source_times_ns.tolist(), strict=True))
        return sum(number - 1 for number in seen.values())

    def lost(self) -> int:
        return sum(sum(batch.lost.values()) for batch in self.batches)

    def all_values(self) -> np.ndarray:
        return np.concatenate([batch.values for batch in self.batches])


@asynccontextmanager
async def running(source: Source, sink: RecordingSink) -> AsyncIterator[Source]:
    """The source reads into the sink while the block lasts; what it raises fails the test."""
    task = asyncio.create_task(source.run(sink))
    try:
        yield source
    finally:
        if task.done():
            task.result()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
