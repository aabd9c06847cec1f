"""The main job, whole, in real processes: simulators, OPC UA, pipeline, ONNX, work orders, WebSocket, picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

SECONDS = 20


def test_the_demo_runs_by_itself_loses_nothing_and_reports_what_it_measured(tmp_path: Path) -> None:
    picture = tmp_path / "plant.png"
    command = [sys.executable, "-m", "twinloom.app.cli", "demo", "--json", "--port", "0", "--duration", str(SECONDS)]
    done = subprocess.run(
        [*command, "--snapshot", str(picture), "--subscribers", "3"], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["failures"] == []
    assert figures["lost"] == 0
    # 47 machines x 20 values x 10 Hz for the time that it ran; a busy machine may start the measured span late.
    assert figures["received"] >= 0.8 * 47 * 20 * 10 * SECONDS
    assert figures["applied"] + sum(figures["dropped"].values()) == figures["received"]
    assert figures["predictions"] >= 47
    assert figures["alerts"] >= 1
    assert figures["work_orders"] >= 1
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p95"] <= figures["latency_ms"]["p99"]
    assert figures["subscribers"] == 4
    assert figures["rss_mib"] <= 1024
    with Image.open(picture) as image:
        assert image.size == (1600, 900)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 100
