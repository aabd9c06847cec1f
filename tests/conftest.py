"""Fixtures that all rooms share: real servers, the example models, a clock that tests own, free ports."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from servers.maven import locked
from servers.neo4j_server import Neo4jServer, shared_uri
from servers.ports import free_port as a_free_port

from twinloom.twin.dtdl import Document, Models, parse

ROOT = Path(__file__).resolve().parents[1]


class ManualClock:
    """A `twin.ports.Clock` that moves only when it is told to."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._monotonic_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_s(self) -> float:
        return self._monotonic_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Both times go on by as much."""
        step = round(seconds * 1e9)
        self._now_ns += step
        self._monotonic_ns += step


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that gives a free TCP port of loopback, another each time."""
    return a_free_port


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the example plant."""
    return ROOT / "examples" / "cnc"


@pytest.fixture(scope="session")
def cnc_models(examples: Path) -> Models:
    """The DTDL models of the example plant."""
    return parse([Document(file.read_bytes(), str(file)) for file in sorted((examples / "models").glob("*.json"))])


def _run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def neo4j_server_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a real Neo4j: NEO4J_URI, or one started for this run (shared by all xdist workers)."""
    given = os.environ.get("NEO4J_URI")
    if given:
        return given
    watched = os.getppid() if os.environ.get("PYTEST_XDIST_WORKER") else os.getpid()
    return shared_uri(_run_folder(tmp_path_factory) / "neo4j", watched)


@pytest.fixture(scope="session")
def neo4j_auth() -> tuple[str, str]:
    """User and password: NEO4J_USER and NEO4J_PASSWORD; the server that is started for a run asks for none."""
    return os.environ.get("NEO4J_USER", "neo4j"), os.environ.get("NEO4J_PASSWORD", "twinloom")


@pytest.fixture
def neo4j_uri(
    neo4j_server_uri: str, neo4j_auth: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The real Neo4j, emptied, and this test's alone until it ends."""
    import neo4j

    with locked(_run_folder(tmp_path_factory) / "neo4j-turn"):
        with neo4j.GraphDatabase.driver(neo4j_server_uri, auth=neo4j_auth) as driver, driver.session() as session:
            session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS").consume()
        yield neo4j_server_uri


@pytest.fixture
def private_neo4j(tmp_path: Path) -> Iterator[Neo4jServer]:
    """A Neo4j of this test's own, started, to be killed and started again at will."""
    server = Neo4jServer(tmp_path / "neo4j")
    server.start()
    yield server
    server.kill()
