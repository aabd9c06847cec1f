"""The graph: start with 100,000 twins, a subtree of 33,000 of them, and import beside Neo4j's UNWIND.

The peer is the Neo4j at NEO4J_URI, or the real one that the tests start.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from twinloom.graph.hot import HotGraph
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.graph.store import Change, GraphStore, PutModels, PutRelationship, PutTwin, stamped
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Relationship, Twin
from twinloom.twin.readings import ReadingBatch

UNIT = ModelId("dtmi:com:twinloom:bench:Unit;1")
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": UNIT,
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "name", "schema": "string"},
        *({"@type": "Telemetry", "name": f"value_{n}", "schema": "double"} for n in range(6)),
        {"@type": "Relationship", "name": "contains"},
        {"@type": "Relationship", "name": "feeds"},
    ],
}
PLANTS, LINES, MACHINES = 3, 10, 333
PARTS = 9
BATCH = 10_000
Figure = dict[str, Any]


def twins(plants: int = PLANTS) -> Iterator[tuple[str, str | None]]:
    """(id, parent) of 33,341 twins a plant: lines, machines, parts."""
    for plant in range(plants):
        yield f"plant-{plant}", None
        for line in range(LINES):
            yield f"plant-{plant}/line-{line}", f"plant-{plant}"
            for machine in range(MACHINES):
                yield f"plant-{plant}/line-{line}/m-{machine:03}", f"plant-{plant}/line-{line}"
                for part in range(PARTS):
                    id = f"plant-{plant}/line-{line}/m-{machine:03}"
                    yield f"{id}/part-{part}", id


def changes(plants: int, edges: int) -> tuple[list[Change], list[Change]]:
    """Twins (with the model first) and `edges` relationships: containment, then `feeds` between neighbours."""
    known = list(twins(plants))
    puts: list[Change] = [PutModels((MODEL,), (UNIT,))]
    puts += [
        PutTwin(Twin(TwinId(id), UNIT, {"name": id, "value_0": 1.5, "value_1": 2.5}), create=True) for id, _ in known
    ]
    links = [_edge(parent, "contains", id) for id, parent in known if parent is not None]
    for step in itertools.count(1):
        if len(links) >= edges:
            break
        missing = edges - len(links)
        links += [_edge(id, "feeds", known[(k + step) % len(known)][0]) for k, (id, _) in enumerate(known[:missing])]
    return puts, links[:edges]


def _edge(source: str, name: str, target: str) -> Change:
    return PutRelationship(Relationship(f"{name}:{target}", TwinId(source), name, TwinId(target)))


async def write(store: GraphStore, work: Sequence[Change], first_seq: int, batch: int = BATCH) -> int:
    """Commits in batches; the next free seq."""
    seq = first_seq
    for start in range(0, len(work), batch):
        await store.commit(work[start : start + batch], seq=seq, time_ns=time.time_ns(), cause="bench")
        seq += 1
    return seq


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """CPU seconds of each run: wall time would measure the machine's other work."""
    out: list[float] = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        out.append(time.process_time() - start)
    return out


