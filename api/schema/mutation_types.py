"""What mutations take and give: inputs, payloads, and the errors of the domain in them."""

from __future__ import annotations

import strawberry

from twinloom.api.schema.assessments import Alert, WorkOrder
from twinloom.api.schema.models import Model
from twinloom.api.schema.scalars import Json, Long
from twinloom.api.schema.twins import Relationship, Twin


@strawberry.type(description="Why a mutation was not carried out.")
class UserError:
    code: str
    message: str
    path: str = strawberry.field(description="JSON pointer into what was written; empty when it is about the whole.")
    remedy: str


@strawberry.type
class CommandResult:
    name: str
    response: Json | None


@strawberry.type
class TwinPayload:
    twin: Twin | None
    seq: Long = strawberry.field(description="A read with this as `minSeq` sees what was written.")
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.type
class RelationshipPayload:
    relationship: Relationship | None
    seq: Long
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.type
class ModelsPayload:
    models: list[Model]
    seq: Long
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.type
class AlertPayload:
    alert: Alert | None
    seq: Long
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.type
class WorkOrderPayload:
    work_order: WorkOrder | None
    seq: Long
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.type
class CommandPayload:
    command: CommandResult | None
    seq: Long
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.input
class CreateTwinInput:
    id: str
    model: str
    properties: Json | None = None
    client_mutation_id: str | None = None


@strawberry.input
class UpdateTwinInput:
    id: str
    properties: Json = strawberry.field(
        description="A merge patch (RFC 7396): nested, or dotted paths as keys; null removes a value."
    )
    expected_etag: str | None = None
    client_mutation_id: str | None = None


@strawberry.input
class DeleteTwinInput:
    id: str
    expected_etag: str | None = None
    detach: bool = strawberry.field(default=False, description="Also delete its relationships; else it must have none.")
    client_mutation_id: str | None = None


@strawberry.input
class CreateRelationshipInput:
    source: str
    name: str
    target: str
    id: str | None = strawberry.field(default=None, description="Unique at the source; `name:target` when left out.")
    properties: Json | None = None
    client_mutation_id: str | None = None


@strawberry.input
class DeleteRelationshipInput:
    source: str
    id: str
    expected_etag: str | None = None
    client_mutation_id: str | None = None


@strawberry.input
class UploadModelsInput:
    documents: list[Json] = strawberry.field(description="DTDL interfaces: all of them or none.")
    client_mutation_id: str | None = None


@strawberry.input
class DeleteModelInput:
    id: str
    decommission: bool = strawberry.field(default=False, description="Keep it, but take no new twins of it.")
    client_mutation_id: str | None = None


@strawberry.input
class AcknowledgeAlertInput:
    id: str
    client_mutation_id: str | None = None


@strawberry.input
class CloseWorkOrderInput:
    id: str
    failure_confirmed: bool = strawberry.field(default=False, description="Maintenance found the component failed.")
    client_mutation_id: str | None = None


@strawberry.input
class InvokeCommandInput:
    twin: str
    name: str
    payload: Json | None = None
    timeout_ms: int | None = None
    client_mutation_id: str | None = None


@strawberry.type(description="One result for each item, in their order.")
class TwinsPayload:
    results: list[TwinPayload]
    seq: Long
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.input
class CreateTwinsInput:
    items: list[CreateTwinInput]
    client_mutation_id: str | None = strawberry.field(
        default=None, description="Items without a key of their own get this one with `/0`, `/1`, ... behind it."
    )


@strawberry.input
class UpdateTwinsInput:
    items: list[UpdateTwinInput]
    client_mutation_id: str | None = strawberry.field(
        default=None, description="Items without a key of their own get this one with `/0`, `/1`, ... behind it."
    )


@strawberry.input
class DeleteTwinsInput:
    items: list[DeleteTwinInput]
    client_mutation_id: str | None = strawberry.field(
        default=None, description="Items without a key of their own get this one with `/0`, `/1`, ... behind it."
    )
