"""Import of 100,000 twins and 500,000 relationships from NDJSON: every line checked, into SQLite and the hot graph.

The first figure stands beside the design's bound of 12 s, the others beside the same rows without twinloom: JSON lines
through `json` into plain SQLite tables, unchecked, one transaction.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twinloom.app.loading import Loaded, check, write
from twinloom.app.ndjson import NdjsonReading, export_lines, write_file
from twinloom.graph.hot import HotGraph
from twinloom.graph.sqlite_store import SqliteStore

MODEL = "dtmi:com:twinloom:bench:Unit;1"
DOCUMENT = {
    "@context": "dtmi:dtdl:context;3",
    "@id": MODEL,
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "name", "schema": "string", "writable": True},
        {"@type": "Property", "name": "power", "schema": "double"},
        {"@type": "Property", "name": "commissioned", "schema": "date"},
        {"@type": "Telemetry", "name": "temperature", "schema": "double"},
        {"@type": "Relationship", "name": "contains", "target": MODEL},
        {"@type": "Relationship", "name": "feeds", "target": MODEL},
    ],
}
Figure = dict[str, Any]


def make_file(path: Path, twins: int, relationships: int) -> None:
    """A tree of `twins` with ten children each, then `feeds` between twins at random."""
    chance = random.Random(7)
    ids = [f"plant/unit-{number:06}" for number in range(twins)]
    with path.open("w") as file:

        def line(value: Figure) -> None:
            file.write(json.dumps(value, separators=(",", ":")) + "\n")

        line({"Section": "Header"})
        line({"fileVersion": "1.0.0", "author": "bench", "organization": ""})
        line({"Section": "Models"})
        line(DOCUMENT)
        line({"Section": "Twins"})
        for number, id in enumerate(ids):
            line(
                {
                    "$dtId": id,
                    "$metadata": {"$model": MODEL},
                    "commissioned": "2020-01-31",
                    "name": f"unit {number}",
                    "power": number * 0.5,
                }
            )
        line({"Section": "Relationships"})
        for number in range(1, twins):
            line(_edge(ids[(number - 1) // 10], "contains", ids[number]))
        seen: set[tuple[int, int]] = set()
        while len(seen) < relationships - twins + 1:
            pair = chance.randrange(twins), chance.randrange(twins)
            if pair not in seen:
                seen.add(pair)
                line(_edge(ids[pair[0]], "feeds", ids[pair[1]]))


def _edge(source: str, name: str, target: str) -> Figure:
    return {"$sourceId": source, "$relationshipId": f"{name}:{target}", "$targetId": target, "$relationshipName": name}


async def ours(file: Path, database: Path) -> tuple[float, Loaded]:
    """Seconds of a checked import into a new store and an empty hot graph."""
    started = time.perf_counter()
    hot, store, reading = HotGraph(), SqliteStore(database), NdjsonReading(file)
    await store.open()
    try:
        loaded = await write(reading, check(reading, hot), hot, store, 0)
    finally:
        await store.close()
    assert len(hot) == loaded.twins.created
    return time.perf_counter() - started, loaded


def plain(file: Path, database: Path) -> float:
    """Seconds of `json` and `executemany`, nothing checked."""
    started = time.perf_counter()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE twins (id TEXT PRIMARY KEY, model TEXT, properties TEXT) WITHOUT ROWID")
    connection.execute(
        "CREATE TABLE edges (source TEXT, id TEXT, name TEXT, target TEXT, PRIMARY KEY (source, id)) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX by_target ON edges(target)")
    twins, edges = [], []
    with file.open() as lines:
        for text in lines:
            value = json.loads(text)
            if "$dtId" in value:
                twins.append((value.pop("$dtId"), value.pop("$metadata")["$model"], json.dumps(value)))
            elif "$sourceId" in value:
                edges.append(
                    (value["$sourceId"], value["$relationshipId"], value["$relationshipName"], value["$targetId"])
                )
    with connection:
        connection.executemany("INSERT INTO twins VALUES (?, ?, ?)", twins)
        connection.executemany("INSERT INTO edges VALUES (?, ?, ?, ?)", edges)
    connection.close()
    return time.perf_counter() - started


async def _again(file: Path, database: Path, out: Path) -> tuple[float, float]:
    """Seconds of importing the same file once more (nothing changes), and of an export."""
    store, reading = SqliteStore(database), NdjsonReading(file)
    await store.open()
    try:
        started = time.perf_counter()
        hot = HotGraph()
        snapshot = await store.load()
        hot.load(snapshot)
        loaded = await write(reading, check(reading, hot), hot, store, snapshot.seq)
        second = time.perf_counter() - started
        assert (loaded.twins.created, loaded.twins.updated, loaded.relationships.created) == (0, 0, 0)
        started = time.perf_counter()
        write_file(out, export_lines(await store.load()))
        return second, time.perf_counter() - started
    finally:
        await store.close()


def run(twins: int = 100_000, relationships: int = 500_000, repeats: int = 3) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "graph.ndjson"
        make_file(file, twins, relationships)
        mine: list[float] = []
        peers: list[float] = []
        for turn in range(repeats):
            mine.append(asyncio.run(ours(file, folder / f"ours-{turn}.db"))[0])
            peers.append(plain(file, folder / f"plain-{turn}.db"))
        second, export = asyncio.run(_again(file, folder / "ours-0.db", folder / "out.ndjson"))
        what = f"{twins} twins + {relationships} relationships"
        seconds, peer = statistics.median(mine), statistics.median(peers)
        yield _figure(
            f"NDJSON import, {what}, checked, SQLite + hot graph", seconds, "bound of the design", 12.0, repeats
        )
        yield _figure(f"NDJSON import, {what}", seconds, "json + sqlite3, unchecked, no graph", peer, repeats)
        yield _figure(f"NDJSON import of the same file again, {what}", second, "its first import", seconds, 1)
        yield _figure(f"NDJSON export, {what}", export, "its import", seconds, 1)


def _figure(figure: str, ours: float, peer: str, peer_value: float, repeats: int) -> Figure:
    return {
        "figure": figure,
        "unit": "s",
        "ours": round(ours, 3),
        "peer": peer,
        "peer_value": round(peer_value, 3),
        "ratio": round(ours / peer_value, 3),
        "repeats": repeats,
    }


if __name__ == "__main__":
    for row in run(repeats=int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        print(json.dumps(row), flush=True)
