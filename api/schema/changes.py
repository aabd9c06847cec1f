"""What subscriptions deliver. The events are made by the hub; here is how they look to a client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import strawberry

from twinloom.api.context import Info
from twinloom.api.schema.assessments import Alert, RulEstimate, WorkOrder
from twinloom.api.schema.described import described, subscription
from twinloom.api.schema.filters import AlertFilter, TwinChangeFilter
from twinloom.api.schema.scalars import DateTime, Long, TwinChangeKind
from twinloom.api.schema.twins import PropertyValue, Twin
from twinloom.twin.ids import TwinId


@strawberry.type(description="Signals that the log no longer holds: read the state anew, then go on after `toSeq`.")
class Gap:
    from_seq: Long
    to_seq: Long
    hint: str


@strawberry.type(description="What happened to one twin.")
class TwinChange:
    seq: Long
    time: DateTime
    kind: TwinChangeKind
    twin_id: strawberry.Private[TwinId | None] = None
    values: list[PropertyValue] = strawberry.field(
        default_factory=list, description="The values that changed; empty unless `kind` is VALUES or UPDATED."
    )
    missed: int = strawberry.field(
        default=0, description="How many events this client was too slow for, before this one."
    )
    gap: Gap | None = None

    @described("Null for a GAP.")
    def dt_id(self) -> str | None:
        return self.twin_id

    @described("The twin as it is now; null once it is deleted.")
    def twin(self, info: Info) -> Twin | None:
        if self.twin_id is None:
            return None
        row = info.context.hot.row(self.twin_id)
        return None if row is None else Twin(row=row, twin_id=self.twin_id)


@strawberry.type(description="What happened in one step of the server, for all twins of the filter together.")
class TwinChanges:
    seq: Long
    time: DateTime
    changes: list[TwinChange]
    missed: int = 0
    gap: Gap | None = None


@strawberry.type
class AlertChange:
    seq: Long
    kind: str = strawberry.field(description="`RAISED`, `ACKNOWLEDGED`, `CLEARED` or `GAP`.")
    alert: Alert | None = None
    missed: int = 0
    gap: Gap | None = None


@strawberry.type
class RulChange:
    seq: Long
    estimate: RulEstimate | None = None
    missed: int = 0
    gap: Gap | None = None


@strawberry.type
class WorkOrderChange:
    seq: Long
    kind: str = strawberry.field(description="`OPENED`, `CLOSED` or `GAP`.")
    work_order: WorkOrder | None = None
    missed: int = 0
    gap: Gap | None = None


async def _by_the_hub() -> AsyncIterator[None]:
    """Subscriptions are fed by `twinloom.api.subscriptions.Hub`, which shares one execution among all equal ones."""
    raise NotImplementedError("subscriptions are served over WebSocket or server-sent events")
    yield


@strawberry.type
class Subscription:
    @subscription("One event a twin that changed.")
    async def twin_changed(
        self,
        info: Info,
        filter: TwinChangeFilter | None = None,
        after: Long | None = None,
        min_interval_ms: int | None = None,
        deadband: float | None = None,
    ) -> AsyncIterator[TwinChange]:
        async for _ in _by_the_hub():
            yield  # type: ignore[misc]

    @subscription("One event a step of the server, with every twin that changed: the efficient one.")
    async def twins_changed(
        self,
        info: Info,
        filter: TwinChangeFilter | None = None,
        after: Long | None = None,
        min_interval_ms: int | None = None,
        deadband: float | None = None,
    ) -> AsyncIterator[TwinChanges]:
        async for _ in _by_the_hub():
            yield  # type: ignore[misc]

    @strawberry.subscription
    async def alert_changed(
        self, info: Info, filter: AlertFilter | None = None, after: Long | None = None
    ) -> AsyncIterator[AlertChange]:
        async for _ in _by_the_hub():
            yield  # type: ignore[misc]

    @strawberry.subscription
    async def rul_changed(
        self, info: Info, filter: TwinChangeFilter | None = None, after: Long | None = None
    ) -> AsyncIterator[RulChange]:
        async for _ in _by_the_hub():
            yield  # type: ignore[misc]

    @strawberry.subscription
    async def work_order_changed(self, info: Info, after: Long | None = None) -> AsyncIterator[WorkOrderChange]:
        async for _ in _by_the_hub():
            yield  # type: ignore[misc]
