"""The Interface and what it holds: Properties, Telemetries, Relationships, Components and Commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from twinloom.twin.dtdl.documents import Source
from twinloom.twin.dtdl.schemas import NUMERIC, Enum, Primitive, Schema
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json

UNIT_COMMENT = "unit: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """What all contents share. `pointer` leads into the `document` of the Interface `declared_in`.

    `semantic_types` are the co-types as the document names them (`Temperature`, `Historized`); `annotations` what an
    extension adds to the element (terms with their JSON values).
    """

    name: str
    display_name: str = ""
    description: str = ""
    comment: str = ""
    declared_in: ModelId
    semantic_types: tuple[str, ...] = ()
    annotations: Mapping[str, Json] = field(default_factory=dict)
    pointer: str = ""
    source: Source | None = field(default=None, repr=False, compare=False)
    root: str = field(default="", repr=False, compare=False)
    """Where the Interface stands in its source, as a JSON pointer."""

    @property
    def file(self) -> str:
        return self.source.file if self.source else ""

    @property
    def line(self) -> int:
        """The line of the document (from 1) where the element starts; 0 when it came as parsed JSON."""
        return self.source.line(self.root + self.pointer) if self.source else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Property(Element):
    """`unit` is the DTDL unit's term, or what follows `unit: ` at the start of the comment (ADR 0004), or ''."""

    schema: Schema
    writable: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry(Element):
    schema: Schema
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationshipType(Element):
    """`target` None: a twin of any model. `max_multiplicity` None: no bound."""

    target: ModelId | None = None
    min_multiplicity: int = 0
    max_multiplicity: int | None = None
    properties: Mapping[str, Property] = field(default_factory=dict)
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentType(Element):
    model: ModelId


@dataclass(frozen=True, slots=True)
class Payload:
    """`nullable`: null is a value (DTDL v3 and v4); a payload that is not nullable must be given."""

    name: str
    schema: Schema
    nullable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandType(Element):
    request: Payload | None = None
    response: Payload | None = None


Content: TypeAlias = Property | Telemetry | RelationshipType | ComponentType | CommandType


@dataclass(frozen=True, slots=True)
class Field:
    """A Property or Telemetry by its path, components flattened: `controller.feed_override`."""

    path: str
    kind: Literal["property", "telemetry"]
    schema: Schema
    unit: str
    writable: bool
    numeric: bool
    declared_in: ModelId


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """`contents` holds own and inherited ones, own first; `ancestors` are all it extends, itself excluded."""

    id: ModelId
    version: Literal[2, 3, 4]
    display_name: str = ""
    description: str = ""
    comment: str = ""
    extends: tuple[ModelId, ...] = ()
    ancestors: frozenset[ModelId] = frozenset()
    contents: Mapping[str, Content] = field(default_factory=dict)
    document: Json = None
    """The Interface's JSON as given; Interfaces within it are replaced by their ids, and @context is never missing."""
    source: Source | None = field(default=None, repr=False, compare=False)
    root: str = field(default="", repr=False, compare=False)

    @property
    def file(self) -> str:
        return self.source.file if self.source else ""

    @property
    def line(self) -> int:
        return self.source.line(self.root) if self.source else 0


def is_numeric(schema: Schema) -> bool:
    """True when every value of the schema is a number that float64 holds exactly (booleans are no numbers here)."""
    if isinstance(schema, Enum):
        return False
    return isinstance(schema, Primitive) and schema.name in NUMERIC


def unit_of(unit: str, comment: str) -> str:
    """The unit that an element declares, or the one its comment starts with (ADR 0004).

    >>> unit_of("", "unit: mm/s; RMS")
    'mm/s'
    """
    if unit or not comment.startswith(UNIT_COMMENT):
        return unit
    return comment[len(UNIT_COMMENT) :].split(";")[0].split(",")[0].strip()
