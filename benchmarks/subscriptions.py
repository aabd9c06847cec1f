"""CPU per delivery of a GraphQL event to 1,000 subscribers, beside node's graphql-ws and beside a raw Starlette
broadcast of the same frame. `twinloom bench subscriptions`.

Each server is a process of its own; CPU is user + system time of that process for every frame that reached a client.
All subscribers ask for the same ten fields of one twin; ours has authentication and limits on, and takes each event the
whole way: from the feed through filter, plan, encoding and queue.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvicorn
from graphql_http import PEER, SECRET, install_peer, reading, seed
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from twinloom.api.app import Limits, Services, Token, create_app
from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.runtime.service import Service
from twinloom.twin.readings import ReadingBatch

SUBSCRIBERS, EVENTS, REPEATS = 1_000, 40, 3
FIELDS = "seq kind dtId missed values { path number }"
OURS = f'subscription {{ twinChanged(filter: {{ids: ["unit-0000"]}}) {{ {FIELDS} }} }}'
THEIRS = "subscription { twinChanged { seq kind dtId missed v0 v1 v2 v3 v4 v5 } }"


async def serve_ours() -> None:
    folder = Path(tempfile.mkdtemp(prefix="twinloom-bench-"))
    try:
        service = Service(
            store=SqliteStore(folder / "twins.db"), history=DuckdbHistory(folder / "history.db"), seed=seed()
        )
        async with service:
            app = create_app(Services(service=service, tokens=(Token.of("bench", SECRET),), limits=Limits()))
            hot = service.hot
            row = hot.row("unit-0000")
            assert row is not None
            slots = np.arange(hot.base(row), hot.base(row) + 6, dtype=np.int32)

            async def emit(count: int) -> None:
                for at in range(count):
                    now = time.time_ns()
                    numbers = np.array([reading(at, value) for value in range(6)])
                    times = np.full(6, now, np.int64)
                    await service.pipeline.accept(
                        ReadingBatch("bench", slots, numbers, times, np.zeros(6, np.uint32), now)
                    )
                    await service.pipeline.ingest.drained()
                    await asyncio.sleep(0)

            await _serve(app, emit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def serve_raw() -> None:
    queues: set[asyncio.Queue[str]] = set()
    seq = 0

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="graphql-transport-ws")
        await websocket.receive_text()
        await websocket.send_text('{"type":"connection_ack"}')
        await websocket.receive_text()
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues.add(queue)
        while True:
            await websocket.send_text(await queue.get())

    async def emit(count: int) -> None:
        nonlocal seq
        for at in range(count):
            seq += 1
            values = [{"path": f"value_{value}", "number": reading(at, value)} for value in range(6)]
            change = {"seq": seq, "kind": "VALUES", "dtId": "unit-0000", "missed": 0, "values": values}
            payload = {"data": {"twinChanged": change}}
            frame = json.dumps({"id": "1", "type": "next", "payload": payload}, separators=(",", ":"))
            for queue in queues:
                queue.put_nowait(frame)
            await asyncio.sleep(0)

    await _serve(Starlette(routes=[WebSocketRoute("/graphql", socket)]), emit)


async def _serve(app: Any, emit: Any) -> None:
    config = uvicorn.Config(
        app, port=0, log_level="critical", lifespan="auto", loop="uvloop", ws="websockets-sansio",
        ws_per_message_deflate=False, ws_ping_interval=None, backlog=4096,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "pid": os.getpid()}), flush=True)
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, daemon=True).start()
    while not task.done():
        await emit(int((await lines.get()).split()[1]))


class Subscriber(asyncio.Protocol):
    """A WebSocket client that counts frames and reads nothing of them."""

    def __init__(self, count: Counter, query: str) -> None:
        self._count = count
        self._query = query
        self._buffer = bytearray()
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            (
                "GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
            ).encode()
        )

    def _say(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        head = bytes([0x81, 0x80 | len(body)]) if len(body) < 126 else b"\x81\xfe" + len(body).to_bytes(2, "big")
        self._transport.write(head + b"\0\0\0\0" + body)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert buffer.startswith(b"HTTP/1.1 101"), bytes(buffer[:200])
            del buffer[: end + 4]
            self._open = True
            self._say({"type": "connection_init", "payload": {"token": SECRET}})
        at = 0
        while len(buffer) - at >= 2:
            length, head = buffer[at + 1] & 0x7F, 2
            if length == 126:
                if len(buffer) - at < 4:
                    break
                length, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            if len(buffer) - at < head + length:
                break
            if not self._count.ready(self):
                self._say({"type": "subscribe", "id": "1", "payload": {"query": self._query}})
            else:
                self._count.frame()
            at += head + length
        del buffer[:at]


class Counter:
    """Frames of all subscribers; `seen(n)` returns when n more have come."""

    def __init__(self) -> None:
        self.frames = 0
        self._wanted = 1 << 60
        self._done: asyncio.Future[None] | None = None
        self._acked: set[Subscriber] = set()

    def ready(self, subscriber: Subscriber) -> bool:
        """False for the first frame of a subscriber, which is its acknowledgement."""
        if subscriber in self._acked:
            return True
        self._acked.add(subscriber)
        return False

    @property
    def acknowledged(self) -> int:
        return len(self._acked)

    def frame(self) -> None:
        self.frames += 1
        if self.frames >= self._wanted and self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def seen(self, more: int, timeout_s: float) -> None:
        self._wanted = self.frames + more
        self._done = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(timeout_s):
            await self._done


async def deliver(
    process: subprocess.Popen[str], port: int, watched: psutil.Process, query: str, subscribers: int, events: int
) -> float:
    """CPU microseconds of the server for each frame delivered."""
    loop = asyncio.get_running_loop()
    count = Counter()
    transports = []
    for _ in range(subscribers):
        transport, _ = await loop.create_connection(lambda: Subscriber(count, query), "127.0.0.1", port)
        transports.append(transport)
    assert process.stdin is not None
    while count.acknowledged < subscribers:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)  # the last subscriptions are being set up: what is measured comes after

    async def emit(number: int) -> None:
        assert process.stdin is not None
        process.stdin.write(f"emit {number}\n")
        process.stdin.flush()
        await count.seen(number * subscribers, 120)

    await emit(2)
    before = watched.cpu_times()
    await emit(events)
    after = watched.cpu_times()
    for transport in transports:
        transport.abort()
    return (after.user + after.system - before.user - before.system) / (events * subscribers) * 1e6


@contextmanager
def running(command: list[str], cwd: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], int, psutil.Process]]:
    """A server process that reads orders from its standard input."""
    process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield process, told["port"], psutil.Process(told["pid"])
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(*, repeats: int = REPEATS, subscribers: int = SUBSCRIBERS, events: int = EVENTS) -> Iterator[dict[str, Any]]:
    """Ours beside the raw broadcast and beside graphql-ws. Each run has fresh servers."""
    install_peer()
    own = str(Path(__file__).resolve())
    commands = {
        "ours": ([sys.executable, own, "ours"], None, OURS),
        "raw": ([sys.executable, own, "raw"], None, OURS),
        "node": (["node", "broadcast.mjs"], PEER, THEIRS),
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, (command, cwd, query) in commands.items():
            with running(command, cwd) as (process, port, watched):
                found[name].append(asyncio.run(deliver(process, port, watched, query, subscribers, events)))
    values = {name: statistics.median(measured) for name, measured in found.items()}
    for name, label in (("raw", "raw Starlette broadcast of the same frame"), ("node", "node graphql-ws 6.4.2")):
        yield {
            "figure": f"subscription_cpu_per_delivery_{subscribers}",
            "unit": "us",
            "ours": round(values["ours"], 2),
            "peer": label,
            "peer_value": round(values[name], 2),
            "ratio": round(values["ours"] / values[name], 3),
            "repeats": repeats,
        }


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(serve_ours() if sys.argv[1] == "ours" else serve_raw())
        return
    for line in run():
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
