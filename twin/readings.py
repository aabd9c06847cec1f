"""What a source hands over: columns of readings, and the gaps between them.

A *slot* is the index of one numeric value in the hot graph's columns; a source resolves (twin, path) to a slot once,
when it subscribes. Quality is an OPC UA StatusCode (Part 4, 7.39): the two top bits say Good 00, Uncertain 01, Bad 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json

Slots = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint32]

GOOD = 0x00000000
UNCERTAIN = 0x40000000
BAD = 0x80000000
BAD_NO_COMMUNICATION = 0x80310000
OVERFLOW_BIT = 0x00000480  # InfoType DataValue + Overflow (Part 4, table 177)


def is_good(quality: int) -> bool:
    """True for Good of any sub-code.

    >>> is_good(0), is_good(0x80310000)
    (True, False)
    """
    return quality >> 30 == 0


def severity(quality: int) -> str:
    """`good`, `uncertain` or `bad`: the severity bits of a StatusCode."""
    return ("good", "uncertain", "bad", "bad")[quality >> 30]


@dataclass(frozen=True, slots=True)
class TextReading:
    """The slow lane: one value that is no number (text, boolean map, structure), addressed by name."""

    twin: TwinId
    path: str
    value: Json
    source_time_ns: int
    quality: int = GOOD


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """n readings as columns of equal length.

    slots int32 (n,), values float64 (n,) already in the model's unit, source_times_ns int64 (n,) UTC,
    quality uint32 (n,). `received_ns` is when the batch reached this process; `lost` counts values that the source
    knows were lost before this batch, by reason (`queue_overflow`, ...).
    """

    source: str
    slots: Slots
    values: Floats
    source_times_ns: Times
    quality: Codes
    received_ns: int
    texts: tuple[TextReading, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.slots) + len(self.texts)


@dataclass(frozen=True, slots=True)
class Gap:
    """A span for which a source delivered nothing. `twins` empty = every twin of that source. `filled` = backfilled."""

    source: str
    start_ns: int
    end_ns: int
    reason: str
    twins: tuple[TwinId, ...] = ()
    filled: bool = False
