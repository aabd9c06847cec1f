"""CPU per GraphQL request over HTTP: hello, 47 x 10 and 1,000 x 10 fields, beside mercurius with its JIT and beside
Starlette serving the same bytes pre-encoded. `twinloom bench graphql_http`.

Each server is a process of its own with one worker; CPU is user + system time of that process, kernel work on loopback
included. Eight connections send the same request as fast as they are answered. Ours has authentication, validation
and every limit on. (The name is not `graphql`: scripts in this folder would import it in place of graphql-core.)
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from twinloom.api.app import Limits, Services, Token, create_app
from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.graph.store import Change, PutModels, PutTwin
from twinloom.runtime.service import Service
from twinloom.twin.errors import Unavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Twin

PEER = Path(__file__).parent / "peers" / "graphql"
UNIT = ModelId("dtmi:com:twinloom:bench:Unit;1")
SECRET = "a-secret-of-the-benchmark"
TWINS, CONNECTIONS, REPEATS = 1_000, 8, 3
REQUESTS = {"hello": 8_000, "47x10": 4_000, "1000x10": 600}
VALUES = " ".join(f'v{n}: value(path: "value_{n}")' for n in range(6))
OURS = {
    "hello": "{ __typename }",
    "47x10": f"{{ twins(first: 47) {{ nodes {{ dtId name etag seq {VALUES} }} }} }}",
    "1000x10": f"{{ twins(first: 1000) {{ nodes {{ dtId name etag seq {VALUES} }} }} }}",
}
THEIRS = {
    "hello": "{ __typename }",
    "47x10": "{ twins(first: 47) { nodes { dtId name etag seq v0 v1 v2 v3 v4 v5 } } }",
    "1000x10": "{ twins(first: 1000) { nodes { dtId name etag seq v0 v1 v2 v3 v4 v5 } } }",
}


def reading(twin: int, value: int) -> float:
    """A number of as many digits as sensors give."""
    return (twin * 7919 + value * 104_729) % 100_003 / 997


def seed() -> tuple[Change, ...]:
    model = {
        "@context": "dtmi:dtdl:context;3",
        "@id": UNIT,
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "name", "schema": "string"},
            *({"@type": "Telemetry", "name": f"value_{n}", "schema": "double"} for n in range(6)),
        ],
    }
    twins = [
        PutTwin(
            Twin(
                TwinId(f"unit-{n:04}"), UNIT, {"name": f"unit {n}", **{f"value_{v}": reading(n, v) for v in range(6)}}
            ),
            create=True,
        )
        for n in range(TWINS)
    ]
    return (PutModels((model,), (UNIT,)), *twins)


async def serve(kind: str) -> None:
    """Runs a server until killed; its first line of output says where."""
    folder = Path(tempfile.mkdtemp(prefix="twinloom-bench-"))
    try:
        service = Service(
            store=SqliteStore(folder / "twins.db"), history=DuckdbHistory(folder / "history.db"), seed=seed()
        )
        async with service:
            limits = Limits(requests_per_s=1e9, request_burst=1_000_000_000)
            app: Any = create_app(Services(service=service, tokens=(Token.of("bench", SECRET),), limits=limits))
            if kind == "pre-encoded":
                app = await _pre_encoded(service, limits)
            config = uvicorn.Config(app, port=0, log_level="critical", lifespan="on", loop="uvloop")
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            print(json.dumps({"port": port, "pid": psutil.Process().pid}), flush=True)
            await task
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _pre_encoded(service: Service, limits: Limits) -> Starlette:
    """Starlette that answers each document with the bytes that our server answers with, looked up by its length."""
    from twinloom.api.engine import Engine
    from twinloom.api.tokens import ANYONE

    engine = Engine(Services(service=service, tokens=None, limits=limits))
    bodies = {len(request(OURS[name], "")[1]): await engine.run(OURS[name], {}, None, ANYONE) for name in OURS}

    async def answer(request: Request) -> Response:
        return Response(bodies[len(await request.body())], media_type="application/json")

    return Starlette(routes=[Route("/graphql", answer, methods=["POST"])])


def request(document: str, token: str) -> tuple[bytes, bytes]:
    """The whole request, and its body."""
    body = orjson.dumps({"query": document})
    head = (
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/json\r\n"
        f"{f'authorization: Bearer {token}' if token else 'x-none: 1'}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body, body


async def load(port: int, message: bytes, requests: int) -> bytes:
    """Sends `requests` requests over eight connections; returns the body of one answer."""
    body = b""

    async def client(count: int) -> None:
        nonlocal body
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            body = await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client(requests // CONNECTIONS) for _ in range(CONNECTIONS)))
    return body


@contextmanager
def running(command: list[str], cwd: Path | None = None) -> Iterator[tuple[int, psutil.Process]]:
    """A server process: its port, and the process to read CPU times of."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield told["port"], psutil.Process(told["pid"])
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_ms(port: int, process: psutil.Process, document: str, token: str, requests: int) -> tuple[float, bytes]:
    """CPU milliseconds a request."""
    message, _ = request(document, token)
    asyncio.run(load(port, message, requests))  # as long again to warm up: V8 compiles what is hot for quite a while
    before = process.cpu_times()
    body = asyncio.run(load(port, message, requests))
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return spent / (requests // CONNECTIONS * CONNECTIONS) * 1000, body


def install_peer() -> None:
    """`npm ci` once. Raises Unavailable when Node.js is not there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable("node and npm are not installed", remedy="install Node.js 20 to measure beside mercurius")
    if not (PEER / "node_modules" / "mercurius").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=PEER, check=True, capture_output=True)


def run(*, repeats: int = REPEATS, scale: float = 1.0) -> Iterator[dict[str, Any]]:
    """Two figures a document: ours beside mercurius, ours beside the pre-encoded bytes."""
    install_peer()
    own = str(Path(__file__).resolve())
    found: dict[tuple[str, str], list[float]] = {}
    with (
        running([sys.executable, own, "ours"]) as ours,
        running([sys.executable, own, "pre-encoded"]) as limit,
        running(["node", "mercurius.mjs"], PEER) as peer,
    ):
        for name, count in REQUESTS.items():
            requests = max(CONNECTIONS, int(count * scale))
            bodies = {}
            for _ in range(repeats):
                for who, (port, process), document, token in (
                    ("ours", ours, OURS[name], SECRET),
                    ("limit", limit, OURS[name], ""),
                    ("peer", peer, THEIRS[name], ""),
                ):
                    spent, bodies[who] = cpu_ms(port, process, document, token, requests)
                    found.setdefault((name, who), []).append(spent)
            if "twins" in json.loads(bodies["peer"])["data"]:
                mine, theirs = (json.loads(bodies[who])["data"]["twins"]["nodes"] for who in ("ours", "peer"))
                assert len(mine) == len(theirs), "the peer answered something else"
            values = {who: statistics.median(found[name, who]) for who in ("ours", "limit", "peer")}
            for who, label in (("peer", "mercurius 16.10.1 + jit"), ("limit", "the same bytes pre-encoded, Starlette")):
                yield {
                    "figure": f"graphql_cpu_{name}",
                    "unit": "ms/request",
                    "ours": round(values["ours"], 4),
                    "peer": label,
                    "peer_value": round(values[who], 4),
                    "ratio": round(values["ours"] / values[who], 3),
                    "repeats": repeats,
                }


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(serve(sys.argv[1]))
        return
    for line in run():
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
