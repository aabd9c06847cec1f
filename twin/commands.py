"""Imperative orders, as the API and the adapters give them. `runtime.orders.Orders.execute` carries them out.

`expected_etag` makes a write a compare-and-set. `key` is the client's idempotency key (`clientMutationId`): the same
key by the same principal is executed once, and answered with the first outcome, also after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    principal: str = "system"
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTwin(Order):
    id: TwinId
    model: ModelId
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTwin(Order):
    """Sets each path of `set` (dotted) and removes each of `unset`."""

    id: TwinId
    set: Mapping[str, Json] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    expected_etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTwin(Order):
    """Refused while relationships are attached, unless `detach`."""

    id: TwinId
    expected_etag: str = ""
    detach: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRelationship(Order):
    """An empty `id` becomes `name:target`."""

    source: TwinId
    name: str
    target: TwinId
    id: str = ""
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRelationship(Order):
    source: TwinId
    id: str
    expected_etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadModels(Order):
    """All documents or none; their order does not matter."""

    documents: tuple[Json, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteModel(Order):
    """Refused while a twin or another model uses it. With `decommission` it stays but takes no new twins."""

    id: ModelId
    decommission: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgeAlert(Order):
    alert: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseWorkOrder(Order):
    """`failure_confirmed` says that maintenance found the component failed: a label for the prognostics."""

    order: str
    failure_confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeCommand(Order):
    """A DTDL command of a twin (`name`, or `component.name`); leaves through the Actuator port."""

    twin: TwinId
    name: str
    payload: Json = None
    timeout_s: float = 5.0


AnyOrder: TypeAlias = (
    CreateTwin
    | UpdateTwin
    | DeleteTwin
    | CreateRelationship
    | DeleteRelationship
    | UploadModels
    | DeleteModel
    | AcknowledgeAlert
    | CloseWorkOrder
    | InvokeCommand
)
