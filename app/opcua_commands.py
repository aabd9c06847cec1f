"""`twinloom opcua`: look at a server, propose a mapping, check one, trust a certificate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from twinloom.app.options import AsJson, Config, Data, run, settings_of
from twinloom.twin.errors import BadRequest

opcua = typer.Typer(help="OPC UA: endpoints, browse to a mapping, check it, trust.", no_args_is_help=True)

Endpoint = Annotated[str, typer.Argument(help="Such as opc.tcp://10.0.0.5:4840.")]


@opcua.command(epilog="Example: `twinloom opcua endpoints opc.tcp://10.0.0.5:4840`")
def endpoints(endpoint: Endpoint, as_json: AsJson = False) -> None:
    """What security a server offers, the safest first."""
    from twinloom.adapters.opcua.security import discover_endpoints

    found = run(discover_endpoints(endpoint))
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in found]))
        return
    table = Table("policy", "mode", "users", "server certificate")
    for info in found:
        table.add_row(info.policy, info.mode, ", ".join(info.tokens), info.thumbprint[:16])
    Console().print(table)


@opcua.command(epilog="Example: `twinloom opcua browse opc.tcp://10.0.0.5:4840 --models models --out plant`")
def browse(
    endpoint: Annotated[str | None, typer.Argument(help="Such as opc.tcp://10.0.0.5:4840.")] = None,
    models: Annotated[Path | None, typer.Option(help="Folder of DTDL models; else the example's.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for opcua.yaml and plant.yaml.")] = Path("plant"),
    name: Annotated[str, typer.Option(help="Name of the server in the mapping.")] = "plant",
    override: Annotated[list[str] | None, typer.Option(help="Browse path=model id, exactly.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    check: Annotated[Path | None, typer.Option(help="Check this mapping instead: what no longer resolves?")] = None,
    data: Data = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Walk the address space and propose a mapping and a plant file; or --check one."""
    if check is not None:
        raise typer.Exit(_check(check, data, config, as_json=as_json))
    if endpoint is None:
        raise BadRequest("there is nothing to browse", remedy="name an endpoint, or a mapping with --check")
    from twinloom.adapters.opcua.commands import write_proposal
    from twinloom.app.folder import example
    from twinloom.app.validation import read_models
    from twinloom.twin.ids import model_id

    overrides = {}
    for pair in override or ():
        path, _, model = pair.partition("=")
        overrides[path] = model_id(model)
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as shown:
        task = shown.add_task("browsing", total=None)
        proposal = run(
            write_proposal(
                endpoint,
                out,
                read_models([models or example() / "models"]),
                name=name,
                overrides=overrides,
                replace=force,
                progress=lambda seen, known: shown.update(task, completed=seen, total=known or None),
            )
        )
    report = {"matched": len(proposal.matches), "unmatched": list(proposal.unmatched), "out": str(out)}
    if as_json:
        typer.echo(json.dumps(report))
        return
    typer.echo(f"wrote {out}/opcua.yaml and {out}/plant.yaml: {len(proposal.matches)} objects matched a model")
    for path in proposal.unmatched[:20]:
        typer.echo(f"  no model fits {path}")
    if len(proposal.unmatched) > 20:
        typer.echo(f"  and {len(proposal.unmatched) - 20} more")


def _check(file: Path, data: Path | None, config: Path | None, *, as_json: bool) -> int:
    """1 when a rule, node or unit of the mapping does not fit server and twins any more."""
    from twinloom.adapters.opcua.commands import check_file
    from twinloom.app.bootstrap import open_store
    from twinloom.app.folder import claimed, existing
    from twinloom.graph.hot import HotGraph

    settings = settings_of(config, data=data)

    async def find() -> dict[str, list[dict[str, str]]]:
        hot = HotGraph()
        with claimed(settings.data):
            async with open_store(settings) as store:
                hot.load(await store.load())
        found = await check_file(existing(file, "mapping file"), hot.resolve)
        return {server: [asdict(finding) for finding in findings] for server, findings in found.items()}

    findings = run(find())
    if as_json:
        typer.echo(json.dumps(findings))
    else:
        console = Console(highlight=False)
        for server, problems in findings.items():
            console.print(f"[bold]{escape(server)}[/] {'all resolves' if not problems else ''}")
            for problem in problems:
                console.print(f"  [red]{problem['kind']}[/] {escape(problem['place'])}: {escape(problem['message'])}")
    return int(any(findings.values()))


@opcua.command(epilog="Example: `twinloom opcua trust 3f2a --mapping plant/opcua.yaml`")
def trust(
    name: Annotated[str | None, typer.Argument(help="Start of a thumbprint, or a file; lists them without.")] = None,
    mapping: Annotated[Path, typer.Option(help="The mapping whose certificate folder it is.")] = Path("opcua.yaml"),
    remove: Annotated[bool, typer.Option("--remove", help="Trust it no longer.")] = False,
    as_json: AsJson = False,
) -> None:
    """List certificates, trust one that was rejected, or withdraw trust."""
    from twinloom.adapters.opcua.commands import store_of
    from twinloom.app.folder import existing

    store = store_of(existing(mapping, "mapping file"))
    if name is not None and remove:
        store.distrust(name)
    elif name is not None:
        store.trust(name)
    found = store.list()
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in found], default=str))
        return
    if not found:
        typer.echo("no certificates yet: the first secure connection makes the own one and keeps what it rejects")
        return
    table = Table("place", "thumbprint", "subject", "valid until")
    for info in found:
        table.add_row(info.place, info.thumbprint[:16], info.subject, f"{info.not_after:%Y-%m-%d}")
    Console().print(table)
