"""An element as it is written, and the identifiers it may have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twinloom.twin.dtdl.contexts import Context
from twinloom.twin.dtdl.documents import Source, escaped
from twinloom.twin.dtdl.metamodel import Adjunct, Version
from twinloom.twin.dtdl.vocabulary import Standard
from twinloom.twin.instance import Json

_SEGMENT = r"[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?"
_PATH = rf"dtmi:{_SEGMENT}(?::{_SEGMENT})*"
USER_ID = {
    2: re.compile(rf"{_PATH};[1-9][0-9]{{0,8}}"),
    3: re.compile(rf"{_PATH}(?:;[1-9][0-9]{{0,8}}(?:\.[1-9][0-9]{{0,5}})?)?"),
}
USER_ID[4] = USER_ID[3]
# A system DTMI may have segments that start with an underscore, and the version of a term.
_SYSTEM = r"_*[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?"
DTMI = re.compile(rf"dtmi:{_SYSTEM}(?::{_SYSTEM})*(?:;[1-9][0-9]{{0,8}}(?:\.[1-9][0-9]{{0,5}})?)?")
"""What ids of documents look like, by version (user DTMIs), and what any DTMI looks like."""


@dataclass(slots=True, eq=False)
class Link:
    """A value of an element property: an element, or the id of one (`target` is then found by `resolve`)."""

    pointer: str
    target: Node | Standard | None = None
    ref: str = ""


@dataclass(slots=True, eq=False)
class Node:
    """An element as it is written. `partition` is the nearest Interface or top-level element, itself included."""

    class_: str
    version: Version
    context: Context
    source: Source
    pointer: str
    raw: Mapping[str, Json]
    id: str = ""
    top: bool = False
    parent: Node | None = None
    partition: Node = field(init=False)
    adjuncts: tuple[Adjunct, ...] = ()
    types: tuple[str, ...] = ()
    literals: dict[str, Any] = field(default_factory=dict)
    links: dict[str, list[Link]] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    """Property -> the member name that stands for it in the document."""

    def __post_init__(self) -> None:
        own = self.parent is None or self.top or self.class_ == "Interface"
        self.partition = self if own or self.parent is None else self.parent.partition

    def place(self, property_: str = "") -> str:
        """The JSON pointer of the element, or of one of its members when it is written."""
        step = self.steps.get(property_)
        return f"{self.pointer}/{escaped(step)}" if step else self.pointer

    @property
    def name(self) -> str:
        return str(self.literals.get("name") or self.id or self.class_)


def kind_of_name(text: str, context: Context, prefix: str) -> str:
    """Which rule an unknown type or member name breaks."""
    if text.startswith("dtmi:"):
        return f"{prefix}IrrelevantDtmiOrTerm" if DTMI.fullmatch(text) else f"{prefix}InvalidDtmi"
    if ":" in text:
        return f"{prefix}NotDtmiNorTerm"
    return f"{prefix}IrrelevantDtmiOrTerm" if text in context.vocabulary.terms else f"{prefix}UndefinedTerm"
