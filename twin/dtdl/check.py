"""Enforcement: what a model lets a twin, a value, a relationship and a command be.

A `Checker` is compiled once a model: each schema becomes a predicate, so that a write that fits costs a few dict
lookups and calls. Only a write that does not fit is walked again to explain every problem with its JSON pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from twinloom.twin.dtdl.contents import (
    CommandType,
    ComponentType,
    Content,
    Interface,
    Payload,
    Property,
    RelationshipType,
    Telemetry,
)
from twinloom.twin.dtdl.defects import Defect
from twinloom.twin.dtdl.schemas import Array, Enum, Map, Object, Primitive, Schema
from twinloom.twin.dtdl.values import EXAMPLES, PRIMITIVES, Fits
from twinloom.twin.errors import ModelViolation
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json

if TYPE_CHECKING:
    from twinloom.twin.dtdl.models import Models

_SHOWN = 60
"""How many characters of a wrong value a message quotes."""


class Violation(ModelViolation):
    """A write that its model forbids. The message is the first problem's, `errors` holds all of them."""

    def __init__(self, errors: Sequence[Defect]) -> None:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(errors[0].message + more, path=errors[0].path, remedy=errors[0].remedy)
        self.errors = tuple(errors)


def pointer(base: str, step: str | int) -> str:
    """A JSON pointer one step further (RFC 6901).

    >>> pointer("/a", "b/c")
    '/a/b~1c'
    """
    return f"{base}/{str(step).replace('~', '~0').replace('/', '~1')}"


