"""The judge: which conditions hold, since when, decided for whole columns at once.

An *instance* is one rule on one twin. Instances that watch a slot are laid out by slot (first instance and count), so a
micro-batch costs a few vector operations however many rules there are. Only good values count: a bad or uncertain one
neither raises nor clears. Times are the readings' own (source time); `tick` uses the time of receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinloom.graph.hot import HotGraph
from twinloom.runtime.rules import RUL_DAYS, BoundRule
from twinloom.twin.readings import Codes, Floats, Slots, Times

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An instance whose alert must be raised or cleared. `time_ns`: since when its condition holds, or cleared when."""

    instance: int
    rule: BoundRule
    row: int
    raised: bool
    value: float
    time_ns: int


class Judge:
    def __init__(self) -> None:
        self._rules: list[BoundRule] = []
        self._allocate(0)
        self._first: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._count: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._of_row: dict[int, list[int]] = {}

    def lay_out(
        self, hot: HotGraph, rules: Sequence[BoundRule], standing: set[tuple[str, int]], since_ns: int = 0
    ) -> list[Verdict]:
        """Instances for all twins of the graph. `standing` are the (rule, row) whose alert is raised already.

        The present values of instances that were not there before are judged when they came after `since_ns`.
        """
        earlier = self._conditions()
        before = {(self._rules[r].rule.name, int(row)) for r, row in zip(self._rule, self._row, strict=True)}
        self._rules = list(rules)
        found: list[tuple[int, int, int]] = []  # slot (-1: an estimate), rule, row
        for number, bound in enumerate(rules):
            if bound.rule.model not in hot.models:
                continue
            of_estimate = bound.rule.value == RUL_DAYS and bound.unit == "day"
            for row in hot.rows_of(bound.rule.model):
                slot = -1 if of_estimate else hot.slot(row, bound.rule.value)
                if of_estimate or slot >= 0:
                    found.append((slot, number, row))
        found.sort()
        self._allocate(len(found))
        self._first = np.zeros(len(hot.owner), np.int32)
        self._count = np.zeros(len(hot.owner), np.int32)
        self._of_row = {}
        for instance, (slot, number, row) in enumerate(found):
            bound = rules[number]
            sign = 1.0 if bound.rule.above else -1.0
            self._rule[instance], self._row[instance], self._sign[instance] = number, row, sign
            self._raise_at[instance] = sign * bound.threshold
            self._clear_at[instance] = sign * bound.clear
            self._hold_ns[instance] = int(bound.rule.for_s * 1e9)
            self._active[instance] = (bound.rule.name, row) in standing
            since = earlier.get((bound.rule.name, row))
            if since is not None:
                self._since[instance], self._since_received[instance], self._value[instance] = since
            if slot < 0:
                self._of_row.setdefault(row, []).append(instance)
            else:
                if not self._count[slot]:
                    self._first[slot] = instance
                self._count[slot] += 1
        fresh = [
            (instance, slot)
            for instance, (slot, number, row) in enumerate(found)
            if slot >= 0 and (rules[number].rule.name, row) not in before and hot.received[slot] > since_ns
        ]
        verdicts: list[Verdict] = []
        if fresh:
            instances, slots = (np.array(column, np.int64) for column in zip(*fresh, strict=True))
            good = (hot.quality[slots] >> np.uint32(30) == 0) & (hot.source_times[slots] > 0)
            instances, slots = instances[good], slots[good]
            newest = int(hot.received[slots].max(initial=0))
            self._advance(instances, hot.values[slots], hot.source_times[slots], newest, verdicts)
        return verdicts

    def cover(self, slots: int) -> None:
        """Slots that came since the last layout are watched by nobody until the next one."""
        if len(self._count) < slots:
            self._first = np.concatenate([self._first, np.zeros(slots - len(self._first), np.int32)])
            self._count = np.concatenate([self._count, np.zeros(slots - len(self._count), np.int32)])

    def values(
        self, slots: Slots, values: Floats, source_times_ns: Times, quality: Codes, received_ns: int
    ) -> list[Verdict]:
        """Judges applied readings: columns of equal length, oldest first within a slot."""
        watched = np.flatnonzero((self._count[slots] > 0) & (quality >> np.uint32(30) == 0))
        if not len(watched):
            return []
        slots, values, times = slots[watched], values[watched], source_times_ns[watched]
        verdicts: list[Verdict] = []
        for taken in _rounds(slots):
            first, count = self._first[slots[taken]], self._count[slots[taken]]
            for k in range(int(count.max())):
                has = count > k
                instances = (first[has] + k).astype(np.int64)
                at = taken[has]
                self._advance(instances, values[at], times[at], received_ns, verdicts)
        return verdicts

    def estimates(self, scored: Sequence[tuple[int, float, int]], received_ns: int) -> list[Verdict]:
        """Judges (row, rul_days, time) triples."""
        verdicts: list[Verdict] = []
        for row, value, time_ns in scored:
            instances = self._of_row.get(row)
            if instances:
                n = len(instances)
                columns = np.full(n, value), np.full(n, time_ns, np.int64)
                self._advance(np.array(instances, np.int64), *columns, received_ns, verdicts)
        return verdicts

    def tick(self, now_ns: int, unproven: Callable[[int], bool]) -> list[Verdict]:
        """Instances whose last value lies beyond and that were received long enough ago; not those of unproven rows."""
        due = np.flatnonzero(
            ~self._active & (self._since_received > 0) & (now_ns - self._since_received >= self._hold_ns)
        )
        due = np.array([i for i in due if not unproven(int(self._row[i]))], np.int64)
        verdicts: list[Verdict] = []
        self._raise(due, self._value[due], verdicts)
        return verdicts

    def forget(self, verdict: Verdict) -> None:
        """Undoes a verdict that could not be followed: the next value is judged as if it had not been given."""
        self._active[verdict.instance] = not verdict.raised

    def _advance(
        self, instances: Indices, values: Floats, times: Times, received_ns: int, verdicts: list[Verdict]
    ) -> None:
        """One value for each instance (all different)."""
        signed = values * self._sign[instances]
        active = self._active[instances]
        beyond = ~active & (signed > self._raise_at[instances])
        back = ~active & ~beyond
        self._since[instances[back]] = 0
        self._since_received[instances[back]] = 0
        over = instances[beyond]
        fresh = over[self._since_received[over] == 0]
        if len(fresh):
            self._since[fresh] = times[beyond][self._since_received[over] == 0]
            self._since_received[fresh] = received_ns
        self._value[over] = values[beyond]
        held = times[beyond] - self._since[over] >= self._hold_ns[over]
        self._raise(over[held], values[beyond][held], verdicts)
        cleared = active & (signed <= self._clear_at[instances]) & (signed <= self._raise_at[instances])
        for instance, value, time_ns in zip(instances[cleared], values[cleared], times[cleared], strict=True):
            self._active[instance] = False
            verdicts.append(self._verdict(int(instance), False, float(value), int(time_ns)))

    def _raise(self, instances: Indices, values: Floats, verdicts: list[Verdict]) -> None:
        for instance, value in zip(instances, values, strict=True):
            self._active[instance] = True
            verdicts.append(self._verdict(int(instance), True, float(value), int(self._since[instance])))
            self._since[instance] = self._since_received[instance] = 0

    def _verdict(self, instance: int, raised: bool, value: float, time_ns: int) -> Verdict:
        return Verdict(instance, self._rules[self._rule[instance]], int(self._row[instance]), raised, value, time_ns)

    def _conditions(self) -> dict[tuple[str, int], tuple[int, int, float]]:
        """Conditions that hold but not long enough yet, to be carried over to a new layout."""
        return {
            (self._rules[self._rule[i]].rule.name, int(self._row[i])): (
                int(self._since[i]),
                int(self._since_received[i]),
                float(self._value[i]),
            )
            for i in np.flatnonzero(self._since_received)
        }

    def _allocate(self, n: int) -> None:
        self._rule = np.zeros(n, np.int32)
        self._row = np.zeros(n, np.int32)
        self._sign = np.zeros(n)
        self._raise_at = np.zeros(n)
        self._clear_at = np.zeros(n)
        self._hold_ns = np.zeros(n, np.int64)
        self._active = np.zeros(n, np.bool_)
        self._since = np.zeros(n, np.int64)
        self._since_received = np.zeros(n, np.int64)
        self._value = np.zeros(n)


def _rounds(slots: Slots) -> list[Indices]:
    """Positions grouped so that no slot occurs twice in a group and the groups keep each slot's order."""
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    starts = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    if starts.all():
        return [np.arange(len(slots))]
    begin = np.flatnonzero(starts)
    rank = np.arange(len(slots)) - np.repeat(begin, np.diff(np.append(begin, len(slots))))
    return [order[rank == r] for r in range(int(rank.max()) + 1)]
