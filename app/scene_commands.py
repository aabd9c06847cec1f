"""`twinloom scene`: what the 3D scene lacks, and the scene as a file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from twinloom.app.options import AsJson, Token, Url

scene = typer.Typer(help="The 3D scene: check it, or write it as GLB.", no_args_is_help=True)

Meshes = Annotated[list[Path] | None, typer.Option(help="GLB, OBJ, STL or STEP files with the plant's shapes.")]


@scene.command(epilog="Example: `twinloom scene check --mesh cnc.glb`")
def check(
    url: Url = "http://127.0.0.1:8000", token: Token = None, mesh: Meshes = None, as_json: AsJson = False
) -> None:
    """Duplicate names, nodes without twins, twins without geometry or place."""
    from twinloom.viewer.snapshot import inspect

    problems = inspect(url, token, meshes=tuple(mesh or ()))
    if as_json:
        typer.echo(json.dumps([asdict(problem) for problem in problems]))
    else:
        for problem in problems:
            typer.echo(f"{problem.code}: {problem.about}: {problem.message}")
        typer.echo(f"{len(problems)} problems" if problems else "every twin has its shape and place")
    raise typer.Exit(int(bool(problems)))


@scene.command(epilog="Example: `twinloom scene build plant.glb`")
def build(
    out: Annotated[Path, typer.Argument(help="The GLB to write.")],
    url: Url = "http://127.0.0.1:8000",
    token: Token = None,
    mesh: Meshes = None,
    as_json: AsJson = False,
) -> None:
    """Write the scene as GLB: a node a twin, named by its id."""
    from twinloom.twin.errors import BadRequest
    from twinloom.viewer.snapshot import snapshot

    if out.suffix.lower() != ".glb":
        raise BadRequest(f"{out.name} is no scene file", remedy="name it .glb")
    report = snapshot(url, token, out, meshes=tuple(mesh or ()))
    typer.echo(json.dumps(asdict(report), default=str) if as_json else str(report))
