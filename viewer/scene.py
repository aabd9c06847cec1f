"""Twins -> scene: which part stands where, in which shape, at which level of detail, and what could not be drawn.

Knows no renderer. A twin gets its geometry from a mesh file (a node named like the twin, or its `mesh` property) or
from its model type (`procedural`); a twin that only contains others gets a floor. Metres, z up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinloom.twin.errors import BadFile
from twinloom.twin.instance import Json
from twinloom.viewer import procedural
from twinloom.viewer.arrangement import add_floors, boxes_of, pack_sites, roles_of, tree
from twinloom.viewer.geometry import BOX, FULL, MIDDLE, Floats, Ints, Material, Mesh, coarser, join, moved
from twinloom.viewer.geometry import bounding_box as box_of
from twinloom.viewer.glb import GlbNode, write_glb
from twinloom.viewer.members import Problem, Role, SceneTwin, scene_twin
from twinloom.viewer.mesh_files import FileMeshes, read_meshes
from twinloom.viewer.palettes import base_colours
from twinloom.viewer.placement import matrix_of

__all__ = [
    "BOX",
    "FULL",
    "MIDDLE",
    "Merged",
    "Part",
    "Problem",
    "Scene",
    "SceneTwin",
    "base_colours",
    "build_glb",
    "build_scene",
    "check_scene",
    "scene_glb",
    "scene_twin",
]


@dataclass(frozen=True, slots=True)
class Part:
    """One twin in the scene. `unit`: the row of the machine it belongs to (its own for a machine, -1: a floor)."""

    twin: str
    name: str
    kind: str
    role: Role
    geometry: str
    matrix: Floats
    parent: int
    unit: int


@dataclass(frozen=True, slots=True)
class Merged:
    """One level of detail as one mesh. `owner` (F,): row of each face; `spans` (parts, 2): its faces' range."""

    vertices: Floats
    faces: Ints
    materials: NDArray[np.uint8]
    owner: Ints
    spans: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scene:
    """`parts` are rows: parents before children. `palette` (n, 3): colours of file meshes, from Material.CUSTOM on."""

    parts: tuple[Part, ...]
    geometries: Mapping[str, tuple[Mesh, Mesh, Mesh]]
    palette: NDArray[np.uint8]
    problems: tuple[Problem, ...]
    row_of: Mapping[str, int]
    bounds_of: Floats

    def merged(self, level: int) -> Merged:
        """All parts at one level. At BOX the components are left out: the machine's box stands for them."""
        meshes: list[Mesh] = []
        owners: list[Ints] = []
        spans = np.zeros((len(self.parts), 2), np.int64)
        start = 0
        for row, part in enumerate(self.parts):
            mesh = self.geometries[part.geometry][level]
            if level == BOX and part.role == "component":
                spans[row] = start
                continue
            if level == BOX and part.role == "unit":  # shows the worst of its parts, as its beacon would
                faces = mesh.faces[2:] if len(mesh.faces) == 12 else mesh.faces  # nobody sees a box's bottom
                mesh = Mesh(mesh.vertices, faces, np.full(len(faces), Material.BEACON, np.uint8))
            meshes.append(moved(mesh, part.matrix))
            owners.append(np.full(len(mesh.faces), row, np.int32))
            spans[row] = start, start + len(mesh.faces)
            start += len(mesh.faces)
        whole = join(meshes)
        owner = np.concatenate(owners) if owners else np.zeros(0, np.int32)
        return Merged(whole.vertices, whole.faces, whole.materials, owner, spans)

    @property
    def bounds(self) -> Floats:
        """(2, 3) of everything; a metre cube when the scene is empty."""
        if not self.parts:
            return np.array([[-0.5, -0.5, 0.0], [0.5, 0.5, 1.0]])
        return np.stack([self.bounds_of[:, 0].min(axis=0), self.bounds_of[:, 1].max(axis=0)])

    def label_of(self, row: int) -> str:
        """How an engineer calls it: `CNC 12 spindle` for a component, `CNC 12` for a machine."""
        part = self.parts[row]
        if part.role != "component" or part.unit in (-1, row):
            return part.name
        lowered = part.name[:1].lower() + part.name[1:] if part.name[1:2].islower() else part.name
        return f"{self.parts[part.unit].name} {lowered}"

    def children_of(self, row: int) -> list[int]:
        return [i for i, part in enumerate(self.parts) if part.parent == row]

    def centre_of(self, row: int) -> Floats:
        """(3,): the middle of the part's box."""
        centre: Floats = self.bounds_of[row].mean(axis=0)
        return centre


