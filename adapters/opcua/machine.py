"""What the simulated CNC machines of one plant measure: 20 numbers a machine, from the wear model and plausible noise.

Wear, heat and power of the spindle come from `twinloom.twin.wear.Fleet`; the rest of a machine (axes, coolant, tool
changer) follows its load. Arrays are float64 of shape (machines, 20), columns in the order of `VARIABLES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from twinloom.twin.wear import Fleet

Matrix = npt.NDArray[np.float64]

_REPAIR_HOURS = 8.0  # plant time between a failure and the new spindle
_REPAIR_S = 3.0  # but long enough for people to see it, however fast plant time runs
_TOOL_CHANGES_PER_HOUR = 14.0
_CUTTING_FROM_LOAD = 20.0


@dataclass(frozen=True, slots=True)
class Variable:
    """One sensor: its component ('' = the machine itself), name, UNECE unit code, display unit and range."""

    component: str
    name: str
    code: str
    symbol: str
    low: float
    high: float


VARIABLES: tuple[Variable, ...] = (
    Variable("spindle", "vibration_x", "C16", "mm/s", 0.0, 50.0),
    Variable("spindle", "vibration_y", "C16", "mm/s", 0.0, 50.0),
    Variable("spindle", "temperature", "CEL", "°C", -20.0, 180.0),
    Variable("spindle", "speed", "RPM", "r/min", 0.0, 30000.0),
    Variable("spindle", "load", "P1", "%", 0.0, 200.0),
    Variable("spindle", "power_on_hours", "HUR", "h", 0.0, 1.0e6),
    Variable("", "power_consumption", "KWT", "kW", 0.0, 120.0),
    Variable("", "temperature", "CEL", "°C", -20.0, 120.0),
    Variable("", "feed_rate", "H81", "mm/min", 0.0, 60000.0),
    Variable("axis-x", "load", "P1", "%", 0.0, 200.0),
    Variable("axis-x", "position", "MMT", "mm", -2000.0, 2000.0),
    Variable("axis-y", "load", "P1", "%", 0.0, 200.0),
    Variable("axis-y", "position", "MMT", "mm", -2000.0, 2000.0),
    Variable("axis-z", "load", "P1", "%", 0.0, 200.0),
    Variable("axis-z", "position", "MMT", "mm", -2000.0, 2000.0),
    Variable("coolant-pump", "pressure", "BAR", "bar", 0.0, 120.0),
    Variable("coolant-pump", "flow", "L2", "l/min", 0.0, 300.0),
    Variable("coolant-pump", "temperature", "CEL", "°C", -20.0, 120.0),
    Variable("tool-changer", "change_time", "SEC", "s", 0.0, 60.0),
    Variable("tool-changer", "cycle_count", "C62", "1", 0.0, 1.0e9),
)

_COLUMN = {(variable.component, variable.name): i for i, variable in enumerate(VARIABLES)}
_STROKE = np.array([800.0, 500.0, 400.0])


class Machines:
    """`count` machines that work and wear. `override` (count,) is each controller's feed override in percent."""

    def __init__(self, count: int, seed: int, *, start_ages: Literal["new", "mixed"] = "new") -> None:
        self.fleet = Fleet(count, seed, start_ages=start_ages)
        self.override: npt.NDArray[np.float64] = np.full(count, 100.0)
        self._random = np.random.default_rng([seed, 0xA1])
        self._values: Matrix = np.zeros((count, len(VARIABLES)))
        self._cycles = self._random.integers(20_000, 400_000, count).astype(np.float64)
        self._change_time = self._random.uniform(2.5, 6.0, count)
        self._phase = self._random.uniform(0.0, 2 * np.pi, (count, 3))
        self._axis_wear = self._random.uniform(0.9, 1.2, (count, 3))
        self._coolant = self._random.uniform(22.0, 28.0, count)
        self._down_hours = np.zeros(count)
        self._down_s = np.zeros(count)
        self.replaced = 0

    def advance(self, seconds: float, hours: float) -> Matrix:
        """Lets `seconds` of wall time and `hours` of plant time pass; the new samples, valid until the next call.

        A failed spindle is replaced after 8 plant hours, at the earliest after 3 s: its power-on hours fall to 0.
        """
        self.fleet.advance(hours)
        failed = self.fleet.failed
        self._down_hours = np.where(failed, self._down_hours + hours, 0.0)
        self._down_s = np.where(failed, self._down_s + seconds, 0.0)
        for i in np.flatnonzero((self._down_hours >= _REPAIR_HOURS) & (self._down_s >= _REPAIR_S)):
            self.fleet.replace(int(i))
            self.replaced += 1
        return self._sense(seconds, hours)

    def modes(self) -> list[str]:
        """Each controller's operating mode."""
        failed, cutting = self.fleet.failed, self._values[:, 4] > _CUTTING_FROM_LOAD
        return [
            ("maintenance" if self._down_hours[i] > _REPAIR_HOURS / 2 else "fault")
            if failed[i]
            else ("automatic" if cutting[i] else "idle")
            for i in range(len(failed))
        ]

    def _sense(self, seconds: float, hours: float) -> Matrix:
        spindle, out, n = self.fleet.spindle(), self._values, len(self.override)
        noise = self._random.standard_normal((n, 12))
        for name in ("vibration_x", "vibration_y", "temperature", "speed", "load", "power_on_hours"):
            out[:, _COLUMN["spindle", name]] = spindle[name]
        load = spindle["load"]
        cutting = load > _CUTTING_FROM_LOAD
        out[:, 6] = spindle["power"]
        out[:, 7] = 26.0 + 0.6 * spindle["power"] + 0.15 * noise[:, 0]
        out[:, 8] = np.maximum(np.where(cutting, 25.0 * load, 0.0) * self.override / 100.0 + 4.0 * noise[:, 1], 0.0)
        self._phase += seconds * np.array([0.9, 0.7, 0.5]) * (0.2 + 0.8 * cutting[:, None])
        out[:, 9:15:2] = np.clip((12.0 + 0.45 * load[:, None]) * self._axis_wear + 1.2 * noise[:, 2:5], 0.0, 200.0)
        out[:, 10:15:2] = _STROKE * np.sin(self._phase) + 0.01 * noise[:, 5:8]
        out[:, 15] = np.where(cutting, 22.0, 4.0) + 0.3 * noise[:, 8]
        out[:, 16] = np.where(cutting, 38.0, 6.0) + 0.5 * noise[:, 9]
        out[:, 17] = self._coolant + 0.05 * load + 0.1 * noise[:, 10]
        changes = self._random.poisson(_TOOL_CHANGES_PER_HOUR * hours, n) * cutting
        self._cycles += changes
        self._change_time = np.where(changes > 0, np.clip(4.0 + 0.4 * noise[:, 11], 1.5, 12.0), self._change_time)
        out[:, 18] = self._change_time
        out[:, 19] = self._cycles
        np.maximum(out[:, 15:17], 0.0, out=out[:, 15:17])
        return out
