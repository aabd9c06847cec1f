"""What a picture of a scene says and where: titles, names on the ground, anchors of leader lines, close cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twinloom.viewer.camera import Camera, corners, fitted
from twinloom.viewer.plant import Plant, TwinView
from twinloom.viewer.scene import Scene
from twinloom.viewer.state import Badge
from twinloom.viewer.wording import life_left

if TYPE_CHECKING:
    from twinloom.viewer.canvas import Rect
    from twinloom.viewer.drawing import Tag


def about(twin: TwinView, badge: Badge, label: str) -> list[str]:
    """What the card of a twin says: its estimate with the interval and the advice, or what the badge says."""
    if twin.rul is None:
        return [badge.text, badge.detail] if badge.detail else [badge.text]
    rul = twin.rul
    found = [f"{label}: {life_left(rul.days)}", f"90 % between {rul.low:.0f} and {rul.high:.0f} days"]
    return [*found, rul.recommendation] if rul.recommendation else found


def screen_boxes(scene: Scene, camera: Camera, size: tuple[int, int]) -> list[Rect]:
    """The pixels' rectangles of machines and of what stands alone, so that panels keep off them."""
    rows = [row for row, part in enumerate(scene.parts) if part.role == "unit"]
    if not rows:
        return []
    at, _ = camera.project(corners(scene.bounds_of[rows]), size)
    at = at.reshape(len(rows), 8, 2)
    return [
        (float(a[0]), float(a[1]), float(b[0]), float(b[1]))
        for a, b in zip(at.min(axis=1), at.max(axis=1), strict=True)
    ]


def titles(plant: Plant, scene: Scene) -> tuple[str, str]:
    """Title and the line below it: what is shown, when, and which seq."""
    units = sum(part.role == "unit" for part in scene.parts)
    sites = sum(part.role == "site" for part in scene.parts)
    if not scene.parts:
        return "No twins yet", f"{plant.service}  ·  seq {plant.seq}"
    where = f" in {sites} plants" if sites > 1 else ""
    title = f"{units} machine{'s' if units != 1 else ''}{where}"
    if plant.historical:
        return title, f"{clock(plant.historical)}  ·  historical"
    return title, f"{clock(plant.time)}  ·  seq {plant.seq}  ·  {'not live' if plant.lost_since else 'live'}"


def clock(time: str) -> str:
    """An ISO time as people read it, in UTC.

    >>> clock("2026-11-23T18:40:02.123Z")
    '2026-11-23 18:40:02 UTC'
    """
    return f"{time[:10]} {time[11:19]} UTC" if len(time) >= 19 else time


def camera_on(scene: Scene, row: int, size: tuple[int, int], *, margin: float = 0.2) -> Camera:
    """Close to one part and what belongs to it."""
    rows = [row, *scene.children_of(row)]
    unit = scene.parts[row].unit
    boxes = scene.bounds_of[rows].copy()
    if unit == row:  # less of the floor ring, more of the machine
        middle = boxes[0].mean(axis=0)
        boxes[0, :, :2] = middle[:2] + (boxes[0, :, :2] - middle[:2]) * 0.75
    return fitted(corners(boxes), size, view="close", margins=(margin, margin, margin, margin))


def anchor_of(scene: Scene, row: int, camera: Camera, size: tuple[int, int]) -> tuple[float, float] | None:
    """The pixel that a part's leader line ends on: high in its middle; None when it is out of the picture."""
    low, high = scene.bounds_of[row]
    point = (low + high) / 2
    point[2] = low[2] + 0.72 * (high[2] - low[2])
    at, depth = camera.project(point, size)
    x, y = at[0]
    if depth[0] <= 0 or not (0 <= x < size[0] and 0 <= y < size[1]):
        return None
    return float(x), float(y)


def tags(scene: Scene, camera: Camera, size: tuple[int, int], unit: float) -> list[Tag]:
    """Names of sites below their front edge, and of machines where there is room for them."""
    from twinloom.viewer.drawing import Tag

    found: list[Tag] = []
    units = [row for row, part in enumerate(scene.parts) if part.role == "unit"]
    for row, part in enumerate(scene.parts):
        if part.role != "site":
            continue
        low, high = scene.bounds_of[row]
        at, depth = camera.project([[low[0], low[1], high[2]]], size)
        if depth[0] > 0:
            machines = sum(_below(scene, unit_, row) for unit_ in units)
            text = f"{part.name}   {machines} machines" if machines else part.name
            found.append(Tag(text, (float(at[0, 0]) + 4 * unit, float(at[0, 1]) + 12 * unit), 15, True))
    if units:
        low, high = scene.bounds_of[units, 0], scene.bounds_of[units, 1]
        front, floor = low[:, 1] - 0.1, np.zeros(len(units))
        left, depth = camera.project(np.stack([low[:, 0], front, floor], axis=1), size)
        right, _ = camera.project(np.stack([high[:, 0], front, floor], axis=1), size)
        middles = (left + right) / 2
        inside = (depth > 0) & (middles >= 0).all(axis=1) & (middles < size).all(axis=1)
        widths = (right - left)[:, 0]
        readable = bool(inside.any()) and float(np.median(widths[inside])) > 46 * unit  # all of them or none
        for row, middle, seen in zip(units, middles, inside, strict=True):
            if seen and readable:
                found.append(Tag(scene.parts[row].name, (middle[0], middle[1] + 2 * unit), 10, anchor="ma"))
    return found


def _below(scene: Scene, row: int, above: int) -> bool:
    while row >= 0:
        if row == above:
            return True
        row = scene.parts[row].parent
    return False
