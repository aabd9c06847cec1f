"""Which message feeds which twin properties: the rules of a mapping file.

A rule has a topic template and says how its messages look:

    shape: values     {"ts": 1700000000, "values": {"temperature": 61.2, "pressure": 5.1}}, or a list of such
    shape: readings   [{"machine": "cnc-01", "name": "temperature", "value": 61.2, "t": "2026-01-01T00:00:00Z"}, ...]
    shape: columns    {"t": [1, 2], "temperature": [61.2, 61.3]}, or a list of such
    shape: value      61.2

`at` points to that part of the message; `time` and `quality` are `/pointers` into the message or, in `readings`,
`.members` of one reading. `members` map the names of the values; the first that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinloom.adapters.telemetry.templates import captures, pattern, steps
from twinloom.adapters.telemetry.times import UNITS
from twinloom.adapters.telemetry.yaml_file import YamlFile
from twinloom.twin.errors import BadRequest
from twinloom.twin.units import canonical

SHAPES = ("values", "readings", "columns", "value")
FORMATS = ("json", "cloudevents", "text")
_KEYS = (
    "topic", "format", "shape", "at", "time", "time_unit", "quality", "name", "value", "twin", "property", "unit",
    "members",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    """Values whose name matches `pattern` go where the templates say. `unit` '' = the model's."""

    pattern: re.Pattern[str]
    twin: str
    property: str
    unit: str


@dataclass(frozen=True, slots=True)
class Rule:
    """`context`: the `/pointers`, `fields`: the `.members`, `names`: the variables that the templates use."""

    place: str
    topic: str
    topic_pattern: re.Pattern[str]
    format: str
    shape: str
    at: str
    time: str
    time_unit: str
    quality: str
    name: str
    value: str
    members: tuple[Member, ...]
    context: tuple[str, ...]
    fields: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def reserved(self) -> frozenset[str]:
        """Members beside the values that are none: the time, the quality, what names the twin."""
        if self.shape == "readings":
            return frozenset()
        inside = steps(self.at)
        found = set()
        for pointer in (self.time, self.quality, *self.context):
            path = steps(pointer)
            if pointer and path[: len(inside)] == inside and len(path) > len(inside):
                found.add(path[len(inside)])
        return frozenset(found)


def read_rules(
    file: YamlFile,
    root: Mapping[str, Any],
    variables: Sequence[str],
    *,
    separators: str,
    formats: Sequence[str] = FORMATS,
) -> tuple[Rule, ...]:
    """The `rules` of a mapping file. `variables` are the names that templates may use besides captures."""
    return tuple(
        _rule(file, entry, f"/rules/{i}", variables, separators, formats)
        for i, entry in enumerate(file.entries(root, "rules", ""))
    )


def _rule(
    file: YamlFile,
    entry: Mapping[str, Any],
    place: str,
    variables: Sequence[str],
    separators: str,
    formats: Sequence[str],
) -> Rule:
    file.known(entry, _KEYS, place)
    topic = file.text(entry, "topic", place)
    format = file.choice(entry, "format", "json", formats, place)
    shape = file.choice(entry, "shape", "value" if format == "text" else "values", SHAPES, place)
    if format == "text" and shape != "value":
        raise file.bad(f"{place}/shape", "a plain text is one value", "write shape: value, or leave it out")
    try:
        known = {*variables, *captures(topic), "topic", "key", "ce_source", "ce_type", "ce_subject", "ce_id"}
        topic_pattern = pattern(topic, separators)
    except BadRequest as error:
        raise file.bad(f"{place}/topic", error.message, error.remedy) from error
    members = read_members(file, entry, place, shape, known)
    used = [name for member in members for text in (member.twin, member.property) for name in captures(text)]
    context = tuple(dict.fromkeys(name for name in used if name.startswith("/")))
    fields = tuple(dict.fromkeys(name[1:] for name in used if name.startswith(".")))
    if fields and shape != "readings":
        raise file.bad(place, f"{{.{fields[0]}}} is a member of a reading", "write shape: readings, or {/member}")
    pointers = {}
    for key in ("at", "time", "quality"):
        pointers[key] = file.text(entry, key, place, "")
        inside = ("/", ".") if shape == "readings" and key != "at" else ("/",)
        if pointers[key] and not pointers[key].startswith(inside):
            raise file.bad(f"{place}/{key}", "must be a JSON pointer", f"write for example {inside[-1]}{key}")
    return Rule(
        place=place,
        topic=topic,
        topic_pattern=topic_pattern,
        format=format,
        shape=shape,
        at=pointers["at"],
        time=pointers["time"],
        time_unit=file.choice(entry, "time_unit", "auto", UNITS, place),
        quality=pointers["quality"],
        name=file.text(entry, "name", place, "name"),
        value=file.text(entry, "value", place, "value"),
        members=members,
        context=context,
        fields=fields,
        names=tuple(dict.fromkeys(name for name in used if name in known)),
    )


def read_members(
    file: YamlFile, entry: Mapping[str, Any], place: str, shape: str, known: set[str]
) -> tuple[Member, ...]:
    """The `members` of a rule, or the one that `twin` and `property` of the rule itself make."""
    if "members" not in entry:
        # A bare value has no name of its own: its property comes from the topic.
        given = {"member": "{member}", **{key: entry[key] for key in ("twin", "property", "unit") if key in entry}}
        if shape != "value":
            given.setdefault("property", "{member}")
        return (_member(file, given, place, known, open_end=True),)
    rows = file.entries(entry, "members", place)
    shared = {key: entry[key] for key in ("twin", "unit") if key in entry}
    return tuple(
        _member(file, {**shared, **row}, f"{place}/members/{i}", known, open_end=False) for i, row in enumerate(rows)
    )


def _member(file: YamlFile, row: Mapping[str, Any], place: str, known: set[str], *, open_end: bool) -> Member:
    file.known(row, ("member", "twin", "property", "unit"), place)
    name = file.text(row, "member", place)
    twin, path = file.text(row, "twin", place), file.text(row, "property", place, name)
    unit = file.text(row, "unit", place, "")
    try:
        compiled = pattern(name, "./", open_end=open_end)
        for text in (twin, path):
            for used in captures(text):
                if not used.startswith(("/", ".")) and used not in known and used not in captures(name):
                    raise BadRequest(f"{{{used}}} is not captured", remedy="capture it in the topic or the member")
        if unit:
            canonical(unit)
    except BadRequest as error:
        raise file.bad(place, error.message, error.remedy) from error
    return Member(compiled, twin, path, unit)
