"""From sound elements to the public, immutable Interfaces."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from twinloom.twin.dtdl.contents import (
    CommandType,
    ComponentType,
    Content,
    Interface,
    Payload,
    Property,
    RelationshipType,
    Telemetry,
    unit_of,
)
from twinloom.twin.dtdl.contexts import CORE
from twinloom.twin.dtdl.nodes import Node
from twinloom.twin.dtdl.rules import Hierarchy, children
from twinloom.twin.dtdl.schemas import Array, Enum, Map, Object, ObjectField, Primitive, Schema
from twinloom.twin.dtdl.vocabulary import Standard
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json
from twinloom.twin.unit_names import UNITS


class Builder:
    """Makes each content and schema once, however many Interfaces share it."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._contents: dict[int, Content] = {}
        self._schemas: dict[int, Schema] = {}

    def interface(self, node: Node) -> Interface:
        contents: dict[str, Content] = {}
        for held in self._hierarchy.contents(node):
            contents.setdefault(held.name, self.content(held))
        return Interface(
            id=ModelId(node.id),
            version=node.version,
            display_name=_shown(node, "displayName"),
            description=_shown(node, "description"),
            comment=str(node.literals.get("comment", "")),
            extends=tuple(ModelId(parent.id) for parent in children(node, "extends")),
            ancestors=frozenset(ModelId(parent.id) for parent in self._hierarchy.ancestors(node)),
            contents=MappingProxyType(contents),
            document=_document(node),
            source=node.source,
            root=node.pointer,
        )

    def content(self, node: Node) -> Content:
        found = self._contents.get(id(node))
        if found is None:
            found = self._contents[id(node)] = self._made(node)
        return found

    def _made(self, node: Node) -> Content:
        common: dict[str, Any] = {
            "name": node.name,
            "display_name": _shown(node, "displayName"),
            "description": _shown(node, "description"),
            "comment": str(node.literals.get("comment", "")),
            "declared_in": ModelId(node.partition.id),
            "semantic_types": node.types,
            "annotations": MappingProxyType(_annotations(node)),
            "pointer": node.pointer.removeprefix(node.partition.pointer),
            "source": node.source,
            "root": node.partition.pointer,
        }
        writable = bool(node.literals.get("writable", False))
        match node.class_:
            case "Property":
                return Property(**common, schema=self._schema_of(node), writable=writable, unit=_unit(node))
            case "Telemetry":
                return Telemetry(**common, schema=self._schema_of(node), unit=_unit(node))
            case "Component":
                (model,) = children(node, "schema")
                return ComponentType(**common, model=ModelId(model.id))
            case "Command":
                request, response = self._payload(node, "request"), self._payload(node, "response")
                return CommandType(**common, request=request, response=response)
            case _:
                made = [self.content(held) for held in children(node, "properties")]
                target = node.literals.get("target")
                return RelationshipType(
                    **common,
                    target=ModelId(target) if target else None,
                    min_multiplicity=node.literals.get("minMultiplicity", 0),
                    max_multiplicity=node.literals.get("maxMultiplicity"),
                    properties=MappingProxyType({held.name: held for held in made if isinstance(held, Property)}),
                    writable=writable,
                )

    def _payload(self, node: Node, name: str) -> Payload | None:
        for held in children(node, name):
            return Payload(held.name, self._schema_of(held), bool(held.literals.get("nullable", False)))
        return None

    def _schema_of(self, node: Node) -> Schema:
        return self._schema(node.links["schema"][0].target)

    def _schema(self, target: Node | Standard | None) -> Schema:
        if isinstance(target, Standard):
            return _standard(target)
        assert target is not None
        found = self._schemas.get(id(target))
        if found is not None:
            return found
        if target.class_ == "Enum":
            value_schema = target.links["valueSchema"][0].target
            values = {held.name: held.literals["enumValue"] for held in children(target, "enumValues")}
            term = value_schema.term if isinstance(value_schema, Standard) else "string"
            return self._keep(target, Enum(term, MappingProxyType(values)))
        if target.class_ == "Array":
            # kept before its element is made: from v4 on a schema may contain itself
            array = Array(Primitive("string"))
            self._keep(target, array)
            object.__setattr__(array, "element", self._schema(target.links["elementSchema"][0].target))
            return array
        if target.class_ == "Map":
            made = Map(Primitive("string"), Primitive("string"))
            self._keep(target, made)
            (value,) = children(target, "mapValue")
            object.__setattr__(made, "value", self._schema_of(value))
            return made
        fields: dict[str, ObjectField] = {}
        holder = Object(MappingProxyType(fields))
        self._keep(target, holder)
        for held in children(target, "fields"):
            required = "Required" in held.types
            display = _shown(held, "displayName")
            fields[held.name] = ObjectField(held.name, self._schema_of(held), display, _unit(held), required)
        return holder

    def _keep(self, node: Node, schema: Schema) -> Schema:
        self._schemas[id(node)] = schema
        return schema


