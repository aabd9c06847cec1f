"""The same key by the same principal is executed once: the outcomes of orders that carried a key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from twinloom.graph.store import Change, DropRecord, PutRecord
from twinloom.runtime.commits import Prepared
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.records import OUTCOME, document, record
from twinloom.twin.errors import Conflict
from twinloom.twin.instance import Json


@dataclass(frozen=True, slots=True)
class _Remembered:
    digest: str
    outcome: Outcome


class Outcomes:
    """The outcomes of orders that carried a key, the latest `kept` of them, by principal and key."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._by_key: dict[str, _Remembered] = {}

    def load(self, records: Iterable[tuple[str, Json]]) -> None:
        found = [(key, record(_Remembered, stored)) for key, stored in records]
        self._by_key = dict(sorted(found, key=lambda item: item[1].outcome.seq))

    def find(self, key: str, digest: str) -> Outcome | None:
        """The first outcome under this key. Raises Conflict when the key belonged to another order."""
        before = self._by_key.get(key)
        if before is None:
            return None
        if before.digest != digest:
            raise Conflict("this key was used for another order", remedy="use a new key for each order")
        return replace(before.outcome, replayed=True)

    def remember(self, key: str, digest: str, prepared: Prepared) -> Prepared:
        """The prepared order with its outcome in the same transaction; the oldest makes room."""
        kept = _Remembered(digest, prepared.outcome)
        changes: list[Change] = [*prepared.changes, PutRecord(OUTCOME, key, document(kept))]
        oldest = next(iter(self._by_key)) if len(self._by_key) >= self._kept else None
        if oldest is not None:
            changes.append(DropRecord(OUTCOME, oldest))

        def applied() -> None:
            if oldest is not None:
                self._by_key.pop(oldest, None)
            self._by_key[key] = kept
            if prepared.applied is not None:
                prepared.applied()

        return Prepared(prepared.outcome, tuple(changes), prepared.signals, applied)
