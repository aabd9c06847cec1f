"""The mapping file: which node goes where, and one sentence with file, place and remedy for every defect."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from twinloom.adapters.opcua.mapping import OpcUaMapping, read_mapping
from twinloom.twin.errors import BadFile

URI = "urn:twinloom:simulator:cnc"
BASE: dict[str, Any] = {
    "namespaces": {"cnc": URI},
    "servers": [{"name": "toulouse", "endpoint": "opc.tcp://127.0.0.1:4840", "plant": "toulouse"}],
    "rules": [
        {
            "path": "cnc:{line}/cnc:{machine}/cnc:{property}",
            "twin": "{plant}/{line}/{machine}",
            "property": "{property}",
        },
    ],
}


def written(tmp_path: Path, document: Any) -> Path:
    file = tmp_path / "opcua.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return file


def target(mapping: OpcUaMapping, *names: str, node: str = "", **variables: str) -> tuple[str, str] | None:
    found = mapping.target([(URI, name) for name in names], node, {"plant": "toulouse", **variables})
    return (found.twin, found.path) if found else None


def test_the_example_sends_every_node_to_its_twin(examples: Path) -> None:
    mapping = read_mapping(examples / "opcua.yaml")
    machine = "toulouse/line-1/cnc-01"
    assert target(mapping, "line-1", "cnc-01", "spindle", "speed") == (f"{machine}/spindle", "speed")
    assert target(mapping, "line-1", "cnc-01", "controller", "program_name") == (machine, "controller.program_name")
    assert target(mapping, "line-1", "cnc-01", "feed_rate") == (machine, "feed_rate")
    assert target(mapping, "simulator", "counts") is None
    assert [server.name for server in mapping.servers] == ["toulouse", "hamburg", "derby"]


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["rules"].insert(0, {"path": "cnc:{line}/cnc:{machine}/cnc:load", "twin": "special", "property": "load"})
    mapping = read_mapping(written(tmp_path, document))
    assert target(mapping, "line-1", "cnc-01", "load") == ("special", "load")
    assert target(mapping, "line-1", "cnc-01", "speed") == ("toulouse/line-1/cnc-01", "speed")


def test_a_capture_may_be_a_part_of_a_name_and_must_agree_where_it_is_used_twice(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["rules"] = [{"path": "cnc:M{n}/cnc:Axis_{n}_{axis}", "twin": "m-{n}/{axis}", "property": "load"}]
    mapping = read_mapping(written(tmp_path, document))
    assert target(mapping, "M7", "Axis_7_x") == ("m-7/x", "load")
    assert target(mapping, "M7", "Axis_8_x") is None


def test_names_in_another_namespace_do_not_match(examples: Path) -> None:
    mapping = read_mapping(examples / "opcua.yaml")
    assert mapping.target([("urn:other", "line-1"), (URI, "cnc-01"), (URI, "speed")], "", {"plant": "p"}) is None


def test_a_rule_may_name_one_node(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["rules"].insert(0, {"node": f"nsu={URI};s=pump/flow", "twin": "pump", "property": "flow"})
    mapping = read_mapping(written(tmp_path, document))
    assert target(mapping, node=f"nsu={URI};s=pump/flow") == ("pump", "flow")


def test_a_rule_overrides_how_its_values_are_sampled(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["queue_size"] = 5
    document["rules"][0] |= {"deadband": 0.5, "sampling_interval_ms": 250, "publishing_interval_ms": 1000}
    sampling = read_mapping(written(tmp_path, document)).rules[0].sampling
    assert (sampling.deadband, sampling.sampling_interval_ms, sampling.publishing_interval_ms) == (0.5, 250.0, 1000.0)
    assert sampling.queue_size == 5


def test_security_of_a_server_starts_from_that_of_all(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    document["security"] = {"policy": "Basic256Sha256", "mode": "Sign", "store": "pki"}
    document["servers"][0]["security"] = {"mode": "SignAndEncrypt", "user": "reader", "password_env": "PW"}
    security = read_mapping(written(tmp_path, document)).servers[0].security
    assert (security.policy, security.mode, security.user) == ("Basic256Sha256", "SignAndEncrypt", "reader")
    assert security.store == tmp_path / "pki"


def test_a_node_whose_names_make_no_twin_id_is_named(examples: Path) -> None:
    mapping = read_mapping(examples / "opcua.yaml")
    with pytest.raises(BadFile, match="makes no twin id"):
        mapping.target([(URI, "line 1"), (URI, "cnc-01"), (URI, "speed")], "", {"plant": "toulouse"})


def changed(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    document = copy.deepcopy(BASE)
    change(document)
    return document


DEFECTS: list[tuple[str, Any, str, str]] = [
    ("no YAML", "rules: [", "line", "indentation or quoting"),
    ("a list", "- 1\n", "/", "compare with"),
    ("an unknown key", changed(lambda d: d.update(rulez=[])), "/rulez", "did you mean 'rules'?"),
    ("no rules", changed(lambda d: d.pop("rules")), "/rules", "compare with"),
    ("no servers", changed(lambda d: d.update(servers=[])), "/servers", "compare with"),
    ("no endpoint", changed(lambda d: d["servers"][0].pop("endpoint")), "/servers/0/endpoint", "add endpoint"),
    ("http", changed(lambda d: d["servers"][0].update(endpoint="http://a")), "/servers/0/endpoint", "opc.tcp://"),
    (
        "a bad port",
        changed(lambda d: d["servers"][0].update(endpoint="opc.tcp://a:x")),
        "/servers/0/endpoint",
        "opc.tcp://",
    ),
    (
        "a password",
        changed(lambda d: d["servers"][0].update(endpoint="opc.tcp://u:p@a")),
        "/servers/0/endpoint",
        "password_env",
    ),
    ("two of a name", changed(lambda d: d["servers"].append(d["servers"][0])), "/servers/1/name", "own name"),
    ("a list as variable", changed(lambda d: d["servers"][0].update(plant=[1])), "/servers/0/plant", "plant: name"),
    (
        "an unknown prefix",
        changed(lambda d: d["rules"][0].update(path="cnx:a")),
        "/rules/0/path",
        "did you mean 'cnc'?",
    ),
    ("an empty step", changed(lambda d: d["rules"][0].update(path="cnc:a//cnc:b")), "/rules/0/path", "prefix:Name"),
    (
        "an unknown capture",
        changed(lambda d: d["rules"][0].update(twin="{lime}")),
        "/rules/0/twin",
        "did you mean {line}?",
    ),
    ("no twin", changed(lambda d: d["rules"][0].pop("twin")), "/rules/0/twin", "add twin"),
    ("path and node", changed(lambda d: d["rules"][0].update(node="nsu=a;s=b")), "/rules/0", "keep one"),
    ("no path", changed(lambda d: d["rules"][0].pop("path")), "/rules/0", "keep one"),
    (
        "a node id by index",
        changed(lambda d: d.update(rules=[{"node": "ns=2;s=a", "twin": "t", "property": "p"}])),
        "/rules/0/node",
        "nsu=",
    ),
    (
        "a typo in a rule",
        changed(lambda d: d["rules"][0].update(deadbnd=1)),
        "/rules/0/deadbnd",
        "did you mean 'deadband'?",
    ),
    ("a text as number", changed(lambda d: d.update(queue_size="ten")), "/queue_size", "write for example 10"),
    ("half a sample", changed(lambda d: d.update(queue_size=1.5)), "/queue_size", "write for example 10"),
    (
        "no interval",
        changed(lambda d: d.update(publishing_interval_ms=0)),
        "/publishing_interval_ms",
        "write for example 100",
    ),
    (
        "not a number",
        changed(lambda d: d["rules"][0].update(deadband=float("nan"))),
        "/rules/0/deadband",
        "write for example",
    ),
    ("an unknown report", changed(lambda d: d.update(report="timestmp")), "/report", "did you mean 'timestamp'?"),
    (
        "an unknown policy",
        changed(lambda d: d.update(security={"policy": "Basic256Sha265"})),
        "/security/policy",
        "did you mean 'Basic256Sha256'?",
    ),
    (
        "a policy without mode",
        changed(lambda d: d.update(security={"policy": "Basic256Sha256"})),
        "/security/mode",
        "both to None",
    ),
    (
        "a user without password",
        changed(lambda d: d.update(security={"user": "reader"})),
        "/security/password_env",
        "environment variable",
    ),
    (
        "a certificate without key",
        changed(lambda d: d.update(security={"user_certificate": "a.der"})),
        "/security",
        "name both files",
    ),
    (
        "a namespace with a colon",
        changed(lambda d: d.update(namespaces={"a:b": "urn:x"})),
        "/namespaces/a:b",
        "prefix: urn:",
    ),
]


@pytest.mark.parametrize(("document", "place", "remedy"), [d[1:] for d in DEFECTS], ids=[d[0] for d in DEFECTS])
def test_a_defect_is_named_with_file_place_and_remedy(tmp_path: Path, document: Any, place: str, remedy: str) -> None:
    file = written(tmp_path, document)
    with pytest.raises(BadFile) as caught:
        read_mapping(file)
    assert caught.value.file == str(file)
    assert caught.value.place.startswith(place)
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"nowhere\.yaml.*cannot be read"):
        read_mapping(tmp_path / "nowhere.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00rules")
    with pytest.raises(BadFile, match="UTF-8"):
        read_mapping(tmp_path / "b.yaml")
