"""`twinloom schema`: the SDL of a data folder's models."""

from __future__ import annotations

from twinloom.api.schema.build import schema_for, sdl
from twinloom.app.bootstrap import open_store
from twinloom.app.folder import claimed
from twinloom.app.settings import Settings
from twinloom.graph.hot import HotGraph


async def schema_text(settings: Settings) -> str:
    """The schema definition language: the generic layer, and a type for each model of the store."""
    hot = HotGraph()
    with claimed(settings.data):
        async with open_store(settings) as store:
            hot.load(await store.load())
    return sdl(schema_for(hot.models))
