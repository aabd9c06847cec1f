"""glTF 2.0 binary: writing the scene, and looking at a foreign file's header before anything is allocated.

Source: Khronos glTF 2.0 specification, sections 3 (concepts) and 4.4 (GLB layout).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twinloom.twin.errors import BadFile
from twinloom.twin.instance import Json
from twinloom.viewer.geometry import Floats, Mesh

Refuse: TypeAlias = Callable[..., BadFile]
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_Z_UP_TO_Y_UP = [1, 0, 0, 0, 0, 0, -1, 0, 0, 1, 0, 0, 0, 0, 0, 1]
MAX_JSON_BYTES = 32 * 2**20
MAX_NODES = 500_000
MAX_DEPTH = 256
MAX_VERTICES = 3_000_000
MAX_INDICES = 9_000_000
_COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_UNDERSTOOD = {"KHR_mesh_quantization", "KHR_materials_unlit", "KHR_texture_transform"}


@dataclass(frozen=True, slots=True)
class GlbNode:
    """A node to write: `matrix` relative to the node at index `parent` (-1: the root)."""

    name: str
    geometry: str
    matrix: Floats
    parent: int
    extras: Mapping[str, Json]


def write_glb(nodes: Sequence[GlbNode], geometries: Mapping[str, Mesh], colours: NDArray[np.uint8]) -> bytes:
    """A GLB of `nodes` below one root node `scene`; each geometry is stored once. `colours`: sRGB by material number.

    Flat normals (three vertices a face of their own), linear COLOR_0, one matte material.
    """
    linear = np.where(colours <= 10, colours / 3294.6, ((colours / 255.0 + 0.055) / 1.055) ** 2.4)
    rgba = np.c_[np.round(linear * 255), np.full(len(colours), 255)].astype(np.uint8)
    blob = bytearray()
    views: list[Json] = []
    accessors: list[Json] = []
    meshes: list[Json] = []
    mesh_of: dict[str, int] = {}

    def add(data: NDArray[np.generic], kind: str, component: int, **extra: Json) -> int:
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": data.nbytes, "target": 34962})
        blob.extend(data.tobytes())
        blob.extend(b"\0" * (-len(blob) % 4))
        accessors.append(
            {"bufferView": len(views) - 1, "componentType": component, "count": len(data), "type": kind, **extra}
        )
        return len(accessors) - 1

    for key in sorted({node.geometry for node in nodes}):
        mesh = geometries[key]
        if not len(mesh.faces):
            continue
        corners = mesh.vertices[mesh.faces].astype(np.float32)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(lengths > 0, normals / np.maximum(lengths, 1e-30), [0.0, 0.0, 1.0]).astype(np.float32)
        flat = corners.reshape(-1, 3)
        attributes = {
            "POSITION": add(flat, "VEC3", 5126, min=flat.min(axis=0).tolist(), max=flat.max(axis=0).tolist()),
            "NORMAL": add(np.repeat(normals, 3, axis=0), "VEC3", 5126),
            "COLOR_0": add(np.repeat(rgba[mesh.materials], 3, axis=0), "VEC4", 5121, normalized=True),
            "_MATERIAL": add(np.repeat(mesh.materials.astype(np.float32), 3), "SCALAR", 5126),
        }
        mesh_of[key] = len(meshes)
        meshes.append({"name": key, "primitives": [{"attributes": attributes, "material": 0}]})

    children: list[list[int]] = [[] for _ in nodes]
    top: list[int] = []
    for i, node in enumerate(nodes):
        (children[node.parent] if node.parent >= 0 else top).append(i + 1)
    written: list[Json] = [{"name": "scene", "matrix": _Z_UP_TO_Y_UP, **({"children": top} if top else {})}]
    for node, below in zip(nodes, children, strict=True):
        entry: dict[str, Json] = {"name": node.name, "extras": dict(node.extras)}
        if node.geometry in mesh_of:
            entry["mesh"] = mesh_of[node.geometry]
        if not np.array_equal(node.matrix, np.eye(4)):
            entry["matrix"] = [round(float(x), 9) + 0.0 for x in node.matrix.T.ravel()]
        if below:
            entry["children"] = below
        written.append(entry)
    document: dict[str, Json] = {
        "asset": {"version": "2.0", "generator": "twinloom"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": written,
        "materials": [{"name": "matte", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.85}}],
    }
    if meshes:
        document |= {
            "meshes": meshes,
            "accessors": accessors,
            "bufferViews": views,
            "buffers": [{"byteLength": len(blob)}],
        }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), _JSON) + text
    if blob:
        chunks += struct.pack("<II", len(blob), _BIN) + bytes(blob)
    return struct.pack("<III", _MAGIC, 2, 12 + len(chunks)) + chunks


def checked_glb(file: str, data: bytes) -> tuple[dict[str, Json], bytes]:
    """The JSON and binary chunks of a GLB that is safe to load. Raises BadFile, naming the place, for another.

    Refused before anything is allocated for it: outside URIs, accessors that are not backed by bytes, counts past the
    caps, nodes in circles or with two parents, compressed geometry.
    """
    remedy = "export it again as plain glTF 2.0 binary (GLB) with everything embedded"

    def refuse(message: str, place: str = "") -> BadFile:
        return BadFile(file, message, place=place, remedy=remedy)

    if len(data) < 20 or struct.unpack_from("<I", data)[0] != _MAGIC:
        raise refuse("is no GLB")
    _, version, length = struct.unpack_from("<III", data)
    if version != 2:
        raise refuse(f"is GLB version {version}, not 2")
    if length > len(data):
        raise refuse(f"is cut short: its header promises {length} bytes and {len(data)} are there")
    size, kind = struct.unpack_from("<II", data, 12)
    if kind != _JSON or 20 + size > len(data) or size > MAX_JSON_BYTES:
        raise refuse("has no readable JSON chunk")
    try:
        document = json.loads(data[20 : 20 + size])
    except (ValueError, RecursionError) as error:
        raise refuse("has a JSON chunk that is no JSON") from error
    if not isinstance(document, dict):
        raise refuse("has a JSON chunk that is no object")
    binary = b""
    at = 20 + size
    if at + 8 <= len(data):
        size, kind = struct.unpack_from("<II", data, at)
        if kind == _BIN:
            binary = data[at + 8 : at + 8 + size]
    try:
        _check(document, len(binary), refuse)
    except (AttributeError, TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise refuse("does not follow glTF 2.0") from error
    return document, binary


def _check(document: dict[str, Json], binary: int, refuse: Refuse) -> None:
    for extension in document.get("extensionsRequired", []):
        if extension not in _UNDERSTOOD:
            raise refuse(f"needs the extension {str(extension)[:60]!r}", "/extensionsRequired")
    for part in ("buffers", "images"):
        for i, entry in enumerate(document.get(part, [])):
            uri = entry.get("uri")
            if uri is not None and not (part == "images" and isinstance(uri, str) and uri.startswith("data:")):
                raise refuse(f"refers to {str(uri)[:80]!r} outside itself; nothing is fetched", f"/{part}/{i}/uri")
    if len(document.get("buffers", [])) > 1:
        raise refuse("has more than its one embedded buffer", "/buffers")
    views = document.get("bufferViews", [])
    for i, view in enumerate(views):
        start, size = view.get("byteOffset", 0), view["byteLength"]
        if not (
            isinstance(start, int) and isinstance(size, int) and start >= 0 and size >= 0 and start + size <= binary
        ):
            raise refuse("has a buffer view that reaches outside the file", f"/bufferViews/{i}")
    accessors = document.get("accessors", [])
    for i, accessor in enumerate(accessors):
        place, count = f"/accessors/{i}", accessor["count"]
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_INDICES:
            raise refuse(f"promises {str(count)[:20]} elements in one accessor; at most {MAX_INDICES} are read", place)
        if "bufferView" not in accessor or "sparse" in accessor:
            raise refuse("has an accessor without bytes behind it", place)
        number = accessor["bufferView"]
        if not isinstance(number, int) or not 0 <= number < len(views):
            raise refuse("has an accessor on a buffer view that is not there", place)
        element = _COMPONENT_BYTES[accessor["componentType"]] * _COMPONENTS[accessor["type"]]
        stride, offset = views[number].get("byteStride", element), accessor.get("byteOffset", 0)
        if not isinstance(stride, int) or not isinstance(offset, int) or stride < element or stride > 252 or offset < 0:
            raise refuse("has an accessor whose stride or offset makes no sense", place)
        if count and offset + (count - 1) * stride + element > views[number]["byteLength"]:
            raise refuse("has an accessor that reaches past its bytes", place)
    _check_nodes(document, refuse)
    vertices = indices = 0
    per_mesh: list[tuple[int, int]] = []
    for i, mesh in enumerate(document.get("meshes", [])):
        v = n = 0
        for primitive in mesh["primitives"]:
            points = _at(accessors, primitive["attributes"]["POSITION"])
            order = _at(accessors, primitive["indices"]) if "indices" in primitive else points
            if points["type"] != "VEC3" or ("indices" in primitive and order["type"] != "SCALAR"):
                raise refuse("has a mesh whose positions or indices are of the wrong type", f"/meshes/{i}")
            v += points["count"]
            n += order["count"]
        per_mesh.append((v, n))
    for node in document.get("nodes", []):
        if "mesh" in node:
            v, n = _at(per_mesh, node["mesh"])
            vertices += v
            indices += n
    if vertices > MAX_VERTICES or indices > MAX_INDICES:
        raise refuse(
            f"would be {vertices} vertices and {indices} indices; at most {MAX_VERTICES} and {MAX_INDICES} are read",
            "/nodes",
        )


def _at(entries: Sequence[Any], number: Json) -> Any:
    """The entry at an index of the file. Raises KeyError for one that is none."""
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(entries):
        raise KeyError(number)
    return entries[number]


def _check_nodes(document: dict[str, Json], refuse: Refuse) -> None:
    nodes = document.get("nodes", [])
    if len(nodes) > MAX_NODES:
        raise refuse(f"has {len(nodes)} nodes; at most {MAX_NODES} are read", "/nodes")
    parent: dict[int, int] = {}
    for i, node in enumerate(nodes):
        for child in node.get("children", []):
            if not isinstance(child, int) or not 0 <= child < len(nodes):
                raise refuse("has a node whose child is not there", f"/nodes/{i}/children")
            if child in parent:
                raise refuse("has a node with two parents", f"/nodes/{child}")
            parent[child] = i
        for key, length in (("matrix", 16), ("translation", 3), ("rotation", 4), ("scale", 3)):
            numbers = node.get(key)
            if numbers is not None and (len(numbers) != length or not np.isfinite(np.asarray(numbers, float)).all()):
                raise refuse(f"has a node whose {key} is not {length} finite numbers", f"/nodes/{i}/{key}")
    depth = {i: 1 for i in range(len(nodes)) if i not in parent}
    children = [node.get("children", []) for node in nodes]
    stack = list(depth)
    while stack:
        i = stack.pop()
        for child in children[i]:
            depth[child] = depth[i] + 1
            if depth[child] > MAX_DEPTH:
                raise refuse(f"nests its nodes more than {MAX_DEPTH} deep", f"/nodes/{child}")
            stack.append(child)
    if len(depth) < len(nodes):
        raise refuse(
            "has nodes that contain themselves", f"/nodes/{next(i for i in range(len(nodes)) if i not in depth)}"
        )
