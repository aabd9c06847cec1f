"""Triangles: a mesh with a material a face, the solids that procedural shapes are built of, and coarser copies.

Metres, z up. A face refers to a `Material` by number (or to a colour of a file mesh, numbered from `Material.CUSTOM`),
so that one table (part x material -> colour) recolours a whole plant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int32]
FULL, MIDDLE, BOX = 0, 1, 2
"""Levels of detail: all triangles, about a tenth, a box."""


class Material(IntEnum):
    """What a face is made of. BEACON and HALO are drawn in the colour of the worst part below them."""

    BODY = 0
    TRIM = 1
    GLASS = 2
    METAL = 3
    DARK = 4
    ACCENT = 5
    FLOOR = 6
    AISLE = 7
    HALO = 8
    BEACON = 9
    SCREEN = 10
    CUSTOM = 11


@dataclass(frozen=True, slots=True)
class Mesh:
    """`vertices` (V, 3) in metres, `faces` (F, 3) into them, `materials` (F,): `Material` numbers."""

    vertices: Floats
    faces: Ints
    materials: NDArray[np.uint8]

    @property
    def bounds(self) -> Floats:
        """(2, 3): lowest and highest corner; zeros when there is nothing."""
        if not len(self.vertices):
            return np.zeros((2, 3))
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])


def empty() -> Mesh:
    return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros(0, np.uint8))


def join(meshes: Iterable[Mesh]) -> Mesh:
    """All of them as one mesh."""
    parts = list(meshes)
    if not parts:
        return empty()
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]).astype(np.int32),
        np.concatenate([part.materials for part in parts]),
    )


def moved(mesh: Mesh, matrix: ArrayLike) -> Mesh:
    """`mesh` under the 4 x 4 `matrix`."""
    m = np.asarray(matrix, float)
    return Mesh(mesh.vertices @ m[:3, :3].T + m[:3, 3], mesh.faces, mesh.materials)


def hexahedron(corners: ArrayLike, material: int) -> Mesh:
    """Eight corners: four of the bottom counter-clockwise seen from above, then the four above them. 12 triangles."""
    quads = ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return Mesh(np.asarray(corners, float), np.asarray(faces, np.int32), np.full(12, material, np.uint8))


def box(low: Sequence[float], high: Sequence[float], material: int) -> Mesh:
    (x0, y0, z0), (x1, y1, z1) = low, high
    square = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    return hexahedron([(x, y, z) for z in (z0, z1) for x, y in square], material)


def prism(outline: Sequence[tuple[float, float]], low: float, high: float, material: int, axis: str = "z") -> Mesh:
    """A convex outline, counter-clockwise in the plane across `axis`, drawn out from `low` to `high` along it.

    The plane's two coordinates follow the axis cyclically: (x, y) for z, (y, z) for x, (z, x) for y.
    """
    n = len(outline)
    flat = np.asarray(outline, float)
    stacked = np.concatenate([np.c_[flat, np.full(n, low)], np.c_[flat, np.full(n, high)]])
    order = {"z": [0, 1, 2], "x": [2, 0, 1], "y": [1, 2, 0]}[axis]
    faces: list[tuple[int, int, int]] = []
    for i in range(n):
        j = (i + 1) % n
        faces += [(i, j, n + j), (i, n + j, n + i)]
    for i in range(1, n - 1):
        faces += [(0, i + 1, i), (n, n + i, n + i + 1)]
    return Mesh(stacked[:, order], np.asarray(faces, np.int32), np.full(len(faces), material, np.uint8))


def cylinder(
    centre: Sequence[float], radius: float, length: float, material: int, *, sides: int = 16, axis: str = "z"
) -> Mesh:
    """A cylinder from `centre` (the middle of its lower end) along `axis`."""
    angles = np.arange(sides) * (2 * np.pi / sides) + np.pi / sides
    disc = prism([(radius * np.cos(a), radius * np.sin(a)) for a in angles], 0.0, length, material, axis)
    return Mesh(disc.vertices + np.asarray(centre, float), disc.faces, disc.materials)


def frustum(centre: Sequence[float], low: float, high: float, length: float, material: int, *, sides: int = 16) -> Mesh:
    """An upright cone's slice: radius `low` at the lower end, `high` at the upper."""
    mesh = cylinder(centre, 1.0, length, material, sides=sides)
    radii = np.r_[np.full(sides, low), np.full(sides, high)][:, None]
    vertices = mesh.vertices - np.asarray(centre, float)
    vertices[:, :2] *= radii
    return Mesh(vertices + np.asarray(centre, float), mesh.faces, mesh.materials)


