"""Filters over twins: operators, AND/OR/NOT, relationships with some/every/none, units and quality.

A filter is turned once into a predicate over rows; what selects by model, id or subtree also narrows the candidates.
Comparisons are two-valued: a value that was never set matches only `isNull: true` and `ne`.
"""

from __future__ import annotations

import strawberry

from twinloom.api.schema.scalars import (
    AlertState,
    Direction,
    HealthZone,
    Json,
    OrderDirection,
    Quality,
    Severity,
    WorkOrderState,
)


@strawberry.input
class StringFilter:
    eq: str | None = None
    ne: str | None = None
    in_: list[str] | None = strawberry.field(name="in", default=None)
    contains: str | None = None
    starts_with: str | None = None


@strawberry.input(description="Compares the last value at `path`; numbers are read in `unit` when that is given.")
class PropertyFilter:
    path: str
    eq: Json | None = strawberry.UNSET
    ne: Json | None = strawberry.UNSET
    gt: Json | None = None
    gte: Json | None = None
    lt: Json | None = None
    lte: Json | None = None
    in_: list[Json] | None = strawberry.field(name="in", default=None)
    contains: str | None = None
    starts_with: str | None = None
    is_null: bool | None = None
    unit: str | None = None
    quality: list[Quality] | None = None


@strawberry.input(description="Over the twins at the other end: at least one, all, or none of them match.")
class RelationshipFilter:
    name: str | None = None
    direction: Direction = Direction.OUTGOING
    some: TwinFilter | None = None
    every: TwinFilter | None = None
    none: TwinFilter | None = None


@strawberry.input(description="All that is given must hold.")
class TwinFilter:
    id: StringFilter | None = None
    model: str | None = strawberry.field(default=None, description="Of this model or of one that extends it.")
    exact_model: str | None = None
    subtree_of: str | None = strawberry.field(
        default=None, description="Below this twin by `contains`, itself included."
    )
    property: PropertyFilter | None = None
    relationship: RelationshipFilter | None = None
    health: list[HealthZone] | None = None
    has_alert: bool | None = strawberry.field(default=None, description="Whether an alert stands.")
    stale: bool | None = None
    and_: list[TwinFilter] | None = strawberry.field(name="AND", default=None)
    or_: list[TwinFilter] | None = strawberry.field(name="OR", default=None)
    not_: TwinFilter | None = strawberry.field(name="NOT", default=None)


@strawberry.input
class TwinOrder:
    by: str = strawberry.field(
        description="`id`, `seq`, `updatedAt`, `rulDays` or a property path. Unset values come last."
    )
    direction: OrderDirection = OrderDirection.ASC


@strawberry.input
class AlertFilter:
    state: list[AlertState] | None = None
    severity: list[Severity] | None = None
    rule: list[str] | None = None
    twin: str | None = strawberry.field(default=None, description="Of this twin.")
    subtree_of: str | None = strawberry.field(default=None, description="Of this twin or one below it.")


@strawberry.input
class WorkOrderFilter:
    state: list[WorkOrderState] | None = None
    priority: list[Severity] | None = None
    twin: str | None = None
    subtree_of: str | None = None


@strawberry.input(description="Which twins, and which of their values. All that is given must hold.")
class TwinChangeFilter:
    ids: list[str] | None = None
    model: str | None = None
    subtree_of: str | None = None
    paths: list[str] | None = strawberry.field(default=None, description="Only values at these paths count.")
    where: TwinFilter | None = None
