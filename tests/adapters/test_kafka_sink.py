"""Every signal of the feed on a real Kafka topic: as CloudEvents, keyed by twin, at least once, resumed by seq."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from servers.kafka_server import KafkaServer, shared_bootstrap

from twinloom.adapters.kafka.events import events_of, time_text
from twinloom.adapters.kafka.settings import KafkaSettings
from twinloom.adapters.kafka.sink import KafkaFollower
from twinloom.graph.store import LogEntry
from twinloom.runtime.feed import Feed
from twinloom.twin import signals
from twinloom.twin.assessments import Alert, AlertState, Health, ModelHealth, RulEstimate, Severity, WorkOrder
from twinloom.twin.assessments import WorkOrderState as OrderState
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Relationship
from twinloom.twin.readings import Gap, TextReading

M1, M2 = TwinId("plant/m-1"), TwinId("plant/m-2")
NAMES = {0: (M1, "load"), 1: (M1, "speed"), 2: (M2, "load")}
AT = 1_700_000_000_000_000_000


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """host:port of the run's Kafka."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    base = tmp_path_factory.getbasetemp()
    return shared_bootstrap((base.parent if worker else base) / "kafka", os.getppid() if worker else os.getpid())


@pytest.fixture
def settings(broker: str) -> KafkaSettings:
    bus = f"bus-{uuid.uuid4().hex[:8]}"
    return KafkaSettings(name="bus", bootstrap=broker, group=bus, events=f"{bus}.events", timeout_s=1)


def alert(number: int, twin: TwinId = M1) -> Alert:
    return Alert(
        f"a-{number}",
        "hot",
        twin,
        Severity.WARNING,
        AlertState.RAISED,
        "hot",
        "load",
        9.0,
        8.0,
        "%",
        AT,
        seq=number,
    )


def raised(seq: int, twin: TwinId = M1) -> signals.AlertRaised:
    return signals.AlertRaised(seq=seq, time_ns=AT + seq, alert=alert(seq, twin))


def readings(seq: int) -> signals.ReadingsFolded:
    return signals.ReadingsFolded(
        seq=seq, time_ns=AT + seq, cause="opcua", source="opcua",
        slots=np.array([0, 2, 1], np.int32), values=np.array([1.5, 2.5, np.nan]),
        source_times_ns=np.array([AT, AT + 1, AT + 2]), quality=np.array([0, 0, 0x80000000], np.uint32), received_ns=AT,
        texts=(TextReading(M2, "mode", "AUTO", AT),),
    )  # fmt: skip


def one_of_each() -> list[signals.AnySignal]:
    estimate = RulEstimate(M1, 12.0, 9.0, 15.0, Health.C, "replace", ModelHealth.OK, "v1", details={"x": float("nan")})
    order = WorkOrder("w-1", M2, "hot", "a-1", "Look", "Replace", Severity.CRITICAL, OrderState.OPEN, AT)
    edge = Relationship("r-1", M1, "contains", M2, {"since": 2020}, "etag")
    built: list[Callable[[int], signals.AnySignal]] = [
        readings,
        lambda s: signals.TwinCreated(seq=s, time_ns=AT, twin=M1, model=ModelId("dtmi:a:B;1")),
        lambda s: signals.TwinUpdated(seq=s, time_ns=AT, twin=M1, paths=("name",)),
        lambda s: signals.TwinDeleted(seq=s, time_ns=AT, twin=M1, model=ModelId("dtmi:a:B;1")),
        lambda s: signals.RelationshipCreated(seq=s, time_ns=AT, relationship=edge),
        lambda s: signals.RelationshipDeleted(seq=s, time_ns=AT, relationship=edge),
        lambda s: signals.ModelsChanged(seq=s, time_ns=AT, uploaded=(ModelId("dtmi:a:B;1"),)),
        lambda s: signals.RulScored(seq=s, time_ns=AT, estimates=(estimate, replace(estimate, twin=M2))),
        raised,
        lambda s: signals.AlertAcknowledged(seq=s, time_ns=AT, alert=alert(s)),
        lambda s: signals.AlertCleared(seq=s, time_ns=AT, alert=alert(s)),
        lambda s: signals.WorkOrderOpened(seq=s, time_ns=AT, order=order),
        lambda s: signals.WorkOrderClosed(seq=s, time_ns=AT, order=order),
        lambda s: signals.GapMarked(seq=s, time_ns=AT, gap=Gap("opcua", AT, AT + 5, "away", (M1,))),
        lambda s: signals.SourceStateChanged(
            seq=s, time_ns=AT, source="opcua", state="lost", reason="away", twins=(M1,)
        ),
    ]
    return [build(seq) for seq, build in enumerate(built, 1)]


@asynccontextmanager
async def following(follower: KafkaFollower) -> AsyncIterator[KafkaFollower]:
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        if task.done():
            task.result()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 the follower tells nobody
            await asyncio.sleep(0.02)


@dataclass
class Read:
    key: str
    partition: int
    event: dict[str, Any]


