"""The simulator's own count of what it put out, so that a run can prove per node that nothing was lost.

A sample is put out at every tick for every node, so the exact number of samples of a node between two source times is
the number of ticks between them. Times are ns since 1970 UTC, whole microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from twinloom.twin.errors import BadFile

_KEPT_TICKS = 360_000  # ten hours at 10 Hz


class Ledger:
    """Counts samples per node while the simulator runs."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self.nodes = tuple(nodes)
        self.counts: npt.NDArray[np.uint64] = np.zeros(len(nodes), dtype=np.uint64)
        self._ticks = np.zeros(1024, dtype=np.int64)
        self._filled = 0
        self._first_ns = 0

    def tick(self, time_ns: int) -> None:
        """Every node put out one sample with this source time."""
        if self._filled == len(self._ticks):
            if self._filled >= _KEPT_TICKS:
                self._filled //= 2
                self._ticks[: self._filled] = self._ticks[self._filled : 2 * self._filled].copy()
            else:
                self._ticks = np.concatenate([self._ticks, np.zeros_like(self._ticks)])
        self._ticks[self._filled] = time_ns
        self._filled += 1
        self._first_ns = self._first_ns or time_ns
        self.counts += 1

    def between(self, start_ns: int, end_ns: int) -> int:
        """Samples of one node with start_ns <= source time <= end_ns."""
        ticks = self._ticks[: self._filled]
        return int(np.searchsorted(ticks, end_ns, "right") - np.searchsorted(ticks, start_ns, "left"))

    def write(self, path: Path, *, plant: str, replaced: int) -> None:
        """Writes `path` whole or not at all: per node count, first and last source time, and the ticks."""
        ticks = self._ticks[: self._filled]
        last = int(ticks[-1]) if len(ticks) else 0
        document = {
            "plant": plant,
            "replaced": replaced,
            "nodes": {
                node: {"count": int(count), "first_ns": self._first_ns, "last_ns": last}
                for node, count in zip(self.nodes, self.counts, strict=True)
            },
            "ticks_ns": ticks.tolist(),
        }
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(document), encoding="utf-8")
        partial.replace(path)


@dataclass(frozen=True, slots=True)
class Record:
    """A ledger read back from the simulator's statistics file."""

    plant: str
    counts: Mapping[str, int]
    ticks_ns: npt.NDArray[np.int64]

    def between(self, node: str, start_ns: int, end_ns: int) -> int:
        """Samples that `node` (`line-1/cnc-01/spindle/speed`) put out from start_ns to end_ns, both included.

        0 for a node that the simulator does not have. Exact for the last ten hours at 10 Hz.
        """
        if node not in self.counts:
            return 0
        return int(np.searchsorted(self.ticks_ns, end_ns, "right") - np.searchsorted(self.ticks_ns, start_ns, "left"))


def read_record(path: Path) -> Record:
    """The ledger in `path`, a `--stats-file`. Raises BadFile when it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            plant=document["plant"],
            counts={node: entry["count"] for node, entry in document["nodes"].items()},
            ticks_ns=np.array(document["ticks_ns"], dtype=np.int64),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFile(
            str(path), "not a simulator's statistics file", remedy="end the simulator with SIGTERM"
        ) from error
