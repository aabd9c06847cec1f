"""Builds the executable schema from the Strawberry types, and prints it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import strawberry
from graphql import GraphQLField, GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from twinloom.api.schema.assessments import Alert, WorkOrder
from twinloom.api.schema.changes import Subscription
from twinloom.api.schema.models import Model
from twinloom.api.schema.prognosis import Mutation, Query
from twinloom.api.schema.scalars import SCALARS
from twinloom.api.schema.twins import Relationship, Twin
from twinloom.api.schema.typed import MOST_MODELS, TypedLayer
from twinloom.twin.dtdl import Models

COLUMN_FIELDS = frozenset(
    {"id", "dtId", "modelId", "name", "etag", "seq", "createdAt", "updatedAt", "stale", "staleSince"}
)
BACKREF = "strawberry-definition"
REGISTRY = "scalar-registry"
_CONFIG = StrawberryConfig(scalar_map=SCALARS)


def generic_schema() -> GraphQLSchema:
    """The schema of the generic layer, its fields resolved by plain calls `(source, info, **arguments)`."""
    built = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Twin, Model, Relationship, Alert, WorkOrder],
        config=_CONFIG,
    )
    schema: GraphQLSchema = built._schema
    registry = built.schema_converter.scalar_registry
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not type_.name.startswith("__"):
            for field in type_.fields.values():
                definition = field.extensions.get(BACKREF)
                field.extensions[REGISTRY] = registry
                if not isinstance(definition, StrawberryField):
                    continue
                if definition.is_subscription:
                    field.extensions["root_event"] = True
                    continue
                field.resolve = plain_resolver(definition, registry)
                if definition.base_resolver is None:
                    field.extensions["attribute"] = definition.python_name
            if isinstance(type_, GraphQLObjectType):
                if type_.interfaces:
                    type_.is_type_of = None
                if type_.name.endswith("Connection"):
                    type_.extensions["connection"] = True
    mark_twin(schema.type_map["Twin"])
    return schema


def mark_twin(type_: Any) -> None:
    """Tells the compiler which fields of a twin type are columns."""
    type_.extensions["twin"] = True
    for name, field in type_.fields.items():
        if name in COLUMN_FIELDS and not field.extensions.get("column"):
            field.extensions["column"] = (name, None)
    if "value" in type_.fields and "path" in type_.fields["value"].args:
        type_.fields["value"].extensions["column"] = ("value", None)


def raw_resolver(field: GraphQLField) -> tuple[Callable[..., Any], bool]:
    """The function behind a field, and whether it wants `info`; its arguments are those of `converted`."""
    definition = field.extensions.get(BACKREF)
    if isinstance(definition, StrawberryField) and definition.base_resolver is not None:
        base = definition.base_resolver
        return cast(Callable[..., Any], base.wrapped_func), base.info_parameter is not None
    assert field.resolve is not None
    return field.resolve, True


def plain_resolver(definition: StrawberryField, registry: Any) -> Callable[..., Any]:
    """Strawberry's resolver without its wrappers: converts the arguments, calls the method."""
    base = definition.base_resolver
    if base is None:
        name = definition.python_name
        return lambda source, info: getattr(source, name)
    function = cast(Callable[..., Any], base.wrapped_func)
    wants_info = base.info_parameter is not None
    arguments = definition.arguments
    if not arguments:
        if wants_info:
            return lambda source, info: function(source, info)
        return lambda source, info: function(source)

    def resolve(source: Any, info: Any, **given: Any) -> Any:
        converted = convert_arguments(given, arguments, registry, _CONFIG)
        return function(source, info, **converted) if wants_info else function(source, **converted)

    return resolve


def converted(field: GraphQLField, given: Mapping[str, Any]) -> dict[str, Any]:
    """Coerced arguments of a Strawberry field as its method gets them."""
    definition = field.extensions.get(BACKREF)
    if definition is None:
        return dict(given)
    return convert_arguments(dict(given), definition.arguments, field.extensions[REGISTRY], _CONFIG)


def is_async(field: GraphQLField) -> bool:
    """True when the field's value must be awaited."""
    definition = field.extensions.get(BACKREF)
    if isinstance(definition, StrawberryField):
        base = definition.base_resolver
        return base is not None and (inspect.iscoroutinefunction(base.wrapped_func) or definition.is_subscription)
    return inspect.iscoroutinefunction(field.resolve)


@cache
def base_schema() -> GraphQLSchema:
    """The generic layer, built once."""
    return generic_schema()


def schema_for(models: Models) -> GraphQLSchema:
    """The schema for a set of models: the generic layer, and a type for each interface."""
    base = base_schema()
    if not models or len(models) > MOST_MODELS:
        return base
    twins = base.query_type.fields["twins"] if base.query_type else None
    assert twins is not None

    def convert(name: str, value: Any) -> Any:
        """`filter` or `orderBy` as the resolvers of the generic layer get them."""
        if value is None:
            return None
        found = converted(twins, {name: value})
        return found["filter" if name == "filter" else "order_by"]

    return TypedLayer(base, models, convert).schema()


def sdl(schema: GraphQLSchema) -> str:
    """The schema definition language of a schema, as `twinloom schema` prints it."""
    return print_schema(schema) + "\n"


def digest_of(text: str) -> str:
    """SHA-256 of an SDL, hex."""
    return hashlib.sha256(text.encode()).hexdigest()
