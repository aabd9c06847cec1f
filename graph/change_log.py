"""Change-log rows as JSON: what each change of a commit did, complete enough that a replica can follow the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from twinloom.graph.store import (
    Change,
    DropModel,
    DropRecord,
    DropRelationship,
    DropTwin,
    PutModels,
    PutRecord,
    PutRelationship,
    PutTwin,
)
from twinloom.twin.errors import BadRequest
from twinloom.twin.instance import Json

PART = 1000
"""Changes in one log row; a larger commit has several."""


def encode(value: Json) -> bytes:
    """JSON text of a plain value. Raises BadRequest for what JSON cannot say (lone surrogates, huge integers)."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise BadRequest(
            f"a value cannot be stored: {error}", remedy="write plain JSON values in valid Unicode"
        ) from None


def as_json(change: Change) -> dict[str, Json]:
    """One change as a plain object: `op` and what it names.

    >>> as_json(DropModel("dtmi:com:example:Pump;1"))
    {'op': 'drop_model', 'id': 'dtmi:com:example:Pump;1'}
    """
    match change:
        case PutTwin(twin):
            body: dict[str, Any] = {
                "op": "put_twin",
                "create": change.create,
                "id": twin.id,
                "model": twin.model,
                "properties": twin.properties,
                "etag": twin.etag,
                "created_ns": twin.created_ns,
                "updated_ns": twin.updated_ns,
            }
            if change.paths is not None:
                body["paths"] = change.paths
            return body
        case PutRelationship(edge):
            return {
                "op": "put_relationship",
                "create": change.create,
                "source": edge.source,
                "id": edge.id,
                "name": edge.name,
                "target": edge.target,
                "properties": edge.properties,
                "etag": edge.etag,
            }
        case DropTwin():
            return {"op": "drop_twin", "id": change.id, "detach": change.detach}
        case DropRelationship():
            return {"op": "drop_relationship", "source": change.source, "id": change.id}
        case PutModels():
            return {"op": "put_models", "ids": change.ids, "documents": change.documents}
        case DropModel():
            return {"op": "drop_model", "id": change.id}
        case PutRecord():
            return {"op": "put_record", "kind": change.kind, "key": change.key, "document": change.document}
        case DropRecord():
            return {"op": "drop_record", "kind": change.kind, "key": change.key}


def parts(changes: Sequence[Change]) -> Iterator[bytes]:
    """The log texts of a commit: JSON arrays of up to PART changes each, at least one."""
    for start in range(0, max(len(changes), 1), PART):
        yield encode([as_json(change) for change in changes[start : start + PART]])
