"""From components to machines, lines and plants: what lasts how long when its parts last so long.

A rule belongs to the DTDL model of the whole. Written in the interface's comment, since DTDL has no place for it:
`rollup: min` (the default: the first part to fail stops it), `rollup: k-of-n 2` (it runs while 2 of its parts do),
`rollup: weighted` (a mean, weighted by the parts' `rollup_weight`, for planning rather than for stops).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from twinloom.twin.assessments import Health, RulEstimate
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import TwinId

_RULE = re.compile(r"\brollup:\s*(?P<kind>[a-z-]+)(?:\s+(?P<k>\d+))?")
_ORDER = (Health.UNKNOWN, Health.A, Health.B, Health.C, Health.D)


@dataclass(frozen=True, slots=True)
class Rule:
    """How a whole lasts by its parts. `k`: for "k-of-n"."""

    kind: Literal["min", "k-of-n", "weighted"] = "min"
    k: int = 1


@dataclass(frozen=True, slots=True)
class Rolled:
    """Remaining life of a whole, days, with its interval, the worst zone among its parts and the part that decides."""

    twin: TwinId
    rul_days: float
    low: float
    high: float
    health: Health
    deciding: TwinId
    parts: int


def rule_of(comment: str) -> Rule:
    """The rule in a model's comment; `min` when it says none. Raises BadRequest for a rule that does not exist.

    >>> rule_of("Two of three pumps must run. rollup: k-of-n 2")
    Rule(kind='k-of-n', k=2)
    """
    found = _RULE.search(comment)
    if found is None:
        return Rule()
    kind, k = found["kind"], int(found["k"] or 1)
    if kind == "min":
        return Rule()
    if kind == "weighted":
        return Rule("weighted")
    if kind == "k-of-n" and k >= 1:
        return Rule("k-of-n", k)
    raise BadRequest(f"there is no roll-up rule {found[0]!r}", remedy="use min, k-of-n K or weighted")


class RollUp:
    """Keeps every whole's value as its parts change: an update costs its ancestors only.

    `parent_of` gives the twin that contains another (None at the top), `rule_for` a whole's rule, `weight_of` a part's
    weight. Parts without an estimate do not count.
    """

    def __init__(
        self,
        parent_of: Callable[[TwinId], TwinId | None],
        *,
        rule_for: Callable[[TwinId], Rule] = lambda twin: Rule(),
        weight_of: Callable[[TwinId], float] = lambda twin: 1.0,
    ) -> None:
        self._parent_of = parent_of
        self._rule_for = rule_for
        self._weight_of = weight_of
        self._parts: dict[TwinId, dict[TwinId, Rolled]] = {}
        self._whole: dict[TwinId, Rolled] = {}

    def get(self, twin: TwinId) -> Rolled | None:
        return self._whole.get(twin)

    def update(self, estimates: Iterable[RulEstimate]) -> list[Rolled]:
        """Takes new estimates of components. Returns the wholes that changed, parts before wholes, each once."""
        level: dict[TwinId, Rolled | None] = {
            e.twin: Rolled(e.twin, e.rul_days, e.low, e.high, e.health, e.twin, 1) for e in estimates
        }
        return self._rise(level)

    def remove(self, twin: TwinId) -> list[Rolled]:
        """A component or whole is gone, or was moved. Returns what changed above it."""
        self._whole.pop(twin, None)
        self._parts.pop(twin, None)
        for parent in [parent for parent, parts in self._parts.items() if twin in parts]:
            del self._parts[parent][twin]
            return self._rise_from(parent)
        return []

    def _rise_from(self, parent: TwinId) -> list[Rolled]:
        value = self._combine(parent)
        if value is None:
            return self.remove(parent)
        self._whole[parent] = value
        return [value, *self._rise({parent: value})]

    def _rise(self, level: Mapping[TwinId, Rolled | None]) -> list[Rolled]:
        changed: dict[TwinId, Rolled] = {}
        while level:
            touched: list[TwinId] = []
            for twin, value in level.items():
                parent = self._parent_of(twin)
                if parent is None or value is None:
                    continue
                parts = self._parts.setdefault(parent, {})
                if parts.get(twin) != value:
                    parts[twin] = value
                    touched.append(parent)
            level = {}
            for parent in dict.fromkeys(touched):
                value = self._combine(parent)
                if value is not None and value != self._whole.get(parent):
                    self._whole[parent] = level[parent] = value
                    changed.pop(parent, None)
                    changed[parent] = value
        return list(changed.values())

    def _combine(self, whole: TwinId) -> Rolled | None:
        parts = sorted(self._parts.get(whole, {}).items(), key=lambda item: (item[1].rul_days, item[0]))
        if not parts:
            return None
        rule = self._rule_for(whole)
        health = max((part.health for _, part in parts), key=_ORDER.index)
        if rule.kind == "weighted":
            weights = [max(self._weight_of(twin), 0.0) for twin, _ in parts]
            total = sum(weights) or 1.0
            mean = [
                sum(w * getattr(part, name) for w, (_, part) in zip(weights, parts, strict=True)) / total
                for name in ("rul_days", "low", "high")
            ]
            return Rolled(whole, mean[0], mean[1], mean[2], health, parts[0][1].deciding, len(parts))
        # It stops when fewer than k parts are left: at the (n - k + 1)-th failure.
        place = 0 if rule.kind == "min" else max(len(parts) - rule.k, 0)
        low = sorted(part.low for _, part in parts)[place]
        high = sorted(part.high for _, part in parts)[place]
        decides = parts[place][1]
        rul = decides.rul_days
        if rule.kind == "k-of-n":
            health = sorted((part.health for _, part in parts), key=_ORDER.index, reverse=True)[place]
        return Rolled(whole, rul, min(low, rul), max(high, rul), health, decides.deciding, len(parts))
