"""Past-tense facts. Each carries the `seq` it was committed with, its time (ns, UTC) and its cause.

`seq` grows strictly from one signal to the next of the same server, also across restarts; it is not dense. The feed
publishes signals in the order of `seq`, and never before the hot graph shows what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from twinloom.twin.assessments import Alert, RulEstimate, WorkOrder
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Relationship
from twinloom.twin.readings import Codes, Floats, Gap, Slots, TextReading, Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    seq: int
    time_ns: int
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingsFolded(Signal):
    """A micro-batch that reached the columns: only what was applied, one row a value, oldest first within a slot."""

    source: str
    slots: Slots
    values: Floats
    source_times_ns: Times
    quality: Codes
    received_ns: int
    texts: tuple[TextReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinCreated(Signal):
    twin: TwinId
    model: ModelId


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinUpdated(Signal):
    """`paths` are the property paths that the write set or removed."""

    twin: TwinId
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinDeleted(Signal):
    twin: TwinId
    model: ModelId


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationshipCreated(Signal):
    relationship: Relationship


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationshipDeleted(Signal):
    relationship: Relationship


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsChanged(Signal):
    uploaded: tuple[ModelId, ...] = ()
    deleted: tuple[ModelId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RulScored(Signal):
    estimates: tuple[RulEstimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRaised(Signal):
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertAcknowledged(Signal):
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCleared(Signal):
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrderOpened(Signal):
    order: WorkOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrderClosed(Signal):
    order: WorkOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class GapMarked(Signal):
    gap: Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStateChanged(Signal):
    """`state` is `connecting`, `live`, `stale` or `lost`; `twins` are the twins that this source feeds."""

    source: str
    state: str
    reason: str
    twins: tuple[TwinId, ...] = ()


AnySignal: TypeAlias = (
    ReadingsFolded
    | TwinCreated
    | TwinUpdated
    | TwinDeleted
    | RelationshipCreated
    | RelationshipDeleted
    | ModelsChanged
    | RulScored
    | AlertRaised
    | AlertAcknowledged
    | AlertCleared
    | WorkOrderOpened
    | WorkOrderClosed
    | GapMarked
    | SourceStateChanged
)
