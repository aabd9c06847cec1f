"""What every HistoryStore must do, tried on DuckDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.history import HistoryRows, HistoryStore
from twinloom.twin.errors import BadFile, BadRequest, StoreUnavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import BAD, UNCERTAIN, Gap, TextReading

A, B = TwinId("plant/a"), TwinId("plant/b")
FOREVER = 2**62
Open = Callable[[], Awaitable[HistoryStore]]
Row = tuple[int, int, float, int]


@pytest.fixture(params=["duckdb"])
async def open_history(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[HistoryStore] = []

    async def open_one() -> HistoryStore:
        history = DuckdbHistory(tmp_path / "history.db")
        await history.open()
        opened.append(history)
        return history

    yield open_one
    for history in opened:
        await history.close()


@pytest.fixture
async def history(open_history: Open) -> HistoryStore:
    return await open_history()


def rows(points: Sequence[Row]) -> HistoryRows:
    """(series, time, value, quality) as columns."""
    series, times, values, quality = zip(*points, strict=True) if points else ((), (), (), ())
    return HistoryRows(
        np.array(series, np.int32), np.array(times, np.int64), np.array(values, float), np.array(quality, np.uint32)
    )


async def test_points_come_back_in_the_order_of_their_source_times(history: HistoryStore) -> None:
    x, y = history.series_of(A, "x"), history.series_of(B, "x")
    await history.append(rows([(x, 30, 3.0, 0), (y, 15, 9.0, 0), (x, 10, 1.0, UNCERTAIN)]))
    await history.append(rows([(x, 20, 2.0, 0)]))
    found = await history.read(A, "x", 0, FOREVER, 100)
    assert found.source_time_ns.tolist() == [10, 20, 30]
    assert found.value.tolist() == [1.0, 2.0, 3.0]
    assert found.quality.tolist() == [UNCERTAIN, 0, 0]
    assert (found.source_time_ns.dtype, found.value.dtype, found.quality.dtype) == (np.int64, np.float64, np.uint32)


async def test_a_span_has_its_start_and_not_its_end_and_a_limit_takes_the_first(history: HistoryStore) -> None:
    x = history.series_of(A, "x")
    await history.append(rows([(x, t, float(t), 0) for t in range(10)]))
    assert (await history.read(A, "x", 3, 7, 100)).source_time_ns.tolist() == [3, 4, 5, 6]
    assert (await history.read(A, "x", 3, 7, 2)).source_time_ns.tolist() == [3, 4]


async def test_what_was_never_written_is_empty(history: HistoryStore) -> None:
    assert len(await history.read(A, "never", 0, FOREVER, 10)) == 0
    assert len(await history.buckets(A, "never", 0, FOREVER, 10)) == 0
    assert list(await history.read_texts(A, "never", 0, FOREVER, 10)) == []


async def test_a_point_that_is_delivered_again_is_there_once(history: HistoryStore) -> None:
    x = history.series_of(A, "x")
    await history.append(rows([(x, 1, 1.0, 0), (x, 2, 2.0, 0)]))
    await history.append(rows([(x, 2, 2.5, UNCERTAIN), (x, 3, 3.0, 0)]))
    found = await history.read(A, "x", 0, FOREVER, 100)
    assert found.value.tolist() == [1.0, 2.5, 3.0]
    assert (await history.buckets(A, "x", 0, 10, 10)).count.tolist() == [3]


async def test_a_point_without_a_value_keeps_its_quality(history: HistoryStore) -> None:
    x = history.series_of(A, "x")
    await history.append(rows([(x, 1, float("nan"), BAD)]))
    found = await history.read(A, "x", 0, FOREVER, 100)
    assert np.isnan(found.value).tolist() == [True]
    assert found.quality.tolist() == [BAD]


async def test_the_number_of_a_series_outlives_the_process(open_history: Open) -> None:
    first = await open_history()
    x = first.series_of(A, "x")
    assert first.series_of(A, "x") == x != first.series_of(B, "x")
    await first.append(rows([(x, 1, 1.0, 0)]))
    await first.close()
    second = await open_history()
    assert second.series_of(A, "x") == x
    assert len({second.series_of(A, "x"), second.series_of(A, "y"), second.series_of(B, "x")}) == 3
    await second.append(rows([(second.series_of(A, "y"), 1, 5.0, 0)]))
    assert (await second.read(A, "x", 0, FOREVER, 9)).value.tolist() == [1.0]
    assert (await second.read(A, "y", 0, FOREVER, 9)).value.tolist() == [5.0]


async def test_an_append_is_seen_whole_while_it_is_written(history: HistoryStore) -> None:
    x, size = history.series_of(A, "x"), 2000
    done = asyncio.Event()

    async def write() -> None:
        for n in range(10):
            await history.append(rows([(x, n * size + k, 1.0, 0) for k in range(size)]))
        done.set()

    async def read() -> int:
        seen = set()
        while not done.is_set():
            seen.add(len(await history.read(A, "x", 0, FOREVER, 10**6)))
        assert all(count % size == 0 for count in seen), seen
        return len(seen)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        reads = [tasks.create_task(read()) for _ in range(2)]
    assert max(task.result() for task in reads) >= 1
    assert len(await history.read(A, "x", 0, FOREVER, 10**6)) == 10 * size


POINTS = st.lists(
    st.tuples(
        st.integers(-50, 50),
        st.floats(-1e6, 1e6) | st.just(float("nan")),
        st.sampled_from([0, UNCERTAIN, BAD]),
    ),
    max_size=40,
    unique_by=lambda point: point[0],
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=POINTS, width=st.integers(1, 30), begin=st.integers(-60, 60), length=st.integers(0, 120), name=st.uuids())
async def test_buckets_are_what_the_points_say(
    history: HistoryStore, points: list[tuple[int, float, int]], width: int, begin: int, length: int, name: object
) -> None:
    twin = TwinId(str(name))
    x = history.series_of(twin, "x")
    await history.append(rows([(x, *point) for point in points]))
    found = await history.buckets(twin, "x", begin, begin + length, width)
    told: dict[int, list[float]] = {}
    for time, value, quality in sorted(points):
        if begin <= time < begin + length:
            inside = told.setdefault(time // width * width, [])
            if quality < BAD and value == value:
                inside.append(value)
    assert found.start_ns.tolist() == sorted(told)
    assert found.count.tolist() == [len(told[start]) for start in sorted(told)]
    for k, start in enumerate(sorted(told)):
        values = told[start]
        if not values:
            assert np.isnan([found.minimum[k], found.maximum[k], found.average[k], found.last[k]]).all()
            continue
        assert (found.minimum[k], found.maximum[k], found.last[k]) == (min(values), max(values), values[-1])
        assert found.average[k] == pytest.approx(sum(values) / len(values), rel=1e-9, abs=1e-6)


async def test_a_bucket_without_width_is_refused(history: HistoryStore) -> None:
    with pytest.raises(BadRequest):
        await history.buckets(A, "x", 0, 10, 0)


async def test_texts_keep_their_json_values(history: HistoryStore) -> None:
    readings = [
        TextReading(A, "mode", "idle", 1),
        TextReading(A, "mode", None, 2, BAD),
        TextReading(A, "mode", {"nested": [1, 2.5, True, "é"]}, 3, UNCERTAIN),
    ]
    await history.append_texts([*readings[::-1], TextReading(B, "mode", "other", 2)])
    assert list(await history.read_texts(A, "mode", 0, FOREVER, 10)) == readings
    assert list(await history.read_texts(A, "mode", 2, 3, 10)) == readings[1:2]


async def test_gaps_are_found_by_span_and_twin(open_history: Open) -> None:
    history = await open_history()
    named = Gap("opcua", 10, 20, "server killed", (A,))
    of_all = Gap("kafka", 15, 30, "broker away", (), filled=True)
    await history.append_gap(of_all)
    await history.append_gap(named)
    await history.close()
    history = await open_history()
    assert list(await history.gaps(None, 0, 100)) == [named, of_all]
    assert list(await history.gaps(A, 0, 100)) == [named, of_all]
    assert list(await history.gaps(B, 0, 100)) == [of_all]
    assert list(await history.gaps(None, 21, 100)) == [of_all]
    assert list(await history.gaps(None, 0, 10)) == []


async def test_a_file_that_is_no_history_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"this is no database at all, but long enough to be looked at" * 100)
    with pytest.raises(BadFile, match=r"other\.db"):
        await DuckdbHistory(other).open()
    assert other.read_bytes().startswith(b"this is no database")


async def test_a_history_that_is_not_open_says_so(open_history: Open) -> None:
    history = await open_history()
    await history.close()
    for call in (history.read(A, "x", 0, 1, 1), history.append(rows([(1, 1, 1.0, 0)]))):
        with pytest.raises(StoreUnavailable, match="not open"):
            await call
