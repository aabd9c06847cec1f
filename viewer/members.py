"""What the scene needs of a twin, and what it reports of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from twinloom.twin.ids import label_of
from twinloom.twin.instance import Json

Role: TypeAlias = Literal["site", "line", "unit", "component"]


@dataclass(frozen=True, slots=True)
class SceneTwin:
    """What the scene needs of a twin. `kinds`: its model's type name, then its ancestors', nearest first."""

    id: str
    kinds: tuple[str, ...]
    properties: Mapping[str, Json] = field(default_factory=dict)
    parent: str | None = None

    @property
    def name(self) -> str:
        name = self.properties.get("name")
        return name if isinstance(name, str) and name else self.id.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the picture lacks or that was set right. `about`: a twin id, node name or file."""

    code: Literal["duplicate", "unmatched", "no_geometry", "placement", "parent", "mesh"]
    about: str
    message: str


def scene_twin(
    id: str, model: str, properties: Mapping[str, Json], parent: str | None, ancestors: Iterable[str] = ()
) -> SceneTwin:
    """A SceneTwin from a twin's fields; `ancestors` are the model ids that `model` extends, nearest first."""
    kinds = (label_of(model), *(label_of(ancestor) for ancestor in ancestors))
    return SceneTwin(id, kinds, properties, parent)
