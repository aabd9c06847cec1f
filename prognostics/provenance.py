"""Where an estimate came from, kept with it, so that it can be computed again bit for bit.

A record names the model's digest and the window that it saw: its features' digest, its age, the share of good readings
and the span of readings. `replay` builds the window anew from the history's raw readings; `explain` scores it by the
same model and says whether all came out the same. Scoring is row-wise exact: a batch of one gives the bits of a batch
of 47, and `FeatureBank` sums readings in their order, however they were batched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.estimator import ComponentWindow, Refused, RulEstimator
from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import Layout
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json

_ARRAYS = {"features": np.float32, "daily": np.float64, "bad": np.bool_, "frozen": np.int64}


@dataclass(frozen=True, slots=True)
class RawReading:
    """One reading of the component as history keeps it."""

    channel: str
    value: float
    quality: int
    source_time_ns: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """The estimate computed again, and how it compares. `exact`: every bit of what the model gave (life, low, high;
    before any online recalibration) is the same; else `difference` says what is not. `contributions`: days that the
    estimate moves when a feature is set to its mean in training, largest first."""

    estimate: RulEstimate | Refused
    exact: bool
    difference: str
    window_digest: str
    contributions: tuple[tuple[str, float], ...]


def digest_of(window: ComponentWindow) -> str:
    """12 hex digits of all that an estimator can see of the window."""
    sha = hashlib.sha256(window.layout.digest.encode())
    for name, dtype in _ARRAYS.items():
        sha.update(np.ascontiguousarray(getattr(window, name), dtype).tobytes())
    sha.update(repr((window.strides, window.age, window.since_install, window.quality_share, window.defect)).encode())
    return sha.hexdigest()[:12]


def record_of(window: ComponentWindow, estimate: RulEstimate) -> dict[str, Json]:
    """What to keep with an estimate: JSON, some 3 KB for the default layout. `read_window` takes it back."""
    return {
        "twin": estimate.twin,
        "method": estimate.method,
        "model": estimate.model_version,
        "rul_days": estimate.rul_days,
        "low": estimate.low,
        "high": estimate.high,
        "model_gave": list(estimate.details.get("model_gave", (estimate.rul_days, estimate.low, estimate.high))),
        "model_health": estimate.model_health.value,
        "reason": estimate.reason,
        "source_time_ns": estimate.source_time_ns,
        "drift_score": estimate.details.get("drift_score", 0.0),
        "window": {
            "digest": digest_of(window),
            "layout": window.layout.digest,
            "strides": window.strides,
            "age": window.age if np.isfinite(window.age) else None,
            "since_install": window.since_install,
            "quality_share": window.quality_share,
            "defect": window.defect,
            **{
                name: base64.b64encode(np.ascontiguousarray(getattr(window, name), dtype).tobytes()).decode()
                for name, dtype in _ARRAYS.items()
            },
        },
    }


def read_window(record: Mapping[str, Json], layout: Layout) -> ComponentWindow:
    """The window of a record. Raises BadRequest when it is of another layout or broken."""
    kept = record.get("window")
    if not isinstance(kept, Mapping) or kept.get("layout") != layout.digest:
        raise BadRequest("the estimate was made from another layout of features", remedy="load the model it names")
    w, c = layout.window, len(layout.channels)
    shapes = {"features": (w, len(layout.features)), "daily": (w, c), "bad": (w, c), "frozen": (c,)}
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    try:
        for name, dtype in _ARRAYS.items():
            arrays[name] = np.frombuffer(base64.b64decode(str(kept[name])), dtype).reshape(shapes[name])
        return ComponentWindow(
            twin=TwinId(str(record["twin"])),
            layout=layout,
            **arrays,  # type: ignore[arg-type]
            strides=int(kept["strides"]),
            age=float("nan") if kept["age"] is None else float(kept["age"]),
            since_install=bool(kept["since_install"]),
            quality_share=float(kept["quality_share"]),
            source_time_ns=int(record["source_time_ns"]),
            defect=str(kept["defect"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest("the estimate's record is broken", remedy="it cannot be explained") from error


def replay(twin: TwinId, readings: Iterable[RawReading], layout: Layout) -> list[ComponentWindow]:
    """Every window that the component had, one a closed stride, from its raw readings in the order of their times."""
    bank = FeatureBank(layout)
    row = bank.add(twin)
    windows: list[ComponentWindow] = []
    clock = layout.clock
    batch: list[RawReading] = []

    def take() -> None:
        if not batch:
            return
        bank.observe(
            np.full(len(batch), row),
            np.array([layout.channel_index(reading.channel) for reading in batch]),
            np.array([reading.value for reading in batch], np.float64),
            np.array([reading.quality for reading in batch], np.uint32),
            np.array([reading.source_time_ns for reading in batch], np.int64),
        )
        batch.clear()
        windows.extend(bank.due())

    for reading in readings:
        if layout.channel_index(reading.channel) < 0:
            continue
        batch.append(reading)
        if reading.channel == clock:
            take()
    take()
    return windows


def explain(
    record: Mapping[str, Json],
    window: ComponentWindow,
    estimator: RulEstimator,
    *,
    training_means: Sequence[float] = (),
) -> Explanation:
    """Scores `window` again by the model that the record names and compares every bit. Raises BadRequest when
    `estimator` is another model."""
    if estimator.version != record.get("model"):
        raise BadRequest(
            f"the estimate was made by model {record.get('model')}, not {estimator.version}",
            remedy="load that model beside",
        )
    (answer,) = estimator.estimate([window])
    kept = record.get("window")
    was = kept.get("digest") if isinstance(kept, Mapping) else ""
    difference = ""
    if digest_of(window) != was:
        difference = "the window is another one than the estimate saw"
    elif isinstance(answer, Refused):
        difference = f"now refused: {answer.reason}"
    else:
        now = [answer.rul_days, answer.low, answer.high]
        if now != record.get("model_gave"):
            difference = f"the model gave {record.get('model_gave')}, now {now}"
    moved = _contributions(window, estimator, answer, training_means) if isinstance(answer, RulEstimate) else ()
    return Explanation(answer, not difference, difference, digest_of(window), moved)


def _contributions(
    window: ComponentWindow, estimator: RulEstimator, answer: RulEstimate, means: Sequence[float]
) -> tuple[tuple[str, float], ...]:
    if len(means) != len(window.layout.features):
        return ()
    from dataclasses import replace

    changed = []
    for i, mean in enumerate(means):
        features = window.features.copy()
        features[:, i] = mean
        changed.append(replace(window, features=features))
    moved = [
        (feature.name, answer.rul_days - other.rul_days)
        for feature, other in zip(window.layout.features, estimator.estimate(changed), strict=True)
        if isinstance(other, RulEstimate)
    ]
    return tuple(sorted(moved, key=lambda entry: -abs(entry[1])))
