"""GLB, OBJ, STL and STEP files -> meshes by node name, read by trimesh after the header was found harmless.

Nothing a file refers to is opened: no resolver is given to the parsers, and textures are dropped.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinloom.twin.errors import BadFile
from twinloom.viewer.geometry import Material, Mesh, join
from twinloom.viewer.glb import MAX_INDICES, MAX_VERTICES, checked_glb

MAX_FILE_BYTES = 256 * 2**20
MAX_TEXT_BYTES = 64 * 2**20
MAX_PALETTE = 200
STEP_TIMEOUT_S = 60.0
_REMEDY = "give a GLB, OBJ, STL or STEP file"


@dataclass(slots=True)
class FileMeshes:
    """Meshes by node name in world metres, z up. `palette`: sRGB colours, numbered from Material.CUSTOM."""

    nodes: dict[str, Mesh] = field(default_factory=dict)
    palette: list[tuple[int, int, int]] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    def all(self) -> list[Mesh]:
        return list(self.nodes.values())

    def add(self, other: FileMeshes) -> None:
        """Takes over what another file brought; a name that is taken is reported and dropped."""
        numbers = np.array([_number_of(self.palette, colour) for colour in other.palette] or [0], np.uint8)
        for name, mesh in other.nodes.items():
            if name in self.nodes:
                self.problems.append(("duplicate", name, f"two mesh nodes are called {name}; the first is drawn"))
                continue
            custom = mesh.materials >= Material.CUSTOM
            materials = mesh.materials.copy()
            materials[custom] = numbers[mesh.materials[custom] - Material.CUSTOM]
            self.nodes[name] = Mesh(mesh.vertices, mesh.faces, materials)


def read_meshes(
    path: Path,
    *,
    up: Literal["y", "z"] = "y",
    unit_m: float = 1.0,
    known: Collection[str] = (),
    palette: list[tuple[int, int, int]] | None = None,
) -> FileMeshes:
    """The meshes of a file. `known` are twin ids: a node belongs to its nearest ancestor that is one.

    `up` is the file's up axis for GLB, OBJ and STL (STEP is always z-up), `unit_m` metres a unit (STEP knows its own).
    Raises BadFile: unreadable, hostile, of a kind that is not read, or without triangles.
    """
    suffix = path.suffix.lower()
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MAX_FILE_BYTES:
            raise BadFile(str(path), f"is no file of at most {MAX_FILE_BYTES // 2**20} MiB", remedy=_REMEDY)
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(
            str(path), f"cannot be read ({error.strerror})", remedy="check the name and its permissions"
        ) from error
    to_world = np.diag([unit_m, unit_m, unit_m, 1.0]) @ _turn(up)
    found = FileMeshes(palette=palette if palette is not None else [])
    if suffix in (".glb", ".gltf"):
        _read_glb(path, data, found, known, to_world)
    elif suffix == ".obj":
        _read_obj(path, data, found, to_world)
    elif suffix == ".stl":
        _read_stl(path, data, found, to_world)
    elif suffix in (".step", ".stp"):
        _read_step(path, found, known)
    else:
        raise BadFile(str(path), f"is of a kind ({suffix or 'no suffix'}) that is not read", remedy=_REMEDY)
    if not found.nodes:
        raise BadFile(str(path), "has no triangles", remedy=_REMEDY)
    return found


def _turn(up: Literal["y", "z"]) -> NDArray[np.float64]:
    """World z-up from the file's axes."""
    matrix = np.eye(4)
    if up == "y":
        matrix[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    return matrix


def _number_of(palette: list[tuple[int, int, int]], colour: tuple[int, int, int]) -> int:
    if colour not in palette:
        if len(palette) >= MAX_PALETTE:
            distances = [sum((a - b) ** 2 for a, b in zip(colour, have, strict=True)) for have in palette]
            return int(Material.CUSTOM) + int(np.argmin(distances))
        palette.append(colour)
    return int(Material.CUSTOM) + palette.index(colour)


def _checked(path: Path, vertices: Any, faces: Any, materials: NDArray[np.uint8]) -> Mesh:
    """A Mesh whose faces refer to finite vertices that are there."""
    points, triangles = np.asarray(vertices, float).reshape(-1, 3), np.asarray(faces, np.int64).reshape(-1, 3)
    if len(points) > MAX_VERTICES or len(triangles) * 3 > MAX_INDICES:
        raise BadFile(
            str(path), f"has {len(triangles)} triangles; at most {MAX_INDICES // 3} are read", remedy="decimate it"
        )
    inside = np.asarray(((triangles >= 0) & (triangles < len(points))).all(axis=1))
    inside &= (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    fine = inside.copy()
    fine[inside] = (np.abs(points[triangles[inside]]) < 1e7).all(axis=(1, 2))  # false for NaN as well
    kept = triangles[fine].astype(np.int32)
    points = np.where(np.isfinite(points), points, 0.0)
    used, compact = np.unique(kept, return_inverse=True)
    return Mesh(points[used], compact.reshape(-1, 3).astype(np.int32), materials[fine])


def _transformed(path: Path, vertices: Any, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points under a 4 x 4 matrix; what is not finite stays so and is left out by `_checked`."""
    points = np.asarray(vertices, float)
    if points.ndim != 2 or points.shape[1] != 3 or matrix.shape != (4, 4):
        raise BadFile(str(path), "has vertices that are no points in space", remedy=_REMEDY)
    with np.errstate(all="ignore"):
        moved: NDArray[np.float64] = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def _colour_of(mesh: Any) -> tuple[int, int, int]:
    """One sRGB colour of a trimesh mesh, a light grey when it has none."""
    visual: Any = getattr(mesh, "visual", None)
    colour = getattr(getattr(visual, "material", None), "baseColorFactor", None)
    if colour is None and getattr(visual, "kind", None) in ("vertex", "face"):
        colour = visual.main_color
    if colour is None:
        return 216, 220, 224
    r, g, b = (int(min(max(x, 0), 255)) for x in np.asarray(colour).ravel()[:3])
    return r, g, b


def _face_materials(mesh: Any, palette: list[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """A material a face: our own files carry `_MATERIAL` a vertex; other files one colour a mesh."""
    own = getattr(mesh, "vertex_attributes", {}).get("_MATERIAL")
    if own is not None and len(own) == len(mesh.vertices):
        numbers = np.nan_to_num(np.asarray(own, float).reshape(-1)[mesh.faces[:, 0]])
        if ((numbers >= 0) & (numbers < Material.CUSTOM)).all():
            found: NDArray[np.uint8] = numbers.astype(np.uint8)
            return found
    return np.full(len(mesh.faces), _number_of(palette, _colour_of(mesh)), np.uint8)


def _parse(path: Path, data: bytes, kind: str, **options: Any) -> Any:
    """trimesh's parser with nothing to resolve; whatever it raises on a broken file is one BadFile."""
    import trimesh

    try:
        return trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=None, process=False, **options)
    except Exception as error:  # a foreign parser on foreign bytes fails in any way it likes
        detail = f"{type(error).__name__}: {str(error)[:80]}".replace("\n", " ")
        raise BadFile(str(path), f"cannot be read as {kind.upper()} ({detail})", remedy=_REMEDY) from error


def _read_glb(path: Path, data: bytes, found: FileMeshes, known: Collection[str], turn: NDArray[np.float64]) -> None:
    if path.suffix.lower() == ".gltf":
        raise BadFile(str(path), "refers to files beside itself; nothing is fetched", remedy="export it as GLB")
    document, binary = checked_glb(str(path), data)
    nodes = document.get("nodes", [])
    _report_duplicates(nodes, found)
    owner = _owners(nodes, known)
    for key in (
        "images",
        "textures",
        "samplers",
        "animations",
        "skins",
        "cameras",
        "extensionsRequired",
        "extensionsUsed",
    ):
        document.pop(key, None)
    for i, node in enumerate(nodes):  # unique names: trimesh keys its graph by them
        node["name"] = f"n{i}"
        for key in ("extras", "skin", "camera", "weights", "extensions"):
            node.pop(key, None)
    for material in document.get("materials", []):
        base = (material.get("pbrMetallicRoughness") or {}).get("baseColorFactor")
        material.clear()
        material["pbrMetallicRoughness"] = {"baseColorFactor": base} if base is not None else {}
    for mesh in document.get("meshes", []):
        mesh.pop("extras", None)
        mesh.pop("weights", None)
        for primitive in mesh["primitives"]:
            primitive.pop("targets", None)
            primitive.pop("extensions", None)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    scene = _parse(path, struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks, "glb")
    pieces: dict[str, list[Mesh]] = {}
    graph = scene.graph
    for name in graph.nodes_geometry:
        matrix, geometry = graph.get(name)
        mesh = scene.geometry[geometry]
        if not hasattr(mesh, "faces") or not len(mesh.faces):
            continue
        match = re.match(r"n(\d+)", name)
        belongs = owner[int(match[1])] if match and int(match[1]) < len(owner) else str(name)
        points = _transformed(path, mesh.vertices, turn @ np.asarray(matrix, float))
        pieces.setdefault(belongs, []).append(_checked(path, points, mesh.faces, _face_materials(mesh, found.palette)))
    found.nodes.update({name: mesh for name, parts in pieces.items() if len((mesh := join(parts)).faces)})


def _twin_of(node: Any) -> str:
    extras = node.get("extras")
    named = extras.get("twinId") if isinstance(extras, dict) else None
    return named if isinstance(named, str) else str(node.get("name", ""))


def _report_duplicates(nodes: list[Any], found: FileMeshes) -> None:
    seen: set[str] = set()
    for node in nodes:
        name = _twin_of(node)
        if name and name in seen:
            found.problems.append(("duplicate", name, f"two mesh nodes are called {name}; they are drawn as one"))
        seen.add(name)


def _owners(nodes: list[Any], known: Collection[str]) -> list[str]:
    """For each node the twin it belongs to: itself or its nearest ancestor among `known`, else its own name."""
    parent = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}
    owners: list[str] = []
    for i, node in enumerate(nodes):
        at: int | None = i
        while at is not None and _twin_of(nodes[at]) not in known:
            at = parent.get(at)
        owners.append(_twin_of(nodes[at]) if at is not None else _twin_of(node) or f"node {i}")
    return owners


def _read_obj(path: Path, data: bytes, found: FileMeshes, turn: NDArray[np.float64]) -> None:
    if len(data) > MAX_TEXT_BYTES or data.count(b"\nv ") > MAX_VERTICES or data.count(b"\nf ") > MAX_INDICES // 3:
        raise BadFile(str(path), f"is larger than the {MAX_VERTICES} vertices that are read", remedy="decimate it")
    scene = _parse(path, data, "obj", split_objects=True, group_material=False, skip_materials=True)
    for name, mesh in scene.geometry.items():
        if not hasattr(mesh, "faces") or not len(mesh.faces):
            continue
        title = str(mesh.metadata.get("object") or mesh.metadata.get("name") or name)
        points = _transformed(path, mesh.vertices, turn)
        checked = _checked(path, points, mesh.faces, _face_materials(mesh, found.palette))
        if not len(checked.faces):
            continue
        found.nodes[title] = join([found.nodes[title], checked]) if title in found.nodes else checked


def _read_stl(path: Path, data: bytes, found: FileMeshes, turn: NDArray[np.float64]) -> None:
    kind = "stl_ascii" if data[:5] == b"solid" and b"facet" in data[:1000] else "stl"
    if kind == "stl":
        count = struct.unpack_from("<I", data, 80)[0] if len(data) >= 84 else 0
        if len(data) < 84 or 84 + 50 * count > len(data):
            raise BadFile(str(path), f"promises {count} triangles and is only {len(data)} bytes long", remedy=_REMEDY)
    elif len(data) > MAX_TEXT_BYTES:
        raise BadFile(str(path), "is too large a text", remedy="save it as binary STL")
    scene = _parse(path, data, kind)
    parts = []
    for mesh in scene.geometry.values():
        points = _transformed(path, mesh.vertices, turn)
        parts.append(_checked(path, points, mesh.faces, _face_materials(mesh, found.palette)))
    whole = join(parts)
    if len(whole.faces):
        found.nodes[path.stem] = whole


def _read_step(path: Path, found: FileMeshes, known: Collection[str]) -> None:
    """STEP by cascadio (extra `cad`), in a process of its own: a C++ kernel may crash or never end on a broken file."""
    with tempfile.TemporaryDirectory(prefix="twinloom-step-") as folder:
        out = Path(folder, "part.glb")
        code = "import sys, cascadio; sys.exit(cascadio.step_to_glb(sys.argv[1], sys.argv[2], tol_linear=0.1) or 0)"
        environment = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH") if key in os.environ}
        try:
            done = subprocess.run(
                [sys.executable, "-c", code, str(path.resolve()), str(out)],
                capture_output=True, timeout=STEP_TIMEOUT_S, env=environment, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise BadFile(
                str(path), f"takes longer than {STEP_TIMEOUT_S:.0f} s to read", remedy="export it as GLB"
            ) from error
        if b"No module named 'cascadio'" in done.stderr:
            raise BadFile(str(path), "is STEP, which needs the extra `cad`", remedy="pip install 'twinloom[cad]'")
        if done.returncode or not out.is_file():
            raise BadFile(str(path), "cannot be read as STEP", remedy=_REMEDY)
        _read_glb(out, out.read_bytes(), found, known, np.eye(4))
    if len(found.nodes) == 1 and not found.nodes.keys() & set(known):
        found.nodes[path.stem] = found.nodes.pop(next(iter(found.nodes)))
