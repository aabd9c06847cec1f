"""How a spindle wears: the stepwise model of a synthetic CNC fleet with a known end of life.

One model serves the OPC UA simulator (a value every 100 ms at any speed-up) and the training of the default RUL model
(whole lives). Damage D grows from 0 to 1 = failure as a gamma process (van Noortwijk 2009) of *operational age*:
cutting hours weighted by (load/0.65)^m. The whole gamma path of a life is drawn when the part is installed, so its end
is known by construction, and any step size walks the same path. Load is an Ornstein-Uhlenbeck process and cutting a
two-state Markov chain, both advanced by their exact transition laws; damage shows as vibration after an onset,
h = ((D - onset) / (1 - onset))^g, and as heat and power.

Each machine has its own `SeedSequence` child: machine i of seed s is the same in a fleet of 3 and of 300. Sensor noise
has its own streams, so that reading more often does not change how a machine wears. Arrays are float64 of shape (n,).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
StartAges = Literal["new", "mixed"]

_MAX_STEP_H = 1.0  # cutting spells last hours: longer steps are walked in parts
_GRID = 512  # gamma increments of a mean life
_PATH = 2 * _GRID  # of a path: damage passes 1 well before twice the mean life
_WEAR_VARIANCE = 0.003  # variance of D per unit of operational age
_LIFE_SCALE_H = 3150.0  # Weibull scale of nominal life, cutting hours at load 0.65
_LIFE_SHAPE = 3.0
_SPELL_H = 3.0  # relaxation time of cutting on/off
_LOAD_TAU_H = 6.0
_SETUP_TAU_H = 40.0  # tools and workpieces change how a machine shakes for days
_THERMAL_TAU_H = 1.5
_BLOCK = 64
_NEAR_END_EVERY = 12  # of a mixed fleet, one machine in twelve is in its last month


class _Streams:
    """Standard normals, one generator a machine, drawn in blocks so that a step costs one array read."""

    def __init__(self, generators: list[np.random.Generator], width: int) -> None:
        self._generators = generators
        self._block = np.empty((_BLOCK, len(generators), width))
        self._next = _BLOCK

    def draw(self) -> Array:
        """Normals of shape (n, width)."""
        if self._next == _BLOCK:
            for i, generator in enumerate(self._generators):
                self._block[:, i] = generator.standard_normal((_BLOCK, self._block.shape[2]))
            self._next = 0
        self._next += 1
        row: Array = self._block[self._next - 1]
        return row


class Fleet:
    """`machines` spindles that wear. `start_ages`: "new", or "mixed": ages spread over life, every twelfth machine
    (the sixth, eighteenth, ...; the first of a fleet smaller than six) with 20 to 30 days left.

    >>> fleet = Fleet(3, seed=7)
    >>> fleet.advance(24.0)
    >>> fleet.spindle()["power_on_hours"].tolist()
    [24.0, 24.0, 24.0]
    """

    def __init__(self, machines: int, seed: int, *, start_ages: StartAges = "new") -> None:
        n = machines
        children = [child.spawn(4) for child in np.random.SeedSequence(seed).spawn(n)]
        fixed = [np.random.default_rng(child[0]) for child in children]
        self._lives = [np.random.default_rng(child[1]) for child in children]
        self._process = _Streams([np.random.default_rng(child[2]) for child in children], 5)
        self._sensor = _Streams([np.random.default_rng(child[3]) for child in children], 6)

        def each(low: float, high: float) -> Array:
            return np.array([generator.uniform(low, high) for generator in fixed])

        self._duty = each(0.35, 0.9)
        self._load_mean = each(0.5, 0.8)
        self._wear_exponent = each(1.0, 1.5)
        self._rated_rpm = each(6000.0, 14000.0)
        self._rated_kw = each(9.0, 22.0)
        self._ambient = each(19.0, 25.0)
        self._phase = each(0.0, 2 * math.pi)
        self._heat = each(14.0, 24.0)
        # E[(load/.65)^m] of the clipped process is close to its value at the mean; one convexity term corrects it.
        m, mean = self._wear_exponent, self._load_mean
        self._rate = self._duty * (mean / 0.65) ** m * (1 + 0.5 * m * (m - 1) * (0.1 / mean) ** 2)

        self.hours = 0.0
        self._path = np.zeros((n, _PATH + 1))
        self._life_h, self._end, self._power_on = (np.zeros(n) for _ in range(3))
        self._base_x, self._base_y, self._gain_x, self._gain_y = (np.zeros(n) for _ in range(4))
        self._onset, self._growth, self._friction, self._age = (np.zeros(n) for _ in range(4))
        for i in range(n):
            self._install(i)
        if start_ages == "mixed":
            self._spread(fixed)
        start = self._process.draw()
        self._load = np.clip(mean + 0.1 * start[:, 0], 0.1, 1.0)
        self._speed = np.clip(0.8 + 0.07 * start[:, 1], 0.4, 1.0)
        self._setup = start[:, 2:4].copy()
        self._cutting = _uniform(start[:, 4]) < self._duty
        self._temperature = self._ambient + self._heat * self._duty * mean

    def __len__(self) -> int:
        return len(self._age)

    def _install(self, i: int) -> None:
        """A new part in machine i: its own nominal life, wear path, onset and signature."""
        life = self._lives[i]
        self._life_h[i] = _LIFE_SCALE_H * max(0.15, life.weibull(_LIFE_SHAPE))
        path = life.gamma(1 / (_GRID * _WEAR_VARIANCE), _WEAR_VARIANCE, _PATH).cumsum()
        self._path[i, 1:] = path
        after = min(int(np.searchsorted(path, 1.0)), _PATH - 1)
        before = path[after - 1] if after else 0.0
        self._end[i] = (after + min(1.0, (1.0 - before) / (path[after] - before))) / _GRID
        self._base_x[i] = 1.13 * math.exp(0.15 * life.standard_normal())
        self._base_y[i] = self._base_x[i] * math.exp(0.1 * life.standard_normal() - 0.1)
        self._gain_x[i] = 5.3 * math.exp(0.14 * life.standard_normal())
        self._gain_y[i] = self._gain_x[i] * math.exp(0.1 * life.standard_normal() - 0.2)
        self._onset[i] = life.uniform(0.35, 0.65)
        self._growth[i] = life.uniform(1.5, 3.0)
        self._friction[i] = life.uniform(0.1, 0.2)
        self._age[i] = 0.0
        self._power_on[i] = 0.0

    def _spread(self, fixed: list[np.random.Generator]) -> None:
        n = len(self)
        fraction = np.array([generator.uniform(0.0, 0.8) for generator in fixed])
        left_days = np.array([generator.uniform(20.0, 30.0) for generator in fixed])
        index = np.arange(n)
        near_end = index % _NEAR_END_EVERY == (_NEAR_END_EVERY // 2 - 1 if n >= _NEAR_END_EVERY // 2 else 0)
        total = self._end * self._life_h / self._rate
        hours = np.where(near_end, np.maximum(total - 24.0 * left_days, 0.0), fraction * total)
        self._power_on = hours
        self._age = hours * self._rate / self._life_h

    def advance(self, hours: float) -> None:
        """Lets `hours` of calendar time pass, in one go or in any number of steps: the same wear in distribution."""
        parts = max(1, math.ceil(hours / _MAX_STEP_H))
        for _ in range(parts):
            self._step(hours / parts)

    def _step(self, dt: float) -> None:
        noise = self._process.draw()
        keep = math.exp(-dt / _LOAD_TAU_H)
        spread = math.sqrt(1 - keep * keep)
        self._load = np.clip(
            self._load_mean + (self._load - self._load_mean) * keep + 0.1 * spread * noise[:, 0], 0.1, 1.0
        )
        self._speed = np.clip(0.8 + (self._speed - 0.8) * keep + 0.07 * spread * noise[:, 1], 0.4, 1.0)
        keep = math.exp(-dt / _SETUP_TAU_H)
        self._setup = self._setup * keep + math.sqrt(1 - keep * keep) * noise[:, 2:4]
        stay = math.exp(-dt / _SPELL_H)
        self._cutting = _uniform(noise[:, 4]) < self._duty + (self._cutting - self._duty) * stay
        self.hours += dt
        self._power_on = self._power_on + dt
        self._age = self._age + self._cutting * (self._load / 0.65) ** self._wear_exponent * (dt / self._life_h)
        keep = math.exp(-dt / _THERMAL_TAU_H)
        target = self._air() + self._heat * self._cutting * self._load + 16.0 * self._fault()
        self._temperature = target + (self._temperature - target) * keep

    def _air(self) -> Array:
        day = np.sin(self.hours * (2 * math.pi / 24) + self._phase)
        year = np.sin(self.hours * (2 * math.pi / 8760) + self._phase)
        return self._ambient + 2.0 * day + 4.0 * year

    def _fault(self) -> Array:
        """h: 0 before the onset of damage, 1 at failure."""
        grown = np.clip((self.damage - self._onset) / (1 - self._onset), 0.0, 1.2)
        fault: Array = grown**self._growth
        return fault

    def spindle(self) -> Mapping[str, Array]:
        """What the sensors show now, each array (n,): vibration_x, vibration_y [mm/s RMS], temperature [degC],
        speed [rpm], load [%], power [kW] (the whole machine's), power_on_hours [h]. New sensor noise at every call."""
        noise = self._sensor.draw()
        h = self._fault()
        cutting = self._cutting
        load = np.where(cutting, self._load, 0.04)
        speed = np.where(cutting, self._speed, 0.25)
        shake = 0.8 + 0.35 * load * speed
        spread = 0.04 + 0.08 * h
        x = self._base_x * shake * (1 + 0.05 * self._setup[:, 0]) + self._gain_x * h * (1 + 0.05 * self._setup[:, 0])
        y = self._base_y * shake * (1 + 0.05 * self._setup[:, 1]) + self._gain_y * h * (1 + 0.05 * self._setup[:, 1])
        power = 1.8 + self._rated_kw * load * (1 + self._friction * h)
        return {
            "vibration_x": np.maximum(x + spread * noise[:, 0], 0.02),
            "vibration_y": np.maximum(y + spread * noise[:, 1], 0.02),
            "temperature": self._temperature + 0.25 * noise[:, 2],
            "speed": np.maximum(self._rated_rpm * speed + 12.0 * noise[:, 3], 0.0),
            "load": np.clip(100.0 * load + 0.8 * noise[:, 4], 0.0, 100.0),
            "power": np.maximum(power + 0.08 * noise[:, 5], 0.0),
            "power_on_hours": self._power_on.copy(),
        }

    @property
    def damage(self) -> Array:
        """D: 0 new, 1 at failure; it grows on until the part is replaced."""
        at = np.minimum(self._age * _GRID, _PATH - 1e-9)
        below = at.astype(np.int64)
        rows = np.arange(len(self))
        low: Array = self._path[rows, below]
        return low + (at - below) * (self._path[rows, below + 1] - low)

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Which parts have reached D = 1."""
        return self._age >= self._end

    @property
    def cutting(self) -> npt.NDArray[np.bool_]:
        """Which machines cut now; the others idle."""
        return self._cutting

    def rul_days(self) -> Array:
        """The true days until failure at each machine's mean rate of wear; 0 once failed."""
        left: Array = np.maximum(self._end - self._age, 0.0) * self._life_h / self._rate / 24.0
        return left

    def replace(self, machine: int) -> None:
        """A new part: damage and power-on hours start at 0 again; the machine and its work stay what they were."""
        self._install(machine)


def _uniform(normal: Array) -> Array:
    """Standard normals as uniforms on (0, 1): the logistic form of the normal law, within 0.0002 (Bowling 2009)."""
    uniform: Array = 1 / (1 + np.exp(-1.5976 * normal - 0.07056 * normal**3))
    return uniform
