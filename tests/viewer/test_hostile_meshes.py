"""Broken, hostile and huge meshes: a sentence each, nothing fetched, little memory; never a crash."""

from __future__ import annotations

import importlib.util
import random
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trimesh

from twinloom.twin.errors import BadFile
from twinloom.viewer.mesh_files import read_meshes
from twinloom.viewer.scene import SceneTwin, build_glb, build_scene

HERE = Path(__file__).parent


def _hostile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("twinloom_hostile", HERE / "hostile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = _hostile()
FILES = list(hostile.files())


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to open a connection fails the test."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError(f"a mesh made us connect to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_harmless_triangle_that_the_others_are_made_of_is_read(tmp_path: Path) -> None:
    file = tmp_path / "fine.glb"
    file.write_bytes(hostile.glb(*hostile.triangle()))
    assert len(read_meshes(file).nodes["m"].faces) == 1


@pytest.mark.parametrize(("suffix", "data", "words"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_a_hostile_file_is_refused_with_one_sentence_that_names_it(
    suffix: str, data: bytes, words: str, tmp_path: Path
) -> None:
    file = tmp_path / f"mesh.{suffix}".rstrip(".")
    file.write_bytes(data)
    with pytest.raises(BadFile) as refused:
        read_meshes(file)
    assert str(file) in str(refused.value) and words in str(refused.value)
    assert "\n" not in str(refused.value) and refused.value.remedy
    assert len(str(refused.value)) < 400 + len(str(file))


def test_indices_that_point_nowhere_are_left_out(tmp_path: Path) -> None:
    document, binary = hostile.triangle()
    spoilt = binary[:36] + b"\0\0\0\0\1\0\0\0\xff\xff\xff\x7f"
    file = tmp_path / "m.glb"
    file.write_bytes(hostile.glb(document, spoilt))
    with pytest.raises(BadFile, match=r"triangles|cannot be read"):
        read_meshes(file)


def test_five_hundred_byte_flips_of_good_files_neither_crash_nor_hang(tmp_path: Path, twins: list[SceneTwin]) -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    good = [
        ("glb", build_glb(twins[:9])),
        ("glb", trimesh.Scene({"m": ball}).export(file_type="glb")),
        ("stl", ball.export(file_type="stl")),
        ("obj", ball.export(file_type="obj").encode()),
        ("glb", hostile.glb(*hostile.triangle())),
    ]
    rng = random.Random(20260)
    file_of = {kind: tmp_path / f"flipped.{kind}" for kind in ("glb", "stl", "obj")}
    read = refused = 0
    for kind, data in good:
        for _ in range(100):
            flipped = bytearray(data)
            for _ in range(rng.choice((1, 1, 4))):
                flipped[rng.randrange(min(len(flipped), 4000))] ^= 1 << rng.randrange(8)
            file_of[kind].write_bytes(flipped)
            try:
                read_meshes(file_of[kind])
                read += 1
            except BadFile as error:
                assert str(error)
                refused += 1
    assert read + refused == 500 and refused > 50


def test_all_hostile_files_together_take_little_memory_and_time(tmp_path: Path) -> None:
    for i, (_, suffix, data, _) in enumerate(FILES):
        if suffix not in ("step",):
            (tmp_path / f"{i:02d}.{suffix}".rstrip(".")).write_bytes(data)
    script = (
        "import sys, time; from pathlib import Path; from twinloom.viewer.mesh_files import read_meshes\n"
        "from twinloom.twin.errors import BadFile\n"
        "worst = 0.0\n"
        "for file in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    start = time.process_time()\n"
        "    try: read_meshes(file); print('read', file)\n"
        "    except BadFile: pass\n"
        "    worst = max(worst, time.process_time() - start)\n"
        # Not ru_maxrss: the kernel carries over what the process was before exec, here a whole pytest.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(worst, int(peak.split()[1]) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seconds, mebibytes = done.stdout.split()
    assert float(seconds) < 5 and int(mebibytes) <= 512


def test_a_bad_mesh_of_one_twin_is_reported_and_the_rest_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "bad.glb").write_bytes(b"no mesh")
    twins = [SceneTwin("a", ("CncMachine",), {"mesh": "bad.glb"}), SceneTwin("b", ("CncMachine",), {})]
    scene = build_scene(twins, mesh_folder=tmp_path)
    assert [part.geometry for part in scene.parts] == ["CncMachine", "CncMachine"]
    assert [problem.code for problem in scene.problems] == ["mesh"]
    assert "is no GLB" in scene.problems[0].message


@pytest.mark.parametrize("name", ["missing.glb", "", "."])
def test_a_file_that_is_not_there_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        read_meshes(tmp_path / name)


def test_a_step_file_becomes_a_mesh_in_metres_with_z_up(tmp_path: Path) -> None:
    step = Path(__file__).parent / "data" / "cube.step"
    found = read_meshes(step, up="y", unit_m=7.0)
    (mesh,) = found.nodes.values()
    assert list(found.nodes) == ["cube"]
    assert mesh.bounds[1] - mesh.bounds[0] == pytest.approx([0.01, 0.02, 0.03], rel=1e-3)
