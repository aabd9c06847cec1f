"""The command line. Each command reads its settings once, calls one function of a room and reports.

Exit status: 0 done, 1 the run found failures (something lost, a scene with problems), 2 bad input or a server that
cannot be reached: one sentence on stderr (`validate` and `import`: every defect), nothing half done.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from twinloom.app import prognosis_commands
from twinloom.app.opcua_commands import opcua
from twinloom.app.options import AsJson, ColorBy, Config, Data, Host, Port, Token, Url, run, settings_of
from twinloom.app.scene_commands import Meshes, scene
from twinloom.twin.errors import BadRequest, TwinloomError

app = typer.Typer(
    name="twinloom",
    help="A digital twin of a plant: sensor, graph, remaining life, alert, work order and 3D in one process.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)


class Theme(StrEnum):
    LIGHT = "light"
    DARK = "dark"


def main() -> None:
    """Entry point: every TwinloomError becomes one sentence and exit status 2."""
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app()
    except TwinloomError as error:
        typer.secho(f"twinloom: {error}", err=True, fg="red" if sys.stderr.isatty() else None)
        sys.exit(2)


@app.command(epilog="Example: `twinloom demo --duration 30 --json --snapshot out.png`")
def demo(
    host: Host = None,
    port: Port = None,
    data: Annotated[Path | None, typer.Option(help="Folder to keep; without it a temporary one is used.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds to run; without it until Ctrl-C.", min=5)] = None,
    as_json: AsJson = False,
    snapshot: Annotated[Path | None, typer.Option(help="Write a picture (PNG) of the plant at the end.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated wear.")] = 7,
    speedup: Annotated[float, typer.Option(help="Plant seconds per second; 86400: a day.", min=1)] = 86_400.0,
    subscribers: Annotated[int, typer.Option(help="WebSocket subscribers besides the one on everything.", min=0)] = 0,
) -> None:
    """Three simulated plants, 47 CNC machines over OPC UA: live values, scores, alerts, work orders, 3D."""
    from twinloom.app.demo import DemoOptions, run_demo

    options = DemoOptions(
        host=host or "127.0.0.1", port=8000 if port is None else port, data=data, duration_s=duration, as_json=as_json,
        snapshot=snapshot, seed=seed, speedup=speedup, subscribers=subscribers,
    )  # fmt: skip
    raise typer.Exit(run(run_demo(options)))


@app.command(epilog="Example: `TWINLOOM_TOKENS=$(openssl rand -hex 24) twinloom serve --data plant`")
def serve(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    config: Config = None,
    development: Annotated[bool | None, typer.Option(help="GraphiQL, introspection.", show_default="off")] = None,
    authentication: Annotated[bool | None, typer.Option(help="Ask for a bearer token.", show_default="on")] = None,
) -> None:
    """Serve the twins of a data folder: GraphQL, subscriptions, web page, sources, scoring."""
    from twinloom.app.server import serve as serve_until_stopped

    settings = settings_of(
        config, host=host, port=port, data=data, development=development, authentication=authentication
    )
    run(serve_until_stopped(settings))


@app.command("import", epilog="Example: `twinloom import examples/cnc/plant.yaml --data plant`")
def import_(
    file: Annotated[Path, typer.Argument(help="A plant (.yaml), .ndjson, .csv, DTDL (.json, a folder), or `cnc`.")],
    data: Data = None,
    config: Config = None,
    mapping: Annotated[Path | None, typer.Option(help="How a .csv becomes twins (YAML).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all of it, write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Load models, twins and relationships; nothing is written of a file with a defect."""
    from twinloom.app.reports import import_and_report

    raise typer.Exit(
        run(import_and_report(file, settings_of(config, data=data), mapping, dry_run=dry_run, as_json=as_json))
    )


