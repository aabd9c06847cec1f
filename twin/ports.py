"""What the edges must be able to do for the core, and what the core offers them. Nothing here does I/O.

`Source` is implemented by each adapter that reads, `Actuator` by each that writes to machines, `WorkOrders` by a
maintenance system. The core gives a source its `ReadingSink`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from twinloom.twin.assessments import Severity, WorkOrder
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json
from twinloom.twin.readings import Gap, ReadingBatch

SourceState = Literal["connecting", "live", "stale", "lost"]


class Clock(Protocol):
    """Time is passed in, so that tests own it."""

    def now_ns(self) -> int:
        """Wall time, ns since 1970 UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never step back."""
        ...


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class SlotRef:
    """Where a (twin, path) lands. `slot` < 0: no number, hand it over as a TextReading. `unit`: the model's, or ''."""

    slot: int
    unit: str
    minimum: float = float("-inf")
    maximum: float = float("inf")


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """What a source says of itself: `counters` are totals since start (received, reconnects, queue_overflow, ...)."""

    name: str
    state: SourceState
    since_ns: int
    reason: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)


class ReadingSink(Protocol):
    """The core, as a source sees it."""

    @property
    def layout_version(self) -> int:
        """Grows when twins or models came or went: a source that sees a new number resolves its nodes again."""
        ...

    def resolve(self, twin: TwinId, path: str) -> SlotRef | None:
        """The slot of a value, or None when no such twin or path exists."""
        ...

    async def accept(self, batch: ReadingBatch) -> None:
        """Takes a batch; waits while the pipeline is full (the queue is bounded)."""
        ...

    async def durable(self) -> None:
        """Returns once everything that was accepted before the call is in the history on disk.

        A source that can redeliver acknowledges after this, never before. It waits as long as the history is away.
        """
        ...

    async def mark_gap(self, gap: Gap) -> None: ...

    async def report(self, status: SourceStatus, twins: Sequence[TwinId]) -> None:
        """Tells the core that the source's state changed; values of `twins` are stale unless it is live."""
        ...


@dataclass(frozen=True, slots=True)
class MachineAlarm:
    """What a machine says of an alarm of its own (OPC UA Alarms & Conditions). `key` names the condition for good.

    `twin` is '' when the alarm's source is no twin. `active` goes up and down with the condition; `acknowledged` is the
    machine's own acknowledgement.
    """

    source: str
    key: str
    twin: TwinId
    name: str
    message: str
    severity: Severity
    active: bool
    acknowledged: bool
    time_ns: int


@runtime_checkable
class AlarmSink(Protocol):
    """A `ReadingSink` that also takes the machines' own alarms; a source with alarms asks whether its sink is one."""

    async def alarm(self, alarm: MachineAlarm) -> None: ...


class Source(Protocol):
    @property
    def name(self) -> str: ...

    async def run(self, sink: ReadingSink) -> None:
        """Reads until cancelled. Reconnects by itself; raises only what no retry can mend (BadFile, BadSetting)."""
        ...

    def status(self) -> SourceStatus: ...


@dataclass(frozen=True, slots=True)
class Echo:
    """The machine's own word that an order arrived: the value (or method result) it showed, when, with what status."""

    value: Json
    source_time_ns: int
    status: int


class Actuator(Protocol):
    def reaches(self, twin: TwinId, path: str) -> bool:
        """True when this actuator is the way to that property or command."""
        ...

    async def write(self, twin: TwinId, path: str, value: Json, *, timeout_s: float) -> Echo:
        """Writes and waits for the echo. Raises CommandFailed with the status, or when the echo did not come."""
        ...

    async def invoke(self, twin: TwinId, command: str, payload: Json, *, timeout_s: float) -> Echo: ...


class WorkOrders(Protocol):
    """A maintenance system. `open` must be idempotent by `order.id`."""

    async def open(self, order: WorkOrder) -> str:
        """The maintenance system's own number for the order, once it is durable there."""
        ...

    async def close(self, order: WorkOrder) -> None: ...
