"""What `twinloom opcua` does, without a terminal: the command line adds words, colours and progress bars.

twinloom opcua endpoints ENDPOINT            `security.discover_endpoints`
twinloom opcua browse ENDPOINT --out DIR     `write_proposal`
twinloom opcua browse --check FILE           `check_file`
twinloom opcua trust [NAME] --mapping FILE   `store_of`, then `CertificateStore.list`, `.trust`, `.distrust`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from twinloom.adapters.opcua.browse import Finding, Progress, Proposal, check, propose, survey
from twinloom.adapters.opcua.certificates import CertificateStore
from twinloom.adapters.opcua.mapping import read_mapping
from twinloom.adapters.opcua.settings import OpcUaSettings, Security
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import BadFile, SourceUnavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.ports import SlotRef

MAPPING, PLANT = "opcua.yaml", "plant.yaml"


async def write_proposal(
    endpoint: str,
    out: Path,
    models: Models,
    *,
    name: str = "plant",
    security: Security | None = None,
    overrides: Mapping[str, ModelId] | None = None,
    replace: bool = False,
    progress: Progress = lambda seen, known: None,
) -> Proposal:
    """Surveys the server at `endpoint` and writes `out`/opcua.yaml and `out`/plant.yaml, both or none.

    Raises BadFile when one is there already and `replace` is not given, SourceUnavailable, BadRequest.
    """
    if not replace:
        _refuse_to_replace(out)
    settings = OpcUaSettings(name, endpoint, security=security or Security())
    proposal = propose(await survey(settings, progress=progress), models, overrides=overrides)
    _write(out, proposal)
    return proposal


def _refuse_to_replace(out: Path) -> None:
    for file in (out / MAPPING, out / PLANT):
        if file.exists():
            raise BadFile(str(file), "is there already", remedy="choose another folder, or replace it with --force")


def _write(out: Path, proposal: Proposal) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / MAPPING).write_text(proposal.mapping, encoding="utf-8")
    (out / PLANT).write_text(proposal.plant, encoding="utf-8")


async def check_file(
    file: Path,
    resolve: Callable[[TwinId, str], SlotRef | None],
    *,
    progress: Callable[[str], None] = lambda server: None,
) -> dict[str, list[Finding]]:
    """Findings per server of the mapping file; a server that cannot be reached is a finding, too.

    `resolve` is `HotGraph.resolve` of the plant. `progress` is told each server's name. Raises BadFile.
    """
    mapping = read_mapping(file)
    findings: dict[str, list[Finding]] = {}
    for settings in mapping.servers:
        progress(settings.name)
        try:
            findings[settings.name] = await check(settings, mapping, resolve)
        except SourceUnavailable as error:
            findings[settings.name] = [Finding("unreachable", settings.endpoint, str(error))]
    return findings


def store_of(file: Path) -> CertificateStore:
    """The certificate folder that the first server of a mapping file uses. Raises BadFile."""
    first = read_mapping(file).servers[0]
    return CertificateStore(first.security.store or file.parent / "pki")
