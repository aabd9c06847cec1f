"""The pipeline: CPU per value from a source's batch to history and feed, and committed orders a second.

The example plant (47 machines, 20 numeric values each), its own rules, SQLite and DuckDB files on this disk. CPU is the
process's, threads included (history, store), divided by the values applied.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.seed import read_plant
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.prognostics.layout import CNC_SPINDLE
from twinloom.runtime.rules import read_rules
from twinloom.runtime.scoring import Assignment
from twinloom.runtime.service import Service
from twinloom.twin.commands import UpdateTwin
from twinloom.twin.ids import ModelId
from twinloom.twin.readings import ReadingBatch

CNC = Path(__file__).resolve().parents[1] / "examples" / "cnc"
SPINDLE = ModelId("dtmi:com:twinloom:cnc:Spindle;1")
VALUES = 500_000
REPEATS = 3
Figure = dict[str, Any]


def service(folder: Path) -> Service:
    return Service(
        store=SqliteStore(folder / "twins.db"),
        history=DuckdbHistory(folder / "history.db"),
        rules=read_rules(CNC / "rules.yaml"),
        assignments=[Assignment(SPINDLE, CNC_SPINDLE)],
        seed=read_plant(CNC / "plant.yaml").changes,
    )


def telemetry_slots(running: Service) -> np.ndarray[Any, np.dtype[np.int32]]:
    hot = running.hot
    return np.array(
        [s for s in range(len(hot.owner)) if hot.owner[s] >= 0 and hot.field_of(s).kind == "telemetry"], np.int32
    )


async def cpu_per_value(size: int) -> tuple[float, int]:
    """(CPU us per value, values of the plant), with batches of `size` values."""
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder)) as running:
            slots = telemetry_slots(running)
            chance = np.random.default_rng(1)
            n_batches, at = VALUES // size, time.time_ns() - 10**12
            parts = [slots[k : k + size] for k in range(0, len(slots) - size + 1, size)] or [slots]
            batches = []
            for n in range(n_batches):
                part = parts[n % len(parts)]
                at += 1_000_000
                batches.append(
                    ReadingBatch(
                        "bench",
                        part,
                        chance.random(len(part)),
                        np.full(len(part), at, np.int64),
                        np.zeros(len(part), np.uint32),
                        at,
                    )
                )
            for batch in batches[: len(parts)]:  # every series gets its number before the clock runs
                await running.pipeline.process(batch)
            await running.historian.flush()
            before, applied = time.process_time(), running.metrics.applied
            for n, batch in enumerate(batches[len(parts) :]):
                await running.pipeline.process(batch)
                if n % 20 == 0:
                    await asyncio.sleep(0)
            await running.historian.flush()
            await running.write_behind.flush(everything=True)
            used = time.process_time() - before
            return used / (running.metrics.applied - applied) * 1e6, len(slots)


async def orders_per_s(twins: int, orders: int) -> float:
    """Committed property updates a second, as many writers as twins, each one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder)) as running:
            ids = [running.hot.id_of(row) for row in running.hot.rows_of(None)][:twins]

            async def writer(number: int) -> None:
                for n in range(orders // twins):
                    await running.orders.execute(UpdateTwin(id=ids[number], set={"name": f"{number}-{n}"}))

            started = time.monotonic()
            await asyncio.gather(*(writer(n) for n in range(twins)))
            return (orders // twins) * twins / (time.monotonic() - started)


def run() -> Iterator[Figure]:
    for size, said in ((940, "batches of 940"), (20, "batches of 20")):
        found = [asyncio.run(cpu_per_value(size))[0] for _ in range(REPEATS)]
        yield figure(
            f"pipeline: fold, features, alerts, history, feed; {said}", "us CPU/value", statistics.median(found)
        )
    for twins, orders, said in (
        (100, 4000, "beside each other on 100 twins"),
        (1, 300, "one after the other on one twin"),
    ):
        rates = [asyncio.run(orders_per_s(twins, orders)) for _ in range(REPEATS)]
        yield figure(f"pipeline: committed property updates, {said}", "1/s", statistics.median(rates))


def figure(name: str, unit: str, ours: float) -> Figure:
    row = {"figure": name, "unit": unit, "ours": round(ours, 3), "peer": None, "peer_value": None, "ratio": None}
    return {**row, "repeats": REPEATS}


if __name__ == "__main__":
    for row in run():
        print(json.dumps(row), flush=True)
