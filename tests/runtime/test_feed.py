"""The feed: strictly growing, bounded by count and bytes, replay without hole or duplicate, named overflow policies."""

from __future__ import annotations

import asyncio
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloom.runtime.feed import Feed, LogGap, Missed, SubscriptionOverflow
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import TextReading
from twinloom.twin.signals import ReadingsFolded, TwinUpdated


def updated(seq: int, twin: str = "a", *paths: str) -> TwinUpdated:
    return TwinUpdated(seq=seq, time_ns=0, twin=TwinId(twin), paths=paths)


def readings(
    seq: int, values: dict[int, float], source: str = "s", texts: tuple[TextReading, ...] = ()
) -> ReadingsFolded:
    n = len(values)
    return ReadingsFolded(
        seq=seq,
        time_ns=0,
        source=source,
        slots=np.array(list(values), np.int32),
        values=np.array(list(values.values()), np.float64),
        source_times_ns=np.full(n, seq, np.int64),
        quality=np.zeros(n, np.uint32),
        received_ns=0,
        texts=texts,
    )


def drain(subscription):
    items = []
    while (item := subscription.poll()) is not None:
        items.append(item)
    return items


def test_a_seq_that_does_not_grow_is_refused():
    feed = Feed(8, start_seq=10)
    feed.publish(updated(11))
    for seq in (11, 10, 1):
        with pytest.raises(ValueError):
            feed.publish(updated(seq))
    assert (feed.last_seq, len(feed)) == (11, 1)


def test_a_subscription_begins_now_unless_it_names_a_seq():
    feed = Feed(8)
    feed.publish(updated(3))
    now, before, all_of_it = feed.subscribe(), feed.subscribe(after=3), feed.subscribe(after=0)
    feed.publish(updated(9))
    assert [s.seq for s in drain(now)] == [9]
    assert [s.seq for s in drain(before)] == [9]
    assert [s.seq for s in drain(all_of_it)] == [3, 9]


def test_a_seq_from_the_future_is_refused():
    feed = Feed(8, start_seq=5)
    with pytest.raises(BadRequest):
        feed.subscribe(after=6)


def test_a_number_without_a_signal_is_no_number_from_the_future():
    feed = Feed(8, start_seq=5)
    feed.advance(9)
    reader = feed.subscribe(after=9)
    with pytest.raises(ValueError):
        feed.publish(updated(9))
    feed.publish(updated(10))
    assert [s.seq for s in drain(reader)] == [10]


def test_what_the_log_no_longer_has_is_an_explicit_gap_first():
    feed = Feed(3, start_seq=100)
    for seq in (110, 120, 130, 140, 150):
        feed.publish(updated(seq))
    assert drain(feed.subscribe(after=110))[0] == LogGap(111, 120)
    assert [i if isinstance(i, LogGap) else i.seq for i in drain(feed.subscribe(after=40))] == [
        LogGap(41, 120),
        130,
        140,
        150,
    ]
    assert [i.seq for i in drain(feed.subscribe(after=120))] == [130, 140, 150]
    assert feed.first_seq == 120


def test_the_log_is_bounded_by_bytes_too():
    feed = Feed(1000, max_bytes=100_000)
    for seq in range(1, 200):
        feed.publish(readings(seq, dict.fromkeys(range(100), 1.0)))
    assert feed.retained_bytes <= 100_000
    assert 30 < len(feed) < 40
    assert isinstance(drain(feed.subscribe(after=1))[0], LogGap)


def test_drop_oldest_tells_how_many_were_missed_and_between_which_numbers():
    feed = Feed(100)
    slow = feed.subscribe(capacity=3, overflow="drop_oldest")
    for seq in range(10, 20):
        feed.publish(updated(seq))
    assert [i if isinstance(i, Missed) else i.seq for i in drain(slow)] == [Missed(7, 1, 16), 17, 18, 19]
    assert slow.missed == 7


def test_drop_oldest_counts_also_what_has_left_the_log():
    feed = Feed(4)
    slow = feed.subscribe(capacity=100, overflow="drop_oldest")
    for seq in range(1, 11):
        feed.publish(updated(seq))
    assert [i if isinstance(i, Missed) else i.seq for i in drain(slow)] == [Missed(6, 1, 6), 7, 8, 9, 10]


