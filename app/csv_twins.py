"""Twins from a CSV table, by a mapping file (YAML).

    id: "{plant}/line-{line}/{serial}"      # a text with columns in braces
    model: dtmi:com:example:Pump;1          # also with columns: "dtmi:com:example:{type};1"
    models: models                          # optional: a folder of DTDL files (*.json) beside the mapping
    delimiter: ";"                          # optional; a comma without it
    properties:
      serial_number: serial                 # path of the model: column
      speed: {column: vmax, unit: rpm}      # converted to the model's unit
      manufacturer: {value: Acme}           # the same for every twin
    relationships:
      - {name: contains, source: "{plant}/line-{line}", target: "{id}", properties: {since: year}}

A cell becomes what the model's schema asks for; arrays, maps and objects are JSON text. An empty cell sets nothing.
`{id}` in a relationship is the twin's id; a relationship is left out where one of its columns is empty.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from twinloom.app.loading import EdgeItem, Item, ModelItem, Report, TwinItem
from twinloom.app.model_files import bytes_of
from twinloom.app.ndjson import STEP, Progress, silent
from twinloom.graph.layout import nest
from twinloom.graph.yaml_text import Text, escape, parse
from twinloom.twin import units
from twinloom.twin.dtdl import GEOSPATIAL, Enum, Field, Models, Primitive, RelationshipType, Schema
from twinloom.twin.errors import BadFile, BadRequest
from twinloom.twin.instance import Json

CELL = 1 << 20
"""Characters in one cell."""

_TOP = {"id", "model", "models", "delimiter", "properties", "relationships"}
_CELL = {"column", "unit", "value"}
_EDGE = {"name", "source", "target", "id", "properties"}
_BRACES = re.compile(r"\{([^{}]*)\}")
_WHOLE = {"integer", "short", "byte", "long", "unsignedByte", "unsignedShort", "unsignedInteger", "unsignedLong"}
_TRUE = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a value comes from: a column (in `unit`, where given), or the same `value` for all."""

    column: str = ""
    unit: str = ""
    value: Json = None


@dataclass(frozen=True, slots=True)
class EdgeRule:
    name: str
    source: str
    target: str
    id: str
    properties: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class TableMapping:
    """A mapping file that was found good by itself; the models and the table's columns are not known yet."""

    text: Text
    id: str
    model: str
    models: Path | None
    delimiter: str
    properties: Mapping[str, Cell]
    relationships: tuple[EdgeRule, ...]


def read_mapping(path: Path) -> TableMapping:
    """Raises BadFile with the place in the mapping."""
    text = parse(_text_of(path), str(path))
    top = _object(text, text.value, "", _TOP)
    for key in ("id", "model"):
        if not isinstance(top.get(key), str) or not top[key]:
            raise text.bad(f"/{key}", f"the mapping has no {key}", f'write {key}: "..." with columns in braces')
    delimiter = top.get("delimiter", ",")
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise text.bad("/delimiter", "is not one character", 'write delimiter: ";"')
    models = top.get("models")
    if models is not None and not isinstance(models, str):
        raise text.bad("/models", "is no folder name", "name the folder with the DTDL files")
    edges = top.get("relationships") or []
    if not isinstance(edges, list):
        raise text.bad("/relationships", "is no list", "write a list with `- `")
    return TableMapping(
        text,
        top["id"],
        top["model"],
        path.parent / models if models else None,
        delimiter,
        _cells(text, top.get("properties"), "/properties"),
        tuple(_edge(text, edge, f"/relationships/{position}") for position, edge in enumerate(edges)),
    )


def _edge(text: Text, item: Json, at: str) -> EdgeRule:
    given = _object(text, item, at, _EDGE)
    for key in ("name", "source", "target"):
        if not isinstance(given.get(key), str) or not given[key]:
            raise text.bad(f"{at}/{key}", f"the relationship has no {key}", "write it, a text")
    id = given.get("id", "")
    if not isinstance(id, str):
        raise text.bad(f"{at}/id", "is no text", "write a text, with columns in braces")
    cells = _cells(text, given.get("properties"), f"{at}/properties")
    return EdgeRule(given["name"], given["source"], given["target"], id, cells)


def _cells(text: Text, items: Json, at: str) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for path, item in _object(text, items or {}, at, None).items():
        here = f"{at}/{escape(path)}"
        if isinstance(item, str):
            cells[path] = Cell(item)
            continue
        given = _object(text, item, here, _CELL)
        if ("column" in given) == ("value" in given):
            raise text.bad(here, "takes either a column or a value", "write {column: name} or {value: ...}")
        if not isinstance(given.get("column", ""), str) or not isinstance(given.get("unit", ""), str):
            raise text.bad(here, "column and unit are texts", "write {column: name, unit: rpm}")
        cells[path] = Cell(given.get("column", ""), given.get("unit", ""), given.get("value"))
    return cells


