"""The machines' own alarms (OPC UA Alarms & Conditions), from a node-opcua server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from asyncua import Client, ua
from servers.node_opcua import NodeOpcUa
from servers.proxy import proxy_to
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.mapping import OpcUaMapping
from twinloom.adapters.opcua.source import OpcUaSource
from twinloom.twin.assessments import Severity

PRESSURE = "ns=2;s=line-1/cnc-01/pressure"


@pytest.fixture
def server(free_port: Callable[[], int]) -> Iterator[NodeOpcUa]:
    node = NodeOpcUa(free_port(), {"machines": 1, "values": 1, "alarms": True})
    node.start()
    yield node
    node.kill()


@asynccontextmanager
async def press(server: NodeOpcUa) -> Any:
    """A function that sets the pressure at the machine."""
    async with Client(server.endpoint) as client:

        async def set_to(value: float) -> None:
            await client.get_node(PRESSURE).write_value(ua.DataValue(ua.Variant(value, ua.VariantType.Double)))

        yield set_to


async def test_an_alarm_of_a_machine_comes_changes_and_goes_and_is_not_lost_in_an_outage(
    server: NodeOpcUa, cnc_mapping: OpcUaMapping
) -> None:
    async with proxy_to(server.port) as proxy, press(server) as set_to:
        settings = replace(cnc_mapping.servers[0], endpoint=f"opc.tcp://127.0.0.1:{proxy.port}", events=True)
        source, sink = OpcUaSource(settings, cnc_mapping), RecordingSink()
        async with running(source, sink):
            await sink.until(lambda: sink.count > 5)
            assert sink.alarms == []
            await set_to(92.0)
            await sink.until(lambda: len(sink.alarms) == 1)
            raised = sink.alarms[0]
            assert raised.active and raised.name == "PressureHigh" and raised.twin == "toulouse/line-1/cnc-01"
            assert raised.severity in Severity and raised.time_ns > 0 and raised.message

            await proxy.cut()
            await sink.until(lambda: sink.states[-1] == "lost")
            await proxy.start()
            await sink.until(lambda: sink.states[-1] == "live")
            await set_to(50.0)
            await sink.until(lambda: not sink.alarms[-1].active)
            assert {alarm.key for alarm in sink.alarms} == {raised.key}

            await set_to(99.0)
            await sink.until(lambda: sink.alarms[-1].active)
            await proxy.cut()
            await sink.until(lambda: sink.states[-1] == "lost")
            await set_to(50.0)
            await proxy.start()
            await sink.until(lambda: not sink.alarms[-1].active)
        assert source.status().counters["alarms"] == len(sink.alarms)


async def test_a_server_without_alarms_is_read_all_the_same(node_opcua: NodeOpcUa, cnc_mapping: OpcUaMapping) -> None:
    settings = replace(cnc_mapping.servers[0], endpoint=node_opcua.endpoint, events=True)
    sink = RecordingSink()
    async with running(OpcUaSource(settings, cnc_mapping), sink):
        await sink.until(lambda: sink.count > 20)
    assert sink.alarms == []
