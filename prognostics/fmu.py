"""Co-simulation of a plant's own FMU (FMI 2 or 3, extra `fmu`): the highest fidelity, and native code.

An FMU may do anything that this process may, so only files whose SHA-256 is on the allow-list run, each in a process of
its own with limits on memory, processor time and wall time, started with the state that the particle filter found. The
FMU must take `damage`, `rate` [1/h] and `load` [0..1] as start values and give `damage` over time [h]; `FmuEstimator`
reads off where it passes 1.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from twinloom.prognostics.estimator import ComponentWindow, Refused
from twinloom.prognostics.physics import Floats, WearPhysics
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.errors import BadFile

TIMEOUT_S = 20.0
MEMORY_BYTES = 1024 * 2**20


class FmuEstimator(WearPhysics):
    """`allowed`: SHA-256 digests (64 hex digits) that may run. Raises BadFile for any other file. `trajectories`
    particles of the filter are simulated, spread over its damage."""

    name = "fmu"

    def __init__(self, path: Path, allowed: Collection[str], *, trajectories: int = 9, **options: float) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise BadFile(str(path), f"the FMU cannot be read ({error.strerror})", remedy="name an FMU file") from error
        if digest not in allowed:
            raise BadFile(
                str(path), f"the FMU with SHA-256 {digest} is not allowed", remedy="add its digest to the allow-list"
            )
        self.version = digest[:12]
        self._path = path
        self._digest = digest
        self._trajectories = trajectories

    def estimate(self, windows: Sequence[ComponentWindow]) -> list[RulEstimate | Refused]:
        """One answer a window; a simulation that fails is a refusal."""
        answers: list[RulEstimate | Refused] = []
        for window in windows:
            try:
                answers.append(self._one(window))
            except RuntimeError as error:
                answers.append(Refused(window.twin, f"error: {error}"))
        return answers

    def _hours_left(self, damage: Floats, rate: Floats, load: float) -> Floats:
        order = np.argsort((1 - damage) / np.maximum(rate, 1e-9))
        picked = order[np.linspace(0, len(order) - 1, self._trajectories).astype(int)]
        request = {
            "fmu": str(self._path.resolve()),
            "digest": self._digest,
            "hours": self._cap * 24.0,
            "starts": [{"damage": float(damage[i]), "rate": float(rate[i]), "load": float(load)} for i in picked],
        }
        hours = np.array(_simulate(request), np.float64)
        left: Floats = np.repeat(hours, -(-len(damage) // len(hours)))[: len(damage)]
        return left


def _simulate(request: dict[str, object]) -> list[float]:
    """Hours until each start's damage passes 1. Raises RuntimeError when the limited process does not answer."""
    environment = {
        name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME") if name in os.environ
    }
    try:
        child = subprocess.run(  # our own interpreter and text; only digests on the allow-list get here
            [sys.executable, "-c", _CHILD],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            env=environment,
            check=False,
        )
        said = json.loads(child.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise RuntimeError("the FMU gave no answer within its limits") from error
    return [float(hours) for hours in said["hours"]]


_CHILD = f"""
import hashlib, json, sys
import fmpy, numpy
request = json.load(sys.stdin)
try:
    import resource
except ImportError:
    pass
else:
    pages = int(open("/proc/self/statm").read().split()[0]) if sys.platform == "linux" else 0
    limit = pages * resource.getpagesize() + {MEMORY_BYTES}
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, ({int(TIMEOUT_S)}, {int(TIMEOUT_S)}))
if hashlib.sha256(open(request["fmu"], "rb").read()).hexdigest() != request["digest"]:
    sys.exit(3)
folder = fmpy.extract(request["fmu"])
found = []
for start in request["starts"]:
    result = fmpy.simulate_fmu(
        folder, start_time=0.0, stop_time=request["hours"], step_size=12.0, output_interval=12.0,
        start_values=start, output=["damage"], fmi_type="CoSimulation",
    )
    passed = numpy.flatnonzero(result["damage"] >= 1.0)
    found.append(float(result["time"][passed[0]]) if len(passed) else request["hours"])
import shutil
shutil.rmtree(folder, ignore_errors=True)
print(json.dumps({{"hours": found}}))
"""
