"""The example plant as scene and state without a server, and a real service (SQLite, DuckDB, uvicorn) to look at."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import uvicorn
import yaml

from twinloom.api.app import Limits, Services, Token, create_app
from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.seed import read_plant
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.runtime.rules import read_rules
from twinloom.runtime.service import Service
from twinloom.twin.readings import ReadingBatch
from twinloom.viewer.plant import Alert, Plant, Rul, Rule, TwinView
from twinloom.viewer.scene import SceneTwin, scene_twin

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "cnc"
SECRET = "a-secret-of-the-tests-0123456789"
SICK = "toulouse/line-2/cnc-12/spindle"
T = TypeVar("T")


def cnc_twins() -> list[SceneTwin]:
    """The twins of examples/cnc/plant.yaml, parents before children."""
    document = yaml.safe_load((EXAMPLES / "plant.yaml").read_text())
    found: list[SceneTwin] = []

    def walk(entry: Mapping[str, Any], parent: str | None) -> None:
        template = document["templates"].get(entry.get("template"), {})
        id = f"{parent}/{entry['id']}" if parent else entry["id"]
        properties = {**template.get("properties", {}), **entry.get("properties", {})}
        found.append(scene_twin(id, entry.get("model") or template["model"], properties, parent))
        for child in [*template.get("contains", []), *entry.get("contains", [])]:
            walk(child, id)

    for entry in document["twins"]:
        walk(entry, None)
    return found


def make_plant() -> Plant:
    """47 machines; one spindle with 9 days left and its alert, one with 24, the others healthy."""
    plant = Plant(seq=48213, time="2026-11-23T18:40:02.123Z")
    rules = yaml.safe_load((EXAMPLES / "rules.yaml").read_text())["rules"]
    plant.rules = tuple(
        Rule(r["name"], r["model"], r["value"], r.get("above"), r.get("below"), r["severity"].upper()) for r in rules
    )
    for index, twin in enumerate(cnc_twins()):
        kind = twin.kinds[0]
        view = TwinView(twin.id, f"dtmi:com:twinloom:cnc:{kind};1", (), twin.name, twin.parent, dict(twin.properties))
        if kind == "Spindle":
            days = {SICK: 9.2, "hamburg/line-2/cnc-30/spindle": 24.0}.get(twin.id, 60.0 + index)
            zone = "D" if days < 14 else "C" if days < 30 else "B"
            view.rul = Rul(days, days * 0.7, days * 1.3, zone, "Replace the spindle bearings", "OK", "", 5)
            view.health = zone
        plant.twins[twin.id] = view
    plant.alerts["1"] = Alert(
        "1", "spindle-rul-critical", SICK, "CRITICAL", "RAISED", f"{SICK}: 9 days", "rul_days", 9.2, 14.0, "day",
        "2026-11-23T18:39:00Z", 5,
    )  # fmt: skip
    return plant


@pytest.fixture
def twins() -> list[SceneTwin]:
    return cnc_twins()


@pytest.fixture
def plant() -> Plant:
    return make_plant()


@pytest.fixture
def sick() -> str:
    """The twin id of the spindle that has 9 days left."""
    return SICK


class PlantServer:
    """A real service in a thread of its own, on one port for life; it can be killed and started again."""

    token = SECRET

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._listener.close()
        self.url = f"http://127.0.0.1:{self.port}"
        self._time_ns = 1_700_000_000_000_000_000
        self._thread: threading.Thread | None = None
        self.service: Service

    def start(self) -> None:
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="plant-server")
        self._thread.start()
        started.result(30)

    def stop(self) -> None:
        """Ends the server and cuts every connection."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
            assert not self._thread.is_alive()
            self._thread = None

    def call(self, work: Callable[[], Any]) -> Any:
        """Runs a coroutine function on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(20)

    def measure(self, values: Mapping[tuple[str, str], float], *, quality: int = 0, step_s: float = 1.0) -> int:
        """Hands numbers to the pipeline as a source would; returns the seq once they are folded."""

        async def work() -> int:
            hot = self.service.hot
            self._time_ns += int(step_s * 1e9)
            rows = [(hot.slot(hot.row(twin), path), value) for (twin, path), value in values.items()]  # type: ignore[arg-type]
            n = len(rows)
            batch = ReadingBatch(
                "test", np.array([slot for slot, _ in rows], np.int32), np.array([v for _, v in rows], np.float64),
                np.full(n, self._time_ns, np.int64), np.full(n, quality, np.uint32), self._time_ns,
            )  # fmt: skip
            before = hot.seq
            await self.service.pipeline.accept(batch)
            async with asyncio.timeout(10):
                while hot.seq == before:  # noqa: ASYNC110 - the hot graph has no event
                    await asyncio.sleep(0.001)
            return hot.seq

        return int(self.call(work))

    async def _serve(self, started: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        seed = () if (self.folder / "twins.db").exists() else read_plant(EXAMPLES / "plant.yaml").changes
        self.service = Service(
            store=SqliteStore(self.folder / "twins.db"),
            history=DuckdbHistory(self.folder / "history.db"),
            rules=read_rules(EXAMPLES / "rules.yaml"),
            seed=seed,
        )
        async with self.service:
            tokens = (Token.of("tester", SECRET),)
            app = create_app(Services(service=self.service, tokens=tokens, limits=Limits()))
            config = uvicorn.Config(
                app, host="127.0.0.1", port=self.port, log_level="critical", lifespan="on", ws="websockets-sansio",
                timeout_graceful_shutdown=1,
            )  # fmt: skip
            server = uvicorn.Server(config)
            server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            task = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.005)
            started.set_result(None)
            await self._stop.wait()
            server.should_exit = server.force_exit = True
            await task


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PlantServer]:
    found = PlantServer(tmp_path)
    found.start()
    yield found
    found.stop()