def build_scene(
    twins: Iterable[SceneTwin],
    *,
    meshes: Sequence[Path] = (),
    mesh_folder: Path | None = None,
    up: Literal["y", "z"] = "y",
    unit_m: float = 1.0,
    floor_aspect: float | None = None,
) -> Scene:
    """The scene of `twins`.

    `meshes` are files whose nodes are named like twins and stand in world coordinates; `mesh_folder` holds the files
    that twins name in their `mesh` property (placed by `placement`). `up` and `unit_m` (metres a unit) describe those
    files: glTF is y-up. `floor_aspect` (width / depth) packs the sites side by side to it; None leaves them where they
    are placed. Raises BadFile for a file that cannot be used.
    """
    problems: list[Problem] = []
    by_id: dict[str, SceneTwin] = {}
    for twin in twins:
        if twin.id in by_id:
            problems.append(Problem("duplicate", twin.id, f"two twins are called {twin.id}; the first is drawn"))
        else:
            by_id[twin.id] = twin
    order, children = tree(by_id, problems)
    files = FileMeshes()
    for path in meshes:
        found = read_meshes(path, up=up, unit_m=unit_m, known=by_id.keys())
        problems += [Problem(code, about, text) for code, about, text in found.problems]  # type: ignore[arg-type]
        files.add(found)
    for name in files.nodes:
        if name not in by_id:
            problems.append(Problem("unmatched", name, f"mesh node {name} matches no twin and is not drawn"))

    shapes = _Shapes(files, mesh_folder, up, unit_m, problems)
    world: dict[str, Floats] = {}
    for twin in order:
        matrix, wrong = matrix_of(twin.properties.get("placement"))
        if wrong:
            problems.append(Problem("placement", twin.id, f"{twin.id}: {wrong}; it stands at its parent's origin"))
        world[twin.id] = world[twin.parent] @ matrix if twin.parent in world and twin.parent else matrix
    geometry = {twin.id: shapes.geometry_of(twin, bool(children.get(twin.id))) for twin in order}
    world |= {id: np.eye(4) for id, key in geometry.items() if key.startswith("@")}  # those stand where their file says
    if meshes:
        for twin in order:
            if geometry[twin.id][:1] not in ("@", "#"):
                problems.append(
                    Problem("no_geometry", twin.id, f"{twin.id} is in no mesh file; its type's shape is drawn")
                )
    roles = roles_of(order, geometry)
    boxes = boxes_of(order, geometry, world, shapes.lods)
    add_floors(order, children, geometry, roles, world, boxes, shapes.lods)
    roots = [twin.id for twin in order if twin.parent is None]
    if floor_aspect is not None and len(roots) > 1 and not files.nodes:
        pack_sites(roots, order, world, boxes, floor_aspect)

    rows = {twin.id: row for row, twin in enumerate(order)}
    parts: list[Part] = []
    for twin in order:
        parent = rows.get(twin.parent, -1) if twin.parent else -1
        role = roles[twin.id]
        unit = -1 if role in ("site", "line") else len(parts) if role == "unit" else parts[parent].unit
        kind = twin.kinds[0] if twin.kinds else ""
        parts.append(Part(twin.id, twin.name, kind, role, geometry[twin.id], world[twin.id], parent, unit))
    bounds = np.array([boxes[twin.id] for twin in order]) if order else np.zeros((0, 2, 3))
    palette = np.array(files.palette, np.uint8).reshape(-1, 3)
    return Scene(tuple(parts), shapes.lods, palette, tuple(problems), rows, bounds)


