"""Twins and records as Neo4j properties, and back.

Neo4j keeps scalars and lists of one scalar type. Objects are opened into dotted keys (`controller.operating_mode`,
`placement.x`), so that any Cypher tool can read and filter by them; whatever cannot be said that way stands as JSON
text under its path, and `_json` lists those paths. Values whose name cannot be a key here stand together in `_other`.
The metadata of a source's last value at `path` is the list `path@`: source time ns, quality, seq, 1 if JSON text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from twinloom.graph.change_log import encode
from twinloom.graph.layout import nest
from twinloom.graph.store import LastValue
from twinloom.twin.ids import ModelId, TwinId, label_of, model_id
from twinloom.twin.instance import Json, Relationship, Twin

Properties = dict[str, Any]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,511}")
_OURS = frozenset({"id", "model", "etag", "seq", "created_ns", "updated_ns"})
_LABELS = frozenset({"Twin", "Model", "Record", "LogEntry", "Meta"})


def is_name(text: str) -> bool:
    """True for what DTDL allows as a content name: safe as a property key or relationship type."""
    return _NAME.fullmatch(text) is not None


def label_for(model: str) -> str:
    """The label of a model's twins. Raises BadRequest when `model` is no DTMI; never a label that is ours."""
    label = label_of(model_id(model))
    return f"{label}_" if label in _LABELS else label


def flatten(properties: Mapping[str, Json]) -> Properties:
    """Properties as natural keys, with `_json` and `_other` where needed."""
    out: Properties = {}
    as_json: list[str] = []
    other: dict[str, Json] = {}
    for name, value in properties.items():
        if not is_name(name) or name in _OURS:
            other[name] = value
        else:
            _put(out, as_json, name, value)
    if as_json:
        out["_json"] = as_json
    if other:
        out["_other"] = encode(other).decode()
    return out


def _put(out: Properties, as_json: list[str], path: str, value: Json) -> None:
    if isinstance(value, dict) and value and all(is_name(name) for name in value):
        for name, inner in value.items():
            _put(out, as_json, f"{path}.{name}", inner)
    elif _natural(value):
        out[path] = value
    else:
        out[path] = encode(value).decode()
        as_json.append(path)


def _natural(value: Json) -> bool:
    kind = type(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind in (str, float, bool):
        return True
    if kind is not list or not value:
        return False
    first = type(value[0])
    return first in (str, float, bool, int) and all(type(item) is first and _natural(item) for item in value)


def unflatten(stored: Mapping[str, Any]) -> dict[str, Json]:
    """What `flatten` was given; paths that have a source's last value are left to `last_values`."""
    as_json = frozenset(stored.get("_json", ()))
    out: dict[str, Json] = orjson.loads(stored["_other"]) if "_other" in stored else {}
    for path, value in stored.items():
        if path in _OURS or path[0] == "_" or path[-1] == "@" or f"{path}@" in stored:
            continue
        value = orjson.loads(value) if path in as_json else value
        if "." in path:
            nest(out, tuple(path.split(".")), value)
        else:
            out[path] = value
    return out


def twin_row(twin: Twin) -> Properties:
    """A whole twin as node properties."""
    return {
        **flatten(twin.properties),
        "id": twin.id,
        "model": twin.model,
        "etag": twin.etag,
        "seq": twin.seq,
        "created_ns": twin.created_ns,
        "updated_ns": twin.updated_ns,
    }


def twin_of(stored: Mapping[str, Any]) -> Twin:
    return Twin(
        TwinId(stored["id"]),
        ModelId(stored["model"]),
        unflatten(stored),
        stored["etag"],
        stored["seq"],
        stored["created_ns"],
        stored["updated_ns"],
    )


def relationship_row(edge: Relationship) -> Properties:
    return {**flatten(edge.properties), "id": edge.id, "etag": edge.etag, "seq": edge.seq}


def relationship_of(source: str, name: str, target: str, stored: Mapping[str, Any]) -> Relationship:
    properties = unflatten(stored)
    return Relationship(stored["id"], TwinId(source), name, TwinId(target), properties, stored["etag"], stored["seq"])


def last_value_row(row: LastValue, seq: int) -> Properties:
    """One last value as the keys to set on its twin. A value that is None leaves the one before."""
    text = not _natural(row.value)
    out: Properties = {f"{row.path}@": [row.source_time_ns, row.quality, row.seq or seq, int(text)]}
    if row.value is not None:
        out[row.path] = encode(row.value).decode() if text else row.value
    return out


def last_values(stored: Mapping[str, Any]) -> list[LastValue]:
    found: list[LastValue] = []
    for key, meta in stored.items():
        if key[-1] == "@":
            path = key[:-1]
            value = stored.get(path)
            if meta[3] and value is not None:
                value = orjson.loads(value)
            found.append(LastValue(TwinId(stored["id"]), path, value, meta[0], meta[1], meta[2]))
    return found


def record_row(kind: str, key: str, document: Json) -> Properties:
    """A record as node properties: its JSON, and its scalars readable beside it."""
    out: Properties = {"_kind": kind, "_key": key, "_document": encode(document).decode()}
    if isinstance(document, dict):
        out.update({k: v for k, v in document.items() if is_name(k) and type(v) is not list and _natural(v)})
    return out


def record_label(kind: str) -> str:
    """`work_order` -> `WorkOrder`; never a label that is ours."""
    label = "".join(part.capitalize() for part in kind.split("_") if part)
    if not is_name(label):
        return "OtherRecord"
    return f"{label}_" if label in _LABELS else label
