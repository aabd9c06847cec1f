"""The embedded GraphStore: one SQLite file in WAL mode with synchronous=FULL, written by one thread.

Commits that wait together share one flush to disk (each in a savepoint of its own), so that many small writers do not
queue for the disk. Readers have connections of their own. A second process that opens the file is refused: it would
write behind the back of the first one's hot graph.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from twinloom.graph import sqlite_commit
from twinloom.graph.store import Change, LastValue, LogEntry, Snapshot, stamped
from twinloom.twin.errors import BadFile, BadRequest, StoreUnavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json, Relationship, Twin

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE models (id TEXT PRIMARY KEY, document BLOB NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE twins (
  id TEXT PRIMARY KEY, model TEXT NOT NULL, properties BLOB NOT NULL, etag TEXT NOT NULL, seq INTEGER NOT NULL,
  created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE relationships (
  source TEXT NOT NULL REFERENCES twins(id), id TEXT NOT NULL, name TEXT NOT NULL,
  target TEXT NOT NULL REFERENCES twins(id), properties BLOB NOT NULL, etag TEXT NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE INDEX relationships_by_target ON relationships(target);
CREATE TABLE records (
  kind TEXT NOT NULL, key TEXT NOT NULL, document BLOB NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE TABLE last_values (
  twin TEXT NOT NULL REFERENCES twins(id) ON DELETE CASCADE, path TEXT NOT NULL, value BLOB NOT NULL,
  source_time_ns INTEGER NOT NULL, quality INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (twin, path)
) WITHOUT ROWID;
CREATE TABLE log (
  seq INTEGER NOT NULL, part INTEGER NOT NULL, time_ns INTEGER NOT NULL, cause TEXT NOT NULL, changes BLOB NOT NULL,
  PRIMARY KEY (seq, part)
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('seq', 0);
"""

_QUEUE_BOUND = 1024
_GROUP_BOUND = 128
_CHECKPOINT_PAGES = 16384
"""64 MiB of write-ahead log: a bulk import stops for a checkpoint 16 times less often than by default."""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class _Job:
    work: Work
    done: Future[Any]