@app.command(epilog="Example: `twinloom export plant.ndjson --data plant`")
def export(
    file: Annotated[Path, typer.Argument(help="The .ndjson file to write (Azure Digital Twins' job format).")],
    data: Data = None,
    config: Config = None,
    author: Annotated[str, typer.Option(help="Of the header.")] = "twinloom",
    organization: Annotated[str, typer.Option(help="Of the header.")] = "",
    telemetry: Annotated[bool, typer.Option("--telemetry", help="With the last telemetry values.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the whole graph as NDJSON; the same graph gives the same bytes."""
    from twinloom.app.reports import export_and_report

    settings = settings_of(config, data=data)
    run(export_and_report(file, settings, author, organization, telemetry=telemetry, as_json=as_json))


@app.command(epilog="Example: `twinloom migrate dtmi:com:a:Pump;1 dtmi:com:a:Pump;2 --apply`")
def migrate(
    source: Annotated[str | None, typer.Argument(help="The model to migrate from.")] = None,
    target: Annotated[str | None, typer.Argument(help="The model to migrate to.")] = None,
    data: Data = None,
    config: Config = None,
    rename: Annotated[list[str] | None, typer.Option(help="old=new: a path's new name.")] = None,
    default: Annotated[list[str] | None, typer.Option(help="path=JSON, where there is no value.")] = None,
    plan: Annotated[str | None, typer.Option(help="A plan that was made before, by its id.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Carry the plan out, or go on with it.")] = False,
    revert: Annotated[bool, typer.Option("--revert", help="Undo the plan.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plan, apply or revert a migration of twins between models (server stopped)."""
    from twinloom.app.migrate import MigrateOptions, migrate_and_report

    options = MigrateOptions(source, target, tuple(rename or ()), tuple(default or ()), plan, apply, revert)
    raise typer.Exit(run(migrate_and_report(options, settings_of(config, data=data), as_json=as_json)))


@app.command(epilog="Example: `twinloom validate examples/cnc/models/*.json`")
def validate(
    files: Annotated[list[Path], typer.Argument(help="DTDL files or folders of them; together they must be complete.")],
    as_json: AsJson = False,
) -> None:
    """Check DTDL models: every defect with file, line, rule and remedy."""
    from twinloom.app.validation import validate_files

    raise typer.Exit(validate_files(files, as_json=as_json))


@app.command(epilog="Example: `twinloom snapshot plant.png --color-by rul --theme light`")
def snapshot(
    out: Annotated[Path, typer.Argument(help="What to write: .png, .glb, .gif or .mp4.")],
    url: Url = "http://127.0.0.1:8000",
    token: Token = None,
    color_by: ColorBy = "rul",
    theme: Annotated[Theme, typer.Option(help="`light` for reports, `dark` for screens.")] = Theme.LIGHT,
    width: Annotated[int, typer.Option(min=320, max=7680)] = 1600,
    height: Annotated[int, typer.Option(min=240, max=4320)] = 900,
    camera: Annotated[str, typer.Option(help="`overview`, front, top, left, right, or a twin id.")] = "overview",
    at: Annotated[datetime | None, typer.Option(help="A past time (UTC) instead of now.")] = None,
    span: Annotated[float, typer.Option(help="GIF and MP4: minutes before that time to replay.", min=0.1)] = 5.0,
    frames: Annotated[int, typer.Option(help="GIF and MP4: pictures.", min=2, max=1000)] = 24,
    mesh: Meshes = None,
    as_json: AsJson = False,
) -> None:
    """A picture or a film of the plant, now or then, without a display."""
    from twinloom.viewer.snapshot import snapshot as take

    moment = at.replace(tzinfo=UTC) if at else None
    report = take(
        url,
        token,
        out,
        color_by=color_by,
        theme=theme.value,
        size=(width, height),
        camera=camera,
        at=moment,
        span=timedelta(minutes=span),
        frames=frames,
        meshes=tuple(mesh or ()),
    )
    typer.echo(json.dumps(asdict(report), default=str) if as_json else str(report))


@app.command(epilog="Example: `twinloom view --url http://127.0.0.1:8000`")
def view(
    url: Url = "http://127.0.0.1:8000",
    token: Token = None,
    color_by: ColorBy = "rul",
    theme: Annotated[Theme, typer.Option(help="`light` or `dark`.")] = Theme.DARK,
) -> None:
    """The live window: what is wrong is found at once, a click shows the twin."""
    from twinloom.viewer.window import view as open_window

    open_window(url, token, color_by=color_by, theme=theme.value)


app.add_typer(opcua, name="opcua", epilog="Example: `twinloom opcua browse opc.tcp://10.0.0.5:4840`")
app.add_typer(scene, name="scene", epilog="Example: `twinloom scene build plant.glb`")


@app.command(epilog="Example: `twinloom replay replay.yaml --data plant --speed 0`")
def replay(
    file: Annotated[Path, typer.Argument(help="The mapping file that names the recordings (YAML).")],
    data: Data = None,
    config: Config = None,
    speed: Annotated[float | None, typer.Option(help="1 as recorded, 0 as fast as it goes.", min=0)] = None,
    as_json: AsJson = False,
) -> None:
    """Play CSV or Parquet recordings through the pipeline, once (server stopped)."""
    from twinloom.app.replaying import replay_and_report

    raise typer.Exit(run(replay_and_report(file, settings_of(config, data=data), speed, as_json=as_json)))


@app.command(epilog="Example: `twinloom schema --data plant > plant.graphql`")
def schema(data: Data = None, config: Config = None) -> None:
    """Print the GraphQL schema (SDL) that the models of a data folder make."""
    from twinloom.app.schema_text import schema_text

    typer.echo(run(schema_text(settings_of(config, data=data))), nl=False)


train = typer.Typer(help="Train the RUL models anew (extra `train`).", no_args_is_help=True)
app.add_typer(train, name="train", epilog="Example: `twinloom train cnc --docs docs/prognostics`")


@train.command("cnc", epilog="Example: `twinloom train cnc --out spindle.onnx --docs cards`")
def train_cnc(
    out: Annotated[Path, typer.Option(help="The model to write (ONNX).")] = Path("cnc-spindle.onnx"),
    lite: Annotated[Path | None, typer.Option(help="Also train the one that needs no history.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder for the model card and its plots.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of machines and nets.", show_default="the card's")] = None,
    as_json: AsJson = False,
) -> None:
    """CNC spindles, from the synthetic fleet: several minutes on one core."""
    try:
        from twinloom.prognostics.train import cnc
    except ImportError as error:
        raise BadRequest(f"{error.name} is not installed", remedy="pip install 'twinloom[train]'") from None

    figures = cnc.train_cnc(out, lite, seed=seed or cnc.SEED, docs=docs, say=lambda text: typer.echo(text, err=True))
    if as_json:
        typer.echo(json.dumps(figures))


prognosis_commands.add_to(app, train)


@app.command(epilog="Example: `twinloom check --config plant.toml`")
def check(data: Data = None, config: Config = None, as_json: AsJson = False) -> None:
    """Read every setting and file that `serve` would, open nothing for writing, and say what is wrong."""
    from twinloom.app.bootstrap import check_settings

    report = check_settings(settings_of(config, data=data))
    if as_json:
        typer.echo(json.dumps(report))
    else:
        for name, value in report.items():
            typer.echo(f"{name:<12} {value}")


@app.command(epilog="Example: `twinloom bench graph --json`")
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Files of benchmarks/; all without a name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the figures of the design beside their peers (needs a source checkout)."""
    from twinloom.app.bench import run_benchmarks

    raise typer.Exit(run_benchmarks(names or [], as_json=as_json))


if __name__ == "__main__":
    main()
