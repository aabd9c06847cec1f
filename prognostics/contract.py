"""What a model says of itself: the JSON contract in an ONNX file's `metadata_props`, key `twinloom.contract`.

Everything that is needed to use the model is in it, so that a model and its manual cannot be separated; a model from
any toolkit works if it carries one (docs/prognostics/own-model.md has the fields in a page). `read` refuses what is
missing, unknown or contradictory, by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from twinloom.prognostics.layout import Channel, Feature, Layout, Transform
from twinloom.twin.errors import BadFile
from twinloom.twin.instance import Json

METADATA_KEY = "twinloom.contract"
SCHEMA_VERSION = 1
OUTPUTS = ("mean", "q05", "q50", "q95")
MAX_WINDOW = 1024
MAX_FEATURES = 512

History = Literal["window", "install"]


@dataclass(frozen=True, slots=True)
class Range:
    """What a feature looked like in training, in its own unit: inputs far outside are refused."""

    mean: float
    std: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Interval:
    """Mondrian conformal: `half_widths[i]` around a prediction between `edges[i]` and `edges[i + 1]` (target units)."""

    level: float
    edges: tuple[float, ...]
    half_widths: tuple[float, ...]
    method: str = "mondrian"


@dataclass(frozen=True, slots=True)
class ModelContract:
    """`target_unit` ("day", "cycle"), `cap`: the largest value the model can say; `clock_per_target`: clock units in
    one target unit (24 h in a day). `history`: "install" when features need to have been watched since installation.
    `ranges`: one a feature. `outputs`: OUTPUTS, or the mean alone. `training`, `metrics`: for people and the card."""

    layout: Layout
    target_unit: str
    cap: float
    clock_per_target: float
    history: History
    ranges: tuple[Range, ...]
    interval: Interval
    training: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, Json] = field(default_factory=dict)
    outputs: tuple[str, ...] = OUTPUTS
    created: str = ""
    commit: str = ""

    def dump(self) -> str:
        """The contract as the JSON text that `read` takes."""
        units = {channel.name: channel.unit for channel in self.layout.channels}
        document = {
            "schema_version": SCHEMA_VERSION,
            "task": "rul",
            "target": {"unit": self.target_unit, "cap": self.cap, "clock_per_unit": self.clock_per_target},
            "outputs": list(self.outputs),
            "window": self.layout.window,
            "stride": self.layout.stride,
            "clock": self.layout.clock,
            "history_required": self.history,
            "channels": [
                {key: value for key, value in asdict(channel).items() if value not in (-math.inf, math.inf)}
                for channel in self.layout.channels
            ],
            "features": [
                {**asdict(feature), "unit": units[feature.channel], **asdict(range_)}
                for feature, range_ in zip(self.layout.features, self.ranges, strict=True)
            ],
            "interval": asdict(self.interval),
            "training": dict(self.training),
            "metrics": dict(self.metrics),
            "created": self.created,
            "commit": self.commit,
        }
        return json.dumps(document, allow_nan=False, sort_keys=True)


def read(text: str, file: str) -> ModelContract:
    """The contract in `text`. Raises BadFile with the place (a JSON pointer) and a remedy."""
    return _Reader(file).contract(text)


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file

    def _fail(self, place: str, message: str, remedy: str = "") -> BadFile:
        remedy = remedy or "see docs/prognostics/own-model.md for the fields of the contract"
        return BadFile(self._file, message, place=f"{METADATA_KEY}{place}", remedy=remedy)

    def contract(self, text: str) -> ModelContract:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._fail("", "the model's contract is no JSON") from error
        if not isinstance(document, dict):
            raise self._fail("", "the model's contract is no JSON object")
        version = document.get("schema_version")
        if version != SCHEMA_VERSION:
            raise self._fail("/schema_version", f"schema version {version!r} is not known", f"use {SCHEMA_VERSION}")
        if document.get("task") != "rul":
            raise self._fail("/task", f"task {document.get('task')!r} is not known", 'use "rul"')
        outputs = document.get("outputs")
        if outputs not in (list(OUTPUTS), list(OUTPUTS[:1])):
            raise self._fail("/outputs", f"outputs {outputs!r} are neither {list(OUTPUTS)} nor {list(OUTPUTS[:1])}")
        channels = [self._channel(item, f"/channels/{i}") for i, item in enumerate(self._list(document, "channels"))]
        units = {channel.name: channel.unit for channel in channels}
        if len(units) != len(channels):
            raise self._fail("/channels", "two channels have one name")
        features, ranges = [], []
        for i, item in enumerate(self._list(document, "features")):
            feature, range_ = self._feature(item, f"/features/{i}", units)
            features.append(feature)
            ranges.append(range_)
        window = self._number(document, "window", 1, MAX_WINDOW)
        if window != int(window):
            raise self._fail("/window", f"the window {window} is no whole number of strides")
        clock = self._text(document, "clock")
        if clock not in units:
            raise self._fail("/clock", f"the clock {clock!r} is not one of the channels")
        target = self._object(document, "target")
        history: Any = document.get("history_required")
        if history not in get_args(History):
            raise self._fail("/history_required", f"{history!r} is neither 'window' nor 'install'")
        cap = self._number(target, "cap", 1e-9, 1e9, "/target")
        return ModelContract(
            layout=Layout(tuple(channels), tuple(features), int(window), self._number(document, "stride", 1e-9), clock),
            target_unit=self._text(target, "unit", "/target"),
            cap=cap,
            clock_per_target=self._number(target, "clock_per_unit", 1e-9, 1e9, "/target"),
            history=history,
            ranges=tuple(ranges),
            interval=self._interval(self._object(document, "interval")),
            training=self._object(document, "training"),
            metrics=self._object(document, "metrics"),
            outputs=tuple(outputs),
            created=str(document.get("created", "")),
            commit=str(document.get("commit", "")),
        )

    def _channel(self, item: object, place: str) -> Channel:
        if not isinstance(item, dict):
            raise self._fail(place, "a channel is no JSON object")
        return Channel(
            name=self._text(item, "name", place),
            unit=self._text(item, "unit", place),
            minimum=self._number(item, "minimum", place=place) if "minimum" in item else -math.inf,
            maximum=self._number(item, "maximum", place=place) if "maximum" in item else math.inf,
            live=item.get("live", True) is True,
        )

    def _feature(self, item: object, place: str, units: Mapping[str, str]) -> tuple[Feature, Range]:
        if not isinstance(item, dict):
            raise self._fail(place, "a feature is no JSON object")
        name, channel = self._text(item, "name", place), self._text(item, "channel", place)
        if channel not in units:
            raise self._fail(f"{place}/channel", f"feature {name!r} is made of {channel!r}, which is no channel")
        unit = item.get("unit", units[channel])
        if unit != units[channel]:
            raise self._fail(f"{place}/unit", f"feature {name!r} is in {unit!r}, its channel in {units[channel]!r}")
        transform: Any = item.get("transform")
        if transform not in get_args(Transform):
            raise self._fail(f"{place}/transform", f"transform {transform!r} is not one of {get_args(Transform)}")
        alpha = self._number(item, "alpha", 0.0, 1.0, place) if transform == "ewma" else 0.0
        std = self._number(item, "std", 1e-12, place=place)
        range_ = Range(
            self._number(item, "mean", place=place),
            std,
            self._number(item, "minimum", place=place),
            self._number(item, "maximum", place=place),
        )
        return Feature(name, channel, transform, alpha), range_

    def _interval(self, item: Mapping[str, Any]) -> Interval:
        place = "/interval"
        if item.get("method") != "mondrian":
            raise self._fail(
                f"{place}/method", f"interval method {item.get('method')!r} is not known", 'use "mondrian"'
            )
        edges = tuple(self._floats(item, "edges", place))
        widths = tuple(self._floats(item, "half_widths", place))
        if len(edges) != len(widths) + 1 or list(edges) != sorted(set(edges)) or min(widths, default=-1.0) < 0:
            raise self._fail(place, "the interval table needs rising edges and one half width >= 0 between each two")
        return Interval(self._number(item, "level", 0.5, 0.999, place), edges, widths)

    def _list(self, item: Mapping[str, Any], key: str) -> Sequence[Any]:
        value = item.get(key)
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_FEATURES:
            raise self._fail(f"/{key}", f"{key!r} is no list of 1 to {MAX_FEATURES} entries")
        return value

    def _object(self, item: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = item.get(key, {} if key in ("training", "metrics") else None)
        if not isinstance(value, dict):
            raise self._fail(f"/{key}", f"{key!r} is missing or no JSON object")
        return value

    def _floats(self, item: Mapping[str, Any], key: str, place: str) -> list[float]:
        value = item.get(key)
        if not isinstance(value, list) or not all(_is_number(entry) for entry in value):
            raise self._fail(f"{place}/{key}", f"{key!r} is no list of numbers")
        return [float(entry) for entry in value]

    def _text(self, item: Mapping[str, Any], key: str, place: str = "") -> str:
        value = item.get(key)
        if not isinstance(value, str) or not 1 <= len(value) <= 200:
            raise self._fail(f"{place}/{key}", f"{key!r} is missing or no text")
        return value

    def _number(
        self, item: Mapping[str, Any], key: str, low: float = -1e30, high: float = 1e30, place: str = ""
    ) -> float:
        value: Any = item.get(key)
        if not _is_number(value) or not low <= value <= high:
            raise self._fail(f"{place}/{key}", f"{key!r} is {value!r}, not a number from {low:g} to {high:g}")
        return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
