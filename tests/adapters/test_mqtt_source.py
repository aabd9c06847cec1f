"""MQTT telemetry from a real Mosquitto: JSON and text by rules, reconnects, floods, bad messages."""

from __future__ import annotations

import logging
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

from twinloom.adapters.mqtt.mapping import read_mapping
from twinloom.adapters.mqtt.source import MqttSource, sources_of
from twinloom.twin.errors import BadFile

RULES = [
    {"topic": "plants/{plant}/{machine}/telemetry", "at": "/values", "time": "/ts", "twin": "{plant}/{machine}"},
    {"topic": "raw/{plant}/{machine}/{value}", "format": "text", "twin": "{plant}/{machine}", "property": "{value}"},
    {"topic": "json/{machine}/{value}", "shape": "value", "at": "/v", "time": "/t", "twin": "derby/{machine}",
     "property": "{value}"},
]  # fmt: skip


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def source_of(tmp_path: Path) -> Callable[..., MqttSource]:
    """A function (port, rules, **broker keys) -> a source."""

    def make(port: int, rules: list[dict[str, Any]] = RULES, **keys: Any) -> MqttSource:
        file = tmp_path / "mqtt.yaml"
        entry = {"name": "bus", "host": "127.0.0.1", "port": port, "timeout_s": 2, "keep_alive_s": 1, **keys}
        file.write_bytes(orjson.dumps({"brokers": [entry], "rules": rules}))  # JSON is YAML
        (source,) = sources_of(file)
        return source

    return make


@asynccontextmanager
async def client_of(port: int, **options: Any) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, **options) as client:
        yield client


def values(number: int, at_ns: int) -> bytes:
    return orjson.dumps({"ts": at_ns, "values": {"load": number, "temperature": 20.5}})


async def test_json_and_text_topics_reach_the_twins_that_their_levels_name(
    broker: Mosquitto, source_of: Callable[..., MqttSource]
) -> None:
    sink, now = RecordingSink(), time.time_ns()
    async with running(source_of(broker.port), sink) as source, client_of(broker.port) as client:
        await sink.until(lambda: sink.states == ["live"])
        for number in range(100):
            await client.publish("plants/derby/m-1/telemetry", values(number, now + number), qos=1)
        await client.publish("raw/derby/m-1/speed", b"1200.5", qos=1)
        await client.publish("raw/derby/m-1/controller.operating_mode", b"AUTO", qos=1)
        await client.publish("json/m-1/flow", b'{"v": 3, "t": "2026-01-01T00:00:00Z"}', qos=1)
        await client.publish("plants/derby/m-1/elsewhere", b"not asked for", qos=1)
        await sink.until(lambda: sink.count == 202 and bool(sink.texts))
        assert [row[:2] for row in sink.series("derby/m-1", "load")] == [(now + n, float(n)) for n in range(100)]
        ((received, speed, _),) = sink.series("derby/m-1", "speed")
        assert speed == 1200.5 and now < received <= time.time_ns()
        assert sink.series("derby/m-1", "flow") == [(1_767_225_600_000_000_000, 3.0, 0)]
        assert [text.value for text in sink.texts] == ["AUTO"]
        assert source.status().counters["messages"] == 103


async def test_bad_messages_are_counted_by_reason_logged_once_and_the_rest_goes_on(
    broker: Mosquitto, source_of: Callable[..., MqttSource], caplog: pytest.LogCaptureFixture
) -> None:
    topic, now = "plants/derby/m-1/telemetry", time.time_ns()
    bad = {
        "not_decodable": [b"{", b"\xff", b"[" * 50_000],
        "missing_member": [b"{}"],
        "wrong_shape": [b"7", b"[1]"],
        "bad_time": [values(1, -5), orjson.dumps({"ts": "1601-01-01", "values": {}})],
        "too_large": [b" " * 70_000],
    }
    sink = RecordingSink()
    source = source_of(broker.port, message_bytes=65_536)
    with caplog.at_level(logging.WARNING, "twinloom"):
        async with client_of(broker.port) as client:
            await client.publish("raw/derby/m-1/speed", b"1", qos=1, retain=True)
            async with running(source, sink):
                await sink.until(lambda: sink.states == ["live"])
                for payload in (payload for payloads in bad.values() for payload in payloads):
                    await client.publish(topic, payload, qos=1)
                await client.publish("raw/derby/m-1/load", b"fast", qos=1)
                await client.publish("raw/derby/m-1/load", b"", qos=1)
                await client.publish(topic, values(5, now), qos=1)
                await sink.until(lambda: sink.count == 2)
    counters = source.status().counters
    assert {reason: counters[reason] for reason in bad} == {reason: len(given) for reason, given in bad.items()}
    assert counters["type_mismatch"] == counters["empty_messages"] == counters["retained_without_time"] == 1
    for reason in bad:
        assert sum(f"({reason};" in line for line in caplog.messages) == 1


