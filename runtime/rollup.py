"""From the estimates of components to those of machines, lines and plants, as their models' rule says.

A whole's estimate has the method `rollup`; its details name the component that decides and how many parts count. Only
the ancestors of what was scored are computed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from twinloom.graph.hot import HotGraph
from twinloom.prognostics.rollup import Rolled, RollUp, Rule, rule_of
from twinloom.runtime.estimates import EstimateBook
from twinloom.twin.assessments import Health, ModelHealth, RulEstimate
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import ModelId, TwinId

log = logging.getLogger(__name__)

METHOD = "rollup"
CONTAINS = "contains"
WEIGHT = "rollup_weight"


class Rollups:
    """`rise` on the event-loop thread with every scoring; `moved` when a part came, went or was moved."""

    def __init__(self, hot: HotGraph, estimates: EstimateBook) -> None:
        self._hot = hot
        self._estimates = estimates
        self._rules: dict[ModelId, Rule] = {}
        self._models = hot.models
        self._roll = RollUp(self._parent_of, rule_for=self.rule_for, weight_of=self._weight_of)

    def load(self) -> None:
        """Takes over the kept estimates; a whole that no part stands behind any more loses its own."""
        kept = list(self._estimates)
        self._roll.update([e for e in kept if e.method != METHOD and e.twin in self._hot])
        self._prune()

    def rise(self, estimates: Iterable[RulEstimate]) -> list[RulEstimate]:
        """The estimates of the wholes that changed by these of components, which the book holds already."""
        return [self._estimate(rolled) for rolled in self._roll.update(estimates)]

    def moved(self, part: TwinId) -> list[RulEstimate]:
        """A part's place has changed: the wholes that lose or gain by it."""
        changed = {rolled.twin: rolled for rolled in self._roll.remove(part)}
        below = self._below(part)
        changed |= {rolled.twin: rolled for rolled in self._roll.update(below)}
        self._prune()
        return [self._estimate(rolled) for twin, rolled in changed.items() if self._roll.get(twin) is not None]

    def combine(self, whole: TwinId, estimates: Iterable[RulEstimate]) -> RulEstimate | None:
        """What these estimates of components give for a whole, without keeping anything. None when it has no part."""
        roll = RollUp(self._parent_of, rule_for=self.rule_for, weight_of=self._weight_of)
        given = {estimate.twin: estimate for estimate in estimates}
        roll.update(given.values())
        found = roll.get(whole)
        return None if found is None else self._estimate(found, given)

    def rule_for(self, whole: TwinId) -> Rule:
        """The rule in the comment of the whole's model; a rule that does not exist counts as `min`, and is logged."""
        row = self._hot.row(whole)
        if row is None:
            return Rule()
        model = self._hot.model_of(row)
        if self._models is not self._hot.models:
            self._models = self._hot.models
            self._rules.clear()
        if model not in self._rules:
            interface = self._hot.models.get(model)
            document = interface.document if interface is not None else None
            comment = document.get("comment") if isinstance(document, dict) else None
            try:
                self._rules[model] = rule_of(comment if isinstance(comment, str) else "")
            except BadRequest as error:
                log.warning("the roll-up rule of %s is not used: %s", model, error)
                self._rules[model] = Rule()
        return self._rules[model]

    def _below(self, twin: TwinId) -> list[RulEstimate]:
        row = self._hot.row(twin)
        if row is None:
            return []
        ids = (self._hot.id_of(int(r)) for r in self._hot.subtree(row, CONTAINS))
        found = (self._estimates.latest(id) for id in ids)
        return [e for e in found if e is not None and e.method != METHOD]

    def _prune(self) -> None:
        for estimate in list(self._estimates):
            if estimate.method == METHOD and self._roll.get(estimate.twin) is None:
                self._estimates.forget(estimate.twin)

    def _parent_of(self, twin: TwinId) -> TwinId | None:
        row = self._hot.row(twin)
        edges = self._hot.into(row, CONTAINS) if row is not None else ()
        return self._hot.id_of(edges[0].source) if edges else None

    def _weight_of(self, twin: TwinId) -> float:
        row = self._hot.row(twin)
        value = self._hot.value(row, WEIGHT) if row is not None else None
        return float(value) if isinstance(value, int | float) and value == value else 1.0

    def _estimate(self, rolled: Rolled, given: dict[TwinId, RulEstimate] | None = None) -> RulEstimate:
        decides = (given or {}).get(rolled.deciding) or self._estimates.latest(rolled.deciding)
        rule = self.rule_for(rolled.twin)
        said = decides.recommendation if decides is not None else ""
        return RulEstimate(
            twin=rolled.twin,
            rul_days=rolled.rul_days,
            low=rolled.low,
            high=rolled.high,
            health=rolled.health if rolled.health is not None else Health.UNKNOWN,
            recommendation=f"{rolled.deciding}: {said}" if said else "",
            model_health=decides.model_health if decides is not None else ModelHealth.DEGRADED,
            model_version=f"{rule.kind} {rule.k}" if rule.kind == "k-of-n" else rule.kind,
            method=METHOD,
            reason=decides.reason if decides is not None else "missing: the deciding part has no estimate",
            source_time_ns=decides.source_time_ns if decides is not None else 0,
            quality_share=decides.quality_share if decides is not None else 0.0,
            details={"deciding": rolled.deciding, "parts": rolled.parts, "rule": rule.kind},
        )
