"""YAML as JSON values that know their lines: the JSON-like subset of YAML 1.2, nothing that runs code or multiplies.

Plain `no`, `on` and `2019-02-15` are texts here, as YAML 1.2's core schema says (PyYAML by itself reads YAML 1.1, where
the country code NO is false). Anchors, tags and duplicate keys are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from twinloom.twin.errors import BadFile
from twinloom.twin.instance import Json

MAX_DEPTH = 100

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_QUOTED = ("'", '"', "|", ">")
_WORDS: dict[str, Json] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(slots=True)
class Text:
    """A parsed file: `value` and the line (from 1) of each JSON pointer in it."""

    file: str
    value: Json
    lines: dict[str, int] = field(default_factory=dict)

    def bad(self, pointer: str, message: str, remedy: str) -> BadFile:
        """The error for a place in the file; an unknown pointer is put down to the nearest place around it."""
        around = pointer
        while around and around not in self.lines:
            around = around.rpartition("/")[0]
        line = self.lines.get(around, 1)
        return BadFile(self.file, message, place=f"{pointer or '/'} (line {line})", remedy=remedy)


def parse(text: str, file: str) -> Text:
    """Raises BadFile with the line for what is no YAML, or no YAML that is read here."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    out = Text(file, None)
    try:
        node = loader.get_single_node()
        if node is not None:
            out.value = _value(out, node, "", set())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadFile(file, f"is no YAML ({error.problem})", place=f"line {line}", remedy="mend that line") from error
    except yaml.YAMLError as error:
        problem = str(error).splitlines()[0]
        raise BadFile(
            file, f"is no YAML ({problem})", remedy="write it as UTF-8 text without control characters"
        ) from error
    except RecursionError as error:
        raise BadFile(file, "is nested too deep", remedy=f"nest at most {MAX_DEPTH} levels") from error
    finally:
        loader.dispose()
    return out


def _value(out: Text, node: Any, pointer: str, seen: set[int]) -> Json:
    out.lines[pointer] = node.start_mark.line + 1
    if pointer.count("/") > MAX_DEPTH:
        raise out.bad(pointer, "is nested too deep", f"nest at most {MAX_DEPTH} levels")
    if id(node) in seen:
        raise out.bad(pointer, "is an alias of another node", "write it out, or use a template")
    seen.add(id(node))
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        raise out.bad(pointer, f"has the tag {node.tag!r}", "write plain values without tags")
    if isinstance(node, yaml.ScalarNode):
        return _scalar(out, node, pointer)
    if isinstance(node, yaml.SequenceNode):
        return [_value(out, inner, f"{pointer}/{position}", seen) for position, inner in enumerate(node.value)]
    found: dict[str, Json] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if key is None:
            raise out.bad(pointer, "has a key that is no text", "use plain names as keys")
        inside = f"{pointer}/{escape(key)}"
        out.lines[inside] = key_node.start_mark.line + 1
        if key in found:
            raise out.bad(inside, "is there twice", "keep one of the two")
        found[key] = _value(out, value_node, inside, seen)
    return found


def _scalar(out: Text, node: Any, pointer: str) -> Json:
    text: str = node.value
    if node.style in _QUOTED:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise out.bad(pointer, f"{text} is too large a number", "write a number below 1.8e308")
        return number
    return text


def escape(step: str) -> str:
    """One step of a JSON pointer (RFC 6901).

    >>> escape("a/b")
    'a~1b'
    """
    return step.replace("~", "~0").replace("/", "~1")
