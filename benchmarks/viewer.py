"""The viewer's figures: colours in place beside remove/add, recolour of 30,000 elements to pixels, 10,000 machines.

Software rendering (OSMesa or EGL/llvmpipe), 1280 x 800, medians. Run: `twinloom bench viewer`.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from twinloom.viewer import probe
from twinloom.viewer.camera import corners, fitted
from twinloom.viewer.geometry import BOX, FULL
from twinloom.viewer.plant import Plant, Rul, Rule, TwinView
from twinloom.viewer.scene import Scene, build_glb, build_scene
from twinloom.viewer.state import Overlay

SIZE = (1280, 800)
RULES = (
    Rule("low", "dtmi:x:Spindle;1", "rul_days", None, 30.0, "WARNING"),
    Rule("critical", "dtmi:x:Spindle;1", "rul_days", None, 14.0, "CRITICAL"),
)
PARTS = (
    ("spindle", "Spindle", 0.0, 0.35, 1.55),
    ("axis-x", "Axis", 0.0, 0.1, 0.75),
    ("axis-y", "Axis", -0.55, 0.2, 0.75),
    ("axis-z", "Axis", 0.0, 0.75, 1.35),
    ("coolant-pump", "CoolantPump", 1.45, 0.6, 0.0),
    ("tool-changer", "ToolChanger", -1.35, 0.5, 1.0),
)


def plant_of(machines: int, *, components: bool = True) -> Plant:
    """`machines` in a square grid, each with six components; every spindle has 200 days left."""
    plant = Plant(rules=RULES, seq=1, time="2026-01-01T00:00:00Z")
    side = int(np.ceil(np.sqrt(machines)))
    for i in range(machines):
        id = f"m{i}"
        place = {"placement": {"x": 5.0 * (i % side), "y": 8.0 * (i // side), "z": 0.0}}
        plant.twins[id] = TwinView(id, "dtmi:x:CncMachine;1", name=id, properties=place)
        for name, kind, x, y, z in PARTS if components else ():
            twin = TwinView(f"{id}/{name}", f"dtmi:x:{kind};1", name=name, parent=id)
            twin.properties = {"placement": {"x": x, "y": y, "z": z}}
            if kind == "Spindle":
                twin.rul = Rul(200.0, 150.0, 250.0, "B", "", "OK", "", 1)
            plant.twins[twin.id] = twin
    return plant


def median_ms(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times)


def row(
    figure: str, unit: str, ours: float, repeats: int, peer: str | None = None, value: float | None = None
) -> dict[str, Any]:
    ratio = None if not value else ours / value
    return {
        "figure": figure, "unit": unit, "ours": round(ours, 4), "peer": peer,
        "peer_value": None if value is None else round(value, 3),
        "ratio": None if ratio is None else float(f"{ratio:.3g}"), "repeats": repeats,
    }  # fmt: skip


def _in_place(scene: Scene, overlay: Overlay, plant: Plant) -> Iterator[dict[str, Any]]:
    """One actor a part removed and added, as is usual, beside the cell array written in place."""
    import pyvista as pv

    from twinloom.viewer.render import Renderer

    peer = pv.Plotter(off_screen=True, window_size=list(SIZE), lighting="none")
    parts = []
    for part in scene.parts:
        mesh = scene.geometries[part.geometry][FULL]
        cells = np.c_[np.full(len(mesh.faces), 3), mesh.faces].ravel()
        data = pv.PolyData(mesh.vertices, cells) if len(mesh.faces) else pv.Cube()
        parts.append(data.transform(part.matrix, inplace=True))

    actors: list[Any] = []

    def remove_add() -> None:
        for actor in actors:
            peer.remove_actor(actor, render=False)
        actors[:] = [peer.add_mesh(data, color=(200, 200, i % 255), render=False) for i, data in enumerate(parts)]

    remove_add()
    slow = median_ms(remove_add, 5)
    peer.close()
    renderer = Renderer(scene, size=SIZE, quality="live")
    renderer.look(fitted(corners(scene.bounds_of), SIZE))
    table = overlay.colours(overlay.frame(plant), "light")
    renderer.paint(table)
    renderer.draw()
    fast = median_ms(lambda: renderer.layer.paint(table), 200)
    yield row("desktop scene: recolour all of 47 machines", "ms", fast, 200, "pyvista remove_actor/add_mesh", slow)
    others = [table, table.copy()]
    spindle = scene.row_of["m7/spindle"]
    others[1][spindle] ^= 0x00404040
    turn = iter(range(10**9))

    def change() -> None:
        renderer.paint(others[next(turn) % 2])
        renderer.draw()

    yield row("desktop scene: change of one part to pixels, 47 machines", "ms", median_ms(change, 15), 15)
    renderer.close()


def _recolour(elements: int) -> Iterator[dict[str, Any]]:
    """All elements of a large plant from one state to another: judged, coloured and drawn."""
    from twinloom.viewer.render import Renderer

    plant = plant_of(elements, components=False)
    for twin in plant.twins.values():
        twin.rul = Rul(200.0, 150.0, 250.0, "B", "", "OK", "", 1)
    plant.rules = (Rule("critical", "dtmi:x:CncMachine;1", "rul_days", None, 14.0, "CRITICAL"),)
    scene = build_scene(twin.scene_twin() for twin in plant.twins.values())
    overlay = Overlay(scene, plant.rules)
    frames = [overlay.frame(plant)]
    for twin in plant.twins.values():
        twin.rul = Rul(3.0, 1.0, 5.0, "D", "", "OK", "", 2)
    judged = time.perf_counter()
    frames.append(overlay.frame(plant))
    judged = (time.perf_counter() - judged) * 1e3
    renderer = Renderer(scene, size=SIZE, quality="live")
    renderer.show_level(BOX)
    renderer.look(fitted(corners(scene.bounds), SIZE))
    turn = iter(range(10**9))

    def recolour() -> None:
        renderer.paint(overlay.colours(frames[next(turn) % 2], "light"))
        renderer.draw()

    recolour()
    yield row(f"recolour of {elements:,} elements to pixels", "ms", median_ms(recolour, 9), 9)
    yield row(f"judging {elements:,} elements anew", "ms", judged, 1)
    yield row(f"frame without a change, {elements:,} elements", "ms", median_ms(renderer.draw, 9), 9)
    renderer.close()


def _many(machines: int) -> Iterator[dict[str, Any]]:
    """Navigating: the camera moves a little each frame, at the level of detail that the viewer chooses itself."""
    from twinloom.viewer.render import Renderer

    plant = plant_of(machines)
    begun = time.perf_counter()
    scene = build_scene(twin.scene_twin() for twin in plant.twins.values())
    yield row(f"scene of {machines:,} machines x 7 parts built", "s", time.perf_counter() - begun, 1)
    overlay = Overlay(scene, plant.rules)
    renderer = Renderer(scene, size=SIZE, quality="live")
    renderer.paint(overlay.colours(overlay.frame(plant), "light"))
    renderer.look(fitted(corners(scene.bounds), SIZE))
    renderer.draw()

    def orbit() -> None:
        renderer.plotter.camera.Azimuth(0.7)
        renderer.draw()

    level = ("full", "a tenth", "boxes")[renderer.level]
    yield row(f"frame while orbiting {machines:,} machines (level: {level})", "ms", median_ms(orbit, 9), 9)
    renderer.close()


def run() -> Iterator[dict[str, Any]]:
    probe.ready()
    plant = plant_of(47)
    scene = build_scene(twin.scene_twin() for twin in plant.twins.values())
    yield from _in_place(scene, Overlay(scene, plant.rules), plant)
    yield from _recolour(30_000)
    yield from _many(10_000)
    twins = [twin.scene_twin() for twin in plant_of(1000).twins.values()]
    yield row("/scene.glb of 1,000 machines", "ms", median_ms(lambda: build_glb(twins), 3), 3)


if __name__ == "__main__":
    for figure in run():
        print(json.dumps(figure), flush=True)
