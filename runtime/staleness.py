"""Which twins are stale: their source is not live, so their values say what was, not what is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twinloom.twin.ids import TwinId
from twinloom.twin.ports import SourceStatus


class Staleness:
    """By source, the twins it feeds and since when it is not live. A twin is stale while any of its sources is not."""

    def __init__(self) -> None:
        self._statuses: dict[str, SourceStatus] = {}
        self._twins: dict[str, frozenset[TwinId]] = {}
        self._stale: dict[TwinId, dict[str, int]] = {}

    def report(self, status: SourceStatus, twins: Sequence[TwinId]) -> bool:
        """Takes a source's word. True when its state, reason or twins changed."""
        before = self._statuses.get(status.name)
        fed = frozenset(twins) if twins else self._twins.get(status.name, frozenset())
        same = before is not None and (before.state, before.reason) == (status.state, status.reason)
        same = same and fed == self._twins.get(status.name)
        self._statuses[status.name] = status
        if same:
            return False
        for twin in self._twins.get(status.name, frozenset()):
            sources = self._stale.get(twin)
            if sources is not None:
                sources.pop(status.name, None)
                if not sources:
                    del self._stale[twin]
        self._twins[status.name] = fed
        if status.state != "live":
            for twin in fed:
                self._stale.setdefault(twin, {})[status.name] = status.since_ns
        return True

    def since(self, twin: str) -> int | None:
        """Since when the twin is stale (ns UTC), or None when it is not."""
        sources = self._stale.get(TwinId(twin))
        return min(sources.values()) if sources else None

    def is_stale(self, twin: str) -> bool:
        return twin in self._stale

    def twins(self) -> Iterable[TwinId]:
        """Every stale twin."""
        return self._stale.keys()

    def fed_by(self, source: str) -> frozenset[TwinId]:
        return self._twins.get(source, frozenset())

    def statuses(self) -> list[SourceStatus]:
        """The last word of each source, by name."""
        return [self._statuses[name] for name in sorted(self._statuses)]
