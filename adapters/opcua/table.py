"""A server's mapped nodes as columns: client handle -> slot, unit, range, last source time.

A handle is the node's index here, so a notification's handles select from these arrays directly. Values arrive in the
node's unit and leave in the model's.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence

import numpy as np
from asyncua import ua

from twinloom.adapters.opcua.decode import Odd, Publication, ticks_to_ns
from twinloom.adapters.opcua.discover import MappedNode
from twinloom.adapters.opcua.plain import plain
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import ReadingSink
from twinloom.twin.readings import GOOD, Codes, Floats, ReadingBatch, TextReading
from twinloom.twin.units import converter

_log = logging.getLogger(__name__)
_OVERFLOW_MASK, _OVERFLOW = 0x0C80, 0x0480  # InfoType = DataValue, and the Overflow bit (Part 4, 7.39.1)
_UNITS_EXCEEDED = 0x40940000  # Uncertain_EngineeringUnitsExceeded
_LONGEST_TEXT = 65_536
_MILLISECOND = 1_000_000

Key = tuple[TwinId, str]


class Table:
    """The nodes of one session. `last` carries the last source times (ns) over from the session before, by target."""

    def __init__(self, source: str, nodes: Sequence[MappedNode], last: Mapping[Key, int]) -> None:
        n = len(nodes)
        self.source = source
        self.nodes = tuple(nodes)
        self.slots = np.full(n, -1, dtype=np.int32)
        self.is_text = np.zeros(n, dtype=np.bool_)
        self.resolved = np.zeros(n, dtype=np.bool_)
        self.watched = np.zeros(n, dtype=np.bool_)
        self.last = np.array([last.get(self._key(node), 0) for node in nodes], dtype=np.int64)
        self.filled_to = np.zeros(n, dtype=np.int64)
        self.deduplicate = bool(last)
        self.counters: Counter[str] = Counter()
        self._factor, self._offset = np.ones(n), np.zeros(n)
        self._low = np.array([node.low for node in nodes])
        self._high = np.array([node.high for node in nodes])
        self._ranged = bool(np.isfinite(self._low).any() or np.isfinite(self._high).any())
        self._converts = False
        self._said: set[str] = set()

    @staticmethod
    def _key(node: MappedNode) -> Key:
        return node.target.twin, node.target.path

    @property
    def twins(self) -> tuple[TwinId, ...]:
        """Every twin that this server feeds."""
        chosen = (node.target.twin for node, good in zip(self.nodes, self.resolved, strict=True) if good)
        return tuple(dict.fromkeys(chosen))

    def remember(self, last: MutableMapping[Key, int]) -> None:
        """Writes the last source times back, for the next session."""
        for node, time in zip(self.nodes, self.last.tolist(), strict=True):
            if time:
                last[self._key(node)] = time

    def resolve(self, sink: ReadingSink) -> bool:
        """Looks every target up again. True when a watched node changed between number and text."""
        changed = False
        unknown = 0
        for i, node in enumerate(self.nodes):
            found = sink.resolve(node.target.twin, node.target.path)
            self.resolved[i] = found is not None
            self.slots[i] = found.slot if found is not None else -1
            if found is None:
                unknown += 1
                continue
            text = found.slot < 0
            changed |= bool(self.watched[i]) and bool(self.is_text[i]) != text
            self.is_text[i] = text
            if not text and not self._set_unit(i, node.target.unit or node.unit, found.unit):
                self.resolved[i] = False
        self.counters["unmapped_nodes"] = unknown
        if unknown:
            first = next(node for node, good in zip(self.nodes, self.resolved, strict=True) if not good)
            self.say_once(
                f"{unknown} mapped nodes have no twin property, the first is {first.place} for "
                f"{first.target.twin} {first.target.path}"
            )
        self._converts = bool((self._factor != 1.0).any() or self._offset.any())
        return changed

    def _set_unit(self, i: int, have: str, want: str) -> bool:
        if not have or not want:
            return True
        try:
            self._factor[i], self._offset[i] = converter(have, want)
        except BadRequest as error:
            self.counters["unit_mismatch"] += 1
            self.say_once(f"node {self.nodes[i].place} is not read: {error}")
            return False
        return True

    def to_node_unit(self, i: int, value: float) -> float:
        """A value in the model's unit as the node wants it."""
        return float((value - self._offset[i]) / self._factor[i])

    def to_model_unit(self, i: int, value: float) -> float:
        return float(value * self._factor[i] + self._offset[i])

    def say_once(self, sentence: str) -> None:
        """A warning that a stream would repeat is logged once a session."""
        if sentence not in self._said and len(self._said) < 1000:
            self._said.add(sentence)
            _log.warning("opcua source %s: %s", self.source, sentence)

    def batch(self, publications: Sequence[Publication], received_ns: int) -> ReadingBatch | None:
        """Publications as one batch, oldest first; None when nothing is left of them."""
        if len(publications) == 1:
            (first,) = publications
            handles, values, times, status = first.handles, first.values, first.times_ns, first.status
        else:
            handles = np.concatenate([p.handles for p in publications])
            values = np.concatenate([p.values for p in publications])
            times = np.concatenate([p.times_ns for p in publications])
            status = np.concatenate([p.status for p in publications])
        counters = self.counters
        texts = self._texts(publications, received_ns)
        counters["received"] += len(handles) + len(texts)
        lost: dict[str, int] = {}
        if len(handles) and int(handles.max()) >= len(self.slots):
            known = handles < len(self.slots)
            counters["unknown_handle"] += int(len(known) - known.sum())
            handles, values, times, status = handles[known], values[known], times[known], status[known]
        if untimed := sum(p.untimed for p in publications):
            counters["no_source_time"] += untimed
            times = np.where(times == 0, received_ns, times)
        if status.any():
            overflowed = int(((status & _OVERFLOW_MASK) == _OVERFLOW).sum())
            if overflowed:
                lost["queue_overflow"] = overflowed
                counters["queue_overflow"] += overflowed
            counters["bad_quality"] += int((status >> 30 >= 2).sum())
        if self._ranged:
            status = self._judge_range(handles, values, status)
        if self.deduplicate:
            fresh = (times != self.last[handles]) & (times > self.filled_to[handles])
            counters["duplicate"] += int(len(fresh) - fresh.sum())
            handles, values, times, status = handles[fresh], values[fresh], times[fresh], status[fresh]
        self.last[handles] = times
        if self._converts:
            values = values * self._factor[handles] + self._offset[handles]
        slots = self.slots[handles]
        if len(slots) and int(slots.min()) < 0:
            alive = slots >= 0
            counters["unmapped"] += int(len(alive) - alive.sum())
            slots, values, times, status = slots[alive], values[alive], times[alive], status[alive]
        if not len(slots) and not texts and not lost:
            return None
        return ReadingBatch(
            source=self.source,
            slots=slots,
            values=values,
            source_times_ns=times,
            quality=status,
            received_ns=received_ns,
            texts=texts,
            lost=lost,
        )

    def _judge_range(self, handles: Codes, values: Floats, status: Codes) -> Codes:
        """Good values outside their EURange become Uncertain, so that nothing alarms or scores on them as Good."""
        outside = (values < self._low[handles]) | (values > self._high[handles])
        if not outside.any():
            return status
        self.counters["outside_eu_range"] += int(outside.sum())
        return np.where(outside & (status == GOOD), np.uint32(_UNITS_EXCEEDED), status)

    def _texts(self, publications: Iterable[Publication], received_ns: int) -> tuple[TextReading, ...]:
        texts: list[TextReading] = []
        for publication in publications:
            for odd in publication.odd:
                reading = self._text(odd, received_ns)
                if reading is not None:
                    texts.append(reading)
        return tuple(texts)

    def _text(self, odd: Odd, received_ns: int) -> TextReading | None:
        i = odd.handle
        if i >= len(self.nodes) or not self.resolved[i]:
            self.counters["unknown_handle"] += 1
            return None
        node = self.nodes[i]
        if not self.is_text[i]:
            self.counters["type_mismatch"] += 1
            self.say_once(f"node {node.place} sends no number for {node.target.twin} {node.target.path}")
            return None
        value = plain(odd.value.Value)
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            self.counters["text_too_long"] += 1
            self.say_once(
                f"node {node.place} sends a text of {len(value)} characters; at most {_LONGEST_TEXT} are taken"
            )
            return None
        time = _time_of(odd) or received_ns
        if self.deduplicate and abs(time - int(self.last[i])) < _MILLISECOND:
            self.counters["duplicate"] += 1
            return None
        self.last[i] = time
        status = int(odd.value.StatusCode.value) if odd.value.StatusCode is not None else 0
        return TextReading(node.target.twin, node.target.path, value, time, status)


def _time_of(odd: Odd) -> int:
    for time in (odd.value.SourceTimestamp, odd.value.ServerTimestamp):
        if time is not None:
            ns = int(ticks_to_ns(np.array([ua.datetime_to_win_epoch(time)]))[0])
            if ns:
                return ns
    return 0
