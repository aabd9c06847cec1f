"""Alerts on the health of estimates: one when a component's becomes worse, one a plant when a model drifts.

An alert is raised after a second estimate in a row that is not `ok`, once an `ok` one was seen; it clears with the next
`ok`. A short history (a part just replaced) is no trouble of the model and raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from twinloom.graph.hot import HotGraph
from twinloom.runtime.alerts import MODEL_HEALTH, AlertBook
from twinloom.runtime.rollup import CONTAINS, METHOD
from twinloom.twin.assessments import ModelHealth, RulEstimate, Severity
from twinloom.twin.ids import TwinId

_GRADE = {ModelHealth.OK: 0.0, ModelHealth.DRIFTING: 1.0, ModelHealth.DEGRADED: 2.0}
_EXPECTED = ("history",)
_IN_A_ROW = 2


class ModelHealthWatch:
    """`judge` with every scoring, `model_changed` when a model's own health changed; both on the event-loop thread."""

    def __init__(self, hot: HotGraph, alerts: AlertBook) -> None:
        self._hot = hot
        self._alerts = alerts
        self._seen_ok: set[TwinId] = set()
        self._bad: dict[TwinId, int] = {}

    def load(self, estimates: Iterable[RulEstimate]) -> None:
        """Estimates that an earlier process gave: those that were ok count as seen."""
        self._seen_ok = {e.twin for e in estimates if e.model_health is ModelHealth.OK}

    def judge(self, estimates: Iterable[RulEstimate]) -> None:
        for estimate in estimates:
            if estimate.method == METHOD:
                continue
            twin, health = estimate.twin, estimate.model_health
            if health is not ModelHealth.DEGRADED:  # drift is a matter of the model: see `model_changed`
                self._seen_ok.add(twin)
                self._bad.pop(twin, None)
                self._alerts.release(MODEL_HEALTH, twin)
            elif twin in self._seen_ok and estimate.reason.partition(":")[0] not in _EXPECTED:
                self._bad[twin] = self._bad.get(twin, 0) + 1
                if self._bad[twin] >= _IN_A_ROW:
                    message = f"Estimates of {twin} are degraded, by {estimate.method}: {estimate.reason}"
                    self._alerts.hold(MODEL_HEALTH, twin, Severity.WARNING, message, "model_health", _GRADE[health])

    def model_changed(self, digest: str, health: ModelHealth, reason: str, twins: Iterable[TwinId]) -> None:
        """The model that scores `twins` has another health: one alert for each plant that they stand in."""
        for root in sorted({self._root(twin) for twin in twins}):
            if health is ModelHealth.OK:
                self._alerts.release(MODEL_HEALTH, root)
            else:
                message = f"The model {digest} is {health.value}: {reason}"
                self._alerts.hold(MODEL_HEALTH, root, Severity.WARNING, message, "model_health", _GRADE[health])

    def _root(self, twin: TwinId) -> TwinId:
        seen: set[TwinId] = set()
        while twin not in seen:
            seen.add(twin)
            row = self._hot.row(twin)
            edges = self._hot.into(row, CONTAINS) if row is not None else ()
            if not edges:
                break
            twin = self._hot.id_of(edges[0].source)
        return twin
