"""The mutation root. Each field gives an order to the runtime, which makes it durable before it answers.

A failure of the domain (CONFLICT, NOT_FOUND, MODEL_VIOLATION, ...) is a `userErrors` entry of the payload; only what
the client may not do at all is a top-level error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import strawberry

from twinloom.api.context import Context, Info
from twinloom.api.schema.assessments import Alert, WorkOrder
from twinloom.api.schema.described import mutation
from twinloom.api.schema.models import Model
from twinloom.api.schema.mutation_types import (
    AcknowledgeAlertInput,
    AlertPayload,
    CloseWorkOrderInput,
    CommandPayload,
    CommandResult,
    CreateRelationshipInput,
    CreateTwinInput,
    CreateTwinsInput,
    DeleteModelInput,
    DeleteRelationshipInput,
    DeleteTwinInput,
    DeleteTwinsInput,
    InvokeCommandInput,
    ModelsPayload,
    RelationshipPayload,
    TwinPayload,
    TwinsPayload,
    UpdateTwinInput,
    UpdateTwinsInput,
    UploadModelsInput,
    UserError,
    WorkOrderPayload,
)
from twinloom.api.schema.queries import alert_key, model_id_of, order_key
from twinloom.api.schema.scalars import Json, Long
from twinloom.api.schema.selection import twin_at
from twinloom.api.schema.twins import Relationship
from twinloom.api.tokens import Access
from twinloom.runtime.outcome import Outcome
from twinloom.twin import commands
from twinloom.twin.dtdl import DtdlError, Violation
from twinloom.twin.errors import BadRequest, LimitExceeded, ModelViolation, TwinloomError
from twinloom.twin.ids import ModelId, TwinId, model_id, twin_id

__all__ = ["Mutation", "UserError", "carry_out", "user_errors"]


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def create_twin(self, info: Info, input: CreateTwinInput) -> TwinPayload:
        return await _create(info.context, input)

    @strawberry.mutation
    async def update_twin(self, info: Info, input: UpdateTwinInput) -> TwinPayload:
        return await _update(info.context, input)

    @mutation("The payload's `twin` is null: it is gone.")
    async def delete_twin(self, info: Info, input: DeleteTwinInput) -> TwinPayload:
        return await _delete(info.context, input)

    @mutation("Each item by itself; what fails is told in its own result.")
    async def create_twins(self, info: Info, input: CreateTwinsInput) -> TwinsPayload:
        return await _each(info.context, input.items, input.client_mutation_id, _create)

    @mutation("Each item by itself; what fails is told in its own result.")
    async def update_twins(self, info: Info, input: UpdateTwinsInput) -> TwinsPayload:
        return await _each(info.context, input.items, input.client_mutation_id, _update)

    @mutation("Each item by itself; what fails is told in its own result.")
    async def delete_twins(self, info: Info, input: DeleteTwinsInput) -> TwinsPayload:
        return await _each(info.context, input.items, input.client_mutation_id, _delete)

    @strawberry.mutation
    async def create_relationship(self, info: Info, input: CreateRelationshipInput) -> RelationshipPayload:
        context: Context = info.context
        done = await carry_out(
            context,
            lambda: commands.CreateRelationship(
                source=context.twin_id(input.source),
                name=input.name,
                target=context.twin_id(input.target),
                id=input.id or "",
                properties=_object(input.properties),
                **_who(context, input.client_mutation_id),
            ),
        )
        found = None
        if isinstance(done, Outcome) and done.twin is not None:
            edge = context.hot.relationship(done.twin, done.relationship)
            found = Relationship(edge=edge) if edge else None
        seq, errors = _result(context, done)
        return RelationshipPayload(
            relationship=found, seq=seq, user_errors=errors, client_mutation_id=input.client_mutation_id
        )

    @mutation("The payload's `relationship` is null: it is gone.")
    async def delete_relationship(self, info: Info, input: DeleteRelationshipInput) -> RelationshipPayload:
        context: Context = info.context
        done = await carry_out(
            context,
            lambda: commands.DeleteRelationship(
                source=context.twin_id(input.source),
                id=input.id,
                expected_etag=input.expected_etag or "",
                **_who(context, input.client_mutation_id),
            ),
        )
        seq, errors = _result(context, done)
        return RelationshipPayload(
            relationship=None, seq=seq, user_errors=errors, client_mutation_id=input.client_mutation_id
        )

    @strawberry.mutation
    async def upload_models(self, info: Info, input: UploadModelsInput) -> ModelsPayload:
        context: Context = info.context
        done = await carry_out(
            context,
            lambda: commands.UploadModels(documents=tuple(input.documents), **_who(context, input.client_mutation_id)),
        )
        return _models_payload(context, done, input.client_mutation_id)

    @strawberry.mutation
    async def delete_model(self, info: Info, input: DeleteModelInput) -> ModelsPayload:
        context: Context = info.context
        done = await carry_out(
            context,
            lambda: commands.DeleteModel(
                id=model_id(model_id_of(input.id)),
                decommission=input.decommission,
                **_who(context, input.client_mutation_id),
            ),
        )
        return _models_payload(context, done, input.client_mutation_id)

    @strawberry.mutation
    async def acknowledge_alert(self, info: Info, input: AcknowledgeAlertInput) -> AlertPayload:
        context: Context = info.context
        done = await carry_out(
            context,
            lambda: commands.AcknowledgeAlert(alert=alert_key(input.id), **_who(context, input.client_mutation_id)),
        )
        alert = context.alert(done.alert) if isinstance(done, Outcome) else None
        seq, errors = _result(context, done)
        return AlertPayload(
            alert=Alert(of=alert) if alert else None,
            seq=seq,
            user_errors=errors,
            client_mutation_id=input.client_mutation_id,
        )

    @strawberry.mutation
    async def close_work_order(self, info: Info, input: CloseWorkOrderInput) -> WorkOrderPayload:
        context: Context = info.context
        done = await carry_out(
            context,
            lambda: commands.CloseWorkOrder(
                order=order_key(input.id),
                failure_confirmed=input.failure_confirmed,
                **_who(context, input.client_mutation_id),
            ),
        )
        order = context.work_order(done.work_order) if isinstance(done, Outcome) else None
        seq, errors = _result(context, done)
        return WorkOrderPayload(
            work_order=WorkOrder(of=order) if order else None,
            seq=seq,
            user_errors=errors,
            client_mutation_id=input.client_mutation_id,
        )

    @mutation("Sends a DTDL command to the machine and waits for its echo.")
    async def invoke_command(self, info: Info, input: InvokeCommandInput) -> CommandPayload:
        context: Context = info.context
        done = await carry_out(
            context,
            lambda: commands.InvokeCommand(
                twin=context.twin_id(input.twin),
                name=input.name,
                payload=input.payload,
                timeout_s=_timeout_s(input.timeout_ms),
                **_who(context, input.client_mutation_id),
            ),
            "command",
        )
        seq, errors = _result(context, done)
        command = context.service.actuation.get(done.command) if isinstance(done, Outcome) else None
        return CommandPayload(
            command=CommandResult(name=input.name, response=Json(command.response)) if command else None,
            seq=seq,
            user_errors=errors,
            client_mutation_id=input.client_mutation_id,
        )


async def _create(context: Context, input: CreateTwinInput) -> TwinPayload:
    done = await carry_out(
        context,
        lambda: commands.CreateTwin(
            id=twin_id(input.id),
            model=model_id(model_id_of(input.model)),
            properties=_object(input.properties),
            **_who(context, input.client_mutation_id),
        ),
    )
    return _twin_payload(context, done, input.client_mutation_id)


async def _update(context: Context, input: UpdateTwinInput) -> TwinPayload:
    def order() -> commands.AnyOrder:
        twin = context.twin_id(input.id)
        to_set, to_remove = patch_of(context, twin, _object(input.properties))
        return commands.UpdateTwin(
            id=twin,
            set=to_set,
            unset=to_remove,
            expected_etag=input.expected_etag or "",
            **_who(context, input.client_mutation_id),
        )

    return _twin_payload(context, await carry_out(context, order), input.client_mutation_id)


async def _delete(context: Context, input: DeleteTwinInput) -> TwinPayload:
    done = await carry_out(
        context,
        lambda: commands.DeleteTwin(
            id=context.twin_id(input.id),
            expected_etag=input.expected_etag or "",
            detach=input.detach,
            **_who(context, input.client_mutation_id),
        ),
    )
    seq, errors = _result(context, done)
    return TwinPayload(twin=None, seq=seq, user_errors=errors, client_mutation_id=input.client_mutation_id)


async def _each(
    context: Context, items: Sequence[Any], key: str | None, do: Callable[[Context, Any], Awaitable[TwinPayload]]
) -> TwinsPayload:
    """Carries out items one by one order, all under way at once: the store commits them in groups."""
    limit = context.services.limits.batch_items
    if len(items) > limit:
        raise LimitExceeded(f"{len(items)} items are more than {limit}", remedy=f"send at most {limit} at once")
    for at, item in enumerate(items):
        if key is not None and item.client_mutation_id is None:
            item.client_mutation_id = f"{key}/{at}"
    results = await asyncio.gather(*(do(context, item) for item in items))
    seq = max((result.seq for result in results), default=Long(context.seq))
    return TwinsPayload(results=results, seq=seq, user_errors=[], client_mutation_id=key)


async def carry_out(context: Context, order, access: Access = "write") -> Outcome | TwinloomError:  # type: ignore[no-untyped-def]
    """Makes the order, gives it to the runtime; returns the outcome, or the domain's error. Raises Forbidden."""
    context.principal.require(access)
    try:
        outcome: Outcome = await context.service.orders.execute(order())
    except TwinloomError as error:
        if type(error).code == "INTERNAL":
            raise
        return error
    return outcome


