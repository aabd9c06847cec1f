"""`Models`: an immutable set of Interfaces that is closed under extends, components and schema references."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from twinloom.twin.dtdl.contents import CommandType, ComponentType, Field, Interface, Property, Telemetry, is_numeric
from twinloom.twin.errors import NotFound
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json

if TYPE_CHECKING:
    from twinloom.twin.dtdl.check import Checker
    from twinloom.twin.dtdl.nodes import Node


class Models:
    """Interfaces by id. Made by `parse`; never changed. Lookups by model raise NotFound when it is not there."""

    __slots__ = ("_checkers", "_fields", "_subtypes", "interfaces", "nodes")

    interfaces: Mapping[ModelId, Interface]

    nodes: Mapping[str, Node]
    """The elements by id as `parse` needs them when these Models are its base."""

    def __init__(self, interfaces: Mapping[ModelId, Interface], nodes: Mapping[str, Node] | None = None) -> None:
        self.interfaces = MappingProxyType(dict(interfaces))
        self.nodes = MappingProxyType(dict(nodes or {}))
        self._fields: dict[ModelId, Mapping[str, Field]] = {}
        self._checkers: dict[ModelId, Checker] = {}
        self._subtypes: dict[ModelId, frozenset[ModelId]] | None = None

    def get(self, id: str) -> Interface | None:
        return self.interfaces.get(ModelId(id))

    def __contains__(self, id: object) -> bool:
        return id in self.interfaces

    def __len__(self) -> int:
        return len(self.interfaces)

    def __iter__(self) -> Iterator[ModelId]:
        return iter(self.interfaces)

    def interface(self, id: str) -> Interface:
        """The Interface of that id; raises NotFound."""
        found = self.interfaces.get(ModelId(id))
        if found is None:
            raise NotFound(f"there is no model {id!r}", remedy="upload the model first, or check the id and version")
        return found

    def is_a(self, model: str, base: str) -> bool:
        """True when `model` is `base` or extends it, directly or not."""
        return model == base or ModelId(base) in self.interface(model).ancestors

    def subtypes(self, model: str) -> frozenset[ModelId]:
        """The model itself and all that extend it, transitively."""
        if self._subtypes is None:
            found: dict[ModelId, set[ModelId]] = {id: {id} for id in self.interfaces}
            for id, interface in self.interfaces.items():
                for ancestor in interface.ancestors:
                    found[ancestor].add(id)
            self._subtypes = {id: frozenset(ids) for id, ids in found.items()}
        return self._subtypes[self.interface(model).id]

    def without(self, ids: Collection[str]) -> Models:
        """The other models. The caller sees to it that none of them refers to one of `ids`."""
        gone = frozenset(ids)
        nodes = {id: node for id, node in self.nodes.items() if node.partition.id not in gone}
        return Models({id: interface for id, interface in self.interfaces.items() if id not in gone}, nodes)

    def extended(self, interfaces: Mapping[ModelId, Interface], nodes: Mapping[str, Node]) -> Models:
        """These and more. Used by `parse`, which has checked them."""
        return Models({**self.interfaces, **interfaces}, nodes)

    def __repr__(self) -> str:
        return f"Models({len(self)} interface{'' if len(self) == 1 else 's'})"

    def fields(self, model: str) -> Mapping[str, Field]:
        """Every Property and Telemetry of a model by dotted path: inherited ones included, components flattened."""
        found = self._fields.get(ModelId(model))
        if found is None:
            found = MappingProxyType(dict(self._walk(self.interface(model), "")))
            self._fields[ModelId(model)] = found
        return found

    def _walk(self, interface: Interface, prefix: str) -> Iterator[tuple[str, Field]]:
        for name, content in interface.contents.items():
            path = prefix + name
            if isinstance(content, Property):
                yield (
                    path,
                    Field(
                        path,
                        "property",
                        content.schema,
                        content.unit,
                        content.writable,
                        is_numeric(content.schema),
                        content.declared_in,
                    ),
                )
            elif isinstance(content, Telemetry):
                numeric = is_numeric(content.schema)
                yield path, Field(path, "telemetry", content.schema, content.unit, False, numeric, content.declared_in)
            elif isinstance(content, ComponentType):
                yield from self._walk(self.interface(content.model), path + ".")

    def checker(self, model: str) -> Checker:
        """The compiled checks of a model, made at first use."""
        found = self._checkers.get(ModelId(model))
        if found is None:
            from twinloom.twin.dtdl.check import Checker

            # pyright meets this file twice, here and through .editable, and takes the two for different classes.
            found = Checker(self, self.interface(model))  # pyright: ignore[reportArgumentType]
            self._checkers[ModelId(model)] = found
        return found

    def check_twin(self, model: str, properties: Mapping[str, Json]) -> None:
        """Raises ModelViolation unless `properties` (components nested; telemetry allowed) fit the model."""
        self.checker(model).check_twin(properties)

    def check_value(self, model: str, path: str, value: Json, *, by_client: bool) -> None:
        """Raises ModelViolation unless `value` may stand at `path`; `by_client`: a writable Property only."""
        self.checker(model).check_value(path, value, by_client=by_client)

    def check_relationship(
        self, source_model: str, name: str, target_model: str, properties: Mapping[str, Json], existing: int
    ) -> None:
        """Raises ModelViolation unless a twin that has `existing` relationships `name` may get this one."""
        self.checker(source_model).check_relationship(name, target_model, properties, existing)

    def check_command(self, model: str, name: str, payload: Json) -> CommandType:
        """The Command at `name` (dotted for a component's); raises ModelViolation unless `payload` is its request."""
        return self.checker(model).check_command(name, payload)

    def check_response(self, model: str, name: str, response: Json) -> None:
        """Raises ModelViolation unless `response` is what the Command answers."""
        self.checker(model).check_response(name, response)


EMPTY = Models({})
