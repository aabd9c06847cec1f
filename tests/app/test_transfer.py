"""Import and export as their users meet them: files, a data folder, an exit status."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from twinloom.app.cli import app
from twinloom.app.ndjson import canonical, export_lines
from twinloom.graph.store import LastValue, Snapshot
from twinloom.twin.errors import TwinloomError
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Relationship, Twin

PUMP = "dtmi:com:example:Pump;1"
DRIVE = "dtmi:com:example:Drive;1"
PLANT = "dtmi:com:example:Plant;1"
CONTEXT = "dtmi:dtdl:context;3"
MODELS: list[dict[str, Any]] = [
    {
        "@context": CONTEXT,
        "@id": PUMP,
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "label", "schema": "string", "writable": True},
            {"@type": "Property", "name": "power", "schema": "double", "comment": "unit: kW"},
            {"@type": "Property", "name": "stages", "schema": "integer"},
            {"@type": "Property", "name": "spare", "schema": "boolean"},
            {"@type": "Property", "name": "limits", "schema": {"@type": "Array", "elementSchema": "double"}},
            {"@type": "Telemetry", "name": "pressure", "schema": "double"},
            {"@type": "Component", "name": "drive", "schema": DRIVE},
            {"@type": "Relationship", "name": "feeds", "target": PUMP, "maxMultiplicity": 2},
        ],
    },
    {
        "@context": CONTEXT,
        "@id": DRIVE,
        "@type": "Interface",
        "contents": [{"@type": "Property", "name": "gain", "schema": "double", "writable": True}],
    },
    {
        "@context": CONTEXT,
        "@id": PLANT,
        "@type": "Interface",
        "contents": [
            {
                "@type": "Relationship",
                "name": "contains",
                "properties": [{"@type": "Property", "name": "since", "schema": "integer"}],
            }
        ],
    },
]
TWINS: list[dict[str, Any]] = [
    {"$dtId": "plant", "$etag": 'W/"1"', "$metadata": {"$model": PLANT}},
    {
        "$dtId": "p1",
        "$metadata": {"$model": PUMP, "label": {"lastUpdateTime": "2026-01-31T12:00:00Z"}},
        "label": "first",
        "power": 10.0,
        "limits": [1, 2.5],
        "drive": {"$metadata": {}, "gain": 2.5},
    },
    {"$dtId": "p2", "$metadata": {"$model": PUMP}, "stages": 3, "drive": {"$metadata": {}}},
]
EDGES: list[dict[str, Any]] = [
    {"$sourceId": "p1", "$relationshipId": "f", "$targetId": "p2", "$relationshipName": "feeds"},
    {"$sourceId": "plant", "$relationshipId": "c", "$targetId": "p1", "$relationshipName": "contains", "since": 2020},
]
HEADER = {"fileVersion": "1.0.0", "author": "ann", "organization": "contoso"}


def lines(
    models: Sequence[Any] = MODELS, twins: Sequence[Any] = TWINS, edges: Sequence[Any] = EDGES, header: Any = HEADER
) -> list[str]:
    sections = (("Header", [header]), ("Models", models), ("Twins", twins), ("Relationships", edges))
    return [json.dumps(line) for name, held in sections for line in ({"Section": name}, *held)]


@pytest.fixture
def ndjson(tmp_path: Path) -> Callable[..., Path]:
    def written(name: str = "graph.ndjson", **parts: Any) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines(**parts)) + "\n")
        return path

    return written


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def twinloom(*arguments: str, cwd: Path) -> Done:
    """The command line in this process: a hundred processes would take minutes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = app(list(arguments), standalone_mode=False) or 0
        except TwinloomError as error:
            print(f"twinloom: {error}", file=err)
            status = 2
    return Done(status, out.getvalue(), err.getvalue())


def report(done: Done) -> dict[str, Any]:
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tally(created: int = 0, updated: int = 0, unchanged: int = 0) -> dict[str, int]:
    return {"created": created, "updated": updated, "unchanged": unchanged}


def log_length(data: Path) -> int:
    with sqlite3.connect(data / "twins.db") as connection:
        return int(connection.execute("SELECT count(*) FROM log").fetchone()[0])


