"""The GraphStore in Neo4j 5.26 or later: a natural graph that any Cypher tool can use on its own.

    (:Twin:CncMachine {id, model, name, `controller.operating_mode`, ...})-[:contains {id, ...}]->(:Twin:Spindle ...)
    (:Model {id})-[:EXTENDS]->(:Model)    (:Model)-[:COMPONENT {name}]->(:Model)
    (:Record:Alert {...})-[:ABOUT]->(:Twin)    (:LogEntry {seq, part, time_ns, cause, changes})

Managed transactions only. The driver repeats a transaction that met a transient error; a commit whose answer was lost
is recognised by its log entry, so that the repetition does not run into its own traces.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import neo4j
import orjson
from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction, NotificationMinimumSeverity
from neo4j.exceptions import AuthError, ClientError, ConfigurationError, ConstraintError, DriverError, Neo4jError

from twinloom.graph import neo4j_commit
from twinloom.graph.neo4j_codec import last_values, relationship_of, twin_of
from twinloom.graph.neo4j_commit import CYPHER, rows
from twinloom.graph.store import Change, LastValue, LogEntry, Snapshot, stamped
from twinloom.twin.errors import BadRequest, BadSetting, Conflict, StoreUnavailable
from twinloom.twin.instance import Json, Twin

T = TypeVar("T")
Work = Callable[[AsyncManagedTransaction], Awaitable[T]]

_ESCAPE = re.compile(r"\\u+([0-9A-Fa-f]{4})")
_NOISE = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_LOAD_CSV = re.compile(r"\bLOAD\s+CSV\b", re.IGNORECASE)

_NOT_THE_CLIENT = ("Neo.ClientError.Transaction.", "Neo.ClientError.Database.", "Neo.ClientError.Cluster.")


class Neo4jStore:
    """A GraphStore in one Neo4j database. Every call ends within `timeout_s`, a load or bulk commit within 20 of it."""

    def __init__(
        self,
        uri: str,
        user: str = "neo4j",
        password: str = "",
        database: str = "neo4j",
        *,
        timeout_s: float = 10.0,
    ) -> None:
        self._uri = uri
        self._auth = neo4j.basic_auth(user, password)
        self._database = database
        self._timeout_s = timeout_s
        self._driver: AsyncDriver | None = None

    async def open(self) -> None:
        if self._driver is not None:
            return
        try:
            driver = AsyncGraphDatabase.driver(
                self._uri,
                auth=self._auth,
                connection_timeout=min(5.0, self._timeout_s),
                connection_acquisition_timeout=self._timeout_s,
                max_transaction_retry_time=min(5.0, self._timeout_s / 2),
                liveness_check_timeout=30.0,
                notifications_min_severity=NotificationMinimumSeverity.OFF,
                telemetry_disabled=True,
            )
        except (ConfigurationError, ValueError) as error:
            raise BadSetting(
                "TWINLOOM_GRAPH", f"{self._uri!r} is no Neo4j address ({error})", remedy="write neo4j://HOST:7687"
            ) from error
        self._driver = driver
        try:
            for statement in CYPHER["constraints"].split(";"):
                await self._write(lambda transaction, text=statement: _drained(transaction, text))  # type: ignore[misc]
        except BaseException:
            self._driver = None
            await driver.close()
            raise

    async def close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()

    async def load(self) -> Snapshot:
        return await self._run(_load, write=False, patience=20.0)

    async def commit(self, changes: Sequence[Change], *, seq: int, time_ns: int, cause: str) -> None:
        kept = stamped(changes, seq=seq, time_ns=time_ns)
        token = secrets.token_hex(8)
        attempts = 0

        async def work(transaction: AsyncManagedTransaction) -> None:
            nonlocal attempts
            attempts += 1
            known = await rows(transaction, "known_commit", seq=seq) if attempts > 1 else []
            if known and known[0]["token"] == token:
                return
            await neo4j_commit.run(transaction, kept, seq, time_ns, cause, token)

        await self._run(work, write=True, patience=20.0 if len(kept) > neo4j_commit.BATCH else 1.0)

    async def write_values(self, rows: Sequence[LastValue], *, seq: int) -> None:
        frozen = tuple(rows)
        if frozen:
            await self._write(lambda transaction: neo4j_commit.write_values(transaction, frozen, seq))

    async def log(self, after: int, limit: int) -> Sequence[LogEntry]:
        return await self._run(lambda transaction: _log(transaction, after, max(limit, 1)), write=False)

    async def reserve(self, seq: int) -> None:
        await self._write(lambda transaction: rows(transaction, "reserve", seq=seq))

    async def query(self, cypher: str, parameters: Mapping[str, Json], limit: int) -> Sequence[Mapping[str, Json]]:
        # LOAD CSV reads files and addresses that the server reaches; the escapes and comments that Cypher allows in
        # keywords are undone before looking for it.
        plain = _NOISE.sub(" ", _ESCAPE.sub(lambda found: chr(int(found[1], 16)), cypher))
        if _LOAD_CSV.search(plain):
            raise BadRequest("a query may not use LOAD CSV", remedy="read from the graph only")
        return await self._run(lambda transaction: _query(transaction, cypher, parameters, limit), write=False)

    # ---- transactions ----------------------------------------------------------------------------------------------

    async def _write(self, work: Work[Any]) -> None:
        await self._run(work, write=True)

    async def _run(self, work: Work[T], *, write: bool, patience: float = 1.0) -> T:
        if self._driver is None:
            raise StoreUnavailable(f"{self._uri} is not open", remedy="open the store first")
        access = neo4j.WRITE_ACCESS if write else neo4j.READ_ACCESS
        limit_s = self._timeout_s * patience
        bounded = neo4j.unit_of_work(timeout=limit_s)(work)
        try:
            async with (
                asyncio.timeout(limit_s),
                self._driver.session(database=self._database, default_access_mode=access) as session,
            ):
                return await (session.execute_write(bounded) if write else session.execute_read(bounded))
        except ConstraintError as error:
            raise Conflict("another write took the same id or sequence number", remedy="try again") from error
        except AuthError as error:
            raise StoreUnavailable(
                f"{self._uri} refused the user or password", remedy="check the Neo4j user and password"
            ) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise BadRequest(
                f"a value cannot be stored ({error})", remedy="write plain JSON values in valid Unicode"
            ) from error
        except ClientError as error:
            if (error.code or "").startswith(_NOT_THE_CLIENT):
                raise self._unavailable(error) from error
            raise BadRequest(f"Neo4j refused: {_reason(error)}", remedy="mend the query or the value") from error
        except (Neo4jError, DriverError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._uri} cannot be used now ({_reason(error)})", remedy="check that Neo4j runs and can be reached"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = (error.message if isinstance(error, Neo4jError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0][:300]


async def _drained(transaction: AsyncManagedTransaction, statement: Any) -> None:
    await (await transaction.run(statement)).consume()


async def _load(transaction: AsyncManagedTransaction) -> Snapshot:
    twins: list[Twin] = []
    values: list[LastValue] = []
    async for record in await transaction.run(CYPHER["load_twins"]):
        stored = record["properties"]
        twins.append(twin_of(stored))
        values.extend(last_values(stored))
    relationships = [
        relationship_of(source, name, target, stored)
        async for source, name, target, stored in await transaction.run(CYPHER["load_relationships"])
    ]
    models = tuple(orjson.loads(row["document"]) for row in await rows(transaction, "load_models"))
    records = [
        (row["kind"], row["key"], orjson.loads(row["document"])) for row in await rows(transaction, "load_records")
    ]
    seq = (await rows(transaction, "high_water"))[0]["seq"]
    return Snapshot(models, twins, relationships, records, values, seq)


async def _log(transaction: AsyncManagedTransaction, after: int, limit: int) -> list[LogEntry]:
    found = await rows(transaction, "read_log", after=after, limit=limit)
    if found:
        last = found[-1]
        found += await rows(transaction, "read_log_rest", seq=last["seq"], part=last["part"])
    return [LogEntry(row["seq"], row["time_ns"], row["cause"], tuple(orjson.loads(row["changes"]))) for row in found]


async def _query(
    transaction: AsyncManagedTransaction, cypher: str, parameters: Mapping[str, Json], limit: int
) -> list[dict[str, Json]]:
    text: Any = cypher  # a reader's own, in a read-only transaction
    result = await transaction.run(text, dict(parameters))
    keys = result.keys()
    found = [{key: _plain(record[key]) for key in keys} for record in await result.fetch(limit)]
    await result.consume()
    return found


def _plain(value: Any) -> Json:
    """A Cypher value as JSON: nodes and relationships as their properties, times and points as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping | neo4j.graph.Entity):
        return {key: _plain(value[key]) for key in value}
    if isinstance(value, neo4j.graph.Path):
        return [_plain(node) for node in value.nodes]
    to_text = getattr(value, "iso_format", None)
    return to_text() if to_text is not None else str(value)
