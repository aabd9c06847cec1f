"""The wheel holds every room, and the core needs none of the extras."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("twin", "graph", "prognostics", "runtime", "adapters", "api", "viewer", "app")


def test_the_wheel_holds_every_python_file_of_every_room(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"twinloom/{file.relative_to(ROOT).as_posix()}"
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        if "node_modules" not in file.parts
    }
    assert expected <= inside
    assert "twinloom/examples/cnc/plant.yaml" in inside
    assert "twinloom/examples/cnc/models/Spindle.json" in inside
    assert not [name for name in inside if name.startswith(("tests/", "twinloom/tests")) or "node_modules" in name]


def test_importing_the_service_loads_no_viewer_and_no_training_library() -> None:
    code = (
        "import sys, twinloom.app.cli, twinloom.app.bootstrap, twinloom.api.app, twinloom.runtime.service\n"
        "heavy = {'pyvista', 'vtkmodules', 'jax', 'onnx', 'matplotlib', 'PySide6', 'pyarrow', 'aiokafka', 'fmpy'}\n"
        "heavy |= {'river', 'scipy', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"


def test_every_dependency_is_pinned_with_a_hash_and_no_lock_carries_an_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {line.split(">")[0].split("[")[0].split(";")[0].strip().lower() for line in project["dependencies"]}
    for name in ("core", "demo", "dev"):
        lock = (ROOT / "requirements" / f"{name}.txt").read_text()
        pins = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
        assert wanted <= {pin.split("==")[0] for pin in pins}
        assert lock.count("--hash=sha256:") >= len(pins) > 0
        assert "://" not in lock
        assert "--index-url" not in lock
