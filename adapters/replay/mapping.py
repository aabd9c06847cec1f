"""The mapping file of recordings: `files`, and `columns` that say which column feeds which twin property.

    files:
      - {name: march, file: march.parquet, time: ts, speed: 10}
    columns:                                      # the first that matches a column (wide) or a name (long) decides
      - {column: "{machine}.{property}", twin: "toulouse/line-1/{machine}", property: "{property}"}

A twin's template may name another column of the row, `{/machine}`; its values then choose the twin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinloom.adapters.replay.settings import ReplaySettings
from twinloom.adapters.telemetry.templates import captures, pattern
from twinloom.adapters.telemetry.times import UNITS
from twinloom.adapters.telemetry.yaml_file import YamlFile
from twinloom.twin.errors import BadRequest
from twinloom.twin.units import canonical

EXAMPLE = "docs/guides/replay.md"
_FILE_KEYS = (
    "name", "file", "format", "layout", "time", "time_unit", "label", "value", "quality", "separator", "speed",
    "shift_to_now", "rows",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """Columns whose name matches go where the templates say. `unit` '' = the model's."""

    pattern: re.Pattern[str]
    twin: str
    property: str
    unit: str
    chosen_by: tuple[str, ...]
    """The columns whose values take part in the twin's id or the property."""


@dataclass(frozen=True, slots=True)
class ReplayMapping:
    file: str
    recordings: tuple[ReplaySettings, ...]
    columns: tuple[Column, ...]


def read_mapping(path: str | Path) -> ReplayMapping:
    """The mapping file at `path`. Raises BadFile (file, place, remedy) for the first defect."""
    file = YamlFile(path, example=EXAMPLE)
    root = file.document()
    file.known(root, ("files", "columns"), "")
    recordings = [_recording(file, entry, f"/files/{i}") for i, entry in enumerate(file.entries(root, "files", ""))]
    names = [recording.name for recording in recordings]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise file.bad(f"/files/{i}/name", f"{name!r} names two files", "give each its own name")
    columns = [_column(file, entry, f"/columns/{i}") for i, entry in enumerate(file.entries(root, "columns", ""))]
    return ReplayMapping(str(path), tuple(recordings), tuple(columns))


def _recording(file: YamlFile, entry: Mapping[str, Any], place: str) -> ReplaySettings:
    file.known(entry, _FILE_KEYS, place)
    file.text(entry, "file", place)
    path = file.existing(entry, "file", place)
    assert path is not None
    guessed = "parquet" if path.suffix.lower() in (".parquet", ".pq") else "csv"
    separator = file.text(entry, "separator", place, ",")
    if len(separator) != 1:
        raise file.bad(f"{place}/separator", "must be one character", 'write for example ";"')
    return ReplaySettings(
        name=file.text(entry, "name", place, path.stem),
        file=path,
        format=file.choice(entry, "format", guessed, ("csv", "parquet"), place),
        layout=file.choice(entry, "layout", "wide", ("wide", "long"), place),
        time=file.text(entry, "time", place, "time"),
        time_unit=file.choice(entry, "time_unit", "auto", UNITS, place),
        label=file.text(entry, "label", place, "name"),
        value=file.text(entry, "value", place, "value"),
        quality=file.text(entry, "quality", place, ""),
        separator=separator,
        speed=file.number(entry, "speed", 1.0, place),
        shift_to_now=file.flag(entry, "shift_to_now", False, place),
        rows=file.whole(entry, "rows", 4096, place, least=1),
    )


def _column(file: YamlFile, entry: Mapping[str, Any], place: str) -> Column:
    file.known(entry, ("column", "twin", "property", "unit"), place)
    name, twin = file.text(entry, "column", place), file.text(entry, "twin", place)
    path, unit = file.text(entry, "property", place, name), file.text(entry, "unit", place, "")
    try:
        compiled = pattern(name, "./", open_end=False)
        for used in (*captures(twin), *captures(path)):
            if not used.startswith("/") and used not in captures(name):
                raise BadRequest(f"{{{used}}} is not captured", remedy="capture it in the column, or write {/column}")
        if unit:
            canonical(unit)
    except BadRequest as error:
        raise file.bad(place, error.message, error.remedy) from error
    chosen_by = dict.fromkeys(name[1:] for name in (*captures(twin), *captures(path)) if name.startswith("/"))
    return Column(compiled, twin, path, unit, tuple(chosen_by))