def test_a_job_of_azure_digital_twins_goes_in_and_its_second_import_changes_nothing(
    ndjson: Callable[..., Path], tmp_path: Path
) -> None:
    file = ndjson()
    first = twinloom("import", str(file), "--data", "d", "--json", cwd=tmp_path)
    assert (first.returncode, report(first)) == (
        0,
        {"dry_run": False, "models": tally(3), "twins": tally(3), "relationships": tally(2)},
    )
    commits = log_length(tmp_path / "d")
    again = twinloom("import", str(file), "--data", "d", "--json", cwd=tmp_path)
    assert report(again) == {
        "dry_run": False,
        "models": tally(unchanged=3),
        "twins": tally(unchanged=3),
        "relationships": tally(unchanged=2),
    }
    assert log_length(tmp_path / "d") == commits


def test_export_import_export_gives_the_same_bytes(ndjson: Callable[..., Path], tmp_path: Path) -> None:
    twinloom("import", str(ndjson()), "--data", "a", cwd=tmp_path)
    done = twinloom("export", "a.ndjson", "--data", "a", "--json", "--organization", "contoso", cwd=tmp_path)
    assert (report(done)["models"], report(done)["twins"], report(done)["relationships"]) == (3, 3, 2)
    assert twinloom("import", "a.ndjson", "--data", "b", cwd=tmp_path).returncode == 0
    twinloom("export", "b.ndjson", "--data", "b", "--organization", "contoso", cwd=tmp_path)
    exported = (tmp_path / "a.ndjson").read_bytes()
    assert (tmp_path / "b.ndjson").read_bytes() == exported
    found = [json.loads(line) for line in exported.splitlines()]
    assert found[1] == {"fileVersion": "1.0.0", "author": "twinloom", "organization": "contoso"}
    assert {
        "$dtId": "p1",
        "$metadata": {"$model": PUMP},
        "drive": {"$metadata": {}, "gain": 2.5},
        "label": "first",
        "limits": [1, 2.5],
        "power": 10,
    } in found
    assert {"$dtId": "p2", "$metadata": {"$model": PUMP}, "drive": {"$metadata": {}}, "stages": 3} in found
    assert found[-1] == {**EDGES[1]}


def test_the_example_plant_goes_round_byte_for_byte(tmp_path: Path) -> None:
    assert twinloom("import", "cnc", "--data", "a", cwd=tmp_path).returncode == 0
    twinloom("export", "a.ndjson", "--data", "a", cwd=tmp_path)
    assert twinloom("import", "a.ndjson", "--data", "b", cwd=tmp_path).returncode == 0
    twinloom("export", "b.ndjson", "--data", "b", cwd=tmp_path)
    assert (tmp_path / "a.ndjson").read_bytes() == (tmp_path / "b.ndjson").read_bytes()
    again = twinloom("import", "a.ndjson", "--data", "a", "--json", cwd=tmp_path)
    assert report(again)["twins"] == tally(unchanged=339)


def test_a_changed_file_updates_what_differs_and_nothing_else(ndjson: Callable[..., Path], tmp_path: Path) -> None:
    twinloom("import", str(ndjson()), "--data", "d", cwd=tmp_path)
    twins = [TWINS[0], {**TWINS[1], "label": "renamed", "drive": {"$metadata": {}}}, TWINS[2]]
    edges = [EDGES[0], {**EDGES[1], "since": 2021}]
    changed = ndjson("changed.ndjson", models=[], twins=twins, edges=edges)
    dry = twinloom("import", str(changed), "--data", "d", "--dry-run", "--json", cwd=tmp_path)
    expected = {"models": tally(), "twins": tally(0, 1, 2), "relationships": tally(0, 1, 1)}
    assert report(dry) == {"dry_run": True, **expected}
    done = twinloom("import", str(changed), "--data", "d", "--json", cwd=tmp_path)
    assert report(done) == {"dry_run": False, **expected}
    twinloom("export", "out.ndjson", "--data", "d", cwd=tmp_path)
    found = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    p1 = next(line for line in found if line.get("$dtId") == "p1")
    assert (p1["label"], p1["drive"], p1["power"]) == ("renamed", {"$metadata": {}}, 10)


