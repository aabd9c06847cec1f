"""What the server concludes of twins: remaining useful life, alerts, work orders, and the rules behind the alerts."""

from __future__ import annotations

import strawberry

from twinloom.api.context import Context, Info
from twinloom.api.schema.connections import Connection
from twinloom.api.schema.described import described
from twinloom.api.schema.identity import global_id
from twinloom.api.schema.models import Node
from twinloom.api.schema.scalars import AlertState, DateTime, HealthZone, Long, ModelHealth, Severity, WorkOrderState
from twinloom.api.schema.twins import Twin, twin_of
from twinloom.twin import assessments as domain
from twinloom.twin.ids import TwinId


@strawberry.type(description="Remaining useful life of one component, never without its interval and origin.")
class RulEstimate:
    of: strawberry.Private[domain.RulEstimate]
    at_seq: strawberry.Private[int]

    @strawberry.field
    def twin(self, info: Info) -> Twin:
        return twin_of(info.context, self.of.twin)

    @strawberry.field
    def dt_id(self) -> str:
        return self.of.twin

    @described("Days of the component's own calendar.")
    def rul_days(self) -> float:
        return self.of.rul_days

    @described("Lower end of the 90 % interval, days.")
    def low(self) -> float:
        return self.of.low

    @described("Upper end of the 90 % interval, days.")
    def high(self) -> float:
        return self.of.high

    @described("Zone after ISO 20816: A new, B fit, C limited time, D damage likely.")
    def health(self) -> HealthZone:
        return self.of.health

    @strawberry.field
    def recommendation(self) -> str:
        return self.of.recommendation

    @described("DEGRADED when it comes from a fallback or from poor input.")
    def model_health(self) -> ModelHealth:
        return self.of.model_health

    @described("Digest of the model file, or the name of the rule.")
    def model_version(self) -> str:
        return self.of.model_version

    @strawberry.field
    def method(self) -> str:
        return self.of.method

    @described("Why it is degraded; empty when it is not.")
    def reason(self) -> str:
        return self.of.reason

    @strawberry.field
    def source_time(self) -> DateTime | None:
        return DateTime(self.of.source_time_ns) if self.of.source_time_ns else None

    @described("Share of the input that had Good quality, 0 to 1.")
    def quality_share(self) -> float:
        return self.of.quality_share

    @strawberry.field
    def seq(self) -> Long:
        return Long(self.at_seq)


@strawberry.type(description="One episode of one rule on one twin (ISA-18.2).")
class Alert(Node):
    of: strawberry.Private[domain.Alert]

    @described("Opaque and global.")
    def id(self) -> strawberry.ID:
        return strawberry.ID(global_id("Alert", self.of.id))

    @strawberry.field
    def alert_id(self) -> str:
        return self.of.id

    @strawberry.field
    def rule(self) -> str:
        return self.of.rule

    @described("Null when the twin was deleted since.")
    def twin(self, info: Info) -> Twin | None:
        return _maybe_twin(info.context, self.of.twin)

    @strawberry.field
    def dt_id(self) -> str:
        return self.of.twin

    @strawberry.field
    def severity(self) -> Severity:
        return self.of.severity

    @strawberry.field
    def state(self) -> AlertState:
        return self.of.state

    @strawberry.field
    def message(self) -> str:
        return self.of.message

    @described("Which value broke the rule.")
    def path(self) -> str:
        return self.of.path

    @strawberry.field
    def value(self) -> float:
        return self.of.value

    @strawberry.field
    def threshold(self) -> float:
        return self.of.threshold

    @strawberry.field
    def unit(self) -> str:
        return self.of.unit

    @strawberry.field
    def raised_at(self) -> DateTime:
        return DateTime(self.of.raised_ns)

    @strawberry.field
    def acknowledged_at(self) -> DateTime | None:
        return DateTime(self.of.acknowledged_ns) if self.of.acknowledged_ns else None

    @strawberry.field
    def acknowledged_by(self) -> str | None:
        return self.of.acknowledged_by or None

    @strawberry.field
    def cleared_at(self) -> DateTime | None:
        return DateTime(self.of.cleared_ns) if self.of.cleared_ns else None

    @strawberry.field
    def seq(self) -> Long:
        return Long(self.of.seq)

    @described("The work order that was opened for it, or that stood open for its twin and rule when it was raised.")
    def work_order(self, info: Info) -> WorkOrder | None:
        order = info.context.work_order_of_alert(self.of)
        return WorkOrder(of=order) if order else None


@strawberry.type(description="An order to maintenance, opened for an alert.")
class WorkOrder(Node):
    of: strawberry.Private[domain.WorkOrder]

    @described("Opaque and global.")
    def id(self) -> strawberry.ID:
        return strawberry.ID(global_id("WorkOrder", self.of.id))

    @strawberry.field
    def order_id(self) -> str:
        return self.of.id

    @described("Null when the twin was deleted since.")
    def twin(self, info: Info) -> Twin | None:
        return _maybe_twin(info.context, self.of.twin)

    @strawberry.field
    def dt_id(self) -> str:
        return self.of.twin

    @strawberry.field
    def rule(self) -> str:
        return self.of.rule

    @strawberry.field
    def alert(self, info: Info) -> Alert | None:
        alert = info.context.alert(self.of.alert)
        return Alert(of=alert) if alert else None

    @strawberry.field
    def title(self) -> str:
        return self.of.title

    @strawberry.field
    def recommendation(self) -> str:
        return self.of.recommendation

    @strawberry.field
    def priority(self) -> Severity:
        return self.of.priority

    @strawberry.field
    def state(self) -> WorkOrderState:
        return self.of.state

    @strawberry.field
    def opened_at(self) -> DateTime:
        return DateTime(self.of.opened_ns)

    @strawberry.field
    def closed_at(self) -> DateTime | None:
        return DateTime(self.of.closed_ns) if self.of.closed_ns else None

    @described("The number that the maintenance system gave it.")
    def external_id(self) -> str | None:
        return self.of.external_id or None

    @strawberry.field
    def seq(self) -> Long:
        return Long(self.of.seq)


@strawberry.type(
    description="A rule as data: raised above or below a threshold for `forS` seconds, cleared at `clear`."
)
class AlertRule:
    name: str
    model: str
    value: str = strawberry.field(description="A property path, or `rul_days`.")
    above: float | None
    below: float | None
    clear: float
    for_s: float
    severity: Severity
    message: str
    work_order: str | None
    unit: str


def rul_of(context: Context, twin: TwinId) -> RulEstimate | None:
    """The latest estimate of a twin."""
    found = context.estimate(twin)
    return None if found is None else RulEstimate(of=found[0], at_seq=found[1])


def _maybe_twin(context: Context, twin: TwinId) -> Twin | None:
    row = context.hot.row(twin)
    return None if row is None else Twin(row=row, twin_id=twin)


AlertConnection = Connection[Alert]
WorkOrderConnection = Connection[WorkOrder]
