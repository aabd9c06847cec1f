"""The web page in headless Chromium with software rendering: state change to pixels, first picture, size of the bundle.

A change is timed in the page, from the arrival of the event that recolours every part to the picture being complete on
the (software) graphics card. The page is fed by the small server of its tests; the peers are the project's budgets.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WEB = ROOT / "viewer" / "web"
SERVER = ROOT / "tests" / "viewer" / "web" / "plant_server.py"
REPEATS = 9
RUN_S = 300.0


def run() -> Iterator[dict[str, Any]]:
    """One line a figure; the ratio is ours over the budget. Raises RuntimeError where the page is not built."""
    if not (WEB / "dist" / "index.html").is_file():
        raise RuntimeError("the page is not built; run `npm ci && npm run build` in viewer/web")
    files = [path for path in (WEB / "dist").rglob("*") if path.is_file()]
    size = sum(len(gzip.compress(path.read_bytes())) for path in files) / 1000
    yield figure("web: page bundle, gzipped", "kB", size, 400.0, 1)
    small = drive("example")
    yield figure(
        "web: first picture, 47 machines", "ms", statistics.median(small["first"]), 2000.0, len(small["first"])
    )
    yield figure(
        "web: change of every part to pixels, 47 machines", "ms", statistics.median(small["times"]), 60.0, REPEATS
    )
    large = drive("1000")
    yield figure(
        "web: change of every part to pixels, 1,000 machines x 6",
        "ms",
        statistics.median(large["times"]),
        150.0,
        REPEATS,
    )


def drive(machines: str) -> dict[str, Any]:
    """What `web.mjs` measured: `times` and `first` in ms."""
    with tempfile.TemporaryDirectory() as folder:
        script = str(Path(__file__).with_suffix(".mjs"))
        command = ["node", script, sys.executable, str(SERVER), str(WEB), folder, machines, str(REPEATS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
        if done.returncode:
            raise RuntimeError(f"the browser run failed: {done.stderr[-2000:]}")
        measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return measured


def figure(name: str, unit: str, ours: float, budget: float, repeats: int) -> dict[str, Any]:
    return {
        "figure": name,
        "unit": unit,
        "ours": round(ours, 2),
        "peer": "budget",
        "peer_value": budget,
        "ratio": round(ours / budget, 4),
        "repeats": repeats,
    }


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for line in run():
        print(json.dumps(line), flush=True)
