"""A plant file (YAML) as changes: models, twins by containment, and the edges beyond it.

    models: models                      # a folder of DTDL files (*.json) beside the plant file
    templates: {name: {model, properties, contains: [...]}}
    twins: [{id, model | template, properties, contains: [...]}]
    relationships: [{source, name, target, id, properties}]

Ids nest: a twin inside `contains` has the id of what contains it, a slash, and its own. A twin that names a template
has the template's model, its properties (its own go over them, objects merged) and its contents, then its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twinloom.graph.store import Change, PutModels, PutRelationship, PutTwin
from twinloom.graph.yaml_text import Text, escape, parse
from twinloom.twin import dtdl
from twinloom.twin.dtdl import DtdlError, Models
from twinloom.twin.errors import BadFile, BadRequest, ModelViolation
from twinloom.twin.ids import ModelId, TwinId, twin_id
from twinloom.twin.instance import Json, Relationship, Twin

MAX_BYTES = 256 * 1024 * 1024
MAX_TWINS = 2_000_000
MAX_NESTING = 32
CONTAINS = "contains"

_TOP = {"models", "templates", "twins", "relationships"}
_TEMPLATE = {"model", "properties", CONTAINS}
_TWIN = {"id", "model", "template", "properties", CONTAINS}
_RELATIONSHIP = {"id", "source", "name", "target", "properties"}


@dataclass(frozen=True, slots=True)
class Plant:
    """A plant file that was found good whole. `changes` start with the models; commit them in this order."""

    documents: tuple[Json, ...]
    models: Models
    changes: tuple[Change, ...]


def read_plant(path: str | Path) -> Plant:
    """Reads and checks the file and its models. Raises BadFile at the first defect; nothing else is done then."""
    file = str(path)
    text = parse(_read(Path(path), file), file)
    top = _object(text, text.value, "", _TOP)
    models = _models(text, top, Path(path).parent)
    reader = _Reader(text, models, _templates(text, top))
    for position, item in enumerate(_list(text, top.get("twins"), "/twins")):
        reader.twin(item, f"/twins/{position}", None, 0)
    for position, item in enumerate(_list(text, top.get("relationships"), "/relationships")):
        reader.relationship(item, f"/relationships/{position}")
    ids = tuple(models)
    documents = tuple(models.interfaces[id].document for id in ids)
    return Plant(documents, models, (PutModels(documents, ids), *reader.twins, *reader.edges))


class _Reader:
    def __init__(self, text: Text, models: Models, templates: Mapping[str, dict[str, Json]]) -> None:
        self._text = text
        self._models = models
        self._templates = templates
        self._model_of: dict[TwinId, ModelId] = {}
        self._count: dict[tuple[TwinId, str], int] = {}
        self._edge_ids: set[tuple[TwinId, str]] = set()
        self.twins: list[PutTwin] = []
        self.edges: list[PutRelationship] = []

    def twin(self, item: Json, pointer: str, parent: TwinId | None, depth: int, origin: str = "") -> None:
        """One twin and all it contains. `origin` is the place that asked for it, where that is a template's user."""
        text = self._text
        if depth > MAX_NESTING:
            raise text.bad(
                origin or pointer, "contains itself, or nests too deep", f"nest at most {MAX_NESTING} levels"
            )
        given = _object(text, item, pointer, _TWIN)
        id = self._id(given, pointer, parent, origin)
        template = self._template(given, pointer)
        model = given.get("model", template.get("model"))
        if model is None:
            raise text.bad(pointer, f"the twin {id!r} has no model", "give it a model or a template")
        if not isinstance(model, str) or model not in self._models:
            place = f"{pointer}/model" if "model" in given else f"{pointer}/template"
            raise text.bad(place, f"there is no model {model!r}", "add its file to the models folder, or mend the id")
        own = _object(text, given.get("properties", {}), f"{pointer}/properties", None)
        properties = _merged(template.get("properties", {}), own)
        try:
            self._models.check_twin(model, properties)
        except ModelViolation as error:
            place = f"{pointer}/properties{error.path}"
            raise text.bad(place, f"twin {id!r}: {error.message}", error.remedy or "mend the value") from error
        if len(self.twins) >= MAX_TWINS:
            raise text.bad(pointer, f"has more than {MAX_TWINS} twins", "import it in several files")
        self._model_of[id] = ModelId(model)
        self.twins.append(PutTwin(Twin(id, ModelId(model), properties), create=True))
        if parent is not None:
            self._edge(Relationship(f"{CONTAINS}:{id}", parent, CONTAINS, id), origin or pointer)
        name = given.get("template")
        if name is not None:
            inside = f"/templates/{escape(name)}/{CONTAINS}"
            for position, child in enumerate(_list(text, template.get(CONTAINS), inside)):
                self.twin(child, f"{inside}/{position}", id, depth + 1, origin or pointer)
        for position, child in enumerate(_list(text, given.get(CONTAINS), f"{pointer}/{CONTAINS}")):
            self.twin(child, f"{pointer}/{CONTAINS}/{position}", id, depth + 1, origin)

    def relationship(self, item: Json, pointer: str) -> None:
        text = self._text
        given = _object(text, item, pointer, _RELATIONSHIP)
        ends: list[TwinId] = []
        for key in ("source", "target"):
            end = given.get(key)
            if not isinstance(end, str) or end not in self._model_of:
                place = f"{pointer}/{key}" if key in given else pointer
                raise text.bad(place, f"{key} {end!r} is no twin of this file", "name the id of a twin in it")
            ends.append(TwinId(end))
        name = given.get("name")
        if not isinstance(name, str):
            raise text.bad(pointer, "the relationship has no name", "add `name: ...` as the model declares it")
        source, target = ends
        id = given.get("id", f"{name}:{target}")
        if not isinstance(id, str) or not id:
            raise text.bad(f"{pointer}/id", "is no relationship id", "write a text that is not empty")
        properties = _object(text, given.get("properties", {}), f"{pointer}/properties", None)
        self._edge(Relationship(id, source, name, target, properties), pointer)

    def _id(self, given: Mapping[str, Json], pointer: str, parent: TwinId | None, origin: str) -> TwinId:
        own = given.get("id")
        if not isinstance(own, str) or not own:
            raise self._text.bad(pointer, "a twin has no id", "add `id: ...`, a text")
        try:
            id = twin_id(f"{parent}/{own}" if parent is not None else own)
        except BadRequest as error:
            raise self._text.bad(f"{pointer}/id", error.message, error.remedy) from error
        if id in self._model_of:
            raise self._text.bad(origin or f"{pointer}/id", f"the twin id {id!r} is given twice", "give one another id")
        return id

    def _template(self, given: Mapping[str, Json], pointer: str) -> Mapping[str, Json]:
        name = given.get("template")
        if name is None:
            return {}
        if not isinstance(name, str) or name not in self._templates:
            known = ", ".join(sorted(self._templates)) or "none"
            raise self._text.bad(f"{pointer}/template", f"there is no template {name!r}", f"known templates: {known}")
        return self._templates[name]

    def _edge(self, edge: Relationship, pointer: str) -> None:
        key = (edge.source, edge.id)
        if key in self._edge_ids:
            message = f"{edge.source!r} has the relationship {edge.id!r} twice"
            raise self._text.bad(pointer, message, "remove one, or give it an id of its own")
        self._edge_ids.add(key)
        count_key = (edge.source, edge.name)
        existing = self._count.get(count_key, 0)
        source_model, target_model = self._model_of[edge.source], self._model_of[edge.target]
        try:
            self._models.check_relationship(source_model, edge.name, target_model, edge.properties, existing)
        except ModelViolation as error:
            message = f"{edge.source!r} -[{edge.name}]-> {edge.target!r}: {error.message}"
            raise self._text.bad(pointer, message, error.remedy or "mend the file or the model") from error
        self._count[count_key] = existing + 1
        self.edges.append(PutRelationship(edge))


