"""Sparkplug B through a real Mosquitto: births, aliases, sequence, deaths, rebirth requests, every data type."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import orjson
import pytest
from servers.mosquitto import Mosquitto
from servers.recording import RecordingSink, running

from twinloom.adapters.mqtt import sparkplug_payload as sp
from twinloom.adapters.mqtt.source import MqttSource, sources_of
from twinloom.twin.readings import is_good

NOW_MS = time.time_ns() // 1_000_000
RULES = [
    {"group": "{plant}", "node": "{line}", "twin": "{plant}/{line}"},
    {"group": "{plant}", "node": "{line}", "device": "{machine}",
     "members": [{"member": "{component}/{property}", "twin": "{plant}/{line}/{machine}/{component}",
                  "property": "{property}"},
                 {"member": "{property}", "twin": "{plant}/{line}/{machine}", "property": "{property}"}]},
]  # fmt: skip


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def source_of(tmp_path: Path) -> Callable[..., MqttSource]:
    def make(port: int, **keys: Any) -> MqttSource:
        file = tmp_path / "mqtt.yaml"
        entry = {"name": "bus", "host": "127.0.0.1", "port": port, "timeout_s": 2, "rebirth_s": 0.2, **keys}
        file.write_bytes(orjson.dumps({"brokers": [entry], "sparkplug": RULES}))
        (source,) = sources_of(file)
        return source

    return make


class Node:
    """An edge node of the test: line-1 of derby, with the device m-1."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.sequence = 0
        self.at = NOW_MS

    async def send(self, kind: str, metrics: list[dict[str, Any]], *, device: str = "", seq: int | None = None) -> None:
        if kind == "NBIRTH":
            self.sequence = 0
        self.at += 1
        payload = sp.Payload(timestamp=self.at, seq=self.sequence if seq is None else seq)
        for metric in metrics:
            payload.metrics.add(**metric)
        topic = f"spBv1.0/derby/{kind}/line-1" + (f"/{device}" if device else "")
        self.sequence = (payload.seq + 1) % 256
        await self.client.publish(topic, payload.SerializeToString(), qos=1)

    async def birth(self, session: int = 1) -> None:
        await self.send("NBIRTH", [
            {"name": "bdSeq", "datatype": sp.UINT64, "long_value": session},
            {"name": "Node Control/Rebirth", "datatype": sp.BOOLEAN, "boolean_value": False},
            {"name": "power", "alias": 1, "datatype": sp.DOUBLE, "double_value": 1.5},
        ])  # fmt: skip
        await self.send("DBIRTH", [
            {"name": "spindle/speed", "alias": 2, "datatype": sp.INT16, "int_value": 2**16 - 5},
            {"name": "load", "alias": 3, "datatype": sp.FLOAT, "float_value": 0.5},
        ], device="m-1")  # fmt: skip

    async def load(self, value: float, **options: Any) -> None:
        await self.send("DDATA", [{"alias": 3, "float_value": value}], device="m-1", **options)


@asynccontextmanager
async def node_of(port: int) -> AsyncIterator[Node]:
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        yield Node(client)


def states(sink: RecordingSink, name: str) -> list[str]:
    return [status.state for status in sink.statuses if status.name == name]


async def test_births_name_metrics_and_data_refers_to_them_by_alias(
    broker: Mosquitto, source_of: Callable[..., MqttSource]
) -> None:
    sink = RecordingSink()
    async with running(source_of(broker.port), sink) as source, node_of(broker.port) as node:
        await sink.until(lambda: states(sink, "bus") == ["live"])
        await node.birth()
        for number in range(300):  # beyond 255: the sequence wraps
            await node.load(number)
        await node.send("NDATA", [{"alias": 1, "is_null": True}])
        await sink.until(lambda: len(sink.series("derby/line-1", "power")) == 2)
        loads = sink.series("derby/line-1/m-1", "load")
        assert loads == [((NOW_MS + 2 + n) * 1_000_000, v, 0) for n, v in enumerate([0.5, *map(float, range(300))])]
        assert sink.series("derby/line-1/m-1/spindle", "speed")[0][1] == -5.0
        birth, null = sink.series("derby/line-1", "power")
        assert birth[1] == 1.5 and null[1] != null[1] and not is_good(null[2])
        counters = source.status().counters
        assert counters["births"] == 2 and "missed_messages" not in counters and "rebirth_requests" not in counters


async def test_every_scalar_type_keeps_its_value(broker: Mosquitto, source_of: Callable[..., MqttSource]) -> None:
    numbers = [
        (sp.INT8, "int_value", 2**8 - 3, -3), (sp.INT8, "int_value", 2**32 - 3, -3),
        (sp.INT32, "int_value", 2**32 - 7, -7),
        (sp.INT64, "long_value", 2**64 - 9, -9), (sp.UINT8, "int_value", 200, 200),
        (sp.UINT32, "int_value", 2**32 - 1, 2**32 - 1),
        (sp.UINT64, "long_value", 2**40, 2**40), (sp.FLOAT, "float_value", 0.25, 0.25),
        (sp.DATETIME, "long_value", 5, 5),
    ]  # fmt: skip
    sink = RecordingSink(text_paths=("mode", "on"))
    async with running(source_of(broker.port), sink) as source, node_of(broker.port) as node:
        await sink.until(lambda: states(sink, "bus") == ["live"])
        unit = sp.Payload().metrics.add().properties
        unit.keys.append("Quality")
        unit.values.add(type=sp.INT32, int_value=500)
        metrics = [{"name": f"n{i}", "datatype": kind, field: raw} for i, (kind, field, raw, _) in enumerate(numbers)]
        metrics += [
            {"name": "mode", "datatype": sp.STRING, "string_value": "AUTO"},
            {"name": "on", "datatype": sp.BOOLEAN, "boolean_value": True},
            {"name": "old", "datatype": sp.DOUBLE, "double_value": 1.0, "properties": unit},
            {"name": "blob", "datatype": 17, "bytes_value": b"x"},
        ]
        await node.send("NBIRTH", metrics)
        await sink.until(lambda: len(sink.texts) == 2)
        found = [sink.series("derby/line-1", f"n{i}")[0][1] for i in range(len(numbers))]
        assert found == [float(expected) for *_, expected in numbers]
        assert [(text.path, text.value) for text in sink.texts] == [("mode", "AUTO"), ("on", True)]
        assert sink.series("derby/line-1", "old")[0][2] == 0x40900000
        assert source.status().counters["unread_type"] == 1