def run(*, plants: int = PLANTS, edges: int = 500_000) -> Iterator[Figure]:
    """The figures; `plants` and `edges` make it smaller for a test of the benchmark itself."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _import(Path(folder), plants, edges)
        hot, seconds = _start(Path(folder) / "start.db", plants)
    n = len(hot)
    yield {"figure": "start_from_sqlite", "unit": "s", "ours": round(statistics.median(seconds), 3), "twins": n,
           "goal": 3.0, "repeats": len(seconds)}  # fmt: skip
    root = hot.row("plant-0")
    assert root is not None
    size = len(hot.subtree(root))
    took = timed(lambda: hot.subtree(root), 50)
    yield {"figure": "subtree", "unit": "ms CPU", "ours": round(statistics.median(took) * 1e3, 3), "rows": size,
           "twins": n, "goal": 2.0, "repeats": len(took)}  # fmt: skip
    yield from _fold(hot)


def _fold(hot: HotGraph) -> Iterator[Figure]:
    slots = np.flatnonzero(hot.owner >= 0).astype(np.int32)
    for size in (940, 5000):
        chosen = slots[: min(size, len(slots))]
        times = itertools.count(1)

        def once(chosen: Any = chosen, times: Iterator[int] = times) -> None:
            n, now = len(chosen), next(times)
            batch = ReadingBatch("bench", chosen, np.full(n, 1.0), np.full(n, now), np.zeros(n, np.uint32), 10**18)
            hot.fold(batch, hot.seq + 1)

        took = timed(once, 200)
        yield {"figure": f"fold_{size}", "unit": "ns CPU/value", "repeats": len(took),
               "ours": round(statistics.median(took) * 1e9 / len(chosen), 1)}  # fmt: skip


def _start(path: Path, plants: int, repeats: int = 3) -> tuple[HotGraph, list[float]]:
    async def prepare() -> None:
        store = SqliteStore(path)
        await store.open()
        puts, _ = changes(plants, 0)
        links = [_edge(parent, "contains", id) for id, parent in twins(plants) if parent is not None]
        await write(store, links, await write(store, puts, 1))
        await store.close()

    async def start() -> HotGraph:
        store = SqliteStore(path)
        await store.open()
        hot = HotGraph()
        hot.load(await store.load())
        await store.close()
        return hot

    asyncio.run(prepare())
    seconds: list[float] = []
    for _ in range(repeats):
        gc.collect()
        begin = time.perf_counter()
        hot = asyncio.run(start())
        seconds.append(time.perf_counter() - begin)
    return hot, seconds


def _import(folder: Path, plants: int, edges: int) -> Iterator[Figure]:
    puts, links = changes(plants, edges)

    async def ours() -> float:
        store, hot = SqliteStore(folder / "import.db"), HotGraph()
        await store.open()
        begin, seq = time.perf_counter(), 1
        for work in (puts, links):
            for start in range(0, len(work), BATCH):
                part = work[start : start + BATCH]
                now = time.time_ns()
                await store.commit(part, seq=seq, time_ns=now, cause="bench")
                hot.apply(stamped(part, seq=seq, time_ns=now), seq)
                seq += 1
        took = time.perf_counter() - begin
        await store.close()
        return took

    gc.collect()
    gc.freeze()  # what is imported was made before, and is no part of the cost
    rate = (len(puts) + len(links)) / asyncio.run(ours())
    gc.unfreeze()
    figure: Figure = {"figure": "import", "unit": "rows/s", "ours": round(rate), "twins": len(puts) - 1,
                      "relationships": len(links), "goal_ratio": 10, "repeats": 1}  # fmt: skip
    with peer_uri(folder) as uri:
        peer = _unwind(uri, plants)
    figure |= {"peer": "Neo4j UNWIND over Bolt, batches of 1,000", "peer_value": round(peer),
               "ratio": round(rate / peer, 1)}  # fmt: skip
    yield figure


@contextmanager
def peer_uri(folder: Path) -> Iterator[str]:
    """The address of a real Neo4j, started when none is given."""
    given = os.environ.get("NEO4J_URI")
    if given:
        yield given
        return
    tests = str(Path(__file__).resolve().parents[1] / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    from servers.neo4j_server import Neo4jServer

    server = Neo4jServer(folder / "neo4j")
    server.start()
    try:
        yield server.uri
    finally:
        server.kill()


def _unwind(uri: str, plants: int) -> float:
    """Rows/s of the plainest import into Neo4j: twins, then containment, by UNWIND in batches of 1,000."""
    import neo4j

    known = list(itertools.islice(twins(plants), 20_000))
    rows = [{"id": id, "props": {"name": id, "value_0": 1.5, "value_1": 2.5}} for id, _ in known]
    links = [{"s": parent, "t": id} for id, parent in known if parent is not None]
    with neo4j.GraphDatabase.driver(uri, auth=("neo4j", "twinloom")) as driver:
        driver.execute_query("CREATE CONSTRAINT bench_id IF NOT EXISTS FOR (t:BenchTwin) REQUIRE t.id IS UNIQUE")
        begin = time.perf_counter()
        for text, work in (
            ("UNWIND $rows AS row CREATE (t:BenchTwin {id: row.id}) SET t += row.props", rows),
            (
                "UNWIND $rows AS row MATCH (s:BenchTwin {id: row.s}) MATCH (t:BenchTwin {id: row.t})"
                " CREATE (s)-[:contains]->(t)",
                links,
            ),
        ):
            for start in range(0, len(work), 1000):
                driver.execute_query(text, rows=work[start : start + 1000])
        took = time.perf_counter() - begin
        with driver.session() as session:
            session.run("MATCH (t:BenchTwin) CALL (t) { DETACH DELETE t } IN TRANSACTIONS OF 5000 ROWS").consume()
        driver.execute_query("DROP CONSTRAINT bench_id")
    return (len(rows) + len(links)) / took


if __name__ == "__main__":
    for line in run():
        print(json.dumps(line), flush=True)
