"""Events that wait for a slow client or for `minIntervalMs`: the latest of each, and how many were passed over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from twinloom.api.schema.changes import AlertChange, Gap, RulChange, TwinChange, TwinChanges, WorkOrderChange
from twinloom.api.schema.scalars import DateTime, Long, TwinChangeKind
from twinloom.api.schema.twins import PropertyValue

Event: TypeAlias = TwinChange | TwinChanges | AlertChange | RulChange | WorkOrderChange

MOST = 20_000
"""Things kept apart; beyond that the backlog becomes one gap."""

_PRECEDENCE = {
    TwinChangeKind.VALUES: 0,
    TwinChangeKind.STATE: 1,
    TwinChangeKind.UPDATED: 2,
    TwinChangeKind.RELATED: 3,
    TwinChangeKind.CREATED: 4,
    TwinChangeKind.DELETED: 5,
    TwinChangeKind.GAP: 6,
}


def key_of(event: Event) -> object:
    """What makes two events be about the same thing."""
    if isinstance(event, TwinChange):
        return event.twin_id
    if isinstance(event, AlertChange):
        return event.alert.of.id if event.alert else None
    if isinstance(event, RulChange):
        return event.estimate.of.twin if event.estimate else None
    if isinstance(event, WorkOrderChange):
        return event.work_order.of.id if event.work_order else None
    return None


def merged(old: Event, new: Event, passed_over: int) -> Event:
    """One event that says what both say, the later having the last word; `passed_over` is added to what was missed."""
    missed = old.missed + new.missed + passed_over
    if isinstance(old, TwinChange) and isinstance(new, TwinChange):
        values: dict[str, PropertyValue] = {value.path: value for value in old.values}
        for value in new.values:
            values.pop(value.path, None)
            values[value.path] = value
        kind = new.kind
        if new.kind is not TwinChangeKind.DELETED and _PRECEDENCE[old.kind] > _PRECEDENCE[new.kind]:
            kind = old.kind if old.kind is not TwinChangeKind.DELETED else TwinChangeKind.CREATED
        return replace(new, kind=kind, values=list(values.values()), missed=missed, gap=old.gap or new.gap)
    if isinstance(old, TwinChanges) and isinstance(new, TwinChanges):
        changes: dict[object, TwinChange] = {change.twin_id: change for change in old.changes}
        for change in new.changes:
            before = changes.pop(change.twin_id, None)
            both = change if before is None else merged(before, change, passed_over)
            assert isinstance(both, TwinChange)
            changes[change.twin_id] = both
        return replace(new, changes=list(changes.values()), missed=missed, gap=old.gap or new.gap)
    return replace(new, missed=missed)


class Backlog:
    """Keyed, latest wins, oldest thing first."""

    def __init__(self, *, counts: bool) -> None:
        self._events: dict[object, Event] = {}
        self._counts = 1 if counts else 0
        self._gap: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._events) + (self._gap is not None)

    def add(self, event: Event) -> None:
        if self._gap is not None:
            self._gap = (self._gap[0], event.seq)
            return
        key = key_of(event)
        before = self._events.get(key)
        if before is not None:
            event = merged(before, event, self._counts)
        elif len(self._events) >= MOST:
            first = min(one.seq for one in self._events.values())
            self._events.clear()
            self._gap = (first, event.seq)
            return
        self._events[key] = event

    def take(self, most: int) -> Iterator[Event | tuple[int, int]]:
        """Up to `most` events, which leave the backlog; or the one gap, as (from, to)."""
        if self._gap is not None:
            gap, self._gap = self._gap, None
            yield gap
            return
        for key in list(self._events)[:most]:
            yield self._events.pop(key)


def gap_event(field: str, from_seq: int, to_seq: int, time_ns: int) -> Event:
    """The event that says that signals are gone, in the shape of a subscription field."""
    gap = Gap(
        from_seq=Long(from_seq),
        to_seq=Long(to_seq),
        hint=f"the log no longer holds these: read the state with minSeq: {to_seq}, then go on with what follows",
    )
    seq = Long(to_seq)
    if field == "twinChanged":
        return TwinChange(seq=seq, time=DateTime(time_ns), kind=TwinChangeKind.GAP, gap=gap)
    if field == "twinsChanged":
        return TwinChanges(seq=seq, time=DateTime(time_ns), changes=[], gap=gap)
    if field == "alertChanged":
        return AlertChange(seq=seq, kind="GAP", gap=gap)
    if field == "rulChanged":
        return RulChange(seq=seq, gap=gap)
    return WorkOrderChange(seq=seq, kind="GAP", gap=gap)
