"""What a resolver may touch: the hot graph and the books of the running service, for one request of one principal.

The narrow place between the schema and the runtime: resolvers ask here, never the service itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import strawberry

from twinloom.api.schema.identity import key_of, suggestion
from twinloom.api.tokens import Principal
from twinloom.twin.assessments import Alert, AlertState, Health, RulEstimate, WorkOrder
from twinloom.twin.errors import BadRequest, NotFound, TwinloomError
from twinloom.twin.ids import ModelId, TwinId

if TYPE_CHECKING:
    from twinloom.api.engine import Edition
    from twinloom.api.services import Services
    from twinloom.graph.hot import HotGraph
    from twinloom.runtime.service import Service

Info = strawberry.Info[Any, Any]


@dataclass(slots=True)
class Context:
    """One request."""

    services: Services
    principal: Principal
    edition: Edition | None = None
    histories: int = 0
    hot: HotGraph = field(init=False)
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.service = self.services.service
        self.hot = self.service.hot

    @property
    def seq(self) -> int:
        """The seq of what a read sees now."""
        return self.hot.seq

    def row(self, identity: str) -> int | None:
        """The row of a twin, given its twin id or its global id; None when there is no such twin."""
        row = self.hot.row(identity)
        if row is None and ":" not in identity:
            try:
                kind, key = key_of(identity)
            except BadRequest:
                return None
            return self.hot.row(key) if kind == "Twin" else None
        return row

    def row_of(self, identity: str) -> int:
        """As `row`; raises NotFound."""
        row = self.row(identity)
        if row is None:
            raise NotFound(f"there is no twin {identity[:80]!r}", remedy="check the id, `twins` lists them")
        return row

    def twin_id(self, identity: str) -> TwinId:
        """The twin id that `identity` (twin id or global id) means, whether or not such a twin exists."""
        if self.hot.row(identity) is None and ":" not in identity:
            try:
                kind, key = key_of(identity)
            except BadRequest:
                return TwinId(identity)
            if kind == "Twin":
                return TwinId(key)
        return TwinId(identity)

    def known_path(self, path: str) -> bool:
        """True when some registered model has a Property or Telemetry at `path`, or one whose object it leads into."""
        paths = self.paths()
        while path and path not in paths:
            path = path.rpartition(".")[0]
        return bool(path)

    def paths(self) -> frozenset[str]:
        """Every path of every registered model."""
        models = self.hot.models
        cached = _PATHS.get(id(models))
        if cached is None or cached[0] is not models:
            paths = frozenset(path for model in models for path in models.fields(model))
            cached = (models, paths)
            _PATHS.clear()
            _PATHS[id(models)] = cached
        return cached[1]

    def unknown_path(self, path: str, models: Iterable[ModelId] = ()) -> TwinloomError:
        """The error that says that no model has `path`, with the nearest that one has."""
        names: Sequence[str] = sorted(
            {name for model in models for name in self.hot.models.fields(model)} or self.paths()
        )
        return BadRequest(
            f"no registered model has a property {path[:80]!r}",
            remedy=suggestion(path, names) or "`model { fields { path } }` lists them",
        )

    def decommissioned(self, model: ModelId) -> bool:
        return model in self.service.orders.decommissioned

    # ---- what the server concludes ---------------------------------------------------------------------------------

    def estimate(self, twin: TwinId) -> tuple[RulEstimate, int] | None:
        """The latest estimate of a twin with its seq."""
        book = self.service.estimates
        found = book.latest(twin)
        return None if found is None else (found, book.seq_of(twin))

    def health(self, row: int, twin: TwinId) -> Health:
        """The zone of a scored twin; of another the worst zone among what it contains."""
        own = self.service.estimates.latest(twin)
        if own is not None:
            return own.health
        worst = Health.UNKNOWN
        for edge in self.hot.out(row, "contains"):
            found = self.health(edge.target, self.hot.id_of(edge.target))
            if _BADNESS[found] > _BADNESS[worst]:
                worst = found
        return worst

    def alert(self, alert: str) -> Alert | None:
        return self.service.alerts.get(alert)

    def alerts_of(self, twin: TwinId, states: Iterable[AlertState] | None = None) -> Sequence[Alert]:
        """Alerts of a twin, newest first; those that stand when no states are given."""
        return self.service.alerts.find(twin=twin, states=STANDING if states is None else states)

    def has_alert(self, twin: TwinId) -> bool:
        return bool(self.alerts_of(twin))

    def alerts(self) -> Iterable[Alert]:
        return self.service.alerts.find()

    def work_orders(self) -> Iterable[WorkOrder]:
        return self.service.work_orders.find()

    def work_orders_of(self, twin: TwinId) -> Sequence[WorkOrder]:
        return self.service.work_orders.find(twin=twin)

    def work_order(self, order: str) -> WorkOrder | None:
        return self.service.work_orders.get(order)

    def work_order_of_alert(self, alert: Alert) -> WorkOrder | None:
        return self.service.work_orders.of_alert(alert)

    def stale_since(self, twin: TwinId) -> int | None:
        """Since when (ns) the source of a twin is not live; None while it is, and for twins without a source."""
        return self.service.stale_since(twin)


STANDING = (AlertState.RAISED, AlertState.ACKNOWLEDGED)
_BADNESS = {Health.UNKNOWN: 0, Health.A: 1, Health.B: 2, Health.C: 3, Health.D: 4}
_PATHS: dict[int, tuple[Any, frozenset[str]]] = {}
