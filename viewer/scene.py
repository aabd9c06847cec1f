"""Twins -> scene: which part stands where, in which shape, at which level of detail, and what could not be drawn.

Knows no renderer. A twin gets its geometry from a mesh file (a node named like the twin, or its `mesh` property) or from
its model type (`procedural`); a twin that only contains others gets a floor. Metres, z up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinloom.twin.errors import BadFile
from twinloom.twin.ids import label_of
from twinloom.twin.instance import Json
from twinloom.viewer import procedural
from twinloom.viewer.geometry import Floats, Ints, Material, Mesh, coarser, join, moved, sheet
from twinloom.viewer.geometry import bounding_box as box_of
from twinloom.viewer.glb import GlbNode, write_glb
from twinloom.viewer.mesh_files import FileMeshes, read_meshes
from twinloom.viewer.placement import matrix_of, pack

Role = Literal["site", "line", "unit", "component"]
FULL, MIDDLE, BOX = 0, 1, 2
SITE_GAP_M = 5.0


@dataclass(frozen=True, slots=True)
class SceneTwin:
    """What the scene needs of a twin. `kinds`: its model's type name, then its ancestors', nearest first."""

    id: str
    kinds: tuple[str, ...]
    properties: Mapping[str, Json] = field(default_factory=dict)
    parent: str | None = None

    @property
    def name(self) -> str:
        name = self.properties.get("name")
        return name if isinstance(name, str) and name else self.id.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the picture lacks or that was set right. `about`: a twin id, node name or file."""

    code: Literal["duplicate", "unmatched", "no_geometry", "placement", "parent", "mesh"]
    about: str
    message: str


@dataclass(frozen=True, slots=True)
class Part:
    """One twin in the scene. `unit` is the row of the machine it belongs to (its own row for a machine, -1 for floors)."""

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
    """`parts` are rows: parents before children. `palette` (n, 3): the colours of file meshes, from Material.CUSTOM on."""

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
                mesh = Mesh(mesh.vertices, mesh.faces, np.full(len(mesh.faces), Material.BEACON, np.uint8))
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


def scene_twin(
    id: str, model: str, properties: Mapping[str, Json], parent: str | None, ancestors: Iterable[str] = ()
) -> SceneTwin:
    """A SceneTwin from a twin's fields; `ancestors` are the model ids that `model` extends, nearest first."""
    kinds = (label_of(model), *(label_of(ancestor) for ancestor in ancestors))
    return SceneTwin(id, kinds, properties, parent)


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

    `meshes` are files whose nodes are named like twins and stand in world coordinates; `mesh_folder` holds the files that
    twins name in their `mesh` property (placed by `placement`). `up` and `unit_m` (metres a unit) describe those files:
    glTF is y-up. `floor_aspect` (width / depth) packs the sites side by side to it; None leaves them where they are placed.
    Raises BadFile for a file that cannot be used.
    """
    problems: list[Problem] = []
    by_id: dict[str, SceneTwin] = {}
    for twin in twins:
        if twin.id in by_id:
            problems.append(Problem("duplicate", twin.id, f"two twins are called {twin.id}; the first is drawn"))
        else:
            by_id[twin.id] = twin
    order, children = _tree(by_id, problems)
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
                problems.append(Problem("no_geometry", twin.id, f"{twin.id} is in no mesh file; its type's shape is drawn"))
    roles = _roles(order, geometry)
    boxes = _boxes(order, geometry, world, shapes.lods)
    _floors(order, children, geometry, roles, world, boxes, shapes.lods)
    roots = [twin.id for twin in order if twin.parent is None]
    if floor_aspect is not None and len(roots) > 1 and not files.nodes:
        _pack_sites(roots, order, world, boxes, floor_aspect)

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


def _tree(by_id: Mapping[str, SceneTwin], problems: list[Problem]) -> tuple[list[SceneTwin], dict[str, list[str]]]:
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
        order.append(twin if twin.parent == parent_of[id] else SceneTwin(id, twin.kinds, twin.properties, parent_of[id]))
        stack += reversed(children.get(id, []))
    return order, children


class _Shapes:
    """Chooses the geometry of each twin and keeps its levels of detail by key.

    Keys: `@node` from a file's node, `#file` from a twin's `mesh` property, `=id` a floor, else a procedural shape's name.
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
        if shape == "Axis" and twin.properties.get("letter") == "Z":
            shape = "AxisColumn"
        if shape == "Block" and has_children:
            return f"={twin.id}"
        if shape == "Block":
            kind = twin.kinds[0] if twin.kinds else "no model"
            self._problems.append(Problem("no_geometry", twin.id, f"{twin.id} ({kind}) has no shape; a block stands for it"))
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
            whole = join(read_meshes(path, up=self._up, unit_m=self._unit_m, known=(), palette=self._files.palette).all())
        except BadFile as error:
            self._problems.append(Problem("mesh", twin, f"{twin}: {error}"))
            return False
        self.lods[key] = whole, coarser(whole), box_of(whole)
        return True


def _roles(order: Sequence[SceneTwin], geometry: Mapping[str, str]) -> dict[str, Role]:
    roles: dict[str, Role] = {}
    for twin in order:
        above = roles.get(twin.parent) if twin.parent else None
        if geometry[twin.id].startswith("="):
            roles[twin.id] = "site" if above is None else "line" if above in ("site", "line") else "component"
        else:
            roles[twin.id] = "unit" if above in (None, "site", "line") else "component"
    return roles


def _boxes(
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


def _floors(
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


def _pack_sites(
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


@cache
def base_colours(theme: Literal["light", "dark"]) -> NDArray[np.uint8]:
    """(Material.CUSTOM, 3) sRGB: what healthy things look like. All near grey: colour is kept for exceptions."""
    light = {
        Material.BODY: "eceef0", Material.TRIM: "7d858e", Material.GLASS: "51606e", Material.METAL: "b4bac1",
        Material.DARK: "474d55", Material.ACCENT: "8fa3b5", Material.FLOOR: "dfe3e7", Material.AISLE: "eceef0",
        Material.HALO: "eceef0", Material.BEACON: "c4c9ce", Material.SCREEN: "90a4b4",
    }  # fmt: skip
    dark = {
        Material.BODY: "858d97", Material.TRIM: "474e57", Material.GLASS: "26303a", Material.METAL: "68707a",
        Material.DARK: "23282e", Material.ACCENT: "546675", Material.FLOOR: "23282e", Material.AISLE: "2d333a",
        Material.HALO: "2d333a", Material.BEACON: "5b636c", Material.SCREEN: "4a6072",
    }  # fmt: skip
    table = light if theme == "light" else dark
    return np.array([list(bytes.fromhex(table[m])) for m in list(Material)[: Material.CUSTOM]], np.uint8)


def build_glb(twins: Iterable[SceneTwin], *, floor_aspect: float | None = 1.9) -> bytes:
    """The scene of `twins` as GLB, for `/scene.glb`: a node a twin (name and extras.twinId = its id), shared geometry.

    Y-up as glTF says, metres, vertex colours. `extras` of a node: twinId, label, role, unit (the machine's twin id), kind.
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
