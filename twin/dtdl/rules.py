"""What elements may be together: cycles, depths, counts, unique names (section "Limits and exclusions")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from twinloom.twin.dtdl.defects import Defect
from twinloom.twin.dtdl.metamodel import GEOSPATIAL, INTERFACE_BYTES, LIMITS, STANDARD_DEPTH, properties
from twinloom.twin.dtdl.nodes import Node
from twinloom.twin.dtdl.vocabulary import Standard

_SCHEMA_STEPS = frozenset({"elementSchema", "schema"})
_RECURSIVE = frozenset({"Array", "Map", "Object", "Field", "MapValue"})


def defect(node: Node, code: str, property_: str, message: str, remedy: str) -> Defect:
    """A defect at one of a node's members."""
    place = node.place(property_)
    return Defect(code, place, message, remedy, node.source.file, node.source.line(place))


def children(node: Node, *names: str) -> Iterator[Node]:
    """The elements that a node holds or refers to, through the named properties or all."""
    for name in names or node.links:
        for held in node.links.get(name, ()):
            if isinstance(held.target, Node):
                yield held.target


def parents_of(node: Node) -> list[Node]:
    return [parent for parent in children(node, "extends") if parent.class_ == "Interface"]


def cycles(nodes: Sequence[Node]) -> list[Defect]:
    """No element has a path to itself; from v4 on schemas may, through elementSchema and schema."""
    found = []
    done: set[int] = set()
    on_path: set[int] = set()
    for start in nodes:
        if id(start) in done:
            continue
        stack: list[tuple[Node, Iterator[tuple[str, Node]]]] = [(start, _edges(start))]
        on_path.add(id(start))
        while stack:
            node, edges = stack[-1]
            for name, child in edges:
                if id(child) in on_path:
                    message = f"{child.class_} {child.name} leads back to itself"
                    found.append(defect(node, "recursiveStructure", name, message, "break the circle"))
                elif id(child) not in done:
                    on_path.add(id(child))
                    stack.append((child, _edges(child)))
                    break
            else:
                stack.pop()
                on_path.discard(id(node))
                done.add(id(node))
    return found


def _edges(node: Node) -> Iterator[tuple[str, Node]]:
    for name, links in node.links.items():
        if node.version == 4 and name in _SCHEMA_STEPS and node.class_ in _RECURSIVE:
            continue
        for held in links:
            if isinstance(held.target, Node):
                yield name, held.target


class Depths:
    """The most steps below a node, counting the members in `counted` and following those in `followed`."""

    def __init__(self, counted: frozenset[str], followed: frozenset[str]) -> None:
        self._counted, self._followed = counted, followed
        self._known: dict[int, int] = {}

    def of(self, start: Node) -> int:
        known = self._known
        stack = [start]
        open_: set[int] = set()
        while stack:
            node = stack[-1]
            if id(node) in known:
                stack.pop()
                continue
            fresh = node.class_ is not None and id(node) not in open_
            open_.add(id(node))
            deepest = 0
            waiting = []
            for name, links in node.links.items():
                if name not in self._followed:
                    continue
                step = int(name in self._counted)
                for held in links:
                    if isinstance(held.target, Node):
                        inner = known.get(id(held.target))
                        if inner is None:
                            # an open node is an ancestor: a circle, which `cycles` judges
                            if id(held.target) not in open_:
                                waiting.append(held.target)
                            inner = 0
                        deepest = max(deepest, step + inner)
                    elif isinstance(held.target, Standard):
                        deepest = max(deepest, step + STANDARD_DEPTH.get(held.target.term, 0))
            if fresh and waiting:
                stack.extend(waiting)
                continue
            known[id(node)] = deepest
            stack.pop()
        return known[id(start)]


