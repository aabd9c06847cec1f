"""Forecasts by latency budget: trained model, reduced-order physics, differential equations, the plant's own FMU.

scipy is imported in the background at the first forecast; its level takes part once it is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.prognostics.fidelity import FidelityChooser, Level
from twinloom.prognostics.loading import loaded
from twinloom.prognostics.physics import WearPhysics
from twinloom.prognostics.served import Served
from twinloom.twin.assessments import RulEstimate


@dataclass(frozen=True, slots=True)
class Forecast:
    """`p95_s`: measured seconds a component of each level, lightest first; `took_s`: wall time of this forecast."""

    estimates: tuple[RulEstimate, ...]
    took_s: float
    p95_s: tuple[tuple[str, float], ...]


class Forecasts:
    """`make` is called in worker threads."""

    def __init__(self, served: Served | None, fmu: tuple[Path, Sequence[str]] | None = None) -> None:
        self._levels: list[Level] = []
        if served is not None:
            self._levels.append(Level(_Best(served), 0.01))
        self._levels.append(Level(WearPhysics(), 0.02))
        if fmu is not None:
            from twinloom.prognostics.fmu import FmuEstimator

            self._levels.append(Level(FmuEstimator(*fmu), 10.0))
        self._ode = False
        self._lock = threading.Lock()

    def make(self, windows: Sequence[ComponentWindow], budget_s: float) -> Forecast:
        """One estimate a window within the budget. Never raises."""
        started = time.perf_counter()
        with self._lock:
            if not self._ode and loaded("scipy.integrate"):
                from twinloom.prognostics.high_fidelity import OdeMonteCarlo

                place = 1 + next(i for i, level in enumerate(self._levels) if level.estimator.name == "physics")
                self._levels.insert(place, Level(OdeMonteCarlo(), 0.5))
                self._ode = True
            levels = tuple(self._levels)
        estimates = FidelityChooser(levels).estimate(windows, budget_s)
        measured = tuple((level.estimator.name, level.p95_s) for level in levels)
        return Forecast(tuple(estimates), time.perf_counter() - started, measured)

    def close(self) -> None:
        for level in self._levels:
            level.link.close()


class _Best:
    """The assigned models, without a trace."""

    name = "onnx"

    def __init__(self, served: Served) -> None:
        self._served = served

    @property
    def version(self) -> str:
        return self._served.version

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        return self._served.best(windows)
