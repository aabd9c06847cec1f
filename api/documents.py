"""Documents: parsed, bounded and validated once, then kept by their text."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import NoSchemaIntrospectionCustomRule

from twinloom.api.cost import Costing
from twinloom.api.errors import RequestRefused, document_errors, refusal_of, refuse
from twinloom.api.guard import check_document
from twinloom.api.limits import Limits
from twinloom.twin.errors import TwinloomError


class Operation:
    """One operation of a valid document, with what was worked out about it."""

    __slots__ = ("costing", "digest", "document", "fragments", "kind", "name", "node", "plans", "switches", "waits")

    def __init__(
        self, document: DocumentNode, node: OperationDefinitionNode, schema: GraphQLSchema, limits: Limits, digest: str
    ) -> None:
        self.document = document
        self.node = node
        self.kind = node.operation
        self.name = node.name.value if node.name else None
        self.digest = digest
        self.fragments: dict[str, FragmentDefinitionNode] = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self.costing = Costing(schema, node, self.fragments, limits)
        self.waits = any(
            isinstance(field, FieldNode) and any(argument.name.value == "minSeq" for argument in field.arguments or ())
            for field in node.selection_set.selections
        )
        self.plans: dict[Any, Any] = {}
        self.switches: frozenset[str] | None = None


class Documents:
    """The documents that this schema has seen, the longest unused forgotten first."""

    def __init__(self, schema: GraphQLSchema, limits: Limits, *, introspection: bool, capacity: int = 1_000) -> None:
        self._schema = schema
        self._limits = limits
        self._introspection = introspection
        self._capacity = capacity
        self._rules = list(specified_rules) if introspection else [*specified_rules, NoSchemaIntrospectionCustomRule]
        self._known: OrderedDict[str, dict[str | None, Operation]] = OrderedDict()

    def operation(self, text: str, name: str | None) -> Operation:
        """The operation `name` of a document (the only one, for None). Raises RequestRefused for what cannot be run."""
        operations = self._known.get(text)
        if operations is None:
            operations = self._read(text)
            self._known[text] = operations
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(text)
        found = operations.get(name)
        if found is not None:
            return found
        if name is None or name == "":
            if len(operations) == 1:
                return next(iter(operations.values()))
            raise refuse(
                "the document has several operations", "OPERATION_RESOLUTION_FAILURE", 400, remedy="give operationName"
            )
        raise refuse(
            f"the document has no operation {name[:80]!r}",
            "OPERATION_RESOLUTION_FAILURE",
            400,
            remedy="check operationName",
        )

    def _read(self, text: str) -> dict[str | None, Operation]:
        limits = self._limits
        if len(text) > limits.document_chars:
            raise refuse(
                f"the document has more than {limits.document_chars} characters",
                "LIMIT_EXCEEDED",
                400,
                remedy="send a shorter one",
            )
        if tokens_of(text, limits.tokens) > limits.tokens:
            raise refuse(
                f"the document has more than {limits.tokens} tokens", "LIMIT_EXCEEDED", 400, remedy="send a shorter one"
            )
        try:
            document = parse(text, max_tokens=limits.tokens)
        except GraphQLSyntaxError as error:
            if "tokens" in error.message and "Parsing aborted" in error.message:
                raise refuse(
                    f"the document has more than {limits.tokens} tokens",
                    "LIMIT_EXCEEDED",
                    400,
                    remedy="send a shorter one",
                ) from None
            raise RequestRefused(document_errors([error], "GRAPHQL_PARSE_FAILED"), 400) from None
        except (RecursionError, ValueError, UnicodeError):
            raise refuse("the document is nested too deeply", "LIMIT_EXCEEDED", 400, remedy="split it") from None
        try:
            check_document(document, limits, introspection=self._introspection)
            if any(_long_number(token) for token in _numbers(document)):
                raise refuse(
                    "a number has more than 400 digits", "GRAPHQL_PARSE_FAILED", 400, remedy="send a shorter one"
                )
            errors = validate(self._schema, document, self._rules, max_errors=20)
        except TwinloomError as error:
            raise refusal_of(error) from None
        except RecursionError:
            raise refuse("the document is nested too deeply", "LIMIT_EXCEEDED", 400, remedy="split it") from None
        if errors:
            raise RequestRefused(document_errors(errors, "GRAPHQL_VALIDATION_FAILED"), 400)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        found: dict[str | None, Operation] = {}
        try:
            for node in document.definitions:
                if isinstance(node, OperationDefinitionNode):
                    operation = Operation(document, node, self._schema, limits, digest)
                    found[operation.name] = operation
        except TwinloomError as error:
            raise refusal_of(error) from None
        except GraphQLError as error:
            raise RequestRefused(document_errors([error], "GRAPHQL_VALIDATION_FAILED"), 400) from None
        if not found:
            raise refuse("the document has no operation", "GRAPHQL_VALIDATION_FAILED", 400, remedy="add a query")
        return found


_TOKEN = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|\#[^\n]*|[A-Za-z_0-9.+-]+|[^\s,]', re.DOTALL)


def tokens_of(text: str, enough: int) -> int:
    """About how many tokens a document has, comments included: a check that costs a tenth of parsing it.

    >>> tokens_of("{ a(b: 1) }", 3)
    8
    """
    if len(text) <= enough:
        return 0
    return len(_TOKEN.findall(text))


def _numbers(document: DocumentNode) -> list[str]:
    """The number literals of a document."""
    found: list[str] = []
    location = document.loc
    token = location.start_token if location else None
    while token is not None:
        if token.kind.value in ("Int", "Float") and token.value:
            found.append(token.value)
        token = token.next
    return found


def _long_number(text: str) -> bool:
    return len(text) > min(400, sys.get_int_max_str_digits() or 400)


def is_mutation(operation: Operation) -> bool:
    return operation.kind is OperationType.MUTATION


def is_subscription(operation: Operation) -> bool:
    return operation.kind is OperationType.SUBSCRIPTION


def variables_of(given: Any) -> Mapping[str, Any]:
    """The variables of a request. Raises RequestRefused when they are no object."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise refuse("`variables` must be an object", "BAD_REQUEST", 400, remedy='send {"variables": {...}}')
    return given
