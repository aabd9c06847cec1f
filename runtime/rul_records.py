"""Where each estimate came from, kept in the history, and the estimate computed again from what was kept.

A record is one text of the series `rul_record` of its component: the model's digest, the window that it saw, the share
of good readings, the interval, the drift score, the source's time. Records are built in a worker thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twinloom.graph.history import HistoryStore
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.onnx_estimator import OnnxEstimator
from twinloom.prognostics.provenance import Explanation, explain, read_window, record_of
from twinloom.prognostics.served import Served
from twinloom.runtime.historian import Historian
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.scoring import Scorer
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.errors import BadRequest, NotFound
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json
from twinloom.twin.readings import TextReading

log = logging.getLogger(__name__)

PATH = "rul_record"
_WAITING = 4096  # scorings whose records are not built yet
_REMEMBERED = 50_000
_PAGE = 500
_END = 1 << 62


@dataclass(frozen=True, slots=True)
class Explained:
    """`record`: what was kept; `window`: the features that the model saw; `explanation`: computed again just now."""

    record: Mapping[str, Json]
    window: ComponentWindow
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class _Job:
    seq: int
    now_ns: int
    pairs: tuple[tuple[ComponentWindow, RulEstimate], ...]


class RulRecords:
    """`keep` on the event-loop thread, never waiting; `run()` builds the records and hands them to the historian."""

    def __init__(
        self, scorer: Scorer, historian: Historian, history: HistoryStore, metrics: Metrics, served: Served | None
    ) -> None:
        self._scorer = scorer
        self._historian = historian
        self._history = history
        self._metrics = metrics
        self._served = served
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._built = asyncio.Event()
        self._built.set()
        self._times: dict[tuple[TwinId, int], int] = {}

    def keep(self, estimates: Sequence[RulEstimate], seq: int, now_ns: int) -> None:
        """Estimates that were published as `seq`, with the windows of the scoring run that gave them."""
        windows = self._scorer.seen
        pairs = tuple((windows[e.twin], e) for e in estimates if e.twin in windows)
        if not pairs:
            return
        if len(self._jobs) >= _WAITING:
            self._metrics.count_lost({"rul_records": len(pairs)})
            return
        for _, estimate in pairs:
            self._times[(estimate.twin, seq)] = now_ns
        while len(self._times) > _REMEMBERED:
            del self._times[next(iter(self._times))]
        self._jobs.append(_Job(seq, now_ns, pairs))
        self._built.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Builds until cancelled."""
        while True:
            if not self._jobs:
                self._built.set()
                self._arrived.clear()
                await self._arrived.wait()
            job = self._jobs[0]
            try:
                self._historian.add_texts(await asyncio.to_thread(_texts, job))
            except (TypeError, ValueError):  # an estimator may give details that are no JSON
                log.exception("the estimates of %d are not kept", job.seq)
                self._metrics.count_lost({"rul_records": len(job.pairs)})
            self._jobs.popleft()

    async def built(self) -> None:
        """Returns once every record is with the historian."""
        await self._built.wait()

    async def of_twin(self, twin: TwinId, from_ns: int = 0, to_ns: int = _END) -> list[dict[str, Json]]:
        """Every kept record of a component in the span, oldest first; what waits is written before."""
        await self.built()
        await self._historian.flush()
        found: list[dict[str, Json]] = []
        while True:
            page = await self._history.read_texts(twin, PATH, from_ns, to_ns, _PAGE)
            found += [text.value for text in page if isinstance(text.value, dict)]
            if len(page) < _PAGE:
                return found
            from_ns = page[-1].source_time_ns + 1

    async def find(self, twin: TwinId, seq: int | None = None) -> dict[str, Json]:
        """The record of the estimate that was published as `seq` (None: the latest). Raises NotFound."""
        time_ns = self._times.get((twin, seq)) if seq is not None else None
        span = (time_ns, time_ns + 1) if time_ns is not None else (0, _END)
        for record in reversed(await self.of_twin(twin, *span)):
            if seq is None or record.get("seq") == seq:
                return record
        named = f"was published as {seq}" if seq is not None else "was kept"
        raise NotFound(f"no estimate of {twin!r} {named}", remedy="take the seq of an estimate that was read")

    async def explain(self, twin: TwinId, seq: int | None = None) -> Explained:
        """Computes an estimate again from what was kept. Raises NotFound, and BadRequest when the model that gave it
        is not loaded."""
        record = await self.find(twin, seq)
        kept = record.get("window")
        digest = kept.get("layout") if isinstance(kept, dict) else ""
        layout = self._scorer.layouts.get(str(digest))
        if layout is None:
            raise BadRequest("the estimate was made from another layout of features", remedy="load the model it names")
        window = read_window(record, layout)
        version = str(record.get("model"))
        model = self._served.model(version) if self._served is not None else None
        if model is None:
            raise BadRequest(f"the model {version} is not loaded", remedy="load it beside with loadRulModel")
        means: tuple[float, ...] = ()
        if isinstance(model, OnnxEstimator) and model.contract.layout.features == layout.features:
            means = tuple(entry.mean for entry in model.contract.ranges)
        explanation = await asyncio.to_thread(explain, record, window, model, training_means=means)
        return Explained(record, window, explanation)


def _texts(job: _Job) -> list[TextReading]:
    return [
        TextReading(
            estimate.twin,
            PATH,
            {"seq": job.seq, "published_ns": job.now_ns, **record_of(window, estimate)},
            job.now_ns,
            0,
        )
        for window, estimate in job.pairs
    ]
