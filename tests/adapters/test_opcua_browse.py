"""From an unknown server to a mapping that reads it, and what a mapping no longer finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from servers.node_opcua import NodeOpcUa
from servers.opcua_simulator import SimulatorProcess
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.browse import Proposal, Survey, SurveyNode, check, propose, survey, words
from twinloom.adapters.opcua.mapping import OpcUaMapping, read_mapping
from twinloom.adapters.opcua.settings import OpcUaSettings
from twinloom.adapters.opcua.source import OpcUaSource
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import BadRequest, SourceUnavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.ports import SlotRef

CNC = "dtmi:com:twinloom:cnc:"


async def proposed(endpoint: str, name: str, models: Models) -> tuple[Survey, Proposal]:
    found = await survey(OpcUaSettings(name, endpoint))
    return found, propose(found, models)


async def test_the_proposal_for_the_example_plant_reads_every_value_of_it(
    simulator: SimulatorProcess, cnc_models: Models, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    found = await survey(
        OpcUaSettings("toulouse", simulator.endpoint), progress=lambda done, known: seen.append((done, known))
    )
    proposal = propose(found, cnc_models)
    assert seen[-1][0] == seen[-1][1] == found.count + 2
    assert {str(match.twin): str(match.model) for match in proposal.matches}[
        "toulouse/line-1/cnc-01/axis-y"
    ] == f"{CNC}Axis;1"
    assert len(proposal.matches) == 2 * 7
    file = tmp_path / "proposed.yaml"
    file.write_text(proposal.mapping, encoding="utf-8")
    mapping = read_mapping(file)
    sink = RecordingSink()
    async with running(OpcUaSource(mapping.servers[0], mapping), sink):
        await sink.until(lambda: len(sink.texts) >= 4 and len(sink.slots) == 42 and sink.count > 42)
    assert ("toulouse/line-1/cnc-02/spindle", "vibration_x") in sink.slots
    plant = yaml.safe_load(proposal.plant)
    assert [twin["id"] for twin in plant["twins"]] == ["toulouse/line-1/cnc-01", "toulouse/line-1/cnc-02"]
    assert {"id": "spindle", "model": f"{CNC}Spindle;1"} in plant["twins"][0]["contains"]


async def test_a_server_of_other_make_is_surveyed_with_units_ranges_and_methods(
    node_opcua: NodeOpcUa, cnc_models: Models
) -> None:
    found, proposal = await proposed(node_opcua.endpoint, "peer", cnc_models)
    flat = {"/".join(name for _, name in node.names): node for node in walk(found.roots)}
    value = flat["line-1/cnc-01/spindle/value_1"]
    assert value.unit == "CEL" and (value.low, value.high) == (0.0, 100000.0)
    assert value.node == "nsu=urn:twinloom:simulator:cnc;s=line-1/cnc-01/spindle/value_1"
    assert flat["line-1/cnc-01/controller/reset"].kind == "method"
    assert f"{CNC}Spindle;1" in {str(match.model) for match in proposal.matches}
    assert "line-1/cnc-01/spindle/value_1" in proposal.unmatched


def walk(nodes: tuple[SurveyNode, ...] | list[SurveyNode]) -> list[SurveyNode]:
    return [found for node in nodes for found in (node, *walk(node.children))]


def machine(*, type_name: str = "", spindle: str = "Spindle_7") -> Survey:
    uri = "urn:vendor"
    top = ((uri, "Hall A"),)

    def leaf(parent: SurveyNode, name: str) -> None:
        parent.children.append(SurveyNode((*parent.names, (uri, name)), f"nsu={uri};s={name}", "variable"))

    hall = SurveyNode(top, "nsu=urn:vendor;s=h", "object")
    part = SurveyNode((*top, (uri, spindle)), "nsu=urn:vendor;s=s", "object", type_name)
    hall.children.append(part)
    for name in ("VibrationX", "VibrationY", "Temperature", "Colour"):
        leaf(part, name)
    return Survey("works", "opc.tcp://127.0.0.1:4840", (hall,), 6)


def test_names_match_however_they_are_written_and_the_rest_is_listed(cnc_models: Models, tmp_path: Path) -> None:
    proposal = propose(machine(), cnc_models)
    (match,) = proposal.matches
    assert match.model == f"{CNC}Spindle;1"
    assert match.properties == {"VibrationX": "vibration_x", "VibrationY": "vibration_y", "Temperature": "temperature"}
    assert proposal.unmatched == ("Hall A/Spindle_7/Colour",)
    file = tmp_path / "m.yaml"
    file.write_text(proposal.mapping, encoding="utf-8")
    mapping = read_mapping(file)
    names = [("urn:vendor", "Hall A"), ("urn:vendor", "Spindle_7"), ("urn:vendor", "VibrationX")]
    target = mapping.target(names, "", mapping.servers[0].variables)
    assert target is not None and (target.twin, target.path) == ("works/Hall-A/Spindle_7", "vibration_x")


def test_an_override_settles_an_object_by_path_or_by_type(cnc_models: Models) -> None:
    pump = ModelId(f"{CNC}CoolantPump;1")
    for overrides in ({"Hall A/Spindle_7": pump}, {"VendorType": pump}):
        (match,) = propose(machine(type_name="VendorType"), cnc_models, overrides=overrides).matches
        assert match.model == pump and match.properties == {"Temperature": "temperature"}
    with pytest.raises(BadRequest, match="there is no model"):
        propose(machine(), cnc_models, overrides={"Hall A": ModelId("dtmi:no:such;1")})


async def test_check_names_what_no_longer_resolves(
    simulator: SimulatorProcess, cnc_mapping: OpcUaMapping, examples: Path, tmp_path: Path
) -> None:
    settings = replace(cnc_mapping.servers[0], endpoint=simulator.endpoint)

    def everything(twin: TwinId, path: str) -> SlotRef | None:
        return SlotRef(0, "")

    assert await check(settings, cnc_mapping, everything) == []

    def less(twin: TwinId, path: str) -> SlotRef | None:
        return None if path == "speed" else SlotRef(0, "kilogram" if path == "temperature" else "")

    text = (examples / "opcua.yaml").read_text(encoding="utf-8")
    text += '  - {path: "cnc:gone/cnc:{x}", twin: "{x}", property: p}\n'
    text = text.replace(
        "rules:\n", 'rules:\n  - {path: "cnc:{l}/cnc:{m}/cnc:axis-x/cnc:load", twin: all, property: load}\n'
    )
    file = tmp_path / "worn.yaml"
    file.write_text(text, encoding="utf-8")
    kinds = [finding.kind for finding in await check(settings, read_mapping(file), less)]
    assert kinds.count("rule_without_node") == 1
    assert kinds.count("node_without_twin") == 2
    assert kinds.count("unit_mismatch") == 6
    assert kinds.count("two_nodes_one_property") == 1


async def test_a_survey_of_a_server_that_is_not_there_says_so(cnc_models: Models) -> None:
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        await survey(OpcUaSettings("gone", "opc.tcp://127.0.0.1:9"))


@pytest.mark.parametrize("name", ["VibrationX", "vibration_x", "vibration-x", "Vibration X", "VIBRATION_X"])
def test_a_way_of_writing_is_no_difference(name: str) -> None:
    assert words(name) == "vibrationx"
