"""What reaches the pixels: a value's change stays inside its part, colours are the legend's, a pick finds the part."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinloom.viewer.camera import corners, fitted
from twinloom.viewer.palettes import LOOKS, State, rgb
from twinloom.viewer.plant import Plant
from twinloom.viewer.scene import BOX, FULL, MIDDLE, Scene
from twinloom.viewer.snapshot import Shot, draw_plant
from twinloom.viewer.state import Overlay

SIZE = (480, 320)
SPINDLE = "p/l/m1/spindle"
Days = Callable[[Plant, str, float], None]


def box_of(scene: Scene, twin: str, renderer: Any) -> tuple[int, int, int, int]:
    """The rectangle of pixels that a part's box projects to, one pixel wider."""
    at, _ = renderer.camera().project(corners(scene.bounds_of[scene.row_of[twin]]), SIZE)
    low, high = np.floor(at.min(axis=0)) - 1, np.ceil(at.max(axis=0)) + 1
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def test_a_changed_value_changes_only_pixels_of_its_part_and_of_its_machines_beacon_and_ring(
    renderer: Any, scene: Scene, overlay: Overlay, small: Plant, days: Days
) -> None:
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    before = renderer.image()
    days(small, SPINDLE, 9.0)
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    rows, columns = np.nonzero((renderer.image() != before).any(axis=2))
    assert len(rows) > 50
    x0, y0, x1, y1 = box_of(scene, "p/l/m1", renderer)
    part = box_of(scene, SPINDLE, renderer)
    x0, y0, x1, y1 = min(x0, part[0]), min(y0, part[1]), max(x1, part[2]), max(y1, part[3])
    assert (columns >= x0).all() and (columns <= x1).all() and (rows >= y0).all() and (rows <= y1).all()


def test_one_parts_own_colour_changes_only_pixels_inside_its_projected_box(
    renderer: Any, scene: Scene, overlay: Overlay, small: Plant
) -> None:
    table = overlay.colours(overlay.frame(small), "light")
    renderer.paint(table)
    before = renderer.image()
    painted = table.copy()
    painted[scene.row_of[SPINDLE]] = 0xFF1F06C4
    assert renderer.paint(painted) == 1
    rows, columns = np.nonzero((renderer.image() != before).any(axis=2))
    x0, y0, x1, y1 = box_of(scene, SPINDLE, renderer)
    assert len(rows) > 50
    assert (columns >= x0).all() and (columns <= x1).all() and (rows >= y0).all() and (rows <= y1).all()


def test_the_picture_is_the_same_bytes_again_when_the_value_is_back(
    renderer: Any, overlay: Overlay, small: Plant, days: Days
) -> None:
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    before = renderer.image()
    days(small, SPINDLE, 9.0)
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    assert (renderer.image() != before).any()
    days(small, SPINDLE, 200.0)
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    assert np.array_equal(renderer.image(), before)


def test_writing_only_changed_rows_draws_what_writing_all_would(
    renderer: Any, overlay: Overlay, small: Plant, days: Days
) -> None:
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    days(small, SPINDLE, 9.0)
    table = overlay.colours(overlay.frame(small), "light")
    assert renderer.paint(table) == 4, "the spindle, its machine, line and plant"
    partly = renderer.image()
    renderer.layer.paint(table)
    assert np.array_equal(renderer.image(), partly)


def test_a_pick_on_a_parts_visible_middle_finds_its_twin(
    renderer: Any, scene: Scene, overlay: Overlay, small: Plant
) -> None:
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    renderer.look(fitted(corners(scene.bounds_of), SIZE, view="top"))
    renderer.image()
    found = 0
    for twin in (f"p/l/m{i}/{part}" for i in range(3) for part in ("spindle", "coolant-pump", "tool-changer")):
        row = scene.row_of[twin]
        point = scene.centre_of(row)
        point[2] = scene.bounds_of[row][1, 2]  # its top is seen from above
        (at,), _ = renderer.camera().project(point, SIZE)
        picked = renderer.pick(*at)
        assert picked is not None
        found += scene.parts[picked].twin == twin
    assert found == 9


def test_a_pick_on_the_ground_finds_nothing(renderer: Any, overlay: Overlay, small: Plant) -> None:
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    renderer.image()
    assert renderer.pick(2, 2) is None


