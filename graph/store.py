"""The GraphStore port: where models, twins, relationships and records are kept for good, and the changes it takes.

A commit is one atomic, durable transaction: all of its changes, with a row of the change log, or none. The hot graph
applies a change only after its commit. The same changes, in the same order, go to `HotGraph.apply`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Json, Relationship, Twin


@dataclass(frozen=True, slots=True)
class PutModels:
    """Adds or replaces models: one interface document each, `ids` in the same order."""

    documents: tuple[Json, ...]
    ids: tuple[ModelId, ...]


@dataclass(frozen=True, slots=True)
class DropModel:
    id: ModelId


@dataclass(frozen=True, slots=True)
class PutTwin:
    """Writes a whole twin. `create`: the id must be free; else the twin must be there, with `expected_etag` when given.

    `paths` says which values the write set or removed, so that a reading that came in between is not undone; None means
    all of them. Telemetry that a source has already written is never taken back by an update.
    """

    twin: Twin
    expected_etag: str | None = None
    create: bool = False
    paths: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DropTwin:
    """Removes a twin. Refused with Conflict while relationships are attached, unless `detach`, which removes them."""

    id: TwinId
    expected_etag: str | None = None
    detach: bool = False


@dataclass(frozen=True, slots=True)
class PutRelationship:
    """Writes a relationship. An update may change its properties only: source, name and target stay."""

    relationship: Relationship
    expected_etag: str | None = None
    create: bool = True


@dataclass(frozen=True, slots=True)
class DropRelationship:
    source: TwinId
    id: str
    expected_etag: str | None = None


@dataclass(frozen=True, slots=True)
class PutRecord:
    """Keeps a JSON document that is no twin, by kind and key: an alert, a work order, an outcome, an estimate."""

    kind: str
    key: str
    document: Json


@dataclass(frozen=True, slots=True)
class DropRecord:
    kind: str
    key: str


Change: TypeAlias = (
    PutModels | DropModel | PutTwin | DropTwin | PutRelationship | DropRelationship | PutRecord | DropRecord
)


@dataclass(frozen=True, slots=True)
class LastValue:
    """The last value that a source gave at a path; `seq` is that of the write-behind batch which stored it."""

    twin: TwinId
    path: str
    value: Json
    source_time_ns: int
    quality: int
    seq: int = 0


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One part of a commit. A large commit has several parts with one `seq`; `changes` are plain JSON objects."""

    seq: int
    time_ns: int
    cause: str
    changes: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the store has. `seq` is the high-water mark: no sequence number up to it may be given again."""

    models: tuple[Json, ...] = ()
    twins: Iterable[Twin] = ()
    relationships: Iterable[Relationship] = ()
    records: Iterable[tuple[str, str, Json]] = ()
    last_values: Iterable[LastValue] = ()
    seq: int = 0


class GraphStore(Protocol):
    """Implemented by `SqliteStore` (embedded) and `Neo4jStore`; one contract suite holds both to this text."""

    async def open(self) -> None:
        """Connects and prepares the schema. Raises StoreUnavailable or, for a file that is no store, BadFile."""
        ...

    async def close(self) -> None: ...

    async def load(self) -> Snapshot: ...

    async def commit(self, changes: Sequence[Change], *, seq: int, time_ns: int, cause: str) -> None:
        """Makes all changes durable, or none.

        Raises Conflict when an expected etag is not the stored one, a created id is taken or a twin to drop has
        relationships; NotFound when what is to be changed, or an end of a relationship, is not there; StoreUnavailable
        when the store cannot be reached in time. After StoreUnavailable the commit may or may not have happened.
        """
        ...

    async def write_values(self, rows: Sequence[LastValue], *, seq: int) -> None:
        """Stores last values, one a (twin, path); those of twins that are gone are left out. All rows or none."""
        ...

    async def log(self, after: int, limit: int) -> Sequence[LogEntry]:
        """Log entries with `seq` > after, in order; at least one whole commit when there is one, else about `limit`."""
        ...

    async def reserve(self, seq: int) -> None:
        """Makes `seq` the durable high-water mark, unless it is already higher."""
        ...

    async def query(self, cypher: str, parameters: Mapping[str, Json], limit: int) -> Sequence[Mapping[str, Json]]:
        """Rows of a read-only Cypher query, at most `limit`. BadRequest where the store does not speak Cypher."""
        ...


def etag_of(seq: int) -> str:
    """The etag of what the commit `seq` wrote.

    >>> etag_of(255)
    'ff'
    """
    return f"{seq:x}"


def stamped(changes: Iterable[Change], *, seq: int, time_ns: int) -> tuple[Change, ...]:
    """The changes with the etag, seq and times of their commit, as every store and the hot graph keep them.

    The etag is always `etag_of(seq)`, whatever the change carried. A created twin may bring its own `created_ns`; an
    update keeps the one that is stored. `commit` stamps by itself; whoever calls `HotGraph.apply` stamps first.
    """
    etag = etag_of(seq)
    out: list[Change] = []
    for change in changes:
        if isinstance(change, PutTwin):
            twin = change.twin
            if twin.seq == seq and twin.updated_ns == time_ns and twin.etag == etag:
                out.append(change)
                continue
            created_ns = twin.created_ns or (time_ns if change.create else 0)
            stamp = Twin(twin.id, twin.model, twin.properties, etag, seq, created_ns, time_ns)
            change = PutTwin(stamp, change.expected_etag, change.create, change.paths)
        elif isinstance(change, PutRelationship):
            edge = change.relationship
            if edge.seq == seq and edge.etag == etag:
                out.append(change)
                continue
            kept = Relationship(edge.id, edge.source, edge.name, edge.target, edge.properties, etag, seq)
            change = PutRelationship(kept, change.expected_etag, change.create)
        out.append(change)
    return tuple(out)
