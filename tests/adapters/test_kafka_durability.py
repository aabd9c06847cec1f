"""A committed offset means values on disk: the whole service over a real Kafka, cut off at the worst moment."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import uuid
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from servers.kafka_server import shared_bootstrap

from twinloom.adapters.kafka.source import KafkaSource, sources_of
from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.seed import read_plant
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.runtime.service import Service
from twinloom.twin.ids import TwinId

SPINDLE = TwinId("toulouse/line-1/cnc-01/spindle")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """host:port of the run's Kafka."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    base = tmp_path_factory.getbasetemp()
    return shared_bootstrap((base.parent if worker else base) / "kafka", os.getppid() if worker else os.getpid())


def source(folder: Path, broker: str, bus: str) -> KafkaSource:
    file = folder / "kafka.yaml"
    rule = {"topic": bus, "at": "/values", "time": "/t", "twin": SPINDLE}
    settings = {"name": "bus", "bootstrap": broker, "group": bus, "poll_records": 50, "commit_interval_s": 0.05}
    file.write_bytes(orjson.dumps({"brokers": [settings], "rules": [rule]}))
    return sources_of(file)[0]


def service(folder: Path, examples: Path) -> Service:
    return Service(
        store=SqliteStore(folder / "twins.db"),
        history=DuckdbHistory(folder / "history.db"),
        seed=read_plant(examples / "plant.yaml").changes,
    )


async def test_after_a_crash_the_history_has_every_value_once(broker: str, tmp_path: Path, examples: Path) -> None:
    bus, count, start = f"bus-{uuid.uuid4().hex[:8]}", 2000, time.time_ns() - 10**10
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()

    async def send(number: int) -> None:
        body = {"t": start + number * 1_000_000, "values": {"load": number % 100, "speed": number}}
        await producer.send(bus, orjson.dumps(body), key=SPINDLE.encode())

    for number in range(count):
        await send(number)
    await producer.flush()

    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    reader = source(before, broker, bus)
    async with service(before, examples) as running:
        reading = asyncio.create_task(reader.run(running.pipeline))
        async with asyncio.timeout(30):
            while reader.status().counters.get("commits", 0) < 1:  # noqa: ASYNC110 the counters tell nobody
                await asyncio.sleep(0.005)
        # Nothing is committed any more, and what is on the disk now is what a power cut would leave.
        reading.cancel()
        await asyncio.wait({reading})
        shutil.copytree(before, after)

    reader = source(after, broker, bus)
    async with service(after, examples) as running:
        reading = asyncio.create_task(reader.run(running.pipeline))
        await send(count)
        await producer.stop()
        async with asyncio.timeout(30):
            while running.hot.value(running.hot.row(SPINDLE), "speed") != count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await running.pipeline.durable()
        points = await running.history.read(SPINDLE, "speed", 0, time.time_ns(), 10 * count)
        assert points.value.tolist() == [float(n) for n in range(count + 1)]
        assert points.source_time_ns.tolist() == [start + n * 1_000_000 for n in range(count + 1)]
        reading.cancel()
        await asyncio.wait({reading})
