"""The NDJSON job format of Azure Digital Twins, read and written.

    {"Section": "Header"}         {"fileVersion": "1.0.0", "author": "...", "organization": "..."}
    {"Section": "Models"}         a DTDL interface a line
    {"Section": "Twins"}          {"$dtId": ..., "$metadata": {"$model": ...}, properties, components as objects}
    {"Section": "Relationships"}  {"$sourceId": ..., "$relationshipId": ..., "$targetId": ..., "$relationshipName": ...}

What is written is canonical: models, twins and relationships by id, properties by name, whole numbers without a
fraction. So the same graph gives the same bytes, whichever store keeps it and however it came there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

import orjson

from twinloom.app.loading import EdgeItem, Item, ModelItem, Report, TwinItem
from twinloom.graph.layout import layout_for, nest
from twinloom.graph.store import LastValue, Snapshot
from twinloom.twin import dtdl
from twinloom.twin.dtdl import ComponentType, Models
from twinloom.twin.errors import BadFile
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Json, Relationship, Twin

VERSION = "1.0.0"
SECTIONS = ("Header", "Models", "Twins", "Relationships")
MAX_LINE = 4 << 20
"""Bytes: a model may have 1 MiB, a twin 32 KiB."""

STEP = 2_000
"""Lines between two words about the progress."""

Progress = Callable[[int], None]
"""Called with the bytes read, or the lines written, so far."""


def silent(done: int) -> None:
    """No progress shown."""


class NdjsonReading:
    """A file to import. Each pass starts anew and makes sure that it reads the same file."""

    def __init__(self, path: Path, *, progress: Progress = silent) -> None:
        self.file = str(path)
        self._path = path
        self._progress = progress
        self._identity: tuple[int, ...] | None = None

    def items(self, models: Callable[[], Models], report: Report) -> Iterator[Item]:
        """Raises BadFile when the file cannot be read or has changed since the first pass."""
        try:
            file = self._path.open("rb", buffering=1 << 20)
        except OSError as error:
            raise BadFile(self.file, f"cannot be read ({error.strerror})", remedy="check the name") from error
        with file:
            state = os.fstat(file.fileno())
            identity = (state.st_ino, state.st_size, state.st_mtime_ns)
            if self._identity not in (None, identity):
                raise BadFile(self.file, "was changed while it was imported", remedy="import it again")
            self._identity = identity
            yield from _Lines(report).items(self._lines(file, report))

    def _lines(self, file: IO[bytes], report: Report) -> Iterator[tuple[int, bytes]]:
        number = 0
        read = 0
        for text in iter(partial(file.readline, MAX_LINE), b""):
            number += 1
            read += len(text)
            if len(text) == MAX_LINE and not text.endswith(b"\n"):
                report.add(number, "longLine", f"the line is longer than {MAX_LINE >> 20} MiB", "split what it holds")
                while text and not text.endswith(b"\n"):
                    text = file.readline(MAX_LINE)
                    read += len(text)
                continue
            yield number, text
            if number % STEP == 0:
                self._progress(read)
        self._progress(read)


class _Lines:
    """Lines as items, section by section."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._section = -1
        self._headed = False

    def items(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[Item]:
        loads = orjson.loads
        for number, text in lines:
            if text.isspace():
                continue
            try:
                value = loads(text)
            except orjson.JSONDecodeError as error:
                self._report.add(number, "badJson", f"is no JSON: {error}", "write one JSON object a line, in UTF-8")
                continue
            if type(value) is not dict:
                self._report.add(number, "badLine", "is no JSON object", "write one JSON object a line")
            elif self._section == 3 and "$sourceId" in value:
                edge = self._edge(number, value, len(text))
                if edge is not None:
                    yield edge
            elif self._section == 2 and "$dtId" in value:
                twin = self._twin(number, value, len(text))
                if twin is not None:
                    yield twin
            elif "Section" in value:
                self._begin(number, value)
            elif self._section == 1:
                yield ModelItem(number, text)
            elif self._section == 0:
                self._header(number, value)
            else:
                self._stray(number)
        if self._section < 0:
            self._report.add(1, "noHeader", "has no sections", 'start the file with {"Section": "Header"}')

    def _begin(self, line: int, value: dict[str, Json]) -> None:
        name = value["Section"]
        if name not in SECTIONS or len(value) > 1:
            self._report.add(line, "badSection", f"{str(name)[:60]!r} is no section", f"one of {', '.join(SECTIONS)}")
            return
        place = SECTIONS.index(name)
        if self._section < 0 < place:
            message = "the file does not start with its header"
            self._report.add(line, "noHeader", message, 'put {"Section": "Header"} and its line first')
        if place <= self._section:
            message = f"the section {name} comes after {SECTIONS[self._section]}"
            self._report.add(line, "sectionOrder", message, f"write the sections once, in order: {', '.join(SECTIONS)}")
        if self._section == 0 and not self._headed:
            self._report.add(line, "noHeader", "the header has no line", f'write {{"fileVersion": "{VERSION}"}}')
        self._section = place

    def _header(self, line: int, value: dict[str, Json]) -> None:
        if self._headed:
            self._report.add(line, "badHeader", "the header has a second line", "keep one")
        self._headed = True
        if value.get("fileVersion") != VERSION:
            message = f"the file version {str(value.get('fileVersion'))[:20]!r} is not read here"
            self._report.add(line, "fileVersion", message, f"write the file as version {VERSION}", "/fileVersion")

    def _stray(self, line: int) -> None:
        wanted = {2: "a twin has $dtId", 3: "a relationship has $sourceId"}.get(self._section, "start with a section")
        self._report.add(line, "badLine", f"does not belong into {self._name()}", wanted)

    def _name(self) -> str:
        return f"the section {SECTIONS[self._section]}" if self._section >= 0 else "the beginning of the file"

    def _twin(self, line: int, value: dict[str, Json], size: int) -> TwinItem | None:
        id, metadata = value.pop("$dtId"), value.pop("$metadata", None)
        model = metadata.get("$model") if type(metadata) is dict else None
        if type(id) is not str:
            self._report.add(line, "badLine", "$dtId is no text", "write the id of the twin", "/$dtId")
            return None
        if type(model) is not str:
            message = f"the twin {id[:80]!r} has no model"
            self._report.add(line, "badLine", message, 'write "$metadata": {"$model": ...}', "/$metadata/$model")
            return None
        value.pop("$etag", None)
        for name in [name for name, inner in value.items() if inner is None or type(inner) is dict]:
            inner = value[name] = _without_metadata(value[name])
            if inner is None:
                del value[name]
        return TwinItem(line, id, model, value, size)

    def _edge(self, line: int, value: dict[str, Json], size: int) -> EdgeItem | None:
        pop = value.pop
        source, id = pop("$sourceId"), pop("$relationshipId", None)
        name, target = pop("$relationshipName", None), pop("$targetId", None)
        if type(source) is str and type(target) is str and type(name) is str and type(id) is str and id:
            pop("$etag", None)
            return EdgeItem(line, source, id, name, target, value, size)
        keys = (("$sourceId", source), ("$relationshipId", id), ("$relationshipName", name), ("$targetId", target))
        for key, found in keys:
            if type(found) is not str or not found:
                self._report.add(line, "badLine", f"the relationship has no {key}", "write it, a text", f"/{key}")
        return None


def _without_metadata(value: Json) -> Json:
    """A component's object without what Azure says about it; None where nothing is left of it."""
    if type(value) is not dict:
        return value
    if "$metadata" not in value:
        return value
    value.pop("$metadata")
    out = {name: _without_metadata(inner) for name, inner in value.items()}
    return {name: inner for name, inner in out.items() if inner is not None} or None


# ---- writing -----------------------------------------------------------------------------------------------------


def export_lines(
    snapshot: Snapshot, *, author: str = "twinloom", organization: str = "", telemetry: bool = False
) -> Iterator[bytes]:
    """The lines of a file, each with its line feed. Without `telemetry` what sources measure is left out."""
    models = dtdl.parse(snapshot.models) if snapshot.models else dtdl.EMPTY
    dumps = partial(orjson.dumps, option=orjson.OPT_APPEND_NEWLINE)
    yield dumps({"Section": "Header"})
    yield dumps({"fileVersion": VERSION, "author": author, "organization": organization})
    yield dumps({"Section": "Models"})
    for id in sorted(models.interfaces):
        yield dumps(models.interfaces[id].document)
    yield dumps({"Section": "Twins"})
    last: dict[TwinId, list[LastValue]] = {}
    for value in snapshot.last_values:
        last.setdefault(value.twin, []).append(value)
    maker = _TwinLines(models, telemetry)
    for twin in sorted(snapshot.twins, key=lambda twin: twin.id):
        yield dumps(maker.line(twin, last.get(twin.id, ())))
    yield dumps({"Section": "Relationships"})
    for edge in sorted(snapshot.relationships, key=lambda edge: (edge.source, edge.id)):
        yield dumps(_edge_line(edge))


class _TwinLines:
    def __init__(self, models: Models, telemetry: bool) -> None:
        self._models = models
        self._telemetry = telemetry

    def line(self, twin: Twin, last: Iterable[LastValue]) -> dict[str, Json]:
        layout = layout_for(self._models, twin.model)
        flat = layout.flat(twin.properties)
        for value in last:
            if value.value is not None and value.path in layout.parts:
                flat[value.path] = value.value
        found: dict[str, Json] = {}
        for path, value in flat.items():
            if self._telemetry or path not in layout.telemetry:
                nest(found, tuple(path.split(".")), canonical(value))
        out: dict[str, Json] = {"$dtId": twin.id, "$metadata": {"$model": twin.model}}
        out.update(self._component(twin.model, found))
        return out

    def _component(self, model: ModelId, found: dict[str, Json]) -> dict[str, Json]:
        """Properties by name, and every component of the model as an object, also one that has no values."""
        interface = self._models.get(model)
        contents = interface.contents if interface else {}
        components = {name: c.model for name, c in contents.items() if isinstance(c, ComponentType)}
        out: dict[str, Json] = {}
        for name in sorted({*found, *components}):
            inner = components.get(name)
            if inner is None:
                out[name] = found[name]
            else:
                held = found.get(name)
                out[name] = {"$metadata": {}, **self._component(inner, held if isinstance(held, dict) else {})}
        return out


def _edge_line(edge: Relationship) -> dict[str, Json]:
    out: dict[str, Json] = {
        "$sourceId": edge.source,
        "$relationshipId": edge.id,
        "$targetId": edge.target,
        "$relationshipName": edge.name,
    }
    for name in sorted(edge.properties):
        out[name] = canonical(edge.properties[name])
    return out


def canonical(value: Json) -> Json:
    """The one way to write a JSON value: objects by name, 10 for 10.0 (but -0.0 stays).

    >>> canonical({"b": 10.0, "a": [1.5]})
    {'a': [1.5], 'b': 10}
    """
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 2**53 and not (value == 0 and math.copysign(1.0, value) < 0)
        return int(value) if whole else value
    if isinstance(value, dict):
        return {name: canonical(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [canonical(inner) for inner in value]
    return value


def write_file(path: Path, lines: Iterable[bytes], *, progress: Progress = silent) -> int:
    """Writes the lines to a file that takes its name only once it is whole; returns how many. Raises BadFile."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with beside.open("wb", buffering=1 << 20) as file:
            for line in lines:
                file.write(line)
                count += 1
                if count % STEP == 0:
                    progress(count)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise BadFile(str(path), f"cannot be written ({error.strerror})", remedy="choose another place") from error
    finally:
        beside.unlink(missing_ok=True)
    progress(count)
    return count