class _Shapes:
    """Chooses the geometry of each twin and keeps its levels of detail by key.

    Keys: `@node` from a file's node, `#file` from a twin's `mesh` property, `=id` a floor, else a procedural shape's
    name.
    """

    def __init__(
        self,
        files: FileMeshes,
        folder: Path | None,
        up: Literal["y", "z"],
        unit_m: float,
        problems: list[Problem],
    ) -> None:
        self._files, self._folder, self._up, self._unit_m, self._problems = files, folder, up, unit_m, problems
        self.lods: dict[str, tuple[Mesh, Mesh, Mesh]] = {}

    def geometry_of(self, twin: SceneTwin, has_children: bool) -> str:
        if twin.id in self._files.nodes:
            key, mesh = f"@{twin.id}", self._files.nodes[twin.id]
            self.lods[key] = mesh, coarser(mesh), box_of(mesh)
            return key
        named = twin.properties.get("mesh")
        if self._folder is not None and isinstance(named, str) and named:
            key = f"#{named}"
            if key in self.lods or self._load(key, named, twin.id):
                return key
        shape = procedural.shape_of(twin.kinds)
        if shape == "Axis" and (twin.properties.get("letter") == "Z" or twin.name.endswith(" Z")):
            shape = "AxisColumn"
        if shape == "Block" and has_children:
            return f"={twin.id}"
        if shape == "Block":
            kind = twin.kinds[0] if twin.kinds else "no model"
            self._problems.append(
                Problem("no_geometry", twin.id, f"{twin.id} ({kind}) has no shape; a block stands for it")
            )
        if shape not in self.lods:
            self.lods[shape] = procedural.lods_of(shape)
        return shape

    def _load(self, key: str, named: str, twin: str) -> bool:
        assert self._folder is not None
        root = self._folder.resolve()
        path = (root / named).resolve()
        if not path.is_relative_to(root):
            self._problems.append(Problem("mesh", twin, f"{twin}: mesh {named!r} lies outside the mesh folder"))
            return False
        try:
            whole = join(
                read_meshes(path, up=self._up, unit_m=self._unit_m, known=(), palette=self._files.palette).all()
            )
        except BadFile as error:
            self._problems.append(Problem("mesh", twin, f"{twin}: {error}"))
            return False
        self.lods[key] = whole, coarser(whole), box_of(whole)
        return True


def build_glb(twins: Iterable[SceneTwin], *, floor_aspect: float | None = 1.9) -> bytes:
    """The scene of `twins` as GLB, for `/scene.glb`: a node a twin (name and extras.twinId = its id), shared geometry.

    Y-up as glTF says, metres, vertex colours. `extras` of a node: twinId, label, role, unit (the machine's twin id),
    kind.
    """
    return scene_glb(build_scene(twins, floor_aspect=floor_aspect))


def scene_glb(scene: Scene, *, level: int = FULL) -> bytes:
    """A built scene as GLB."""
    colours = np.concatenate([base_colours("light"), scene.palette])
    nodes = []
    for row, part in enumerate(scene.parts):
        extras: dict[str, Json] = {
            "twinId": part.twin,
            "label": scene.label_of(row),
            "role": part.role,
            "kind": part.kind,
            "unit": scene.parts[part.unit].twin if part.unit >= 0 else None,
        }
        local = part.matrix if part.parent < 0 else np.linalg.inv(scene.parts[part.parent].matrix) @ part.matrix
        nodes.append(GlbNode(part.twin, part.geometry, local, part.parent, extras))
    return write_glb(nodes, {key: lods[level] for key, lods in scene.geometries.items()}, colours)


def check_scene(
    twins: Iterable[SceneTwin],
    *,
    meshes: Sequence[Path] = (),
    mesh_folder: Path | None = None,
    up: Literal["y", "z"] = "y",
    unit_m: float = 1.0,
) -> tuple[Problem, ...]:
    """Everything that building the scene would report: duplicates, unmatched nodes, twins without geometry or place."""
    return build_scene(twins, meshes=meshes, mesh_folder=mesh_folder, up=up, unit_m=unit_m).problems
