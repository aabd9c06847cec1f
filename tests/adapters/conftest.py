"""A simulator process for each test, and the source that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers.node_opcua import NodeOpcUa
from servers.opcua_simulator import SimulatorProcess
from servers.ports import free_port as free_port_of_loopback
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.mapping import OpcUaMapping, read_mapping
from twinloom.adapters.opcua.source import OpcUaSource


@pytest.fixture
def start_simulator(free_port: Callable[[], int], tmp_path: Path) -> Iterator[Callable[..., SimulatorProcess]]:
    """A function that starts a simulator of two machines; all are killed at the end."""
    started: list[SimulatorProcess] = []

    def start(*options: str, **given: Any) -> SimulatorProcess:
        simulator = SimulatorProcess(free_port(), tmp_path, options, **given)
        started.append(simulator)
        simulator.start()
        return simulator

    yield start
    for simulator in started:
        simulator.kill()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """A simulator of two machines for tests that only read."""
    shared = SimulatorProcess(free_port_of_loopback(), tmp_path_factory.mktemp("simulator"))
    shared.start()
    yield shared
    shared.kill()


@pytest.fixture
def cnc_mapping(examples: Path) -> OpcUaMapping:
    return read_mapping(examples / "opcua.yaml")


@pytest.fixture
def read_from(cnc_mapping: OpcUaMapping) -> Callable[..., Any]:
    """A function (simulator, sink, **settings) -> context in which the source of that simulator runs."""

    def start(simulator: SimulatorProcess, sink: RecordingSink, **changes: Any) -> Any:
        settings = replace(cnc_mapping.servers[0], endpoint=simulator.endpoint, **changes)
        return running(OpcUaSource(settings, cnc_mapping), sink)

    return start


@pytest.fixture(scope="module")
def node_opcua(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeOpcUa]:
    """A node-opcua server with two machines, history, users and every security policy."""
    folder = tmp_path_factory.mktemp("node-opcua")
    server = NodeOpcUa(
        free_port_of_loopback(),
        {
            "machines": 2, "values": 4, "history": 600, "users": {"reader": "secret"},
            "certificates": str(folder / "pki"),
            "policies": ["None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"],
        },
    )  # fmt: skip
    server.start()
    yield server
    server.kill()