def test_every_defect_is_told_with_its_line_and_nothing_is_written(ndjson: Callable[..., Path], tmp_path: Path) -> None:
    twins = [
        *TWINS,
        {"$dtId": "p1", "$metadata": {"$model": PUMP}},
        {"$dtId": "p3", "$metadata": {"$model": "dtmi:com:example:Nothing;1"}},
        {"$dtId": "p4", "$metadata": {"$model": PUMP}, "stages": 1.5, "drive": {"$metadata": {}, "gain": "x"}},
        {"$dtId": "p 5", "$metadata": {"$model": PUMP}},
        {"$dtId": "p6"},
        {"stray": 1},
    ]
    edges = [
        *EDGES,
        {"$sourceId": "p1", "$relationshipId": "f", "$targetId": "p2", "$relationshipName": "feeds"},
        {"$sourceId": "p1", "$relationshipId": "g", "$targetId": "nobody", "$relationshipName": "feeds"},
        {"$sourceId": "p1", "$relationshipId": "h", "$targetId": "plant", "$relationshipName": "feeds"},
        {"$sourceId": "p1", "$relationshipId": "i", "$targetId": "p1", "$relationshipName": "drains"},
        {"$sourceId": "p1", "$targetId": "p1", "$relationshipName": "feeds"},
        {"$sourceId": "p2", "$relationshipId": "1", "$targetId": "p1", "$relationshipName": "feeds"},
        {"$sourceId": "p2", "$relationshipId": "2", "$targetId": "p1", "$relationshipName": "feeds"},
        {"$sourceId": "p2", "$relationshipId": "3", "$targetId": "p1", "$relationshipName": "feeds"},
    ]
    file = ndjson(twins=twins, edges=edges)
    file.write_bytes(file.read_bytes() + b'{"broken\n\xff\xfe\n[1]\n')
    done = twinloom("import", str(file), "--data", "d", "--json", cwd=tmp_path)
    assert done.returncode == 2
    found = [(defect["line"], defect["code"], defect["path"]) for defect in report(done)["defects"]]
    assert found == [
        (11, "duplicateTwin", "/$dtId"),
        (12, "unknownModel", "/$metadata/$model"),
        (13, "wrongType", "/stages"),
        (13, "wrongType", "/drive/gain"),
        (14, "BAD_USER_INPUT", ""),
        (15, "badLine", "/$metadata/$model"),
        (16, "badLine", ""),
        (20, "duplicateRelationship", "/$relationshipId"),
        (21, "unknownTwin", "/$targetId"),
        (22, "wrongTarget", "/target"),
        (23, "unknownRelationship", "/name"),
        (24, "badLine", "/$relationshipId"),
        (27, "maxMultiplicity", "/name"),
        (28, "badJson", ""),
        (29, "badJson", ""),
        (30, "badLine", ""),
    ]
    assert {defect["file"] for defect in report(done)["defects"]} == {str(file)}
    assert all(defect["remedy"] for defect in report(done)["defects"])
    assert not (tmp_path / "d").exists()
    shown = twinloom("import", str(file), "--data", "d", cwd=tmp_path)
    assert (shown.returncode, "16 defects; nothing was written" in shown.stdout) == (2, True)
    assert f"{file.name}:22" in shown.stdout


def test_a_wrong_model_is_told_with_the_line_of_the_file(ndjson: Callable[..., Path], tmp_path: Path) -> None:
    bad = {**MODELS[1], "@id": "dtmi:com:example:Bad;1", "contents": [{"@type": "Property", "name": "gain"}]}
    done = twinloom("import", str(ndjson(models=[*MODELS, bad])), "--data", "d", "--json", cwd=tmp_path)
    (defect,) = report(done)["defects"]
    assert (defect["line"], defect["path"].startswith("/contents/0")) == (7, True)


