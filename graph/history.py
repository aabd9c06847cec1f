"""The HistoryStore port: what every value was, and when nothing was heard.

A series is one (twin, path); its number is asked for once and kept with the slot. Appends are whole batches of columns:
durable when `append` returns, or not there at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from twinloom.twin.ids import TwinId
from twinloom.twin.readings import Codes, Floats, Gap, TextReading, Times


@dataclass(frozen=True, slots=True)
class HistoryRows:
    """n points as columns: series int32 (n,), source_time_ns int64 (n,) UTC, value f64 (n,; NaN: none), quality u32."""

    series: npt.NDArray[np.int32]
    source_time_ns: Times
    value: Floats
    quality: Codes

    def __len__(self) -> int:
        return len(self.series)


@dataclass(frozen=True, slots=True)
class Points:
    """The points of one series, oldest first; value NaN where the source had none."""

    source_time_ns: Times
    value: Floats
    quality: Codes

    def __len__(self) -> int:
        return len(self.source_time_ns)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Aggregates of one series, one row for each bucket that has a point; starts are multiples of the width.

    Points of Bad quality and points without a value are left out (as OPC UA Part 13 does by default): `count` is of the
    others, and where there are none the numbers are NaN.
    """

    start_ns: Times
    count: npt.NDArray[np.int64]
    minimum: Floats
    maximum: Floats
    average: Floats
    last: Floats

    def __len__(self) -> int:
        return len(self.start_ns)


class HistoryStore(Protocol):
    """Implemented by `DuckdbHistory`. Times are ns since 1970 UTC; a span leaves its end `to_ns` out."""

    async def open(self) -> None:
        """Raises StoreUnavailable, or BadFile for a file that is no history."""
        ...

    async def close(self) -> None: ...

    def series_of(self, twin: TwinId, path: str) -> int:
        """The number of a series, given at first use. It outlives the twin, so that a new one of that id goes on."""
        ...

    async def append(self, rows: HistoryRows) -> None: ...

    async def append_texts(self, texts: Sequence[TextReading]) -> None: ...

    async def append_gap(self, gap: Gap) -> None: ...

    async def read(self, twin: TwinId, path: str, from_ns: int, to_ns: int, limit: int) -> Points:
        """The first `limit` points of the span. Of several points of one time, the one appended last."""
        ...

    async def read_texts(
        self, twin: TwinId, path: str, from_ns: int, to_ns: int, limit: int
    ) -> Sequence[TextReading]: ...

    async def buckets(self, twin: TwinId, path: str, from_ns: int, to_ns: int, bucket_ns: int) -> Buckets: ...

    async def gaps(self, twin: TwinId | None, from_ns: int, to_ns: int) -> Sequence[Gap]:
        """Gaps that touch the span, oldest first; for a twin, those that name it or name no twin at all."""
        ...
