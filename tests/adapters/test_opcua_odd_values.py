"""Values that real servers send and nobody wants: each counted by name, said once, and the rest goes on."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Server, ua
from servers.ports import free_port
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.mapping import read_mapping
from twinloom.adapters.opcua.source import OpcUaSource

URI = "urn:test:odd"
V = ua.VariantType
START: dict[str, tuple[Any, V]] = {
    "number": (1.0, V.Double),
    "other": (1.0, V.Double),
    "text": ("x", V.String),
    "flag": (True, V.Boolean),
    "long": (1, V.Int64),
    "list": ([1], V.Int32),
}
BEFORE = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


class OddServer:
    """An asyncua server in this process whose values the test writes as they come."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"opc.tcp://127.0.0.1:{port}"
        self._server = Server()
        self._nodes: dict[str, Any] = {}

    async def start(self) -> None:
        await self._server.init()
        self._server.set_endpoint(self.endpoint)
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        ns = await self._server.register_namespace(URI)
        machine = await self._server.nodes.objects.add_object(ua.NodeId("m", ns), ua.QualifiedName("m", ns))
        for name, (value, kind) in START.items():
            node = await machine.add_variable(ua.NodeId(name, ns), ua.QualifiedName(name, ns), value, kind)
            self._nodes[name] = node
        limits = ua.Range(Low=0.0, High=100.0)
        await self._nodes["number"].add_property(ua.NodeId("range", ns), ua.QualifiedName("EURange", 0), limits)
        await self._server.start()

    async def put(self, name: str, value: Any, kind: V | None = None, **stamps: Any) -> None:
        """As a device driver would: past all checks of the server."""
        node = self._nodes[name].nodeid
        data = ua.DataValue(ua.Variant(value, kind), **stamps)
        attribute = self._server.iserver.aspace[node].attributes[ua.AttributeIds.Value]
        attribute.value = data
        for handle, callback in attribute.datachange_callbacks.items():
            await callback(handle, data)

    async def stop(self) -> None:
        await self._server.stop()


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[OddServer]:
    odd = OddServer(free_port())
    await odd.start()
    yield odd
    await odd.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def reading(server: OddServer, tmp_path: Path) -> AsyncIterator[tuple[OpcUaSource, RecordingSink]]:
    for name, (value, kind) in START.items():
        await server.put(name, value, kind, SourceTimestamp=BEFORE)
    file = tmp_path / "odd.yaml"
    file.write_text(
        f"namespaces: {{n: '{URI}'}}\n"
        f"servers: [{{name: odd, endpoint: '{server.endpoint}'}}]\n"
        "rules: [{path: 'n:m/n:{property}', twin: m, property: '{property}'}]\n",
        encoding="utf-8",
    )
    mapping = read_mapping(file)
    sink = RecordingSink(text_paths=("text", "flag", "long", "list"))
    source = OpcUaSource(mapping.servers[0], mapping)
    async with running(source, sink):
        await sink.until(lambda: len(sink.texts) == 4 and sink.count == 2)
        yield source, sink


Reading = tuple[OpcUaSource, RecordingSink]


async def test_values_of_the_slow_lane_keep_their_types(server: OddServer, reading: Reading) -> None:
    _, sink = reading
    await server.put("flag", False, V.Boolean, SourceTimestamp=NOW)
    await server.put("long", 2**62 + 1, V.Int64, SourceTimestamp=NOW)
    await server.put("list", [3, 4], V.Int32, SourceTimestamp=NOW)
    await server.put("text", "Störung", V.String, SourceTimestamp=NOW, StatusCode=ua.StatusCode(0x40000000))
    await sink.until(lambda: len(sink.texts) >= 8)
    last = {text.path: text for text in sink.texts}
    assert last["flag"].value is False and last["long"].value == 2**62 + 1 and last["list"].value == [3, 4]
    assert last["text"].value == "Störung" and last["text"].quality == 0x40000000
    assert last["text"].source_time_ns == int(NOW.timestamp()) * 10**9


async def test_nan_and_status_codes_reach_the_core_as_they_are(server: OddServer, reading: Reading) -> None:
    source, sink = reading
    await server.put("other", math.nan, V.Double, SourceTimestamp=NOW)
    await sink.until(lambda: len(sink.series("m", "other")) == 2)
    await server.put("other", None, V.Null, SourceTimestamp=NOW, StatusCode=ua.StatusCode(0x808C0000))
    await sink.until(lambda: len(sink.series("m", "other")) == 3)
    (_, (_, nan, good), (_, none, bad)) = sink.series("m", "other")
    assert math.isnan(nan) and good == 0 and math.isnan(none) and bad == 0x808C0000
    assert source.status().counters["bad_quality"] == 1


async def test_a_value_outside_its_range_becomes_uncertain(server: OddServer, reading: Reading) -> None:
    source, sink = reading
    await server.put("number", 1e9, V.Double, SourceTimestamp=NOW)
    await sink.until(lambda: len(sink.series("m", "number")) == 2)
    assert sink.series("m", "number")[-1][1:] == (1e9, 0x40940000)
    assert source.status().counters["outside_eu_range"] == 1


async def test_a_value_without_a_source_time_gets_the_servers_or_ours(server: OddServer, reading: Reading) -> None:
    source, sink = reading
    await server.put("other", 2.0, V.Double, ServerTimestamp=NOW)
    await sink.until(lambda: len(sink.series("m", "other")) == 2)
    await server.put("other", 3.0, V.Double, SourceTimestamp=datetime(1601, 1, 1, tzinfo=UTC))
    await sink.until(lambda: len(sink.series("m", "other")) == 3)
    (_, (served, _, _), (ours, _, _)) = sink.series("m", "other")
    assert served == int(NOW.timestamp()) * 10**9
    assert abs(ours - sink.batches[-1].received_ns) < 10**9
    assert source.status().counters["no_source_time"] >= 1


async def test_a_time_in_the_future_is_handed_over_for_the_core_to_judge(server: OddServer, reading: Reading) -> None:
    _, sink = reading
    future = datetime(2199, 1, 1, tzinfo=UTC)
    await server.put("other", 4.0, V.Double, SourceTimestamp=future)
    await sink.until(lambda: len(sink.series("m", "other")) == 2)
    assert sink.series("m", "other")[-1][0] == int(future.timestamp()) * 10**9


async def test_a_text_for_a_number_and_a_text_beyond_the_limit_are_counted_and_said_once(
    server: OddServer, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    source, sink = reading
    caplog.set_level(logging.WARNING, "twinloom")
    for n in range(3):
        await server.put("number", f"broken {n}", V.String, SourceTimestamp=NOW)
        await server.put("text", "x" * 1_000_000 + str(n), V.String, SourceTimestamp=NOW)
        await server.put("other", float(n + 10), V.Double, SourceTimestamp=NOW)
        await asyncio.sleep(0)
    await sink.until(
        lambda: (
            source.status().counters.get("type_mismatch", 0) == 3
            and source.status().counters.get("text_too_long", 0) == 3
            and sink.series("m", "other")[-1][1] == 12.0
        )
    )
    said = [record.message for record in caplog.records if record.name.startswith("twinloom")]
    assert len([line for line in said if "sends no number" in line]) == 1
    assert len([line for line in said if "characters" in line]) == 1
    assert max(len(line) for line in said) < 300
    assert sink.states == ["live"]
