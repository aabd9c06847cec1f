"""What `twinloom opcua` does: two files or none, findings per server, the folder of certificates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from servers.opcua_simulator import SimulatorProcess

from twinloom.adapters.opcua.commands import check_file, store_of, write_proposal
from twinloom.adapters.opcua.mapping import read_mapping
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import BadFile, SourceUnavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import SlotRef


def everything(twin: TwinId, path: str) -> SlotRef | None:
    return SlotRef(0, "")


async def test_a_proposal_is_written_once_and_checks_out(
    simulator: SimulatorProcess, cnc_models: Models, tmp_path: Path
) -> None:
    out = tmp_path / "works"
    await write_proposal(simulator.endpoint, out, cnc_models, name="works")
    assert read_mapping(out / "opcua.yaml").servers[0].endpoint == simulator.endpoint
    assert await check_file(out / "opcua.yaml", everything) == {"works": []}
    with pytest.raises(BadFile, match="is there already"):
        await write_proposal(simulator.endpoint, out, cnc_models)
    (out / "plant.yaml").write_text("mine", encoding="utf-8")
    await write_proposal(simulator.endpoint, out, cnc_models, replace=True)
    assert (out / "plant.yaml").read_text(encoding="utf-8") != "mine"


async def test_nothing_is_written_when_the_server_is_not_there(
    cnc_models: Models, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with pytest.raises(SourceUnavailable):
        await write_proposal(f"opc.tcp://127.0.0.1:{free_port()}", tmp_path / "out", cnc_models)
    assert not (tmp_path / "out").exists()


async def test_a_server_that_cannot_be_reached_is_a_finding(examples: Path, tmp_path: Path) -> None:
    text = (examples / "opcua.yaml").read_text(encoding="utf-8")
    file = tmp_path / "opcua.yaml"
    for port in ("48410", "48411", "48412"):
        text = text.replace(port, "9")
    file.write_text(text, encoding="utf-8")
    told: list[str] = []
    findings = await check_file(file, everything, progress=told.append)
    assert told == ["toulouse", "hamburg", "derby"]
    assert {finding.kind for found in findings.values() for finding in found} == {"unreachable"}


def test_certificates_live_beside_the_mapping_file_unless_it_says_otherwise(examples: Path, tmp_path: Path) -> None:
    text = (examples / "opcua.yaml").read_text(encoding="utf-8")
    file = tmp_path / "opcua.yaml"
    file.write_text(text, encoding="utf-8")
    assert store_of(file).root == tmp_path / "pki"
    file.write_text(text + "security: {policy: Basic256Sha256, mode: Sign, store: ../keys}\n", encoding="utf-8")
    assert store_of(file).root == tmp_path / ".." / "keys"
