"""`twinloom import`: a plant file into the graph store, whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path

from twinloom.app.bootstrap import open_store
from twinloom.app.folder import claimed, example
from twinloom.app.settings import Settings
from twinloom.graph.seed import Plant, read_plant
from twinloom.graph.store import GraphStore, PutModels, PutRelationship, PutTwin
from twinloom.twin.errors import Conflict


def plant_file(given: Path) -> Path:
    """`given`, or the example of that name when no such file is there (`cnc`)."""
    if not given.exists() and (bundled := example(given.name) / "plant.yaml").is_file() and given.name == str(given):
        return bundled
    return given


async def import_plant(file: Path, settings: Settings) -> dict[str, int]:
    """Counts of what was imported. Raises BadFile for a defect, Conflict when a twin of the file is there already."""
    plant = read_plant(plant_file(file))
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
