"""The plan of an operation: source generated once, compiled, and kept with the operation.

Variables in @skip and @include choose among variants of a plan, so that a plan itself has no conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphql import GraphQLError, GraphQLSchema, OperationType, get_argument_values, get_variable_values
from graphql.execution.values import VariableValues

from twinloom.api.compile.answering import Bubble
from twinloom.api.compile.collect import Collector, Unsupported, switches_of
from twinloom.api.compile.columns import global_ids
from twinloom.api.compile.emit import Emitter, Program
from twinloom.api.context import Context
from twinloom.api.documents import Operation
from twinloom.api.errors import RequestRefused, document_errors
from twinloom.api.schema import build

NOTHING = VariableValues({}, {})
VARIANTS = 32
_MISSING = object()


class PlanInfo:
    """What a resolver gets as `info` when no graphql-core is there."""

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context


class Plan:
    """A compiled operation. `run` returns data and formatted errors."""

    def __init__(self, program: Program, name: str) -> None:
        self.source = "\n".join(program.source)
        names = dict(program.names)
        names["G"] = lambda id: global_ids((id,))[0]
        exec(compile(self.source, f"<plan {name}>", "exec"), names)  # noqa: S102  our own source, made from a valid document
        self._make = names["make"]
        self._prologue = program.prologue
        self._paths = frozenset(program.paths)
        self._fits: tuple[Any, bool] = (None, False)

    def fits(self, context: Context) -> bool:
        """False when a path that is read as a column is known to no model: then resolvers must say so."""
        models = context.hot.models
        known, fits = self._fits
        if known is not models:
            fits = all(context.known_path(path) for path in self._paths)
            self._fits = (models, fits)
        return fits

    def run(
        self, context: Context, variables: VariableValues = NOTHING, root: Any = None
    ) -> tuple[Any, list[dict[str, Any]]]:
        """Raises GraphQLError when an argument cannot be coerced; graphql-core then says where."""
        errors: list[dict[str, Any]] = []
        arguments = {
            name: build.converted(definition, get_argument_values(definition, node, variables))
            for name, definition, node in self._prologue
        }
        try:
            return self._make(context, PlanInfo(context), errors, arguments)(root, None), errors
        except Bubble:
            return None, errors


def coerced(schema: GraphQLSchema, operation: Operation, variables: Mapping[str, Any]) -> VariableValues:
    """The variables of a request. Raises RequestRefused for those that do not fit."""
    definitions = operation.node.variable_definitions
    if not definitions:
        return NOTHING
    found = get_variable_values(schema, definitions, dict(variables), max_errors=10)
    if isinstance(found, list):
        raise RequestRefused(document_errors(found, "BAD_USER_INPUT"), 400)
    return found


def of(schema: GraphQLSchema, operation: Operation, variables: VariableValues) -> Plan | None:
    """The plan for these variables, or None when the operation is left to graphql-core."""
    plans = operation.plans
    key: Any = None
    if operation.switches is None:
        operation.switches = switches_of([operation.node, *operation.fragments.values()])
    if operation.switches:
        key = tuple(bool(variables.coerced.get(name)) for name in sorted(operation.switches))
    plan = plans.get(key, _MISSING)
    if plan is _MISSING:
        if len(plans) >= VARIANTS:
            return None
        plan = plans[key] = _made(schema, operation, variables)
    return plan  # type: ignore[no-any-return]


def _made(schema: GraphQLSchema, operation: Operation, variables: VariableValues) -> Plan | None:
    if operation.kind is OperationType.MUTATION:
        return None
    root = schema.get_root_type(operation.kind)
    assert root is not None
    switches = {name: variables.coerced.get(name, False) for name in operation.switches or ()}
    try:
        emitter = Emitter(schema, Collector(schema, operation.fragments, switches))
        return Plan(emitter.operation(root, operation.node.selection_set), operation.name or "")
    except (Unsupported, GraphQLError):
        return None
