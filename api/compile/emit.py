"""Writes the Python source of a plan: one function for each selection set and object type.

A field of a twin that is a plain column (`COLUMNS`) is read for all rows at once; every other field is a call of the
same resolver that graphql-core would call, with arguments that were coerced once. Nullability, error paths and the
bubbling of nulls follow the specification (6.4.4): a null where none may be raises `Bubble` up to the next nullable
field; the error itself was recorded where it happened.

One class of more than 400 lines: fields, lists, connections and selections are written by methods that call each other
in every direction.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    SelectionSetNode,
    VariableNode,
    get_argument_values,
)
from graphql.execution.values import VariableValues

from twinloom.api.compile.answering import Bubble, finite, record, struct_of, text_or_none
from twinloom.api.compile.collect import Collector, Unsupported
from twinloom.api.compile.columns import Columns
from twinloom.api.schema import build
from twinloom.api.schema.scalars import iso

COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("c.global_ids()", "G(t.twin_id)"),
    "dtId": ("c.ids()", "t.twin_id"),
    "modelId": ("c.models()", "hot.model_of(t.row)"),
    "name": ("c.names()", "text(hot.value(t.row, 'name'))"),
    "etag": ("c.etags()", "hot.etag(t.row)"),
    "seq": ("c.seqs()", "hot.twin_seq(t.row)"),
    "createdAt": ("c.created()", "iso(hot.created_ns(t.row))"),
    "updatedAt": ("c.updated()", "iso(hot.updated_ns(t.row))"),
    "stale": ("c.stale()", "(ctx.stale_since(t.twin_id) is not None)"),
    "staleSince": ("c.stale_since()", "since(ctx.stale_since(t.twin_id))"),
}
"""Fields of a twin without arguments: the expression for all rows (`c`), and for one (`t`)."""

PLAIN = frozenset({"String", "ID", "Boolean", "Int", "Long", "JSON"})
"""Scalars that resolvers already return as JSON has them."""


@dataclass(slots=True)
class Program:
    """The source, what it refers to, and which paths of values it reads unasked (they must be known)."""

    source: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    prologue: list[tuple[str, GraphQLField, FieldNode]] = field(default_factory=list)
    path_arguments: list[tuple[str, str]] = field(default_factory=list)


class Emitter:
    """Writes one program."""

    def __init__(self, schema: GraphQLSchema, collector: Collector) -> None:
        self._schema = schema
        self._collector = collector
        self.program = Program()
        self._count = 0
        self._done: dict[tuple[Any, ...], str] = {}
        self._building: set[tuple[Any, ...]] = set()
        self.program.names.update(
            Bubble=Bubble,
            Columns=Columns,
            record=record,
            iso=iso,
            finite=finite,
            text=text_or_none,
            since=lambda value: None if value is None else iso(value),
            GraphQLError=GraphQLError,
        )

    def operation(self, type_: GraphQLObjectType, selections: SelectionSetNode) -> Program:
        """The program of an operation: a function `make(ctx, info, errors, args)` that returns the root's function."""
        root = self._one(type_, [selections])
        lines = ["def make(ctx, info, errors, args):", "    hot = ctx.hot"]
        lines += ["    " + line for line in self.program.source]
        lines.append(f"    return {root}")
        self.program.source = lines
        return self.program

    # ---- names -----------------------------------------------------------------------------------------------------

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _constant(self, value: Any, prefix: str = "k") -> str:
        name = self._name(prefix)
        self.program.names[name] = value
        return name

    # ---- selections ------------------------------------------------------------------------------------------------

    def _one(self, type_: GraphQLObjectType, selections: list[SelectionSetNode]) -> str:
        """The function `(t, path) -> dict` of one object."""
        key = ("one", type_.name, tuple(map(id, selections)))
        if key not in self._done:
            self._done[key] = name = self._name("one")
            twin = is_twin(type_)
            body, entries = self._body(type_, selections, columns={} if twin else None)
            self._function(name, "t, path", [*body, f"return {{{', '.join(entries)}}}"])
        return self._done[key]

    def _many(self, type_: GraphQLObjectType, selections: list[SelectionSetNode]) -> str:
        """The function `(rows, path) -> list` of the twins at some rows."""
        key = ("many", type_.name, tuple(map(id, selections)))
        if key in self._done:
            return self._done[key]
        self._done[key] = name = self._name("many")
        columns: dict[str, str] = {}
        tables: dict[str, str] = {}
        body, entries = self._body(type_, selections, columns, many=True, tables=tables)
        lines = ["if not rows:", "    return []", "c = Columns(ctx, rows)"]
        if tables:
            paths = tuple(dict.fromkeys(tables.values()))
            read = {path: self._name("p") for path in paths}
            lines.append(f"{', '.join(read.values())}, = c.table({paths!r})")
            columns.update({variable: read[path] for variable, path in tables.items()})
        order = [entry.partition(": ")[2] for entry in entries]
        if not body and columns and all(variable in columns for variable in order):
            keys = [ast.literal_eval(entry.partition(": ")[0]) for entry in entries]
            shape = self._constant(struct_of(keys), "Shape")
            lines.append(f"return list(map({shape}, {', '.join(columns[variable] for variable in order)}))")
            self._function(name, "rows, outer, under=None", lines)
            return name
        if body:
            handle = self._constant(twin_class(), "Twin")
            lines.append("ids = c.ids()")
            names, lists = ["row", "id"], ["rows", "ids"]
        else:
            names, lists = [], []
        for variable, expression in columns.items():
            names.append(variable)
            lists.append(expression)
        if not names:
            names, lists = ["row"], ["rows"]
        if not body:
            target = names[0] if len(names) == 1 else ", ".join(names)
            source = lists[0] if len(lists) == 1 else f"zip({', '.join(lists)})"
            lines.append(f"return [{{{', '.join(entries)}}} for {target} in {source}]")
        else:
            lines += [
                "out = []",
                "n = 0",
                f"for {', '.join(names)} in zip({', '.join(lists)}):",
                f"    t = {handle}(row=row, twin_id=id)",
                "    path = (outer, n) if under is None else ((outer, n), under)",
                "    n += 1",
                *("    " + line for line in body),
                f"    out.append({{{', '.join(entries)}}})",
                "return out",
            ]
        self._function(name, "rows, outer, under=None", lines)
        return name

    def _function(self, name: str, parameters: str, lines: list[str]) -> None:
        self.program.source += [f"def {name}({parameters}):", *("    " + line for line in lines)]

    def _body(
        self,
        type_: GraphQLObjectType,
        selections: list[SelectionSetNode],
        columns: dict[str, str] | None,
        *,
        many: bool = False,
        tables: dict[str, str] | None = None,
    ) -> tuple[list[str], list[str]]:
        """Statements, and the entries of the dict. `columns` takes the columns that a loop over rows needs."""
        lines: list[str] = []
        entries: list[str] = []
        for key, nodes in self._collector.fields(type_, selections).items():
            name = nodes[0].name.value
            if name == "__typename":
                entries.append(f"{key!r}: {type_.name!r}")
                continue
            if name.startswith("__"):
                raise Unsupported(name)
            definition = type_.fields[name]
            if columns is not None:
                expressions = self._column(definition, nodes[0])
                if expressions is not None:
                    if many:
                        variable = self._name("v")
                        if tables is not None and expressions[2]:
                            tables[variable] = expressions[2]
                        else:
                            columns[variable] = expressions[0]
                        entries.append(f"{key!r}: {variable}")
                    else:
                        entries.append(f"{key!r}: {expressions[1]}")
                    continue
            variable = self._name("f")
            lines += self._field(type_, definition, key, nodes, variable)
            entries.append(f"{key!r}: {variable}")
        return lines, entries

    def _column(self, definition: GraphQLField, node: FieldNode) -> tuple[str, str, str] | None:
        """How to read a twin's field without a call: for all rows, for one; and the path of a value."""
        column = definition.extensions.get("column")
        if column is None:
            return None
        kind, fixed = column
        if kind == "value":
            if fixed is not None and not is_plain_column(definition.type):
                return None
            path = fixed
            for argument in node.arguments or ():
                if argument.name.value == "path" and not isinstance(argument.value, VariableNode):
                    path = argument.value.value  # type: ignore[attr-defined]
                else:
                    return None
            if not isinstance(path, str):
                return None
            self.program.paths.add(path)
            return f"c.value({path!r})", f"hot.value(t.row, {path!r})", path
        if node.arguments:
            return None
        return (*COLUMNS[kind], "")

    # ---- fields ----------------------------------------------------------------------------------------------------

    def _field(
        self, parent: GraphQLObjectType, definition: GraphQLField, key: str, nodes: list[FieldNode], variable: str
    ) -> list[str]:
        """Statements that leave the completed value of a field in `variable`."""
        if build.is_async(definition) and not definition.extensions.get("root_event"):
            raise Unsupported(f"{parent.name}.{nodes[0].name.value} is awaited")
        nodes_name = self._constant(nodes, "N")
        path = f"(path, {key!r})"
        nullable = not isinstance(definition.type, GraphQLNonNull)
        raw = self._name("r")
        inner = [f"{raw} = {self._call(definition, nodes[0])}"]
        selections = [node.selection_set for node in nodes if node.selection_set is not None]
        where = f"{parent.name}.{nodes[0].name.value}"
        inner += self._complete(definition.type, selections, raw, variable, path, where)
        lines = ["try:", *("    " + line for line in inner)]
        if nullable:
            lines += ["except Bubble:", f"    {variable} = None"]
            lines += [
                "except Exception as e:",
                f"    record(errors, e, {nodes_name}, {path})",
                f"    {variable} = None",
            ]
        else:
            lines += ["except Bubble:", "    raise"]
            lines += [
                "except Exception as e:",
                f"    record(errors, e, {nodes_name}, {path})",
                "    raise Bubble from None",
            ]
        self._current_nodes = nodes_name
        return [line.replace("@NODES@", nodes_name) for line in lines]

    def _call(self, definition: GraphQLField, node: FieldNode) -> str:
        """The expression that calls the resolver."""
        if definition.extensions.get("root_event"):
            return "t"
        attribute = definition.extensions.get("attribute")
        if attribute is not None:
            return f"t.{attribute}"
        function, wants_info = build.raw_resolver(definition)
        resolver = self._constant(function, "R")
        parameters = "t, info" if wants_info else "t"
        if not definition.args:
            return f"{resolver}({parameters})"
        if _uses_variables(node):
            name = self._name("a")
            self.program.prologue.append((name, definition, node))
            return f"{resolver}({parameters}, **args[{name!r}])"
        try:
            given = get_argument_values(definition, node, VariableValues({}, {}))
        except GraphQLError as error:
            raise Unsupported(str(error)) from error
        arguments = self._constant(build.converted(definition, given), "A")
        return f"{resolver}({parameters}, **{arguments})"

    # ---- completion ------------------------------------------------------------------------------------------------

    def _complete(
        self, type_: Any, selections: list[SelectionSetNode], raw: str, variable: str, path: str, where: str
    ) -> list[str]:
        """Statements that turn `raw` into the answer in `variable`; they may raise."""
        if isinstance(type_, GraphQLNonNull):
            lines = self._value(type_.of_type, selections, raw, variable, path, where)
            message = f"Cannot return null for non-nullable field {where}."
            return [f"if {raw} is None:", f"    raise GraphQLError({message!r})", *lines]
        lines = self._value(type_, selections, raw, variable, path, where)
        return [f"if {raw} is None:", f"    {variable} = None", "else:", *("    " + line for line in lines)]

    def _value(
        self, type_: Any, selections: list[SelectionSetNode], raw: str, variable: str, path: str, where: str
    ) -> list[str]:
        """As `_complete`, for a value that is not None."""
        if isinstance(type_, GraphQLScalarType | GraphQLEnumType):
            return [f"{variable} = {self._leaf(type_, raw)}"]
        if isinstance(type_, GraphQLList):
            return self._list(type_.of_type, selections, raw, variable, path, where)
        if isinstance(type_, GraphQLObjectType):
            if type_.extensions.get("connection"):
                return self._connection(type_, selections, raw, variable, path)
            return [f"{variable} = {self._one(type_, selections)}({raw}, {path})"]
        if isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
            return [f"{variable} = {self._abstract(type_, selections)}({raw}, {path})"]
        raise Unsupported(str(type_))

    def _leaf(self, type_: GraphQLScalarType | GraphQLEnumType, raw: str) -> str:
        if isinstance(type_, GraphQLEnumType):
            if type_.extensions.get(build.BACKREF):
                return f"{raw}.name"
            return f"{self._constant(type_.serialize, 'S')}({raw})"
        if type_.name in PLAIN:
            return raw
        if type_.name == "DateTime":
            return f"iso({raw})"
        if type_.name == "Float":
            return f"finite({raw})"
        return f"{self._constant(type_.serialize, 'S')}({raw})"

    def _list(
        self, type_: Any, selections: list[SelectionSetNode], raw: str, variable: str, path: str, where: str
    ) -> list[str]:
        required = isinstance(type_, GraphQLNonNull)
        named = type_.of_type if required else type_
        if required and isinstance(named, GraphQLScalarType) and named.name in PLAIN:
            return [f"{variable} = list({raw})"]
        item, result, at = self._name("i"), self._name("o"), self._name("n")
        inner = self._complete(type_, selections, item, result, f"({path}, {at})", where)
        lines = [f"{variable} = []", f"{at} = 0", f"for {item} in {raw}:", "    try:"]
        lines += ["        " + line for line in inner]
        record_line = f"record(errors, e, @NODES@, ({path}, {at}))"
        lines += ["    except Bubble:", "        raise" if required else f"        {result} = None"]
        lines += ["    except Exception as e:", f"        {record_line}"]
        lines += ["        raise Bubble from None" if required else f"        {result} = None"]
        lines += [f"    {variable}.append({result})", f"    {at} += 1"]
        return lines

    def _abstract(self, type_: Any, selections: list[SelectionSetNode]) -> str:
        """The function that looks at the object and goes on with the selection of its type."""
        key = ("abstract", type_.name, tuple(map(id, selections)))
        if key not in self._done:
            self._done[key] = name = self._name("any")
            cases = {
                possible.name: self._one(possible, selections) for possible in self._schema.get_possible_types(type_)
            }
            which = self._constant(type_.extensions.get("typename") or type_name, "W")
            table = "{" + ", ".join(f"{case!r}: {function}" for case, function in cases.items()) + "}"
            self._function(name, "t, path", [f"return {name}_cases[{which}(t, ctx)](t, path)"])
            self.program.source.append(f"{name}_cases = {table}")
        return self._done[key]

    def _connection(
        self, type_: GraphQLObjectType, selections: list[SelectionSetNode], raw: str, variable: str, path: str
    ) -> list[str]:
        """A connection: pages of twins are answered from their rows, other pages as any object."""
        node_type = type_.fields["nodes"].type.of_type.of_type.of_type
        generic = self._one(type_, selections)
        if not isinstance(node_type, GraphQLObjectType) or not is_twin(node_type):
            return [f"{variable} = {generic}({raw}, {path})"]
        return [f"{variable} = {self._twin_connection(type_, node_type, selections)}({raw}.page, {path})"]

    def _twin_connection(
        self, type_: GraphQLObjectType, node_type: GraphQLObjectType, selections: list[SelectionSetNode]
    ) -> str:
        key = ("page", type_.name, tuple(map(id, selections)))
        if key in self._done:
            return self._done[key]
        self._done[key] = name = self._name("page")
        lines: list[str] = []
        entries: list[str] = []
        for response_key, nodes in self._collector.fields(type_, selections).items():
            field_name = nodes[0].name.value
            inner = [node.selection_set for node in nodes if node.selection_set is not None]
            variable = self._name("f")
            path = f"(path, {response_key!r})"
            if field_name == "__typename":
                entries.append(f"{response_key!r}: {type_.name!r}")
                continue
            if field_name == "nodes":
                lines.append(f"{variable} = {self._many(node_type, inner)}(page.keys, {path})")
            elif field_name == "edges":
                lines += self._edges(type_, node_type, inner, variable, path)
            elif field_name == "totalCount":
                lines.append(f"{variable} = page.total()")
            else:
                lines += self._page_info(type_, inner, variable, path)
            entries.append(f"{response_key!r}: {variable}")
        self._function(name, "page, path", [*lines, f"return {{{', '.join(entries)}}}"])
        return name

    def _edges(
        self,
        type_: GraphQLObjectType,
        node_type: GraphQLObjectType,
        selections: list[SelectionSetNode],
        variable: str,
        path: str,
    ) -> list[str]:
        edge_type = type_.fields["edges"].type.of_type.of_type.of_type
        wanted = self._collector.fields(edge_type, selections)
        lines = ["keys = page.keys"]
        parts: list[tuple[str, str]] = []
        entries: list[str] = []
        for response_key, nodes in wanted.items():
            field_name = nodes[0].name.value
            if field_name == "__typename":
                entries.append(f"{response_key!r}: {edge_type.name!r}")
                continue
            name = self._name("e")
            if field_name == "cursor":
                parts.append((name, "[page.cursor(k) for k in keys]"))
            else:
                inner = [node.selection_set for node in nodes if node.selection_set is not None]
                many = self._many(node_type, inner)
                parts.append((name, f"{many}(keys, {path}, {response_key!r})"))
            entries.append(f"{response_key!r}: {name}")
        if not parts:
            parts = [(self._name("e"), "keys")]
        target = ", ".join(name for name, _ in parts)
        source = parts[0][1] if len(parts) == 1 else f"zip({', '.join(source for _, source in parts)})"
        lines.append(f"{variable} = [{{{', '.join(entries)}}} for {target} in {source}]")
        return lines

    def _page_info(
        self, type_: GraphQLObjectType, selections: list[SelectionSetNode], variable: str, path: str
    ) -> list[str]:
        info_type = type_.fields["pageInfo"].type.of_type
        expressions = {
            "hasNextPage": "page.has_next",
            "hasPreviousPage": "page.has_previous",
            "startCursor": "(page.cursor(page.keys[0]) if page.keys else None)",
            "endCursor": "(page.cursor(page.keys[-1]) if page.keys else None)",
            "__typename": repr(info_type.name),
        }
        entries = [
            f"{key!r}: {expressions[nodes[0].name.value]}"
            for key, nodes in self._collector.fields(info_type, selections).items()
        ]
        return [f"{variable} = {{{', '.join(entries)}}}"]


def is_twin(type_: GraphQLObjectType) -> bool:
    """True for the generic twin and for the types generated from models."""
    return bool(type_.extensions.get("twin"))


def type_name(value: Any, context: Any) -> str:
    """The GraphQL type of an object of the generic layer."""
    return type(value).__strawberry_definition__.name  # type: ignore[no-any-return]


def is_plain_column(type_: Any) -> bool:
    """True for types whose stored values are answers already: the models guard what the hot graph keeps."""
    return isinstance(type_, GraphQLScalarType) and type_.name in (*PLAIN, "Float")


def twin_class() -> Any:
    """The class of twin handles; the schema's modules are loaded by then."""
    from twinloom.api.schema.twins import Twin

    return Twin


def _uses_variables(node: FieldNode) -> bool:
    return any(True for argument in node.arguments or () for _ in _variables(argument.value))


def _variables(value: Any) -> Iterator[str]:
    if isinstance(value, VariableNode):
        yield value.name.value
    for inner in getattr(value, "values", None) or ():
        yield from _variables(inner)
    for entry in getattr(value, "fields", None) or ():
        yield from _variables(entry.value)
