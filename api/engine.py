"""Runs operations: compiled where that can be, else by graphql-core; both give the same answer.

The engine holds the schema of the moment. When models change, a new schema is built beside it and put in its place at
once, with caches of its own; what runs already finishes on the old one.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, OperationType, execute, get_variable_values

from twinloom.api.compile import plan
from twinloom.api.context import Context
from twinloom.api.documents import Documents, Operation
from twinloom.api.errors import RequestRefused, Stale, document_errors, field_error, masked, refusal_of, refuse
from twinloom.api.schema import build
from twinloom.api.services import Services
from twinloom.api.tokens import Principal
from twinloom.runtime.feed import LogGap
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import TwinloomError

encode = msgspec.json.Encoder(enc_hook=str).encode
"""Of the encoders that know structs the fastest; NaN and infinities become null, as with orjson."""


@dataclass(frozen=True)
class Edition:
    """A schema with everything that was worked out about it. `number` grows with each edition."""

    number: int
    models: Models
    schema: GraphQLSchema
    documents: Documents

    @cached_property
    def sdl(self) -> str:
        return build.sdl(self.schema)

    @cached_property
    def digest(self) -> str:
        return build.digest_of(self.sdl)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: JSON, the HTTP status, headers."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] | None = None


class Engine:
    """All on the event-loop thread."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.limits = services.limits
        self._edition = self._edit(1)
        self.running = 0
        self.compiles = True

    @property
    def edition(self) -> Edition:
        """The edition for the models of the moment: a new one once they have changed."""
        edition = self._edition
        if edition.models is not self.services.service.hot.models:
            edition = self._edition = self._edit(edition.number + 1)
        return edition

    def _edit(self, number: int) -> Edition:
        models = self.services.service.hot.models
        schema = build.schema_for(models)
        documents = Documents(
            schema,
            self.limits,
            introspection=self.services.development,
            capacity=self.limits.persisted_documents,
        )
        return Edition(number, models, schema, documents)

    def context(self, principal: Principal) -> Context:
        return Context(self.services, principal, self.edition)

    async def run(
        self,
        text: str,
        variables: Mapping[str, Any],
        operation_name: str | None,
        principal: Principal,
        *,
        mutations: bool = True,
    ) -> bytes:
        """The JSON of an answer. Raises RequestRefused for whatever is not executed."""
        edition = self.edition
        operation = edition.documents.operation(text, operation_name)
        if operation.kind is not OperationType.QUERY:
            if operation.kind is OperationType.SUBSCRIPTION:
                raise refuse(
                    "a subscription needs a WebSocket or an event stream",
                    "BAD_REQUEST",
                    400,
                    remedy="use graphql-transport-ws, or Accept: text/event-stream",
                )
            if not mutations:
                raise refuse(
                    "a mutation needs POST", "METHOD_NOT_ALLOWED", 405, remedy="use POST", headers={"Allow": "POST"}
                )
        return await self.execute(edition, operation, variables, principal)

    async def execute(
        self, edition: Edition, operation: Operation, variables: Mapping[str, Any], principal: Principal
    ) -> bytes:
        """Executes a query or mutation of an edition."""
        try:
            principal.require("read")
            cost = operation.costing.check(variables)
        except TwinloomError as error:
            raise refusal_of(error) from None
        context = Context(self.services, principal, edition)
        if operation.waits:
            await self._reach(edition, operation, variables, context)
        values = plan.coerced(edition.schema, operation, variables)
        compiled = plan.of(edition.schema, operation, values) if self.compiles else None
        data, errors = None, None
        if compiled is not None and compiled.fits(context):
            try:
                data, errors = compiled.run(context, values)
            except GraphQLError:
                errors = None  # an argument that cannot be coerced: graphql-core says where
        if errors is None:
            data, errors = await self._by_graphql_core(edition, operation, variables, context)
        extensions = {"seq": context.hot.seq, "cost": {"requested": cost, "limit": self.limits.cost}}
        if errors:
            return encode({"errors": errors[: self.limits.errors], "data": data, "extensions": extensions})
        return encode({"data": data, "extensions": extensions})

    async def _by_graphql_core(
        self, edition: Edition, operation: Operation, variables: Mapping[str, Any], context: Context
    ) -> tuple[Any, list[dict[str, Any]]]:
        if self.running >= self.limits.concurrent_operations:
            raise refuse(
                f"more than {self.limits.concurrent_operations} operations at once",
                "RATE_LIMITED",
                429,
                remedy="wait, then send again",
                headers={"Retry-After": "1"},
                retryAfterMs=1000,
            )
        self.running += 1
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                result = execute(
                    edition.schema,
                    operation.document,
                    context_value=context,
                    variable_values=dict(variables),
                    operation_name=operation.name,
                )
                if inspect.isawaitable(result):
                    result = await result
        except TimeoutError:
            raise refuse(
                f"the operation took longer than {self.limits.timeout_s:g} s", "TIMEOUT", 503, remedy="ask for less"
            ) from None
        finally:
            self.running -= 1
        assert isinstance(result, ExecutionResult)
        errors = result.errors or []
        if result.data is None and errors and all(error.path is None for error in errors):
            raise RequestRefused(document_errors(errors, "BAD_USER_INPUT"), 400)
        return result.data, [field_error(error) for error in errors]

    def event(
        self,
        edition: Edition,
        operation: Operation,
        variables: Mapping[str, Any],
        principal: Principal,
        field: str,
        event: Any,
    ) -> tuple[Any, list[dict[str, Any]]]:
        """Data and errors of one event of a subscription; an execution of its own each time."""
        context = Context(self.services, principal, edition)
        values = plan.coerced(edition.schema, operation, variables)
        compiled = plan.of(edition.schema, operation, values) if self.compiles else None
        if compiled is not None and compiled.fits(context):
            return compiled.run(context, values, event)
        result = execute(
            edition.schema,
            operation.document,
            root_value=event,
            context_value=context,
            variable_values=dict(variables),
            operation_name=operation.name,
        )
        if not isinstance(result, ExecutionResult):
            raise TypeError(f"{field} was not answered at once")
        return result.data, [field_error(error) for error in result.errors or []]

    async def _reach(
        self, edition: Edition, operation: Operation, variables: Mapping[str, Any], context: Context
    ) -> None:
        """Waits until every `minSeq` of the operation is reached. Raises RequestRefused when that takes too long."""
        coerced = get_variable_values(edition.schema, operation.node.variable_definitions or (), dict(variables))
        if isinstance(coerced, list):
            return  # reported by the execution
        wanted = 0
        for field in operation.node.selection_set.selections:
            for argument in getattr(field, "arguments", None) or ():
                if argument.name.value == "minSeq":
                    value = getattr(argument.value, "value", None)
                    if value is None:
                        name = getattr(getattr(argument.value, "name", None), "value", "")
                        value = coerced.coerced.get(name)
                    wanted = max(wanted, int(value or 0))
        if wanted > context.hot.seq:
            await self.reach(wanted, context)

    async def reach(self, seq: int, context: Context) -> None:
        """Waits until the hot graph has reached `seq`."""
        feed = context.service.feed
        try:
            async with asyncio.timeout(self.limits.min_seq_wait_s), feed.subscribe(capacity=1) as subscription:
                while context.hot.seq < seq:
                    item = await anext(subscription)
                    if isinstance(item, LogGap):
                        continue
        except (TimeoutError, StopAsyncIteration):
            error = Stale(
                f"seq {seq} was not reached in {self.limits.min_seq_wait_s:g} s; this server is at {context.hot.seq}",
                remedy="read again later, or with a seq that this server gave",
            )
            raise refusal_of(error) from None


def internal(error: BaseException) -> RequestRefused:
    """What a client is told of a failure that should not be."""
    message, extensions = masked(error)
    return RequestRefused([{"message": message, "extensions": extensions}], 500)
