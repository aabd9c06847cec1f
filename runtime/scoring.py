"""Scoring: the due components of all banks in one batch, in a worker thread, with a deadline; the fold never waits.

The chain of estimators answers for each window what it can; if the whole run is late, the rule-based baseline answers
instead, marked `late`, and the late run is left to end by itself before the next begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import PutRecord
from twinloom.prognostics.baseline import RuleBaseline
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import Layout
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.records import FEATURES
from twinloom.twin.assessments import ModelHealth, RulEstimate
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Json
from twinloom.twin.ports import Clock
from twinloom.twin.readings import Codes, Floats, Slots, Times
from twinloom.twin.units import converter

log = logging.getLogger(__name__)


class Scores(Protocol):
    """What answers for every window: `prognostics.chain.FallbackChain`."""

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate]: ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """Twins of `model` (subtypes included) are scored by the channels of `layout`, found by name among their fields."""

    model: ModelId
    layout: Layout


class Scorer:
    """`observe` on the event-loop thread; `run()` scores what is due and hands the estimates to `scored`."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        estimator: Scores,
        hot: HotGraph,
        clock: Clock,
        metrics: Metrics,
        *,
        deadline_s: float = 2.0,
        interval_s: float = 0.25,
    ) -> None:
        self._assignments = tuple(assignments)
        self._banks = [FeatureBank(a.layout) for a in assignments]
        self._estimator = estimator
        self._baseline = RuleBaseline()
        self._hot = hot
        self._clock = clock
        self._metrics = metrics
        self._deadline_s = deadline_s
        self._interval_s = interval_s
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._running: asyncio.Future[list[RulEstimate]] | None = None
        self._layout = -1
        self._lay_out_after_s = 0.0
        self._bank_of: npt.NDArray[np.int16] = np.empty(0, np.int16)
        self._component_of: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._channel_of: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._convert: dict[tuple[int, int], tuple[float, float]] = {}
        self._restorable: dict[str, Json] = {}
        self._known: list[set[TwinId]] = [set() for _ in assignments]
        self.seen: Mapping[TwinId, ComponentWindow] = {}  # what the latest run was asked about

    def load(self, records: Mapping[str, Json]) -> None:
        """Feature states that an earlier process kept, by twin; used when the twin is first seen."""
        self._restorable = dict(records)

    def prepare(self) -> None:
        """Lays the banks out before the first reading: unit conversions take long the first time."""
        self._follow_layout()

    def observe(self, slots: Slots, values: Floats, quality: Codes, source_times_ns: Times) -> None:
        """Applied readings, as columns of equal length; those of no scored component are passed over."""
        if not self._banks:
            return
        self._follow_layout()
        bank_of = self._bank_of[slots]
        for number, bank in enumerate(self._banks):
            mine = bank_of == number
            if not mine.any():
                continue
            at = slots[mine]
            channels, taken = self._channel_of[at], values[mine]
            for channel in {c for b, c in self._convert if b == number}:
                factor, offset = self._convert[(number, channel)]
                taken = np.where(channels == channel, taken * factor + offset, taken)
            bank.observe(self._component_of[at], channels, taken, quality[mine], source_times_ns[mine])

    async def run(self, scored: Callable[[Sequence[RulEstimate]], Awaitable[None]]) -> None:
        """Scores until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            estimates = await self.score()
            if estimates:
                await scored(estimates)

    async def score(self) -> list[RulEstimate]:
        """Estimates of every component that is due now."""
        windows = [w for bank in self._banks for w in bank.due() if w.twin in self._hot]
        if not windows:
            return []
        started = self._clock.monotonic_s()
        estimates = await self._within_deadline(windows)
        self._metrics.prediction_latency.observe(self._clock.monotonic_s() - started)
        self.seen = {window.twin: window for window in windows}
        status: dict[tuple[str, str], int] = {}
        reasons: dict[str, int] = {}
        for estimate in estimates:
            key = (estimate.method, estimate.model_health.value)
            status[key] = status.get(key, 0) + 1
            if estimate.model_health is ModelHealth.DEGRADED:
                code = estimate.reason.partition(":")[0] or "unnamed"
                reasons[code] = reasons.get(code, 0) + 1
        for (method, health), count in status.items():
            self._metrics.count_predictions(method, health, count)
        self._metrics.count_fallbacks(reasons)
        return estimates

    async def _within_deadline(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate]:
        if self._running is not None and not self._running.done():
            return self._fall_back(windows, "late: the last run has not ended yet")
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._worker, self._estimator.estimate, windows)
        done, _ = await asyncio.wait({self._running}, timeout=self._deadline_s)
        if not done:
            self._running.add_done_callback(_consume)
            return self._fall_back(windows, f"late: no answer in {self._deadline_s:g} s")
        try:
            return self._running.result()
        except Exception as error:  # the port promises not to raise; a plugged-in estimator may still
            log.exception("the estimator failed")
            return self._fall_back(windows, f"error: {type(error).__name__}")

    def by_rule(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate]:
        """What the rule alone says."""
        return self._fall_back(windows, "no_model: no model was asked")

    def _fall_back(self, windows: Sequence[ComponentWindow], reason: str) -> list[RulEstimate]:
        return [
            replace(answer, model_health=ModelHealth.DEGRADED, reason=reason)
            for answer in self._baseline.estimate(windows)
            if isinstance(answer, RulEstimate)
        ]

    @property
    def layouts(self) -> dict[str, Layout]:
        """The layouts of the assignments by digest."""
        return {bank.layout.digest: bank.layout for bank in self._banks}

    def windows(self, twins: Iterable[TwinId]) -> list[ComponentWindow]:
        """What is known of these components now; those that are not scored are left out."""
        wanted = list(twins)
        return [window for bank in self._banks for window in bank.windows(wanted)]

    @property
    def twins(self) -> frozenset[TwinId]:
        """Every component that is scored."""
        return frozenset[TwinId]().union(*self._known)

    def snapshot(self) -> list[PutRecord]:
        """The feature states of all components, to be kept."""
        return [PutRecord(FEATURES, twin, state) for bank in self._banks for twin, state in bank.snapshot().items()]

    def close(self) -> None:
        """Lets the worker end; a run that is late is not waited for."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _follow_layout(self) -> None:
        if self._layout == self._hot.layout_version:
            return
        size = len(self._hot.owner)
        started_s = self._clock.monotonic_s()
        if started_s < self._lay_out_after_s:
            if len(self._bank_of) < size:  # slots that came since are scored from the next layout on
                grown = np.full(size, -1, np.int16)
                grown[: len(self._bank_of)] = self._bank_of
                self._bank_of = grown
            return
        self._layout = self._hot.layout_version
        self._bank_of = np.full(size, -1, np.int16)
        self._component_of = np.zeros(size, np.int32)
        self._channel_of = np.zeros(size, np.int32)
        for number, (assignment, bank) in enumerate(zip(self._assignments, self._banks, strict=True)):
            if assignment.model not in self._hot.models:
                continue
            rows = self._hot.rows_of(assignment.model)
            present = {self._hot.id_of(row) for row in rows}
            for gone in self._known[number] - present:
                bank.remove(gone)
            self._known[number] = present
            restore: dict[str, Json] = {}
            for row in rows:
                twin = self._hot.id_of(row)
                component = bank.add(twin)
                if twin in self._restorable:
                    restore[twin] = self._restorable.pop(twin)
                for index, channel in enumerate(assignment.layout.channels):
                    slot = self._hot.slot(row, channel.name)
                    if slot >= 0:
                        self._bank_of[slot] = number
                        self._component_of[slot] = component
                        self._channel_of[slot] = index
            for twin in bank.restore(restore) if restore else ():
                log.warning("the kept feature state of %s cannot be used: it starts with no history", twin)
            fields = self._hot.models.fields(assignment.model)
            for index, channel in enumerate(assignment.layout.channels):
                field = fields.get(channel.name)
                if field is not None and field.unit and channel.unit:
                    factor, offset = converter(field.unit, channel.unit)
                    if (factor, offset) != (1.0, 0.0):
                        self._convert[(number, index)] = (factor, offset)
        # In a large plant this takes long enough to be done at most a twentieth of the time.
        self._lay_out_after_s = self._clock.monotonic_s() + 19 * (self._clock.monotonic_s() - started_s)


def _consume(future: asyncio.Future[list[RulEstimate]]) -> None:
    if not future.cancelled():
        future.exception()
