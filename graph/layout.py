"""How the values of a model's twins lie in memory: which paths are numeric slots, in which order, and which are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from twinloom.twin.dtdl import Field, Models, Primitive
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json

Parts: TypeAlias = tuple[str, ...]

_INTEGRAL = frozenset({"integer", "short", "byte", "unsignedShort", "unsignedByte", "unsignedInteger"})


class Layout:
    """The fields of one model. Numeric ones get consecutive slots in field order, the others places in a list.

    A model that is not known (its documents are gone) has no fields: whatever its twins hold is kept aside by path.
    """

    __slots__ = ("fields", "integral", "model", "parts", "slot_of", "telemetry", "text_of", "texts", "width")

    def __init__(self, model: ModelId, fields: Mapping[str, Field]) -> None:
        self.model = model
        self.fields: tuple[Field, ...] = tuple(f for f in fields.values() if f.numeric)
        self.texts: tuple[Field, ...] = tuple(f for f in fields.values() if not f.numeric)
        self.slot_of: dict[str, int] = {f.path: k for k, f in enumerate(self.fields)}
        self.text_of: dict[str, int] = {f.path: k for k, f in enumerate(self.texts)}
        self.width = len(self.fields)
        self.integral: tuple[bool, ...] = tuple(
            isinstance(f.schema, Primitive) and f.schema.name in _INTEGRAL for f in self.fields
        )
        self.telemetry: frozenset[str] = frozenset(f.path for f in fields.values() if f.kind == "telemetry")
        self.parts: dict[str, Parts] = {path: tuple(path.split(".")) for path in fields}

    def same_as(self, other: Layout) -> bool:
        """True when both give every path the same place and kind."""
        return self.fields == other.fields and self.texts == other.texts

    def flat(self, properties: Mapping[str, Json]) -> dict[str, Json]:
        """The values of a nested properties object by path; a component's object is opened, a property's is not.

        Paths that the model does not have are kept, as deep as they can be opened.
        """
        out: dict[str, Json] = {}
        stack: list[tuple[str, Json]] = [(name, value) for name, value in reversed(list(properties.items()))]
        slot_of, text_of = self.slot_of, self.text_of
        while stack:
            path, value = stack.pop()
            if isinstance(value, dict) and path not in text_of and path not in slot_of:
                stack.extend((f"{path}.{name}", inner) for name, inner in reversed(list(value.items())))
            elif value is not None:
                out[path] = value
        return out


def layout_for(models: Models, model: ModelId) -> Layout:
    """The layout of a model, empty when the model is not known."""
    return Layout(model, models.fields(model) if model in models else {})


def nest(target: dict[str, Json], parts: Parts, value: Json) -> None:
    """Puts a value into a nested object, making the objects on its way."""
    for name in parts[:-1]:
        inner = target.get(name)
        if not isinstance(inner, dict):
            inner = target[name] = {}
        target = inner
    target[parts[-1]] = value
