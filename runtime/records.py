"""Durable records as JSON documents and back: alerts, work orders, estimates, outcomes, commands."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from twinloom.twin.instance import Json

T = TypeVar("T")

ALERT = "alert"
WORK_ORDER = "work_order"
ESTIMATE = "estimate"
OUTCOME = "outcome"
COMMAND = "command"
DECOMMISSIONED = "decommissioned_model"
FEATURES = "features"
FAILURE = "confirmed_failure"
LEARNER = "learner"
RUL_MODELS = "rul_models"


def document(record: Any) -> dict[str, Json]:
    """A record (a dataclass of plain fields) as a JSON object.

    >>> from twinloom.runtime.outcome import Outcome
    >>> document(Outcome(seq=7, etag="7"))["seq"]
    7
    """
    built = msgspec.to_builtins(record)
    if not isinstance(built, dict):
        raise TypeError(f"{type(record).__name__} is no record")
    return built


def record(kind: type[T], stored: Json) -> T:
    """A stored document as a record of `kind`; fields that a later version added get their defaults."""
    return msgspec.convert(stored, kind)