_VECTOR = Object({axis: ObjectField(axis, Primitive("double")) for axis in "xyz"})
_NAMED_OBJECTS: Mapping[str, Schema] = {
    "geopoint": Object({part: ObjectField(part, Primitive("double")) for part in ("lat", "lon", "alt")}),
    "vector": _VECTOR,
}


def _standard(target: Standard) -> Schema:
    if target.class_ == "Enum":
        units = [term for term, unit in UNITS.items() if unit.kind == target.unit_type]
        return Enum("string", MappingProxyType({term: term for term in units}))
    return _NAMED_OBJECTS.get(target.term) or Primitive(target.term)


def _shown(node: Node, name: str) -> str:
    """A localisable string in English, or in the first language there is."""
    texts: dict[str, str] = node.literals.get(name) or {}
    for language in ("en", "en-US", "en-GB"):
        if language in texts:
            return texts[language]
    return next(iter(texts.values()), "")


def _unit(node: Node) -> str:
    links = node.links.get("unit")
    target = links[0].target if links else None
    written = target.term if isinstance(target, Standard) else ""
    return unit_of(written, str(node.literals.get("comment", "")))


def _annotations(node: Node) -> dict[str, Json]:
    return {
        name: node.literals[name] for adjunct in node.adjuncts for name in adjunct.properties if name in node.literals
    }


def _document(node: Node) -> Json:
    """The Interface's JSON, able to stand on its own: with its @context, and inner Interfaces by their ids."""
    raw: Json = node.raw
    inner = _inner_interfaces(node)
    if inner:
        raw = json.loads(json.dumps(raw))
        for pointer, model in inner:
            *steps, last = pointer.removeprefix(node.pointer).split("/")[1:]
            holder = raw
            for step in steps:
                holder = holder[_step(holder, step)]
            holder[_step(holder, last)] = model.id
    if node.top and "@context" in raw:
        return raw
    names = [f"{CORE};{node.version}", *(f"{base};{number}" for base, number in node.context.extensions)]
    return {"@context": names, **{key: value for key, value in raw.items() if key != "@context"}}


def _step(holder: Json, step: str) -> str | int:
    return int(step) if isinstance(holder, list) else step.replace("~1", "/").replace("~0", "~")


def _inner_interfaces(node: Node) -> Sequence[tuple[str, Node]]:
    found: list[tuple[str, Node]] = []
    for name in ("extends", "contents"):
        for held in node.links.get(name, ()):
            if held.ref or not isinstance(held.target, Node):
                continue
            if name == "extends":
                found.append((held.pointer, held.target))
            for inner in held.target.links.get("schema", ()):
                target = inner.target
                if name == "contents" and not inner.ref and isinstance(target, Node) and target.class_ == "Interface":
                    found.append((inner.pointer, target))
    return found