class Checker:
    """The compiled checks of one Interface. Stateless after `__init__`; use from any thread."""

    __slots__ = ("_components", "_fits", "_interface", "_models", "_relationships")

    def __init__(self, models: Models, interface: Interface) -> None:
        self._models = models
        self._interface = interface
        self._fits: dict[str, Fits] = {}
        self._components: dict[str, ModelId] = {}
        for name, content in interface.contents.items():
            if isinstance(content, Property | Telemetry):
                self._fits[name] = compiled(content.schema)
            elif isinstance(content, ComponentType):
                self._components[name] = content.model
                self._fits[name] = models.checker(content.model)._fits_component
        self._relationships: dict[str, dict[str, Fits]] = {
            name: {key: compiled(held.schema) for key, held in content.properties.items()}
            for name, content in interface.contents.items()
            if isinstance(content, RelationshipType)
        }

    def check_twin(self, properties: Mapping[str, Json]) -> None:
        """Returns when a twin may have these properties; raises Violation with every problem otherwise."""
        try:
            if not self._fits_component(properties):
                raise Violation(tuple(self._twin_problems(properties, "")))
        except RecursionError as error:
            raise _too_deep("") from error

    def _fits_component(self, value: Json) -> bool:
        if type(value) is not dict and not isinstance(value, Mapping):
            return False
        fits = self._fits
        for name, inner in value.items():
            test = fits.get(name)
            if test is None or not test(inner):
                return False
        return True

    def _twin_problems(self, properties: Mapping[str, Json], at: str) -> Iterator[Defect]:
        for name, value in properties.items():
            here = pointer(at, name)
            content = self._interface.contents.get(name)
            if isinstance(content, Property | Telemetry):
                if not self._fits[name](value):
                    yield from self._declared(content, problems(content.schema, value, here))
            elif isinstance(content, ComponentType):
                if isinstance(value, Mapping):
                    yield from self._models.checker(content.model)._twin_problems(value, here)
                else:
                    yield self._problem(
                        "componentNotObject", content, here, f"{name} is a component", "write an object"
                    )
            else:
                yield self._unknown(name, here)

    def check_value(self, path: str, value: Json, *, by_client: bool, at: str = "") -> None:
        """One value at a dotted path; `by_client`: Telemetry and read-only Properties are refused.

        `at` is the pointer of the component that holds the path.
        """
        head, dot, rest = path.partition(".")
        if dot and head in self._components:
            inner = self._models.checker(self._components[head])
            inner.check_value(rest, value, by_client=by_client, at=pointer(at, head))
            return
        fits = self._fits.get(path)
        here = pointer(at, path)
        if fits is None:
            raise Violation((self._unknown(path, here),))
        content = self._interface.contents[path]
        if by_client:
            if isinstance(content, Telemetry):
                message = f"{path} is Telemetry: only the machine tells it"
                raise Violation((self._problem("notWritable", content, here, message, "write a writable Property"),))
            if isinstance(content, Property) and not content.writable:
                message = f"{path} is not writable in {content.declared_in}"
                remedy = "leave it to its source, or make the Property writable in the model"
                raise Violation((self._problem("notWritable", content, here, message, remedy),))
        try:
            if not fits(value):
                raise Violation(tuple(self._twin_problems({path: value}, at)))
        except RecursionError as error:
            raise _too_deep(here) from error

    def check_relationship(self, name: str, target_model: str, properties: Mapping[str, Json], existing: int) -> None:
        """A relationship `name` to a twin of `target_model` beside `existing` others of that name."""
        content = self._interface.contents.get(name)
        if not isinstance(content, RelationshipType):
            known = ", ".join(sorted(self._relationships)) or "none"
            message = f"{self._interface.id} has no relationship {name!r}"
            raise Violation((Defect("unknownRelationship", "/name", message, f"its relationships: {known}"),))
        try:
            found = list(self._relationship_problems(content, target_model, properties, existing))
        except RecursionError as error:
            raise _too_deep("/properties") from error
        if found:
            raise Violation(found)

    def _relationship_problems(
        self, content: RelationshipType, target_model: str, properties: Mapping[str, Json], existing: int
    ) -> Iterator[Defect]:
        name = content.name
        if content.target is not None and not self._models.is_a(target_model, content.target):
            message = f"{name} leads to {content.target}, and {target_model} is none"
            remedy = "choose a target of that model or of one that extends it"
            yield self._problem("wrongTarget", content, "/target", message, remedy)
        if content.max_multiplicity is not None and existing >= content.max_multiplicity:
            message = f"{name} may occur {content.max_multiplicity} times at one twin, and there are {existing}"
            remedy = "delete one of them first"
            yield self._problem("maxMultiplicity", content, "/name", message, remedy)
        fits = self._relationships[name]
        for key, value in properties.items():
            here = pointer("/properties", key)
            test = fits.get(key)
            if test is None:
                known = ", ".join(sorted(fits)) or "none"
                message = f"the relationship {name} has no property {key!r}"
                yield self._problem("unknownName", content, here, message, f"its properties: {known}")
            elif not test(value):
                held = content.properties[key]
                yield from self._declared(held, problems(held.schema, value, here))

    def check_multiplicities(self, counts: Mapping[str, int]) -> None:
        """A twin as a whole: `counts` is how many relationships it has of each name (absent: none)."""
        found = []
        for name in self._relationships:
            content = self._interface.contents[name]
            if isinstance(content, RelationshipType):
                count = counts.get(name, 0)
                lowest, highest = content.min_multiplicity, content.max_multiplicity
                if count < lowest:
                    message = f"{name} must occur at least {lowest} times, and there are {count}"
                    found.append(self._problem("minMultiplicity", content, pointer("", name), message, "add some"))
                elif highest is not None and count > highest:
                    message = f"{name} may occur {highest} times, and there are {count}"
                    found.append(self._problem("maxMultiplicity", content, pointer("", name), message, "delete some"))
        if found:
            raise Violation(found)

    def check_command(self, name: str, payload: Json) -> CommandType:
        """The Command, when `payload` is its request (None stands for no payload)."""
        command = self._command(name)
        self._check_payload(command, command.request, payload, "request", "/payload")
        return command

    def check_response(self, name: str, response: Json) -> None:
        """Returns when `response` is what the Command answers (None stands for no response)."""
        command = self._command(name)
        self._check_payload(command, command.response, response, "response", "/response")

    def _command(self, name: str) -> CommandType:
        head, dot, rest = name.partition(".")
        if dot and head in self._components:
            return self._models.checker(self._components[head])._command(rest)
        content = self._interface.contents.get(name)
        if isinstance(content, CommandType):
            return content
        names = [key for key, held in self._interface.contents.items() if isinstance(held, CommandType)]
        message = f"{self._interface.id} has no command {name!r}"
        raise Violation((Defect("unknownCommand", "/name", message, f"its commands: {', '.join(names) or 'none'}"),))

    def _check_payload(self, command: CommandType, payload: Payload | None, value: Json, what: str, at: str) -> None:
        if value is None and (payload is None or payload.nullable):
            return
        if payload is None:
            message = f"the command {command.name} has no {what}"
            raise Violation((self._problem("unexpectedPayload", command, at, message, "leave it out"),))
        try:
            if not compiled(payload.schema)(value):
                raise Violation(tuple(self._declared(command, problems(payload.schema, value, at))))
        except RecursionError as error:
            raise _too_deep(at) from error

    def _unknown(self, name: str, here: str) -> Defect:
        known = ", ".join(sorted(self._fits)) or "none"
        if isinstance(self._interface.contents.get(name), RelationshipType | CommandType):
            message = f"{name} is no property of {self._interface.id}"
        else:
            message = f"{self._interface.id} has no property {name!r}"
        return Defect("unknownName", here, message, f"its properties: {known}")

    def _problem(self, code: str, content: Content, here: str, message: str, remedy: str) -> Defect:
        return Defect(code, here, message + _declaration(content), remedy, content.file, content.line)

    def _declared(self, content: Content, found: Iterator[Defect]) -> Iterator[Defect]:
        for defect in found:
            message = defect.message + _declaration(content)
            yield Defect(defect.code, defect.path, message, defect.remedy, content.file, content.line)