def depths(nodes: Sequence[Node]) -> list[Defect]:
    """Schemas nest no deeper than the version allows."""
    measure = Depths(_SCHEMA_STEPS, _SCHEMA_STEPS | {"fields", "mapValue", "mapKey"})
    found = []
    for node in nodes:
        if node.class_ in ("Array", "Map", "Object"):
            limit = LIMITS[node.version].schema_depth
            depth = measure.of(node)
            if depth > limit:
                message = f"the {node.class_} nests {depth} schemas deep, {limit} are allowed"
                found.append(defect(node, "excessiveDepth", "", message, "flatten it"))
    return found


def excluded_schemas(nodes: Sequence[Node]) -> list[Defect]:
    """In DTDL v2 the schema of a Property has no Array and no geospatial schema, at no level."""
    found = []
    for node in nodes:
        if node.version != 2 or node.class_ != "Property":
            continue
        seen: set[int] = set()
        stack = [node]
        while stack:
            holder = stack.pop()
            for name in ("schema", "fields", "mapValue"):
                for held in holder.links.get(name, ()):
                    target = held.target
                    if target is not None and target.class_ in ("Array", GEOSPATIAL):
                        message = f"the schema of the Property {node.name} has an {target.class_} schema"
                        remedy = "use a Telemetry, or DTDL v3 or later"
                        found.append(defect(node, "excludedType", "schema", message, remedy))
                        stack.clear()
                        break
                    if isinstance(target, Node) and id(target) not in seen:
                        seen.add(id(target))
                        stack.append(target)
    return found


def unique_values(nodes: Sequence[Node]) -> list[Defect]:
    """Names (and enum values) that differ among the values of one property; contents are judged with the inherited."""
    found: list[Defect] = []
    for node in nodes:
        if node.class_ == "Interface":
            continue
        for name, prop in properties(node.class_, node.version).items():
            for key in prop.unique:
                found.extend(repeated(node, name, key, list(children(node, name))))
        if node.class_ == "Enum":
            found.extend(_enum_values(node))
    return found


def repeated(node: Node, property_: str, key: str, values: Sequence[Node]) -> Iterator[Defect]:
    """A defect for each value whose `key` an earlier one has."""
    seen: dict[object, Node] = {}
    for value in values:
        if key not in value.literals:
            continue
        content = value.literals[key]
        other = seen.setdefault((type(content), content), value)
        if other is not value:
            at, step = (value, key) if value.partition is node.partition else (node, property_)
            message = f"the {key} {content!r} occurs twice among the {property_} of {node.name}"
            yield defect(at, "nonUniquePropertyValue", step, message, f"choose another {key}")


def _enum_values(node: Node) -> Iterator[Defect]:
    targets = [held.target for held in node.links.get("valueSchema", ())]
    schema = targets[0].term if targets and isinstance(targets[0], Standard) else ""
    for value in children(node, "enumValues"):
        content = value.literals.get("enumValue")
        if content is not None and schema and isinstance(content, str) != (schema == "string"):
            message = f"the enumValue {content!r} is no {schema}"
            yield defect(value, "nonConformantDatatype", "enumValue", message, f"write a value of {schema}")


class Hierarchy:
    """The Interfaces with all they extend. Only made once the depth of `extends` is known to be bounded."""

    def __init__(self, interfaces: Sequence[Node]) -> None:
        self.defects: list[Defect] = []
        self._ancestors: dict[int, list[Node]] = {}
        self._contents: dict[int, list[Node]] = {}
        measure = Depths(frozenset({"extends"}), frozenset({"extends"}))
        self.sound: list[Node] = []
        for node in interfaces:
            limit = LIMITS[node.version].extends_depth
            depth = measure.of(node)
            if depth > limit:
                message = f"{node.name} extends {depth} levels deep, {limit} are allowed"
                self.defects.append(defect(node, "excessiveDepth", "extends", message, "flatten the hierarchy"))
            elif depth <= _BOUND:
                self.sound.append(node)

    def ancestors(self, node: Node) -> list[Node]:
        """All that an Interface extends, nearest first, itself excluded."""
        found = self._ancestors.get(id(node))
        if found is None:
            found = []
            seen = {id(node)}
            level = parents_of(node)
            while level:
                following = []
                for parent in level:
                    if id(parent) not in seen:
                        seen.add(id(parent))
                        found.append(parent)
                        following.extend(parents_of(parent))
                level = following
            self._ancestors[id(node)] = found
        return found

    def contents(self, node: Node) -> list[Node]:
        """Own and inherited contents, own first, each once."""
        known = self._contents.get(id(node))
        if known is None:
            found: dict[int, Node] = {}
            for holder in (node, *self.ancestors(node)):
                for content in children(holder, "contents"):
                    found.setdefault(id(content), content)
            known = self._contents[id(node)] = list(found.values())
        return known


