"""CPU per OPC UA value, state update included, beside node-opcua's client on the same server in the same run.

Server: node-opcua (benchmarks/peers/opcua/server.mjs), 940 Doubles that change every 100 ms. Clients take turns, each
in its own process; CPU is user + system time of that process, kernel work on loopback included. `twinloom bench opcua`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from twinloom.adapters.opcua.mapping import read_mapping
from twinloom.adapters.opcua.source import OpcUaSource
from twinloom.twin.errors import Unavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import SlotRef, SourceStatus
from twinloom.twin.readings import Gap, ReadingBatch

PEER = Path(__file__).parent / "peers" / "opcua"
MACHINES, VALUES = 47, 20
SHAPES = ((1, MACHINES * VALUES), (MACHINES, VALUES))
REPEATS, SECONDS, WARM_UP_S = 3, 6.0, 8.0
_CONNECT_S = 90.0


class State:
    """The least a hot graph does with a batch: last value, source time and quality per slot."""

    layout_version = 1

    def __init__(self) -> None:
        self.slots: dict[tuple[str, str], int] = {}
        self.values = np.full(MACHINES * VALUES, np.nan)
        self.times = np.zeros(MACHINES * VALUES, dtype=np.int64)
        self.quality = np.zeros(MACHINES * VALUES, dtype=np.uint32)
        self.received = self.lost = 0
        self._live: set[str] = set()
        self._changed = asyncio.Event()

    def resolve(self, twin: TwinId, path: str) -> SlotRef | None:
        return SlotRef(self.slots.setdefault((twin, path), len(self.slots)), "")

    async def accept(self, batch: ReadingBatch) -> None:
        self.values[batch.slots] = batch.values
        self.times[batch.slots] = batch.source_times_ns
        self.quality[batch.slots] = batch.quality
        self.received += len(batch.slots)
        self.lost += sum(batch.lost.values())

    async def mark_gap(self, gap: Gap) -> None:
        pass

    async def report(self, status: SourceStatus, twins: Sequence[TwinId]) -> None:
        if status.state == "live":
            self._live.add(status.name)
            self._changed.set()

    async def all_live(self, sessions: int) -> None:
        while len(self._live) < sessions:
            self._changed.clear()
            await self._changed.wait()


def _sources(folder: Path, endpoint: str, sessions: int) -> list[OpcUaSource]:
    sources = []
    for number in range(sessions):
        machine = "{machine}" if sessions == 1 else f"cnc-{number + 1:02}"
        file = folder / f"opcua-{number}.yaml"
        file.write_text(
            "namespaces: {cnc: 'urn:twinloom:simulator:cnc'}\n"
            f"servers: [{{name: peer-{number}, endpoint: '{endpoint}', timeout_s: 30, connect_timeout_s: 60}}]\n"
            "publishing_interval_ms: 100\nsampling_interval_ms: 100\nqueue_size: 10\nkeep_alive_s: 5\n"
            f"rules: [{{path: 'cnc:line-1/cnc:{machine}/cnc:spindle/cnc:{{property}}', "
            f"twin: '{machine}', property: '{{property}}'}}]\n",
            encoding="utf-8",
        )
        mapping = read_mapping(file)
        sources.append(OpcUaSource(mapping.servers[0], mapping))
    return sources


async def _measure(endpoint: str, sessions: int, seconds: float, warm_up_s: float) -> dict[str, float]:
    state = State()
    with tempfile.TemporaryDirectory() as folder:
        tasks = [asyncio.create_task(source.run(state)) for source in _sources(Path(folder), endpoint, sessions)]
        async with asyncio.timeout(_CONNECT_S):
            await state.all_live(sessions)
        await asyncio.sleep(warm_up_s)  # as the peer: counted from when everything is subscribed
        received, used = state.received, _cpu_us()
        await asyncio.sleep(seconds)
        received, used = state.received - received, _cpu_us() - used
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
    return {"values": received, "cpu_us": used, "us_per_value": used / max(1, received), "lost": state.lost}


def _cpu_us() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e6


def _client(command: Sequence[str], arguments: dict[str, Any], cwd: Path) -> dict[str, float]:
    done = subprocess.run(
        [*command, json.dumps(arguments)], capture_output=True, text=True, timeout=240, cwd=cwd, check=True
    )
    line: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return line


@contextmanager
def _server(port: int) -> Iterator[str]:
    process = subprocess.Popen(
        ["node", "server.mjs", json.dumps({"port": port, "machines": MACHINES, "values": VALUES})],
        cwd=PEER,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("listening"):
                break
        yield f"opc.tcp://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def install_peer() -> None:
    """`npm ci` once. Raises Unavailable when Node.js is not there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable("node and npm are not installed", remedy="install Node.js 20 to measure beside node-opcua")
    if not (PEER / "node_modules" / "node-opcua").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--omit=optional"], cwd=PEER, check=True, capture_output=True)


def run(
    *, repeats: int = REPEATS, seconds: float = SECONDS, warm_up_s: float = WARM_UP_S, port: int = 48_590
) -> Iterator[dict[str, Any]]:
    """One JSON line a shape: median CPU us per value of both clients, and their ratio."""
    install_peer()
    ours = [sys.executable, str(Path(__file__).resolve())]
    with _server(port) as endpoint:
        for sessions, items in SHAPES:
            shape = {
                "endpoint": endpoint,
                "sessions": sessions,
                "items": items,
                "seconds": seconds,
                "warmUpS": warm_up_s,
            }
            mine, theirs, lost = [], [], 0.0
            for _ in range(repeats):
                line = _client(ours, shape, PEER)
                mine.append(line["us_per_value"])
                lost += line["lost"]
                theirs.append(_client(["node", "client.mjs"], shape, PEER)["us_per_value"])
            value, peer = statistics.median(mine), statistics.median(theirs)
            yield {
                "figure": f"opcua_value_cpu_{sessions}x{items}",
                "unit": "us",
                "ours": round(value, 3),
                "peer": "node-opcua client 2.182.2",
                "peer_value": round(peer, 3),
                "ratio": round(value / peer, 3),
                "repeats": repeats,
                "lost": int(lost),
            }


def main() -> None:
    if len(sys.argv) > 1:
        shape = json.loads(sys.argv[1])
        work = _measure(shape["endpoint"], shape["sessions"], shape["seconds"], shape["warmUpS"])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the service does
            print(json.dumps(runner.run(work)))
        return
    for line in run():
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
