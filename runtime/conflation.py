"""Conflation: a run of signals reduced to the latest of every value and of every thing, oldest first.

The values of all readings become one `ReadingsFolded` a source, holding the last value of each slot and text; of the
signals about one twin, alert, work order, relationship or source, only the last stays, except that what came into being
or went away is never hidden behind a mere update.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from twinloom.twin.assessments import RulEstimate
from twinloom.twin.signals import (
    AlertAcknowledged,
    AlertCleared,
    AlertRaised,
    AnySignal,
    ReadingsFolded,
    RulScored,
    SourceStateChanged,
    TwinUpdated,
)


def conflate(signals: Sequence[AnySignal]) -> tuple[list[AnySignal], int]:
    """The reduced run in the order of seq, and how many values and signals it passed over."""
    readings: dict[str, list[ReadingsFolded]] = {}
    scores: list[RulScored] = []
    latest: dict[Hashable, AnySignal] = {}
    passed_over = 0
    for signal in signals:
        if isinstance(signal, ReadingsFolded):
            readings.setdefault(signal.source, []).append(signal)
        elif isinstance(signal, RulScored):
            scores.append(signal)
        else:
            key = _key(signal)
            earlier = latest.pop(key, None)
            if earlier is not None:
                passed_over += 1
            if isinstance(signal, TwinUpdated) and isinstance(earlier, TwinUpdated):
                signal = replace(signal, paths=tuple(dict.fromkeys((*earlier.paths, *signal.paths))))
            latest[key] = signal
    kept: list[AnySignal] = list(latest.values())
    for batches in readings.values():
        merged, count = _merge_readings(batches)
        kept.append(merged)
        passed_over += count
    if scores:
        newest: dict[str, RulEstimate] = {}
        for estimate in (e for s in scores for e in s.estimates):
            passed_over += estimate.twin in newest
            newest[estimate.twin] = estimate
        kept.append(replace(scores[-1], estimates=tuple(newest.values())))
    kept.sort(key=lambda s: s.seq)
    return kept, passed_over


def _key(signal: AnySignal) -> Hashable:
    match signal:
        case TwinUpdated():
            return ("updated", signal.twin)
        case AlertRaised() | AlertAcknowledged() | AlertCleared():
            return ("alert", signal.alert.id)
        case SourceStateChanged():
            return ("source", signal.source)
        case _:
            return signal.seq  # created, deleted, opened, closed, gaps: each stays


def _merge_readings(batches: Sequence[ReadingsFolded]) -> tuple[ReadingsFolded, int]:
    if len(batches) == 1:
        return batches[0], 0
    slots = np.concatenate([b.slots for b in batches])
    # The first occurrence in the reversed run is the newest value of its slot.
    _, first = np.unique(slots[::-1], return_index=True)
    keep = np.sort(len(slots) - 1 - first)
    texts = {(t.twin, t.path): t for b in batches for t in b.texts}
    n_texts = sum(len(b.texts) for b in batches)
    merged = replace(
        batches[-1],
        slots=slots[keep],
        values=np.concatenate([b.values for b in batches])[keep],
        source_times_ns=np.concatenate([b.source_times_ns for b in batches])[keep],
        quality=np.concatenate([b.quality for b in batches])[keep],
        texts=tuple(texts.values()),
    )
    return merged, len(slots) - len(keep) + n_texts - len(texts)