_BOUND = 12


def interfaces(hierarchy: Hierarchy, nodes: Sequence[Node], *, alone: bool) -> Iterator[Defect]:
    """The rules of an Interface with all that it inherits. `nodes` are all elements unless not `alone`."""
    counts: dict[int, int] = {}
    # no Interface can have more values below its contents than there are values in all
    values = sum(len(links) for node in nodes for links in node.links.values())
    for node in hierarchy.sound:
        limits = LIMITS[node.version]
        ancestors = hierarchy.ancestors(node)
        extended = sum(len(holder.links.get("extends", ())) for holder in (node, *ancestors))
        if limits.extends_count and extended > limits.extends_count:
            message = f"{node.name} extends {extended} Interfaces, {limits.extends_count} are allowed"
            yield defect(node, "excessiveCount", "extends", message, "flatten the hierarchy")
        contents = hierarchy.contents(node)
        yield from repeated(node, "contents", "name", contents)
        count = len(contents)
        if node.version != 2 and (values > limits.content_count or not alone):
            count = sum(_size(content, counts) for content in contents)
        if count > limits.content_count:
            message = f"{node.name} has {count} contents, {limits.content_count} are allowed"
            yield defect(node, "excessiveCount", "contents", message, "split it into components")
        if any(content.class_ == "Component" for content in contents):
            yield from _nested_components(hierarchy, contents)
        yield from _size_of_text(node)


def _size(start: Node, counts: dict[int, int]) -> int:
    """The values from a content downwards, itself included; each element counts once, inner Interfaces do not."""
    known = counts.get(id(start))
    if known is None:
        known = 1
        seen, stack = {id(start)}, [start]
        while stack:
            node = stack.pop()
            for links in node.links.values():
                known += len(links)
                for held in links:
                    target = held.target
                    if isinstance(target, Node) and id(target) not in seen and target.class_ != "Interface":
                        seen.add(id(target))
                        stack.append(target)
        counts[id(start)] = known
    return known


def _nested_components(hierarchy: Hierarchy, contents: Sequence[Node]) -> Iterator[Defect]:
    for component in contents:
        if component.class_ != "Component":
            continue
        for model in children(component, "schema"):
            if model.class_ == "Interface" and any(inner.class_ == "Component" for inner in hierarchy.contents(model)):
                message = f"the component {component.name} has components itself"
                yield defect(component, "excludedType", "schema", message, "use a Relationship to reach the inner ones")


def _size_of_text(node: Node) -> Iterator[Defect]:
    if node.source.text is not None and len(node.source.text) < INTERFACE_BYTES // 4:
        return
    # inner Interfaces do not count, but only one that holds them can be that large without being invalid
    size = len(json.dumps(node.raw, ensure_ascii=False, separators=(",", ":")).encode())
    if size > INTERFACE_BYTES and not any(_holds_interface(node)):
        message = f"the Interface has {size} bytes, {INTERFACE_BYTES} are allowed"
        yield defect(node, "interfaceTooLarge", "", message, "split it")


def _holds_interface(node: Node) -> Iterator[bool]:
    for name in ("extends", "contents"):
        for held in node.links.get(name, ()):
            if isinstance(held.target, Node) and not held.ref:
                yield name == "extends" or any(not inner.ref for inner in held.target.links.get("schema", ()))
