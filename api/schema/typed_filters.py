"""Typed filters: `where: {temperature: {gt: 80, unit: "degreeCelsius"}}`, turned into filters of the generic layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLString,
)

from twinloom.api.schema import naming
from twinloom.api.schema.filters import PropertyFilter, TwinFilter
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import ModelId


class TypedFilters:
    """The `...Where` input types of one set of models; components' paths are joined by two underscores."""

    def __init__(self, base: GraphQLSchema, models: Models, names: Mapping[ModelId, str], taken: set[str]) -> None:
        self._base = base
        self._models = models
        self._names = names
        self._taken = taken
        self._types: dict[ModelId, GraphQLInputObjectType] = {}
        self._predicates: dict[str, GraphQLInputObjectType] = {}

    def input_type(self, id: ModelId) -> GraphQLInputObjectType:
        """The input type of a model: `SpindleWhere`."""
        if id not in self._types:
            name = naming.free(f"{self._names[id]}Where", self._taken)
            self._taken.add(name)
            self._types[id] = GraphQLInputObjectType(name, lambda: self._fields(id), description="All must hold.")
        return self._types[id]

    def _fields(self, id: ModelId) -> dict[str, GraphQLInputField]:
        own = self._types[id]
        fields: dict[str, GraphQLInputField] = {}
        for path, found in self._models.fields(id).items():
            kind = "number" if found.numeric else "text"
            fields[path.replace(".", "__")] = GraphQLInputField(self._predicate(kind, bool(found.unit)))
        for name in ("AND", "OR"):
            fields[naming.free(name, fields)] = GraphQLInputField(GraphQLList(GraphQLNonNull(own)))
        fields[naming.free("NOT", fields)] = GraphQLInputField(own)
        return fields

    def _predicate(self, kind: str, unit: bool) -> GraphQLInputObjectType:
        name = {"number": "NumberWhere", "text": "TextWhere"}[kind]
        if unit:
            name = f"{name}InUnit"
        if name not in self._predicates:
            scalar: Any = GraphQLFloat if kind == "number" else self._base.type_map["JSON"]
            names = ["eq", "ne", "gt", "gte", "lt", "lte"]
            fields = {one: GraphQLInputField(scalar) for one in names}
            fields["in"] = GraphQLInputField(GraphQLList(GraphQLNonNull(scalar)))
            if kind == "text":
                fields |= {one: GraphQLInputField(GraphQLString) for one in ("contains", "startsWith")}
            if unit:
                fields["unit"] = GraphQLInputField(GraphQLString)
            fields["isNull"] = GraphQLInputField(GraphQLBoolean)
            quality = self._base.type_map["Quality"]
            fields["quality"] = GraphQLInputField(GraphQLList(GraphQLNonNull(quality)))
            self._predicates[name] = GraphQLInputObjectType(naming.free(name, self._taken), fields)
        return self._predicates[name]

    def read(self, id: ModelId | None, given: Mapping[str, Any], convert: Callable[..., Any]) -> TwinFilter | None:
        """`filter` and `where` of a field together, as one filter of the generic layer."""
        parts = []
        if given.get("filter") is not None:
            parts.append(convert("filter", given["filter"]))
        if given.get("where") is not None and id is not None:
            parts.append(self._filter(id, given["where"], 0))
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else TwinFilter(and_=parts)

    def _filter(self, id: ModelId, where: Mapping[str, Any], depth: int) -> TwinFilter:
        if depth > 8:
            raise BadRequest("the filter is nested too deeply", remedy="nest at most 8 filters")
        paths = {path.replace(".", "__"): path for path in self._models.fields(id)}
        parts: list[TwinFilter] = []
        for name, value in where.items():
            if value is None:
                continue
            path = paths.get(name)
            if path is not None:
                parts.append(TwinFilter(property=_predicate_of(path, value)))
                continue
            kind = name.rstrip("_")
            if kind == "NOT":
                parts.append(TwinFilter(not_=self._filter(id, value, depth + 1)))
            else:
                inner = [self._filter(id, one, depth + 1) for one in value]
                parts.append(TwinFilter(and_=inner) if kind == "AND" else TwinFilter(or_=inner))
        return TwinFilter(and_=parts)


def _predicate_of(path: str, given: Mapping[str, Any]) -> PropertyFilter:
    named = {"in": "in_", "startsWith": "starts_with", "isNull": "is_null"}
    return PropertyFilter(path=path, **{named.get(name, name): value for name, value in given.items()})
