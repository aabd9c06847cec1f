"""The rules that extensions add: units and schemas of semantic types, annotations, overrides, indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twinloom.twin.dtdl.defects import Defect
from twinloom.twin.dtdl.metamodel import Adjunct
from twinloom.twin.dtdl.nodes import Node
from twinloom.twin.dtdl.rules import Hierarchy, children, defect, repeated
from twinloom.twin.dtdl.vocabulary import Standard

_SCHEMA_OF = {"string": "string", "integer": "integer", "boolean": "boolean"}


def elements(nodes: Sequence[Node]) -> Iterator[Defect]:
    """Rules about one element and its direct values."""
    for node in nodes:
        for adjunct in node.adjuncts:
            if adjunct.schema:
                yield from _schema(node, adjunct)
            if adjunct.unit_type:
                yield from _unit(node, adjunct)
            if adjunct.never and node.literals.get(adjunct.never) is True:
                message = f"a {adjunct.name} element must not be {adjunct.never}"
                yield defect(node, "incorrectPropertyValue", adjunct.never, message, f"remove {adjunct.never}")
        for name in ("contents", "fields", "enumValues"):
            if name in node.links and any(child.adjuncts for child in children(node, name)):
                for key in _unique_keys(node, name):
                    yield from repeated(node, name, key, list(children(node, name)))


def _unique_keys(node: Node, name: str) -> set[str]:
    return {
        adjunct.unique_property
        for child in children(node, name)
        for adjunct in child.adjuncts
        if adjunct.unique_property
    }


def _target(node: Node, name: str) -> Node | Standard | None:
    links = node.links.get(name)
    return links[0].target if links else None


def _schema(node: Node, adjunct: Adjunct) -> Iterator[Defect]:
    target = _target(node, "schema")
    if target is None:
        return
    names = {target.class_, target.term} if isinstance(target, Standard) else {target.class_}
    if not names & adjunct.schema:
        wanted = ", ".join(sorted(adjunct.schema))
        message = f"the schema of a {adjunct.name} must be one of {wanted}"
        yield defect(node, "notRequiredType", "schema", message, "change the schema, or remove the type")


def _unit(node: Node, adjunct: Adjunct) -> Iterator[Defect]:
    target = _target(node, "unit")
    if isinstance(target, Standard) and target.unit_type and target.unit_type != adjunct.unit_type:
        message = f"{target.term} is a {target.unit_type}, and {adjunct.name} needs a {adjunct.unit_type}"
        yield defect(node, "notRequiredType", "unit", message, f"choose a {adjunct.unit_type}")


def interfaces(hierarchy: Hierarchy) -> Iterator[Defect]:
    """Rules about contents that name one another; inherited contents take part."""
    for node in hierarchy.sound:
        contents = hierarchy.contents(node)
        if any("annotates" in content.literals for content in contents):
            yield from _annotations(contents)


def _annotations(contents: Sequence[Node]) -> Iterator[Defect]:
    by_name = {str(content.literals.get("name")): content for content in contents}
    overridden: dict[tuple[str, str], Node] = {}
    for content in contents:
        annotates = content.literals.get("annotates")
        if not isinstance(annotates, str):
            continue
        sibling = by_name.get(annotates)
        if sibling is not None and sibling.class_ not in ("Property", "Telemetry"):
            message = f"{annotates} is a {sibling.class_}; only a Property or Telemetry can be annotated"
            yield defect(content, "notSiblingRequiredType", "annotates", message, "name another one")
            continue
        if sibling is not None and "annotates" in sibling.literals:
            message = f"{annotates} is itself an annotation"
            yield defect(content, "disallowedType", "annotates", message, "annotate what it annotates")
        overrides = content.literals.get("overrides")
        if isinstance(overrides, str) and sibling is not None:
            yield from _override(content, sibling, overrides)
            if overridden.setdefault((annotates, overrides), content) is not content:
                message = f"{annotates} has two overrides of that property"
                yield defect(content, "multipleReference", "overrides", message, "keep one")


def _override(node: Node, sibling: Node, overrides: str) -> Iterator[Defect]:
    term = str(node.raw.get(node.steps.get("overrides", ""), overrides))
    if overrides in node.context.vocabulary.properties:
        message = f"{term} is a property of the language itself"
        yield defect(node, "matchingPropertyNotSupplemental", "overrides", message, "name a property of an extension")
        return
    for adjunct in sibling.adjuncts:
        name = adjunct.property_dtmis.get(overrides)
        if name is None or name not in sibling.steps:
            continue
        target = _target(node, "schema")
        prop = adjunct.properties[name]
        if adjunct.unit_type and name == "unit":
            fits = isinstance(target, Standard) and target.class_ == "Enum" and target.unit_type == adjunct.unit_type
            wanted = adjunct.unit_type
        else:
            wanted = _SCHEMA_OF.get(prop.kind, "string")
            fits = isinstance(target, Standard) and target.term == wanted
        if not fits:
            message = f"the schema must be that of the overridden {term}: {wanted}"
            yield defect(node, "siblingPropertyMismatch", "schema", message, f"write {wanted}")
        return
    message = f"{sibling.name} has no {term} that could be overridden"
    yield defect(node, "noMatchingSupplementalProperty", "overrides", message, "name a property that it has")