async def test_a_death_makes_exactly_its_twins_stale_and_the_next_birth_ends_one_gap(
    broker: Mosquitto, source_of: Callable[..., MqttSource]
) -> None:
    sink = RecordingSink()
    async with running(source_of(broker.port), sink) as source, node_of(broker.port) as node:
        await sink.until(lambda: states(sink, "bus") == ["live"])
        await node.birth()
        await node.load(1.0)
        await node.send("DDEATH", [], device="m-1")
        await sink.until(lambda: states(sink, "bus:derby/line-1/m-1") == ["live", "lost"])
        assert set(sink.twins) == {"derby/line-1/m-1", "derby/line-1/m-1/spindle"}
        assert states(sink, "bus:derby/line-1") == states(sink, "bus") == ["live"]
        await node.load(2.0)  # data of a dead device is refused
        await sink.until(lambda: source.status().counters.get("data_before_birth", 0) == 1)
        await node.send("NDEATH", [{"name": "bdSeq", "datatype": sp.UINT64, "long_value": 0}])  # of an older session
        await node.send("NDEATH", [{"name": "bdSeq", "datatype": sp.UINT64, "long_value": 1}])
        await sink.until(lambda: states(sink, "bus:derby/line-1") == ["live", "lost"])
        assert list(sink.twins) == ["derby/line-1"] and source.status().counters["old_death"] == 1
        await node.birth(session=2)
        await sink.until(lambda: len(sink.gaps) == 2)
        assert {gap.source for gap in sink.gaps} == {"bus:derby/line-1", "bus:derby/line-1/m-1"}
        for gap in sink.gaps:
            assert gap.start_ns < gap.end_ns and gap.twins
        assert states(sink, "bus:derby/line-1/m-1") == ["live", "lost", "live"]


async def test_a_missing_message_or_an_unknown_node_is_asked_to_be_born_again(
    broker: Mosquitto, source_of: Callable[..., MqttSource]
) -> None:
    sink = RecordingSink()
    async with running(source_of(broker.port), sink) as source, node_of(broker.port) as node:
        await sink.until(lambda: states(sink, "bus") == ["live"])
        await node.client.subscribe("spBv1.0/derby/NCMD/line-1")

        async def asked() -> None:
            async with asyncio.timeout(10):
                message = await anext(aiter(node.client.messages))
            command = sp.Payload()
            command.ParseFromString(message.payload)
            assert [(m.name, m.boolean_value) for m in command.metrics] == [("Node Control/Rebirth", True)]

        await node.load(1.0)  # never born
        await asked()
        await node.birth()
        await node.load(2.0, seq=9)  # 2 to 8 are missing
        await asked()
        await sink.until(lambda: [row[1] for row in sink.series("derby/line-1/m-1", "load")] == [0.5, 2.0])
        counters = source.status().counters
        assert counters["missed_messages"] == 7 and counters["data_before_birth"] == 1


async def test_garbage_in_the_namespace_is_counted_and_the_rest_goes_on(
    broker: Mosquitto, source_of: Callable[..., MqttSource]
) -> None:
    sink = RecordingSink()
    async with running(source_of(broker.port), sink) as source, node_of(broker.port) as node:
        await sink.until(lambda: states(sink, "bus") == ["live"])
        await node.birth()
        await sink.until(lambda: sink.count == 3)
        for topic in ("NDATA/line-1", "DDATA/line-1/m-1"):
            await node.client.publish(f"spBv1.0/derby/{topic}", b"\xff\xff\xff", qos=1)
        await node.client.publish("spBv1.0/derby/DDATA/line-1", b"\x08\x01", qos=1)
        await node.client.publish("spBv1.0/STATE/other", b'{"online": true}', qos=1)
        await node.send("DDATA", [{"alias": 99, "float_value": 1.0}, {"alias": 3, "float_value": 7.0}], device="m-1")
        await sink.until(lambda: [row[1] for row in sink.series("derby/line-1/m-1", "load")] == [0.5, 7.0])
        counters = source.status().counters
        assert (counters["not_decodable"], counters["bad_topic"], counters["unknown_metric"]) == (2, 1, 1)


async def test_a_host_application_tells_its_state_and_its_will(
    broker: Mosquitto, source_of: Callable[..., MqttSource]
) -> None:
    sink = RecordingSink()
    async with node_of(broker.port) as node:
        await node.client.subscribe("spBv1.0/STATE/twin")
        async with running(source_of(broker.port, host_id="twin"), sink):
            async with asyncio.timeout(10):
                message = await anext(aiter(node.client.messages))
            assert orjson.loads(message.payload)["online"] is True
