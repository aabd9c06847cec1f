"""What is kept of a component: its channels, the features made of them, the window and its stride on the part's clock.

The *clock* is one of the channels: a counter that starts at 0 when the part is installed and never stands still
(power-on hours of a spindle, cycles of an engine). Every `stride` of it one row of features is closed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

Transform = Literal["value", "ewma", "mean", "age"]


@dataclass(frozen=True, slots=True)
class Channel:
    """One sensor. Values outside `minimum`..`maximum` (in `unit`) count as bad. `live`: a working sensor of this kind
    never shows the same mean three strides running, so one that does is frozen."""

    name: str
    unit: str
    minimum: float = float("-inf")
    maximum: float = float("inf")
    live: bool = True


@dataclass(frozen=True, slots=True)
class Feature:
    """One model input, made of one channel once a stride: its mean over the stride ("value"), the exponentially
    weighted mean of those ("ewma", weight `alpha` on the newest), their running mean since installation ("mean"), or
    the clock at the end of the stride ("age")."""

    name: str
    channel: str
    transform: Transform = "value"
    alpha: float = 0.0


@dataclass(frozen=True)
class Layout:
    """`window` rows of `features`, one every `stride` of the clock channel, in the clock's unit.

    >>> CNC_SPINDLE.channel_index("vibration_x"), CNC_SPINDLE.window
    (0, 14)
    """

    channels: tuple[Channel, ...]
    features: tuple[Feature, ...]
    window: int
    stride: float
    clock: str

    def channel_index(self, name: str) -> int:
        """Place of the channel in `channels`, -1 when it has none of that name."""
        return next((i for i, channel in enumerate(self.channels) if channel.name == name), -1)

    @cached_property
    def clock_index(self) -> int:
        return self.channel_index(self.clock)

    @cached_property
    def digest(self) -> str:
        """12 hex digits of all that decides how state is laid out: snapshots of another layout are not restored."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_ALPHA = 0.1

CNC_SPINDLE = Layout(
    channels=(
        Channel("vibration_x", "mm/s", 0.0, 100.0),
        Channel("vibration_y", "mm/s", 0.0, 100.0),
        Channel("temperature", "degC", -40.0, 200.0),
        Channel("load", "%", 0.0, 200.0, live=False),
        Channel("speed", "rpm", 0.0, 100_000.0, live=False),
        Channel("power_on_hours", "h", 0.0, 1_000_000.0, live=False),
    ),
    features=(
        Feature("vibration_x", "vibration_x"),
        Feature("vibration_y", "vibration_y"),
        Feature("temperature", "temperature"),
        Feature("load", "load"),
        Feature("speed", "speed"),
        Feature("vibration_x_ewma", "vibration_x", "ewma", _ALPHA),
        Feature("vibration_y_ewma", "vibration_y", "ewma", _ALPHA),
        Feature("temperature_ewma", "temperature", "ewma", _ALPHA),
        Feature("load_ewma", "load", "ewma", _ALPHA),
        Feature("age", "power_on_hours", "age"),
    ),
    window=14,
    stride=24.0,
    clock="power_on_hours",
)
"""A spindle: daily rows, two weeks of them. Running means since installation are left out on purpose: a server that
starts beside a running plant has not seen the installation."""

CNC_SPINDLE_LITE = Layout(
    channels=CNC_SPINDLE.channels,
    features=tuple(f for f in CNC_SPINDLE.features if f.transform in ("value", "age")),
    window=1,
    stride=CNC_SPINDLE.stride,
    clock=CNC_SPINDLE.clock,
)
"""What the model without history takes: the last full day."""
