"""History in one DuckDB file: columns in, columns out.

One connection appends, in one worker thread and one transaction a batch (DuckDB flushes its log before a commit
returns); each read has a cursor of its own in a thread of the pool, and sees whole batches only.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import orjson

from twinloom.graph.history import Buckets, HistoryRows, Points
from twinloom.twin.errors import BadFile, BadRequest, StoreUnavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import BAD, Gap, TextReading

_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, twin VARCHAR NOT NULL, path VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS points (series INTEGER, source_time_ns BIGINT, value DOUBLE, quality UINTEGER);
CREATE TABLE IF NOT EXISTS texts (series INTEGER, source_time_ns BIGINT, value VARCHAR, quality UINTEGER);
CREATE TABLE IF NOT EXISTS gaps (
  source VARCHAR, start_ns BIGINT, end_ns BIGINT, reason VARCHAR, twins VARCHAR[], filled BOOLEAN
);
"""

_CONFIG: dict[str, Any] = {
    "threads": "2",
    "memory_limit": "512MB",
    # Nothing may be fetched from anywhere: DuckDB would look for extensions on the network.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}

T = TypeVar("T")


class DuckdbHistory:
    """A HistoryStore in the file `path`, made when it is not there."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._connection: Any = None
        self._thread: ThreadPoolExecutor | None = None
        self._series: dict[tuple[str, str], int] = {}
        self._numbers = itertools.count(1)
        self._new: list[tuple[int, str, str]] = []

    async def open(self) -> None:
        if self._thread is not None:
            return
        thread = ThreadPoolExecutor(1, thread_name_prefix="duckdb")
        try:
            stored = await asyncio.get_running_loop().run_in_executor(thread, self._connect)
        except BaseException:
            thread.shutdown()
            raise
        self._series = {(twin, path): number for number, twin, path in stored}
        self._numbers = itertools.count(max(self._series.values(), default=0) + 1)
        self._thread = thread

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._connection.close)
            thread.shutdown()
            self._connection = None

    def series_of(self, twin: TwinId, path: str) -> int:
        number = self._series.get((twin, path))
        if number is None:
            number = self._series[twin, path] = next(self._numbers)
            self._new.append((number, twin, path))
        return number

    async def append(self, rows: HistoryRows) -> None:
        if len(rows):
            batch = {
                "series": np.ascontiguousarray(rows.series),
                "source_time_ns": np.ascontiguousarray(rows.source_time_ns),
                "value": np.ascontiguousarray(rows.value),
                "quality": np.ascontiguousarray(rows.quality),
            }
            await self._write(lambda connection: _insert_columns(connection, batch))

    async def append_texts(self, texts: Sequence[TextReading]) -> None:
        if texts:
            rows = [
                (self.series_of(t.twin, t.path), t.source_time_ns, orjson.dumps(t.value).decode(), t.quality)
                for t in texts
            ]
            statement = "INSERT INTO texts SELECT unnest(?), unnest(?), unnest(?), unnest(?)"
            await self._write(lambda connection: _insert_lists(connection, statement, rows))

    async def append_gap(self, gap: Gap) -> None:
        row = [gap.source, gap.start_ns, gap.end_ns, gap.reason, list(gap.twins), gap.filled]
        await self._write(lambda connection: connection.execute("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?)", row))

    async def read(self, twin: TwinId, path: str, from_ns: int, to_ns: int, limit: int) -> Points:
        series = self._series.get((twin, path), 0)
        found = await self._read(
            lambda cursor: cursor.execute(
                "SELECT source_time_ns, last(value ORDER BY rowid) AS value, last(quality ORDER BY rowid) AS quality"
                " FROM points WHERE series = ? AND source_time_ns >= ? AND source_time_ns < ?"
                " GROUP BY source_time_ns ORDER BY source_time_ns LIMIT ?",
                [series, from_ns, to_ns, limit],
            ).fetchnumpy()
        )
        return Points(found["source_time_ns"], _floats(found["value"]), found["quality"])

    async def read_texts(self, twin: TwinId, path: str, from_ns: int, to_ns: int, limit: int) -> Sequence[TextReading]:
        series = self._series.get((twin, path), 0)
        found = await self._read(
            lambda cursor: cursor.execute(
                "SELECT source_time_ns, last(value ORDER BY rowid), last(quality ORDER BY rowid)"
                " FROM texts WHERE series = ? AND source_time_ns >= ? AND source_time_ns < ?"
                " GROUP BY source_time_ns ORDER BY source_time_ns LIMIT ?",
                [series, from_ns, to_ns, limit],
            ).fetchall()
        )
        return [TextReading(twin, path, orjson.loads(value), time, quality) for time, value, quality in found]

    async def buckets(self, twin: TwinId, path: str, from_ns: int, to_ns: int, bucket_ns: int) -> Buckets:
        if bucket_ns <= 0:
            raise BadRequest(f"a bucket of {bucket_ns} ns is no span of time", remedy="give a positive width")
        series = self._series.get((twin, path), 0)
        found = await self._read(
            lambda cursor: cursor.execute(
                "WITH one AS (SELECT source_time_ns AS t, last(value ORDER BY rowid) AS value,"
                "  last(quality ORDER BY rowid) AS quality FROM points"
                "  WHERE series = $series AND source_time_ns >= $begin AND source_time_ns < $end GROUP BY t),"
                " fit AS (SELECT t, CASE WHEN quality < $bad THEN value END AS value FROM one)"
                " SELECT t - ((t % $width) + $width) % $width AS start, count(value) AS n, min(value) AS low,"
                "  max(value) AS high, avg(value) AS mean,"
                "  last(value ORDER BY t) FILTER (value IS NOT NULL) AS final"
                " FROM fit GROUP BY start ORDER BY start",
                {"series": series, "begin": from_ns, "end": to_ns, "width": bucket_ns, "bad": BAD},
            ).fetchnumpy()
        )
        numbers = (_floats(found[name]) for name in ("low", "high", "mean", "final"))
        return Buckets(found["start"], found["n"], *numbers)

    async def gaps(self, twin: TwinId | None, from_ns: int, to_ns: int) -> Sequence[Gap]:
        found = await self._read(
            lambda cursor: cursor.execute(
                "SELECT source, start_ns, end_ns, reason, twins, filled FROM gaps"
                " WHERE end_ns >= $begin AND start_ns < $end"
                " AND ($twin IS NULL OR len(twins) = 0 OR list_contains(twins, $twin)) ORDER BY start_ns, source",
                {"begin": from_ns, "end": to_ns, "twin": twin},
            ).fetchall()
        )
        return [
            Gap(source, start, end, reason, tuple(TwinId(id) for id in twins), filled)
            for source, start, end, reason, twins, filled in found
        ]

    # ---- threads ---------------------------------------------------------------------------------------------------

    async def _write(self, work: Callable[[Any], object]) -> None:
        if self._thread is None:
            raise StoreUnavailable(f"{self._path} is not open", remedy="open the history first")
        new, self._new = self._new, []
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._write_now, new, work)

        def keep_new(done: asyncio.Future[None]) -> None:
            if not done.cancelled() and done.exception() is not None:
                self._new = [*new, *self._new]

        job.add_done_callback(keep_new)
        # Shielded: the thread goes on when the caller is cancelled, and whether it failed must still be seen.
        await asyncio.shield(job)

    def _write_now(self, new: Sequence[tuple[int, str, str]], work: Callable[[Any], object]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN")
            if new:
                # A commit that failed may have happened all the same.
                statement = "INSERT INTO series SELECT unnest(?), unnest(?), unnest(?) ON CONFLICT DO NOTHING"
                _insert_lists(connection, statement, new)
            work(connection)
            connection.execute("COMMIT")
        except duckdb.Error as error:
            # A failed COMMIT has ended the transaction already.
            with contextlib.suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            raise self._translated(error) from error

    async def _read(self, work: Callable[[Any], T]) -> T:
        if self._connection is None:
            raise StoreUnavailable(f"{self._path} is not open", remedy="open the history first")
        return await asyncio.to_thread(self._read_now, self._connection.cursor(), work)

    def _read_now(self, cursor: Any, work: Callable[[Any], T]) -> T:
        try:
            return work(cursor)
        except duckdb.Error as error:
            raise self._translated(error) from error
        finally:
            cursor.close()

    def _connect(self) -> list[tuple[int, str, str]]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = duckdb.connect(str(self._path), config=_CONFIG)
        except OSError as error:
            raise StoreUnavailable(
                f"the folder of {self._path} cannot be made ({error.strerror})",
                remedy="choose a folder you may write in",
            ) from error
        except duckdb.Error as error:
            raise self._translated(error) from error
        try:
            self._connection.execute("SET enable_external_access = false")
            self._connection.execute(_SCHEMA)
            rows: list[tuple[int, str, str]] = self._connection.execute("SELECT id, twin, path FROM series").fetchall()
        except duckdb.Error as error:
            self._connection.close()
            self._connection = None
            raise self._translated(error) from error
        return rows

    def _translated(self, error: duckdb.Error) -> BadFile | StoreUnavailable:
        text = str(error).splitlines()[0][:200]
        if "not a valid DuckDB" in text or isinstance(error, duckdb.SerializationException | duckdb.CatalogException):
            return BadFile(
                str(self._path),
                "is not a twinloom history or is damaged",
                remedy="name another file, or restore a backup",
            )
        if "lock" in text:
            return StoreUnavailable(
                f"{self._path} is in use by another process", remedy="stop that one, or name another file"
            )
        return StoreUnavailable(f"{self._path} cannot be used now ({text})", remedy="look at the disk, then try again")


def _insert_columns(connection: Any, batch: dict[str, Any]) -> None:
    connection.register("batch", batch)
    try:
        connection.execute("INSERT INTO points SELECT series, source_time_ns, value, quality FROM batch")
    finally:
        connection.unregister("batch")


def _insert_lists(connection: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows as one list a column: `executemany` costs DuckDB a statement a row."""
    connection.execute(statement, [list(column) for column in zip(*rows, strict=True)])


def _floats(column: Any) -> Any:
    """A float64 array with NaN where SQL has NULL."""
    return np.ma.filled(column.astype(np.float64), np.nan)