async def read(settings: KafkaSettings, done: Callable[[list[Read]], bool]) -> list[Read]:
    """The records of the topic, from the first until `done`."""
    consumer = AIOKafkaConsumer(settings.events, bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    found: list[Read] = []
    try:
        async with asyncio.timeout(20):
            while not done(found):
                record = await consumer.getone()
                assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")
                found.append(Read((record.key or b"").decode(), record.partition, orjson.loads(record.value)))
        return found
    finally:
        await consumer.stop()


async def test_every_kind_of_signal_becomes_events_of_its_twins(settings: KafkaSettings) -> None:
    feed = Feed()
    follower = KafkaFollower(settings, feed, NAMES.get, server="/plant")
    sent = one_of_each()
    assert {type(signal) for signal in sent} == set(signals.AnySignal.__args__)
    feed.start_from(0)
    follower.after = 0
    for signal in sent:
        feed.publish(signal)
    expected = [event for signal in sent for event in events_of(signal, NAMES.get, "/plant")]
    async with following(follower):
        found = await read(settings, lambda rows: len(rows) == len(expected))
    events = {row.event["id"]: row for row in found}
    assert set(events) == {event.id for event in expected} and len(events) == len(found)
    for row in found:
        event = row.event
        assert event["specversion"] == "1.0" and event["source"] == "/plant" and event["data"]["seq"] > 0
        assert event.get("subject", "") == row.key
    assert {row.event["type"] for row in found} == {event.type for event in expected}
    first, second = events["1-0"], events["1-1"]
    assert (first.key, second.key) == (M1, M2)
    assert first.event["type"] == "com.twinloom.readings.folded" and first.event["time"] == time_text(AT + 1)
    assert first.event["data"]["values"] == [
        {"path": "load", "value": 1.5, "time": time_text(AT), "quality": 0},
        {"path": "speed", "value": None, "time": time_text(AT + 2), "quality": 0x80000000},
    ]
    assert [value["value"] for value in second.event["data"]["values"]] == [2.5, "AUTO"]
    for key in (M1, M2):
        assert len({row.partition for row in found if row.key == key}) == 1
        seqs = [row.event["data"]["seq"] for row in found if row.key == key]
        assert seqs == sorted(seqs)
    assert follower.after == len(sent)


async def test_a_follower_that_starts_again_goes_on_where_it_was(settings: KafkaSettings) -> None:
    feed = Feed()
    first = KafkaFollower(settings, feed, NAMES.get)
    first.after = 0
    for seq in (1, 2, 3):
        feed.publish(raised(seq))
    async with following(first):
        await until(lambda: first.after == 3)
        await read(settings, lambda rows: len(rows) == 3)
        # What is produced is kept as progress without another signal coming.
        await asyncio.sleep(1.5)
    for seq in (4, 5):
        feed.publish(raised(seq))
    async with following(KafkaFollower(settings, feed, NAMES.get)):
        found = await read(settings, lambda rows: len(rows) == 5)
    assert [row.event["data"]["alert"]["id"] for row in found] == [f"a-{seq}" for seq in range(1, 6)]


async def test_what_the_feed_no_longer_holds_comes_from_the_change_log_with_an_explicit_gap(
    settings: KafkaSettings,
) -> None:
    asked: list[tuple[int, int]] = []

    async def backlog(from_seq: int, to_seq: int) -> AsyncIterator[LogEntry]:
        asked.append((from_seq, to_seq))
        document = {"id": "a-4", "twin": M2, "state": "raised"}
        records = tuple(
            {"op": "put_record", "kind": kind, "key": "k", "document": document} for kind in ("alert", "features")
        )
        yield LogEntry(4, AT, "alerts", records)

    feed = Feed()
    feed.start_from(10)  # the server was started again: its log begins here
    follower = KafkaFollower(settings, feed, NAMES.get, backlog=backlog)
    follower.after = 3
    feed.publish(raised(11))
    async with following(follower):
        found = await read(settings, lambda rows: len(rows) == 3)
    assert asked == [(4, 10)]
    by_type = {row.event["type"]: row for row in found}
    assert set(by_type) == {"com.twinloom.change", "com.twinloom.feed.gap", "com.twinloom.alert.raised"}
    assert by_type["com.twinloom.change"].key == M2
    assert by_type["com.twinloom.change"].event["data"]["change"]["document"]["id"] == "a-4"
    assert by_type["com.twinloom.feed.gap"].event["data"] == {"from_seq": 4, "to_seq": 10}


async def test_no_alert_is_lost_while_the_broker_is_killed_and_what_is_sent_twice_has_one_id(tmp_path: Path) -> None:
    broker = KafkaServer(tmp_path / "kafka")
    await asyncio.to_thread(broker.start)
    settings = KafkaSettings(
        name="bus", bootstrap=broker.bootstrap, group="g", events="events", timeout_s=1, retry_max_s=0.5
    )
    feed = Feed()
    follower = KafkaFollower(settings, feed, NAMES.get)
    follower.after = 0
    last = 0

    def publish(count: int) -> None:
        nonlocal last
        for _ in range(count):
            last += 1
            feed.publish(raised(last, M1 if last % 2 else M2))

    try:
        async with following(follower):
            publish(50)
            await until(lambda: follower.after == last, 40)
            await asyncio.to_thread(broker.kill)
            publish(50)
            await until(lambda: follower.counters.get("disconnects", 0) > 0, 40)
            publish(50)
            await asyncio.to_thread(broker.start)
            await until(lambda: follower.after == last, 40)
            found = await read(settings, lambda rows: len({row.event["id"] for row in rows}) == last)
    finally:
        broker.kill()
    ids = {row.event["id"]: row.event["data"]["alert"]["id"] for row in found}
    assert sorted(ids.values()) == sorted(f"a-{n}" for n in range(1, last + 1))
    assert all(ids[row.event["id"]] == row.event["data"]["alert"]["id"] for row in found)


async def test_a_broker_that_is_not_there_is_waited_for(settings: KafkaSettings, free_port: Callable[[], int]) -> None:
    follower = KafkaFollower(replace(settings, bootstrap=f"127.0.0.1:{free_port()}"), Feed(), NAMES.get)
    async with following(follower):
        await until(lambda: follower.counters.get("failed_connects", 0) >= 2)
