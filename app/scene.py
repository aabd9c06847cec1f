"""The plant's scene for `/scene.glb`, made from the hot graph."""

from __future__ import annotations

import asyncio

from twinloom.graph.hot import HotGraph
from twinloom.twin.dtdl import Interface, Models
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json
from twinloom.viewer.scene import SceneTwin, build_glb, scene_twin

CONTAINS = "contains"
SHAPING = ("name", "placement", "letter", "mesh")
SNAPSHOT_S = 10.0


def nearest_first(models: Models, interface: Interface) -> tuple[ModelId, ...]:
    """Every model that `interface` extends, its own bases before theirs."""
    found: dict[ModelId, None] = {}
    level = [interface]
    while level:
        ids = [base for one in level for base in one.extends if base not in found]
        found.update(dict.fromkeys(ids))
        level = [models.interfaces[base] for base in dict.fromkeys(ids)]
    return tuple(found)


class SceneMaker:
    """Made on the event loop that owns `hot`; `glb` is called in a worker thread."""

    def __init__(self, hot: HotGraph) -> None:
        self._hot = hot
        self._loop = asyncio.get_running_loop()

    def glb(self) -> bytes:
        """GLB of every twin, glTF 2.0, metres. Only the building runs in this thread; the graph is read on its own."""
        twins = asyncio.run_coroutine_threadsafe(self._twins(), self._loop).result(SNAPSHOT_S)
        return build_glb(twins)

    async def _twins(self) -> list[SceneTwin]:
        hot = self._hot
        found = []
        for row in hot.rows():
            parents = hot.into(row, CONTAINS)
            model = hot.model_of(row)
            interface = hot.models.get(model)
            properties: dict[str, Json] = {
                path: value for path in SHAPING if (value := hot.value(row, path)) is not None
            }
            ancestors = nearest_first(hot.models, interface) if interface else ()
            parent = str(hot.id_of(parents[0].source)) if parents else None
            found.append(scene_twin(hot.id_of(row), model, properties, parent, ancestors))
        return found
