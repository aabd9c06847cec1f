"""What the generated functions of a plan call: error paths, leaf values, rows of answers."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from graphql import FieldNode, GraphQLError, located_error

from twinloom.api.errors import field_error


class Bubble(Exception):
    """A null where none may be; the error is recorded."""


def location(path: Any) -> list[str | int]:
    """The keys of a linked path `((None, "a"), 0)`, outermost first."""
    keys: list[str | int] = []
    while path is not None:
        path, key = path
        keys.append(key)
    return keys[::-1]


def record(errors: list[dict[str, Any]], error: Exception, nodes: list[FieldNode], path: Any) -> None:
    """Notes a field error as graphql-core would."""
    errors.append(field_error(located_error(error, nodes, location(path))))


def finite(value: Any) -> float:
    """A Float as the specification wants it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise GraphQLError(f"Float cannot represent non numeric value: {value!r}")
    return value


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def struct_of(keys: list[str]) -> Any:
    """A msgspec Struct with these response keys: made and encoded a few times faster than a dict, and untracked."""
    fields = [(f"f{at}", Any) for at in range(len(keys))]
    return msgspec.defstruct("Row", fields, rename=keys_by_name(keys), gc=False)


def keys_by_name(keys: list[str]) -> dict[str, str]:
    return {f"f{at}": key for at, key in enumerate(keys)}
