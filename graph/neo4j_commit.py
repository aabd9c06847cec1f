"""Changes as Cypher: what one commit does, inside the managed transaction that the store opened.

Every statement is a file in `cypher/`; names, labels and types go in as parameters only. Like changes go in batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, TypeVar

from neo4j import AsyncManagedTransaction

from twinloom.graph import change_log
from twinloom.graph.change_log import encode
from twinloom.graph.neo4j_codec import (
    Properties,
    flatten,
    is_name,
    label_for,
    last_value_row,
    record_label,
    record_row,
    relationship_row,
    twin_row,
)
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
from twinloom.twin.errors import BadRequest, Conflict, NotFound
from twinloom.twin.ids import label_of
from twinloom.twin.instance import Json

BATCH = 2000
"""Rows in one UNWIND."""

CYPHER: dict[str, Any] = {  # Any: the driver's types ask for literals in the code, these are literals in files
    file.name.removesuffix(".cypher"): file.read_text("utf-8")
    for file in (files("twinloom.graph") / "cypher").iterdir()
    if file.name.endswith(".cypher")
}

Transaction = AsyncManagedTransaction
T = TypeVar("T")


async def rows(transaction: Transaction, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    """The rows of one statement, named by its file."""
    result = await transaction.run(CYPHER[statement], parameters)
    return await result.data()


async def run(
    transaction: Transaction, changes: Sequence[Change], seq: int, time_ns: int, cause: str, token: str
) -> None:
    """Makes the changes and their log entries. Raises Conflict or NotFound, which rolls back."""
    for kind, group in groupby(changes, key=_kind):
        await _APPLY[kind](transaction, list(group), seq)
    entries = [
        {"seq": seq, "part": part, "time_ns": time_ns, "cause": cause, "changes": text.decode(), "token": token}
        for part, text in enumerate(change_log.parts(changes))
    ]
    for batch in batches(entries, 50):
        await rows(transaction, "append_log", rows=batch)
    await rows(transaction, "reserve", seq=seq)


async def write_values(transaction: Transaction, values: Sequence[LastValue], seq: int) -> None:
    merged: dict[str, Properties] = defaultdict(dict)
    for value in values:
        merged[value.twin].update(last_value_row(value, seq))
    for batch in batches([{"id": id, "properties": properties} for id, properties in merged.items()], BATCH):
        await rows(transaction, "write_values", rows=batch)
    await rows(transaction, "reserve", seq=seq)


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _kind(change: Change) -> tuple[type, bool]:
    return type(change), isinstance(change, PutTwin | PutRelationship) and change.create


async def _create_twins(transaction: Transaction, changes: Sequence[PutTwin], seq: int) -> None:
    for batch in batches(changes, BATCH):
        ids = [change.twin.id for change in batch]
        taken = await rows(transaction, "taken_twins", ids=ids)
        if taken or len(set(ids)) < len(ids):
            id = taken[0]["id"] if taken else next(id for id in ids if ids.count(id) > 1)
            raise Conflict(f"the twin id {id!r} is taken", remedy="choose another id, or update the twin that is there")
        created = [{"label": label_for(change.twin.model), "properties": twin_row(change.twin)} for change in batch]
        await rows(transaction, "create_twins", rows=created)


async def _update_twins(transaction: Transaction, changes: Sequence[PutTwin], seq: int) -> None:
    for batch in _with_distinct_ids(changes):
        ids = [change.twin.id for change in batch]
        stored = {row["id"]: row for row in await rows(transaction, "lock_twins", ids=ids, seq=seq)}
        replaced: list[dict[str, Json]] = []
        merged: list[dict[str, Json]] = []
        for change in batch:
            twin, row = change.twin, stored.get(change.twin.id)
            if row is None:
                raise NotFound(f"there is no twin {twin.id!r}", remedy="create it first, or check the id")
            if change.expected_etag is not None and change.expected_etag != row["etag"]:
                raise Conflict(
                    f"the twin {twin.id!r} has changed since", remedy="read it again and repeat with its etag"
                )
            properties = twin_row(twin)
            properties["created_ns"] = twin.created_ns or row["created_ns"]
            if change.paths is None:
                replaced.append({"id": twin.id, "properties": properties})
            else:
                merged.append({"id": twin.id, "properties": _written(properties, change.paths, row["keys"])})
            if twin.model != row["model"]:
                labels = {"old": label_for(row["model"]), "new": label_for(twin.model)}
                await rows(transaction, "relabel_twin", id=twin.id, **labels)
        for statement, found in (("replace_twins", replaced), ("merge_twins", merged)):
            if found:
                await rows(transaction, statement, rows=found)


def _written(properties: Properties, paths: Sequence[str], keys: Sequence[str]) -> Properties:
    """Of a twin's properties those that the paths mean; keys of the node that are no more become None (removed)."""

    def touched(key: str) -> bool:
        return any(key == path or key.startswith(path + ".") or path.startswith(key + ".") for path in paths)

    ours = ("id", "model", "etag", "seq", "created_ns", "updated_ns", "_json", "_other")
    out: Properties = {key: properties.get(key) for key in ours}
    out.update({key: value for key, value in properties.items() if touched(key)})
    for key in keys:
        if touched(key.removesuffix("@")) and key not in out:
            out[key] = None
    return out


