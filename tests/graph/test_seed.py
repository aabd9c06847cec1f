"""Plant files: what a good one gives, and what a broken one says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twinloom.graph.hot import HotGraph
from twinloom.graph.seed import read_plant
from twinloom.graph.store import PutModels, PutRelationship, PutTwin, stamped
from twinloom.twin.errors import BadFile

MODELS = """
[
  {"@context": "dtmi:dtdl:context;3", "@id": "dtmi:t:Site;1", "@type": "Interface", "contents": [
    {"@type": "Property", "name": "name", "schema": "string"},
    {"@type": "Property", "name": "area", "schema": "double"},
    {"@type": "Relationship", "name": "contains"},
    {"@type": "Relationship", "name": "feeds", "target": "dtmi:t:Site;1", "maxMultiplicity": 1,
     "properties": [{"@type": "Property", "name": "share", "schema": "double"}]}]},
  {"@context": "dtmi:dtdl:context;3", "@id": "dtmi:t:Leaf;1", "@type": "Interface", "contents": []}
]
"""
SITE = "model: dtmi:t:Site;1"


def write(folder: Path, text: str, models: str = MODELS) -> Path:
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "all.json").write_text(models)
    file = folder / "plant.yaml"
    file.write_text(text)
    return file


def test_the_example_plant_is_read_whole(examples: Path) -> None:
    plant = read_plant(examples / "plant.yaml")
    assert isinstance(plant.changes[0], PutModels)
    assert plant.changes[0].documents == plant.documents
    hot = HotGraph()
    hot.apply(stamped(plant.changes, seq=1, time_ns=1), 1)
    machines = [hot.id_of(row) for row in hot.rows_of("dtmi:com:twinloom:cnc:CncMachine;1")]  # type: ignore[arg-type]
    assert len(machines) == 47
    assert machines[0] == "derby/line-1/cnc-34"
    row = hot.row("toulouse/line-1/cnc-01")
    assert row is not None
    children = [hot.id_of(edge.target).rpartition("/")[2] for edge in hot.out(row, "contains")]
    assert children == ["spindle", "axis-x", "axis-y", "axis-z", "coolant-pump", "tool-changer"]
    assert hot.value(row, "controller.feed_override") == 100.0
    assert hot.value(row, "serial_number") == "EMT-2101"
    feeds = hot.relationship("toulouse/line-1", "feeds:toulouse/line-3")
    assert feeds is not None
    assert feeds.properties == {"share": 0.6}


def test_templates_give_properties_and_children_below_ones_own(tmp_path: Path) -> None:
    text = f"""
templates:
  base: {{{SITE}, properties: {{name: from template, area: 1.0}}, contains: [{{id: child, {SITE}}}]}}
twins:
  - {{id: top, template: base, properties: {{name: own}}, contains: [{{id: more, template: base}}]}}
