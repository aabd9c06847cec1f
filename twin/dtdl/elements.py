"""From JSON objects to elements: contexts, types, ids and members of each. A work list, no recursion.

The rules are those of section "DTDL element" of the specification; what the elements may be *together* is judged later,
in `rules`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twinloom.twin.dtdl import contexts, literals
from twinloom.twin.dtdl.contexts import Context
from twinloom.twin.dtdl.defects import Defect
from twinloom.twin.dtdl.documents import Loaded, Source, escaped
from twinloom.twin.dtdl.metamodel import ID_LONGEST, INTERFACE_ID_LONGEST, UNIT, Prop, properties
from twinloom.twin.dtdl.nodes import DTMI, USER_ID, Link, Node, kind_of_name
from twinloom.twin.dtdl.types import Types
from twinloom.twin.instance import Json


@dataclass(slots=True)
class _Work:
    raw: Mapping[str, Json]
    pointer: str
    source: Source
    context: Context | None
    parent: Node | None
    prop: Prop | None
    link: Link | None


class Reader:
    """Reads documents into `tops` and all `nodes`, collecting `defects`."""

    def __init__(self) -> None:
        self.tops: list[Node] = []
        self.nodes: list[Node] = []
        self.defects: list[Defect] = []
        self._queue: deque[_Work] = deque()
        self._contexts: dict[tuple[int, str], tuple[Context | None, list[contexts.Problem]]] = {}

    def read(self, documents: Iterable[Loaded]) -> None:
        for document in documents:
            value, source = document.value, document.source
            for pointer, item in literals.values_of(value):
                if isinstance(item, dict):
                    self._queue.append(_Work(item, pointer, source, None, None, None, None))
                else:
                    message = "a document is an Interface object, or an array of them"
                    self._add(source, "notJsonObject", pointer, message, "write a JSON object")
            while self._queue:
                self._element(self._queue.popleft())

    def _add(self, source: Source, code: str, pointer: str, message: str, remedy: str) -> None:
        self.defects.append(Defect(code, pointer, message, remedy, source.file, source.line(pointer)))

    def _element(self, work: _Work) -> None:
        raw, source = work.raw, work.source
        context = self._context(work)
        if context is None:
            return
        typed = Types(
            raw, work.prop, context, lambda code, step, *rest: self._add(source, code, work.pointer + step, *rest)
        )
        class_ = typed.class_
        if class_ is None:
            return
        node = Node(
            class_, context.version, context, source, work.pointer, raw, parent=work.parent, top=work.link is None
        )
        node.adjuncts, node.types = tuple(typed.adjuncts), tuple(typed.names)
        if work.link is not None:
            work.link.target = node
        if node.top:
            self.tops.append(node)
        self.nodes.append(node)
        self._version(node, work)
        self._id(node, work.prop)
        self._members(node, informal=typed.informal)

    def _context(self, work: _Work) -> Context | None:
        if "@context" not in work.raw:
            if work.context is None:
                remedy = 'add "@context": "dtmi:dtdl:context;3"'
                self._add(work.source, "missingContext", work.pointer, "the element has no @context", remedy)
            return work.context
        value = work.raw["@context"]
        key = (id(work.context), value) if isinstance(value, str) else None
        found = self._contexts.get(key) if key else None
        if found is None:
            found = contexts.resolve(value, work.context)
            if key:
                self._contexts[key] = found
        for problem in found[1]:
            self._add(work.source, problem.code, f"{work.pointer}/@context", problem.message, problem.remedy)
        return found[0] or work.context

    def _version(self, node: Node, work: _Work) -> None:
        if node.parent is None or node.version == node.parent.version:
            return
        if node.version > node.parent.version or not (work.prop and work.prop.older):
            inner, outer = f"DTDL v{node.version} {node.class_}", f"DTDL v{node.parent.version} {node.parent.class_}"
            message = f"a {inner} may not stand in a {outer}"
            self._add(node.source, "disallowedVersionDefinition", node.pointer, message, "write both in one version")

    def _id(self, node: Node, prop: Prop | None) -> None:
        at = f"{node.pointer}/@id"
        if "@id" not in node.raw:
            if node.top:
                message = "a top-level element must have an @id"
                self._add(node.source, "missingTopLevelId", node.pointer, message, "add a DTMI as its @id")
            elif node.class_ == "Interface" or (prop and prop.identified):
                message = f"the {node.class_} must have an @id"
                self._add(node.source, "missingRequiredId", node.pointer, message, "add a DTMI as its @id")
            return
        value = node.raw["@id"]
        if not isinstance(value, str):
            self._add(node.source, "idNotString", at, "the @id is no string", "write a DTMI")
        elif not USER_ID[node.version].fullmatch(value):
            form = "dtmi:com:example:Pump;1"
            self._add(node.source, "invalidId", at, f"{value[:80]!r} is no DTMI", f"write one such as {form}")
        elif len(value) > ID_LONGEST:
            self._add(node.source, "idTooLong", at, f"the @id is longer than {ID_LONGEST} characters", "shorten it")
        else:
            node.id = value
            if node.class_ == "Interface" and len(value) > INTERFACE_ID_LONGEST:
                message = f"the @id of an Interface is longer than {INTERFACE_ID_LONGEST} characters"
                self._add(node.source, "idTooLongForType", at, message, "shorten it")
            if value.startswith(node.context.reserved_prefixes):
                message = f"{value[:80]} starts with a reserved prefix"
                self._add(node.source, "reservedId", at, message, "choose an id in a space of your own")

    def _members(self, node: Node, *, informal: bool) -> None:
        own = properties(node.class_, node.version)
        added = {name: prop for adjunct in node.adjuncts for name, prop in adjunct.properties.items()}
        by_dtmi = {dtmi: name for adjunct in node.adjuncts for dtmi, name in adjunct.property_dtmis.items()}
        vocabulary = node.context.vocabulary
        for member, value in node.raw.items():
            if member[:1] == "@":
                if member in ("@context", "@id", "@type"):
                    continue
                if node.version != 2 or member == "@graph":
                    code = "graphDisallowed" if member == "@graph" else "keywordDisallowed"
                    at = f"{node.pointer}/{escaped(member)}"
                    self._add(node.source, code, at, f"{member} may not stand here", "remove it")
                continue
            if member in own and vocabulary.properties.get(vocabulary.terms.get(member, "")) == member:
                name = member
            else:
                dtmi = vocabulary.terms.get(member, member)
                name = vocabulary.properties.get(dtmi) or by_dtmi.get(dtmi, "")
            prop = own.get(name) or added.get(name)
            if prop is None:
                if not informal:
                    self._unknown_member(node, member, own, added)
                elif node.version != 2:
                    self._malformed_name(node, member)
                continue
            at = f"{node.pointer}/{escaped(member)}"
            if name in node.steps:
                message = f"{name} is written twice, as {node.steps[name]} and as {member}"
                self._add(node.source, "duplicatePropertyName", at, message, f"keep {name}")
                continue
            node.steps[name] = member
            self._member(node, name, prop, value, at)
        for name, prop in [*own.items(), *added.items()]:
            if prop.required and name not in node.steps:
                code = "missingRequiredProperty"
                message = f"the {node.class_} {node.name} has no {name}"
                self._add(node.source, code, node.pointer, message, f"add {name}")

    def _member(self, node: Node, name: str, prop: Prop, value: Json, at: str) -> None:
        def report(code: str, step: str, message: str, remedy: str) -> None:
            self._add(node.source, code, at + step, f"{name}: {message}", remedy)

        match prop.kind:
            case "text":
                node.literals[name] = literals.text(value, prop, node.version, report)
            case "string" | "integer" | "boolean" | "enum value":
                found = literals.literal(value, prop, node.version, report)
                if found is not None:
                    node.literals[name] = found
            case "dtmi":
                self._dtmi(node, name, value, report)
            case "json":
                node.literals[name] = value
            case "term":
                self._term(node, name, value, report)
            case "element":
                self._links(node, name, prop, value, at)

    def _dtmi(self, node: Node, name: str, value: Json, report: literals.Report) -> None:
        values = [item for _, item in literals.values_of(value)]
        if len(values) > 1:
            report("identifierMultipleValues", "", "there are several values", "keep one")
        for item in values[:1]:
            if not isinstance(item, str):
                report("identifierNotString", "", "the value is no string", "write a DTMI")
            elif item in node.context.vocabulary.terms:
                node.literals[name] = node.context.vocabulary.terms[item]
            elif not USER_ID[node.version].fullmatch(item) or len(item) > ID_LONGEST:
                message = f"{item[:80]!r} is no DTMI"
                report("identifierNotDtmi", "", message, "write one such as dtmi:com:example:Room;1")
            else:
                node.literals[name] = item

    def _term(self, node: Node, name: str, value: Json, report: literals.Report) -> None:
        values = [item for _, item in literals.values_of(value)]
        if len(values) != 1 or not isinstance(values[0], str):
            report("identifierNotString", "", "the value is not one string", "write the name of a property")
            return
        dtmi = node.context.vocabulary.terms.get(values[0], values[0])
        if ":" in dtmi:
            node.literals[name] = dtmi
        else:
            message = f"{dtmi[:80]!r} is neither a term of the context nor a DTMI"
            report("identifierNotUri", "", message, "write the name of a property")

    def _links(self, node: Node, name: str, prop: Prop, value: Json, at: str) -> None:
        values = literals.values_of(value)
        links = node.links.setdefault(name, [])
        for step, item in values:
            here = at + step
            link = Link(here)
            if isinstance(item, str):
                self._reference(node, name, prop, item, link)
                links.append(link)
            elif isinstance(item, dict):
                if prop.range <= {UNIT, "CommandType"} or prop.named:
                    message = f"{name} takes the name of an element and no definition"
                    self._add(node.source, "refObjectNotAllowed", here, message, "write a term")
                    continue
                links.append(link)
                self._queue.append(_Work(item, here, node.source, node.context, node, prop, link))
            else:
                message = f"{name} takes elements, and this is none"
                self._add(node.source, "refNotStringOrObject", here, message, "write an element or the id of one")
        if not prop.many and len(values) > 1:
            message = f"{name} takes one value, and there are {len(values)}"
            self._add(node.source, "objectMultipleValues", at, message, "keep one")
        if prop.required and not values:
            self._add(node.source, "objectCountBelowMin", at, f"{name} is empty", "write a value")
        if prop.most and len(values) > prop.most:
            message = f"{name} has {len(values)} values, {prop.most} are allowed"
            self._add(node.source, "objectCountAboveMax", at, message, "split the element")

    def _reference(self, node: Node, name: str, prop: Prop, text: str, link: Link) -> None:
        vocabulary = node.context.vocabulary
        dtmi = vocabulary.terms.get(text, text)
        if prop.range <= {UNIT} and dtmi not in vocabulary.standards:
            dtmi = text
        if not DTMI.fullmatch(dtmi):
            message = f"{name}: {text[:80]!r} is neither a term of the context nor a DTMI"
            self._add(node.source, "badDtmiOrTerm", link.pointer, message, "correct its spelling, or add its context")
            return
        link.ref = dtmi

    def _unknown_member(self, node: Node, member: str, own: Mapping[str, Prop], added: Mapping[str, Prop]) -> None:
        code = kind_of_name(member, node.context, "property")
        message = f"{member[:80]!r} is no property of the {node.class_} {node.name}"
        known = ", ".join(sorted([*own, *added]))
        at = f"{node.pointer}/{escaped(member)}"
        self._add(node.source, code, at, message, f"remove it or correct its spelling; known are {known}")

    def _malformed_name(self, node: Node, member: str) -> None:
        code = kind_of_name(member, node.context, "property")
        if code in ("propertyInvalidDtmi", "propertyNotDtmiNorTerm"):
            at = f"{node.pointer}/{escaped(member)}"
            self._add(node.source, code, at, f"{member[:80]!r} is no name of a property", "remove it")
