"""The main job inside one process: a spindle of the example plant wears out, and a work order is the end of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np

from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.seed import read_plant
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.prognostics.layout import CNC_SPINDLE
from twinloom.runtime.rules import read_rules
from twinloom.runtime.scoring import Assignment
from twinloom.runtime.service import Service
from twinloom.twin.assessments import Severity, WorkOrderState
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.ports import ReadingSink, SourceStatus
from twinloom.twin.readings import ReadingBatch
from twinloom.twin.signals import AlertRaised, RulScored, WorkOrderOpened

SICK = TwinId("toulouse/line-1/cnc-03/spindle")
FIT = TwinId("toulouse/line-1/cnc-04/spindle")
DAYS = 30


class WearingSpindles:
    """Thirty days of two spindles, one of them with a vibration that grows to the end of zone C."""

    name = "script"

    async def run(self, sink: ReadingSink) -> None:
        at = time.time_ns() - 3600 * 10**9
        for hour in range(0, 24 * DAYS, 4):
            worn = hour / (24 * DAYS)
            for twin, vibration in ((SICK, 1.2 + 4.0 * worn**3), (FIT, 1.2 + 0.01 * (hour % 8))):
                values = {
                    "vibration_x": vibration,
                    "vibration_y": 0.9 * vibration,
                    "temperature": 45.0 + 10 * worn + hour % 12 / 10,
                    "speed": 8000.0 + hour % 28,
                    "load": 40.0 + hour % 20,
                    "power_on_hours": float(hour),
                }
                refs = [sink.resolve(twin, path) for path in values]
                at += 10**9
                await sink.accept(
                    ReadingBatch(
                        self.name,
                        np.array([ref.slot for ref in refs if ref is not None], np.int32),
                        np.array(list(values.values())),
                        np.full(len(values), at, np.int64),
                        np.zeros(len(values), np.uint32),
                        time.time_ns(),
                    )
                )
        await asyncio.get_running_loop().create_future()

    def status(self) -> SourceStatus:
        return SourceStatus(self.name, "live", 0)


async def test_a_worn_spindle_ends_in_one_work_order_and_a_fit_one_in_none(examples: Path, tmp_path: Path) -> None:
    service = Service(
        store=SqliteStore(tmp_path / "twins.db"),
        history=DuckdbHistory(tmp_path / "history.db"),
        rules=read_rules(examples / "rules.yaml"),
        assignments=[Assignment(ModelId("dtmi:com:twinloom:cnc:Spindle;1"), CNC_SPINDLE)],
        sources=[WearingSpindles()],
        seed=read_plant(examples / "plant.yaml").changes,
    )
    async with service:
        scored: list[str] = []
        async with asyncio.timeout(30):
            async for item in service.feed.subscribe(after=service.feed.first_seq, capacity=100_000):
                if isinstance(item, RulScored):
                    scored.extend(e.twin for e in item.estimates if e.method != "rollup")
                if isinstance(item, AlertRaised) and item.alert.severity is Severity.CRITICAL:
                    assert item.alert.twin == SICK
                if isinstance(item, WorkOrderOpened):
                    order = item.order
                    break
        assert (order.twin, order.rule, order.title) == (SICK, "spindle-rul-critical", "Replace the spindle bearings")
        assert order.recommendation
        assert {SICK} <= set(scored) <= {SICK, FIT}
        assert [o.state for o in service.work_orders.find()] == [WorkOrderState.OPEN]
        estimate = service.estimates.latest(SICK)
        assert estimate is not None
        assert estimate.low <= estimate.rul_days <= estimate.high
        assert estimate.rul_days < 14
        assert service.metrics.dropped == {}
        assert [o.alert for o in service.work_orders.find()] == [
            a.id for a in service.alerts.find(twin=SICK, rule="spindle-rul-critical")
        ]
