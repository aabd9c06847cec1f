"""History: appending columns in group commits, and reading one series of many."""

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
from twinloom.graph.history import HistoryRows
from twinloom.twin.ids import TwinId

SERIES = 940
BATCH = 5000
SPAN_NS = 24 * 3600 * 10**9
MINUTE_NS = 60 * 10**9


def run(*, points: int = 2_000_000) -> Iterator[dict[str, Any]]:
    """`points` spread over 24 h and 940 series, appended in batches of 5,000 (one durable transaction each)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        yield from asyncio.run(_measure(path, points))
        size = path.stat().st_size / points
    yield {"figure": "history_size", "unit": "bytes/value", "ours": round(size, 2), "repeats": 1}


async def _measure(path: Path, points: int) -> list[dict[str, Any]]:
    history = DuckdbHistory(path)
    await history.open()
    numbers = np.array([history.series_of(TwinId(f"t{n}"), "x") for n in range(SERIES)], np.int32)
    chance = np.random.default_rng(1)
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, points, BATCH):
        index = np.arange(start, min(start + BATCH, points))
        rows = HistoryRows(
            numbers[index % SERIES],
            (index / points * SPAN_NS).astype(np.int64),
            chance.random(len(index)),
            np.zeros(len(index), np.uint32),
        )
        await history.append(rows)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    repeats = points // BATCH
    out: list[dict[str, Any]] = [
        {"figure": "history_append", "unit": "us CPU/value", "ours": round(cpu / points * 1e6, 3), "repeats": repeats},
        {"figure": "history_append_rate", "unit": "values/s", "ours": round(points / wall), "repeats": repeats},
    ]
    buckets: list[float] = []
    raw: list[float] = []
    for n in range(9):
        begin = time.perf_counter()
        found = await history.buckets(TwinId(f"t{n * 100}"), "x", 0, SPAN_NS, MINUTE_NS)
        buckets.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        await history.read(TwinId(f"t{n * 100}"), "x", 0, SPAN_NS // 24, 10_000)
        raw.append(time.perf_counter() - begin)
    for name, seconds in (("24h_by_minute", buckets), ("1h_raw", raw)):
        out.append(
            {"figure": f"history_read_{name}", "unit": "ms", "ours": round(statistics.median(seconds) * 1e3, 2),
             "points": points, "buckets": len(found), "repeats": len(seconds)}
        )  # fmt: skip
    await history.close()
    return out


if __name__ == "__main__":
    for line in run():
        print(json.dumps(line), flush=True)
