"""kill -9 of a writing process at random instants: what it was told is durable is there, and nothing by half."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.twin.errors import StoreUnavailable
from twinloom.twin.ids import TwinId

KILLS = 20
SIZE = 40

SQLITE_WRITER = """
import asyncio, sys
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.graph.store import LastValue, PutRecord, PutRelationship, PutTwin
from twinloom.twin.instance import Relationship, Twin

async def main(path, size):
    store = SqliteStore(path)
    await store.open()
    start = (await store.load()).seq + 1
    print("ready", flush=True)

    async def write(seq):
        twins = [PutTwin(Twin(f"{seq}.{n}", "dtmi:test:T;1", {"n": seq}), create=True) for n in range(size)]
        edges = [PutRelationship(Relationship("next", f"{seq}.{n}", "next", f"{seq}.0")) for n in range(1, size)]
        record = PutRecord("alert", str(seq), {"n": seq})
        await store.commit([*twins, *edges, record], seq=seq, time_ns=seq, cause="crash")
        print(seq, flush=True)

    for first in range(start, start + 10**6, 3):
        await asyncio.gather(*(write(seq) for seq in range(first, first + 3)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

DUCKDB_WRITER = """
import asyncio, sys
import numpy as np
from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.history import HistoryRows
from twinloom.twin.readings import Gap

async def main(path, size):
    history = DuckdbHistory(path)
    await history.open()
    start = len(await history.gaps(None, 0, 2**62)) * 1000
    print("ready", flush=True)
    for number in range(start, start + 10**6):
        series = history.series_of(f"t{number}", "x")
        n = np.full(size, 0)
        times, value = np.arange(size) + number, n + float(number)
        rows = HistoryRows(n.astype(np.int32) + series, times, value, n.astype(np.uint32))
        await history.append(rows)
        print(number, flush=True)
        if number == start:
            await history.append_gap(Gap("marks a start", number, number, "test"))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@contextmanager
def writing(script: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes to `path` and tells what is durable, once it has begun."""
    command = [sys.executable, "-c", script, str(path), str(SIZE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def kill_at_random(script: str, path: Path, chance: random.Random) -> set[int]:
    """Runs a writer, kills it some random time after it is ready; the numbers that it was told are durable."""
    with writing(script, path) as process:
        time.sleep(chance.uniform(0.0, 0.25))  # the random instant, not a wait for something
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        told = process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    return {int(line) for line in told.split("\n")[:-1]}


async def test_sqlite_keeps_every_acknowledged_commit_whole_over_kills(tmp_path: Path) -> None:
    path, chance = tmp_path / "twins.db", random.Random(1)
    acknowledged: set[int] = set()
    for _ in range(KILLS):
        acknowledged |= kill_at_random(SQLITE_WRITER, path, chance)
    store = SqliteStore(path)
    await store.open()
    snapshot = await store.load()
    log = await store.log(0, 10**6)
    await store.close()

    twins = Counter(int(twin.id.partition(".")[0]) for twin in snapshot.twins)
    edges = Counter(int(edge.source.partition(".")[0]) for edge in snapshot.relationships)
    records = {int(key) for _, key, _ in snapshot.records}
    assert len(acknowledged) > KILLS, "the writers were killed before they wrote"
    assert acknowledged <= records
    assert set(twins.values()) == {SIZE}
    assert set(edges.values()) == {SIZE - 1}
    assert set(twins) == set(edges) == records == {entry.seq for entry in log}
    assert snapshot.seq == max(records)


async def test_duckdb_keeps_every_acknowledged_batch_whole_over_kills(tmp_path: Path) -> None:
    path, chance = tmp_path / "history.db", random.Random(2)
    acknowledged: set[int] = set()
    for _ in range(KILLS // 2):
        acknowledged |= kill_at_random(DUCKDB_WRITER, path, chance)
    assert len(acknowledged) > KILLS // 2, "the writers were killed before they wrote"
    history = DuckdbHistory(path)
    await history.open()
    numbers = set(acknowledged) | {number + 1 for number in acknowledged}
    for number in sorted(numbers):
        points = await history.read(TwinId(f"t{number}"), "x", 0, 2**62, 10**6)
        if number in acknowledged:
            assert points.source_time_ns.tolist() == list(range(number, number + SIZE))
            assert points.value.tolist() == [float(number)] * SIZE
        else:
            assert len(points) in (0, SIZE), "a batch is there by half"
    await history.close()


@pytest.mark.parametrize("script", [SQLITE_WRITER, DUCKDB_WRITER], ids=["sqlite", "duckdb"])
async def test_a_second_process_cannot_open_what_another_writes(script: str, tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    store = SqliteStore(path) if script is SQLITE_WRITER else DuckdbHistory(path)
    with writing(script, path) as process:
        with pytest.raises(StoreUnavailable, match="in use by another process"):
            await store.open()
        process.kill()
    await store.open()
    await store.close()
