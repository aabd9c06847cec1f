"""A small plant of pumps, a service over real SQLite and DuckDB files, and sources that tests hold in their hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.graph.store import Change, PutModels, PutRelationship, PutTwin
from twinloom.runtime.limits import Limits
from twinloom.runtime.service import Service
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Relationship, Twin
from twinloom.twin.ports import ReadingSink, SourceStatus
from twinloom.twin.readings import ReadingBatch, TextReading

PUMP = ModelId("dtmi:com:example:Pump;1")
BIG_PUMP = ModelId("dtmi:com:example:BigPump;1")
CONTEXT = "dtmi:dtdl:context;3"

DOCUMENTS: list[dict[str, Any]] = [
    {
        "@context": CONTEXT,
        "@id": "dtmi:com:example:Drive;1",
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "mode", "schema": "string", "writable": True},
            {"@type": "Property", "name": "gain", "schema": "double", "writable": True},
            {"@type": "Property", "name": "firmware", "schema": "string"},
        ],
    },
    {
        "@context": CONTEXT,
        "@id": PUMP,
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "label", "schema": "string", "writable": True},
            {"@type": "Property", "name": "count", "schema": "integer", "writable": True},
            {
                "@type": "Property",
                "name": "place",
                "writable": True,
                "schema": {
                    "@type": "Object",
                    "fields": [{"name": "x", "schema": "double"}, {"name": "y", "schema": "double"}],
                },
            },
            {"@type": "Telemetry", "name": "pressure", "schema": "double", "comment": "unit: bar"},
            {"@type": "Telemetry", "name": "temperature", "schema": "double", "comment": "unit: degC"},
            {"@type": "Telemetry", "name": "state", "schema": "string"},
            {"@type": "Component", "name": "drive", "schema": "dtmi:com:example:Drive;1"},
            {"@type": "Relationship", "name": "feeds", "target": PUMP, "maxMultiplicity": 2},
            {
                "@type": "Command",
                "name": "stop",
                "request": {"name": "reason", "schema": "string"},
                "response": {"name": "accepted", "schema": "boolean"},
            },
        ],
    },
    {"@context": CONTEXT, "@id": BIG_PUMP, "@type": "Interface", "extends": PUMP},
]


def seed(pumps: int) -> tuple[Change, ...]:
    """Models, `pumps` twins p0..., and p0 feeding p1."""
    ids = tuple(ModelId(d["@id"]) for d in DOCUMENTS)
    twins = [
        PutTwin(Twin(TwinId(f"p{n}"), PUMP, {"label": f"pump {n}", "count": 0}), create=True) for n in range(pumps)
    ]
    edge = PutRelationship(Relationship("feeds:p1", TwinId("p0"), "feeds", TwinId("p1")), create=True)
    return (PutModels(tuple(DOCUMENTS), ids), *twins, *([edge] if pumps > 1 else []))


async def eventually(holds: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Returns when `holds()` is true; fails with `what` after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.005)


@dataclass
class Hand:
    """A source that a test plays by hand. `push` returns when the pipeline has processed the batch."""

    name: str = "hand"
    sink: ReadingSink | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0
    fail: Exception | None = None

    async def run(self, sink: ReadingSink) -> None:
        self.sink = sink
        self.runs += 1
        self.started.set()
        if self.fail is not None:
            raise self.fail
        await asyncio.get_running_loop().create_future()

    def status(self) -> SourceStatus:
        return SourceStatus(self.name, "live", 0)

    def batch(
        self,
        readings: Sequence[tuple[str, str, float]],
        time_ns: int,
        *,
        quality: int = 0,
        texts: Sequence[tuple[str, str, Any]] = (),
    ) -> ReadingBatch:
        assert self.sink is not None
        refs = [self.sink.resolve(TwinId(twin), path) for twin, path, _ in readings]
        return ReadingBatch(
            source=self.name,
            slots=np.array([ref.slot if ref is not None else -1 for ref in refs], np.int32),
            values=np.array([value for _, _, value in readings], np.float64),
            source_times_ns=np.full(len(readings), time_ns, np.int64),
            quality=np.full(len(readings), quality, np.uint32),
            received_ns=time.time_ns(),
            texts=tuple(TextReading(TwinId(t), p, v, time_ns, quality) for t, p, v in texts),
        )

    async def push(self, *readings: tuple[str, str, float], at_ns: int | None = None, quality: int = 0) -> None:
        assert self.sink is not None
        batch = self.batch(readings, at_ns if at_ns is not None else time.time_ns(), quality=quality)
        await self.sink.accept(batch)
        await self.sink.ingest.drained()  # type: ignore[attr-defined]


FAST = Limits(write_behind_interval_s=0.05, history_interval_s=0.02, commit_timeout_s=2.0)

Start = Callable[..., Awaitable[Service]]


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def start(tmp_path: Path, hand: Hand) -> AsyncIterator[Start]:
    """Starts a service over the test's folder (again: the same folder); every one is stopped at the end."""
    running: list[Service] = []

    async def begin(*, pumps: int = 3, wrap: Callable[[Any], Any] = lambda store: store, **parts: Any) -> Service:
        service = Service(
            store=wrap(SqliteStore(tmp_path / "twins.db")),
            history=parts.pop("history", None) or DuckdbHistory(tmp_path / "history.db"),
            seed=seed(pumps),
            sources=parts.pop("sources", [hand]),
            limits=parts.pop("limits", FAST),
            **parts,
        )
        await service.start()
        running.append(service)
        for source in service._sources:
            await asyncio.wait_for(source.started.wait(), 5)  # type: ignore[attr-defined]
        return service

    yield begin
    for service in running:
        await service.stop()


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    return eventually


@pytest.fixture
def plant() -> Callable[[int], tuple[Change, ...]]:
    return seed
