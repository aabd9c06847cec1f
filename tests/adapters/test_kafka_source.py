"""Telemetry from a real Kafka broker: what is read, what is refused and why, and when offsets are committed."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from servers.kafka_server import KafkaServer, shared_bootstrap
from servers.recording import RecordingSink, running

from twinloom.adapters.kafka.mapping import read_mapping
from twinloom.adapters.kafka.source import KafkaSource, sources_of
from twinloom.twin.errors import BadFile
from twinloom.twin.readings import is_good

UNITS = {"temperature": "degreeCelsius"}


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """host:port of the run's Kafka."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    base = tmp_path_factory.getbasetemp()
    return shared_bootstrap((base.parent if worker else base) / "kafka", os.getppid() if worker else os.getpid())


@pytest.fixture
def private_broker(tmp_path: Path) -> Iterator[KafkaServer]:
    """A broker of this test's own, started, to be killed and started again at will."""
    server = KafkaServer(tmp_path / "kafka")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def bus() -> str:
    """A name that no other test uses, for topics and groups."""
    return f"bus-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def source_of(tmp_path: Path, bus: str) -> Callable[..., KafkaSource]:
    """A function (bootstrap, rules, **broker keys) -> a source."""

    def make(bootstrap: str, rules: list[dict[str, Any]], **keys: Any) -> KafkaSource:
        file = tmp_path / "kafka.yaml"
        broker = {"name": "bus", "bootstrap": bootstrap, "group": bus, "session_timeout_s": 6, **keys}
        file.write_bytes(orjson.dumps({"brokers": [broker], "rules": rules}))  # JSON is YAML
        (source,) = sources_of(file)
        return source

    return make


