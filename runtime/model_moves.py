"""From one model to another: what breaks, and what a twin's values become and were. Pure.

Values are compared by path with components flattened (`controller.feed_override`), as the models' fields are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from twinloom.graph.layout import layout_for, nest
from twinloom.twin import units
from twinloom.twin.dtdl import CommandType, Field, Models, RelationshipType
from twinloom.twin.errors import BadRequest, ModelViolation
from twinloom.twin.ids import ModelId
from twinloom.twin.instance import Json

Flat = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Move:
    """Twins that are exactly of `source` become twins of `target`.

    `renames` carries the value of an old path to a new one. `defaults` gives a path of the new model its value where a
    twin has none, or has one that does not fit.
    """

    source: ModelId
    target: ModelId
    renames: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Breaking:
    """What a client, a source or a twin of the old model meets in the new one. `path` is a path or a content's name."""

    model: ModelId
    path: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Undo:
    """What a move did to one twin, by touched path; None where there was, or is, no value."""

    before: Mapping[str, Json]
    after: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class _Carry:
    """One value's way: new = old * factor + offset where `converts`."""

    old: str
    new: str
    converts: bool = False
    factor: float = 1.0
    offset: float = 0.0

    def there(self, value: Json) -> Json:
        return value * self.factor + self.offset if self.converts and _is_number(value) else value

    def back(self, value: Json) -> Json:
        return (value - self.offset) / self.factor if self.converts and _is_number(value) else value


class Transform:
    """A move compiled against the models.

    Raises NotFound for an unknown model, BadRequest for a move that means nothing, ModelViolation for a wrong default.
    """

    def __init__(self, models: Models, move: Move) -> None:
        self._models = models
        self.move = move
        self._old_layout = layout_for(models, models.interface(move.source).id)
        self._new_layout = layout_for(models, models.interface(move.target).id)
        self._old, self._new = models.fields(move.source), models.fields(move.target)
        self._check_move()
        self._carries, self.breaking = self._carried()
        self.breaking += tuple(_contents(models, move))
        self._converted = tuple(carry for carry in self._carries if carry.converts or carry.old != carry.new)

    def _check_move(self) -> None:
        move = self.move
        if move.source == move.target:
            raise BadRequest("a model cannot be migrated to itself", remedy="name two models")
        for old, new in move.renames.items():
            if old not in self._old:
                raise BadRequest(f"{move.source} has no path {old!r} to rename", remedy=_known(self._old))
            if new not in self._new:
                raise BadRequest(f"{move.target} has no path {new!r} to rename to", remedy=_known(self._new))
            if new in self._old and new not in move.renames:
                raise BadRequest(f"{new!r} has a value of its own already", remedy="rename that path as well")
        if len(set(move.renames.values())) < len(move.renames):
            raise BadRequest("two paths are renamed to one", remedy="give each a path of its own")
        for path, value in move.defaults.items():
            if path not in self._new:
                raise BadRequest(f"{move.target} has no path {path!r} for a default", remedy=_known(self._new))
            self._models.check_value(move.target, path, value, by_client=False)

    def _carried(self) -> tuple[tuple[_Carry, ...], tuple[Breaking, ...]]:
        move = self.move
        carries: list[_Carry] = []
        breaking: list[Breaking] = []

        def broke(path: str, kind: str, reason: str) -> None:
            breaking.append(Breaking(move.source, path, kind, reason))

        for path, old in self._old.items():
            name = move.renames.get(path, path)
            new = self._new.get(name)
            if new is None:
                broke(path, "removed", f"{move.target} has no {path}; its values are put aside")
                continue
            if name != path:
                broke(path, "renamed", f"{path} is {name} in {move.target}")
            if not _same(old.schema, new.schema):
                broke(path, "schema", f"the schema of {name} is another one; each value must fit it")
            if old.kind != new.kind:
                broke(path, "kind", f"{name} is {new.kind} and was {old.kind}")
            elif old.writable and not new.writable:
                broke(path, "notWritable", f"{name} is not writable any more")
            carry = _Carry(path, name)
            if old.unit != new.unit:
                carry, reason = _unit_carry(old, new)
                broke(path, "unit", reason)
            carries.append(carry)
        return tuple(carries), tuple(breaking)

    def apply(self, properties: Mapping[str, Json]) -> tuple[dict[str, Json], Undo]:
        """The nested properties under the new model, and what the move changed. Does not check them."""
        old = self._old_layout.flat(properties)
        new: Flat = {}
        for carry in self._carries:
            if carry.old in old:
                new[carry.new] = carry.there(old[carry.old])
        for path, default in self.move.defaults.items():
            if path not in new or not self._fits(path, new[path]):
                new[path] = default
        return _nested(new), _difference(old, new)

    def revert(self, properties: Mapping[str, Json], undo: Undo) -> tuple[dict[str, Json], tuple[str, ...]]:
        """The nested properties under the old model and the paths that were touched.

        What was changed since the move keeps its new value, at the path (and in the unit) that it has in the old model;
        what the old model does not have goes.
        """
        now = self._new_layout.flat(properties)
        out = {path: value for path, value in now.items() if path in self._old}
        for path, before in undo.before.items():
            if now.get(path) == undo.after.get(path):
                _put(out, path, before)
        for carry in self._converted:
            if now.get(carry.new) != undo.after.get(carry.new):
                _put(out, carry.old, carry.back(now.get(carry.new)))
        touched = dict.fromkeys([*undo.before, *_difference(now, out).before])
        return _nested(out), tuple(touched)

    def _fits(self, path: str, value: Json) -> bool:
        try:
            self._models.check_value(self.move.target, path, value, by_client=False)
        except ModelViolation:
            return False
        return True


