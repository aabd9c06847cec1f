"""The order of twins in a scene, their roles, the floors below them and the packing of whole sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from twinloom.viewer.geometry import FULL, Floats, Material, Mesh, join, moved, sheet
from twinloom.viewer.members import Problem, Role, SceneTwin
from twinloom.viewer.placement import pack

SITE_GAP_M = 5.0


def tree(by_id: Mapping[str, SceneTwin], problems: list[Problem]) -> tuple[list[SceneTwin], dict[str, list[str]]]:
    """Twins with parents before children, and the children of each. A missing parent or a circle makes a root."""
    parent_of: dict[str, str | None] = {}
    for twin in by_id.values():
        parent = twin.parent
        if parent is not None and parent not in by_id:
            problems.append(Problem("parent", twin.id, f"{twin.id} lies in {parent}, which is no known twin"))
            parent = None
        parent_of[twin.id] = parent
    settled: set[str] = set()
    for start in by_id:
        path: list[str] = []
        seen: set[str] = set()
        at: str | None = start
        while at is not None and at not in settled and at not in seen:
            seen.add(at)
            path.append(at)
            at = parent_of[at]
        if at is not None and at in seen and at not in settled:
            problems.append(Problem("parent", at, f"{at} lies in itself by way of its parents; it is drawn as a site"))
            parent_of[at] = None
        settled.update(path)
    children: dict[str, list[str]] = {}
    for id, parent in parent_of.items():
        if parent is not None:
            children.setdefault(parent, []).append(id)
    order: list[SceneTwin] = []
    stack = [id for id, parent in reversed(parent_of.items()) if parent is None]
    while stack:
        id = stack.pop()
        twin = by_id[id]
        order.append(
            twin if twin.parent == parent_of[id] else SceneTwin(id, twin.kinds, twin.properties, parent_of[id])
        )
        stack += reversed(children.get(id, []))
    return order, children


def roles_of(order: Sequence[SceneTwin], geometry: Mapping[str, str]) -> dict[str, Role]:
    roles: dict[str, Role] = {}
    for twin in order:
        above = roles.get(twin.parent) if twin.parent else None
        if geometry[twin.id].startswith("="):
            roles[twin.id] = "site" if above is None else "line" if above in ("site", "line") else "component"
        else:
            roles[twin.id] = "unit" if above in (None, "site", "line") else "component"
    return roles


def boxes_of(
    order: Sequence[SceneTwin],
    geometry: Mapping[str, str],
    world: Mapping[str, Floats],
    lods: Mapping[str, tuple[Mesh, Mesh, Mesh]],
) -> dict[str, Floats]:
    boxes: dict[str, Floats] = {}
    for twin in order:
        key, matrix = geometry[twin.id], world[twin.id]
        if key in lods and len(lods[key][FULL].vertices):
            boxes[twin.id] = moved(lods[key][FULL], matrix).bounds
        else:
            boxes[twin.id] = np.stack([matrix[:3, 3], matrix[:3, 3]])
    return boxes


def add_floors(
    order: Sequence[SceneTwin],
    children: Mapping[str, list[str]],
    geometry: Mapping[str, str],
    roles: Mapping[str, Role],
    world: Mapping[str, Floats],
    boxes: dict[str, Floats],
    lods: dict[str, tuple[Mesh, Mesh, Mesh]],
) -> None:
    """A sheet below what each container holds: deepest containers first, so that a site's floor spans its lines'."""
    for twin in reversed(order):
        if roles[twin.id] not in ("site", "line") or not children.get(twin.id):
            if geometry[twin.id].startswith("="):
                lods[geometry[twin.id]] = (join([]),) * 3
            continue
        inverse = np.linalg.inv(world[twin.id])
        corners = np.concatenate([boxes[child] for child in children[twin.id]])
        both = np.array([[corners[i, 0], corners[j, 1], 0.0, 1.0] for i in range(len(corners)) for j in (i, i ^ 1)])
        local = (both @ inverse.T)[:, :2]
        low, high = local.min(axis=0), local.max(axis=0)
        site = roles[twin.id] == "site"
        margin, front, top = (1.2, 0.9, -0.02) if site else (0.4, 1.7, 0.02)
        material = Material.FLOOR if site else Material.AISLE
        slab = sheet((low[0] - margin, low[1] - front), (high[0] + margin, high[1] + margin), top, material)
        lods[geometry[twin.id]] = (slab,) * 3
        boxes[twin.id] = moved(slab, world[twin.id]).bounds


def pack_sites(
    roots: Sequence[str],
    order: Sequence[SceneTwin],
    world: dict[str, Floats],
    boxes: dict[str, Floats],
    aspect: float,
) -> None:
    """Moves whole sites so that together they come near `aspect`."""
    root_of: dict[str, str] = {}
    extents: dict[str, Floats] = {}
    for twin in order:
        root = root_of[twin.id] = root_of[twin.parent] if twin.parent else twin.id
        here = boxes[twin.id]
        old = extents.get(root, here)
        extents[root] = np.stack([np.minimum(old[0], here[0]), np.maximum(old[1], here[1])])
    area = {root: float(np.prod(extents[root][1, :2] - extents[root][0, :2])) for root in roots}
    roots = sorted(roots, key=lambda root: -area[root])  # the largest stands alone, whatever the names are
    sizes = [(float(e[1, 0] - e[0, 0]), float(e[1, 1] - e[0, 1])) for e in (extents[root] for root in roots)]
    spots = pack(sizes, aspect, SITE_GAP_M)
    shift = {
        root: np.array([x - extents[root][0, 0], y - extents[root][0, 1], 0.0])
        for root, (x, y) in zip(roots, spots, strict=True)
    }
    for twin in order:
        move = shift[root_of[twin.id]]
        world[twin.id] = world[twin.id].copy()
        world[twin.id][:3, 3] += move
        boxes[twin.id] = boxes[twin.id] + move