class SqliteStore:
    """A GraphStore in the file `path`, made when it is not there. `open` before use; not usable after `close`."""

    def __init__(self, path: str | Path, *, busy_timeout_s: float = 5.0) -> None:
        self._path = Path(path)
        self._busy_timeout_s = busy_timeout_s
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_QUEUE_BOUND)
        self._writer: threading.Thread | None = None
        self._lock: sqlite3.Connection | None = None

    async def open(self) -> None:
        if self._writer is not None:
            return
        opened: Future[None] = Future()
        writer = threading.Thread(target=self._write_all, args=(opened,), name=f"sqlite {self._path.name}", daemon=True)
        writer.start()
        await asyncio.wrap_future(opened)
        self._writer = writer

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.to_thread(self._jobs.put, None)
            await asyncio.to_thread(writer.join)

    async def load(self) -> Snapshot:
        return await self._read(_load)

    async def commit(self, changes: Sequence[Change], *, seq: int, time_ns: int, cause: str) -> None:
        kept = stamped(changes, seq=seq, time_ns=time_ns)
        await self._submit(lambda connection: sqlite_commit.run(connection, kept, seq, time_ns, cause))

    async def write_values(self, rows: Sequence[LastValue], *, seq: int) -> None:
        frozen = tuple(rows)
        if frozen:
            await self._submit(lambda connection: sqlite_commit.write_values(connection, frozen, seq))

    async def log(self, after: int, limit: int) -> Sequence[LogEntry]:
        return await self._read(lambda connection: _log(connection, after, limit))

    async def reserve(self, seq: int) -> None:
        await self._submit(lambda connection: sqlite_commit.reserve(connection, seq))

    async def query(self, cypher: str, parameters: Mapping[str, Json], limit: int) -> Sequence[Mapping[str, Json]]:
        raise BadRequest(
            "this graph is kept in SQLite, which does not speak Cypher",
            remedy="keep it in Neo4j: set TWINLOOM_GRAPH to neo4j://...",
        )

    # ---- threads ---------------------------------------------------------------------------------------------------

    async def _submit(self, work: Work) -> None:
        if self._writer is None:
            raise StoreUnavailable(f"{self._path} is not open", remedy="open the store first")
        job = _Job(work, Future())
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise StoreUnavailable(
                f"{_QUEUE_BOUND} writes wait for {self._path}", remedy="the disk is too slow for this load; try again"
            ) from None
        # Shielded: a caller that is cancelled does not take its commit out of the queue.
        await asyncio.shield(asyncio.wrap_future(job.done))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise StoreUnavailable(f"{self._path} is not open", remedy="open the store first")
        return await asyncio.to_thread(self._read_now, work)

    def _read_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
            try:
                connection.execute("PRAGMA mmap_size=1073741824")
                connection.execute("BEGIN")
                return work(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _write_all(self, opened: Future[None]) -> None:
        try:
            connection = self._connect()
        except BaseException as error:
            self._release()
            opened.set_exception(error)
            return
        opened.set_result(None)
        try:
            running = True
            while running:
                running = self._write_group(connection)
        finally:
            connection.close()
            self._release()

    def _write_group(self, connection: sqlite3.Connection) -> bool:
        """Runs what waits as one transaction; False when told to stop."""
        jobs: list[_Job] = []
        running = True
        job = self._jobs.get()
        while True:
            if job is None:
                running = False
                break
            jobs.append(job)
            if len(jobs) >= _GROUP_BOUND:
                break
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
        if jobs:
            self._run(connection, jobs)
        return running

    def _run(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_attempt(connection, job.work) for job in jobs]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            failure = self._translated(error)
            outcomes = [failure for _ in jobs]
        for job, outcome in zip(jobs, outcomes, strict=True):
            if outcome is None:
                job.done.set_result(None)
            else:
                job.done.set_exception(outcome)

    # ---- the file --------------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"the folder of {self._path} cannot be made ({error.strerror})",
                remedy="choose a folder you may write in",
            ) from error
        try:
            self._claim()
            connection = sqlite3.connect(
                self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA cache_size=-65536")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version == 0 and tables == 0:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            elif version != SCHEMA_VERSION:
                connection.close()
                raise BadFile(
                    str(self._path),
                    f"is a database of another kind or version (user_version {version})",
                    remedy="name another file, or use the twinloom version that wrote it",
                )
            return connection
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _claim(self) -> None:
        """Holds an exclusive lock on `<path>-owner` for as long as the store is open; it dies with the process."""
        lock = sqlite3.connect(f"{self._path}-owner", timeout=0, isolation_level=None, check_same_thread=False)
        try:
            lock.execute("PRAGMA journal_mode=DELETE")
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            lock.close()
            if "locked" not in str(error):
                raise
            raise StoreUnavailable(
                f"{self._path} is in use by another process", remedy="stop that one, or name another file"
            ) from error
        self._lock = lock

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _translated(self, error: sqlite3.Error) -> BadFile | StoreUnavailable:
        code = getattr(error, "sqlite_errorname", "") or ""
        if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return BadFile(
                str(self._path),
                "is not a twinloom graph or is damaged",
                remedy="name another file, or restore a backup",
            )
        remedy = {
            "SQLITE_FULL": "free disk space; reads go on meanwhile",
            "SQLITE_READONLY": "make the file and its folder writable",
            "SQLITE_CANTOPEN": "choose a file in a folder you may write in",
        }.get(
            code.split("_CANT")[0] if code.startswith("SQLITE_READONLY") else code, "look at the disk, then try again"
        )
        return StoreUnavailable(f"{self._path} cannot be used now ({error})", remedy=remedy)


def _attempt(connection: sqlite3.Connection, work: Work) -> Exception | None:
    """Runs one job in a savepoint. Its own refusal is its outcome; what the disk refuses is everyone's."""
    connection.execute("SAVEPOINT job")
    outcome: Exception | None = None
    try:
        work(connection)
    except (UnicodeEncodeError, OverflowError, sqlite3.DataError, sqlite3.ProgrammingError) as error:
        outcome = BadRequest(f"a value cannot be stored ({error})", remedy="write plain JSON values in valid Unicode")
    except sqlite3.Error:
        raise
    except Exception as error:
        outcome = error
    if outcome is not None:
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")
    return outcome


def _load(connection: sqlite3.Connection) -> Snapshot:
    loads = orjson.loads
    models = tuple(loads(row[0]) for row in connection.execute("SELECT document FROM models ORDER BY position, id"))
    names: dict[str, Any] = {}
    intern = names.setdefault
    twins = [
        Twin(TwinId(id), intern(model, model), loads(properties), etag, seq, created_ns, updated_ns)
        for id, model, properties, etag, seq, created_ns, updated_ns in connection.execute(
            "SELECT id, model, properties, etag, seq, created_ns, updated_ns FROM twins ORDER BY id"
        )
    ]
    ids: dict[str, TwinId] = {twin.id: twin.id for twin in twins}
    relationships = [
        Relationship(id, ids[source], intern(name, name), ids[target], loads(properties), etag, seq)
        for source, id, name, target, properties, etag, seq in connection.execute(
            "SELECT source, id, name, target, properties, etag, seq FROM relationships ORDER BY seq"
        )
    ]
    records = [
        (kind, key, loads(document))
        for kind, key, document in connection.execute("SELECT kind, key, document FROM records ORDER BY kind, key")
    ]
    values = [
        LastValue(ids[twin], intern(path, path), loads(value), source_time_ns, quality, seq)
        for twin, path, value, source_time_ns, quality, seq in connection.execute(
            "SELECT twin, path, value, source_time_ns, quality, seq FROM last_values"
        )
    ]
    return Snapshot(models, twins, relationships, records, values, sqlite_commit.high_water(connection))


def _log(connection: sqlite3.Connection, after: int, limit: int) -> list[LogEntry]:
    rows = connection.execute(
        "SELECT seq, time_ns, cause, changes FROM log WHERE seq > ? ORDER BY seq, part LIMIT ?", (after, max(limit, 1))
    ).fetchall()
    if rows:
        rest = connection.execute(
            "SELECT seq, time_ns, cause, changes FROM log WHERE seq = ? ORDER BY part", (rows[-1][0],)
        ).fetchall()
        rows = [row for row in rows if row[0] != rows[-1][0]] + rest
    return [LogEntry(seq, time_ns, cause, tuple(orjson.loads(changes))) for seq, time_ns, cause, changes in rows]
