"""The live window: what keys and clicks do (no VTK), and one played through on a real display under Xvfb."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinloom.viewer.camera import Camera
from twinloom.viewer.desk import Desk
from twinloom.viewer.palettes import CHROME, rgb
from twinloom.viewer.plant import Plant
from twinloom.viewer.scene import Scene, SceneTwin, build_scene
from twinloom.viewer.state import Frame, Overlay

SIZE = (1200, 700)


@pytest.fixture
def scene(twins: list[SceneTwin]) -> Scene:
    return build_scene(twins, floor_aspect=1.5)


@pytest.fixture
def desk(scene: Scene) -> Desk:
    return Desk(scene, SIZE)


@pytest.fixture
def frame(scene: Scene, plant: Plant) -> Frame:
    return Overlay(scene, plant.rules).frame(plant)


def press(desk: Desk, plant: Plant, *keys: str) -> None:
    for key in keys:
        assert desk.key(key, plant, lambda: desk.overview())


def test_search_finds_by_name_and_by_id_and_enter_goes_there(desk: Desk, scene: Scene, plant: Plant) -> None:
    press(desk, plant, "slash", *"cnc", "space", *"30")
    assert scene.label_of(desk.matches()[0]) == "CNC 30"
    press(desk, plant, "BackSpace", "BackSpace", *"12", "Return")
    assert desk.search is None and desk.selected == scene.row_of["toulouse/line-2/cnc-12"]
    assert desk.take_camera() is not None
    press(desk, plant, "slash", *"hamburg/line-2")
    assert all("hamburg/line-2" in scene.parts[row].twin for row in desk.matches())


def test_the_next_alert_is_one_key_away_and_escape_goes_back_out(
    desk: Desk, scene: Scene, plant: Plant, sick: str
) -> None:
    press(desk, plant, "a")
    assert desk.selected == scene.row_of[sick]
    close, far = desk.take_camera(), desk.overview()
    assert close is not None

    def distance(camera: Camera) -> float:
        return float(np.linalg.norm(np.subtract(camera.position, camera.focus)))

    assert distance(close) < distance(far) / 3
    press(desk, plant, "Escape")
    assert desk.selected is None and desk.take_camera() == far


def test_a_click_on_an_alert_and_on_a_badge_zooms_to_its_part(
    desk: Desk, scene: Scene, plant: Plant, frame: Frame, sick: str
) -> None:
    desk.paint(plant, frame, desk.overview())
    assert desk.click(desk.view[0] + 60, 60), "the first alert of the list"
    assert desk.selected == scene.row_of[sick] and desk.take_camera() is not None
    assert not desk.click(5, SIZE[1] // 2), "the scene's own"


def test_layers_leave_out_and_see_through(desk: Desk, scene: Scene, plant: Plant, sick: str) -> None:
    press(desk, plant, "2", "3")
    limit = desk.left_out()
    assert limit[scene.row_of[sick]] == 255
    assert limit[scene.row_of["toulouse/line-2/cnc-12"]] == 127
    assert limit[scene.row_of["toulouse"]] == 0
    press(desk, plant, "2", "3")
    assert (desk.left_out() == 255).all()


def test_bookmarks_are_kept_and_found_again(desk: Desk, plant: Plant) -> None:
    here = Camera((1.0, 2.0, 3.0), (0.0, 0.0, 0.0))
    assert desk.key("F2", plant, lambda: here, shift=True)
    assert desk.key("F2", plant, lambda: desk.overview())
    assert desk.take_camera() == here
    assert desk.key("F1", plant, lambda: here) and desk.take_camera() == desk.overview("overview")


def test_the_time_slider_goes_to_the_past_and_back_to_live(desk: Desk, plant: Plant, frame: Frame) -> None:
    desk.paint(plant, frame, desk.overview())
    y = SIZE[1] - 34
    assert desk.click(desk.view[0] * 0.5, y)
    assert desk.past is not None
    ago = datetime.now(UTC) - desk.past
    assert timedelta(minutes=1) < ago < timedelta(hours=8)
    desk.paint(plant, frame, desk.overview())
    assert desk.click(desk.view[0] - 60, y), "back to live"
    assert desk.past is None


def test_the_past_has_a_banner_across_the_scene_that_live_has_not(desk: Desk, plant: Plant, frame: Frame) -> None:
    def banner() -> float:
        picture = np.asarray(desk.paint(plant, frame, desk.overview()).image())
        strip = picture[3:30, : desk.view[0] - 10]
        return float((np.abs(strip[:, :, :3].astype(int) - rgb(CHROME["dark"].banner)).max(axis=2) < 4).mean())

    assert banner() < 0.01
    desk.past = datetime.now(UTC) - timedelta(minutes=5)
    assert banner() > 0.6


def test_a_lost_service_is_said_across_the_scene(desk: Desk, plant: Plant, frame: Frame) -> None:
    before = np.asarray(desk.paint(plant, frame, desk.overview()).image())[5:25, 20:600, 3].mean()
    plant.lost_since = "2026-11-23T18:41:00.000Z"
    after = np.asarray(desk.paint(plant, frame, desk.overview()).image())[5:25, 20:600, 3].mean()
    assert after == 255 and before < 100


def test_the_selected_twin_shows_its_life_and_values(
    desk: Desk, scene: Scene, plant: Plant, frame: Frame, sick: str
) -> None:
    def card() -> np.ndarray:
        picture = np.asarray(desk.paint(plant, frame, desk.overview()).image())
        return picture[350:, desk.view[0] + 20 :, :3].astype(int)

    empty = card()
    desk.select(scene.row_of[sick])
    bare = card()
    assert (bare != empty).any()
    from twinloom.viewer.plant import Value

    plant.twins[sick].values["temperature"] = Value("temperature", 61.0, 61.0, "°C", "GOOD", False, "", 1)
    valued = card()
    desk.history[sick, "temperature"] = [60.0, 61.0, 65.0, 61.0]
    lined = card()
    assert (valued != bare).any() and (lined != valued).any()


@pytest.fixture
def display() -> Iterator[str]:
    """A virtual X server's display name."""
    program = shutil.which("Xvfb")
    assert program, "the window is tried on Xvfb: apt-get install --no-install-recommends xvfb"
    process = subprocess.Popen(
        [program, "-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        number = process.stdout.readline().strip()
        yield f":{number}"
        process.terminate()
        process.wait(20)


def test_the_window_on_a_display_follows_picks_searches_and_travels(
    server: Any, display: str, sick: str, tmp_path: Path
) -> None:
    for _ in range(8):
        server.measure({(sick, "vibration_x"): 5.2, (sick, "temperature"): 61.0})
    environment = {key: value for key, value in os.environ.items() if key != "VTK_DEFAULT_OPENGL_WINDOW"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("drive_window.py")), server.url, server.token, str(tmp_path)],
        env={**environment, "DISPLAY": display}, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["after_a"] == sick
    assert seen["after_Return"].endswith("/coolant-pump")
    assert seen["past"] and seen["back_live"]
    assert seen["picked"]
    assert seen["updates"] <= 10 * seen["seconds"] + 15, "at most ten a second, and one a key"
    for name in ("live.png", "past.png"):
        with Image.open(tmp_path / name) as picture:
            assert np.asarray(picture).std() > 10


def test_without_a_display_the_window_is_refused_with_a_sentence() -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    script = (
        "from twinloom.twin.errors import Unavailable\nfrom twinloom.viewer.window import view\n"
        "try: view('http://127.0.0.1:1')\nexcept Unavailable as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert "there is no display to open a window on: use `twinloom snapshot`" in done.stdout