def _with_distinct_ids(changes: Sequence[PutTwin]) -> Iterator[list[PutTwin]]:
    """Batches in order, none with two writes of one twin: the second must see the first."""
    batch: list[PutTwin] = []
    seen: set[str] = set()
    for change in changes:
        if change.twin.id in seen or len(batch) >= BATCH:
            yield batch
            batch, seen = [], set()
        batch.append(change)
        seen.add(change.twin.id)
    if batch:
        yield batch


async def _drop_twins(transaction: Transaction, changes: Sequence[DropTwin], seq: int) -> None:
    for change in changes:
        stored = await rows(transaction, "lock_twins", ids=[change.id], seq=seq)
        if not stored:
            raise NotFound(f"there is no twin {change.id!r}", remedy="check the id")
        if change.expected_etag is not None and stored[0]["etag"] != change.expected_etag:
            raise Conflict(f"the twin {change.id!r} has changed since", remedy="read it again and repeat with its etag")
        if not change.detach and (await rows(transaction, "twin_is_tied", id=change.id))[0]["tied"]:
            raise Conflict(
                f"the twin {change.id!r} still has relationships", remedy="delete them first, or delete with detach"
            )
        await rows(transaction, "drop_twin", id=change.id)


async def _create_relationships(transaction: Transaction, changes: Sequence[PutRelationship], seq: int) -> None:
    for batch in batches(changes, BATCH):
        ids: dict[str, list[str]] = defaultdict(list)
        created: list[dict[str, Json]] = []
        for edge in (change.relationship for change in batch):
            if not is_name(edge.name):
                raise BadRequest(f"{edge.name[:80]!r} is no relationship name", remedy="use a name that the model has")
            if edge.id in ids[edge.source]:
                raise _edge_taken(edge.source, edge.id)
            ids[edge.source].append(edge.id)
            created.append(
                {"source": edge.source, "target": edge.target, "name": edge.name, "properties": relationship_row(edge)}
            )
        sources = [{"source": source, "ids": wanted} for source, wanted in ids.items()]
        taken = await rows(transaction, "taken_relationships", sources=sources, seq=seq)
        if taken:
            raise _edge_taken(taken[0]["source"], taken[0]["id"])
        done = await rows(transaction, "create_relationships", rows=created)
        if done[0]["n"] < len(created):
            ends = [end for row in created for end in (row["source"], row["target"])]
            missing = await rows(transaction, "missing_twins", ids=ends)
            raise NotFound(f"there is no twin {missing[0]['id']!r}", remedy="create it first, or check the id")


def _edge_taken(source: str, id: str) -> Conflict:
    return Conflict(f"{source!r} already has a relationship {id!r}", remedy="choose another id")


