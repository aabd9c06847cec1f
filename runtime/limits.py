"""Published bounds of what the runtime takes. All of them can be set; the defaults are those of the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from twinloom.twin.errors import BadRequest, LimitExceeded
from twinloom.twin.instance import Json


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes of the JSON text, times in seconds.

    `ingest_values` bounds the values that wait for the fold (a source that is ahead waits); `history_values` those that
    wait for the history, `write_behind_rows` one write of last values; `feed_signals` and `feed_bytes` the feed's log.
    """

    twin_bytes: int = 32 * 1024
    model_bytes: int = 1 << 20
    models_per_upload: int = 250
    relationships_per_twin: int = 50_000
    outcomes: int = 100_000
    waiting_orders: int = 10_000
    commit_timeout_s: float = 10.0
    ingest_values: int = 200_000
    history_values: int = 2_000_000
    history_interval_s: float = 0.18
    write_behind_interval_s: float = 1.0
    write_behind_rows: int = 20_000
    estimates_interval_s: float = 10.0
    features_interval_s: float = 300.0
    scoring_deadline_s: float = 2.0
    feed_signals: int = 65_536
    feed_bytes: int = 128 << 20

    def check_twin(self, properties: Mapping[str, Json]) -> None:
        """Raises LimitExceeded when the properties of one twin or relationship are too large."""
        try:
            size = len(msgspec.json.encode(properties))
        except (TypeError, ValueError, RecursionError) as error:
            raise BadRequest("the properties are no JSON", remedy="write plain JSON values") from error
        if size > self.twin_bytes:
            raise LimitExceeded(
                f"the properties are {size} bytes, and a twin may have {self.twin_bytes}",
                remedy="keep large documents elsewhere and their address in the twin",
            )

    def check_degree(self, twin: str, existing: int) -> None:
        if existing >= self.relationships_per_twin:
            raise LimitExceeded(
                f"{twin!r} has {existing} relationships of that name, and may have {self.relationships_per_twin}",
                remedy="group the targets below a twin between",
            )

    def check_models(self, documents: Sequence[Json]) -> None:
        if len(documents) > self.models_per_upload:
            raise LimitExceeded(
                f"{len(documents)} models in one upload, and {self.models_per_upload} are allowed", remedy="split it"
            )
        for number, document in enumerate(documents):
            try:
                size = len(msgspec.json.encode(document))
            except (TypeError, ValueError, RecursionError) as error:
                raise BadRequest(f"document {number} is no JSON", remedy="upload plain JSON documents") from error
            if size > self.model_bytes:
                raise LimitExceeded(
                    f"document {number} is {size} bytes, and a model may have {self.model_bytes}", remedy="split it"
                )
