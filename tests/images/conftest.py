"""Pictures of a small line of machines and of the example plant, drawn off screen."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twinloom.viewer import probe
from twinloom.viewer.plant import Plant, Rul, Rule, TwinView
from twinloom.viewer.scene import Scene, build_scene
from twinloom.viewer.state import Overlay

RULES = (
    Rule("low", "dtmi:x:Spindle;1", "rul_days", None, 30.0, "WARNING"),
    Rule("critical", "dtmi:x:Spindle;1", "rul_days", None, 14.0, "CRITICAL"),
)


def cell(machines: int = 3) -> Plant:
    """A site with one line of machines; every spindle has 200 days left."""
    plant = Plant(rules=RULES, seq=7, time="2026-11-23T18:40:02.123Z")
    plant.twins["p"] = TwinView("p", "dtmi:x:Plant;1", name="Plant", properties={"name": "Plant"})
    plant.twins["p/l"] = TwinView("p/l", "dtmi:x:ProductionLine;1", name="Line", parent="p")
    for i in range(machines):
        id = f"p/l/m{i}"
        place = {"placement": {"x": 5.0 * i, "y": 0.0, "z": 0.0}}
        plant.twins[id] = TwinView(id, "dtmi:x:CncMachine;1", name=f"CNC {i}", parent="p/l", properties=place)
        for name, model, x, y, z in (
            ("spindle", "Spindle", 0.0, 0.35, 1.55), ("coolant-pump", "CoolantPump", 1.45, 0.6, 0.0),
            ("tool-changer", "ToolChanger", -1.35, 0.5, 1.0), ("axis-x", "Axis", 0.0, 0.1, 0.75),
        ):  # fmt: skip
            twin = TwinView(f"{id}/{name}", f"dtmi:x:{model};1", name=name.capitalize(), parent=id)
            twin.properties = {"placement": {"x": x, "y": y, "z": z}}
            plant.twins[twin.id] = twin
        set_days(plant, f"{id}/spindle", 200.0)
    return plant


def set_days(plant: Plant, twin: str, days: float) -> None:
    plant.twins[twin].rul = Rul(days, days * 0.8, days * 1.2, "B", "", "OK", "", 1)


@pytest.fixture(scope="session", autouse=True)
def drawing_works() -> str:
    """Names the missing Debian package instead of dying of a segmentation fault."""
    return probe.ready()


@pytest.fixture
def small() -> Plant:
    return cell()


@pytest.fixture
def days() -> Callable[[Plant, str, float], None]:
    return set_days


@pytest.fixture
def scene(small: Plant) -> Scene:
    return build_scene(twin.scene_twin() for twin in small.twins.values())


@pytest.fixture
def overlay(scene: Scene, small: Plant) -> Overlay:
    return Overlay(scene, small.rules)


@pytest.fixture
def renderer(scene: Scene) -> Iterator[Any]:
    """A live renderer of 480 x 320 pixels that looks at everything."""
    from twinloom.viewer.camera import corners, fitted
    from twinloom.viewer.render import Renderer

    found = Renderer(scene, size=(480, 320), quality="live")
    found.look(fitted(corners(scene.bounds_of), (480, 320)))
    yield found
    found.close()


def _viewer_fixtures() -> Any:
    """The example plant's fixtures of tests/viewer."""
    file = Path(__file__).resolve().parents[1] / "viewer" / "conftest.py"
    spec = importlib.util.spec_from_file_location("twinloom_viewer_fixtures", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plant() -> Plant:
    found: Plant = _viewer_fixtures().make_plant()
    return found
