"""What the server concludes of a twin: state detection, prognosis, advice (ISO 13374-1 blocks 3 to 6).

An `Alert` follows ISA-18.2: raised, acknowledged, cleared. `RulEstimate` never comes without its interval and origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json


class Severity(StrEnum):
    """ISA-18.2 priority, worst last."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Health(StrEnum):
    """Zone of a component, after the A-D zones of ISO 20816: A new, B fit, C limited time, D damage likely."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    UNKNOWN = "unknown"


class ModelHealth(StrEnum):
    """Whether an estimate can be trusted: `degraded` means that it comes from a fallback or from poor input."""

    OK = "ok"
    DRIFTING = "drifting"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True)
class RulEstimate:
    """Remaining useful life of one component, in days of the component's own calendar.

    `low`..`high` is the 90 % interval; `method` is `onnx`, `baseline` or another estimator's name; `reason` says why an
    estimate is degraded (empty when ok); `model_version` is the model's digest (12 hex digits) or the rule's name.
    """

    twin: TwinId
    rul_days: float
    low: float
    high: float
    health: Health
    recommendation: str
    model_health: ModelHealth
    model_version: str
    method: str = "onnx"
    reason: str = ""
    source_time_ns: int = 0
    quality_share: float = 1.0
    details: Mapping[str, Json] = field(default_factory=dict)


class AlertState(StrEnum):
    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode of one rule on one twin: from `raised_ns` to `cleared_ns` (0 while it stands)."""

    id: str
    rule: str
    twin: TwinId
    severity: Severity
    state: AlertState
    message: str
    path: str
    value: float
    threshold: float
    unit: str
    raised_ns: int
    acknowledged_ns: int = 0
    acknowledged_by: str = ""
    cleared_ns: int = 0
    seq: int = 0


class WorkOrderState(StrEnum):
    OPEN = "open"
    IN_PROGRESS = "in_progress"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """An order to maintenance, opened for an alert. At most one stands open per (twin, rule)."""

    id: str
    twin: TwinId
    rule: str
    alert: str
    title: str
    recommendation: str
    priority: Severity
    state: WorkOrderState
    opened_ns: int
    closed_ns: int = 0
    external_id: str = ""
    seq: int = 0