def _too_deep(at: str) -> Violation:
    """Only a schema that contains itself (DTDL v4) lets a value be as deep as that."""
    return Violation((Defect("tooDeep", at, "the value nests too many levels deep", "flatten it"),))


def _declaration(content: Content) -> str:
    place = f", {content.file}:{content.line}" if content.line else ""
    return f" (declared in {content.declared_in} at {content.pointer or '/'}{place})"


def compiled(schema: Schema) -> Fits:
    """The schema as a predicate over JSON values. From DTDL v4 on a schema may contain itself."""
    return _compiled(schema, {})


def _compiled(schema: Schema, open_: dict[int, list[Fits]]) -> Fits:
    if id(schema) in open_:
        later = open_[id(schema)]
        return later[0] if later else lambda value: later[0](value)
    if isinstance(schema, Primitive):
        return PRIMITIVES[schema.name]
    if isinstance(schema, Enum):
        base = PRIMITIVES[schema.value_schema]
        allowed = frozenset(schema.values.values())
        return lambda value: base(value) and value in allowed
    own = open_[id(schema)] = []
    fits: Fits
    match schema:
        case Array(element):
            fits = _fits_array(_compiled(element, open_))
        case Map(_, held):
            fits = _fits_map(_compiled(held, open_))
        case Object(fields):
            required = tuple(name for name, field in fields.items() if field.required)
            fits = _fits_object({name: _compiled(field.schema, open_) for name, field in fields.items()}, required)
    own.append(fits)
    return fits


def _fits_array(element: Fits) -> Fits:
    return lambda value: type(value) is list and all(map(element, value))


def _fits_map(held: Fits) -> Fits:
    text = PRIMITIVES["string"]
    return lambda value: type(value) is dict and all(map(text, value)) and all(map(held, value.values()))


def _fits_object(fields: Mapping[str, Fits], required: Sequence[str]) -> Fits:
    get: Callable[[str], Fits | None] = fields.get

    def fits(value: Json) -> bool:
        if type(value) is not dict:
            return False
        for name, inner in value.items():
            test = get(name)
            if test is None or not test(inner):
                return False
        return not required or all(name in value for name in required)

    return fits


def problems(schema: Schema, value: Json, at: str) -> Iterator[Defect]:
    """Why `value` does not fit, each problem with its pointer; nothing when it fits."""
    match schema:
        case Primitive(name):
            if not PRIMITIVES[name](value):
                yield Defect("wrongType", at, f"{_shown(value)} is no {name}", f"write {EXAMPLES[name]}")
        case Enum(_, values):
            if not compiled(schema)(value):
                allowed = ", ".join(_shown(item) for item in values.values()) or "none"
                yield Defect(
                    "notInEnum", at, f"{_shown(value)} is none of the enum's values", f"write one of {allowed}"
                )
        case Array(element):
            if type(value) is not list:
                yield Defect("wrongType", at, f"{_shown(value)} is no array", "write a JSON array")
                return
            fits = compiled(element)
            for place, inner in enumerate(value):
                if not fits(inner):
                    yield from problems(element, inner, pointer(at, place))
        case Map(key, held):
            if type(value) is not dict:
                yield Defect("wrongType", at, f"{_shown(value)} is no map", "write a JSON object")
                return
            fits = compiled(held)
            for name, inner in value.items():
                yield from problems(key, name, pointer(at, name))
                if not fits(inner):
                    yield from problems(held, inner, pointer(at, name))
        case Object(fields):
            if type(value) is not dict:
                yield Defect("wrongType", at, f"{_shown(value)} is no object", "write a JSON object")
                return
            for name, inner in value.items():
                if name in fields:
                    yield from problems(fields[name].schema, inner, pointer(at, name))
                else:
                    known = ", ".join(fields)
                    yield Defect(
                        "unknownName", pointer(at, name), f"the object has no field {name!r}", f"its fields: {known}"
                    )
            for name, required in fields.items():
                if required.required and name not in value:
                    yield Defect("requiredMissing", pointer(at, name), f"{name} is required", "give it a value")


def _shown(value: Json) -> str:
    text = repr(value) if not isinstance(value, list | dict) else f"{type(value).__name__} of {len(value)}"
    text = text.encode("ascii", "backslashreplace").decode() if not text.isprintable() else text
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
