"""Rules as data: whatever is wrong in the file is named with its place and a remedy, before anything starts."""

from __future__ import annotations

import pytest

from twinloom.runtime.rules import bind, read_rules
from twinloom.twin.dtdl import parse
from twinloom.twin.errors import BadFile

MODELS = parse(
    [
        {
            "@context": "dtmi:dtdl:context;3",
            "@id": "dtmi:com:example:Pump;1",
            "@type": "Interface",
            "contents": [
                {"@type": "Telemetry", "name": "pressure", "schema": "double", "comment": "unit: bar"},
                {"@type": "Telemetry", "name": "temperature", "schema": "double", "comment": "unit: degC"},
                {"@type": "Property", "name": "label", "schema": "string"},
            ],
        }
    ]
)
GOOD = {
    "name": "hot",
    "model": "dtmi:com:example:Pump;1",
    "value": "temperature",
    "above": 70.0,
    "clear": 60.0,
    "for_s": 3.0,
    "severity": "warning",
    "message": "{twin}: {value:.1f} {unit} over {threshold:.0f}",
}


def write(path, *rules):
    import yaml

    path.write_text(yaml.safe_dump({"rules": list(rules)}))
    return path


def without(key):
    return {k: v for k, v in GOOD.items() if k != key}


def test_the_example_plants_rules_fit_its_models(examples, cnc_models):
    rules = read_rules(examples / "rules.yaml")
    assert [b.rule.name for b in bind(rules, cnc_models)] == [
        "spindle-rul-critical",
        "spindle-rul-low",
        "spindle-vibration-high",
        "spindle-hot",
    ]


def test_a_threshold_in_another_unit_is_compared_in_the_models_own(tmp_path):
    rule = {**GOOD, "above": 212.0, "clear": 200.0, "unit": "degF"}
    (bound,) = bind(read_rules(write(tmp_path / "r.yaml", rule)), MODELS)
    assert bound.threshold == pytest.approx(100.0)
    assert bound.clear == pytest.approx(93.333, abs=1e-3)
    assert bound.text("p", 101.25) == "p: 101.2 °C over 100"


@pytest.mark.parametrize(
    ("rule", "place", "says"),
    [
        (without("name"), "/rules/0", "name"),
        (without("above"), "/rules/0", "above"),
        ({**GOOD, "below": 1.0}, "/rules/0", "below"),
        ({**GOOD, "abov": 1.0}, "/rules/0/abov", "above"),
        ({**GOOD, "above": "70"}, "/rules/0/above", "number"),
        ({**GOOD, "above": float("nan")}, "/rules/0/above", "finite"),
        ({**GOOD, "above": True}, "/rules/0/above", "number"),
        ({**GOOD, "clear": 71.0}, "/rules/0/clear", "beyond"),
        ({**GOOD, "for_s": -1.0}, "/rules/0/for_s", "range"),
        ({**GOOD, "severity": "critcal"}, "/rules/0/severity", "critical"),
        ({**GOOD, "work_order": "fix it"}, "/rules/0/work_order", "critical"),
        ({**GOOD, "model": "Pump"}, "/rules/0/model", "model id"),
        ({**GOOD, "message": "{twin.__class__}"}, "/rules/0/message", "placeholder"),
        ({**GOOD, "message": "{value:q}"}, "/rules/0/message", "format"),
        ({**GOOD, "message": "{value"}, "/rules/0/message", "format"),
        ({**GOOD, "name": 7}, "/rules/0/name", "text"),
        (["not", "a", "rule"], "/rules/0", "mapping"),
    ],
)
def test_a_broken_rule_is_named_with_its_place_and_a_remedy(tmp_path, rule, place, says):
    path = write(tmp_path / "r.yaml", rule)
    with pytest.raises(BadFile) as found:
        read_rules(path)
    assert found.value.file == str(path)
    assert found.value.place == place
    assert says in str(found.value)
    assert found.value.remedy


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        ({"model": "dtmi:com:example:Pumpe;1"}, "/rules/0/model", "dtmi:com:example:Pump;1"),
        ({"value": "temprature"}, "/rules/0/value", "temperature"),
        ({"value": "label"}, "/rules/0/value", "not a number"),
        ({"unit": "kW"}, "/rules/0/unit", "kW"),
        ({"unit": "parsnips"}, "/rules/0/unit", "parsnips"),
    ],
)
def test_a_rule_that_does_not_fit_the_models_is_refused_with_what_is_near(tmp_path, change, place, says):
    rules = read_rules(write(tmp_path / "r.yaml", {**GOOD, **change}))
    with pytest.raises(BadFile) as found:
        bind(rules, MODELS)
    assert found.value.place == place
    assert says in str(found.value)


@pytest.mark.parametrize("text", ["rules: [", "a: b", "- x", "", "rules: {}", "rules: []\nextra: 1", "\x00"])
def test_a_file_that_is_no_list_of_rules_is_refused(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(BadFile) as found:
        read_rules(path)
    assert found.value.remedy


def test_a_missing_file_and_a_name_given_twice_are_refused(tmp_path):
    with pytest.raises(BadFile, match="cannot be read"):
        read_rules(tmp_path / "none.yaml")
    with pytest.raises(BadFile, match="taken by /rules/0") as found:
        read_rules(write(tmp_path / "r.yaml", GOOD, GOOD))
    assert found.value.place == "/rules/1/name"
