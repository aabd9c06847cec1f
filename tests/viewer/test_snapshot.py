"""Pictures and films of a real service: what the report says, the past, and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinloom.twin.errors import BadFile, BadRequest, Unauthenticated, Unavailable
from twinloom.viewer.client import Client
from twinloom.viewer.glb import checked_glb
from twinloom.viewer.past import fetch_past
from twinloom.viewer.snapshot import inspect, snapshot

SPINDLE = "toulouse/line-1/cnc-01/spindle"
START = datetime.fromtimestamp(1_700_000_000, UTC)  # the server's clock in these tests starts here


def pixels(file: Path, frame: int = 0) -> np.ndarray:
    """(h, w, 3) of a picture, or of a film's frame."""
    with Image.open(file) as picture:
        picture.seek(frame)
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.fixture
def shaking(server: Any) -> Any:
    """A service whose first spindle has vibrated above its limit for 12 s, after a quiet 8 s."""
    for i in range(20):
        server.measure({(SPINDLE, "vibration_x"): 2.0 if i < 8 else 5.5, (SPINDLE, "temperature"): 30.0 + i})
    return server


def test_a_snapshot_reports_what_it_drew(shaking: Any, tmp_path: Path) -> None:
    out = tmp_path / "plant.png"
    report = snapshot(shaking.url, shaking.token, out, size=(800, 450))
    assert pixels(out).shape == (450, 800, 3)
    assert report.badges == ("CNC 01 spindle · vibration x 5.50 mm/s",)
    assert (report.twins, report.parts) == (339, 339)
    assert report.counts["warning"] == 1
    assert json.loads(json.dumps(report.as_json()))["badges"]
    assert "CNC 01 spindle" in str(report)


def test_any_numeric_property_colours_the_plant_with_its_unit(shaking: Any, tmp_path: Path) -> None:
    report = snapshot(shaking.url, shaking.token, tmp_path / "t.png", color_by="vibration_x", size=(640, 360))
    assert report.badges == ("CNC 01 spindle · 5.50 mm/s",)


def test_a_twin_can_be_looked_at_from_close(shaking: Any, tmp_path: Path) -> None:
    far, near = tmp_path / "far.png", tmp_path / "near.png"
    snapshot(shaking.url, shaking.token, far, size=(640, 360), close_up=False)
    snapshot(shaking.url, shaking.token, near, size=(640, 360), camera="toulouse/line-1/cnc-01")
    amber = [int((np.abs(pixels(file) - (242, 168, 29)).max(axis=2) < 60).sum()) for file in (far, near)]
    assert amber[1] > 3 * amber[0]


def test_a_glb_of_the_plant_is_written(shaking: Any, tmp_path: Path) -> None:
    out = tmp_path / "plant.glb"
    snapshot(shaking.url, shaking.token, out)
    document, _ = checked_glb(str(out), out.read_bytes())
    assert SPINDLE in {node["name"] for node in document["nodes"]}


async def test_the_past_has_the_values_and_alerts_of_its_time(shaking: Any) -> None:
    client = Client(shaking.url, shaking.token)
    quiet = await fetch_past(client, START + timedelta(seconds=6), ("temperature", "vibration_x"))
    loud = await fetch_past(client, START + timedelta(seconds=18), ("temperature", "vibration_x"))
    assert quiet.historical and quiet.standing() == []
    assert quiet.twins[SPINDLE].values["vibration_x"].number == 2.0
    assert loud.twins[SPINDLE].values["vibration_x"].number == 5.5
    assert [alert.rule for alert in loud.standing()] == ["spindle-vibration-high"]


def test_a_scene_is_inspected_without_drawing(server: Any, tmp_path: Path) -> None:
    assert inspect(server.url, server.token) == ()
    out = tmp_path / "plant.glb"
    snapshot(server.url, server.token, out)
    document = inspect(server.url, server.token, meshes=[out])
    assert document == (), "the file's nodes are the plant's twins"


def test_a_picture_of_the_past_says_so(shaking: Any, tmp_path: Path) -> None:
    report = snapshot(shaking.url, shaking.token, tmp_path / "p.png", size=(640, 360), at=START + timedelta(seconds=6))
    assert report.historical and report.badges == () and report.time.startswith("2023-11-14T22:13:26")


@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_a_film_replays_the_last_seconds(kind: str, shaking: Any, tmp_path: Path) -> None:
    out = tmp_path / f"plant.{kind}"
    report = snapshot(
        shaking.url, shaking.token, out, size=(320, 180), at=START + timedelta(seconds=20),
        span=timedelta(seconds=16), frames=3,
    )  # fmt: skip
    assert report.historical and report.badges
    if kind == "gif":
        assert np.abs(pixels(out, 2) - pixels(out, 0)).max() > 60
        with pytest.raises(EOFError):
            pixels(out, 3)
    else:
        assert out.read_bytes()[4:8] == b"ftyp"


def test_a_time_to_come_is_refused(server: Any, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="has not come yet"):
        snapshot(server.url, server.token, tmp_path / "x.png", at=datetime.now(UTC) + timedelta(hours=1))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"out": "plant.bmp"}, BadRequest, "is no picture that can be made"),
        ({"size": (10, 10)}, BadRequest, "is no size"),
        ({"theme": "pink"}, BadRequest, "is no theme"),
        ({"out": "missing/plant.png"}, BadFile, "does not exist"),
        ({"camera": "nowhere"}, BadRequest, "neither a view nor a twin"),
        ({"color_by": "colour"}, BadRequest, "colour"),
        ({"token": "wrong"}, Unauthenticated, "token"),
        ({"out": "a.gif", "frames": 1}, BadRequest, "make no film"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_sentence_and_leaves_no_file(
    options: dict[str, Any], error: type[Exception], words: str, server: Any, tmp_path: Path
) -> None:
    out = tmp_path / options.pop("out", "plant.png")
    with pytest.raises(error, match=words):
        snapshot(server.url, options.pop("token", server.token), out, **options)
    assert not out.exists()


def test_no_service_is_said(free_port: Any, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no twinloom service answers"):
        snapshot(f"http://127.0.0.1:{free_port()}", None, tmp_path / "x.png")


def test_a_renderer_that_cannot_draw_is_found_in_a_subprocess_and_the_package_is_named() -> None:
    script = "from twinloom.viewer import probe; probe.ready()"
    environment = {**os.environ, "VTK_DEFAULT_OPENGL_WINDOW": "vtkNoSuchWindow", "LD_PRELOAD": "", "DISPLAY": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode:
        assert "libosmesa6 or libegl1 is missing" in done.stderr


def test_the_viewers_package_and_its_pure_modules_import_no_vtk() -> None:
    script = (
        "import sys, twinloom.viewer, twinloom.viewer.scene, twinloom.viewer.state, twinloom.viewer.live,"
        " twinloom.viewer.snapshot, twinloom.viewer.window\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('vtk', 'vtkmodules', 'pyvista', 'PIL', 'trimesh')]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
