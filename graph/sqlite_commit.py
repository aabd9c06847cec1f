"""Changes as SQL: what one commit does to the tables, inside the transaction that the store's writer opened.

Runs of like changes go through `executemany`: an import of 600,000 rows is a few statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from twinloom.graph import change_log
from twinloom.graph.change_log import encode
from twinloom.graph.store import (
    Change,
    DropModel,
    DropRecord,
    DropRelationship,
    DropTwin,
    LastValue,
    PutModels,
    PutRecord,
    PutRelationship,
    PutTwin,
)
from twinloom.twin.errors import Conflict, NotFound

_INSERT_TWIN = "INSERT INTO twins VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_RELATIONSHIP = "INSERT INTO relationships VALUES (?, ?, ?, ?, ?, ?, ?)"


def run(connection: sqlite3.Connection, changes: Sequence[Change], seq: int, time_ns: int, cause: str) -> None:
    """Makes the changes and their log rows. Raises Conflict or NotFound; the caller rolls back."""
    for kind, group in groupby(changes, key=_kind):
        _APPLY[kind](connection, list(group))
    try:
        connection.executemany(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?)",
            ((seq, part, time_ns, cause, text) for part, text in enumerate(change_log.parts(changes))),
        )
    except sqlite3.IntegrityError:
        raise Conflict(f"the sequence number {seq} is taken", remedy="commit with the next one") from None
    reserve(connection, seq)


def write_values(connection: sqlite3.Connection, rows: Sequence[LastValue], seq: int) -> None:
    connection.executemany(
        "INSERT INTO last_values SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM twins WHERE id = ?1)"
        " ON CONFLICT (twin, path) DO UPDATE SET value = excluded.value, source_time_ns = excluded.source_time_ns,"
        " quality = excluded.quality, seq = excluded.seq",
        ((row.twin, row.path, encode(row.value), row.source_time_ns, row.quality, row.seq or seq) for row in rows),
    )
    reserve(connection, seq)


def reserve(connection: sqlite3.Connection, seq: int) -> None:
    connection.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'seq'", (seq,))


def high_water(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT value FROM meta WHERE key = 'seq'").fetchone()[0])


def _kind(change: Change) -> tuple[type, bool]:
    return type(change), isinstance(change, PutTwin | PutRelationship) and change.create


def _create_twins(connection: sqlite3.Connection, changes: Sequence[PutTwin]) -> None:
    rows = (
        (t.id, t.model, encode(t.properties), t.etag, t.seq, t.created_ns, t.updated_ns)
        for t in (change.twin for change in changes)
    )
    try:
        connection.executemany(_INSERT_TWIN, rows)
    except sqlite3.IntegrityError:
        raise Conflict(
            _taken(connection, changes), remedy="choose another id, or update the twin that is there"
        ) from None


def _taken(connection: sqlite3.Connection, changes: Sequence[PutTwin]) -> str:
    """Names the id that stopped a run of inserts: the first one of it that is there twice."""
    ids = [change.twin.id for change in changes]
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            return f"the twin id {id!r} is given twice"
        seen.add(id)
    # The rows before the clash are in; the one that clashed carries another seq than this commit's.
    found = connection.execute(
        "SELECT id FROM twins WHERE id = ? AND seq <> ?", (ids[0], changes[0].twin.seq)
    ).fetchone()
    position = 0
    while found is None and position + 1 < len(ids):
        position += 1
        found = connection.execute(
            "SELECT id FROM twins WHERE id = ? AND seq <> ?", (ids[position], changes[position].twin.seq)
        ).fetchone()
    return f"the twin id {found[0] if found else ids[0]!r} is taken"


def _update_twins(connection: sqlite3.Connection, changes: Sequence[PutTwin]) -> None:
    for change in changes:
        twin = change.twin
        done = connection.execute(
            "UPDATE twins SET model = ?1, properties = ?2, etag = ?3, seq = ?4, updated_ns = ?5,"
            " created_ns = CASE WHEN ?6 = 0 THEN created_ns ELSE ?6 END"
            " WHERE id = ?7 AND (?8 IS NULL OR etag = ?8)",
            (
                twin.model,
                encode(twin.properties),
                twin.etag,
                twin.seq,
                twin.updated_ns,
                twin.created_ns,
                twin.id,
                change.expected_etag,
            ),
        )
        if done.rowcount == 0:
            raise _missed_twin(connection, twin.id)
        if change.paths is None:
            connection.execute("DELETE FROM last_values WHERE twin = ?", (twin.id,))
        else:
            for path in change.paths:
                # A written component or object covers every value below it, and a value inside an object the object.
                connection.execute(
                    "DELETE FROM last_values WHERE twin = ?1 AND (path = ?2"
                    " OR substr(path, 1, length(?2) + 1) = ?2 || '.' OR substr(?2, 1, length(path) + 1) = path || '.')",
                    (twin.id, path),
                )


def _missed_twin(connection: sqlite3.Connection, id: str) -> Conflict | NotFound:
    if connection.execute("SELECT 1 FROM twins WHERE id = ?", (id,)).fetchone():
        return Conflict(f"the twin {id!r} has changed since", remedy="read it again and repeat with its etag")
    return NotFound(f"there is no twin {id!r}", remedy="create it first, or check the id")


def _drop_twins(connection: sqlite3.Connection, changes: Sequence[DropTwin]) -> None:
    for change in changes:
        if change.detach:
            connection.execute("DELETE FROM relationships WHERE source = ?1 OR target = ?1", (change.id,))
        try:
            done = connection.execute(
                "DELETE FROM twins WHERE id = ?1 AND (?2 IS NULL OR etag = ?2)", (change.id, change.expected_etag)
            )
        except sqlite3.IntegrityError:
            raise Conflict(
                f"the twin {change.id!r} still has relationships", remedy="delete them first, or delete with detach"
            ) from None
        if done.rowcount == 0:
            raise _missed_twin(connection, change.id)


def _create_relationships(connection: sqlite3.Connection, changes: Sequence[PutRelationship]) -> None:
    rows = (
        (e.source, e.id, e.name, e.target, encode(e.properties), e.etag, e.seq)
        for e in (change.relationship for change in changes)
    )
    try:
        connection.executemany(_INSERT_RELATIONSHIP, rows)
    except sqlite3.IntegrityError:
        raise _why_no_relationship(connection, changes) from None


def _why_no_relationship(connection: sqlite3.Connection, changes: Sequence[PutRelationship]) -> Conflict | NotFound:
    seen: set[tuple[str, str]] = set()
    taken = changes[-1].relationship
    for edge in (change.relationship for change in changes):
        for end in (edge.source, edge.target):
            if not connection.execute("SELECT 1 FROM twins WHERE id = ?", (end,)).fetchone():
                return NotFound(f"there is no twin {end!r}", remedy="create it first, or check the id")
        stored = connection.execute(
            "SELECT seq FROM relationships WHERE source = ? AND id = ?", (edge.source, edge.id)
        ).fetchone()
        if (edge.source, edge.id) in seen or (stored and stored[0] != edge.seq):
            taken = edge
            break
        seen.add((edge.source, edge.id))
    return Conflict(f"{taken.source!r} already has a relationship {taken.id!r}", remedy="choose another id")


def _update_relationships(connection: sqlite3.Connection, changes: Sequence[PutRelationship]) -> None:
    for change in changes:
        edge = change.relationship
        done = connection.execute(
            "UPDATE relationships SET properties = ?1, etag = ?2, seq = ?3"
            " WHERE source = ?4 AND id = ?5 AND name = ?6 AND target = ?7 AND (?8 IS NULL OR etag = ?8)",
            (
                encode(edge.properties),
                edge.etag,
                edge.seq,
                edge.source,
                edge.id,
                edge.name,
                edge.target,
                change.expected_etag,
            ),
        )
        if done.rowcount == 0:
            raise _missed_relationship(connection, edge.source, edge.id)


def _missed_relationship(connection: sqlite3.Connection, source: str, id: str) -> Conflict | NotFound:
    if connection.execute("SELECT 1 FROM relationships WHERE source = ? AND id = ?", (source, id)).fetchone():
        return Conflict(
            f"the relationship {id!r} of {source!r} has changed since, or has another name or target",
            remedy="read it again and repeat with its etag",
        )
    return NotFound(f"{source!r} has no relationship {id!r}", remedy="check the id")


def _drop_relationships(connection: sqlite3.Connection, changes: Sequence[DropRelationship]) -> None:
    for change in changes:
        done = connection.execute(
            "DELETE FROM relationships WHERE source = ?1 AND id = ?2 AND (?3 IS NULL OR etag = ?3)",
            (change.source, change.id, change.expected_etag),
        )
        if done.rowcount == 0:
            raise _missed_relationship(connection, change.source, change.id)


def _put_models(connection: sqlite3.Connection, changes: Sequence[PutModels]) -> None:
    position = connection.execute("SELECT coalesce(max(position), 0) FROM models").fetchone()[0]
    for change in changes:
        for id, document in zip(change.ids, change.documents, strict=True):
            position += 1
            connection.execute(
                "INSERT INTO models VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document",
                (id, encode(document), position),
            )


def _drop_models(connection: sqlite3.Connection, changes: Sequence[DropModel]) -> None:
    for change in changes:
        if connection.execute("DELETE FROM models WHERE id = ?", (change.id,)).rowcount == 0:
            raise NotFound(f"there is no model {change.id!r}", remedy="check the id")


def _put_records(connection: sqlite3.Connection, changes: Sequence[PutRecord]) -> None:
    connection.executemany(
        "INSERT INTO records VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET document = excluded.document",
        ((change.kind, change.key, encode(change.document)) for change in changes),
    )


def _drop_records(connection: sqlite3.Connection, changes: Sequence[DropRecord]) -> None:
    connection.executemany(
        "DELETE FROM records WHERE kind = ? AND key = ?", ((change.kind, change.key) for change in changes)
    )


_APPLY: dict[tuple[type, bool], Callable[[sqlite3.Connection, Sequence[Any]], None]] = {
    (PutTwin, True): _create_twins,
    (PutTwin, False): _update_twins,
    (DropTwin, False): _drop_twins,
    (PutRelationship, True): _create_relationships,
    (PutRelationship, False): _update_relationships,
    (DropRelationship, False): _drop_relationships,
    (PutModels, False): _put_models,
    (DropModel, False): _drop_models,
    (PutRecord, False): _put_records,
    (DropRecord, False): _drop_records,
}
