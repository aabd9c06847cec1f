"""The API over a real service (SQLite, DuckDB, the CNC plant), served by a real uvicorn on a free port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import uvicorn
import websockets
from servers.maven import cache_folder, locked

from twinloom.api.app import Limits, Services, Token, create_app
from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.seed import read_plant
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.runtime.rules import read_rules
from twinloom.runtime.service import Service
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import ReadingBatch, TextReading
from twinloom.twin.signals import ReadingsFolded

SECRET = "a-secret-of-the-tests-0123456789"
READER = "a-reader-of-the-tests-0123456789"
PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers" / "graphql"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "cnc"


@dataclass
class Api:
    """A running server with its service beside it."""

    service: Service
    url: str
    port: int
    token: str | None
    http: httpx.AsyncClient
    app: Any
    _time_ns: int = 1_700_000_000_000_000_000
    _sockets: list[Any] = field(default_factory=list)

    async def ask(self, query: str, variables: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The JSON of an answer to a POST."""
        body = {"query": query, **({"variables": variables} if variables is not None else {}), **more}
        answer = await self.http.post("/graphql", json=body)
        found: dict[str, Any] = answer.json()
        return found

    async def data(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The data of an answer that has no errors."""
        answer = await self.ask(query, variables)
        assert "errors" not in answer, answer["errors"]
        found: dict[str, Any] = answer["data"]
        return found

    async def measure(self, values: Mapping[tuple[str, str], Any], *, step_s: float = 0.1, quality: int = 0) -> int:
        """Hands numbers and texts to the pipeline as a source would; returns the seq once they are folded."""
        hot = self.service.hot
        self._time_ns += int(step_s * 1e9)
        slots, numbers, texts = [], [], []
        for (twin, path), value in values.items():
            row = hot.row(twin)
            assert row is not None, twin
            slot = hot.slot(row, path)
            if slot >= 0:
                slots.append(slot)
                numbers.append(value)
            else:
                texts.append(TextReading(TwinId(twin), path, value, self._time_ns, quality))
        n = len(slots)
        batch = ReadingBatch(
            "test",
            np.array(slots, np.int32),
            np.array(numbers, np.float64),
            np.full(n, self._time_ns, np.int64),
            np.full(n, quality, np.uint32),
            self._time_ns,
            tuple(texts),
        )
        async with asyncio.timeout(10), self.service.feed.subscribe() as signals:
            await self.service.pipeline.accept(batch)
            async for signal in signals:
                if isinstance(signal, ReadingsFolded) and signal.source == "test":
                    return signal.seq
        raise AssertionError("the feed was closed")

    @contextlib.asynccontextmanager
    async def socket(
        self, *, payload: Any = ..., protocol: str = "graphql-transport-ws", ack: bool = True
    ) -> AsyncIterator[Socket]:
        """A WebSocket that has been acknowledged, unless `ack` is false."""
        uri = f"ws://127.0.0.1:{self.port}/graphql"
        async with websockets.connect(uri, subprotocols=[websockets.Subprotocol(protocol)], compression=None) as raw:
            found = Socket(raw)
            if ack:
                given = ({"token": self.token} if self.token else {}) if payload is ... else payload
                await found.send(type="connection_init", payload=given)
                assert (await found.receive())["type"] == "connection_ack"
            yield found


@dataclass
class Socket:
    """JSON messages over a WebSocket, each with a deadline."""

    raw: Any

    async def send(self, **message: Any) -> None:
        await self.raw.send(json.dumps(message))

    async def receive(self, seconds: float = 10) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            found: dict[str, Any] = json.loads(await self.raw.recv())
            return found

    async def subscribe(self, query: str, variables: Mapping[str, Any] | None = None, id: str = "1") -> None:
        await self.send(type="subscribe", id=id, payload={"query": query, "variables": dict(variables or {})})

    async def data(self, seconds: float = 10) -> Any:
        """The data of the next `next` message, which must have no errors."""
        message = await self.receive(seconds)
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def settle(self) -> None:
        """Returns once the server has handled what was sent before: it answers a ping."""
        await self.send(type="ping")
        while (await self.receive())["type"] != "pong":
            pass

    async def closed(self, seconds: float = 10) -> tuple[int, str]:
        """The close code and reason, once the server has closed."""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.raw.recv()
        return self.raw.close_code, self.raw.close_reason


Start = Callable[..., Any]


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the packages of the lock; installed at first use."""
    found = shutil.which("node")
    assert found is not None, "Node 20 or later is needed: apt-get install nodejs npm"
    with locked(cache_folder() / "graphql-peers.lock"):
        if not (PEERS / "node_modules" / ".package-lock.json").is_file():
            subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=PEERS, check=True, timeout=300, capture_output=True)
    return found


@pytest.fixture
def make_service(tmp_path: Path) -> Callable[[], Service]:
    """A service over the CNC plant, not started."""

    def make(**more: Any) -> Service:
        return Service(
            store=SqliteStore(tmp_path / "twins.db"),
            history=DuckdbHistory(tmp_path / "history.db"),
            rules=read_rules(EXAMPLES / "rules.yaml"),
            seed=read_plant(EXAMPLES / "plant.yaml").changes,
            **more,
        )

    return make


@pytest_asyncio.fixture
async def start(make_service: Callable[..., Service]) -> AsyncIterator[Start]:
    """Starts a server with the settings given; ends it after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(*, token: str | None = SECRET, service: Service | None = None, **settings: Any) -> Api:
            running = service or make_service()
            await stack.enter_async_context(running)
            tokens = (
                None
                if token is None
                else (
                    Token.of("tester", SECRET),
                    Token.of("reader", READER, frozenset({"read"})),
                )
            )
            settings.setdefault("limits", Limits())
            app = create_app(Services(service=running, tokens=tokens, **settings))
            listening = socket.socket()
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            config = uvicorn.Config(
                app,
                log_level="critical",
                lifespan="on",
                ws="websockets-sansio",
                timeout_graceful_shutdown=2,
                ws_ping_timeout=120,
            )
            server = uvicorn.Server(config)
            server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            task = asyncio.create_task(server.serve(sockets=[listening]))

            async def end() -> None:
                server.should_exit = True
                await task
                listening.close()

            stack.push_async_callback(end)
            async with asyncio.timeout(20):
                while not server.started:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            headers = {"authorization": f"Bearer {token}"} if token else {}
            url = f"http://127.0.0.1:{port}"
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers=headers, timeout=30))
            return Api(running, url, port, token, http, app)

        yield begin


@pytest_asyncio.fixture
async def api(start: Start) -> Api:
    """A server with the defaults."""
    found: Api = await start()
    return found
