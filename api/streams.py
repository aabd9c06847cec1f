"""From signals to events: which signals concern a subscription, and what it is told of them.

One stream serves all members of a group. Which twins a filter means is worked out when the graph changes, not for
every batch; a batch of readings is then cut with one numpy mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from twinloom.api.backlog import Backlog, Event, merged
from twinloom.api.context import Context
from twinloom.api.schema.assessments import Alert, RulEstimate, WorkOrder
from twinloom.api.schema.changes import AlertChange, RulChange, TwinChange, TwinChanges, WorkOrderChange
from twinloom.api.schema.filters import TwinChangeFilter
from twinloom.api.schema.predicates import known_model, predicate
from twinloom.api.schema.queries import alert_matcher
from twinloom.api.schema.scalars import DateTime, Long, TwinChangeKind
from twinloom.api.schema.twins import PropertyValue, values_of
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import PropertyValue as Reading
from twinloom.twin.signals import (
    AlertAcknowledged,
    AlertCleared,
    AlertRaised,
    AnySignal,
    ModelsChanged,
    ReadingsFolded,
    RelationshipCreated,
    RelationshipDeleted,
    RulScored,
    SourceStateChanged,
    TwinCreated,
    TwinDeleted,
    TwinUpdated,
    WorkOrderClosed,
    WorkOrderOpened,
)

STRUCTURAL = (TwinCreated, TwinDeleted, RelationshipCreated, RelationshipDeleted, ModelsChanged)
ALERTS = {AlertRaised: "RAISED", AlertAcknowledged: "ACKNOWLEDGED", AlertCleared: "CLEARED"}


class Chosen:
    """The twins and values that a TwinChangeFilter means, kept up to date with the graph."""

    def __init__(self, context: Context, filter: TwinChangeFilter | None) -> None:
        self._context = context
        self._filter = filter
        self._paths: frozenset[str] | None = None
        self.where: Callable[[int], bool] | None = None
        if filter is not None:
            if filter.paths is not None:
                for path in filter.paths:
                    if not context.known_path(path):
                        raise context.unknown_path(path)
                self._paths = frozenset(filter.paths)
            self.where = predicate(context, filter.where)
        self._ids: frozenset[TwinId] | None = None
        self._slots: npt.NDArray[np.bool_] | None = None
        self.refresh(strict=True)

    def refresh(self, *, strict: bool = False) -> None:
        """Works out the twins anew. With `strict`, raises for a model or subtree that does not exist."""
        filter, context = self._filter, self._context
        hot = context.hot
        self._slots = None
        if filter is None:
            return
        if filter.where is not None:
            self.where = predicate(context, filter.where)
        found: set[TwinId] | None = None
        if filter.ids is not None:
            found = {context.twin_id(identity) for identity in filter.ids}
        if filter.model is not None:
            if strict or filter.model in hot.models:
                rows: Iterable[int] = hot.rows_of(known_model(context, filter.model))
            else:
                rows = ()
            found = _both(found, {hot.id_of(row) for row in rows})
        if filter.subtree_of is not None:
            root = context.row(filter.subtree_of)
            if root is None and strict:
                context.row_of(filter.subtree_of)
            below = () if root is None else hot.subtree(root, "contains")
            found = _both(found, {hot.id_of(int(row)) for row in below})
        self._ids = None if found is None else frozenset(found)

    def has(self, twin: TwinId) -> bool:
        return self._ids is None or twin in self._ids

    def wants(self, path: str) -> bool:
        return self._paths is None or path in self._paths

    def passes(self, twin: TwinId) -> bool:
        """Whether the twin, as it is now, fits `where`."""
        if self.where is None:
            return True
        row = self._context.hot.row(twin)
        return row is not None and self.where(row)

    def cut(self, slots: npt.NDArray[np.int32]) -> npt.NDArray[np.intp] | None:
        """Positions in a batch that concern this filter; None for all of them."""
        if self._ids is None and self._paths is None:
            return None
        mask = self._slots
        if mask is None or (len(slots) and int(slots.max()) >= len(mask)):
            mask = self._slots = self._mask()
        return np.nonzero(mask[slots])[0]

    def _mask(self) -> npt.NDArray[np.bool_]:
        hot = self._context.hot
        mask = np.zeros(len(hot.values), np.bool_)
        rows = hot.rows() if self._ids is None else (hot.row(id) for id in self._ids)
        for row in rows:
            if row is None:
                continue
            layout = hot.layout_of(row)
            base = hot.base(row)
            if self._paths is None:
                mask[base : base + layout.width] = True
            else:
                for path in self._paths:
                    offset = layout.slot_of.get(path)
                    if offset is not None:
                        mask[base + offset] = True
        return mask


def _both(found: set[TwinId] | None, more: set[TwinId]) -> set[TwinId]:
    return more if found is None else found & more


class TwinStream:
    """`twinChanged` and `twinsChanged`."""

    def __init__(self, context: Context, arguments: Mapping[str, Any], *, together: bool) -> None:
        self._context = context
        self._chosen = Chosen(context, arguments.get("filter"))
        self._together = together
        self._deadband = arguments.get("deadband") or 0.0
        self._interval_ns = int(arguments.get("min_interval_ms") or 0) * 1_000_000
        if self._deadband < 0 or self._interval_ns < 0:
            raise BadRequest("deadband and minIntervalMs must not be negative", remedy="leave them out")
        self._sent: dict[int, float] = {}
        self._next_ns: dict[object, int] = {}
        self._held = Backlog(counts=False)

    def events(self, signal: AnySignal) -> list[Event]:
        """What the members are told of a signal."""
        if isinstance(signal, STRUCTURAL) and not isinstance(signal, TwinDeleted | RelationshipDeleted):
            self._chosen.refresh()
        changes = self._changes(signal)
        if isinstance(signal, TwinDeleted | RelationshipDeleted):
            self._chosen.refresh()
        if self._chosen.where is not None:
            passes = self._chosen.passes
            changes = [
                one for one in changes if one.kind is TwinChangeKind.DELETED or passes(one.twin_id or TwinId(""))
            ]
        if not changes:
            return []
        if self._together:
            return self._paced(
                [TwinChanges(seq=Long(signal.seq), time=DateTime(signal.time_ns), changes=changes)], signal
            )
        return self._paced(list(changes), signal)

    def due_ns(self) -> int | None:
        """When the next held event may go, by the time of signals; None when none is held."""
        return min(self._next_ns.values(), default=None) if len(self._held) else None

    def release(self, now_ns: int) -> list[Event]:
        """Held events whose interval is over."""
        if not len(self._held):
            return []
        ready: list[Event] = []
        again: list[Event] = []
        for event in self._held.take(1 << 30):
            if isinstance(event, tuple):
                continue
            (ready if self._next_ns.get(_subject(event), 0) <= now_ns else again).append(event)
        for event in again:
            self._held.add(event)
        for event in ready:
            self._next_ns[_subject(event)] = now_ns + self._interval_ns
        return ready

    def _paced(self, events: list[Event], signal: AnySignal) -> list[Event]:
        if not self._interval_ns:
            return events
        now = signal.time_ns
        for event in events:
            self._held.add(event)
        if len(self._next_ns) > 100_000:
            self._next_ns = {subject: due for subject, due in self._next_ns.items() if due > now}
        return self.release(now)

    def _changes(self, signal: AnySignal) -> list[TwinChange]:
        chosen = self._chosen
        match signal:
            case ReadingsFolded():
                return self._readings(signal)
            case TwinCreated():
                return [self._change(signal, signal.twin, TwinChangeKind.CREATED)] if chosen.has(signal.twin) else []
            case TwinUpdated():
                paths = [path for path in signal.paths if chosen.wants(path)]
                if not paths or not chosen.has(signal.twin):
                    return []
                change = self._change(signal, signal.twin, TwinChangeKind.UPDATED)
                row = self._context.hot.row(signal.twin)
                if row is not None:
                    known = [path for path in paths if self._context.known_path(path)]
                    change.values = values_of(self._context, row, known)
                return [change]
            case TwinDeleted():
                return [self._change(signal, signal.twin, TwinChangeKind.DELETED)] if chosen.has(signal.twin) else []
            case RelationshipCreated() | RelationshipDeleted():
                ends = dict.fromkeys((signal.relationship.source, signal.relationship.target))
                return [self._change(signal, twin, TwinChangeKind.RELATED) for twin in ends if chosen.has(twin)]
            case SourceStateChanged():
                return [self._change(signal, twin, TwinChangeKind.STATE) for twin in signal.twins if chosen.has(twin)]
            case _:
                return []

    def _change(self, signal: AnySignal, twin: TwinId, kind: TwinChangeKind) -> TwinChange:
        return TwinChange(seq=Long(signal.seq), time=DateTime(signal.time_ns), kind=kind, twin_id=twin)

    def _readings(self, signal: ReadingsFolded) -> list[TwinChange]:
        hot, chosen = self._context.hot, self._chosen
        at = chosen.cut(signal.slots)
        slots, values, times, quality = signal.slots, signal.values, signal.source_times_ns, signal.quality
        if at is not None:
            slots, values, times, quality = slots[at], values[at], times[at], quality[at]
        changed: dict[int, list[PropertyValue]] = {}
        if len(slots):
            rows = hot.owner[slots].tolist()
            stale: dict[int, bool] = {}
            columns = (rows, slots.tolist(), values.tolist(), times.tolist(), quality.tolist())
            seq, received, deadband = signal.seq, signal.received_ns, self._deadband
            for row, slot, value, time_ns, code in zip(*columns, strict=True):
                if row < 0 or (deadband and not self._moved(slot, value, deadband)):
                    continue
                layout = hot.layout_of(row)
                offset = slot - hot.base(row)
                field = layout.fields[offset]
                if row not in stale:
                    stale[row] = self._context.stale_since(hot.id_of(row)) is not None
                shown: Any = None if value != value else int(value) if layout.integral[offset] else value
                changed.setdefault(row, []).append(
                    PropertyValue(
                        path=field.path,
                        unit=field.unit,
                        reading=Reading(shown, time_ns, received, code, seq),
                        is_stale=stale[row],
                    )
                )
        for text in signal.texts:
            row_of_text = hot.row(text.twin)
            if row_of_text is None or not chosen.has(text.twin) or not chosen.wants(text.path):
                continue
            unit = hot.models.fields(hot.model_of(row_of_text))[text.path].unit
            changed.setdefault(row_of_text, []).append(
                PropertyValue(
                    path=text.path,
                    unit=unit,
                    reading=Reading(text.value, text.source_time_ns, signal.received_ns, text.quality, signal.seq),
                    is_stale=False,
                )
            )
        found = []
        for row, shown_values in changed.items():
            change = self._change(signal, hot.id_of(row), TwinChangeKind.VALUES)
            change.values = shown_values
            found.append(change)
        return found

    def _moved(self, slot: int, value: float, deadband: float) -> bool:
        before = self._sent.get(slot)
        if before is not None and abs(value - before) < deadband:
            return False
        self._sent[slot] = value
        return True


class AlertStream:
    """`alertChanged`."""

    def __init__(self, context: Context, arguments: Mapping[str, Any]) -> None:
        self._context = context
        self._filter = arguments.get("filter")
        self._matches = alert_matcher(context, self._filter)

    def events(self, signal: AnySignal) -> list[Event]:
        kind = ALERTS.get(type(signal))
        if kind is None:
            root = None if self._filter is None else self._filter.subtree_of
            if isinstance(signal, STRUCTURAL) and root is not None and self._context.row(root) is not None:
                self._matches = alert_matcher(self._context, self._filter)
            return []
        alert = signal.alert  # type: ignore[union-attr]
        return [AlertChange(seq=Long(signal.seq), kind=kind, alert=Alert(of=alert))] if self._matches(alert) else []


class RulStream:
    """`rulChanged`."""

    def __init__(self, context: Context, arguments: Mapping[str, Any]) -> None:
        self._chosen = Chosen(context, arguments.get("filter"))

    def events(self, signal: AnySignal) -> list[Event]:
        if isinstance(signal, STRUCTURAL):
            self._chosen.refresh()
        if not isinstance(signal, RulScored):
            return []
        chosen = self._chosen
        return [
            RulChange(seq=Long(signal.seq), estimate=RulEstimate(of=estimate, at_seq=signal.seq))
            for estimate in signal.estimates
            if chosen.has(estimate.twin) and chosen.passes(estimate.twin)
        ]


class WorkOrderStream:
    """`workOrderChanged`."""

    def __init__(self, context: Context, arguments: Mapping[str, Any]) -> None:
        pass

    def events(self, signal: AnySignal) -> list[Event]:
        if isinstance(signal, WorkOrderOpened | WorkOrderClosed):
            kind = "OPENED" if isinstance(signal, WorkOrderOpened) else "CLOSED"
            return [WorkOrderChange(seq=Long(signal.seq), kind=kind, work_order=WorkOrder(of=signal.order))]
        return []


Stream = TwinStream | AlertStream | RulStream | WorkOrderStream


def stream_of(context: Context, field: str, arguments: Mapping[str, Any]) -> Stream:
    """The stream behind a subscription field. Raises BadRequest or NotFound for a filter that means nothing."""
    if field == "twinChanged":
        return TwinStream(context, arguments, together=False)
    if field == "twinsChanged":
        return TwinStream(context, arguments, together=True)
    if field == "alertChanged":
        return AlertStream(context, arguments)
    if field == "rulChanged":
        return RulStream(context, arguments)
    return WorkOrderStream(context, arguments)


def _subject(event: Event) -> object:
    return event.twin_id if isinstance(event, TwinChange) else None


__all__ = ["Stream", "merged", "stream_of"]
