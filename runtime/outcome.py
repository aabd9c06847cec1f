"""The answer to an order."""

from __future__ import annotations

from dataclasses import dataclass

from twinloom.twin.ids import ModelId, TwinId


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an order did: `seq` is the number of its last signal, so a read with `minSeq = seq` sees it.

    Only the ids that the order was about are set. For a relationship `twin` is its source. `etag` is the new one of the
    twin or relationship. `replayed`: the same key was executed before, and this is its first outcome.
    """

    seq: int
    twin: TwinId | None = None
    relationship: str = ""
    models: tuple[ModelId, ...] = ()
    alert: str = ""
    work_order: str = ""
    command: str = ""
    etag: str = ""
    replayed: bool = False
