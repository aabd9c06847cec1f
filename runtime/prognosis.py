"""What the service does with estimates besides publishing them: roll them up, keep where they came from, watch whether
they can be trusted, learn from confirmed failures, and answer questions that leave no trace.

The pipeline calls `rolled` and `kept` with every scoring; `run()` does what is slow, in worker threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from twinloom.graph.history import HistoryStore
from twinloom.graph.hot import HotGraph
from twinloom.graph.store import PutRecord
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.learning import Given, Learner
from twinloom.prognostics.loading import wait
from twinloom.prognostics.served import Served
from twinloom.prognostics.whatif import Scenario, WhatIf, what_if
from twinloom.runtime.alerts import AlertBook
from twinloom.runtime.commits import Commits, Numbers, Prepared
from twinloom.runtime.estimates import EstimateBook
from twinloom.runtime.feed import Feed
from twinloom.runtime.forecasts import Forecast, Forecasts
from twinloom.runtime.historian import Historian
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.model_health import ModelHealthWatch
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.records import FAILURE, LEARNER
from twinloom.runtime.rollup import CONTAINS, METHOD, Rollups
from twinloom.runtime.rul_models import RulModels
from twinloom.runtime.rul_records import Explained, RulRecords
from twinloom.runtime.scoring import Scorer
from twinloom.twin.assessments import ModelHealth, RulEstimate
from twinloom.twin.errors import BadRequest, NotFound, TwinloomError
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json
from twinloom.twin.signals import RelationshipCreated, RelationshipDeleted, TwinDeleted, WorkOrderClosed

log = logging.getLogger(__name__)

CONFIRMED = "(failure confirmed)"
MOST_COMPONENTS = 500
_QUESTIONS = 2  # answered at a time: scoring has the other cores


class Prognosis:
    """Attributes are the parts: `records` (provenance), `rollups`, `models`, `health`."""

    def __init__(
        self,
        served: Served | None,
        scorer: Scorer,
        hot: HotGraph,
        estimates: EstimateBook,
        alerts: AlertBook,
        commits: Commits,
        historian: Historian,
        history: HistoryStore,
        feed: Feed,
        metrics: Metrics,
        *,
        models: Path | None = None,
        fmu: tuple[Path, Sequence[str]] | None = None,
    ) -> None:
        self.served = served
        self.rollups = Rollups(hot, estimates)
        self.records = RulRecords(scorer, historian, history, metrics, served)
        self.health = ModelHealthWatch(hot, alerts)
        self.models = RulModels(served, hot, commits, models)
        self._forecasts = Forecasts(served, fmu)
        self._scorer = scorer
        self._hot = hot
        self._estimates = estimates
        self._commits = commits
        self._feed = feed
        self._metrics = metrics
        self._questions = asyncio.Semaphore(_QUESTIONS)
        self._failures: dict[str, Mapping[str, Json]] = {}
        self._learners: dict[str, Json] = {}
        self._plan: Json = None

    def load(self, failures: Iterable[tuple[str, Json]], learners: Iterable[tuple[str, Json]], plan: Json) -> None:
        """What an earlier process made durable."""
        self._failures = {key: stored for key, stored in failures if not stored.get("learned")}
        self._learners = dict(learners)
        self._plan = plan
        self.rollups.load()
        self.health.load(self._estimates)

    # ---- with every scoring ------------------------------------------------------------------------------------------

    def rolled(self, estimates: Sequence[RulEstimate]) -> list[RulEstimate]:
        """The estimates of the machines, lines and plants that these of components change."""
        return self.rollups.rise(estimates)

    def kept(self, estimates: Sequence[RulEstimate], seq: int, now_ns: int) -> None:
        self.records.keep(estimates, seq, now_ns)
        self.health.judge(estimates)

    async def run(self, publish: Callable[[Sequence[RulEstimate]], Awaitable[None]]) -> None:
        """Follows the feed until cancelled. `publish` takes estimates of wholes that changed without a scoring."""
        subscription = self._feed.subscribe(capacity=10_000, overflow="drop_oldest")
        self._listen()
        await self._taken_up()
        async for signal in subscription:
            match signal:
                case TwinDeleted():
                    await publish(self.rollups.moved(signal.twin))
                case RelationshipCreated() | RelationshipDeleted() if signal.relationship.name == CONTAINS:
                    await publish(self.rollups.moved(signal.relationship.target))
                case WorkOrderClosed() if signal.cause.endswith(CONFIRMED):
                    order = signal.order
                    label = {"twin": order.twin, "opened_ns": order.opened_ns, "closed_ns": order.closed_ns}
                    await self._learn_safely(order.id, label)

    async def settle(self) -> None:
        """Returns once all records are with the historian."""
        await self.records.built()

    def close(self) -> None:
        """Lets worker threads end."""
        self._forecasts.close()
        if self.served is not None:
            self.served.close()

    # ---- questions ---------------------------------------------------------------------------------------------------

    def components(self, twin: TwinId) -> list[TwinId]:
        """The scored components at or below a twin. Raises NotFound, and BadRequest when there is none, or too many."""
        row = self._hot.row(twin)
        if row is None:
            raise NotFound(f"there is no twin {twin[:80]!r}", remedy="check the id, `twins` lists them")
        scored = self._scorer.twins
        ids = [id for r in self._hot.subtree(row, CONTAINS) if (id := self._hot.id_of(int(r))) in scored]
        if not ids:
            raise BadRequest(f"nothing at or below {twin!r} is scored", remedy="name a component, or what contains one")
        if len(ids) > MOST_COMPONENTS:
            raise BadRequest(f"{len(ids)} components are more than {MOST_COMPONENTS}", remedy="name a smaller part")
        return ids

    async def explain(self, twin: TwinId, seq: int | None = None) -> Explained:
        """An estimate computed again from what was kept of it. Raises NotFound and BadRequest."""
        latest = self._estimates.latest(twin)
        if latest is not None and latest.method == METHOD:
            deciding = latest.details.get("deciding")
            raise BadRequest(f"the estimate of {twin!r} is rolled up from {deciding}", remedy=f"explain {deciding!r}")
        async with self._questions:
            return await self.records.explain(twin, seq)

    async def forecast(self, twin: TwinId, budget_s: float) -> Forecast:
        """The most faithful estimate of each component at or below the twin that fits the budget."""
        windows = self._scorer.windows(self.components(twin))
        async with self._questions:
            return await asyncio.to_thread(self._forecasts.make, windows, budget_s)

    async def scenario(
        self, twin: TwinId, *, load_factor: float = 1.0, new_part: bool = False, swap: TwinId | None = None
    ) -> tuple[list[WhatIf], RulEstimate | None, RulEstimate | None]:
        """Each component at or below the twin as it is and in the scenario; for a whole also both roll-ups. Nothing is
        kept, published or judged."""
        found = self.components(twin)
        if swap is not None and (found != [twin] or swap not in self._scorer.twins):
            raise BadRequest("a swap is between two scored components", remedy="name two components")
        windows = self._scorer.windows(found)
        other = self._scorer.windows([swap])[0] if swap is not None else None
        overlay = Scenario(load_factor=load_factor, new_part=new_part, swap=other)
        async with self._questions:
            answers = await asyncio.to_thread(self._what_if, windows, overlay)
        if found == [twin]:
            return answers, None, None
        now = self.rollups.combine(twin, [answer.now for answer in answers])
        return answers, now, self.rollups.combine(twin, [answer.then for answer in answers])

    def _what_if(self, windows: Sequence[ComponentWindow], overlay: Scenario) -> list[WhatIf]:
        score = self.served.aside if self.served is not None else self._scorer.by_rule
        return [what_if(window, overlay, score) for window in windows]

    # ---- learning ----------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self.served is None:
            return
        loop = asyncio.get_running_loop()

        def drifted(channels: Sequence[str]) -> None:
            loop.call_soon_threadsafe(self._metrics.count_drift, channels)

        def changed(digest: str, health: ModelHealth, reason: str) -> None:
            loop.call_soon_threadsafe(self._model_changed, digest, health, reason)

        self.served.drifted = drifted
        self.served.health_changed = changed

    def _model_changed(self, digest: str, health: ModelHealth, reason: str) -> None:
        log.warning("the model %s is %s%s", digest, health.value, f": {reason}" if reason else "")
        twins = [e.twin for e in self._estimates if e.model_version == digest] or self._scorer.twins
        self.health.model_changed(digest, health, reason, twins)

    async def _taken_up(self) -> None:
        """Goes on where an earlier process ended: its plan of models, what they had learned, labels not learned yet."""
        try:
            await self.models.restore(self._plan)
        except Exception:  # a record that cannot be read must not keep the service from running
            log.exception("the plan of RUL models cannot be taken over: the configured model scores everything")
        for digest, kept in self._learners.items():
            if self.served is not None and digest in self.served.registry.models:
                await asyncio.to_thread(self._relearn, digest, kept)
        for key, label in self._failures.items():
            await self._learn_safely(key, label)

    async def _learn_safely(self, order: str, label: Mapping[str, Json]) -> None:
        try:
            await self._learn(order, label)
        except Exception:  # as above: a record that cannot be read
            log.exception("the confirmed failure of order %s cannot be learned", order)

    def _relearn(self, digest: str, kept: Json) -> None:
        assert self.served is not None
        watch = self.served.watch_of(digest)
        wait("river.drift", "river.linear_model")
        try:
            watch.learner.restore(kept)
        except (KeyError, TypeError, ValueError):
            log.warning("what the model %s had learned cannot be read: it starts anew", digest)

    async def _learn(self, order: str, label: Mapping[str, Json]) -> None:
        """One confirmed failure: the estimates of that life become labels of the models that gave them."""
        try:
            records = await self.records.of_twin(TwinId(label["twin"]), 0, int(label["closed_ns"]) + 1)
        except TwinloomError as error:
            log.warning("the failure of %s is learned after the next start: %s", label["twin"], error)
            return
        changes = [PutRecord(FAILURE, order, {**label, "learned": True})]
        lives, age = life_of(records, int(label["opened_ns"]))
        for digest, life in lives.items():
            if self.served is None or digest not in self.served.registry.models:
                continue
            learner = await asyncio.to_thread(self._learned, digest, life, age)
            changes.append(PutRecord(LEARNER, digest, learner.snapshot()))
            self._metrics.interval_coverage.labels(digest).set(learner.coverage)
            health, reason = self.served.watch_of(digest).health()
            self._model_changed(digest, health, reason)

        def prepare(numbers: Numbers, now_ns: int) -> Prepared:
            return Prepared(Outcome(seq=0), tuple(changes))

        self._commits.enqueue("confirmed failure", frozenset((LEARNER, FAILURE)), prepare)

    def _learned(self, digest: str, life: Sequence[tuple[float, float, float]], age: float) -> Learner:
        """The model's learner with one more life, put in force whole: scoring goes on with the old one meanwhile."""
        assert self.served is not None
        wait("river.drift", "river.linear_model")
        watch = self.served.watch_of(digest)
        per_day = watch.model.contract.clock_per_target * watch.model.contract.cap / watch.model.cap_days
        fresh = Learner(watch.model.cap_days)
        fresh.restore(watch.learner.snapshot())
        fresh.failed([Given(at / per_day, rul, half) for at, rul, half in life], age / per_day)
        watch.learner = fresh
        return fresh


def life_of(
    records: Sequence[Mapping[str, Json]], opened_ns: int
) -> tuple[dict[str, list[tuple[float, float, float]]], float]:
    """The life during which a work order was opened: by model its (clock, estimate [d], half width [d]) triples, and
    the last clock reading. A clock that falls back begins another life."""
    lives: list[list[Mapping[str, Json]]] = [[]]
    last = float("-inf")
    for record in records:
        age = record["window"]["age"]
        if age is None:
            continue
        if age < last - 1e-6:
            lives.append([])
        last = age
        lives[-1].append(record)
    began = [life for life in lives if life and life[0]["published_ns"] <= opened_ns]
    chosen = began[-1] if began else lives[-1]
    found: dict[str, list[tuple[float, float, float]]] = {}
    for record in chosen:
        rul, low, high = record["model_gave"]
        found.setdefault(record["model"], []).append((record["window"]["age"], rul, (high - low) / 2))
    return found, float(chosen[-1]["window"]["age"]) if chosen else 0.0