def test_a_model_that_is_there_in_another_form_and_a_twin_of_another_model_are_refused(
    ndjson: Callable[..., Path], tmp_path: Path
) -> None:
    twinloom("import", str(ndjson()), "--data", "d", cwd=tmp_path)
    other = {**MODELS[1], "displayName": "Another drive"}
    twin = {"$dtId": "p1", "$metadata": {"$model": PLANT}}
    edge = {**EDGES[0], "$targetId": "p1"}
    file = ndjson("other.ndjson", models=[other], twins=[twin], edges=[edge])
    done = twinloom("import", str(file), "--data", "d", "--json", cwd=tmp_path)
    assert [defect["code"] for defect in report(done)["defects"]] == [
        "modelDiffers",
        "otherModel",
        "otherRelationship",
    ]


def test_sections_out_of_order_and_a_wrong_version_are_told(tmp_path: Path) -> None:
    given = ['{"Section": "Twins"}', '{"Section": "Models"}', '{"Section": "Nodes"}', '{"Section": "Relationships"}']
    (tmp_path / "a.ndjson").write_text("\n".join(given))
    done = twinloom("import", "a.ndjson", "--dry-run", "--json", cwd=tmp_path)
    assert [(d["line"], d["code"]) for d in report(done)["defects"]] == [
        (1, "noHeader"),
        (2, "sectionOrder"),
        (3, "badSection"),
    ]
    (tmp_path / "b.ndjson").write_text("\n".join(lines(header={"fileVersion": "2.0.0"})))
    done = twinloom("import", "b.ndjson", "--dry-run", "--json", cwd=tmp_path)
    assert [(d["line"], d["code"]) for d in report(done)["defects"]] == [(2, "fileVersion")]


def test_an_import_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    count = 15_000
    twins = [{"$dtId": f"p{n}", "$metadata": {"$model": PUMP}, "stages": n} for n in range(count)]
    edges = [
        {"$sourceId": f"p{n}", "$relationshipId": "f", "$targetId": f"p{n - 1}", "$relationshipName": "feeds"}
        for n in range(1, count)
    ]
    (tmp_path / "graph.ndjson").write_text("\n".join(lines(twins=twins, edges=edges)))
    process = subprocess.Popen(
        [sys.executable, "-m", "twinloom.app.cli", "import", "graph.ndjson", "--data", "d", "--json"], cwd=tmp_path
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "d" / "twins.db").exists():  # it writes from then on
        assert time.monotonic() < deadline
        time.sleep(0.005)
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.wait()
    done = twinloom("import", "graph.ndjson", "--data", "d", "--json", cwd=tmp_path)
    found = report(done)
    assert found["twins"]["created"] + found["twins"]["unchanged"] == count
    assert found["relationships"]["created"] + found["relationships"]["unchanged"] == count - 1
    assert twinloom("import", "graph.ndjson", "--data", "whole", cwd=tmp_path).returncode == 0
    for data in ("d", "whole"):
        twinloom("export", f"{data}.ndjson", "--data", data, cwd=tmp_path)
    assert (tmp_path / "d.ndjson").read_bytes() == (tmp_path / "whole.ndjson").read_bytes()


def test_telemetry_is_exported_only_when_asked_for_and_a_source_s_property_always() -> None:
    twin = Twin(TwinId("p1"), ModelId(PUMP), {"pressure": 1.0, "power": 5.0})
    last = [
        LastValue(TwinId("p1"), "pressure", 7.5, 1, 0),
        LastValue(TwinId("p1"), "power", 6.0, 1, 0),
        LastValue(TwinId("p1"), "stages", None, 1, 0),
    ]
    edge = Relationship("f", TwinId("p1"), "feeds", TwinId("p1"))
    snapshot = Snapshot(tuple(MODELS), [twin], [edge], (), last)
    plain = json.loads(list(export_lines(snapshot))[7])
    assert plain == {"$dtId": "p1", "$metadata": {"$model": PUMP}, "drive": {"$metadata": {}}, "power": 6}
    assert json.loads(list(export_lines(snapshot, telemetry=True))[7])["pressure"] == 7.5


def test_a_value_has_one_way_to_be_written() -> None:
    given = {"b": [10.0, -0.0, 1e300, True, None], "a": {"d": 0.5, "c": "x"}}
    assert json.dumps(canonical(given)) == '{"a": {"c": "x", "d": 0.5}, "b": [10, -0.0, 1e+300, true, null]}'


