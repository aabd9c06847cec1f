"""The service: everything of the runtime assembled from its ports, started and stopped as one.

`start()` loads the hot graph from the store and takes over what an earlier process made durable; `stop()` drains: what
was accepted is folded, what was ordered is durable, what was folded is in the history and the store.

A little over 400 lines: it is a list of parts and the order in which they start and stop, and has no logic of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from twinloom.graph.history import HistoryStore
from twinloom.graph.hot import HotGraph
from twinloom.graph.store import Change, GraphStore, PutRecord
from twinloom.prognostics.chain import FallbackChain
from twinloom.prognostics.served import Served
from twinloom.runtime import supervise
from twinloom.runtime.actuation import Actuation
from twinloom.runtime.alerts import AlertBook
from twinloom.runtime.commits import Commits, Numbers, Prepared
from twinloom.runtime.estimates import EstimateBook
from twinloom.runtime.feed import Feed
from twinloom.runtime.historian import Historian
from twinloom.runtime.limits import Limits
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.migration import MIGRATION, MIGRATION_UNDO, Migrations
from twinloom.runtime.orders import Orders
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.pipeline import Pipeline
from twinloom.runtime.prognosis import Prognosis
from twinloom.runtime.records import (
    ALERT,
    COMMAND,
    DECOMMISSIONED,
    ESTIMATE,
    FAILURE,
    FEATURES,
    LEARNER,
    OUTCOME,
    RUL_MODELS,
    WORK_ORDER,
)
from twinloom.runtime.rules import Rule
from twinloom.runtime.scoring import Assignment, Scorer, Scores
from twinloom.runtime.sequence import Sequence
from twinloom.runtime.staleness import Staleness
from twinloom.runtime.work_orders import LocalWorkOrders, WorkOrderBook
from twinloom.runtime.write_behind import WriteBehind
from twinloom.twin.assessments import WorkOrder, WorkOrderState
from twinloom.twin.errors import TwinloomError, Unavailable
from twinloom.twin.instance import Json
from twinloom.twin.ports import Actuator, Clock, Source, SourceStatus, SystemClock, WorkOrders

log = logging.getLogger(__name__)

State = Literal["ok", "degraded", "failed"]


@dataclass(frozen=True, slots=True)
class HealthPart:
    name: str
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """`failed`: the service does not work and must be restarted; `degraded`: it works, without what `parts` say."""

    state: State
    parts: tuple[HealthPart, ...]


class Service:
    """Attributes are the parts; they exist before `start()`, empty.

    `seed` is committed when the store is new. `assignments` say which twins are scored. `estimator` answers for every
    window (default: the rule-based baseline alone); a `Served` can be swapped while it runs, by files of the folder
    `models`. `fmu`: a file and the SHA-256 digests that may run.
    """

    def __init__(
        self,
        *,
        store: GraphStore,
        history: HistoryStore,
        estimator: Scores | None = None,
        assignments: Items[Assignment] = (),
        rules: Items[Rule] = (),
        sources: Items[Source] = (),
        actuators: Items[Actuator] = (),
        maintenance: WorkOrders | None = None,
        seed: Items[Change] = (),
        clock: Clock | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        models: Path | None = None,
        fmu: tuple[Path, Items[str]] | None = None,
    ) -> None:
        self.store = store
        self.history = history
        self.clock = clock or SystemClock()
        self.limits = limits or Limits()
        self.metrics = metrics or Metrics()
        self.maintenance: WorkOrders = maintenance or LocalWorkOrders()
        self.hot = HotGraph()
        self.feed = Feed(self.limits.feed_signals, max_bytes=self.limits.feed_bytes)
        self.staleness = Staleness()
        self.estimates = EstimateBook()
        self.work_orders = WorkOrderBook(self.metrics)
        self.alerts = AlertBook(rules, self.hot, self.estimates, self.work_orders, self.metrics, self.clock)
        self.sequence = Sequence()
        self.started_ns = 0
        self._seed = tuple(seed)
        self._sources = tuple(sources)
        limits = self.limits
        self.commits = Commits(
            store,
            self.hot,
            self.feed,
            self.sequence,
            self.clock,
            self.metrics,
            capacity=limits.waiting_orders,
            timeout_s=limits.commit_timeout_s,
        )
        self.historian = Historian(
            history,
            self.hot,
            self.clock,
            self.metrics,
            interval_s=limits.history_interval_s,
            capacity=limits.history_values,
        )
        self.write_behind = WriteBehind(
            store,
            self.hot,
            self.sequence,
            interval_s=limits.write_behind_interval_s,
            rows=limits.write_behind_rows,
            timeout_s=limits.commit_timeout_s,
            before=self.historian.flush,
        )
        self.scorer = Scorer(
            assignments,
            estimator or FallbackChain([], missing="no_model: no model was given"),
            self.hot,
            self.clock,
            self.metrics,
            deadline_s=limits.scoring_deadline_s,
        )
        self.prognosis = Prognosis(
            estimator if isinstance(estimator, Served) else None,
            self.scorer,
            self.hot,
            self.estimates,
            self.alerts,
            self.commits,
            self.historian,
            history,
            self.feed,
            self.metrics,
            models=models,
            fmu=fmu,
        )
        self.pipeline = Pipeline(
            self.hot,
            self.sequence,
            self.scorer,
            self.prognosis,
            self.alerts,
            self.estimates,
            self.historian,
            self.write_behind,
            self.feed,
            self.staleness,
            self.metrics,
            self.clock,
            capacity=limits.ingest_values,
        )
        self.actuation = Actuation(self.commits, actuators, self.clock)
        self.orders = Orders(
            self.hot, self.commits, self.alerts, self.work_orders, self.estimates, self.actuation, limits
        )
        self.migrations = Migrations(self.hot, self.commits, self.clock)
        self._orders_changed = asyncio.Event()
        self._drain_s = 10.0
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    # ---- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Loads, checks and starts everything.

        Raises BadFile for a rule that does not fit the models, StoreUnavailable when store or history cannot be opened;
        then nothing is left open.
        """
        if self._runner is not None:
            raise Unavailable("the service was started before", remedy="make a new one")
        async with contextlib.AsyncExitStack() as undo:
            await self.store.open()
            undo.push_async_callback(self.store.close)
            await self.history.open()
            undo.push_async_callback(self.history.close)
            await self._load()
            self._runner = asyncio.create_task(self._run(), name="service")
            undo.pop_all()
        await self._ready.wait()

    async def stop(self, *, timeout_s: float = 10.0) -> None:
        """Drains and closes everything. Safe to call twice."""
        if self._runner is None:
            return
        self._drain_s = timeout_s
        self._stopping.set()
        await asyncio.wait({self._runner})

    async def wait(self) -> None:
        """Returns when the service has stopped; raises what made it fail."""
        if self._runner is not None:
            await asyncio.wait({self._runner})
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Service:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- reading ---------------------------------------------------------------------------------------------------

    @property
    def seq(self) -> int:
        """The number of the latest thing that happened."""
        return self.feed.last_seq

    def sources(self) -> list[SourceStatus]:
        """Each source's word about itself, by name."""
        reported = {status.name: status for status in self.staleness.statuses()}
        for source in self._sources:
            status = source.status()
            known = reported.get(source.name)
            # The supervisor's word counts when the source ended without one of its own.
            reported[source.name] = replace(known, counters=status.counters) if known is not None else status
        return [reported[name] for name in sorted(reported)]

    def health(self) -> Health:
        """What works and what does not, now."""
        parts = [self._core_part(), self._store_part(), self._history_part()]
        for status in self.sources():
            failing = status.state in ("stale", "lost") or (status.state == "connecting" and bool(status.reason))
            state: State = "degraded" if failing else "ok"
            parts.append(HealthPart(f"source {status.name}", state, status.reason if state != "ok" else ""))
        worst: State = "ok"
        for part in parts:
            if part.state == "failed" or (part.state == "degraded" and worst == "ok"):
                worst = part.state
        return Health(worst, tuple(parts))

    def stale_since(self, twin: str) -> int | None:
        """Since when a twin's source is not live (ns UTC), or None."""
        return self.staleness.since(twin)

    def _core_part(self) -> HealthPart:
        if self._failure is not None:
            return HealthPart("core", "failed", f"{type(self._failure).__name__}")
        if not self._ready.is_set() or self._stopping.is_set():
            return HealthPart("core", "degraded", "starting" if not self._ready.is_set() else "stopping")
        return HealthPart("core", "ok")

    def _store_part(self) -> HealthPart:
        away = self.commits.away or self.write_behind.away
        if away is None:
            return HealthPart("store", "ok")
        waiting = f"{len(self.commits)} changes and {self.write_behind.waiting} last values wait"
        return HealthPart("store", "degraded", f"{away.message}; {waiting}")

    def _history_part(self) -> HealthPart:
        if self.historian.away is None:
            return HealthPart("history", "ok")
        return HealthPart("history", "degraded", f"{self.historian.away.message}; {self.historian.waiting} values wait")

    # ---- inside ----------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        snapshot = await self.store.load()
        if self._seed and not snapshot.models:
            await self.store.commit(self._seed, seq=snapshot.seq + 1, time_ns=self.clock.now_ns(), cause="seed")
            snapshot = await self.store.load()
        self.hot.load(snapshot)
        records: dict[str, list[tuple[str, Json]]] = {}
        for kind, key, stored in snapshot.records:
            records.setdefault(kind, []).append((key, stored))
        self.sequence.start_from(snapshot.seq)
        await self.store.reserve(self.sequence.current)
        self.sequence.marked(self.sequence.current)
        self.hot.seq = self.sequence.current
        self.feed.start_from(self.sequence.current)
        self.estimates.load(records.get(ESTIMATE, ()))
        self.work_orders.load(records.get(WORK_ORDER, ()))
        self.alerts.load(records.get(ALERT, ()))
        self.orders.load(records.get(OUTCOME, ()), (key for key, _ in records.get(DECOMMISSIONED, ())))
        self.migrations.load(records.get(MIGRATION, ()), records.get(MIGRATION_UNDO, ()))
        plan = next((stored for _, stored in records.get(RUL_MODELS, ())), None)
        self.prognosis.load(records.get(FAILURE, ()), records.get(LEARNER, ()), plan)
        self.scorer.load(dict(records.get(FEATURES, ())))
        self.scorer.prepare()
        self.alerts.start(self.commits)
        self.actuation.load(records.get(COMMAND, ()))
        self.started_ns = self.clock.now_ns()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self.work_orders.on_change = self._orders_changed.set
                core = [
                    group.create_task(self.commits.run(), name="commits"),
                    group.create_task(self.actuation.run(), name="actuation"),
                    group.create_task(self.migrations.run(), name="migrations"),
                    group.create_task(self.pipeline.run(), name="pipeline"),
                    group.create_task(self.pipeline.score(), name="scoring"),
                    group.create_task(self.prognosis.run(self.pipeline.rolled), name="prognosis"),
                    group.create_task(self.prognosis.records.run(), name="RUL records"),
                    group.create_task(self.pipeline.tick(), name="alert tick"),
                    group.create_task(self.historian.run(), name="history"),
                    group.create_task(self.write_behind.run(), name="write-behind"),
                    group.create_task(self._housekeeping(), name="housekeeping"),
                    group.create_task(
                        supervise.deliver(self.work_orders.undelivered, self._deliver, self._orders_changed),
                        name="work orders",
                    ),
                ]
                sources = [
                    group.create_task(
                        supervise.keep_running(source, self.pipeline, self.clock, self.metrics),
                        name=f"source {source.name}",
                    )
                    for source in self._sources
                ]
                self._ready.set()
                await self._stopping.wait()
                for task in sources:
                    task.cancel()
                await asyncio.wait(sources) if sources else None
                await self._drain()
                for task in core:
                    task.cancel()
        except BaseExceptionGroup as failures:
            self._failure = failures.exceptions[0]
            log.critical("the service failed", exc_info=failures)
        finally:
            self._ready.set()
            self.feed.close()
            self.scorer.close()
            self.prognosis.close()
            await self.history.close()
            await self.store.close()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._drain_s):
                await self.pipeline.ingest.drained()
                await self.prognosis.settle()
                self._keep_estimates()
                self._keep_features()
                self.commits.close()
                await self.commits.drained()
                await self.historian.flush()
                if await self.write_behind.flush(everything=True):
                    await self.store.reserve(self.sequence.current)
        except (TwinloomError, TimeoutError) as error:
            log.warning("stopped without writing everything: %s", error or "time-out")

    async def _housekeeping(self) -> None:
        """Estimates and feature states to the store now and then; the gauges of the metrics."""
        since_estimates = since_features = self.clock.monotonic_s()
        while True:
            await asyncio.sleep(1.0)
            now = self.clock.monotonic_s()
            self.metrics.subscribers.set(self.feed.subscribers)
            self.metrics.queue("ingest", self.pipeline.ingest.waiting)
            self.metrics.queue("orders", len(self.commits))
            self.metrics.queue("history", self.historian.waiting)
            self.metrics.queue("write_behind", self.write_behind.waiting)
            if now - since_estimates >= self.limits.estimates_interval_s:
                since_estimates = now
                self._keep_estimates()
            if now - since_features >= self.limits.features_interval_s:
                since_features = now
                self._keep_features()

    def _keep_estimates(self) -> None:
        if self.commits.away is None:
            records = self.estimates.take_dirty(limit=10_000)
            if records and not self._keep("estimates", records):
                self.estimates.put_back(records)

    def _keep_features(self) -> None:
        if self.commits.away is None:
            records = self.scorer.snapshot()
            if records:
                self._keep("features", records)

    def _keep(self, cause: str, records: Items[PutRecord]) -> bool:
        changes = tuple(records)
        return self.commits.enqueue(
            cause, frozenset((cause,)), lambda numbers, now_ns: Prepared(Outcome(seq=0), changes)
        )

    async def _deliver(self, order: WorkOrder) -> None:
        if order.state is WorkOrderState.CLOSED:
            await self.maintenance.close(order)
            self.work_orders.told(order.id)
            return
        external_id = await self.maintenance.open(order)

        def prepare(numbers: Numbers, now_ns: int) -> Prepared:
            return self.work_orders.delivered(order.id, external_id)

        await self.commits.submit("delivered", frozenset((f"rule:{order.rule}:{order.twin}",)), prepare)