def test_projected_points_are_where_vtk_draws_them(renderer: Any, scene: Scene, overlay: Overlay, small: Plant) -> None:
    table = overlay.colours(overlay.frame(small), "light")
    renderer.paint(table)
    before = renderer.image()
    row = scene.row_of[SPINDLE]
    painted = table.copy()
    painted[row] = 0xFF0000FF
    renderer.paint(painted)
    _rows, columns = np.nonzero((renderer.image() != before).any(axis=2))
    x0, _, x1, _ = box_of(scene, SPINDLE, renderer)
    assert abs((columns.min() + columns.max()) / 2 - (x0 + x1) / 2) < 3


@pytest.mark.parametrize("level", [FULL, MIDDLE, BOX])
def test_every_level_of_detail_shows_the_sick_machine(
    level: int, renderer: Any, overlay: Overlay, small: Plant, days: Days
) -> None:
    days(small, SPINDLE, 9.0)
    renderer.show_level(level)
    renderer.paint(overlay.colours(overlay.frame(small), "light"))
    image = renderer.image().astype(int)
    red = (image[:, :, 0] > 120) & (image[:, :, 1] < 60) & (image[:, :, 2] < 70)
    assert red.sum() > (40 if level < BOX else 8)


def test_hatched_dotted_see_through_and_left_out_parts_all_look_different(
    renderer: Any, scene: Scene, overlay: Overlay, small: Plant
) -> None:
    table = overlay.colours(overlay.frame(small), "light")
    row = scene.row_of["p/l/m1"]
    seen = set()
    for alpha in (255, 251, 247, 127, 0):
        painted = table.copy()
        painted[row] = (painted[row] & 0x00FFFFFF) | np.uint32(alpha << 24)
        renderer.paint(painted)
        seen.add(hashlib.sha256(renderer.image().tobytes()).hexdigest())
    assert len(seen) == 5


def picture(tmp_path: Path, plant: Plant, **options: Any) -> np.ndarray:
    out = tmp_path / "plant.png"
    draw_plant(plant, out, shot=Shot(size=(960, 540), **options))
    return np.asarray(Image.open(out))


def has(image: np.ndarray, colour: str, tolerance: int = 3) -> int:
    return int((np.abs(image[:, :, :3].astype(int) - rgb(colour)).max(axis=2) <= tolerance).sum())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_of_the_example_plant_shows_the_sick_spindle_in_the_legends_red(
    theme: Any, tmp_path: Path, plant: Plant
) -> None:
    image = picture(tmp_path, plant, theme=theme)
    assert image.shape == (540, 960, 3)
    looks = LOOKS[theme]
    assert has(image, looks[State.CRITICAL].colour) > 600, "badge, ring and legend"
    assert has(image, looks[State.WARNING].colour) > 100
    for twin in plant.twins.values():
        if twin.rul is not None and twin.rul.days < 30:
            twin.rul = None
    plant.alerts.clear()
    calm = picture(tmp_path, plant, theme=theme)
    assert has(calm, looks[State.CRITICAL].colour) < 400, "only the legend's sample is left"


def test_a_past_and_a_lost_plant_say_so_across_the_whole_picture(tmp_path: Path, small: Plant) -> None:
    live = picture(tmp_path, small)
    small.historical = "2026-11-23T18:00:00Z"
    past = picture(tmp_path, small)
    small.historical, small.lost_since = "", "2026-11-23T18:00:00Z"
    lost = picture(tmp_path, small)
    for image in (past, lost):
        changed = (image != live).any(axis=2)
        assert changed[4:18].mean() > 0.9
    assert (past[4:18] != lost[4:18]).any()


def test_an_empty_plant_is_a_picture_that_says_so(tmp_path: Path) -> None:
    assert picture(tmp_path, Plant()).std() > 0


def test_two_processes_draw_the_same_bytes(tmp_path: Path) -> None:
    script = (
        "import importlib.util, sys; spec = importlib.util.spec_from_file_location('c', sys.argv[1]);"
        "c = importlib.util.module_from_spec(spec); spec.loader.exec_module(c);"
        "from pathlib import Path; from twinloom.viewer.snapshot import Shot, draw_plant;"
        "draw_plant(c.cell(), Path(sys.argv[2]), shot=Shot(size=(640, 360)))"
    )
    conftest = Path(__file__).with_name("conftest.py")
    digests = set()
    for name in ("a.png", "b.png"):
        out = tmp_path / name
        subprocess.run([sys.executable, "-c", script, str(conftest), str(out)], check=True, timeout=240)
        digests.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(digests) == 1