class CsvReading:
    """A table to import with its mapping. UTF-8, with or without a byte order mark; the first row names the columns."""

    def __init__(self, path: Path, mapping: TableMapping, *, progress: Progress = silent) -> None:
        self.file = str(path)
        self._path = path
        self._mapping = mapping
        self._progress = progress
        self._identity: tuple[int, ...] | None = None

    def items(self, models: Callable[[], Models], report: Report) -> Iterator[Item]:
        """The mapping's models, then the twins row by row, then the relationships: the table is read twice for them."""
        yield from self._models()
        table = _Table(self._mapping, models(), report)
        for line, row in self._rows(table, report):
            yield from table.twin(line, row)
        if self._mapping.relationships:
            for line, row in self._rows(table, Report(self.file)):  # the rows' own defects are known by now
                yield from table.edges(line, row)

    def _models(self) -> Iterator[ModelItem]:
        folder = self._mapping.models
        if folder is None:
            return
        files = sorted(folder.glob("*.json"))
        if not files:
            raise self._mapping.text.bad("/models", f"there are no *.json files in {folder}", "name their folder")
        for file in files:
            yield ModelItem(1, bytes_of(file), str(file))

    def _rows(self, table: _Table, report: Report) -> Iterator[tuple[int, dict[str, str]]]:
        try:
            raw = self._path.open("rb")
        except OSError as error:
            raise BadFile(self.file, f"cannot be read ({error.strerror})", remedy="check the name") from error
        with raw:
            state = os.fstat(raw.fileno())
            identity = (state.st_ino, state.st_size, state.st_mtime_ns)
            if self._identity not in (None, identity):
                raise BadFile(self.file, "was changed while it was imported", remedy="import it again")
            self._identity = identity
            rows = csv.reader(io.TextIOWrapper(raw, "utf-8-sig", newline=""), delimiter=self._mapping.delimiter)
            csv.field_size_limit(CELL)
            line = 1
            try:
                names = next(rows, None)
                if names is None or not table.fits(names, report):
                    return
                line = rows.line_num + 1
                for number, cells in enumerate(rows):
                    if len(cells) == len(names):
                        yield line, dict(zip(names, cells, strict=True))
                    elif cells:
                        message = f"the row has {len(cells)} cells, and there are {len(names)} columns"
                        report.add(line, "badRow", message, "quote cells that hold the delimiter")
                    line = rows.line_num + 1
                    if number % STEP == 0:
                        self._progress(raw.tell())
                self._progress(state.st_size)
            except UnicodeDecodeError as error:
                raise BadFile(self.file, "is no UTF-8 text", place=f"line {line}", remedy="save as UTF-8") from error
            except csv.Error as error:
                raise BadFile(self.file, f"is no CSV ({error})", place=f"line {line}", remedy="mend the row") from error


class _Table:
    """Rows as items, by the mapping and the models."""

    def __init__(self, mapping: TableMapping, models: Models, report: Report) -> None:
        self._mapping = mapping
        self._models = models
        self._report = report
        self._readers: dict[str, list[tuple[str, Cell, _Reader]] | None] = {}

    def fits(self, names: Sequence[str], report: Report) -> bool:
        """True when the table has the columns that the mapping wants."""
        mapping, found = self._mapping, True
        wanted = [("/id", name) for name in _BRACES.findall(mapping.id)]
        wanted += [("/model", name) for name in _BRACES.findall(mapping.model)]
        wanted += [(f"/properties/{escape(path)}", c.column) for path, c in mapping.properties.items() if c.column]
        for position, edge in enumerate(mapping.relationships):
            at = f"/relationships/{position}"
            for text in (edge.source, edge.target, edge.id):
                wanted += [(at, name) for name in _BRACES.findall(text) if name != "id"]
            wanted += [(f"{at}/properties", cell.column) for cell in edge.properties.values() if cell.column]
        for at, name in wanted:
            if name not in names:
                message = f"the mapping wants a column {name!r} ({mapping.text.file} {at})"
                report.add(1, "unknownColumn", message, f"the columns: {', '.join(names)}")
                found = False
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            report.add(1, "duplicateColumn", f"the column {name!r} is there twice", "rename one of them")
            found = False
        return found

    def twin(self, line: int, row: dict[str, str]) -> Iterator[TwinItem]:
        id, model = filled(self._mapping.id, row), filled(self._mapping.model, row)
        if not id or not model:
            self._report.add(line, "emptyId", "a column of the id or of the model is empty", "fill it, or drop the row")
            return
        properties: dict[str, Json] = {}
        for path, cell, read in self._readers_of(line, model) or ():
            value = self._value(line, path, cell, read, row)
            if value is not None:
                nest(properties, tuple(path.split(".")), value)
        yield TwinItem(line, id, model, properties, sum(map(len, row.values())) * 4 + 4096)

    def edges(self, line: int, row: dict[str, str]) -> Iterator[EdgeItem]:
        id, model = filled(self._mapping.id, row), filled(self._mapping.model, row)
        if not id or not model:
            return
        row = {**row, "id": id}
        for rule in self._mapping.relationships:
            source, target = filled(rule.source, row), filled(rule.target, row)
            if not source or not target:
                continue
            own = filled(rule.id, row) if rule.id else f"{rule.name}:{target}"
            properties: dict[str, Json] = {}
            for name, cell in rule.properties.items():
                read = _reader(self._edge_schema(rule, name), "", "")
                value = self._value(line, name, cell, read, row)
                if value is not None:
                    properties[name] = value
            yield EdgeItem(line, source, own or f"{rule.name}:{target}", rule.name, target, properties, 1 << 16)

    def _edge_schema(self, rule: EdgeRule, name: str) -> Schema:
        """The schema of a relationship's property: of the first model that has the relationship."""
        for interface in self._models.interfaces.values():
            content = interface.contents.get(rule.name)
            if isinstance(content, RelationshipType) and name in content.properties:
                return content.properties[name].schema
        return Primitive("string")

    def _readers_of(self, line: int, model: str) -> list[tuple[str, Cell, _Reader]] | None:
        if model not in self._readers:
            self._readers[model] = self._made(line, model) if model in self._models else None
        return self._readers[model]

    def _made(self, line: int, model: str) -> list[tuple[str, Cell, _Reader]]:
        fields = self._models.fields(model)
        out: list[tuple[str, Cell, _Reader]] = []
        for path, cell in self._mapping.properties.items():
            field = fields.get(path)
            if field is None:
                message = f"{model} has no path {path!r} ({self._mapping.text.file} /properties/{escape(path)})"
                self._report.add(line, "unknownName", message, f"its paths: {', '.join(sorted(fields)) or 'none'}")
                continue
            try:
                out.append((path, cell, _reader_of(field, cell)))
            except BadRequest as error:
                self._report.add(line, "badUnit", f"{path}: {error.message}", error.remedy)
        return out

    def _value(self, line: int, path: str, cell: Cell, read: _Reader, row: dict[str, str]) -> Json:
        if not cell.column:
            return cell.value
        text = row[cell.column].strip()
        if not text:
            return None
        try:
            return read(text)
        except ValueError as error:
            self._report.add(line, "badCell", f"column {cell.column!r}, {path}: {text[:60]!r} {error}", "mend the cell")
            return None


