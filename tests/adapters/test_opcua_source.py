"""The OPC UA source against a real simulator process over TCP: stream, outages, overflow, units, quality."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers.opcua_simulator import SimulatorProcess
from servers.proxy import proxy_to
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.ledger import read_record
from twinloom.adapters.opcua.mapping import OpcUaMapping, read_mapping
from twinloom.adapters.opcua.source import OpcUaSource

Start = Callable[..., SimulatorProcess]
Read = Callable[..., Any]

MACHINE = "toulouse/line-1/cnc-01"
NUMBERS = 42  # two machines with 20 sensors and a feed override each


async def test_every_sample_arrives_once_with_its_time_and_the_simulator_agrees(
    start_simulator: Start, read_from: Read
) -> None:
    simulator, sink = start_simulator(), RecordingSink()
    async with read_from(simulator, sink):
        await sink.until(lambda: sink.count > NUMBERS * 25)
    simulator.stop()
    record = read_record(simulator.stats_file)
    assert sink.duplicates() == 0 and sink.lost() == 0
    assert len(sink.slots) == NUMBERS
    for twin, path in sink.slots:
        if path == "controller.feed_override":
            continue
        rows = sink.series(twin, path)
        times = [row[0] for row in rows]
        assert times == sorted(times)
        node = f"{twin.removeprefix('toulouse/')}/{path}"
        assert record.between(node, times[0], times[-1]) == len(rows)


async def test_slow_text_and_a_writable_number_arrive_with_their_twins(
    simulator: SimulatorProcess, read_from: Read
) -> None:
    sink = RecordingSink()
    async with read_from(simulator, sink):
        await sink.until(lambda: len(sink.texts) >= 4 and sink.count > NUMBERS)
    modes = {text.value for text in sink.texts if text.path == "controller.operating_mode"}
    assert modes <= {"manual", "automatic", "idle", "fault", "maintenance"} and modes
    assert sink.series(MACHINE, "controller.feed_override")[0][1] == 100.0
    assert set(sink.twins) >= {MACHINE, f"{MACHINE}/spindle"}


async def test_values_are_converted_to_the_units_of_the_model(simulator: SimulatorProcess, read_from: Read) -> None:
    sink = RecordingSink(units={"temperature": "degreeFahrenheit", "vibration_x": "m/s", "power_on_hours": "day"})
    async with read_from(simulator, sink):
        await sink.until(lambda: sink.count > NUMBERS * 2)
    assert 45.0 < sink.series(f"{MACHINE}/spindle", "temperature")[0][1] < 180.0
    assert 0.0001 < sink.series(f"{MACHINE}/spindle", "vibration_x")[0][1] < 0.01
    assert sink.series(f"{MACHINE}/axis-x", "position")[0][1] != 0.0


async def test_a_node_whose_unit_measures_something_else_is_left_out_and_counted(
    simulator: SimulatorProcess, read_from: Read
) -> None:
    sink = RecordingSink(units={"speed": "kilogram"})
    async with read_from(simulator, sink) as source:
        await sink.until(lambda: sink.count > NUMBERS * 2)
        assert source.status().counters["unit_mismatch"] == 2
    assert sink.series(f"{MACHINE}/spindle", "speed") == []


async def test_a_bad_sample_keeps_its_status_code(start_simulator: Start, read_from: Read) -> None:
    simulator, sink = start_simulator("--bad-share", "0.2"), RecordingSink()
    async with read_from(simulator, sink) as source:
        await sink.until(lambda: sink.count > NUMBERS * 20)
        assert source.status().counters["bad_quality"] > 0
    quality = np.concatenate([batch.quality for batch in sink.batches])
    assert set(np.unique(quality).tolist()) == {0, 0x808C0000}
    assert 0.1 < float((quality != 0).mean()) < 0.3


async def test_a_killed_server_is_one_gap_and_fresh_values_within_five_seconds_of_its_return(
    start_simulator: Start, read_from: Read
) -> None:
    simulator, sink = start_simulator(), RecordingSink()
    async with read_from(simulator, sink) as source:
        await sink.until(lambda: sink.count > NUMBERS * 5)
        simulator.kill()
        await sink.until(lambda: sink.states[-1] == "lost")
        before = sink.count
        await asyncio.to_thread(simulator.start)
        up = time.monotonic()
        await sink.until(lambda: sink.count > before + NUMBERS)
        assert time.monotonic() - up < 5.0
        assert source.status().state == "live"
    (gap,) = sink.gaps
    times = np.concatenate([batch.source_times_ns for batch in sink.batches])
    assert gap.start_ns in times and gap.end_ns > gap.start_ns and gap.end_ns in times
    moving = [row[0] for row in sink.series(f"{MACHINE}/spindle", "speed")]
    assert not any(gap.start_ns < time < gap.end_ns for time in moving)
    assert sink.duplicates() == 0
    assert sink.states == ["live", "lost", "live"]


async def test_a_frozen_server_is_stale_within_three_keep_alives_and_live_again_when_it_goes_on(
    start_simulator: Start, read_from: Read
) -> None:
    simulator, sink = start_simulator(), RecordingSink()
    async with read_from(simulator, sink, keep_alive_s=0.4, give_up_s=30.0):
        await sink.until(lambda: sink.count > NUMBERS * 5)
        frozen = time.monotonic()
        simulator.freeze()
        await sink.until(lambda: sink.states[-1] == "stale", 5.0)
        assert time.monotonic() - frozen < 3 * 0.4 + 0.5
        before = sink.count
        simulator.thaw()
        await sink.until(lambda: sink.count > before + NUMBERS)
    assert sink.states == ["live", "stale", "live"]
    assert len(sink.gaps) == 1 and sink.duplicates() == 0


async def test_a_server_frozen_for_long_is_given_up_and_found_again(start_simulator: Start, read_from: Read) -> None:
    simulator, sink = start_simulator(), RecordingSink()
    async with read_from(simulator, sink, keep_alive_s=0.3, give_up_s=0.5, connect_timeout_s=1.0):
        await sink.until(lambda: sink.count > NUMBERS * 5)
        simulator.freeze()
        await sink.until(lambda: sink.states[-1] == "lost")
        before = sink.count
        simulator.thaw()
        thawed = time.monotonic()
        await sink.until(lambda: sink.count > before + NUMBERS)
        assert time.monotonic() - thawed < 5.0
    assert sink.states == ["live", "stale", "lost", "live"]
    assert len(sink.gaps) == 1 and sink.duplicates() == 0


async def test_a_sink_that_holds_back_makes_the_server_overflow_and_the_loss_is_counted(
    simulator: SimulatorProcess, examples: Path, tmp_path: Path
) -> None:
    shallow = tmp_path / "shallow.yaml"
    text = (examples / "opcua.yaml").read_text(encoding="utf-8")
    shallow.write_text(re.sub(r"queue_size: \d+", "queue_size: 5", text), encoding="utf-8")
    mapping = read_mapping(shallow)
    source = OpcUaSource(replace(mapping.servers[0], endpoint=simulator.endpoint), mapping)
    sink = RecordingSink()
    async with running(source, sink):
        await sink.until(lambda: sink.count > NUMBERS * 3)
        sink.gate.clear()
        # The server keeps five samples a node and answers at most four requests: twenty ticks are more than that.
        await sink.wait_for_wall_time(time.time_ns() + 2_000_000_000)
        sink.gate.set()
        await sink.until(lambda: sink.lost() > 0)
        assert source.status().counters["queue_overflow"] == sink.lost() == 40
    assert sink.states == ["live"]


async def test_values_of_a_twin_that_is_created_later_are_read_from_then_on(
    simulator: SimulatorProcess, read_from: Read
) -> None:
    known = {f"{MACHINE}/spindle"}
    sink = RecordingSink(accepts=lambda twin, path: twin in known)
    async with read_from(simulator, sink) as source:
        await sink.until(lambda: sink.count > 6 * 3)
        assert source.status().counters["unmapped_nodes"] == 46 - 6
        known.add(f"{MACHINE}/axis-x")
        sink.layout_version += 1
        await sink.until(lambda: (f"{MACHINE}/axis-x", "load") in sink.slots and sink.count > 6 * 10)
        await sink.until(lambda: len(sink.series(f"{MACHINE}/axis-x", "load")) > 3)
    assert sink.states == ["live"]


async def test_a_server_that_is_not_there_is_reported_and_tried_again(
    cnc_mapping: OpcUaMapping, free_port: Callable[[], int]
) -> None:
    settings = replace(cnc_mapping.servers[0], endpoint=f"opc.tcp://127.0.0.1:{free_port()}", retry_max_s=0.3)
    source, sink = OpcUaSource(settings, cnc_mapping), RecordingSink()
    async with asyncio.timeout(10), running(source, sink):
        await sink.until(lambda: source.status().counters.get("failed_connects", 0) >= 3)
    assert source.status().state == "connecting"
    assert "cannot be reached" in source.status().reason
    assert len(sink.statuses) <= 1


async def test_a_port_that_accepts_and_never_answers_does_not_hang_the_source(cnc_mapping: OpcUaMapping) -> None:
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        settings = replace(
            cnc_mapping.servers[0],
            endpoint=f"opc.tcp://127.0.0.1:{black_hole.getsockname()[1]}",
            timeout_s=0.3,
            connect_timeout_s=0.6,
            retry_max_s=0.3,
        )
        source, sink = OpcUaSource(settings, cnc_mapping), RecordingSink()
        async with asyncio.timeout(10), running(source, sink):
            await sink.until(lambda: source.status().counters.get("failed_connects", 0) >= 2)
    assert "did not answer in time" in source.status().reason


@pytest.mark.slow
async def test_memory_stays_flat_over_fifty_outages(simulator: SimulatorProcess, cnc_mapping: OpcUaMapping) -> None:
    sink = RecordingSink()
    sizes: list[int] = []
    async with proxy_to(simulator.port) as proxy:
        settings = replace(cnc_mapping.servers[0], endpoint=f"opc.tcp://127.0.0.1:{proxy.port}", resume=False)
        async with running(OpcUaSource(settings, cnc_mapping), sink):
            for _ in range(50):
                await sink.until(lambda: sink.states[-1:] == ["live"] and sink.count > NUMBERS * 2, 30.0)
                await proxy.cut()
                await sink.until(lambda: sink.states[-1] == "lost")
                sink.batches.clear()
                await proxy.start()
                gc.collect()
                sizes.append(resident_kib())
            await sink.until(lambda: len(sink.gaps) == 50, 30.0)
    assert len([task for task in asyncio.all_tasks() if not task.done()]) == 1
    assert sizes[-1] < 1.1 * sizes[9]


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
