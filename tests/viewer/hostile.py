"""Meshes that mean harm, made by script: each with the words that must name what is wrong."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np


def glb(
    document: Any, binary: bytes = b"", *, version: int = 2, length: int | None = None, magic: int = 0x46546C67
) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", magic, version, 12 + len(chunks) if length is None else length) + chunks


def triangle(**changes: Any) -> tuple[dict[str, Any], bytes]:
    """One harmless triangle named `m`, its document to be spoilt."""
    binary = (
        np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], np.float32).tobytes() + np.array([0, 1, 2], np.uint32).tobytes()
    )
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "m", "mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 12},
        ],
        "buffers": [{"byteLength": 48}],
    }
    document.update(changes)
    return document, binary


def _spoilt(path: list[Any], value: Any) -> bytes:
    document, binary = triangle()
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return glb(document, binary)


def _without_bytes(count: int) -> bytes:
    document, binary = triangle()
    del document["accessors"][0]["bufferView"]
    document["accessors"][0]["count"] = count
    return glb(document, binary)


def _repeated(times: int) -> bytes:
    """Many nodes that all draw one mesh: small on disk, huge in memory."""
    points = np.zeros((50_000, 3), np.float32)
    document, _ = triangle()
    document["accessors"] = [{"bufferView": 0, "componentType": 5126, "count": 50_000, "type": "VEC3"}]
    document["bufferViews"] = [{"buffer": 0, "byteLength": points.nbytes}]
    document["buffers"] = [{"byteLength": points.nbytes}]
    document["meshes"] = [{"primitives": [{"attributes": {"POSITION": 0}}]}]
    document["nodes"] = [{"name": f"n{i}", "mesh": 0} for i in range(times)]
    document["scenes"] = [{"nodes": list(range(times))}]
    return glb(document, points.tobytes())


def _chain(depth: int) -> bytes:
    document, binary = triangle()
    document["nodes"] = [{"name": f"n{i}", "children": [i + 1]} for i in range(depth)] + [{"name": "m", "mesh": 0}]
    return glb(document, binary)


def files() -> Iterator[tuple[str, str, bytes, str]]:
    """(name, suffix, bytes, words that the refusal must have)."""
    yield "empty", "glb", b"", "is no GLB"
    yield "text", "glb", b"hello, I am a mesh, honestly", "is no GLB"
    yield "version 1", "glb", glb({}, version=1), "is GLB version 1"
    yield "cut short", "glb", glb(*triangle())[:-20], "is cut short"
    yield "length of 4 GiB", "glb", glb(*triangle(), length=0xFFFFFFF0), "is cut short"
    yield "no json", "glb", glb(b"{nodes: ["), "no JSON"
    yield "json of a list", "glb", glb([1, 2]), "no object"
    yield "deep json", "glb", glb(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "no JSON"
    yield "zero-accessor bomb", "glb", _without_bytes(1_000_000_000), "elements in one accessor"
    yield "small zero accessor", "glb", _without_bytes(1000), "without bytes behind it"
    yield "10^9 indices", "glb", _spoilt(["accessors", 1, "count"], 1_000_000_000), "elements in one accessor"
    yield "past its bytes", "glb", _spoilt(["accessors", 1, "count"], 1000), "past its bytes"
    yield "negative count", "glb", _spoilt(["accessors", 0, "count"], -1), "elements in one accessor"
    yield "fraction of a count", "glb", _spoilt(["accessors", 0, "count"], 2.5), "elements in one accessor"
    yield "negative offset", "glb", _spoilt(["accessors", 0, "byteOffset"], -4), "makes no sense"
    yield "view outside", "glb", _spoilt(["bufferViews", 0, "byteLength"], 10**12), "outside the file"
    yield "stride of zero", "glb", _spoilt(["bufferViews", 0, "byteStride"], 1), "makes no sense"
    yield "sparse", "glb", _spoilt(["accessors", 0, "sparse"], {"count": 10**9}), "without bytes behind it"
    yield "unknown component type", "glb", _spoilt(["accessors", 0, "componentType"], 77), "does not follow glTF"
    yield "view that is not there", "glb", _spoilt(["accessors", 0, "bufferView"], 99), "not there"
    yield "mesh that is not there", "glb", _spoilt(["nodes", 0, "mesh"], 99), "does not follow glTF"
    yield (
        "negative accessor",
        "glb",
        _spoilt(["meshes", 0, "primitives", 0, "attributes", "POSITION"], -1),
        "does not follow",
    )
    yield "nodes are a number", "glb", _spoilt(["nodes"], 7), "does not follow glTF"
    yield (
        "a circle of nodes",
        "glb",
        _spoilt(["nodes"], [{"children": [1]}, {"children": [0], "mesh": 0}]),
        "contain themselves",
    )
    yield "its own child", "glb", _spoilt(["nodes"], [{"children": [0], "mesh": 0}]), "contain themselves"
    yield "two parents", "glb", _spoilt(["nodes"], [{"children": [2]}, {"children": [2]}, {"mesh": 0}]), "two parents"
    yield "100,000 deep", "glb", _chain(100_000), "deep"
    yield "child that is not there", "glb", _spoilt(["nodes", 0, "children"], [5]), "not there"
    yield "matrix of infinities", "glb", _spoilt(["nodes", 0, "matrix"], [1e999] * 16), "finite numbers"
    yield "scale of text", "glb", _spoilt(["nodes", 0, "scale"], ["a", "b", "c"]), "does not follow glTF"
    yield "instances without end", "glb", _repeated(400), "would be 20000000 vertices"
    yield "buffer from http", "glb", _spoilt(["buffers", 0, "uri"], "http://127.0.0.1:9/x.bin"), "nothing is fetched"
    yield "buffer from a file", "glb", _spoilt(["buffers", 0, "uri"], "file:///etc/passwd"), "nothing is fetched"
    yield "image from http", "glb", _spoilt(["images"], [{"uri": "http://127.0.0.1:9/x.png"}]), "nothing is fetched"
    yield "image beside it", "glb", _spoilt(["images"], [{"uri": "../../secret.png"}]), "nothing is fetched"
    yield "compressed", "glb", _spoilt(["extensionsRequired"], ["KHR_draco_mesh_compression"]), "needs the extension"
    yield "json glTF", "gltf", json.dumps(triangle()[0]).encode(), "nothing is fetched"
    yield "stl of 4 * 10^9", "stl", b"\0" * 80 + struct.pack("<I", 0xFFFFFFFF) + b"\0" * 50, "promises 4294967295"
    yield "stl of nothing", "stl", b"", "promises 0"
    yield "stl of text", "stl", b"solid x\nfacet nonsense\n", ""
    yield "obj of nothing", "obj", b"# nothing\n", ""
    yield "obj with faces of nowhere", "obj", b"v 0 0 0\nf 1000000000 2000000000 3000000000\n", ""
    yield "obj of NaN", "obj", b"v nan nan nan\nv nan nan nan\nv inf 0 0\nf 1 2 3\n", ""
    yield "obj with a library", "obj", b"mtllib /etc/passwd\nusemtl x\nv 0 0 0\nf 1 1 1\n", ""
    yield "step of nothing", "step", b"ISO-10303-21;\nEND-ISO-10303-21;\n", "STEP"
    yield "zip-packed", "3mf", b"PK\x03\x04" + b"\0" * 100, "is of a kind (.3mf) that is not read"
    yield "no suffix", "", b"x", "is of a kind"
