"""Bounds on a document, checked before it is validated: depth, aliases, directives, root fields, all through fragments.

A fragment counts at every place that spreads it, so that nesting fragments hides nothing; each is measured once, so
that 2^12 spreads cost no more to refuse than twelve.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from twinloom.api.errors import TooManyRequests
from twinloom.api.limits import Limits
from twinloom.twin.errors import LimitExceeded


@dataclass(slots=True)
class Extent:
    """How large a selection set is once its fragments are spread."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0


def check_document(document: DocumentNode, limits: Limits, *, introspection: bool) -> None:
    """Raises LimitExceeded for the first bound that an operation of the document breaks.

    With `introspection` (development) what lies below `__schema` and `__type` is not measured for depth.
    """
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    measured: dict[str, Extent] = {}
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode):
            continue
        extent = _measure(node.selection_set, fragments, measured, set(), introspection)
        extent.directives += len(node.directives or ())
        root = _root_fields(node.selection_set, fragments, set())
        for what, found, limit in (
            ("depth", extent.depth, limits.depth),
            ("aliases", extent.aliases, limits.aliases),
            ("directives", extent.directives, limits.directives),
            ("root fields", root, limits.root_fields),
            ("fields", extent.fields, limits.cost),
        ):
            if found > limit:
                raise LimitExceeded(
                    f"the operation has {what} {found}, more than {limit}", remedy="split the operation"
                )


def _measure(
    selections: SelectionSetNode,
    fragments: dict[str, FragmentDefinitionNode],
    measured: dict[str, Extent],
    open_: set[str],
    introspection: bool,
) -> Extent:
    total = Extent()
    for selection in selections.selections:
        total.directives += len(selection.directives or ())
        if isinstance(selection, FieldNode):
            total.fields += 1
            total.aliases += selection.alias is not None
            depth = 1
            if selection.selection_set is not None:
                if introspection and selection.name.value in ("__schema", "__type"):
                    continue
                inner = _measure(selection.selection_set, fragments, measured, open_, introspection)
                depth += inner.depth
                _add(total, inner)
            total.depth = max(total.depth, depth)
            continue
        if isinstance(selection, FragmentSpreadNode):
            name = selection.name.value
            fragment = fragments.get(name)
            if fragment is None or name in open_:
                continue  # validation reports unknown and circular fragments
            found = measured.get(name)
            if found is None:
                open_.add(name)
                found = measured[name] = _measure(fragment.selection_set, fragments, measured, open_, introspection)
                open_.discard(name)
            inner = found
        else:
            inner = _measure(selection.selection_set, fragments, measured, open_, introspection)  # type: ignore[attr-defined]
        total.depth = max(total.depth, inner.depth)
        _add(total, inner)
    return total


def _add(total: Extent, inner: Extent) -> None:
    total.fields += inner.fields
    total.aliases += inner.aliases
    total.directives += inner.directives


def _root_fields(selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode], open_: set[str]) -> int:
    count = 0
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            count += 1
        elif isinstance(selection, FragmentSpreadNode):
            name = selection.name.value
            if name in fragments and name not in open_:
                count += _root_fields(fragments[name].selection_set, fragments, open_ | {name})
        else:
            count += _root_fields(selection.selection_set, fragments, open_)  # type: ignore[attr-defined]
    return count


class Buckets:
    """Token buckets by subject: `rate` a second, `burst` at once. The longest unused are forgotten."""

    def __init__(self, rate: float, burst: float, *, kept: int = 10_000) -> None:
        self._rate = rate
        self._burst = burst
        self._kept = kept
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, subject: str) -> None:
        """Takes one token. Raises TooManyRequests with the time to wait when there is none."""
        now = time.monotonic()
        level, then = self._levels.get(subject, (self._burst, now))
        level = min(self._burst, level + (now - then) * self._rate)
        if level < 1.0:
            wait = (1.0 - level) / self._rate
            self._levels[subject] = (level, now)
            raise TooManyRequests(
                f"more than {self._rate:g} requests a second",
                remedy="wait, then send fewer",
                retry_after_s=max(wait, 0.001),
            )
        self._levels[subject] = (level - 1.0, now)
        if len(self._levels) > self._kept:
            self._levels.popitem(last=False)

    def empty(self, subject: str) -> bool:
        """True when the subject has no token left. Takes none."""
        entry = self._levels.get(subject)
        if entry is None:
            return False
        level, then = entry
        return min(self._burst, level + (time.monotonic() - then) * self._rate) < 1.0
