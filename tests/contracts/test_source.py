"""What every `Source` promises the core, tried on each of them against a real server process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from servers.opcua_simulator import SimulatorProcess
from servers.ports import free_port
from servers.recording import RecordingSink, running
from servers.telemetry_plant import kafka_plant, mqtt_plant

from twinloom.adapters.opcua.mapping import read_mapping
from twinloom.adapters.opcua.source import OpcUaSource
from twinloom.twin.ports import Source


class Plant(Protocol):
    """A running server that sends numbers, and a source that reads it."""

    def source(self) -> Source: ...

    def kill(self) -> None: ...

    def start(self) -> None: ...


@dataclass
class OpcUaPlant:
    simulator: SimulatorProcess
    examples: Path

    def source(self) -> Source:
        mapping = read_mapping(self.examples / "opcua.yaml")
        return OpcUaSource(replace(mapping.servers[0], endpoint=self.simulator.endpoint), mapping)

    def kill(self) -> None:
        self.simulator.kill()

    def start(self) -> None:
        self.simulator.start()


@pytest.fixture(params=["opcua", "mqtt", "kafka"])
def plant(request: pytest.FixtureRequest, tmp_path: Path, examples: Path) -> Iterator[Plant]:
    if request.param != "opcua":  # replay has no server to lose: its promises are in test_replay_source.py
        broker = mqtt_plant(tmp_path) if request.param == "mqtt" else kafka_plant(tmp_path)
        broker.start()
        yield broker
        broker.kill()
        return
    simulator = SimulatorProcess(free_port(), tmp_path)
    simulator.start()
    yield OpcUaPlant(simulator, examples)
    simulator.kill()


async def test_a_source_keeps_its_promises_from_the_first_value_over_an_outage_to_its_end(plant: Plant) -> None:
    source, sink = plant.source(), RecordingSink()
    assert source.status().state == "connecting"
    async with running(source, sink):
        await sink.until(lambda: sink.count > 200)
        assert source.status().state == "live" and source.status().name == source.name
        assert source.status().counters["received"] >= 200

        for batch in sink.batches:
            assert batch.source == source.name
            columns = (batch.slots, batch.values, batch.source_times_ns, batch.quality)
            assert [column.dtype for column in columns] == [np.int32, np.float64, np.int64, np.uint32]
            assert len({len(column) for column in columns}) == 1
            assert batch.received_ns > 0 and (batch.slots >= 0).all()

        await asyncio.to_thread(plant.kill)
        await sink.until(lambda: sink.states[-1] == "lost")
        assert sink.statuses[-1].reason
        assert set(sink.twins) >= {twin for twin, _ in sink.slots}
        before = sink.count
        await asyncio.to_thread(plant.start)
        await sink.until(lambda: sink.count > before + 50 and source.status().state == "live", 30.0)
        (gap,) = sink.gaps
        assert gap.source == source.name and gap.start_ns < gap.end_ns and gap.reason
        assert sink.duplicates() == 0
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]


async def test_a_source_waits_while_the_pipeline_is_full(plant: Plant) -> None:
    source, sink = plant.source(), RecordingSink()
    async with running(source, sink):
        await sink.until(lambda: sink.count > 0)
        sink.gate.clear()
        count = sink.count
        await asyncio.sleep(0.5)
        assert sink.count == count
        sink.gate.set()
        await sink.until(lambda: sink.count > count)
    assert sink.states == ["live"] and sink.lost() == 0
