"""The page: what a source hands over is folded once, counted, kept, written behind and published, in that order."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloom.runtime.ingest import Ingest, joined
from twinloom.twin.commands import CreateTwin, UpdateTwin
from twinloom.twin.errors import BadFile, SourceUnavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.ports import SourceStatus
from twinloom.twin.readings import Gap, ReadingBatch
from twinloom.twin.signals import GapMarked, ReadingsFolded, SourceStateChanged

PUMP = ModelId("dtmi:com:example:Pump;1")
P0, P1 = TwinId("p0"), TwinId("p1")
S = 1_000_000_000


def drain(subscription):
    return list(iter(subscription.poll, None))


async def test_a_reading_reaches_state_history_store_and_feed_with_its_quality_and_time(start, hand, until):
    service = await start()
    feed = service.feed.subscribe()
    t = time.time_ns()
    await hand.push(("p0", "pressure", 3.5), ("p1", "temperature", 40.0), at_ns=t, quality=0x40000000)
    (signal,) = drain(feed)
    assert isinstance(signal, ReadingsFolded)
    assert signal.values.tolist() == [3.5, 40.0]
    value = service.hot.get(service.hot.row("p0"), "pressure")
    assert (value.value, value.source_time_ns, value.quality, value.seq) == (3.5, t, 0x40000000, signal.seq)
    await service.historian.flush()
    points = await service.history.read(P0, "pressure", t, t + 1, 10)
    assert (points.value.tolist(), points.quality.tolist()) == ([3.5], [0x40000000])
    await until(lambda: service.write_behind.waiting == 0, "written behind")
    stored = {(v.twin, v.path): (v.value, v.source_time_ns) for v in (await service.store.load()).last_values}
    assert stored == {("p0", "pressure"): (3.5, t), ("p1", "temperature"): (40.0, t)}


async def test_history_is_durable_within_a_quarter_of_a_second(start, hand):
    service = await start()
    t = time.time_ns()
    await hand.push(("p0", "pressure", 3.5), at_ns=t)
    await asyncio.sleep(0.25)
    assert (await service.history.read(P0, "pressure", t, t + 1, 10)).value.tolist() == [3.5]


async def test_every_value_is_applied_or_dropped_for_a_counted_reason(start, hand):
    service = await start()
    t = time.time_ns()
    slot = service.hot.slot(service.hot.row("p0"), "temperature")
    service.hot.set_range(slot, 0.0, 100.0)
    await hand.push(("p0", "pressure", 1.0), at_ns=t)
    await hand.push(("p0", "pressure", 2.0), at_ns=t)
    await hand.push(("p0", "pressure", 3.0), at_ns=t - 1)
    await hand.push(("p0", "temperature", 500.0), at_ns=t)
    await hand.push(("p0", "pressure", float("nan")), at_ns=t + 1)
    await hand.push(("p0", "nothing", 1.0), at_ns=t + 2)
    await hand.push(("p0", "pressure", 4.0), at_ns=t + 7200 * S)
    metrics = service.metrics
    assert metrics.dropped == {
        "duplicate": 1, "stale": 1, "out_of_range": 1, "not_a_number": 1, "unmapped": 1, "future": 1,
    }  # fmt: skip
    assert metrics.received == metrics.applied + sum(metrics.dropped.values()) == 7
    assert b'values_dropped_total{reason="stale"} 1.0' in metrics.text()


async def test_texts_travel_beside_the_columns_and_what_the_model_forbids_is_dropped(start, hand, until):
    service = await start()
    feed = service.feed.subscribe()
    t = time.time_ns()
    batch = hand.batch([], t, texts=[("p0", "state", "running"), ("p0", "state", 5), ("p0", "drive.firmware", "2.1")])
    await hand.sink.accept(batch)
    await service.pipeline.ingest.drained()
    (signal,) = drain(feed)
    assert [(r.path, r.value) for r in signal.texts] == [("state", "running"), ("drive.firmware", "2.1")]
    assert service.hot.value(service.hot.row("p0"), "drive.firmware") == "2.1"
    assert sum(service.metrics.dropped.values()) == 1
    await until(lambda: service.write_behind.waiting == 0, "written behind")
    stored = {(v.twin, v.path): v.value for v in (await service.store.load()).last_values}
    assert stored == {("p0", "state"): "running", ("p0", "drive.firmware"): "2.1"}
    await service.historian.flush()
    assert [r.value for r in await service.history.read_texts(P0, "state", t, t + 1, 9)] == ["running"]


async def test_last_values_are_there_after_a_restart(start, hand):
    service = await start()
    t = time.time_ns()
    await hand.push(("p0", "pressure", 3.5), at_ns=t)
    await service.stop()
    again = await start()
    value = again.hot.get(again.hot.row("p0"), "pressure")
    assert (value.value, value.source_time_ns) == (3.5, t)
    await hand.push(("p0", "pressure", 9.0), at_ns=t)
    assert again.metrics.dropped == {"duplicate": 1}


async def test_no_event_is_ever_ahead_of_the_state(start, hand):
    service = await start(pumps=20)
    hot = service.hot
    seen = 0
    stop = asyncio.Event()

    async def watch():
        nonlocal seen
        last = 0
        async for item in service.feed.subscribe(after=service.feed.first_seq, capacity=100_000):
            assert item.seq > last
            assert hot.seq >= item.seq
            last = item.seq
            if isinstance(item, ReadingsFolded):
                assert (hot.seqs[item.slots] >= item.seq).all()
            else:
                row = hot.row(item.twin)
                assert row is not None
                assert hot.twin_seq(row) >= item.seq
            seen += 1
            if stop.is_set() and item.seq == service.seq:
                return

    async def order(n):
        for k in range(20):
            await service.orders.execute(UpdateTwin(id=TwinId(f"p{n}"), set={"count": k}))
            await service.orders.execute(CreateTwin(id=TwinId(f"n{n}-{k}"), model=PUMP))

    async def telemetry():
        for k in range(100):
            await hand.push(*((f"p{n}", "pressure", float(k)) for n in range(20)))

    watching = asyncio.create_task(watch())
    await asyncio.gather(telemetry(), *(order(n) for n in range(10)))
    stop.set()
    await hand.push(("p0", "temperature", 1.0))
    await asyncio.wait_for(watching, 10)
    assert seen >= 400 + 100


async def test_a_full_queue_makes_the_source_wait_and_loses_nothing():
    ingest = Ingest(100)

    def batch(n, at):
        return ReadingBatch("s", np.arange(n, dtype=np.int32), np.zeros(n), np.full(n, at), np.zeros(n, np.uint32), at)

    await ingest.put(batch(90, 1))
    waiting = asyncio.create_task(ingest.put(batch(20, 2)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert ingest.waiting == 90
    assert len(await anext(ingest)) == 90
    await asyncio.wait_for(waiting, 5)
    assert len(await anext(ingest)) == 20
    await ingest.put(batch(1000, 3))
    assert len(await anext(ingest)) == 1000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 9), max_size=6)), max_size=12))
def test_joining_batches_keeps_each_sources_order_and_every_count(batches):
    made = [
        ReadingBatch(
            source,
            np.array(slots, np.int32),
            np.array(slots, np.float64),
            np.full(len(slots), n, np.int64),
            np.zeros(len(slots), np.uint32),
            n,
            lost={"x": 1},
        )
        for n, (source, slots) in enumerate(batches)
    ]
    out = joined(made)
    for source in "ab":
        expected = [(s, n) for n, (of, slots) in enumerate(batches) if of == source for s in slots]
        got = [
            p for b in out if b.source == source for p in zip(b.slots.tolist(), b.source_times_ns.tolist(), strict=True)
        ]
        assert got == expected
    assert sum(b.lost.get("x", 0) for b in out) == len(made)


async def test_gaps_and_source_states_are_published_in_order_and_make_twins_stale(start, hand):
    service = await start()
    feed = service.feed.subscribe()
    await hand.sink.report(SourceStatus("hand", "live", 1), [P0, P1])
    await hand.sink.report(SourceStatus("hand", "lost", 7, "the line is cut"), [P0, P1])
    await hand.sink.report(SourceStatus("hand", "lost", 7, "the line is cut"), [P0, P1])
    await hand.sink.mark_gap(Gap("hand", 5, 9, "the line is cut"))
    await service.pipeline.ingest.drained()
    live, lost, gap = drain(feed)
    assert isinstance(live, SourceStateChanged)
    assert (lost.state, lost.reason, lost.twins) == ("lost", "the line is cut", (P0, P1))
    assert isinstance(gap, GapMarked)
    assert service.stale_since("p0") == 7
    assert service.health().state == "degraded"
    assert service.metrics.gaps == 1
    await service.historian.flush()
    assert [(g.start_ns, g.end_ns) for g in await service.history.gaps(P0, 0, 100)] == [(5, 9)]
    await hand.sink.report(SourceStatus("hand", "live", 9), [P0, P1])
    await service.pipeline.ingest.drained()
    assert service.stale_since("p0") is None
    assert service.health().state == "ok"


async def test_a_source_that_never_could_connect_is_no_healthy_one(start, hand, monkeypatch):
    service = await start()
    for reason, health in (("", "ok"), ("connection refused", "degraded")):
        monkeypatch.setattr(type(hand), "status", lambda self, why=reason: SourceStatus("hand", "connecting", 1, why))
        assert [(p.state, p.reason) for p in service.health().parts if p.name == "source hand"] == [(health, reason)]


async def test_a_source_that_fails_is_started_again_and_one_that_cannot_run_stays_lost(start, hand, until, monkeypatch):
    monkeypatch.setattr("twinloom.runtime.supervise.FIRST_WAIT_S", 0.02)
    other = type(hand)("other")
    other.fail = SourceUnavailable("no answer")
    broken = type(hand)("broken")
    broken.fail = BadFile("map.yaml", "no such node", place="/rules/0", remedy="correct it")
    service = await start(sources=[hand, other, broken])
    await until(lambda: other.runs >= 3, "tried again")
    other.fail = None
    runs = broken.runs
    statuses = {s.name: s for s in service.sources()}
    assert "map.yaml" in statuses["broken"].reason
    assert statuses["broken"].state == "lost"
    assert runs == 1
    await hand.push(("p0", "pressure", 1.0))
    assert service.metrics.applied == 1


async def test_stop_drains_what_was_accepted_and_says_so_to_subscribers(start, hand):
    service = await start()
    feed = service.feed.subscribe()
    t = time.time_ns()
    for n in range(50):
        await hand.sink.accept(hand.batch([("p0", "pressure", float(n))], t + n))
    asked = [asyncio.create_task(service.orders.execute(UpdateTwin(id=P1, set={"count": n}))) for n in range(10)]
    await asyncio.sleep(0)
    await service.stop()
    outcomes = await asyncio.gather(*asked)
    items = [item async for item in feed]
    assert sum(len(i.slots) for i in items if isinstance(i, ReadingsFolded)) == 50
    again = await start()
    assert again.hot.value(again.hot.row("p0"), "pressure") == 49.0
    assert again.hot.etag(again.hot.row("p1")) == outcomes[-1].etag
    assert len(await again.history.read(P0, "pressure", t, t + 50, 100)) == 50
    await service.wait()


async def test_an_unexpected_error_inside_fails_the_service_loudly(start, hand, monkeypatch):
    service = await start()

    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(service.historian, "add", broken)
    await hand.sink.accept(hand.batch([("p0", "pressure", 1.0)], time.time_ns()))
    with pytest.raises(RuntimeError, match="a defect"):
        await asyncio.wait_for(service.wait(), 5)
    assert service.health().state == "failed"
