"""Ambient occlusion from a depth picture, in numpy: the same bytes every time.

VTK's own pass (vtkSSAOPass) gives another picture on each frame here and keeps positions as half floats, which bands at
the distance of a whole plant. This one follows horizon-based ambient occlusion (Bavoil, Sainz, SIGGRAPH 2008 talks)
with a fixed set of neighbours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Single = NDArray[np.float32]
_RINGS = ((0.18, 4, 0.0), (0.42, 6, 0.4), (0.72, 8, 0.2), (1.0, 8, 0.55))
"""Share of the radius, directions, turn."""


def shade(depth: NDArray[np.floating], pixel: float, radius_m: float, *, strength: float = 1.5) -> Single:
    """(h, w): 1 in the open, towards 0 in corners. `depth` (h, w): metres along the view, inf for none.

    `pixel`: metres that a pixel covers at a distance of one metre. The radius in pixels is that of the middle depth.
    """
    seen = np.isfinite(depth)
    if not seen.any():
        return np.ones(depth.shape, np.float32)
    far = float(depth[seen].max())
    z = np.where(seen, depth, far * 1.02).astype(np.float32)
    height, width = z.shape
    x = z * ((np.arange(width, dtype=np.float32) - width / 2) * np.float32(pixel))
    y = z * ((np.arange(height, dtype=np.float32) - height / 2) * np.float32(pixel))[:, None]
    normal = _normals(x, y, z)
    reach = max(2.0, radius_m / (pixel * float(np.median(depth[seen]))))
    occluded = np.zeros_like(z)
    weight = 0.0
    for share, count, turn in _RINGS:
        for i in range(count):
            angle = 2 * math.pi * (i + turn) / count
            dx, dy = round(reach * share * math.cos(angle)), round(reach * share * math.sin(angle))
            if dx == dy == 0:
                continue
            weight += 1.0
            here, there = _shifted(height, width, dx, dy)
            vx, vy, vz = x[there] - x[here], y[there] - y[here], z[there] - z[here]
            squared = vx * vx + vy * vy + vz * vz + np.float32(1e-9)
            rise = vx * normal[0][here] + vy * normal[1][here] + vz * normal[2][here]
            rise /= np.sqrt(squared)
            rise -= np.float32(0.12)
            np.maximum(rise, 0.0, out=rise)
            rise *= np.maximum(1.0 - squared / np.float32((1.6 * radius_m) ** 2), 0.0)
            occluded[here] += rise
    result: Single = np.clip(1.0 - strength * occluded / max(weight, 1.0), 0.25, 1.0).astype(np.float32)
    result[~seen] = 1.0
    return _softened(result, z)


def eye_depth(buffer: NDArray[np.floating], near: float, far: float) -> NDArray[np.float64]:
    """Metres along the view from a depth buffer's 0..1; inf where nothing was drawn."""
    z = np.asarray(buffer, float)
    depth = near * far / (far - z * (far - near))
    return np.where(z >= 1.0, np.inf, depth)


def _shifted(height: int, width: int, dx: int, dy: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the pixels that have a neighbour at (dx, dy), and of these neighbours."""
    here = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
    there = slice(max(0, dy), height - max(0, -dy)), slice(max(0, dx), width - max(0, -dx))
    return here, there


def _normals(x: Single, y: Single, z: Single) -> tuple[Single, Single, Single]:
    """Unit normals towards the camera, from the nearer neighbour on each side so that edges do not smear."""

    def slope(a: Single, axis: int, forward: NDArray[np.bool_]) -> Single:
        step = np.diff(a, axis=axis)
        pad = [(0, 0), (0, 0)]
        pad[axis] = (0, 1)
        ahead = np.pad(step, pad, mode="edge")
        pad[axis] = (1, 0)
        behind = np.pad(step, pad, mode="edge")
        found: Single = np.where(forward, ahead, behind)
        return found

    sides = []
    for axis in (0, 1):
        step = np.abs(np.diff(z, axis=axis))
        pad = [(0, 0), (0, 0)]
        pad[axis] = (0, 1)
        ahead = np.pad(step, pad, mode="edge")
        pad[axis] = (1, 0)
        behind = np.pad(step, pad, mode="edge")
        sides.append(ahead <= behind)
    ax, ay, az = (slope(a, 1, sides[1]) for a in (x, y, z))
    bx, by, bz = (slope(a, 0, sides[0]) for a in (x, y, z))
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    sign = np.where(nx * x + ny * y + nz * z > 0, np.float32(-1), np.float32(1))
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-20)
    scale = sign / length
    return nx * scale, ny * scale, nz * scale


def _softened(result: Single, z: Single) -> Single:
    """A 5 x 5 mean over neighbours at about the same depth."""
    height, width = z.shape
    total, count = result.copy(), np.ones_like(result)
    for dy in (-2, -1, 0, 1, 2):
        for dx in (-2, -1, 0, 1, 2):
            if dx or dy:
                here, there = _shifted(height, width, dx, dy)
                near = (np.abs(z[there] - z[here]) < z[here] * np.float32(0.004)).astype(np.float32)
                total[here] += result[there] * near
                count[here] += near
    return total / count