_Reader = Callable[[str], Json]


def filled(text: str, row: Mapping[str, str]) -> str:
    """The text with the row's cells in place of the braces; empty when one of the cells is.

    >>> filled("{plant}/line-{line}", {"plant": "derby", "line": "2"})
    'derby/line-2'
    """
    empty = False

    def cell(found: re.Match[str]) -> str:
        nonlocal empty
        value = row.get(found[1], "").strip()
        empty = empty or not value
        return value

    out = _BRACES.sub(cell, text)
    return "" if empty else out


def _reader_of(field: Field, cell: Cell) -> _Reader:
    return _reader(field.schema, cell.unit, field.unit)


def _reader(schema: Schema, unit: str, wanted: str) -> _Reader:
    """How a cell is read for a schema. Raises BadRequest when the units do not go together."""
    convert: Callable[[float], float] | None = None
    if unit:
        if not wanted:
            raise BadRequest(f"the model names no unit to convert {unit} to", remedy="leave `unit` out")
        factor, offset = units.converter(unit, wanted)
        convert = (lambda number: number * factor + offset) if (factor, offset) != (1.0, 0.0) else None
    kind = schema.name if isinstance(schema, Primitive) else ""
    if isinstance(schema, Enum):
        kind = "integer" if schema.value_schema == "integer" else "string"
    if kind in _WHOLE or kind in ("double", "float"):
        return lambda text: _number(text, kind in _WHOLE, convert)
    if kind == "boolean":
        return _boolean
    return str if kind and kind not in GEOSPATIAL and kind != "scaledDecimal" else _json


def _number(text: str, whole: bool, convert: Callable[[float], float] | None) -> Json:
    plain = text if text.isascii() and "_" not in text else ""  # Python reads 1_000 and other scripts' digits too
    if whole and convert is None:
        try:
            return int(plain)
        except ValueError:
            raise ValueError("is no whole number") from None
    try:
        number = float(plain)
    except ValueError:
        raise ValueError("is no number (write 1234.5)") from None
    number = number if convert is None else convert(number)
    return int(number) if whole and number.is_integer() else number


def _boolean(text: str) -> Json:
    found = _TRUE.get(text.lower())
    if found is None:
        raise ValueError("is neither true nor false")
    return found


def _json(text: str) -> Json:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error})") from None


def _object(text: Text, value: Json, at: str, known: set[str] | None) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise text.bad(at, "is no mapping", "write `key: value` pairs")
    for key in value if known is not None else ():
        if key not in (known or ()):
            remedy = f"known keys: {', '.join(sorted(known or ()))}"
            raise text.bad(f"{at}/{escape(key)}", f"the key {key!r} is not known here", remedy)
    return value


def _text_of(path: Path) -> str:
    try:
        return bytes_of(path).decode()
    except UnicodeDecodeError as error:
        raise BadFile(str(path), "is no UTF-8 text", place=f"byte {error.start}", remedy="save it as UTF-8") from error