def user_errors(error: TwinloomError) -> list[UserError]:
    """The entries for one error; what has several defects has one for each."""
    if isinstance(error, DtdlError):
        return [
            UserError(
                code=error.code, message=f"{defect.code}: {defect.message}", path=defect.path, remedy=defect.remedy
            )
            for defect in error.errors
        ]
    if isinstance(error, Violation):
        return [
            UserError(code=error.code, message=defect.message, path=defect.path, remedy=defect.remedy)
            for defect in error.errors
        ]
    return _one(error)


def _one(error: TwinloomError) -> list[UserError]:
    path = error.path if isinstance(error, ModelViolation) else ""
    return [UserError(code=error.code, message=error.message, path=path, remedy=error.remedy)]


def patch_of(context: Context, twin: TwinId, patch: Mapping[str, object]) -> tuple[dict[str, object], tuple[str, ...]]:
    """A merge patch as paths to set and to remove. An object is opened where it is a component's, else set whole."""
    row = context.hot.row(twin)
    fields = {} if row is None else context.hot.models.fields(context.hot.model_of(row))
    to_set: dict[str, object] = {}
    to_remove: list[str] = []
    stack: list[tuple[str, object]] = list(reversed(list(patch.items())))
    while stack:
        path, value = stack.pop()
        if value is None:
            to_remove.append(path)
        elif (
            isinstance(value, Mapping) and path not in fields and any(known.startswith(path + ".") for known in fields)
        ):
            stack.extend(reversed([(f"{path}.{name}", inner) for name, inner in value.items()]))
        elif isinstance(value, Mapping) and row is not None:
            to_set[path] = merged(context.hot.value(row, path), value)
        else:
            to_set[path] = value
    return to_set, tuple(to_remove)


