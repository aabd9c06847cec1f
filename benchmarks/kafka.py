"""CPU per value of JSON batches from Kafka into state and history, by the shape of the messages.

A real broker (KRaft, in a process of its own that is not counted), the whole service with the example plant: consumer,
decoder, fold, features, alerts, history on disk, feed, committed offsets. CPU is user + system time of this process,
threads included, from the first fetch until the last value is durable. Nobody publishes this path: there is no peer.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from servers.kafka_server import KafkaServer

from twinloom.adapters.kafka.source import KafkaSource, sources_of
from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.seed import read_plant
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.runtime.rules import read_rules
from twinloom.runtime.service import Service

CNC = Path(__file__).resolve().parents[1] / "examples" / "cnc"
VALUES = 500_000
REPEATS = 3
# 20 numbers a machine, by the component that has them.
PATHS = {
    "spindle": ("vibration_x", "vibration_y", "temperature", "speed", "load", "power_on_hours"),
    "axis-x": ("load", "position"), "axis-y": ("load", "position"), "axis-z": ("load", "position"),
    "coolant-pump": ("pressure", "flow", "temperature"), "tool-changer": ("change_time", "cycle_count"),
}  # fmt: skip
NAMES = [f"{component}.{path}" for component, paths in PATHS.items() for path in paths]
NAMES += ["power_consumption", "temperature", "feed_rate"]
MEMBERS = [
    {"member": "{component}.{property}", "twin": "{/id}/{component}", "property": "{property}"},
    {"member": "{property}", "twin": "{/id}", "property": "{property}"},
]
Figure = dict[str, Any]


def columns(machine: str, number: int, at_ns: int, samples: int) -> bytes:
    times = [at_ns + sample * 100_000 for sample in range(samples)]
    rows = {name: [round(number % 7 + k / 8 + n / 64, 3) for k in range(samples)] for n, name in enumerate(NAMES)}
    return orjson.dumps({"id": machine, "t": times, "columns": rows})


def values(machine: str, number: int, at_ns: int, samples: int) -> bytes:
    return orjson.dumps([
        {"id": machine, "t": at_ns + sample * 100_000,
         "values": {name: round(number % 7 + sample / 8 + n / 64, 3) for n, name in enumerate(NAMES)}}
        for sample in range(samples)
    ])  # fmt: skip


def readings(machine: str, number: int, at_ns: int, samples: int) -> bytes:
    rows = [
        {
            "id": machine,
            "name": name,
            "value": round(number % 7 + sample / 8 + n / 64, 3),
            "t": at_ns + sample * 100_000,
        }
        for sample in range(samples)
        for n, name in enumerate(NAMES)
    ]
    return orjson.dumps(rows)


SHAPES: dict[str, tuple[Callable[[str, int, int, int], bytes], dict[str, Any]]] = {
    "columns, 20 names x 50 times a message": (columns, {"shape": "columns", "at": "/columns", "time": "/t"}),
    "values, 50 objects of 20 a message": (values, {"shape": "values", "at": "/values", "time": "/t"}),
    "readings, 1000 objects of 1 a message": (readings, {"shape": "readings", "time": ".t"}),
}


async def fill(bootstrap: str, topic: str, make: Callable[[str, int, int, int], bytes], machines: list[str]) -> int:
    """Produces VALUES values, keyed by machine; returns their number."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=1 << 19, linger_ms=20)
    await producer.start()
    start, samples, sent = time.time_ns() - 3_600_000_000_000, 50, 0
    number = 0
    while sent < VALUES:
        machine = machines[number % len(machines)]
        body = make(machine, number, start + number * samples * 100_000, samples)
        await producer.send(topic, body, key=machine.encode())
        sent += samples * len(NAMES)
        number += 1
    await producer.stop()
    return sent


def source(folder: Path, bootstrap: str, topic: str, rule: dict[str, Any]) -> KafkaSource:
    members = MEMBERS if rule["shape"] != "readings" else [
        {**member, "twin": member["twin"].replace("/id", ".id")} for member in MEMBERS
    ]  # fmt: skip
    file = folder / "kafka.yaml"
    broker = {"name": "bus", "bootstrap": bootstrap, "group": topic, "poll_records": 40, "message_bytes": 4 << 20}
    file.write_text(json.dumps({"brokers": [broker], "rules": [{"topic": topic, **rule, "members": members}]}))
    (found,) = sources_of(file)
    return found


async def cpu_per_value(bootstrap: str, topic: str, shape: str) -> float:
    """CPU us per value that was applied and is durable."""
    make, rule = SHAPES[shape]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = Service(
            store=SqliteStore(folder / "twins.db"),
            history=DuckdbHistory(folder / "history.db"),
            rules=read_rules(CNC / "rules.yaml"),
            seed=read_plant(CNC / "plant.yaml").changes,
        )
        async with service as running:
            machines = [id for row in running.hot.rows() if (id := running.hot.id_of(row)).count("/") == 2]
            sent = await fill(bootstrap, topic, make, machines)
            reader = source(folder, bootstrap, topic, rule)
            before = time.process_time()
            task = asyncio.create_task(reader.run(running.pipeline))
            while running.metrics.applied < sent:  # noqa: ASYNC110 the metrics tell nobody
                await asyncio.sleep(0.05)
            await running.pipeline.durable()
            used = time.process_time() - before
            task.cancel()
            await asyncio.wait({task})
            return used / sent * 1e6


def run() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        server = KafkaServer(Path(folder) / "kafka")
        server.start()
        try:
            for number, shape in enumerate(SHAPES):
                used = [
                    asyncio.run(cpu_per_value(server.bootstrap, f"bench-{number}-{n}", shape)) for n in range(REPEATS)
                ]
                yield {
                    "figure": f"kafka: JSON to state and history; {shape}", "unit": "us CPU/value",
                    "ours": round(statistics.median(used), 3), "peer": None, "peer_value": None, "ratio": None,
                    "repeats": REPEATS,
                }  # fmt: skip
        finally:
            server.kill()


if __name__ == "__main__":
    for row in run():
        print(json.dumps(row), flush=True)