def test_a_folder_of_models_goes_in_once(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for number, model in enumerate(MODELS):
        (tmp_path / "models" / f"{number}.json").write_text(json.dumps(model if number else [model], indent=2))
    for expected in (tally(3), tally(unchanged=3)):
        done = twinloom("import", "models", "--data", "d", "--json", cwd=tmp_path)
        assert report(done)["models"]["created"] == expected["created"], done.stdout
    (tmp_path / "bad.json").write_text('{\n  "@context": "dtmi:dtdl:context;3",\n  "@id": "x"\n}')
    done = twinloom("import", "bad.json", "--data", "d", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert {(d["file"], d["line"]) for d in report(done)["defects"]} <= {("bad.json", n) for n in (1, 2, 3)}


MAPPING = """
id: "{site}/pump-{serial}"
model: "dtmi:com:example:{kind};1"
models: models
delimiter: ";"
properties:
  label: name
  power: {column: watts, unit: W}
  stages: stages
  spare: spare
  limits: limits
  drive.gain: {value: 1.5}
relationships:
  - {name: contains, source: "{site}", target: "{id}", properties: {since: year}}
"""
TABLE = """\ufeffsite;serial;kind;name;watts;stages;spare;limits;year
derby;1;Pump;"first; the old one";1500;3;yes;[1, 2];2019
derby;2;Pump;;;;;;
"""


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """Writes models, mapping and table; gives the arguments that import them into a folder with the plant `derby`."""

    def written(table: str = TABLE, mapping: str = MAPPING) -> tuple[str, ...]:
        (tmp_path / "models").mkdir(exist_ok=True)
        for number, model in enumerate(MODELS):
            (tmp_path / "models" / f"{number}.json").write_text(json.dumps(model))
        (tmp_path / "pumps.csv").write_text(table)
        (tmp_path / "pumps.yaml").write_text(mapping)
        site = [{"$dtId": "derby", "$metadata": {"$model": PLANT}}]
        (tmp_path / "site.ndjson").write_text("\n".join(lines(twins=site, edges=[])))
        assert twinloom("import", "site.ndjson", "--data", "d", cwd=tmp_path).returncode == 0
        return ("import", "pumps.csv", "--mapping", "pumps.yaml", "--data", "d", "--json")

    return written


def test_a_table_becomes_twins_and_relationships_in_the_types_and_units_of_the_models(
    table: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    arguments = table()
    done = twinloom(*arguments, cwd=tmp_path)
    assert report(done) == {
        "dry_run": False,
        "models": tally(unchanged=3),
        "twins": tally(2),
        "relationships": tally(2),
    }
    assert report(twinloom(*arguments, cwd=tmp_path))["twins"] == tally(unchanged=2)
    twinloom("export", "out.ndjson", "--data", "d", cwd=tmp_path)
    found = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert {
        "$dtId": "derby/pump-1",
        "$metadata": {"$model": PUMP},
        "drive": {"$metadata": {}, "gain": 1.5},
        "label": "first; the old one",
        "limits": [1, 2],
        "power": 1.5,
        "spare": True,
        "stages": 3,
    } in found
    assert {
        "$sourceId": "derby",
        "$relationshipId": "contains:derby/pump-1",
        "$targetId": "derby/pump-1",
        "$relationshipName": "contains",
        "since": 2019,
    } in found


def test_defects_of_a_table_are_told_by_line_and_column(table: Callable[..., tuple[str, ...]], tmp_path: Path) -> None:
    rows = [
        "site;serial;kind;name;watts;stages;spare;limits;year",
        "derby;1;Pump;a;much;3;yes;[1];2019",
        'derby;2;Pump;"two\nlines";5;1.5;maybe;[1;2019',
        "derby;3;Pump",
        ";4;Pump;a;1;1;no;[];2019",
        "derby;5;Pmup;a;1;1;no;[];2019",
        "berlin;6;Pump;a;1;1;no;[];x",
        "derby;1;Pump;a;1_0;1;no;[];2019",
    ]
    done = twinloom(*table("\n".join(rows)), cwd=tmp_path)
    assert done.returncode == 2
    found = [(defect["line"], defect["code"]) for defect in report(done)["defects"]]
    assert sorted(found) == [
        (2, "badCell"),
        (3, "badCell"),
        (3, "badCell"),
        (3, "badCell"),
        (5, "badRow"),
        (6, "emptyId"),
        (7, "unknownModel"),
        (8, "badCell"),
        (8, "unknownTwin"),
        (9, "badCell"),
        (9, "duplicateRelationship"),
        (9, "duplicateTwin"),
    ]
    messages = " ".join(defect["message"] for defect in report(done)["defects"])
    assert "column 'watts', power: 'much' is no number" in messages


def test_a_mapping_that_does_not_fit_its_table_or_the_models_is_told(
    table: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    done = twinloom(*table(mapping=MAPPING.replace("label: name", "label: title")), cwd=tmp_path)
    assert [d["code"] for d in report(done)["defects"]] == ["unknownColumn"]
    done = twinloom(*table(mapping=MAPPING.replace("label: name", "labl: name")), cwd=tmp_path)
    assert [d["code"] for d in report(done)["defects"]] == ["unknownName"]
    done = twinloom(*table(mapping=MAPPING.replace("unit: W", "unit: bar")), cwd=tmp_path)
    assert [d["code"] for d in report(done)["defects"]] == ["badUnit"]
    done = twinloom(*table(mapping=MAPPING.replace("delimiter", "delimeter")), cwd=tmp_path)
    assert (done.returncode, "pumps.yaml /delimeter (line 5)" in done.stderr) == (2, True)
    done = twinloom("import", "pumps.csv", "--data", "d", cwd=tmp_path)
    assert (done.returncode, "needs a mapping" in done.stderr) == (2, True)


def test_a_migration_that_was_killed_goes_on_and_can_be_reverted_to_the_same_bytes(tmp_path: Path) -> None:
    count = 3_000
    second = {**MODELS[0], "@id": "dtmi:com:example:Pump;2", "contents": list(MODELS[0]["contents"][1:7])}
    second["contents"].append({"@type": "Property", "name": "title", "schema": "string"})
    twins = [{"$dtId": f"p{n}", "$metadata": {"$model": PUMP}, "label": f"pump {n}", "power": n} for n in range(count)]
    (tmp_path / "graph.ndjson").write_text("\n".join(lines(models=[*MODELS, second], twins=twins, edges=[])))
    assert twinloom("import", "graph.ndjson", "--data", "d", cwd=tmp_path).returncode == 0
    twinloom("export", "before.ndjson", "--data", "d", cwd=tmp_path)
    given = (PUMP, second["@id"], "--rename", "label=title", "--data", "d", "--json")
    plan = report(twinloom("migrate", *given, cwd=tmp_path))
    assert (plan["twins"], plan["state"], plan["problem_count"]) == (count, "planned", 0)

    def moved() -> int:
        with sqlite3.connect(f"file:{tmp_path}/d/twins.db?mode=ro", uri=True) as connection:
            found = connection.execute("SELECT count(*) FROM twins WHERE model = ?", (second["@id"],)).fetchone()[0]
            return int(found)

    for option in ("--apply", "--revert"):
        command = [sys.executable, "-m", "twinloom.app.cli", "migrate", "--plan", plan["id"], option, "--data", "d"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not 0 < moved() < count:
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert 0 < moved() < count
        done = report(twinloom("migrate", "--plan", plan["id"], option, "--data", "d", "--json", cwd=tmp_path))
        assert done["state"] == {"--apply": "applied", "--revert": "reverted"}[option]
        assert moved() == {"--apply": count, "--revert": 0}[option]
        twinloom("export", f"{done['state']}.ndjson", "--data", "d", cwd=tmp_path)
    assert (tmp_path / "applied.ndjson").read_bytes() != (tmp_path / "before.ndjson").read_bytes()
    assert (tmp_path / "reverted.ndjson").read_bytes() == (tmp_path / "before.ndjson").read_bytes()