def chamfered(low: Sequence[float], high: Sequence[float], cut: float, material: int, axis: str = "z") -> Mesh:
    """A box whose four edges along `axis` are cut off: 28 triangles."""
    u, v, w = {"z": (0, 1, 2), "x": (1, 2, 0), "y": (2, 0, 1)}[axis]
    a, b, c, d = low[u], high[u], low[v], high[v]
    outline = [
        (a + cut, c),
        (b - cut, c),
        (b, c + cut),
        (b, d - cut),
        (b - cut, d),
        (a + cut, d),
        (a, d - cut),
        (a, c + cut),
    ]
    return prism(outline, low[w], high[w], material, axis)


def sheet(low: Sequence[float], high: Sequence[float], z: float, material: int) -> Mesh:
    """A flat rectangle at height `z`, facing up."""
    (x0, y0), (x1, y1) = low, high
    vertices = np.asarray([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], float)
    return Mesh(vertices, np.asarray([(0, 1, 2), (0, 2, 3)], np.int32), np.full(2, material, np.uint8))


def frame(low: Sequence[float], high: Sequence[float], width: float, z: float, material: int) -> Mesh:
    """A flat rectangular frame at height `z`, facing up: 8 triangles. `low`, `high` are its outer corners (x, y)."""
    (x0, y0), (x1, y1) = low, high
    outer = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    inner = [(x0 + width, y0 + width), (x1 - width, y0 + width), (x1 - width, y1 - width), (x0 + width, y1 - width)]
    vertices = np.asarray([(x, y, z) for x, y in [*outer, *inner]], float)
    faces = [t for i in range(4) for t in ((i, (i + 1) % 4, 4 + (i + 1) % 4), (i, 4 + (i + 1) % 4, 4 + i))]
    return Mesh(vertices, np.asarray(faces, np.int32), np.full(8, material, np.uint8))


def bounding_box(mesh: Mesh) -> Mesh:
    """The mesh's box in the material that covers most of its faces."""
    if not len(mesh.faces):
        return mesh
    low, high = mesh.bounds
    if len(mesh.faces) <= 2:  # a floor is its own box
        return mesh
    high = np.maximum(high, low + 1e-3)
    return box(low.tolist(), high.tolist(), int(np.bincount(mesh.materials).argmax()))


def coarser(mesh: Mesh, share: float = 0.1) -> Mesh:
    """`mesh` with about `share` of its triangles at most, by vertex clustering on a grid that grows until it is met.

    Rossignac and Borrel, "Multi-resolution 3D approximations", 1993: no extra library, any topology.
    """
    wanted = max(12, int(len(mesh.faces) * share))
    if len(mesh.faces) <= wanted:
        return mesh
    low, high = mesh.bounds
    extent = float((high - low).max()) or 1.0
    cells = 64
    while cells >= 2:
        keys = np.floor((mesh.vertices - low) / extent * (cells - 1e-9)).astype(np.int64)
        _, cluster = np.unique(keys @ np.array([1, 4096, 4096**2]), return_inverse=True)
        counts = np.bincount(cluster).astype(float)
        centres = np.stack([np.bincount(cluster, mesh.vertices[:, i]) / counts for i in range(3)], axis=1)
        faces = cluster[mesh.faces].astype(np.int32)
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
        _, once = np.unique(np.sort(faces[whole], axis=1), axis=0, return_index=True)
        if 0 < len(once) <= wanted:
            return Mesh(centres, faces[whole][once], mesh.materials[whole][once])
        cells = int(cells / 1.3)
    return bounding_box(mesh)
