"""The latest estimate of each component: in memory for reads, in the store behind, in the history as a trend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from twinloom.graph.store import PutRecord
from twinloom.runtime.records import ESTIMATE, document, record
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json

HISTORY_PATHS = ("rul_days", "rul_low", "rul_high")


class EstimateBook:
    """`latest` answers at once; `take_dirty` hands the write-behind what the store does not have yet."""

    def __init__(self) -> None:
        self._latest: dict[TwinId, RulEstimate] = {}
        self._seqs: dict[TwinId, int] = {}
        self._dirty: dict[TwinId, None] = {}

    def load(self, records: Iterable[tuple[str, Json]]) -> None:
        for key, stored in records:
            self._latest[TwinId(key)] = record(RulEstimate, stored)

    def __len__(self) -> int:
        return len(self._latest)

    def __iter__(self) -> Iterator[RulEstimate]:
        return iter(self._latest.values())

    def latest(self, twin: str) -> RulEstimate | None:
        return self._latest.get(TwinId(twin))

    def seq_of(self, twin: str) -> int:
        """The seq with which the latest estimate was published; 0 when an earlier process made it."""
        return self._seqs.get(TwinId(twin), 0)

    def put(self, estimates: Sequence[RulEstimate], seq: int) -> None:
        for estimate in estimates:
            self._latest[estimate.twin] = estimate
            self._seqs[estimate.twin] = seq
            self._dirty[estimate.twin] = None

    def forget(self, twin: TwinId) -> None:
        """The twin is gone."""
        self._latest.pop(twin, None)
        self._seqs.pop(twin, None)
        self._dirty.pop(twin, None)

    def take_dirty(self, limit: int) -> list[PutRecord]:
        """Records to store, at most `limit`; give back with `put_back` what could not be stored."""
        taken = list(self._dirty)[:limit]
        for twin in taken:
            del self._dirty[twin]
        return [PutRecord(ESTIMATE, twin, document(self._latest[twin])) for twin in taken]

    def put_back(self, records: Iterable[PutRecord]) -> None:
        for put in records:
            if put.key in self._latest:
                self._dirty[TwinId(put.key)] = None
