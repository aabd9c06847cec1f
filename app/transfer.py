"""`twinloom import` and `twinloom export`: files into the graph store and out of it.

A plant file (YAML) goes in whole or not at all, and so do DTDL files. NDJSON and CSV are checked whole, then written in
batches: importing the same file again changes nothing, and goes on where an interrupted import stopped.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from twinloom.app import ndjson
from twinloom.app.bootstrap import make_store, open_store
from twinloom.app.csv_twins import CsvReading, read_mapping
from twinloom.app.folder import claimed, example, existing
from twinloom.app.loading import Loaded, Reading, check, write
from twinloom.app.model_files import ModelFiles
from twinloom.app.settings import Settings
from twinloom.graph.hot import HotGraph
from twinloom.graph.seed import Plant, read_plant
from twinloom.graph.store import GraphStore, PutModels, PutRelationship, PutTwin, Snapshot
from twinloom.twin.errors import BadFile, BadRequest, Conflict

NDJSON, CSV, MODELS = (".ndjson", ".jsonl"), (".csv",), (".json",)


def plant_file(given: Path) -> Path:
    """`given`, or the example of that name when no such file is there (`cnc`)."""
    if not given.exists() and (bundled := example(given.name) / "plant.yaml").is_file() and given.name == str(given):
        return bundled
    return given


async def import_file(
    file: Path, settings: Settings, *, mapping: Path | None = None, dry_run: bool = False, quiet: bool = False
) -> Mapping[str, object]:
    """Imports by the file's suffix and reports what was done (with `dry_run`: what would be).

    Raises BadFile (ImportRefused with every defect of an NDJSON or CSV file), BadRequest for arguments that do not go
    together, Conflict when a twin of a plant file is there already.
    """
    suffix = file.suffix.lower()
    if (mapping is not None) != (suffix in CSV):
        said = "needs a mapping" if suffix in CSV else "takes no mapping"
        raise BadRequest(f"{file} {said}", remedy="a .csv file and --mapping FILE.yaml go together")
    if suffix in MODELS or _is_folder(file):
        return asdict(await load(ModelFiles(file), settings, dry_run=dry_run))
    if suffix not in NDJSON + CSV:
        return await import_plant(file, settings, dry_run=dry_run)
    with progress_bar(f"{file.name}: check", _size(file), quiet) as progress:
        reading: Reading
        if mapping is None:
            reading = ndjson.NdjsonReading(file, progress=progress)
        else:
            reading = CsvReading(file, read_mapping(mapping), progress=progress)
        loaded = await load(reading, settings, dry_run=dry_run)
    return asdict(loaded)


async def load(reading: Reading, settings: Settings, *, dry_run: bool = False) -> Loaded:
    """Checks and writes one file. A store that is not there yet is made only once the file was found good."""
    with contextlib.ExitStack() as held:
        hot = HotGraph()
        if not is_new(settings):
            held.enter_context(claimed(settings.data))
            async with open_store(settings) as store:
                snapshot = await store.load()
                hot.load(snapshot)
                checked = check(reading, hot)
                return await write(reading, checked, hot, None if dry_run else store, snapshot.seq)
        checked = check(reading, hot)
        if dry_run:
            return await write(reading, checked, hot, None, 0)
        held.enter_context(claimed(settings.data))
        async with open_store(settings) as store:
            return await write(reading, checked, hot, store, (await store.load()).seq)


def _size(file: Path) -> int:
    return existing(file, "file to import").stat().st_size


def _is_folder(file: Path) -> bool:
    return file.is_dir()


def is_new(settings: Settings) -> bool:
    """True when there is no graph yet that could be opened; a server's is always there."""
    return settings.graph.startswith("sqlite:") and not settings.database_file(settings.graph).exists()


async def import_plant(file: Path, settings: Settings, *, dry_run: bool = False) -> dict[str, int]:
    """Counts of what was imported. Raises BadFile for a defect, Conflict when a twin of the file is there already."""
    plant = read_plant(plant_file(file))
    if not dry_run:
        with claimed(settings.data):
            async with open_store(settings) as store:
                await seed(store, plant)
    return counts(plant)


async def seed(store: GraphStore, plant: Plant) -> None:
    """Commits the whole plant as one transaction above everything that the store has seen."""
    snapshot = await store.load()
    try:
        await store.commit(plant.changes, seq=snapshot.seq + 1, time_ns=time.time_ns(), cause="import")
    except Conflict as error:
        raise Conflict(error.message, remedy="import into an empty data folder") from None


def counts(plant: Plant) -> dict[str, int]:
    return {
        "models": sum(len(change.ids) for change in plant.changes if isinstance(change, PutModels)),
        "twins": sum(isinstance(change, PutTwin) for change in plant.changes),
        "relationships": sum(isinstance(change, PutRelationship) for change in plant.changes),
    }


async def export_file(
    file: Path,
    settings: Settings,
    *,
    author: str = "twinloom",
    organization: str = "",
    telemetry: bool = False,
    quiet: bool = False,
) -> dict[str, object]:
    """Writes everything that the store holds as NDJSON and counts it. Raises BadFile, BadRequest, StoreUnavailable."""
    if file.suffix.lower() not in NDJSON:
        raise BadRequest(f"{file} is no .ndjson file", remedy="export to a name that ends in .ndjson")
    if is_new(settings):
        raise BadFile(str(settings.data), "holds no graph", remedy="name the folder that `serve` uses with --data")
    with claimed(settings.data):
        store = make_store(settings)
        await store.open()
        try:
            snapshot = await store.load()
        finally:
            await store.close()
    snapshot = Snapshot(
        snapshot.models, list(snapshot.twins), list(snapshot.relationships), (), list(snapshot.last_values)
    )
    twins, relationships = list(snapshot.twins), list(snapshot.relationships)
    with progress_bar(file.name, len(snapshot.models) + len(twins) + len(relationships) + 5, quiet) as progress:
        lines = ndjson.export_lines(snapshot, author=author, organization=organization, telemetry=telemetry)
        ndjson.write_file(file, lines, progress=progress)
    return {
        "file": str(file),
        "bytes": _size(file),
        "models": len(snapshot.models),
        "twins": len(twins),
        "relationships": len(relationships),
    }


@contextlib.contextmanager
def progress_bar(title: str, total: int, quiet: bool) -> Iterator[ndjson.Progress]:
    """A bar on stderr, where that is a terminal. It starts anew when a second pass begins."""
    if quiet or not sys.stderr.isatty():
        yield ndjson.silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        highest = 0

        def said(done: int) -> None:
            nonlocal highest
            if done < highest:
                bar.update(task, description=title.replace(": check", ": write"))
            highest = done
            bar.update(task, completed=done)

        yield said
