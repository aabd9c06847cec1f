"""Documents as they come in: JSON texts or parsed JSON, checked for what no JSON-based language can bear.

Everything here is iterative, so that no nesting exhausts Python's stack, and bounded: a text that is not UTF-8 or JSON,
has duplicate keys, lone surrogates, NaN, infinite numbers or too many levels is a defect, never an exception.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from twinloom.twin.dtdl.defects import Defect
from twinloom.twin.instance import Json

MAX_DEPTH = 250
"""Levels of nesting. The deepest valid model needs fewer than 120; what is accepted must also be writable by orjson."""

MAX_NODES = 2_000_000
"""JSON values of one call. Parsed JSON may share subtrees and so stand for exponentially many values."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+|\n', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON text and the name under which defects report it."""

    text: str | bytes
    file: str = ""


Given: TypeAlias = Json | str | bytes | Document


@dataclass(slots=True, eq=False)
class Source:
    """Where elements come from: a name, and the text if there was one, for line numbers."""

    file: str
    text: str | None = None
    _lines: dict[str, int] | None = field(default=None, repr=False)

    def line(self, pointer: str) -> int:
        """The line (from 1) where the value at a JSON pointer starts, or its nearest ancestor; 0 without a text."""
        if self.text is None:
            return 0
        if self._lines is None:
            self._lines = {found: line for found, line, _ in positions(self.text)}
        while pointer not in self._lines and pointer:
            pointer = pointer.rpartition("/")[0]
        return self._lines.get(pointer, 0)


@dataclass(frozen=True, slots=True)
class Loaded:
    source: Source
    value: Json
    is_base: bool = False


def escaped(step: str | int) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return str(step).replace("~", "~0").replace("/", "~1")


def load(documents: Iterable[Given]) -> tuple[list[Loaded], list[Defect]]:
    """The readable documents, and what is wrong with the others."""
    loaded: list[Loaded] = []
    defects: list[Defect] = []
    budget = MAX_NODES
    for number, given in enumerate(documents):
        file, content = (given.file, given.text) if isinstance(given, Document) else ("", given)
        source = Source(file or f"#{number}")
        value: Json = content
        if isinstance(content, str | bytes | bytearray | memoryview):
            try:
                source.text, value = _decoded(content, source)
            except _Unreadable as error:
                defects.extend(error.defects)
                continue
        found, budget = _examined(value, source, budget)
        if found:
            defects.extend(found)
        else:
            loaded.append(Loaded(source, value))
    return loaded, defects


class _Unreadable(Exception):
    def __init__(self, *defects: Defect) -> None:
        super().__init__()
        self.defects = defects


class _Duplicate(Exception):
    pass


def _decoded(content: str | bytes | bytearray | memoryview, source: Source) -> tuple[str, Json]:
    if isinstance(content, str):
        text = content.removeprefix("\ufeff")
    else:
        raw = bytes(content)
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            message = f"byte {error.start} is not UTF-8"
            defect = Defect("invalidUtf8", "", message, "save the file as UTF-8", source.file, line)
            raise _Unreadable(defect) from error
    source.text = text
    try:
        return text, _DECODER.decode(text)
    except _Duplicate as error:
        raise _Unreadable(*_duplicates(text, source)) from error
    except json.JSONDecodeError as error:
        remedy = f"correct the JSON text at line {error.lineno}, column {error.colno}"
        defect = Defect("notJson", "", f"the text is not JSON: {error.msg}", remedy, source.file, error.lineno)
        raise _Unreadable(defect) from error
    except RecursionError as error:
        raise _Unreadable(_too_deep(source, "", 1)) from error
    except ValueError as error:
        defect = Defect("notJson", "", f"the text is not JSON: {error}", "use finite numbers only", source.file, 1)
        raise _Unreadable(defect) from error


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Duplicate
    return found


def _constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON number")


def _integer(digits: str) -> int | float:
    # Python refuses huge integers with an error of its own; the language has 64 bits at most
    return int(digits) if len(digits) <= 400 else _number(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:30]} is too large a number")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer, parse_float=_number
)