async def test_close_ends_the_slow_subscription_with_an_error():
    feed = Feed(100)
    slow = feed.subscribe(capacity=2, overflow="close")
    for seq in (1, 2, 3):
        feed.publish(updated(seq))
    with pytest.raises(SubscriptionOverflow) as ended:
        await anext(slow)
    assert "after seq" in ended.value.remedy
    with pytest.raises(StopAsyncIteration):
        await anext(slow)
    assert feed.subscribers == 0


def test_conflate_gives_the_latest_of_every_value_and_counts_the_rest():
    feed = Feed(100)
    slow = feed.subscribe(capacity=2, overflow="conflate")
    text = TextReading(TwinId("a"), "mode", "x", 1)
    newer = TextReading(TwinId("a"), "mode", "y", 2)
    feed.publish(readings(1, {1: 1.0, 2: 2.0}, texts=(text,)))
    feed.publish(updated(2, "a", "label"))
    feed.publish(readings(3, {2: 3.0, 3: 4.0}))
    feed.publish(updated(4, "a", "count"))
    feed.publish(readings(5, {3: 5.0}, texts=(newer,)))
    missed, update, values = drain(slow)
    assert missed == Missed(4, 1, 5)
    assert (update.seq, set(update.paths)) == (4, {"label", "count"})
    assert dict(zip(values.slots.tolist(), values.values.tolist(), strict=True)) == {1: 1.0, 2: 3.0, 3: 5.0}
    assert values.texts == (newer,)
    feed.publish(readings(6, {1: 9.0}))
    assert [s.seq for s in drain(slow)] == [6]


def test_conflate_marks_a_gap_where_even_the_log_has_lost_the_latest():
    feed = Feed(2)
    slow = feed.subscribe(capacity=1, overflow="conflate")
    for seq in range(1, 6):
        feed.publish(readings(seq, {seq: 1.0}))
    gap, values = drain(slow)
    assert gap == LogGap(1, 3)
    assert values.slots.tolist() == [4, 5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 5), st.floats(-9, 9), min_size=1), min_size=1, max_size=30), st.data())
def test_whatever_a_conflating_reader_reads_it_ends_with_the_true_state(batches, data):
    feed = Feed(1000)
    reader = feed.subscribe(capacity=data.draw(st.integers(1, 5)))
    truth: dict[int, float] = {}
    seen: dict[int, float] = {}
    values = missed = 0
    for seq, batch in enumerate(batches, start=1):
        feed.publish(readings(seq, batch))
        truth.update(batch)
        items = drain(reader) if data.draw(st.booleans()) or seq == len(batches) else []
        for item in items:
            if isinstance(item, Missed):
                missed += item.count
            else:
                seen.update(zip(item.slots.tolist(), item.values.tolist(), strict=True))
                values += len(item.slots)
    assert seen == truth
    assert values + missed == sum(len(b) for b in batches)


async def test_replay_goes_on_live_without_hole_or_duplicate():
    feed = Feed(10_000)
    for seq in range(1, 101):
        feed.publish(updated(seq))
    got: list[int] = []

    async def read() -> None:
        got.extend([item.seq async for item in feed.subscribe(after=50)])

    reader = asyncio.create_task(read())
    for seq in range(101, 1001):
        feed.publish(updated(seq))
        if seq % 7 == 0:
            await asyncio.sleep(0)
    feed.close()
    await asyncio.wait_for(reader, 5)
    assert got == list(range(51, 1001))


async def test_closing_a_subscription_ends_its_waiting_reader():
    feed = Feed(8)
    subscription = feed.subscribe()
    waiting = asyncio.create_task(anext(subscription, None))
    await asyncio.sleep(0)
    subscription.close()
    assert await asyncio.wait_for(waiting, 5) is None
    assert feed.subscribers == 0


def test_subscriptions_that_never_read_cost_no_memory_an_event():
    feed = Feed(64)
    idle = [feed.subscribe(capacity=8) for _ in range(1000)]
    for seq in range(1, 65):
        feed.publish(updated(seq))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for seq in range(65, 20_065):
        feed.publish(updated(seq))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 64_000
    assert {s.behind for s in idle} == {20_064}
