"""`parse`: documents to Models. The steps in order; each reports all it finds, and the first that finds errors which
would mislead the later ones ends the walk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from twinloom.twin.dtdl import adjuncts, building, documents, resolve, rules
from twinloom.twin.dtdl.check import problems as values_problems
from twinloom.twin.dtdl.contents import Property
from twinloom.twin.dtdl.defects import Defect, DtdlError
from twinloom.twin.dtdl.documents import Document
from twinloom.twin.dtdl.elements import Reader
from twinloom.twin.dtdl.models import EMPTY, Models
from twinloom.twin.dtdl.nodes import Node
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json


def parse(given: Iterable[Json | str | bytes | Document], *, base: Models | None = None) -> Models:
    """Interfaces of all documents, and those of `base`, as Models. Raises DtdlError that lists every defect.

    A document is a JSON text (str, bytes), parsed JSON, or a Document (a text with a file name); each holds one
    Interface or an array of them, in any order. References may lead to any of them and to `base`.

    >>> parse(['{"@context": "dtmi:dtdl:context;3", "@id": "dtmi:com:example:Pump;1", "@type": "Interface"}'])
    Models(1 interface)
    """
    base = base or EMPTY
    loaded, defects = documents.load(given)
    reader = Reader()
    reader.read(loaded)
    defects += reader.defects
    by_id, found = resolve.index(reader.nodes, base.nodes)
    defects += found
    defects += resolve.link(reader.nodes, by_id)
    defects += rules.cycles(reader.nodes)
    defects += rules.depths(reader.nodes)
    defects += rules.excluded_schemas(reader.nodes)
    defects += rules.unique_values(reader.nodes)
    defects += adjuncts.elements(reader.nodes)
    hierarchy = rules.Hierarchy([node for node in reader.nodes if node.class_ == "Interface"])
    defects += hierarchy.defects
    defects += rules.interfaces(hierarchy, reader.nodes, alone=not base.nodes)
    defects += adjuncts.interfaces(hierarchy)
    if defects:
        raise DtdlError(_ordered(defects))
    builder = building.Builder(hierarchy)
    defects += _initial_values(reader.nodes, builder)
    if defects:
        raise DtdlError(_ordered(defects))
    interfaces = {ModelId(node.id): builder.interface(node) for node in hierarchy.sound}
    return base.extended(interfaces, by_id)


def _initial_values(nodes: Iterable[Node], builder: building.Builder) -> list[Defect]:
    """The initial values (extension `initialization`) that do not fit the schemas of their Properties."""
    found = []
    for node in nodes:
        if "initialValue" not in node.literals:
            continue
        content = builder.content(node)
        if isinstance(content, Property):
            place = node.place("initialValue")
            for problem in values_problems(content.schema, node.literals["initialValue"], place):
                line = node.source.line(problem.path)
                found.append(replace(problem, code="initialValueInvalid", file=node.source.file, line=line))
    return found


def _ordered(defects: list[Defect]) -> list[Defect]:
    """Each defect once, by file and line, in the order of discovery within a line."""
    return sorted(dict.fromkeys(defects), key=lambda defect: (defect.file, defect.line))