"""
    plant = read_plant(write(tmp_path, text))
    twins = {c.twin.id: c.twin.properties for c in plant.changes if isinstance(c, PutTwin)}
    edges = [(c.relationship.source, c.relationship.target) for c in plant.changes if isinstance(c, PutRelationship)]
    assert twins == {
        "top": {"name": "own", "area": 1.0},
        "top/child": {},
        "top/more": {"name": "from template", "area": 1.0},
        "top/more/child": {},
    }
    assert edges == [("top", "top/child"), ("top", "top/more"), ("top/more", "top/more/child")]


def test_plain_words_and_dates_stay_text(tmp_path: Path) -> None:
    file = write(tmp_path, f"twins: [{{id: NO, {SITE}, properties: {{name: 2019-02-15, area: 1e3}}}}]")
    plant = read_plant(file)
    assert [c.twin.properties for c in plant.changes if isinstance(c, PutTwin)] == [
        {"name": "2019-02-15", "area": 1000.0}
    ]
    assert [c.twin.id for c in plant.changes if isinstance(c, PutTwin)] == ["NO"]


BROKEN = {
    "no yaml": ("twins: [\n\n", "line 3", "is no YAML"),
    "not a mapping": ("- a", "/ (line 1)", "is no mapping"),
    "unknown key at the top": ("twinns: []", "/twinns (line 1)", "'twinns' is not known"),
    "key twice": ("twins: []\ntwins: []", "/twins (line 2)", "is there twice"),
    "twins no list": ("twins: {a: b}", "/twins (line 1)", "is no list"),
    "twin no mapping": ("twins: [a]", "/twins/0 (line 1)", "is no mapping"),
    "unknown key of a twin": (
        f"twins:\n - id: a\n   {SITE}\n   propertys: 1",
        "/twins/0/propertys (line 4)",
        "not known",
    ),
    "no id": (f"twins: [{{{SITE}}}]", "/twins/0 (line 1)", "has no id"),
    "bad id": (f"twins: [{{id: 'a b', {SITE}}}]", "/twins/0/id (line 1)", "'a b' is not a twin id"),
    "id a number": (f"twins: [{{id: 5, {SITE}}}]", "/twins/0 (line 1)", "has no id"),
    "id twice": (f"twins:\n - {{id: a, {SITE}}}\n - {{id: a, {SITE}}}", "/twins/1/id (line 3)", "given twice"),
    "no model": ("twins: [{id: a}]", "/twins/0 (line 1)", "has no model"),
    "unknown model": ("twins: [{id: a, model: 'dtmi:t:No;1'}]", "/twins/0/model (line 1)", "no model 'dtmi:t:No;1'"),
    "unknown template": ("twins: [{id: a, template: t}]", "/twins/0/template (line 1)", "no template 't'"),
    "template without model": ("templates: {t: {}}", "/templates/t (line 1)", "has no model"),
    "unknown key of a template": ("templates: {t: {id: x}}", "/templates/t/id (line 1)", "not known"),
    "template in itself": (
        f"templates: {{t: {{{SITE}, contains: [{{id: b, template: t}}]}}}}\ntwins: [{{id: a, template: t}}]",
        "/twins/0 (line 2)",
        "contains itself",
    ),
    "unknown property": (f"twins: [{{id: a, {SITE}, properties: {{nam: x}}}}]", "/properties/nam", "nam"),
    "wrong type": (f"twins:\n - id: a\n   {SITE}\n   properties:\n     area: wide", "/area (line 5)", "'wide'"),
    "too large a number": (f"twins: [{{id: a, {SITE}, properties: {{area: 1e999}}}}]", "area (line 1)", "too large"),
    "properties no mapping": (
        f"twins: [{{id: a, {SITE}, properties: 5}}]",
        "/twins/0/properties (line 1)",
        "no mapping",
    ),
    "forbidden containment": (
        f"twins: [{{id: a, model: 'dtmi:t:Leaf;1', contains: [{{id: b, {SITE}}}]}}]",
        "/twins/0/contains/0 (line 1)",
        "contains",
    ),
    "unknown end": (
        f"twins: [{{id: a, {SITE}}}]\nrelationships:\n - {{source: a, name: feeds, target: b}}",
        "/relationships/0/target (line 3)",
        "'b' is no twin",
    ),
    "no name": (
        f"twins: [{{id: a, {SITE}}}]\nrelationships: [{{source: a, target: a}}]",
        "/relationships/0",
        "no name",
    ),
    "relationship twice": (
        f"twins: [{{id: a, {SITE}}}]\nrelationships:\n - &x {{source: a, name: contains, target: a}}"
        "\n - {source: a, name: contains, target: a}",
        "/relationships/1 (line 4)",
        "twice",
    ),
    "too many": (
        f"twins: [{{id: a, {SITE}}}, {{id: b, {SITE}}}]\nrelationships:\n - {{source: a, name: feeds, target: a}}"
        "\n - {source: a, name: feeds, target: b}",
        "/relationships/1 (line 4)",
        "feeds",
    ),
    "wrong relationship property": (
        f"twins: [{{id: a, {SITE}}}]\nrelationships: [{{source: a, name: feeds, target: a, properties: {{share: x}}}}]",
        "/relationships/0 (line 2)",
        "'x'",
    ),
    "alias": (f"twins: [&a {{id: a, {SITE}}}, *a]", "/twins/1", "alias"),
    "code": ("twins: !!python/object/apply:os.system ['true']", "/twins (line 1)", "tag"),
    "no model folder": ("models: elsewhere", "/models (line 1)", "no *.json files"),
    "too deep": ("a: " + "[" * 150 + "]" * 150, "line 1", "too deep"),
}


@pytest.mark.parametrize(("text", "place", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plant_file_names_file_place_and_remedy(tmp_path: Path, text: str, place: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(BadFile) as caught:
        read_plant(file)
    error = caught.value
    assert error.file == str(file)
    assert place in error.place
    assert message in error.message
    assert error.remedy
    assert "\n" not in str(error)


def test_a_broken_model_names_its_own_file_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "twins: []", MODELS.replace('"schema": "double"', '"schema": "doubel"', 1))
    with pytest.raises(BadFile) as caught:
        read_plant(file)
    assert caught.value.file == str(tmp_path / "models" / "all.json")
    assert re.search(r"/contents/1.*\(line 5\)", caught.value.place)
    assert caught.value.remedy


def test_a_missing_unreadable_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"no\.yaml: cannot be read"):
        read_plant(tmp_path / "no.yaml")
    with pytest.raises(BadFile, match="cannot be read"):
        read_plant(tmp_path)
    file = write(tmp_path, "")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadFile, match="is no UTF-8 text"):
        read_plant(file)
    file.write_bytes(b"a: \x00")
    with pytest.raises(BadFile, match="is no YAML"):
        read_plant(file)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="is no mapping"):
        read_plant(write(tmp_path, ""))