async def test_a_flood_costs_bounded_memory_and_what_is_lost_is_counted(
    broker: Mosquitto, source_of: Callable[..., MqttSource]
) -> None:
    sink, now, sent = RecordingSink(), time.time_ns(), 3000
    sink.gate.clear()
    async with running(source_of(broker.port, queue=100), sink) as source, client_of(broker.port) as client:
        await sink.until(lambda: sink.states == ["live"])
        for number in range(sent):
            await client.publish("plants/derby/m-1/telemetry", values(number, now + number), qos=0)
        await client.publish("json/last/load", orjson.dumps({"v": 1, "t": now}), qos=1)
        sink.gate.set()
        await sink.until(lambda: ("derby/last", "load") in sink.slots)
        await sink.until(lambda: sink.count // 2 + sink.lost() >= sent)
        lost = sink.lost()
        assert lost > 0 and source.status().counters["queue_overflow"] == lost
        assert len(sink.series("derby/m-1", "load")) + lost == sent


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_an_outage_is_one_gap_and_the_source_comes_back(
    broker: Mosquitto, source_of: Callable[..., MqttSource], fault: str
) -> None:
    sink, now = RecordingSink(), time.time_ns()
    source = source_of(broker.port)
    topic = "plants/derby/m-1/telemetry"
    async with running(source, sink):
        await sink.until(lambda: sink.states == ["live"])
        async with client_of(broker.port) as client:
            await client.publish(topic, values(1, now), qos=1)
            await sink.until(lambda: sink.count == 2)
        if fault == "kill":
            broker.kill()
        else:
            broker.freeze()
        await sink.until(lambda: sink.states[-1] == "lost")
        assert sink.statuses[-1].reason and list(sink.twins) == ["derby/m-1"]
        if fault == "kill":
            broker.start()
        else:
            broker.thaw()
        await sink.until(lambda: sink.states[-1] == "live")
        async with client_of(broker.port) as client:
            await client.publish(topic, values(2, now + 10), qos=1)
            await sink.until(lambda: sink.count == 4)
        (gap,) = sink.gaps
        assert (gap.source, gap.start_ns, gap.end_ns, gap.filled) == ("bus", now, now + 10, False)
        assert sink.duplicates() == 0


async def test_a_kept_session_gets_what_was_sent_while_we_were_away(
    broker: Mosquitto, source_of: Callable[..., MqttSource]
) -> None:
    keys = {"client_id": "twinloom-test", "session_expiry_s": 600}
    sink, now = RecordingSink(), time.time_ns()
    async with running(source_of(broker.port, **keys), sink):
        await sink.until(lambda: sink.states == ["live"])
    async with client_of(broker.port) as client:
        for number in range(10):
            await client.publish("plants/derby/m-1/telemetry", values(number, now + number), qos=1)
    async with running(source_of(broker.port, **keys), sink):
        await sink.until(lambda: sink.count == 20)
    assert [row[1] for row in sink.series("derby/m-1", "load")] == [float(n) for n in range(10)]


async def test_a_wrong_password_is_a_reason_and_not_in_the_log(
    tmp_path: Path,
    source_of: Callable[..., MqttSource],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = Mosquitto(tmp_path / "closed", "allow_anonymous false\n")
    closed.start()
    monkeypatch.setenv("MQTT_PASSWORD", "canary-secret")
    sink = RecordingSink()
    with caplog.at_level(logging.DEBUG):
        async with running(source_of(closed.port, user="reader", password_env="MQTT_PASSWORD"), sink) as source:
            await sink.until(lambda: source.status().counters.get("failed_connects", 0) >= 2)
            assert source.status().state == "connecting" and "uthori" in source.status().reason
    closed.kill()
    assert "canary-secret" not in caplog.text


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"rules": []}, "/rules"),
        ({"rules": [{"topic": "a/#", "twin": "x"}]}, "/rules/0/topic"),
        ({"rules": [{"topic": "a/{b}", "twin": "{c}"}]}, "/rules/0"),
        ({"rules": [{"topic": "a", "twin": "x", "format": "cloudevents"}]}, "/rules/0/format"),
        ({"brokers": [{"name": "a", "host": "h", "qos": 3}]}, "/brokers/0"),
        ({"brokers": [{"name": "a", "host": "h", "session_expiry_s": 60}]}, "/brokers/0/client_id"),
        ({"brokers": [{"name": "a", "host": "h", "tls": True, "ca": "gone.pem"}]}, "/brokers/0/ca"),
        ({"sparkplug": [{"group": "g", "twin": "t"}]}, "/sparkplug/0/node"),
        ({"sparkplug": [{"group": "g", "node": "n", "twin": "{x}"}]}, "/sparkplug/0"),
    ],
)
def test_a_broken_mapping_file_is_refused_with_file_place_and_remedy(
    tmp_path: Path, change: dict[str, Any], place: str
) -> None:
    good = {"brokers": [{"name": "a", "host": "h"}], "rules": [{"topic": "t", "twin": "a"}]}
    file = tmp_path / "mqtt.yaml"
    file.write_bytes(orjson.dumps({**good, **change}))
    with pytest.raises(BadFile) as caught:
        read_mapping(file)
    assert caught.value.place == place and caught.value.remedy
