"""The typed layer: a GraphQL type for each registered DTDL interface, beside the generic one.

`extends` becomes `implements`: a model that others extend is a GraphQL interface with the model's name, and its own
twins have the type `<Name>Exactly`. Properties and telemetry are fields with the scalar of their schema (a number with
a unit takes `unit:`), components are nested objects, relationships are connections to the target's type. For each type
there are `spindle(id:)` and `spindles(where: filter: orderBy: first: after:)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLFloat,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
)

from twinloom.api.schema import naming, traversal
from twinloom.api.schema.connections import Connection
from twinloom.api.schema.filters import TwinFilter
from twinloom.api.schema.scalars import Direction
from twinloom.api.schema.selection import page_of_rows, page_of_twins, twin_at
from twinloom.api.schema.twins import Twin, value_of
from twinloom.api.schema.typed_connections import connection_types
from twinloom.api.schema.typed_filters import TypedFilters
from twinloom.twin.dtdl import ComponentType, Enum, Models, Primitive, Property, RelationshipType, Telemetry
from twinloom.twin.dtdl.contents import Interface
from twinloom.twin.ids import ModelId

INTEGERS = frozenset({"integer", "short", "byte", "unsignedShort", "unsignedByte"})
NUMBERS = frozenset({"double", "float", "unsignedInteger"})
MOST_MODELS = 2_000
"""Beyond so many interfaces the typed layer would cost more to build than it is worth; the generic one remains."""


@dataclass(frozen=True, slots=True)
class Part:
    """A component inside a twin: what `controller.` is the prefix of."""

    twin: Twin
    prefix: str


class TypedLayer:
    """Builds the types of one set of models over a generic schema."""

    def __init__(self, base: GraphQLSchema, models: Models, convert: Callable[..., Any]) -> None:
        self._base = base
        self._models = models
        self._convert = convert
        self._twin_fields: Mapping[str, GraphQLField] = base.type_map["Twin"].fields  # type: ignore[attr-defined]
        self._names = naming.type_names(models, set(base.type_map))
        self._bases = {base_id for id in models for base_id in models.interface(id).ancestors}
        taken = set(base.type_map) | set(self._names.values())
        self._exact: dict[ModelId, str] = {}
        for id, name in self._names.items():
            self._exact[id] = naming.free(f"{name}Exactly", taken) if id in self._bases else name
            taken.add(self._exact[id])
        self._taken = taken
        self._interfaces: dict[ModelId, GraphQLInterfaceType] = {}
        self._objects: dict[ModelId, GraphQLObjectType] = {}
        self._components: dict[ModelId, GraphQLObjectType] = {}
        self._connections: dict[ModelId, GraphQLObjectType] = {}
        self._enums: dict[tuple[ModelId, str], GraphQLEnumType] = {}
        self._filters = TypedFilters(base, models, self._names, taken)

    def schema(self) -> GraphQLSchema:
        """The generic schema with the typed layer in it."""
        base = self._base
        query = base.query_type
        assert query is not None
        fields: dict[str, GraphQLField] = dict(query.fields)
        for id in sorted(self._names, key=lambda id: self._names[id]):
            name = self._names[id]
            one = naming.free(naming.singular(name), fields)
            fields[one] = self._one(id)
            fields[naming.free(naming.plural(name), fields)] = self._many(id)
        extended = GraphQLObjectType(query.name, fields, description=query.description, extensions=query.extensions)
        others = [type_ for type_ in base.type_map.values() if type_ is not query and not type_.name.startswith("__")]
        return GraphQLSchema(
            query=extended,
            mutation=base.mutation_type,
            subscription=base.subscription_type,
            types=[*others, *(self._objects[id] for id in sorted(self._objects))],
            directives=base.directives,
            assume_valid=True,
        )

    # ---- types -----------------------------------------------------------------------------------------------------

    def _type(self, id: ModelId) -> GraphQLInterfaceType | GraphQLObjectType:
        """What a field that gives twins of a model has as its type."""
        self._object(id)
        return self._interface(id) if id in self._bases else self._object(id)

    def _interface(self, id: ModelId) -> GraphQLInterfaceType:
        if id not in self._interfaces:
            model = self._models.interface(id)
            self._interfaces[id] = GraphQLInterfaceType(
                self._names[id],
                fields=lambda: self._fields(model),
                interfaces=lambda: self._implemented(model),
                resolve_type=lambda twin, info, _: self._type_name(twin, info.context),
                description=_description(model),
                extensions={"typename": self._type_name},
            )
            for below in sorted(self._models.subtypes(id)):
                self._object(below)
        return self._interfaces[id]

    def _object(self, id: ModelId) -> GraphQLObjectType:
        if id not in self._objects:
            model = self._models.interface(id)
            own = [id] if id in self._bases else []
            self._objects[id] = GraphQLObjectType(
                self._exact[id],
                fields=lambda: self._fields(model),
                interfaces=lambda: [*(self._interface(one) for one in own), *self._implemented(model)],
                description=_description(model),
                extensions={"twin": True},
            )
        return self._objects[id]

    def _implemented(self, model: Interface) -> list[GraphQLInterfaceType]:
        node = self._base.type_map["Node"]
        assert isinstance(node, GraphQLInterfaceType)
        return [node, *(self._interface(ancestor) for ancestor in sorted(model.ancestors))]

    def _type_name(self, twin: Twin, context: Any) -> str:
        return self._exact[context.hot.model_of(twin.live(context))]

    def _component(self, id: ModelId) -> GraphQLObjectType:
        if id not in self._components:
            model = self._models.interface(id)
            name = naming.free(f"{self._names[id]}Component", self._taken)
            self._taken.add(name)
            self._components[id] = GraphQLObjectType(
                name, fields=lambda: self._contents(model, {}, part=True), description=_description(model)
            )
        return self._components[id]

    def _connection(self, id: ModelId) -> GraphQLObjectType:
        if id not in self._connections:
            name = naming.free(f"{self._names[id]}Connection", self._taken)
            self._taken.add(name)
            page_info = self._base.type_map["PageInfo"]
            self._connections[id] = connection_types(name, lambda: self._type(id), page_info)
        return self._connections[id]

    def _fields(self, model: Interface) -> dict[str, GraphQLField]:
        fields = dict(self._twin_fields)
        fields.update(self._contents(model, fields, part=False))
        return fields

    def _contents(self, model: Interface, taken: Mapping[str, GraphQLField], *, part: bool) -> dict[str, GraphQLField]:
        """The fields for the contents of a model: of the twin itself, or of a component in it."""
        fields: dict[str, GraphQLField] = {}
        for name, content in model.contents.items():
            if name == "name" and not part and _is_text(content):
                continue  # the generic field is the same
            shown = naming.free(name, {*taken, *fields})
            if isinstance(content, Property | Telemetry):
                fields[shown] = self._value(model.id, content, part)
            elif isinstance(content, ComponentType):
                fields[shown] = GraphQLField(
                    GraphQLNonNull(self._component(content.model)),
                    resolve=_part_of(name),
                    description=content.description or content.display_name or None,
                )
            elif isinstance(content, RelationshipType) and not part:
                fields[shown] = self._relationship(content)
        if not fields and part:
            fields["_"] = GraphQLField(GraphQLBoolean, resolve=lambda *_: None, description="Has no contents.")
        return fields

    def _value(self, model: ModelId, content: Property | Telemetry, part: bool) -> GraphQLField:
        unit = content.unit or ""
        described = content.description or content.display_name or ""
        if unit:
            described = f"{described} [{unit}]".strip()
        arguments = {}
        if unit:
            arguments["unit"] = GraphQLArgument(GraphQLString, description="Converted to this unit.")
        field = GraphQLField(
            self._scalar(model, content),
            args=arguments,
            resolve=_value_of(content.name),
            description=described or None,
        )
        if not part:
            field.extensions["column"] = ("value", content.name)
        return field

    def _scalar(self, model: ModelId, content: Property | Telemetry) -> Any:
        schema = content.schema
        if isinstance(schema, Enum):
            return self._enum(content.declared_in, content.name, schema)
        if isinstance(schema, Primitive):
            if schema.name in INTEGERS:
                return GraphQLInt
            if schema.name in NUMBERS:
                return GraphQLFloat
            if schema.name == "boolean":
                return GraphQLBoolean
            if schema.name in ("string", "date", "dateTime", "duration", "time", "uuid"):
                return GraphQLString
            if schema.name == "long":
                return self._base.type_map["Long"]
        return self._base.type_map["JSON"]

    def _enum(self, declared_in: ModelId, path: str, schema: Enum) -> Any:
        if any(not isinstance(value, str | int) for value in schema.values.values()) or not schema.values:
            return self._base.type_map["JSON"]
        key = (declared_in, path)
        if key not in self._enums:
            owner = self._names.get(declared_in, "")
            name = naming.free(f"{owner}{naming.pascal(path)}", self._taken)
            self._taken.add(name)
            self._enums[key] = GraphQLEnumType(name, {_enum_name(one): value for one, value in schema.values.items()})
        return self._enums[key]

    # ---- fields that give twins ------------------------------------------------------------------------------------

    def _relationship(self, content: RelationshipType) -> GraphQLField:
        target = content.target if content.target in self._names else None
        type_: Any = self._base.type_map["TwinConnection"] if target is None else self._connection(target)
        name = content.name
        convert = self._convert

        def resolve(twin: Twin, info: Any, **given: Any) -> Any:
            context = info.context
            rows = traversal.neighbours(context.hot, twin.live(context), name, Direction.OUTGOING)
            filter = self._filters.read(target, given, convert)
            page = page_of_rows(
                context, rows, filter, None, given.get("first"), given.get("after"), ("related", twin.twin_id, name)
            )
            return Connection(page=page)

        return GraphQLField(
            GraphQLNonNull(type_),
            args=self._page_arguments(target, order=False),
            resolve=resolve,
            description=content.description or content.display_name or None,
        )

    def _one(self, id: ModelId) -> GraphQLField:
        models = self._models.subtypes(id)

        def resolve(_: Any, info: Any, id: str) -> Any:
            row = info.context.row(id)
            if row is None or info.context.hot.model_of(row) not in models:
                return None
            return twin_at(info.context, row)

        return GraphQLField(
            self._type(id), args={"id": GraphQLArgument(GraphQLNonNull(GraphQLString))}, resolve=resolve,
            description=f"The twin of {id} with this id; null when there is none.",
        )  # fmt: skip

    def _many(self, id: ModelId) -> GraphQLField:
        convert = self._convert

        def resolve(_: Any, info: Any, **given: Any) -> Any:
            filter = self._filters.read(id, given, convert)
            own = TwinFilter(model=id)
            both = own if filter is None else TwinFilter(model=id, and_=[filter])
            order = convert("orderBy", given.get("orderBy"))
            return Connection(page=page_of_twins(info.context, both, order, given.get("first"), given.get("after")))

        return GraphQLField(
            GraphQLNonNull(self._connection(id)),
            args=self._page_arguments(id, order=True),
            resolve=resolve,
            description=f"Twins of {id} or of a model that extends it.",
        )

    def _page_arguments(self, id: ModelId | None, *, order: bool) -> dict[str, GraphQLArgument]:
        arguments = {
            "filter": GraphQLArgument(self._base.type_map["TwinFilter"]),  # type: ignore[arg-type]
            "first": GraphQLArgument(GraphQLInt, default_value=25),
            "after": GraphQLArgument(GraphQLString),
        }
        if id is not None:
            arguments["where"] = GraphQLArgument(self._filters.input_type(id))
        if order:
            by = self._base.type_map["TwinOrder"]
            arguments["orderBy"] = GraphQLArgument(GraphQLList(GraphQLNonNull(by)))
        return arguments


def _value_of(name: str) -> Callable[..., Any]:
    def resolve(source: Twin | Part, info: Any, unit: str | None = None) -> Any:
        if isinstance(source, Part):
            twin, path = source.twin, source.prefix + name
        else:
            twin, path = source, name
        return value_of(info.context, twin.live(info.context), path, unit)

    return resolve


def _part_of(name: str) -> Callable[..., Part]:
    def resolve(source: Twin | Part, info: Any) -> Part:
        if isinstance(source, Part):
            return Part(source.twin, f"{source.prefix}{name}.")
        return Part(source, f"{name}.")

    return resolve


def _is_text(content: object) -> bool:
    return (
        isinstance(content, Property | Telemetry)
        and isinstance(content.schema, Primitive)
        and content.schema.name == "string"
    )


def _enum_name(name: str) -> str:
    """DTDL enum names are GraphQL names but for three words."""
    return f"{name}_" if name in ("true", "false", "null") else name


def _description(model: Interface) -> str:
    text = model.description or model.display_name
    return f"{text} ({model.id})" if text else str(model.id)
