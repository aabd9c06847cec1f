"""References: each id that stands for an element finds it, in the documents, in the base or in the language itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twinloom.twin.dtdl.defects import Defect
from twinloom.twin.dtdl.metamodel import Prop, properties
from twinloom.twin.dtdl.nodes import Link, Node
from twinloom.twin.dtdl.vocabulary import Standard, standard_elements

_RESERVED = ("dtmi:dtdl:", "dtmi:standard:", "dtmi:iotcentral:")


def index(nodes: Iterable[Node], base: Mapping[str, Node]) -> tuple[dict[str, Node], list[Defect]]:
    """The elements by id, those of `base` included, and a defect for each id that is defined twice."""
    found = dict(base)
    defects = []
    for node in nodes:
        if not node.id:
            continue
        other = found.get(node.id)
        if other is None:
            found[node.id] = node
            continue
        place = f"{node.pointer}/@id"
        message = f"{node.id[:80]} is defined already, in {other.source.file} at {other.pointer or '/'}"
        line = node.source.line(place)
        remedy = "keep one definition, or give the other a new version"
        defects.append(Defect("duplicateDefinition", place, message, remedy, node.source.file, line))
    return found, defects


def link(nodes: Iterable[Node], by_id: Mapping[str, Node]) -> list[Defect]:
    """Sets the target of every link that names one; returns what does not resolve or does not fit."""
    defects: list[Defect] = []
    standards = standard_elements()
    for node in nodes:
        if not node.links:
            continue
        props = _properties(node)
        for name, links in node.links.items():
            prop = props[name]
            for held in links:
                if held.ref and held.target is None:
                    held.target = standards.get(held.ref) or by_id.get(held.ref)
                if isinstance(held.target, Standard):
                    problem = _standard_problem(node, name, prop, held.target)
                elif held.target is not None:
                    problem = _node_problem(node, name, prop, held, held.target) if held.ref else None
                elif held.ref:
                    problem = _missing(held)
                else:
                    continue
                if problem:
                    code, message, remedy = problem
                    line = node.source.line(held.pointer)
                    defects.append(Defect(code, held.pointer, message, remedy, node.source.file, line))
    return defects


def _properties(node: Node) -> Mapping[str, Prop]:
    own = properties(node.class_, node.version)
    if not node.adjuncts:
        return own
    return {**own, **{name: prop for adjunct in node.adjuncts for name, prop in adjunct.properties.items()}}


def _missing(held: Link) -> tuple[str, str, str]:
    if held.ref.startswith(_RESERVED):
        return "undefinedReservedId", f"the language defines no {held.ref[:80]}", "correct its spelling"
    return "unresolvedReference", f"{held.ref[:80]} is not defined", "give its document, too"


def _standard_problem(node: Node, name: str, prop: Prop, target: Standard) -> tuple[str, str, str] | None:
    if target.class_ == "Enum" and target.version is not None and target.version > node.version:
        message = f"{target.term} belongs to DTDL v{target.version}, and this is DTDL v{node.version}"
        return "disallowedVersionReference", message, "use the extension's version for this version of DTDL"
    # a newer version's primitive, written as its DTMI, is accepted: the reference parser does so, too
    if target.version is not None and target.version < node.version and not prop.older and name != "unit":
        message = f"{target.term} of DTDL v{target.version} may not stand in DTDL v{node.version}"
        return "disallowedVersionDefinition", message, f"write {target.term}"
    if target.class_ not in prop.range:
        wanted = " or ".join(sorted(prop.range))
        return "badType", f"{name} takes {wanted}, and {target.term} is {target.class_}", f"write {wanted}"
    if prop.named and target.term not in prop.named:
        wanted = " or ".join(sorted(prop.named))
        return "incorrectPropertyValue", f"{name} may not be {target.term}", f"write {wanted}"
    return None


def _node_problem(node: Node, name: str, prop: Prop, held: Link, target: Node) -> tuple[str, str, str] | None:
    if target.class_ not in prop.range or prop.named:
        wanted = " or ".join(sorted(prop.range))
        return "badType", f"{name} takes {wanted}, and {held.ref} is a {target.class_}", f"write {wanted}"
    if target.version > node.version or (target.version < node.version and not prop.older):
        message = f"{held.ref} is DTDL v{target.version}, and this is DTDL v{node.version}"
        return "disallowedVersionReference", message, "write both in one version"
    if target.class_ != "Interface" and not target.top and target.partition is not node.partition:
        message = f"{held.ref} is defined within {target.partition.id or 'another Interface'}"
        return "crossPartitionReference", message, "define it in this Interface, too, under an id of its own"
    return None
