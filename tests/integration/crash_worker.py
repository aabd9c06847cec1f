"""A service process for the crash test: python crash_worker.py FOLDER RUN.

Over real SQLite and DuckDB files it takes scripted readings, alerts, opens work orders and serves clients that give
orders. Everything acknowledged or published is a line of JSON on stdout at the moment it is, and the state that it
found is the first line. It runs until it is killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.graph.store import PutModels, PutTwin
from twinloom.runtime.limits import Limits
from twinloom.runtime.rules import Rule
from twinloom.runtime.service import Service
from twinloom.twin.assessments import Severity
from twinloom.twin.commands import (
    AcknowledgeAlert,
    CloseWorkOrder,
    CreateRelationship,
    CreateTwin,
    DeleteTwin,
    UpdateTwin,
    UploadModels,
)
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Twin
from twinloom.twin.ports import ReadingSink, SourceStatus
from twinloom.twin.readings import ReadingBatch
from twinloom.twin.signals import AlertCleared, AlertRaised, Signal, WorkOrderOpened

PUMP = ModelId("dtmi:com:example:Pump;1")
CONTEXT = "dtmi:dtdl:context;3"
MODEL = {
    "@context": CONTEXT,
    "@id": PUMP,
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "count", "schema": "integer", "writable": True},
        {"@type": "Property", "name": "twice", "schema": "integer", "writable": True},
        {"@type": "Telemetry", "name": "pressure", "schema": "double"},
        {"@type": "Relationship", "name": "feeds", "target": PUMP},
    ],
}
CLIENTS = 6
RULES = (
    Rule("burst", PUMP, "pressure", True, 8.0, 5.0, 0.0, Severity.CRITICAL, "{twin} at {value}", "Replace the seal"),
    Rule("high", PUMP, "pressure", True, 6.0, 4.0, 0.0, Severity.WARNING, "{twin} at {value}"),
)


def say(**line: Any) -> None:
    os.write(1, orjson.dumps(line) + b"\n")


class Script:
    """Readings that swing between calm and burst."""

    name = "script"

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def run(self, sink: ReadingSink) -> None:
        slots = []
        for n in range(CLIENTS):
            ref = sink.resolve(TwinId(f"p{n}"), "pressure")
            assert ref is not None
            slots.append(ref.slot)
        while True:
            now = time.time_ns()
            values = [self._chance.choice((1.0, 7.0, 9.0)) for _ in slots]
            n = len(slots)
            await sink.accept(
                ReadingBatch(
                    self.name,
                    np.array(slots, np.int32),
                    np.array(values),
                    np.full(n, now, np.int64),
                    np.zeros(n, np.uint32),
                    now,
                )
            )
            await asyncio.sleep(0.01)

    def status(self) -> SourceStatus:
        return SourceStatus(self.name, "live", 0)


def state(service: Service) -> dict[str, Any]:
    hot = service.hot
    twins = {}
    for row in hot.rows():
        twin = hot.twin(hot.id_of(row))
        assert twin is not None
        twins[twin.id] = {
            "properties": {k: v for k, v in twin.properties.items() if k != "pressure"},
            "feeds": [edge.relationship().target for edge in hot.out(row)],
        }
    return {
        "twins": twins,
        "models": sorted(hot.models),
        "alerts": {a.id: [a.rule, a.twin, a.state.value, a.acknowledged_by] for a in service.alerts},
        "work_orders": {o.id: [o.rule, o.twin, o.state.value, o.alert] for o in service.work_orders},
        "seq": service.seq,
    }


async def client(service: Service, number: int, run: int) -> None:
    """Counts its pump up (two properties in one write), and makes, joins and removes twins and pairs of models."""
    execute = service.orders.execute
    pump = TwinId(f"p{number}")
    count = service.hot.value(service.hot.row(pump) or 0, "count") or 0
    step = 0
    while True:
        step += 1
        count += 1
        outcome = await execute(UpdateTwin(id=pump, set={"count": count, "twice": 2 * count}, key=f"{number}:{count}"))
        say(ack="count", twin=pump, value=count, seq=outcome.seq)
        id = TwinId(f"t-{run}-{number}-{step}")
        say(asked="create", twin=id)
        outcome = await execute(CreateTwin(id=id, model=PUMP, properties={"count": step, "twice": 2 * step}))
        say(ack="create", twin=id, seq=outcome.seq)
        outcome = await execute(CreateRelationship(source=id, name="feeds", target=pump))
        say(ack="join", twin=id, target=pump, seq=outcome.seq)
        if step % 3 == 0:
            say(asked="delete", twin=id)
            outcome = await execute(DeleteTwin(id=id, detach=True))
            say(ack="delete", twin=id, seq=outcome.seq)
        if step % 7 == 0:
            base, derived = (f"dtmi:com:example:m{run}:c{number}:s{step}:{kind};1" for kind in ("Base", "Derived"))
            documents = (
                {"@context": CONTEXT, "@id": derived, "@type": "Interface", "extends": base},
                {"@context": CONTEXT, "@id": base, "@type": "Interface"},
            )
            outcome = await execute(UploadModels(documents=documents))
            say(ack="models", ids=[base, derived], seq=outcome.seq)


async def watch(service: Service, after: int, chance: random.Random, group: asyncio.TaskGroup) -> None:
    """Tells what the feed tells, and gives the orders of the people who look at it."""

    async def acknowledge(alert: str) -> None:
        outcome = await service.orders.execute(AcknowledgeAlert(alert=alert, principal="ann"))
        say(ack="acknowledge", alert=alert, seq=outcome.seq)

    async def close(order: str) -> None:
        outcome = await service.orders.execute(CloseWorkOrder(order=order))
        say(ack="close", order=order, seq=outcome.seq)

    async for item in service.feed.subscribe(after=after, capacity=60_000):
        assert isinstance(item, Signal)
        match item:
            case AlertRaised(alert=alert):
                say(published="raised", alert=alert.id, rule=alert.rule, twin=alert.twin, seq=item.seq)
                if chance.random() < 0.3:
                    group.create_task(acknowledge(alert.id))
            case AlertCleared(alert=alert):
                say(published="cleared", alert=alert.id, seq=item.seq)
            case WorkOrderOpened(order=order):
                say(published="opened", order=order.id, rule=order.rule, twin=order.twin, seq=item.seq)
                if chance.random() < 0.6:
                    group.create_task(close(order.id))
            case _:
                say(published="other", seq=item.seq)


async def main(folder: Path, run: int) -> None:
    chance = random.Random(run)
    pumps = [PutTwin(Twin(TwinId(f"p{n}"), PUMP, {"count": 0, "twice": 0}), create=True) for n in range(CLIENTS)]
    service = Service(
        store=SqliteStore(folder / "twins.db"),
        history=DuckdbHistory(folder / "history.db"),
        rules=RULES,
        sources=[Script(chance)],
        seed=(PutModels((MODEL,), (PUMP,)), *pumps),
        limits=Limits(write_behind_interval_s=0.05),
    )
    await service.start()
    after = service.seq
    say(state=state(service))
    async with asyncio.TaskGroup() as group:
        group.create_task(watch(service, service.feed.first_seq, chance, group))
        for number in range(CLIENTS):
            group.create_task(client(service, number, run))
    assert after >= 0


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
