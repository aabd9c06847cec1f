"""Orders reach real servers, and count only when the machine shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from servers.node_opcua import NodeOpcUa
from servers.opcua_simulator import SimulatorProcess
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.actuator import OpcUaActuator
from twinloom.adapters.opcua.mapping import OpcUaMapping
from twinloom.adapters.opcua.source import OpcUaSource
from twinloom.twin.errors import BadRequest, CommandFailed
from twinloom.twin.ids import TwinId

MACHINE = TwinId("toulouse/line-1/cnc-01")
OVERRIDE = "controller.feed_override"


@pytest.fixture
async def to_simulator(
    simulator: SimulatorProcess, cnc_mapping: OpcUaMapping
) -> AsyncIterator[tuple[OpcUaActuator, RecordingSink]]:
    async with connected(simulator.endpoint, cnc_mapping) as pair:
        yield pair


@pytest.fixture
async def to_node(
    node_opcua: NodeOpcUa, cnc_mapping: OpcUaMapping
) -> AsyncIterator[tuple[OpcUaActuator, RecordingSink]]:
    async with connected(node_opcua.endpoint, cnc_mapping) as pair:
        yield pair


@asynccontextmanager
async def connected(endpoint: str, mapping: OpcUaMapping) -> AsyncIterator[tuple[OpcUaActuator, RecordingSink]]:
    source = OpcUaSource(replace(mapping.servers[0], endpoint=endpoint), mapping)
    sink = RecordingSink(units={OVERRIDE: "percent"})
    async with running(source, sink):
        await sink.until(lambda: sink.count > 0 and (MACHINE, OVERRIDE) in source.actuated)
        yield OpcUaActuator(source), sink


@pytest.mark.parametrize("server", ["simulator", "node_opcua"])
async def test_a_write_is_done_when_the_machine_shows_it_and_the_twin_hears_of_it(
    server: str, request: pytest.FixtureRequest, cnc_mapping: OpcUaMapping
) -> None:
    async with connected(request.getfixturevalue(server).endpoint, cnc_mapping) as (actuator, sink):
        assert actuator.reaches(MACHINE, OVERRIDE)
        echo = await actuator.write(MACHINE, OVERRIDE, 85.0, timeout_s=5.0)
        assert echo.value == 85.0 and echo.status == 0 and echo.source_time_ns > 0
        await sink.until(lambda: sink.series(MACHINE, OVERRIDE)[-1][1] == 85.0)


async def test_what_is_not_mapped_or_not_writable_is_not_reached(to_simulator: Any) -> None:
    actuator, _ = to_simulator
    assert not actuator.reaches(TwinId(f"{MACHINE}/spindle"), "speed")
    assert not actuator.reaches(MACHINE, "manufacturer")
    with pytest.raises(CommandFailed, match="cannot be written"):
        await actuator.write(TwinId(f"{MACHINE}/spindle"), "speed", 1.0, timeout_s=2.0)


@pytest.mark.parametrize("value", ["fast", None, True, float("nan"), [1.0]])
async def test_a_value_of_another_type_is_refused_before_it_leaves(to_simulator: Any, value: Any) -> None:
    actuator, _ = to_simulator
    with pytest.raises(BadRequest, match="does not fit"):
        await actuator.write(MACHINE, OVERRIDE, value, timeout_s=2.0)


async def test_a_refusal_carries_the_status_code_of_the_machine(to_node: Any) -> None:
    actuator, _ = to_node
    with pytest.raises(CommandFailed, match="BadOutOfRange"):
        await actuator.write(MACHINE, OVERRIDE, 500.0, timeout_s=5.0)


async def test_a_command_calls_the_mapped_method_and_returns_its_answer(to_node: Any) -> None:
    actuator, _ = to_node
    assert actuator.reaches(MACHINE, "controller.reset")
    assert (await actuator.invoke(MACHINE, "controller.reset", "jam cleared", timeout_s=5.0)).value is True
    assert (await actuator.invoke(MACHINE, "controller.reset", {"reason": ""}, timeout_s=5.0)).value is False
    with pytest.raises(BadRequest, match="does not fit"):
        await actuator.invoke(MACHINE, "controller.reset", 7, timeout_s=5.0)
    with pytest.raises(CommandFailed, match="has no method"):
        await actuator.invoke(MACHINE, "stop", None, timeout_s=5.0)


async def test_an_order_to_a_frozen_machine_fails_in_time_and_says_that_its_outcome_is_unknown(
    start_simulator: Callable[..., SimulatorProcess], cnc_mapping: OpcUaMapping
) -> None:
    simulator = start_simulator()
    async with connected(simulator.endpoint, cnc_mapping) as (actuator, _):
        simulator.freeze()
        with pytest.raises(CommandFailed) as failed:
            await actuator.write(MACHINE, OVERRIDE, 50.0, timeout_s=1.0)
        assert "look at the machine" in failed.value.remedy


async def test_an_order_to_a_server_that_is_away_fails_and_is_still_known_as_an_order_to_a_machine(
    start_simulator: Callable[..., SimulatorProcess], cnc_mapping: OpcUaMapping
) -> None:
    simulator = start_simulator()
    async with connected(simulator.endpoint, cnc_mapping) as (actuator, sink):
        simulator.kill()
        await sink.until(lambda: sink.states[-1] == "lost")
        assert actuator.reaches(MACHINE, OVERRIDE)
        with pytest.raises(CommandFailed, match="not connected"):
            await actuator.write(MACHINE, OVERRIDE, 50.0, timeout_s=1.0)