def merged(old: object, patch: object) -> object:
    """RFC 7396.

    >>> merged({"a": 1, "b": 2}, {"b": None, "c": 3})
    {'a': 1, 'c': 3}
    """
    if not isinstance(patch, Mapping):
        return patch
    result = dict(old) if isinstance(old, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _object(value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadRequest("`properties` must be a JSON object", remedy='write {"name": value}')
    return value


def _who(context: Context, key: str | None) -> dict[str, str]:
    if key is not None and not 0 < len(key) <= 256:
        raise BadRequest("clientMutationId must have 1 to 256 characters", remedy="use a UUID")
    return {"principal": context.principal.name, "key": key or ""}


def _timeout_s(timeout_ms: int | None) -> float:
    if timeout_ms is None:
        return 5.0
    if not 0 < timeout_ms <= 60_000:
        raise BadRequest(f"timeoutMs: {timeout_ms} is out of range", remedy="give 1 to 60000")
    return timeout_ms / 1000


def _result(context: Context, done: Outcome | TwinloomError) -> tuple[Long, list[UserError]]:
    if isinstance(done, Outcome):
        return Long(done.seq), []
    return Long(context.seq), user_errors(done)


def _twin_payload(context: Context, done: Outcome | TwinloomError, key: str | None) -> TwinPayload:
    seq, errors = _result(context, done)
    row = context.hot.row(done.twin) if isinstance(done, Outcome) and done.twin is not None else None
    return TwinPayload(
        twin=None if row is None else twin_at(context, row), seq=seq, user_errors=errors, client_mutation_id=key
    )


def _models_payload(context: Context, done: Outcome | TwinloomError, key: str | None) -> ModelsPayload:
    models = context.hot.models
    ids: tuple[ModelId, ...] = done.models if isinstance(done, Outcome) else ()
    seq, errors = _result(context, done)
    return ModelsPayload(
        models=[Model(interface=models.interface(id)) for id in ids if id in models],
        seq=seq,
        user_errors=errors,
        client_mutation_id=key,
    )