def _read(path: Path, file: str) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadFile(file, f"is larger than {MAX_BYTES // 2**20} MiB", remedy="split it")
        return path.read_text("utf-8")
    except OSError as error:
        raise BadFile(
            file, f"cannot be read ({error.strerror})", remedy="check the path and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise BadFile(file, "is no UTF-8 text", place=f"byte {error.start}", remedy="save it as UTF-8") from error


def _models(text: Text, top: Mapping[str, Json], beside: Path) -> Models:
    name = top.get("models", "models")
    if not isinstance(name, str):
        raise text.bad("/models", "is no folder name", "name the folder with the DTDL files")
    folder = beside / name
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise text.bad("/models", f"there are no *.json files in {folder}", "name the folder with the DTDL files")
    try:
        return dtdl.parse([dtdl.Document(_read(file, str(file)), str(file)) for file in files])
    except DtdlError as error:
        first = error.errors[0]
        more = f" (and {len(error.errors) - 1} more)" if len(error.errors) > 1 else ""
        place = f"{first.path or '/'} (line {first.line})" if first.line else first.path or "/"
        remedy = first.remedy or "mend the model"
        raise BadFile(first.file or str(folder), first.message + more, place=place, remedy=remedy) from error


def _templates(text: Text, top: Mapping[str, Json]) -> Mapping[str, dict[str, Json]]:
    found = _object(text, top.get("templates", {}), "/templates", None)
    for name, template in found.items():
        pointer = f"/templates/{escape(name)}"
        _object(text, template, pointer, _TEMPLATE)
        _object(text, template.get("properties", {}), f"{pointer}/properties", None)
        if not isinstance(template.get("model"), str):
            raise text.bad(pointer, "the template has no model", "add `model: dtmi:...`")
    return found


def _object(text: Text, value: Json, pointer: str, known: set[str] | None) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise text.bad(pointer, "is no mapping", "write `key: value` pairs")
    if known is not None:
        for key in value:
            if key not in known:
                place = f"{pointer}/{escape(key)}"
                raise text.bad(place, f"the key {key!r} is not known here", f"known keys: {', '.join(sorted(known))}")
    return value


def _list(text: Text, value: Json, pointer: str) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise text.bad(pointer, "is no list", "write a list with `- `")
    return value


def _merged(below: Mapping[str, Json], above: Mapping[str, Json]) -> dict[str, Json]:
    """`above` over `below`; where both have an object, its members are merged."""
    out = dict(below)
    for key, value in above.items():
        under = out.get(key)
        out[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return out