async def _locked_relationship(
    transaction: Transaction, source: str, id: str, expected_etag: str | None, seq: int
) -> dict[str, Any]:
    stored = await rows(transaction, "lock_relationship", source=source, id=id, seq=seq)
    if not stored:
        raise NotFound(f"{source!r} has no relationship {id!r}", remedy="check the id")
    if expected_etag is not None and stored[0]["etag"] != expected_etag:
        raise _edge_changed(source, id)
    return stored[0]


def _edge_changed(source: str, id: str) -> Conflict:
    return Conflict(
        f"the relationship {id!r} of {source!r} has changed since, or has another name or target",
        remedy="read it again and repeat with its etag",
    )


async def _update_relationships(transaction: Transaction, changes: Sequence[PutRelationship], seq: int) -> None:
    for change in changes:
        edge = change.relationship
        stored = await _locked_relationship(transaction, edge.source, edge.id, change.expected_etag, seq)
        if (stored["name"], stored["target"]) != (edge.name, edge.target):
            raise _edge_changed(edge.source, edge.id)
        properties = relationship_row(edge)
        await rows(transaction, "replace_relationship", source=edge.source, id=edge.id, properties=properties)


async def _drop_relationships(transaction: Transaction, changes: Sequence[DropRelationship], seq: int) -> None:
    for change in changes:
        await _locked_relationship(transaction, change.source, change.id, change.expected_etag, seq)
        await rows(transaction, "drop_relationship", source=change.source, id=change.id)


async def _put_models(transaction: Transaction, changes: Sequence[PutModels], seq: int) -> None:
    for change in changes:
        given = list(zip(change.ids, change.documents, strict=True))
        found = [
            # A document may hold more than Neo4j can: its text is what counts, the rest is for reading.
            {"id": id, "name": label_of(id), "document": encode(document).decode(), "position": seq * 1_000_000 + k}
            for k, (id, document) in enumerate(given)
        ]
        await rows(transaction, "put_models", rows=found)
        links = [link for id, document in given for link in _links(id, document)]
        await rows(transaction, "link_models", rows=links)


def _links(id: str, document: Json) -> Iterator[dict[str, Json]]:
    """EXTENDS and COMPONENT edges of a model, as far as its document names them by id."""
    if not isinstance(document, dict):
        return
    extends = document.get("extends", [])
    for base in extends if isinstance(extends, list) else [extends]:
        target = base.get("@id") if isinstance(base, dict) else base
        yield {"id": id, "target": target, "type": "EXTENDS", "properties": {}}
    contents = document.get("contents", [])
    for content in contents if isinstance(contents, list) else [contents]:
        if isinstance(content, dict) and "Component" in _types(content) and isinstance(content.get("schema"), str):
            properties = flatten({"name": content.get("name", "")})
            yield {"id": id, "target": content["schema"], "type": "COMPONENT", "properties": properties}


def _types(content: dict[str, Json]) -> list[Json]:
    given = content.get("@type", [])
    return given if isinstance(given, list) else [given]


async def _drop_models(transaction: Transaction, changes: Sequence[DropModel], seq: int) -> None:
    for change in changes:
        if not (await rows(transaction, "drop_model", id=change.id))[0]["n"]:
            raise NotFound(f"there is no model {change.id!r}", remedy="check the id")


async def _put_records(transaction: Transaction, changes: Sequence[PutRecord], seq: int) -> None:
    last = {(change.kind, change.key): change for change in changes}
    for batch in batches(list(last.values()), BATCH):
        found = [
            {
                "label": record_label(change.kind),
                "properties": record_row(change.kind, change.key, change.document),
                "twin": change.document.get("twin") if isinstance(change.document, dict) else None,
            }
            for change in batch
        ]
        await rows(transaction, "put_records", rows=found)


async def _drop_records(transaction: Transaction, changes: Sequence[DropRecord], seq: int) -> None:
    for batch in batches(changes, BATCH):
        await rows(transaction, "drop_records", rows=[{"kind": change.kind, "key": change.key} for change in batch])


_APPLY: dict[tuple[type, bool], Callable[[Transaction, Sequence[Any], int], Awaitable[None]]] = {
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
