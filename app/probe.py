"""Real WebSocket subscribers in a process of their own, measuring sensor-to-subscriber latency.

    python -m twinloom.app.probe --url ws://127.0.0.1:8000/graphql --subtree toulouse/line-1/cnc-01 --everything 1

Subscribes to `twinsChanged` with all values: `--everything N` times on the whole plant and once per `--subtree`.
Latency is the receipt's wall clock minus the value's source timestamp, so both ends must share a clock. A line `ready`
tells that every subscription stands; then comes one JSON object a second (of that second); a line on stdin (or its
end) stops the measurement, and the last object is of the whole of it: deliveries, values, missed, gaps, errors,
latency_ms {p50 p95 p99 max} over all values of all subscribers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

DOCUMENT = """subscription Probe($filter: TwinChangeFilter) {
  twinsChanged(filter: $filter) { missed gap { fromSeq toSeq } changes { dtId values { path number sourceTime } } }
}"""


@dataclass(slots=True)
class Tally:
    deliveries: int = 0
    values: int = 0
    missed: int = 0
    gaps: int = 0
    errors: list[str] = field(default_factory=list)
    latencies_ms: list[np.ndarray] = field(default_factory=list)

    def report(self) -> dict[str, object]:
        latency = np.concatenate(self.latencies_ms) if self.latencies_ms else np.empty(0)
        cuts = np.percentile(latency, [50, 95, 99, 100]).tolist() if latency.size else []
        names = ("p50", "p95", "p99", "max")
        return {
            "deliveries": self.deliveries,
            "values": self.values,
            "missed": self.missed,
            "gaps": self.gaps,
            "errors": self.errors[:5],
            "latency_ms": {name: round(cut, 1) for name, cut in zip(names, cuts, strict=True)} if latency.size else {},
        }


async def subscribe(url: str, token: str | None, subtree: str | None, tally: Tally, ready: asyncio.Queue[None]) -> None:
    """One connection, one subscription, until cancelled. Any failure is kept in `tally.errors`."""
    try:
        async with connect(
            url, subprotocols=[Subprotocol("graphql-transport-ws")], max_size=None, compression=None, open_timeout=30
        ) as socket:
            await _handshake(socket, token, subtree)
            ready.put_nowait(None)
            async for frame in socket:
                received_ns = time.time_ns()
                message = orjson.loads(frame)
                if message["type"] == "next":
                    _count(message["payload"], received_ns, tally)
                elif message["type"] == "ping":
                    await socket.send('{"type":"pong"}')
                elif message["type"] != "pong":
                    tally.errors.append(str(message)[:300])
                    break
    except (OSError, WebSocketException, KeyError, ValueError) as error:
        tally.errors.append(f"{type(error).__name__}: {error}"[:300])
    ready.put_nowait(None)


async def _handshake(socket: ClientConnection, token: str | None, subtree: str | None) -> None:
    payload = {"authorization": f"Bearer {token}"} if token else {}
    await socket.send(orjson.dumps({"type": "connection_init", "payload": payload}).decode())
    acknowledged = orjson.loads(await socket.recv())
    if acknowledged["type"] != "connection_ack":
        raise ValueError(f"expected connection_ack, got {acknowledged['type']}")
    variables = {"filter": {"subtreeOf": subtree}} if subtree else {}
    request = {"query": DOCUMENT, "variables": variables}
    await socket.send(orjson.dumps({"id": "1", "type": "subscribe", "payload": request}).decode())


def _count(payload: dict[str, object], received_ns: int, tally: Tally) -> None:
    if payload.get("errors"):
        tally.errors.append(str(payload["errors"])[:300])
        return
    event = payload["data"]["twinsChanged"]  # type: ignore[index]
    tally.deliveries += 1
    tally.missed += event["missed"]
    tally.gaps += event["gap"] is not None
    times = [
        value["sourceTime"][:-1]
        for change in event["changes"]
        for value in change["values"]
        if value["number"] is not None and value["sourceTime"]
    ]
    if times:
        tally.values += len(times)
        sources = np.array(times, dtype="datetime64[ns]").astype(np.int64)
        tally.latencies_ms.append(((received_ns - sources) / 1e6).astype(np.float32))


async def probe(url: str, token: str | None, subtrees: list[str], everything: int) -> dict[str, object]:
    tally = Tally()
    ready: asyncio.Queue[None] = asyncio.Queue()
    targets: list[str | None] = [*subtrees, *[None] * everything]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(subscribe(url, token, target, tally, ready)) for target in targets]
        for _ in targets:
            await ready.get()
        print("ready", flush=True)
        tally.latencies_ms.clear()
        tally.values = tally.deliveries = 0
        tasks.append(group.create_task(_tell_each_second(tally)))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        report = tally.report()
        for task in tasks:
            task.cancel()
    return report


async def _tell_each_second(tally: Tally) -> None:
    seen = 0
    while True:
        await asyncio.sleep(1.0)
        recent = Tally(latencies_ms=tally.latencies_ms[seen:], missed=tally.missed, errors=tally.errors)
        recent.values = sum(block.size for block in recent.latencies_ms)
        seen = len(tally.latencies_ms)
        print(json.dumps(recent.report()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token")
    parser.add_argument("--subtree", action="append", default=[])
    parser.add_argument("--everything", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(probe(options.url, options.token, options.subtree, options.everything))), flush=True)


if __name__ == "__main__":
    main()
