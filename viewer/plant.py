"""What the viewer knows of the plant, as last told by the API: twins, values, estimates, alerts and rules.

Plain data, written by `live` and read by `state` and the window. Names follow the GraphQL schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from twinloom.twin.ids import label_of
from twinloom.twin.instance import Json
from twinloom.viewer.scene import SceneTwin

Node = Mapping[str, Json]
STANDING = ("RAISED", "ACKNOWLEDGED")


@dataclass(frozen=True, slots=True)
class Value:
    """A property's last value. `quality` is GOOD, UNCERTAIN or BAD; `number` is None for text."""

    path: str
    number: float | None
    value: Json
    symbol: str
    quality: str
    stale: bool
    source_time: str
    seq: int

    @classmethod
    def of(cls, node: Node) -> Value:
        return cls(
            path=str(node["path"]),
            number=node.get("number"),
            value=node.get("value"),
            symbol=str(node.get("symbol") or node.get("unit") or ""),
            quality=str(node.get("quality") or "GOOD"),
            stale=bool(node.get("stale")),
            source_time=str(node.get("sourceTime") or ""),
            seq=int(node.get("seq") or 0),
        )


@dataclass(frozen=True, slots=True)
class Rul:
    """A remaining-useful-life estimate in days with its 90 % interval."""

    days: float
    low: float
    high: float
    health: str
    recommendation: str
    model_health: str
    reason: str
    seq: int

    @classmethod
    def of(cls, node: Node) -> Rul:
        return cls(
            days=float(node["rulDays"]),
            low=float(node["low"]),
            high=float(node["high"]),
            health=str(node["health"]),
            recommendation=str(node.get("recommendation") or ""),
            model_health=str(node.get("modelHealth") or "OK"),
            reason=str(node.get("reason") or ""),
            seq=int(node.get("seq") or 0),
        )


@dataclass(frozen=True, slots=True)
class Alert:
    id: str
    rule: str
    twin: str
    severity: str
    state: str
    message: str
    path: str
    value: float
    threshold: float
    unit: str
    raised_at: str
    seq: int

    @property
    def stands(self) -> bool:
        return self.state in STANDING

    @classmethod
    def of(cls, node: Node) -> Alert:
        return cls(
            id=str(node["alertId"]),
            rule=str(node["rule"]),
            twin=str(node["dtId"]),
            severity=str(node["severity"]),
            state=str(node["state"]),
            message=str(node["message"]),
            path=str(node["path"]),
            value=float(node["value"]),
            threshold=float(node["threshold"]),
            unit=str(node.get("unit") or ""),
            raised_at=str(node.get("raisedAt") or ""),
            seq=int(node.get("seq") or 0),
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule of the service: `value` of every twin of `model` (or a subtype) above or below a threshold."""

    name: str
    model: str
    value: str
    above: float | None
    below: float | None
    severity: str
    message: str = ""
    unit: str = ""

    @classmethod
    def of(cls, node: Node) -> Rule:
        return cls(
            name=str(node["name"]),
            model=str(node["model"]),
            value=str(node["value"]),
            above=node.get("above"),
            below=node.get("below"),
            severity=str(node["severity"]),
            message=str(node.get("message") or ""),
            unit=str(node.get("unit") or ""),
        )

    def broken_by(self, number: float) -> bool:
        return (self.above is not None and number > self.above) or (self.below is not None and number < self.below)


@dataclass(slots=True)
class TwinView:
    """One twin as last told. `values` holds the paths that were asked for or have changed."""

    id: str
    model: str
    ancestors: tuple[str, ...] = ()
    name: str = ""
    parent: str | None = None
    properties: dict[str, Json] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    rul: Rul | None = None
    health: str = "UNKNOWN"
    stale: bool = False
    stale_since: str = ""
    seq: int = 0

    def is_a(self, model: str) -> bool:
        return model == self.model or model in self.ancestors

    def scene_twin(self) -> SceneTwin:
        kinds = (label_of(self.model), *(label_of(ancestor) for ancestor in self.ancestors))
        properties = {**self.properties, "name": self.name} if self.name else self.properties
        return SceneTwin(self.id, kinds, properties, self.parent)


@dataclass(slots=True)
class Plant:
    """The whole picture at `seq`. `historical`: the past time shown; `lost_since`: when the service went."""

    twins: dict[str, TwinView] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    service: str = "twinloom"
    seq: int = 0
    time: str = ""
    historical: str = ""
    lost_since: str = ""

    def standing(self) -> list[Alert]:
        """Alerts that stand, worst and newest first."""
        order = {"CRITICAL": 0, "WARNING": 1, "INFO": 2}
        alerts = [alert for alert in self.alerts.values() if alert.stands]
        alerts.sort(key=lambda alert: alert.raised_at, reverse=True)
        alerts.sort(key=lambda alert: order.get(alert.severity, 3))
        return alerts
