"""The commands of prognostics: train, look at a model, score a file, count what prediction is worth.

`add_to` hooks them into the command line. Libraries are imported by the command that needs them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from twinloom.app.options import AsJson
from twinloom.twin.errors import BadFile, BadRequest

ModelFile = Annotated[Path, typer.Argument(help="A model (.onnx).")]
Said = Callable[[str], None]

model = typer.Typer(help="Look at a RUL model: what it is, whether it fits, its card.", no_args_is_help=True)


def add_to(app: typer.Typer, train: typer.Typer) -> None:
    """Hooks the commands of this module into `twinloom` and `twinloom train`."""
    train.command("cmapss", epilog="Example: `twinloom train cmapss --data examples/cmapss --out engine.onnx`")(
        train_cmapss
    )
    app.add_typer(model, name="model", epilog="Example: `twinloom model check spindle.onnx`")
    app.command(epilog="Example: `twinloom score --csv spindles.csv --model spindle.onnx --json`")(score)
    app.command(epilog="Example: `twinloom report --costs examples/cnc/costs.yaml --machines 47 --years 3`")(report)


def train_cmapss(
    data: Annotated[Path, typer.Option(help="Folder with the FD001 files, .txt or .txt.gz.")],
    out: Annotated[Path, typer.Option(help="The model to write (ONNX).")] = Path("cmapss-fd001.onnx"),
    docs: Annotated[Path | None, typer.Option(help="Folder for the model card and its plots.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of folds and nets.", show_default="the card's")] = None,
    as_json: AsJson = False,
) -> None:
    """NASA C-MAPSS FD001 (turbofan engines): some minutes on one core."""
    try:
        from twinloom.prognostics.train import cmapss
    except ImportError as error:
        raise BadRequest(f"{error.name} is not installed", remedy="pip install 'twinloom[train]'") from None

    with working("training", quiet=as_json) as say:
        found = cmapss.train_cmapss(data, out, seed=seed or cmapss.SEED, docs=docs, say=say)
    if as_json:
        typer.echo(json.dumps(found))
        return
    low, high = _pair(found["rmse_ci95"])
    typer.echo(f"wrote {out}")
    typer.echo(f"RMSE, cap 125   {found['rmse_cycles']:.2f} cycles (95 % interval {low:.1f} to {high:.1f})")
    typer.echo(f"NASA score      {found['nasa_score']:.0f}")
    typer.echo(f"coverage, 90 %  {found.get('coverage', float('nan')):.2f}")


@model.command(epilog="Example: `twinloom model inspect spindle.onnx --json`")
def inspect(file: ModelFile, as_json: AsJson = False) -> None:
    """What is in a model file: digest, operators, and the contract it carries."""
    from twinloom.prognostics.inspection import describe

    with working("loading the model", quiet=as_json):
        found = describe(file)
    if as_json:
        typer.echo(json.dumps(found))
        return
    contract = found["contract"]
    for name in ("file", "digest", "bytes", "producer", "nodes", "parameters"):
        typer.echo(f"{name:<12} {found[name]}")
    typer.echo(f"{'operators':<12} {', '.join(found['operators'])}")
    target = contract["target"]
    typer.echo(f"{'says':<12} {', '.join(contract['outputs'])} in {target['unit']}s, 0 to {target['cap']:g}")
    typer.echo(f"{'needs':<12} {contract['window']} rows, one every {contract['stride']:g} of {contract['clock']}")
    typer.echo(f"{'features':<12} {', '.join(feature['name'] for feature in contract['features'])}")


@model.command(epilog="Example: `twinloom model check spindle.onnx`")
def check(file: ModelFile, as_json: AsJson = False) -> None:
    """Load a model as the service would, trial run included: exit status 1 and the reason when it does not fit."""
    from twinloom.prognostics.inspection import check as load

    try:
        with working("trying the model", quiet=as_json):
            found = load(file)
    except BadFile as error:
        if as_json:
            typer.echo(json.dumps({"fits": False, "file": str(file), "reason": error.message, "remedy": error.remedy}))
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps({"fits": True, "file": str(file), "digest": found.version}))
    else:
        typer.echo(f"{file} fits; its digest is {found.version}")


@model.command(epilog="Example: `twinloom model card spindle.onnx --out spindle.md`")
def card(
    file: ModelFile,
    out: Annotated[Path | None, typer.Option(help="File to write instead of printing.")] = None,
    as_json: AsJson = False,
) -> None:
    """The model card, in Markdown, from the model file alone."""
    from twinloom.prognostics import inspection

    with working("loading the model", quiet=as_json):
        text = inspection.card(file)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({"file": str(file), "card": text, "written": str(out) if out else None}))
    else:
        typer.echo(f"wrote {out}" if out else text, nl=out is not None)


def score(
    csv: Annotated[Path, typer.Option(help="Readings: columns component, the clock, the other channels.")],
    model: Annotated[Path | None, typer.Option(help="A model (.onnx).", show_default="the packaged one")] = None,
    as_json: AsJson = False,
) -> None:
    """Score your own file: remaining life of each component, with interval, health and the reason if degraded."""
    from twinloom.prognostics.csv_scores import as_json as row
    from twinloom.prognostics.csv_scores import score_csv
    from twinloom.prognostics.defaults import layout_of, open_chain
    from twinloom.prognostics.onnx_estimator import OnnxEstimator

    with working("scoring", quiet=as_json):
        if model is None:
            chain, unit = open_chain(), "day"
        else:
            unit = OnnxEstimator.open(model).contract.target_unit
            chain = open_chain(model, None)
        try:
            estimates = score_csv(csv, chain, layout_of(chain))
        finally:
            chain.close()
    if as_json:
        unit_of = {"unit": "day" if unit in ("day", "hour") else unit}
        typer.echo(json.dumps([{**row(estimate), **unit_of} for estimate in estimates]))
        return
    width = max([len("component"), *(len(estimate.twin) for estimate in estimates)])
    unit = "days" if unit in ("day", "hour") else f"{unit}s"
    typer.echo(f"{'component':<{width}}  {unit:>7}  {'90 % interval':>15}  zone     by (model health, reason)")
    for e in estimates:
        said = f"{e.method} {e.model_health.value}" + (f", {e.reason}" if e.reason else "")
        typer.echo(f"{e.twin:<{width}}  {e.rul_days:7.1f}  {e.low:6.1f} to {e.high:5.1f}  {e.health.value:<7}  {said}")


def report(
    costs: Annotated[
        Path | None, typer.Option(help="The plant's cost table (YAML).", show_default="the example")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="A model (.onnx).", show_default="the packaged one")] = None,
    machines: Annotated[int, typer.Option(min=1, max=10_000)] = 47,
    years: Annotated[float, typer.Option(min=0.1, max=30)] = 3.0,
    parts: Annotated[int, typer.Option(help="Simulated lives to draw from.", min=20, max=5_000)] = 150,
    seed: Annotated[int, typer.Option(help="Seed of the simulated lives.")] = 4,
    as_json: AsJson = False,
) -> None:
    """What prediction is worth: downtime avoided, MTBF, ROI and payback, with every assumption printed."""
    from twinloom.graph.yaml_text import parse
    from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, OnnxEstimator
    from twinloom.prognostics.value import CostTable, as_text, simulated_report

    path = costs or Path(__file__).parents[1] / "examples" / "cnc" / "costs.yaml"
    try:
        document = parse(path.read_text(encoding="utf-8"), str(path)).value
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(str(path), "the cost table cannot be read", remedy="name a UTF-8 YAML file") from error
    if not isinstance(document, dict):
        raise BadFile(str(path), "is no table of costs", remedy="see examples/cnc/costs.yaml")
    try:
        table = CostTable.read(document)
    except BadRequest as error:
        raise BadFile(str(path), error.message, remedy=error.remedy) from error
    with working("replaying lives", quiet=as_json):
        estimator = OnnxEstimator.open(model or DEFAULT_MODEL, trusted=model is None)
        if estimator.contract.layout.clock != "power_on_hours":
            raise BadRequest("the report simulates CNC spindles", remedy="give a model of CNC spindles")
        found = simulated_report(table, estimator, machines=machines, years=years, seed=seed, parts=parts)
    if as_json:
        typer.echo(json.dumps({"costs": str(path), "model": estimator.version, **found.as_json()}))
    else:
        typer.echo(as_text(found, table))


@contextmanager
def working(what: str, *, quiet: bool) -> Iterator[Said]:
    """A progress bar on stderr while the block runs; the block may say what it does now. `quiet`: nothing is shown."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task(what, total=None)
        yield lambda text: progress.update(task, description=text)


def _pair(value: Any) -> tuple[float, float]:
    low, high = value
    return float(low), float(high)
