"""JSON merge patch (RFC 7396) on a twin's properties, and which model fields a patch touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from twinloom.twin.dtdl import Field, Models
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json


def merge(target: Json, patch: Json) -> Json:
    """`target` after the patch; neither is changed.

    >>> merge({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": 4}})
    {'b': {'c': 4, 'd': 3}}
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def field_writes(
    models: Models, model: ModelId, properties: Mapping[str, Json], patch: Mapping[str, Json]
) -> Iterator[tuple[str, Json]]:
    """The fields that a patch touches and what each becomes (None: removed).

    Keys of `patch` are dotted paths; a path may name a component (its members are patched), a field, or lead into the
    object of a field. A path that the model does not have is given as it is, for the model's own check to refuse.
    """
    fields = models.fields(model)
    done: dict[str, Json] = {}
    for path, value in patch.items():
        for name, change in _to_fields(fields, path, value):
            before = done[name] if name in done else value_at(properties, name)
            done[name] = merge(before, change)
    yield from done.items()


def _to_fields(fields: Mapping[str, Field], path: str, value: Json) -> Iterator[tuple[str, Json]]:
    if path in fields:
        yield path, value
        return
    if any(name.startswith(path + ".") for name in fields):
        if value is None:
            yield from ((name, None) for name, f in fields.items() if name.startswith(path + ".") and f.writable)
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                yield from _to_fields(fields, f"{path}.{key}", inner)
        else:
            raise BadRequest(f"{path} is a component", remedy="write an object, or one of its paths")
        return
    head, dot, tail = path.rpartition(".")
    while dot:
        value = {tail: value}
        if head in fields:
            yield head, value
            return
        head, dot, tail = head.rpartition(".")
    yield path, _unwrapped(path, value)


def _unwrapped(path: str, value: Json) -> Json:
    for _ in range(path.count(".")):
        value = next(iter(value.values()))
    return value


def value_at(properties: Mapping[str, Json], path: str) -> Json:
    """What stands at a dotted path, or None."""
    found: Json = properties
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def with_value(properties: Mapping[str, Json], path: str, value: Json) -> dict[str, Json]:
    """A copy of `properties` with the value at a dotted path set, or removed when it is None."""
    copy = dict(properties)
    head, dot, tail = path.partition(".")
    if dot:
        inner = copy.get(head)
        inner = with_value(inner if isinstance(inner, Mapping) else {}, tail, value)
        if inner or head in copy:
            copy[head] = inner
    elif value is None:
        copy.pop(head, None)
    else:
        copy[head] = value
    return copy