def _unit_carry(old: Field, new: Field) -> tuple[_Carry, str]:
    shown = f"from {old.unit or 'no unit'} to {new.unit or 'no unit'}"
    plain = _Carry(old.path, new.path)
    if not old.unit or not new.unit or not (old.numeric and new.numeric):
        return plain, f"the unit of {new.path} goes {shown}; its numbers stay as they are"
    try:
        factor, offset = units.converter(old.unit, new.unit)
    except BadRequest:
        return plain, f"the unit of {new.path} goes {shown}, another quantity; its numbers stay as they are"
    if (factor, offset) == (1.0, 0.0):
        return plain, f"the unit of {new.path} is written otherwise: {shown}"
    return _Carry(old.path, new.path, True, factor, offset), f"{new.path} is converted {shown}"


def _contents(models: Models, move: Move) -> Iterator[Breaking]:
    """What breaks in relationships and commands."""
    old, new = models.interface(move.source), models.interface(move.target)
    for name, content in old.contents.items():
        if not isinstance(content, RelationshipType | CommandType):
            continue
        other = new.contents.get(name)
        if type(other) is not type(content):
            what = "relationship" if isinstance(content, RelationshipType) else "command"
            yield Breaking(move.source, name, f"{what}Removed", f"{move.target} has no {what} {name}")
        elif isinstance(content, CommandType) and isinstance(other, CommandType):
            if not _same((content.request, content.response), (other.request, other.response)):
                yield Breaking(move.source, name, "command", f"the request or response of {name} is another one")
        elif isinstance(content, RelationshipType) and isinstance(other, RelationshipType):
            yield from _relationship(models, move, content, other)


def _relationship(models: Models, move: Move, old: RelationshipType, new: RelationshipType) -> Iterator[Breaking]:
    name = old.name
    if new.target is not None and not _leads_there(models, old.target, new.target):
        reason = f"{name} leads to {new.target}, and led to {old.target or 'any model'}"
        yield Breaking(move.source, name, "target", reason)
    if new.max_multiplicity is not None and (old.max_multiplicity or 1 << 62) > new.max_multiplicity:
        yield Breaking(move.source, name, "multiplicity", f"{name} may occur {new.max_multiplicity} times at most")
    for key, held in old.properties.items():
        if key not in new.properties:
            yield Breaking(move.source, name, "relationshipProperty", f"{name} has no property {key} any more")
        elif not _same(new.properties[key].schema, held.schema):
            yield Breaking(move.source, name, "relationshipProperty", f"the schema of {name}.{key} is another one")


def _leads_there(models: Models, old: ModelId | None, new: ModelId) -> bool:
    """True when every target of the old relationship is one of the new."""
    return old == new or (old is not None and old in models and models.is_a(old, new))


def _difference(old: Flat, new: Flat) -> Undo:
    before: Flat = {}
    after: Flat = {}
    for path in {**old, **new}:
        left, right = old.get(path), new.get(path)
        if left != right or type(left) is not type(right):
            before[path], after[path] = left, right
    return Undo(before, after)


def _put(flat: Flat, path: str, value: Json) -> None:
    if value is None:
        flat.pop(path, None)
    else:
        flat[path] = value


def _nested(flat: Flat) -> dict[str, Json]:
    out: dict[str, Json] = {}
    for path, value in flat.items():
        nest(out, tuple(path.split(".")), value)
    return out


def _same(old: object, new: object) -> bool:
    """Equality of schemas; from DTDL v4 on one may contain itself, and then they count as different."""
    try:
        return old == new
    except RecursionError:
        return False


def _is_number(value: Json) -> bool:
    return type(value) in (int, float)


def _known(fields: Mapping[str, Field]) -> str:
    return f"its paths: {', '.join(sorted(fields)) or 'none'}"


def moved(moves: Sequence[Move]) -> Callable[[ModelId], ModelId]:
    """The model that a model's twins have after all of the moves."""
    targets = {move.source: move.target for move in moves}
    return lambda model: targets.get(model, model)
