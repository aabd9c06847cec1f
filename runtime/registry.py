"""The dependency graph of the registered models: what each one needs, and who needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from twinloom.twin.dtdl import ComponentType, Interface, Models, RelationshipType
from twinloom.twin.ids import ModelId

Kind = Literal["extends", "component", "target"]


@dataclass(frozen=True, slots=True)
class Dependency:
    """`model` needs `needs`: it extends it, has it as the component `name`, or its relationship `name` leads to it.

    Only `target` may name a model that is not registered (DTDL does not ask for it).
    """

    model: ModelId
    needs: ModelId
    kind: Kind
    name: str = ""


def dependencies(models: Models, id: str) -> tuple[Dependency, ...]:
    """What a model itself declares to need, in the order of its document. Raises NotFound."""
    return tuple(_declared(models.interface(id)))


def dependents(models: Models, id: str) -> tuple[Dependency, ...]:
    """Who declares to need a model, by model id; the model's own references to itself are left out."""
    return tuple(
        found
        for other in sorted(models.interfaces)
        if other != id
        for found in _declared(models.interfaces[other])
        if found.needs == id
    )


def _declared(interface: Interface) -> Iterator[Dependency]:
    for base in interface.extends:
        yield Dependency(interface.id, base, "extends")
    for name, content in interface.contents.items():
        if content.declared_in != interface.id:
            continue
        if isinstance(content, ComponentType):
            yield Dependency(interface.id, content.model, "component", name)
        elif isinstance(content, RelationshipType) and content.target is not None:
            yield Dependency(interface.id, content.target, "target", name)