def _duplicates(text: str, source: Source) -> Iterator[Defect]:
    for pointer, line, duplicate in positions(text):
        if duplicate:
            name = pointer.rpartition("/")[2]
            message = f"the member {name[:60]!r} occurs twice in one object"
            yield Defect("duplicateKey", pointer, message, "keep one of them", source.file, line)


def _too_deep(source: Source, pointer: str, line: int) -> Defect:
    shown = pointer if len(pointer) <= 200 else pointer[:200] + "..."
    message = f"the document nests more than {MAX_DEPTH} levels deep"
    return Defect("tooDeep", shown, message, "flatten it: no valid model needs so many levels", source.file, line)


def _examined(value: Json, source: Source, budget: int) -> tuple[list[Defect], int]:
    """Defects of a JSON value as such, and what is left of the budget of values."""
    stack: list[tuple[Any, int, tuple[Any, str | int] | None]] = [(value, 0, None)]
    while stack:
        item, depth, trail = stack.pop()
        budget -= 1
        kind = type(item)
        if kind is str:
            if not item.isascii() and _SURROGATE.search(item):
                return [
                    _bad("loneSurrogate", trail, source, "the text has a lone surrogate", "write the character")
                ], budget
        elif kind is dict or kind is list:
            if depth >= MAX_DEPTH:
                return [_too_deep(source, _pointer(trail), source.line(_pointer(trail)))], budget
            if budget < 0 or len(item) > budget:
                message = f"the documents have more than {MAX_NODES} values"
                return [_bad("tooLarge", None, source, message, "parse them in several calls")], 0
            if kind is list:
                for index, inner in enumerate(item):
                    stack.append((inner, depth + 1, (trail, index)))
            else:
                for key, inner in item.items():
                    if type(key) is not str:
                        return [_bad("notJson", trail, source, f"{key!r} is no member name", "use strings")], budget
                    if not key.isascii() and _SURROGATE.search(key):
                        message = "a member name has a lone surrogate"
                        return [_bad("loneSurrogate", trail, source, message, "write the character")], budget
                    stack.append((inner, depth + 1, (trail, key)))
        elif kind is float:
            if not math.isfinite(item):
                return [_bad("notJson", trail, source, f"{item} is no JSON number", "use finite numbers")], budget
        elif not (kind is int or kind is bool or item is None):
            return [_bad("notJson", trail, source, f"a {kind.__name__} is no JSON value", "pass parsed JSON")], budget
    return [], budget


_SURROGATE = re.compile("[\ud800-\udfff]")


def _pointer(trail: Any) -> str:
    steps: list[str] = []
    while trail is not None:
        trail, step = trail
        steps.append(escaped(step))
    return "".join("/" + step for step in reversed(steps))


def _bad(code: str, trail: Any, source: Source, message: str, remedy: str) -> Defect:
    pointer = _pointer(trail)
    return Defect(code, pointer, message, remedy, source.file, source.line(pointer))


def positions(text: str) -> Iterator[tuple[str, int, bool]]:
    """(JSON pointer, line, whether an earlier member of the object has the same name) of each value of a JSON text."""
    path: list[str] = []
    # one entry an open container: the next index of an array, or the names seen in an object
    open_: list[list[Any]] = []
    line, name, expects_name = 1, "", False
    for found in _TOKEN.finditer(text):
        token = found[0]
        first = token[0]
        if first == "\n":
            line += 1
            continue
        if first == ",":
            if open_ and open_[-1][0] == "[":
                open_[-1][1] += 1
            expects_name = bool(open_) and open_[-1][0] == "{"
            continue
        if first == ":":
            expects_name = False
            continue
        if first in "}]":
            if open_:
                open_.pop()
                if path:
                    path.pop()
            expects_name = False
            continue
        if expects_name and first == '"':
            name = json.loads(token)
            continue
        duplicate = False
        if open_:
            holder = open_[-1]
            step = escaped(name) if holder[0] == "{" else str(holder[1])
            if holder[0] == "{":
                duplicate = step in holder[2]
                holder[2].add(step)
            yield "".join("/" + part for part in [*path, step]), line, duplicate
        else:
            step = ""
            yield "", line, False
        if first in "{[":
            if open_:
                path.append(step)
            open_.append([first, 0, set()])
            expects_name = first == "{"
        line += token.count("\n")
