"""The command line as its users meet it: a process, its output and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def twinloom(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "twinloom.app.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "COLUMNS": "80", **environment},
    )


def test_every_command_has_help_with_an_example_within_80_columns() -> None:
    listing = twinloom("--help").stdout
    commands = ["demo", "serve", "import", "export", "validate", "snapshot", "view", "train", "score", "bench", "check"]
    assert [name for name in commands if f"│ {name} " not in listing] == []
    for name in ("demo", "serve", "import", "validate", "snapshot", "check"):
        shown = twinloom(name, "--help")
        assert shown.returncode == 0
        assert "Example: twinloom" in shown.stdout or f"twinloom {name}" in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= 80


def test_the_example_plant_is_imported_whole_and_only_once(tmp_path: Path) -> None:
    done = twinloom("import", "cnc", "--data", "plant", "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"models": 10, "twins": 339, "relationships": 340})
    again = twinloom("import", "cnc", "--data", "plant", cwd=tmp_path)
    assert again.returncode == 2
    assert "is taken: import into an empty data folder" in again.stderr


BROKEN = (
    "plant file",
    "missing plant file",
    "mapping",
    "rules",
    "onnx",
    "setting",
    "no token",
    "no server",
    "no neo4j",
)


def _broken_inputs(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    models = ROOT / "examples" / "cnc" / "models"
    (folder / "plant.yaml").write_text(f"models: {models}\ntwins:\n  - id: a\n    model: dtmi:com:nobody:Nothing;1\n")
    (folder / "mapping.yaml").write_text("servers: 5\n")
    (folder / "rules.yaml").write_text("rules:\n  - name: x\n    model: dtmi:com:a:B;1\n    abvoe: 3\n")
    (folder / "model.json").write_text('{"@context": "dtmi:dtdl:context;3", "@id": "x"}')
    (folder / "model.onnx").write_bytes(b"\x08\x09garbage" * 50)
    (folder / "plant.toml").write_text("prot = 1\n")
    return {
        "plant file": (["import", "plant.yaml", "--data", "d"], ["plant.yaml", "/twins/0", "Nothing;1"]),
        "missing plant file": (["import", "nowhere.yaml", "--data", "d"], ["nowhere.yaml"]),
        "mapping": (["check"], ["mapping.yaml", "servers"]),
        "rules": (["check"], ["rules.yaml", "rule"]),
        "onnx": (["check"], ["model.onnx"]),
        "setting": (["check", "--config", "plant.toml"], ["plant.toml", "prot", "port"]),
        "no token": (["serve", "--data", "d"], ["token", "openssl rand"]),
        "no server": (["snapshot", "out.png", "--url", "http://127.0.0.1:9"], ["127.0.0.1:9"]),
        "no neo4j": (["import", "cnc", "--data", "d"], ["127.0.0.1:9"]),
    }


@pytest.mark.parametrize("kind", BROKEN)
def test_bad_input_is_one_sentence_with_exit_status_2_and_nothing_half_done(kind: str, tmp_path: Path) -> None:
    arguments, named = _broken_inputs(tmp_path)[kind]
    environment = {
        "mapping": {"TWINLOOM_SOURCES": "opcua:mapping.yaml", "TWINLOOM_AUTHENTICATION": "no"},
        "rules": {"TWINLOOM_RULES": "rules.yaml", "TWINLOOM_AUTHENTICATION": "no"},
        "onnx": {"TWINLOOM_RUL_MODEL": "model.onnx", "TWINLOOM_AUTHENTICATION": "no"},
        "no neo4j": {"TWINLOOM_GRAPH": "bolt://127.0.0.1:9", "TWINLOOM_GRAPH_PASSWORD": "irrelevant-here"},
    }.get(kind, {})
    done = twinloom(*arguments, cwd=tmp_path, **environment)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("twinloom: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert [word for word in named if word not in done.stderr] == []
    assert not (tmp_path / "d" / "twins.db").exists()
    assert not (tmp_path / "out.png").exists()


def test_validate_names_file_and_line_of_a_defect(tmp_path: Path) -> None:
    broken = tmp_path / "Pump.json"
    broken.write_text(
        '{\n  "@context": "dtmi:dtdl:context;3",\n  "@id": "dtmi:com:example:Pump;1",\n  "@type": "Interface",\n'
        '  "contents": [\n    {"@type": "Property", "name": "speed", "schema": "duble"}\n  ]\n}\n'
    )
    shown = twinloom("validate", str(broken))
    assert shown.returncode == 2
    assert f"{broken.name}:6" in shown.stdout.replace("\n", "")
    report = json.loads(twinloom("validate", str(broken), "--json").stdout)
    assert report["valid"] is False
    assert report["defects"][0]["line"] == 6


def test_validate_finds_the_example_models_valid() -> None:
    done = twinloom("validate", str(ROOT / "examples" / "cnc" / "models"), "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"valid": True, "files": 10, "interfaces": 10})


def test_a_data_folder_serves_one_process_at_a_time(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "plant").mkdir()
    with (tmp_path / "plant" / "twinloom.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = twinloom("import", "cnc", "--data", "plant", cwd=tmp_path)
    assert done.returncode == 2
    assert "is in use by process" in done.stderr


def test_a_recording_goes_through_the_pipeline_once_and_a_second_time_is_all_duplicates(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text(
        "ts,spindle.temperature,spindle.speed\n2026-11-01T00:00:00Z,40.5,8000\n2026-11-01T00:00:01Z,40.6,8010\n"
    )
    (tmp_path / "replay.yaml").write_text(
        "files:\n  - {name: day, file: day.csv, time: ts, speed: 0}\ncolumns:\n"
        '  - {column: "{part}.{property}", twin: "derby/line-1/cnc-34/{part}", property: "{property}"}\n'
    )
    assert twinloom("import", "cnc", "--data", "plant", cwd=tmp_path).returncode == 0
    first = twinloom("replay", "replay.yaml", "--data", "plant", "--json", cwd=tmp_path)
    assert (first.returncode, json.loads(first.stdout)["applied"]) == (0, 4)
    second = twinloom("replay", "replay.yaml", "--data", "plant", "--json", cwd=tmp_path)
    assert second.returncode == 1
    assert json.loads(second.stdout)["applied"] == 0
