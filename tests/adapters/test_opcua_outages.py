"""Networks that cut, swallow and mend, and servers that come back as others: one gap each, filled where history is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from servers.node_opcua import NodeOpcUa
from servers.opcua_simulator import SimulatorProcess
from servers.proxy import proxy_to
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.mapping import OpcUaMapping, read_mapping
from twinloom.adapters.opcua.source import OpcUaSource

SPEED = ("toulouse/line-1/cnc-01/spindle", "speed")


async def test_a_cut_is_one_gap_that_the_servers_history_fills_without_a_hole_or_a_duplicate(
    node_opcua: NodeOpcUa, examples: Path, tmp_path: Path
) -> None:
    # Sampling interval 0: the server reports every change, not what a timer of its own happens to see.
    text = (examples / "opcua.yaml").read_text(encoding="utf-8")
    file = tmp_path / "every-change.yaml"
    file.write_text(text.replace("sampling_interval_ms: 100", "sampling_interval_ms: 0"), encoding="utf-8")
    cnc_mapping = read_mapping(file)
    async with proxy_to(node_opcua.port) as proxy:
        settings = replace(
            cnc_mapping.servers[0], endpoint=f"opc.tcp://127.0.0.1:{proxy.port}", backfill_s=10.0, resume=False
        )
        source, sink = OpcUaSource(settings, cnc_mapping), RecordingSink()
        async with running(source, sink):
            await sink.until(lambda: sink.count > 100)
            await proxy.cut()
            await sink.until(lambda: sink.states[-1] == "lost")
            await sink.wait_for_wall_time(time.time_ns() + 2_000_000_000)
            await proxy.start()
            await sink.until(lambda: len(sink.gaps) == 1, 20.0)
            live = sink.count
            await sink.until(lambda: sink.count > live + 100)
            assert source.status().counters.get("backfilled", 0) >= 8 * 15, source.status().counters
    rows = sink.series(*SPEED)
    # node-opcua may report one sample twice, 100 ns apart.
    values = [round(value) for n, (time_ns, value, _) in enumerate(rows) if not n or time_ns - rows[n - 1][0] > 1000]
    assert sink.duplicates() == 0
    assert sink.gaps[0].reason
    # The server counts up by one every 100 ms: any number left out would be a hole. (It may count on while it sets the
    # items up the first time; nobody listens yet.)
    assert values[1:] == list(range(values[1], values[1] + len(values) - 1))
    times = [stamp for stamp, _, _ in sink.series(*SPEED)]
    assert times == sorted(times)


@pytest.mark.parametrize("server", ["simulator", "node_opcua"])
async def test_a_short_cut_loses_nothing_because_the_session_is_taken_over(
    server: str, request: pytest.FixtureRequest, cnc_mapping: OpcUaMapping
) -> None:
    behind = request.getfixturevalue(server)
    async with proxy_to(behind.port) as proxy:
        settings = replace(cnc_mapping.servers[0], endpoint=f"opc.tcp://127.0.0.1:{proxy.port}")
        source, sink = OpcUaSource(settings, cnc_mapping), RecordingSink()
        async with running(source, sink):
            await sink.until(lambda: sink.count > 200)
            for _ in range(2):
                await proxy.cut()
                await sink.until(lambda: sink.states[-1] == "lost")
                await sink.wait_for_wall_time(time.time_ns() + 1_000_000_000)
                more = sink.count + 200
                await proxy.start()
                await sink.until(lambda more=more: sink.states[-1] == "live" and sink.count > more)
            counters = source.status().counters
            assert counters["resumed"] == 2 and counters.get("missed_messages", 0) == 0
    assert [gap.filled for gap in sink.gaps] == [True, True]
    assert sink.duplicates() == 0 and sink.lost() == 0
    times = [stamp for stamp, _, _ in sink.series(*SPEED)]
    assert times == sorted(times)
    assert max(np.diff(times)) < 500_000_000


async def test_a_black_hole_is_stale_then_lost_then_live_again_within_five_seconds(
    simulator: SimulatorProcess, cnc_mapping: OpcUaMapping
) -> None:
    async with proxy_to(simulator.port) as proxy:
        settings = replace(
            cnc_mapping.servers[0],
            endpoint=f"opc.tcp://127.0.0.1:{proxy.port}",
            keep_alive_s=0.4,
            give_up_s=0.5,
            timeout_s=1.0,
            connect_timeout_s=1.5,
        )
        sink = RecordingSink()
        async with running(OpcUaSource(settings, cnc_mapping), sink):
            await sink.until(lambda: sink.count > 100)
            proxy.swallow()
            began = time.monotonic()
            await sink.until(lambda: sink.states[-1] == "stale")
            assert time.monotonic() - began < 3 * 0.4 + 0.6
            await sink.until(lambda: sink.states[-1] == "lost")
            before = sink.count
            proxy.mend()
            mended = time.monotonic()
            await sink.until(lambda: sink.count > before + 42)
            assert time.monotonic() - mended < 5.0
    assert len(sink.gaps) == 1 and sink.duplicates() == 0


async def test_a_server_that_comes_back_with_other_node_ids_is_mapped_by_its_browse_paths_again(
    start_simulator: Callable[..., SimulatorProcess],
    free_port: Callable[[], int],
    cnc_mapping: OpcUaMapping,
) -> None:
    first = start_simulator()
    second = NodeOpcUa(free_port(), {"machines": 2, "values": 2})
    second.start()
    try:
        async with proxy_to(first.port) as proxy:
            settings = replace(cnc_mapping.servers[0], endpoint=f"opc.tcp://127.0.0.1:{proxy.port}")
            sink = RecordingSink()
            async with running(OpcUaSource(settings, cnc_mapping), sink):
                await sink.until(lambda: sink.count > 100)
                await proxy.cut()
                first.kill()
                await sink.until(lambda: sink.states[-1] == "lost")
                proxy._target = second.port
                before = len(sink.series(*SPEED))
                await proxy.start()
                await sink.until(lambda: len(sink.series(*SPEED)) > before + 5, 20.0)
    finally:
        second.kill()
    assert len(sink.gaps) == 1
    assert np.isfinite([value for _, value, _ in sink.series(*SPEED)]).all()
