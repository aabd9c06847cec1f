"""A pinhole camera as plain numbers: fitting it to a scene and projecting points, the same for VTK and the overlay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from twinloom.twin.errors import BadRequest
from twinloom.viewer.geometry import Floats

Preset: TypeAlias = Literal["overview", "front", "top", "left", "right"]
VIEW_ANGLE_DEG = 28.0
PRESETS: tuple[Preset, ...] = ("overview", "front", "top", "left", "right")
_DIRECTIONS: dict[str, tuple[float, float]] = {
    "overview": (-4.0, 49.0),
    "front": (0.0, 18.0),
    "top": (0.0, 89.0),
    "left": (-62.0, 30.0),
    "right": (62.0, 30.0),
    "close": (-24.0, 34.0),
}
"""Azimuth (from the operators' side, -y, towards +x) and elevation in degrees."""


@dataclass(frozen=True, slots=True)
class Camera:
    """`position` looks at `focus`; z is up. `angle` is the vertical field of view in degrees."""

    position: tuple[float, float, float]
    focus: tuple[float, float, float]
    angle: float = VIEW_ANGLE_DEG

    def basis(self) -> tuple[Floats, Floats, Floats]:
        """Unit vectors to the right, upwards and back towards the camera."""
        back = np.asarray(self.position, float) - np.asarray(self.focus, float)
        back /= np.linalg.norm(back) or 1.0
        right = np.cross([0.0, 0.0, 1.0], back)
        length = float(np.linalg.norm(right))
        right = right / length if length > 1e-9 else np.array([1.0, 0.0, 0.0])
        return right, np.cross(back, right), back

    def project(self, points: ArrayLike, size: tuple[int, int]) -> tuple[Floats, Floats]:
        """(n, 2) pixels (x to the right, y down) and (n,) distances ahead of the camera (<= 0: behind it)."""
        right, up, back = self.basis()
        relative = np.asarray(points, float).reshape(-1, 3) - np.asarray(self.position)
        depth = -(relative @ back)
        scale = size[1] / 2 / math.tan(math.radians(self.angle) / 2)
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        x = size[0] / 2 + scale * (relative @ right) / safe
        y = size[1] / 2 - scale * (relative @ up) / safe
        return np.stack([x, y], axis=1), depth


def fitted(
    points: ArrayLike,
    size: tuple[int, int],
    *,
    view: str = "overview",
    margins: tuple[float, float, float, float] = (0.03, 0.03, 0.03, 0.03),
    angle: float = VIEW_ANGLE_DEG,
) -> Camera:
    """The nearest camera in direction `view` from which all `points` (n, 3) lie inside the picture less its margins.

    `margins`: left, top, right, bottom as shares of the picture. Raises BadRequest for a view that is not known.
    """
    if view not in _DIRECTIONS:
        raise BadRequest(f"{view!r} is no view", remedy="use " + ", ".join(sorted(_DIRECTIONS)))
    azimuth, elevation = (math.radians(x) for x in _DIRECTIONS[view])
    back = np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
    )
    right, up, back = Camera((back[0], back[1], back[2]), (0, 0, 0)).basis()
    cloud = np.asarray(points, float).reshape(-1, 3)
    centre = cloud.mean(axis=0)
    local = (cloud - centre) @ np.stack([right, up, back], axis=1)
    x, y, z = local.T
    tangent = math.tan(math.radians(angle) / 2)
    aspect = size[0] / size[1]
    left, top, right_margin, bottom = margins
    across = (tangent * aspect * (2 * left - 1), tangent * aspect * (1 - 2 * right_margin))
    upright = (tangent * (2 * bottom - 1), tangent * (1 - 2 * top))

    def room(distance: float) -> tuple[float, float, float, float]:
        ahead = distance - z
        return (
            float((x - across[1] * ahead).max()),
            float((x - across[0] * ahead).min()),
            float((y - upright[1] * ahead).max()),
            float((y - upright[0] * ahead).min()),
        )

    radius = float(np.linalg.norm(local, axis=1).max()) or 1.0
    near, far = float(z.max()) + 1e-3 * radius, 200 * radius
    for _ in range(60):
        distance = (near + far) / 2
        low_x, high_x, low_y, high_y = room(distance)
        if low_x <= high_x and low_y <= high_y:
            far = distance
        else:
            near = distance
    low_x, high_x, low_y, high_y = room(far)
    shift = right * (low_x + high_x) / 2 + up * (low_y + high_y) / 2
    focus = centre + shift
    position = focus + back * far
    return Camera((position[0], position[1], position[2]), (focus[0], focus[1], focus[2]), angle)


def corners(bounds: ArrayLike) -> Floats:
    """(8, 3): the corners of boxes (2, 3), or (8 n, 3) of (n, 2, 3)."""
    boxes = np.asarray(bounds, float).reshape(-1, 2, 3)
    pick = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
    found: Floats = boxes[:, pick, np.arange(3)].reshape(-1, 3)
    return found
