"""Static cost: how many fields an operation can answer at most, before it is executed.

Every field counts 1, times the sizes of the lists that it stands in: `first` (a literal, a variable or the default)
for connections and histories, the length of `ids` or `paths`, else an assumed ten. Page caps are checked on the way, so
that `first: 2147483647` is refused before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_interface_type,
    is_list_type,
    is_object_type,
)

from twinloom.api.errors import CostLimit
from twinloom.api.limits import Limits
from twinloom.twin.errors import BadRequest, LimitExceeded

ASSUMED_LIST = 10
SMALL_CONNECTIONS = frozenset({"AlertConnection", "WorkOrderConnection", "ModelConnection", "RelationshipConnection"})


@dataclass(slots=True)
class Size:
    """Where the size of a list comes from: a number, or a variable; and the cap on it."""

    number: int
    variable: str = ""
    cap: int = 0

    def read(self, variables: Mapping[str, Any]) -> int:
        size = self.number
        if self.variable:
            given = variables.get(self.variable)
            if isinstance(given, list):
                return len(given)
            if isinstance(given, int) and not isinstance(given, bool):
                size = given
        if size < 0:
            raise BadRequest(f"first: {size} is negative", remedy=f"give 0 to {self.cap}")
        if self.cap and size > self.cap:
            raise LimitExceeded(
                f"first: {size} is above {self.cap}", remedy=f"ask for at most {self.cap}, and page on with `after`"
            )
        return size


@dataclass(slots=True)
class Node:
    """One field: what its selection costs, how often each."""

    size: Size | None = None
    inner: list[Node] = field(default_factory=list)
    per_item: list[Node] = field(default_factory=list)

    def cost(self, variables: Mapping[str, Any]) -> int:
        total = 1
        for node in self.inner:
            total += node.cost(variables)
        if self.size is not None:
            size = self.size.read(variables)
            if self.per_item:
                total += size * sum(node.cost(variables) for node in self.per_item)
        return total

    @property
    def varies(self) -> bool:
        return (self.size is not None and bool(self.size.variable)) or any(
            node.varies for node in (*self.inner, *self.per_item)
        )


class Costing:
    """The cost of one operation; worked out once unless a page size is a variable."""

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._schema = schema
        self._fragments = fragments
        self._nodes = self._walk(operation.selection_set, schema.get_root_type(operation.operation))
        self._defaults = {
            definition.variable.name.value: int(definition.default_value.value)
            for definition in operation.variable_definitions or ()
            if isinstance(definition.default_value, IntValueNode)
        }
        self._fixed = None if any(node.varies for node in self._nodes) else self._cost({})

    def check(self, variables: Mapping[str, Any]) -> int:
        """The cost. Raises CostLimit above the limit, LimitExceeded above a page cap."""
        cost = self._fixed
        if cost is None:
            cost = self._cost({**self._defaults, **variables})
        if cost > self._limits.cost:
            raise CostLimit(
                f"the operation costs {cost}, more than {self._limits.cost}",
                remedy="ask for smaller pages or fewer fields; the cost is the number of fields that can be answered",
            )
        return cost

    def _cost(self, variables: Mapping[str, Any]) -> int:
        return sum(node.cost(variables) for node in self._nodes)

    def _walk(self, selections: SelectionSetNode | None, type_: Any) -> list[Node]:
        nodes: list[Node] = []
        for selection in selections.selections if selections is not None else ():
            if isinstance(selection, FieldNode):
                definition = type_.fields.get(selection.name.value) if hasattr(type_, "fields") else None
                nodes.append(Node() if definition is None else self._node(selection, definition))
            elif isinstance(selection, FragmentSpreadNode):
                fragment = self._fragments[selection.name.value]
                nodes.extend(
                    self._walk(fragment.selection_set, self._narrow(fragment.type_condition.name.value, type_))
                )
            elif isinstance(selection, InlineFragmentNode):
                name = selection.type_condition.name.value if selection.type_condition else ""
                nodes.extend(self._walk(selection.selection_set, self._narrow(name, type_)))
        return nodes

    def _narrow(self, name: str, type_: Any) -> Any:
        found = self._schema.get_type(name) if name else None
        return found if is_object_type(found) or is_interface_type(found) else type_

    def _node(self, node: FieldNode, definition: GraphQLField) -> Node:
        named = get_named_type(definition.type)
        children = self._walk(node.selection_set, named)
        made = Node(self._size(node, definition, named.name))
        if made.size is None:
            made.inner = children
        elif is_list_type(get_nullable_type(definition.type)):
            made.per_item = children
        else:
            for child, name in zip(children, self._names(node.selection_set), strict=False):
                (made.per_item if name in ("nodes", "edges", "points", "buckets") else made.inner).append(child)
        return made

    def _names(self, selections: SelectionSetNode | None) -> list[str]:
        """Field names in the order in which `_walk` makes their nodes."""
        names: list[str] = []
        for selection in selections.selections if selections is not None else ():
            if isinstance(selection, FieldNode):
                names.append(selection.name.value)
            elif isinstance(selection, FragmentSpreadNode):
                names.extend(self._names(self._fragments[selection.name.value].selection_set))
            elif isinstance(selection, InlineFragmentNode):
                names.extend(self._names(selection.selection_set))
        return names

    def _size(self, node: FieldNode, definition: GraphQLField, type_name: str) -> Size | None:
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        if "first" in definition.args:
            if type_name == "History":
                cap = self._limits.history_points
                return _sized(given.get("first"), cap, cap)
            cap = self._limits.page if type_name in SMALL_CONNECTIONS else self._limits.twins_page
            return _sized(given.get("first"), 25, cap)
        if not is_list_type(get_nullable_type(definition.type)) or type_name in ("Edge",) or type_name.endswith("Edge"):
            return None
        if node.name.value == "nodes" and "ids" not in definition.args:
            return None
        if node.name.value in ("points", "buckets"):
            return None
        for name in ("ids", "paths"):
            if name in given:
                return _sized(given[name], ASSUMED_LIST, 0)
        return Size(ASSUMED_LIST)


def _sized(value: ValueNode | None, default: int, cap: int) -> Size:
    if value is None or isinstance(value, NullValueNode):
        return Size(default, "", cap)
    if isinstance(value, VariableNode):
        return Size(default, value.name.value, cap)
    if isinstance(value, IntValueNode):
        return Size(int(value.value), "", cap)
    if isinstance(value, ListValueNode):
        return Size(len(value.values), "", cap)
    return Size(default, "", cap)
