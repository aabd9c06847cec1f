"""The main job, measured: 47 machines x 20 nodes x 10 Hz, 100 WebSocket subscribers, from sensor to receipt.

99 subscribers watch one machine each with all its values, one watches everything; simulators, service and subscribers
share this machine. Latency counts from the source timestamp; the publishing interval (100 ms) is taken off. There is no
peer: nobody publishes this path.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

PUBLISHING_MS = 100.0
REPEATS = 3
SECONDS = 30


def demo(subscribers: int) -> dict[str, Any]:
    """The figures of one `twinloom demo` run."""
    command = [sys.executable, "-m", "twinloom.app.cli", "demo", "--json", "--port", "0"]
    command += ["--duration", str(SECONDS), "--subscribers", str(subscribers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if done.returncode:
        print(f"spine: {figures['failures']}", file=sys.stderr)
    return figures


def run(repeats: int = REPEATS) -> Iterator[dict[str, Any]]:
    runs = [demo(subscribers=99) for _ in range(repeats)]

    def row(figure: str, unit: str, values: list[float]) -> dict[str, Any]:
        return {
            "figure": figure, "unit": unit, "ours": round(statistics.median(values), 2), "peer": None,
            "peer_value": None, "ratio": None, "repeats": repeats,
        }  # fmt: skip

    for cut in ("p50", "p99"):
        beyond = [max(0.0, figures["latency_ms"][cut] - PUBLISHING_MS) for figures in runs]
        yield row(f"sensor_to_subscriber_{cut}_beyond_publishing_interval", "ms", beyond)
    yield row("values_lost", "values", [figures["lost"] for figures in runs])
    yield row("values_per_s", "1/s", [figures["values_per_s"] for figures in runs])
    yield row("peak_rss", "MiB", [figures["rss_mib"] for figures in runs])
    yield row("demo_first_live_value", "s", [figures["first_value_s"] for figures in runs])


if __name__ == "__main__":
    for line in run():
        print(json.dumps(line), flush=True)