@asynccontextmanager
async def producing(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def committed(bootstrap: str, group: str, topic: str) -> int:
    """The sum of the offsets that `group` has committed for `topic`."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(2)]
        consumer.assign(places)
        return sum([await consumer.committed(place) or 0 for place in places])
    finally:
        await consumer.stop()


async def read_all(bootstrap: str, topic: str, count: int) -> list[Any]:
    """The first `count` records of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(15):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


def values(machine: str, number: int, at_ns: int) -> bytes:
    return orjson.dumps({"machine": machine, "ts": at_ns, "values": {"load": number, "temperature": 20.5}})


WIDE = {"shape": "values", "at": "/values", "time": "/ts", "twin": "{plant}/{/machine}"}


async def test_values_arrive_as_columns_in_the_models_units_and_in_the_order_of_their_twin(
    broker: str, bus: str, source_of: Callable[..., KafkaSource]
) -> None:
    rules = [
        {
            **WIDE,
            "topic": bus + ".{plant}.machines",
            "members": [
                {"member": "temperature", "twin": "{plant}/{/machine}", "unit": "degreeFahrenheit"},
                {"member": "{property}", "twin": "{plant}/{/machine}"},
            ],
        }
    ]
    topic, start = f"{bus}.derby.machines", time.time_ns()
    async with producing(broker) as producer:
        for number in range(200):
            machine = f"cnc-{number % 4}"
            await producer.send(topic, values(machine, number, start + number), key=machine.encode())
    sink = RecordingSink(units=UNITS)
    async with running(source_of(broker, rules), sink) as source:
        await sink.until(lambda: sink.count == 400, 30)
        loads = sink.series("derby/cnc-3", "load")
        assert [row[:2] for row in loads] == [(start + n, float(n)) for n in range(3, 200, 4)]
        assert sink.series("derby/cnc-0", "temperature")[0][1] == pytest.approx((20.5 - 32) / 1.8)
        assert set(sink.twins) <= {f"derby/cnc-{n}" for n in range(4)}
        assert source.status().counters["received"] == 400 and sink.states == ["live"]


async def test_poison_goes_to_the_dead_letter_topic_with_its_reason_and_the_rest_goes_on(
    broker: str, bus: str, source_of: Callable[..., KafkaSource], caplog: pytest.LogCaptureFixture
) -> None:
    topic, dead = f"{bus}.machines", f"{bus}.dead"
    rules = [{**WIDE, "topic": topic, "twin": "{/machine}"}]
    now = time.time_ns()
    poison = {
        "not_decodable": [b"{", b"\xff\xfe", b"[" * 50_000, b'{"ts": NaN}'],
        "missing_member": [b"{}", orjson.dumps({"machine": "a", "values": {}})],
        "wrong_shape": [b"7", b'"text"', orjson.dumps({"machine": {}, "ts": now, "values": {}})],
        "bad_time": [
            orjson.dumps({"machine": "a", "ts": t, "values": {}}) for t in (-1e10, "1601-01-01T00:00:00Z", None)
        ],
        "too_large": [b'{"machine": "' + b"a" * 70_000 + b'"}'],
    }
    async with producing(broker) as producer:
        for payload in (payload for payloads in poison.values() for payload in payloads):
            await producer.send(topic, payload, key=b"k")
        await producer.send(topic, None, key=b"k")
        await producer.send(topic, values("cnc-1", 5, now), key=b"k")
    sink = RecordingSink()
    source = source_of(broker, rules, dead_letter=dead, message_bytes=65_536)
    with caplog.at_level(logging.WARNING, "twinloom"):
        async with running(source, sink):
            await sink.until(lambda: sink.count == 2, 30)
            count = sum(map(len, poison.values()))
            buried = await read_all(broker, dead, count)
            await sink.until(lambda: source.status().counters.get("commits", 0) > 0)
    counters = source.status().counters
    assert {reason: counters[reason] for reason in poison} == {r: len(payloads) for r, payloads in poison.items()}
    assert counters["poison"] == counters["dead_letters"] == count and counters["tombstones"] == 1
    found: dict[str, list[bytes | None]] = {}
    for record in buried:
        headers = dict(record.headers)
        assert headers["twinloom-detail"] and headers["twinloom-topic"].decode() == topic and record.key == b"k"
        found.setdefault(headers["twinloom-reason"].decode(), []).append(record.value)
    assert found == {**poison, "too_large": [None]}
    for reason in poison:  # once, not per message
        assert sum(f"({reason};" in line for line in caplog.messages) == 1
    assert await committed(broker, bus, topic) == count + 2


async def test_a_value_that_fits_nothing_is_counted_by_its_reason_and_the_others_of_its_message_are_kept(
    broker: str, bus: str, source_of: Callable[..., KafkaSource]
) -> None:
    rules = [{**WIDE, "topic": bus, "twin": "{/machine}"}]
    now = time.time_ns()
    odd = {
        "load": 1.5, "speed": "fast", "pressure": True, "flow": None, "unknown": 4, "position": 10**17,
        "controller": {"operating_mode": "AUTO", "program_name": "x" * 1_000_000},
    }  # fmt: skip
    async with producing(broker) as producer:
        await producer.send_and_wait(bus, orjson.dumps({"machine": "a b", "ts": now, "values": {"load": 1}}))
        text = orjson.dumps({"machine": "m", "ts": now, "values": odd}).replace(b"0" * 17, b"0" * 400)
        await producer.send_and_wait(bus, text)
    sink = RecordingSink(lambda twin, path: path != "unknown")
    async with running(source_of(broker, rules, message_bytes=2 << 20), sink) as source:
        await sink.until(lambda: bool(sink.texts), 30)
        counters = source.status().counters
        assert counters["bad_twin_id"] == 1 and counters["type_mismatch"] == 2 and counters["text_too_long"] == 1
        assert [(text.path, text.value) for text in sink.texts] == [("controller.operating_mode", "AUTO")]
        assert [row[1] for row in sink.series("m", "load")] == [1.5]
        ((_, flow, quality),) = sink.series("m", "flow")
        assert flow != flow and not is_good(quality)
        ((_, position, _),) = sink.series("m", "position")
        assert position == float("inf")  # the fold drops it as not_a_number
        assert counters["unmapped"] == 2  # `unknown`, and the one value of the impossible twin


async def test_offsets_are_committed_only_after_the_values_are_durable(
    broker: str, bus: str, source_of: Callable[..., KafkaSource]
) -> None:
    rules = [{**WIDE, "topic": bus, "twin": "{/machine}"}]
    now = time.time_ns()
    async with producing(broker) as producer:
        for number in range(50):
            await producer.send(bus, values("m", number, now + number), key=b"m")
    sink = RecordingSink()
    sink.durable_gate.clear()
    source = source_of(broker, rules)
    async with running(source, sink):
        await sink.until(lambda: sink.count == 100, 30)
        assert await committed(broker, bus, bus) == 0
    # That one "crashed" before the history had its values: the next one gets them all again.
    again = RecordingSink()
    async with running(source_of(broker, rules), again) as source:
        await again.until(lambda: again.count == 100, 30)
        await again.until(lambda: source.status().counters.get("commits", 0) > 0)
        assert await committed(broker, bus, bus) == 50
        assert again.durable_batches == len(again.batches)
    assert again.series("m", "load") == sink.series("m", "load")
    # And after the commit nothing comes twice.
    async with producing(broker) as producer:
        await producer.send_and_wait(bus, values("m", 50, now + 50), key=b"m")
    third = RecordingSink()
    async with running(source_of(broker, rules), third):
        await third.until(lambda: third.count == 2, 30)
        assert [row[1] for row in third.series("m", "load")] == [50.0]


async def test_reading_pauses_while_too_much_waits_for_the_history(
    broker: str, bus: str, source_of: Callable[..., KafkaSource]
) -> None:
    rules = [{**WIDE, "topic": bus, "twin": "{/machine}"}]
    async with producing(broker) as producer:
        for number in range(500):
            await producer.send(bus, values("m", number, time.time_ns()), key=b"m")
    sink = RecordingSink()
    sink.durable_gate.clear()
    async with running(source_of(broker, rules, undurable_values=100, poll_records=20), sink) as source:
        await sink.until(lambda: sink.count > 100, 30)
        held = sink.count
        await asyncio.sleep(0.5)
        assert sink.count == held <= 140 and source.status().state == "live"
        sink.durable_gate.set()
        await sink.until(lambda: sink.count == 1000, 30)
    assert [row[1] for row in sink.series("m", "load")] == [float(n) for n in range(500)]


async def test_cloud_events_are_read_in_all_three_content_modes(
    broker: str, bus: str, source_of: Callable[..., KafkaSource]
) -> None:
    rules = [{"topic": bus, "format": "cloudevents", "shape": "values", "twin": "{ce_subject}"}]

    def event(number: int, **changes: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0", "id": str(number), "source": "/plant", "type": "sample", "subject": "cnc-1",
            "time": f"2026-01-01T00:00:0{number}.000000001Z", "data": {"load": number}, **changes,
        }  # fmt: skip

    binary = [(f"ce_{key}", value.encode()) for key, value in event(4).items() if isinstance(value, str)]
    async with producing(broker) as producer:
        await producer.send(bus, orjson.dumps(event(1)), key=b"k")
        await producer.send(bus, orjson.dumps([event(2), event(3)]), key=b"k")
        await producer.send(bus, b'{"load": 4}', headers=binary, key=b"k")
        await producer.send(bus, orjson.dumps(event(5, time="yesterday")), key=b"k")
        await producer.send(bus, orjson.dumps({"load": 6}), key=b"k")
        await producer.send(bus, orjson.dumps(event(7)), key=b"k")
    sink = RecordingSink()
    async with running(source_of(broker, rules), sink) as source:
        await sink.until(lambda: sink.count == 5, 30)
        base = 1_767_225_600_000_000_000 + 1
        assert sink.series("cnc-1", "load") == [(base + n * 10**9, float(n), 0) for n in (1, 2, 3, 4, 7)]
        assert source.status().counters["bad_time"] == 1 and source.status().counters["not_decodable"] == 1


async def test_a_killed_broker_means_one_filled_gap_and_not_one_value_lost_or_doubled(
    private_broker: KafkaServer, bus: str, source_of: Callable[..., KafkaSource]
) -> None:
    rules = [{**WIDE, "topic": bus, "twin": "{/machine}"}]
    sink = RecordingSink()
    source = source_of(private_broker.bootstrap, rules, timeout_s=1, probe_s=0.2)
    start = time.time_ns()
    async with producing(private_broker.bootstrap) as producer:
        for number in range(20):
            await producer.send(bus, values("m", number, start + number), key=b"m")
        await producer.flush()
        async with running(source, sink):
            await sink.until(lambda: sink.count == 40, 30)
            await asyncio.to_thread(private_broker.kill)
            await sink.until(lambda: sink.states[-1] == "lost", 30)
            assert sink.statuses[-1].reason and set(sink.twins) == {"m"}
            await asyncio.to_thread(private_broker.start)
            for number in range(20, 40):
                await producer.send(bus, values("m", number, start + number), key=b"m")
            await producer.flush()
            await sink.until(lambda: sink.count >= 80, 30)
            await sink.until(lambda: sink.states[-1] == "live")
            (gap,) = sink.gaps
            assert (gap.start_ns, gap.end_ns, gap.filled) == (start + 19, start + 20, True)
            assert sorted({row[1] for row in sink.series("m", "load")}) == [float(n) for n in range(40)]


async def test_records_that_retention_took_are_counted_and_the_gap_is_not_called_filled(
    broker: str, bus: str, source_of: Callable[..., KafkaSource]
) -> None:
    rules = [{**WIDE, "topic": bus, "twin": "{/machine}"}]
    sink = RecordingSink()
    async with producing(broker) as producer:
        await producer.send_and_wait(bus, values("m", 0, time.time_ns()), partition=0)
        async with running(source_of(broker, rules), sink) as source:
            await sink.until(lambda: source.status().counters.get("commits", 0) > 0, 30)
        for number in range(1, 10):
            await producer.send_and_wait(bus, values("m", number, time.time_ns()), partition=0)
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        await admin.delete_records({TopicPartition(bus, 0): RecordsToDelete(8)})
        await admin.close()
    again = RecordingSink()
    async with running(source_of(broker, rules), again) as source:
        await again.until(lambda: again.count == 4, 30)
        assert source.status().counters["gone_by_retention"] == 7
        assert [row[1] for row in again.series("m", "load")] == [8.0, 9.0]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"brokers": []}, "/brokers"),
        ({"brokers": [{"name": "a"}]}, "/brokers/0/bootstrap"),
        ({"brokers": [{"name": "a", "bootstrap": "nowhere"}]}, "/brokers/0/bootstrap"),
        ({"brokers": [{"name": "a", "bootstrap": "h:1", "start": "begin"}]}, "/brokers/0/start"),
        ({"brokers": [{"name": "a", "bootstrap": "h:1", "poll_records": 1.5}]}, "/brokers/0/poll_records"),
        ({"brokers": [{"name": "a", "bootstrap": "h:1", "security": {"protocol": "SASL_SSL"}}]}, "/brokers/0/security"),
        ({"brokers": [{"name": "a", "bootstrap": "h:1", "security": {"password_env": "NOT_SET"}}]},
         "/brokers/0/security/password_env"),
        ({"rules": [{"topic": "t"}]}, "/rules/0/twin"),
        ({"rules": [{"topic": "{t", "twin": "a"}]}, "/rules/0/topic"),
        ({"rules": [{"topic": "t", "twin": "{nothing}"}]}, "/rules/0"),
        ({"rules": [{"topic": "t", "twin": "a", "tme": "/t"}]}, "/rules/0/tme"),
        ({"rules": [{"topic": "t", "twin": "a", "unit": "furlong per parsec"}]}, "/rules/0"),
        ({"rule": []}, "/rule"),
    ],
)  # fmt: skip
def test_a_broken_mapping_file_is_refused_with_file_place_and_remedy(
    tmp_path: Path, change: dict[str, Any], place: str
) -> None:
    good = {"brokers": [{"name": "a", "bootstrap": "h:1"}], "rules": [{"topic": "t", "twin": "a"}]}
    file = tmp_path / "kafka.yaml"
    file.write_bytes(orjson.dumps({**good, **change}))
    with pytest.raises(BadFile) as caught:
        read_mapping(file)
    assert caught.value.file == str(file) and caught.value.place == place and caught.value.remedy
