"""Twins, relationships and models of an import file into the graph store: checked whole first, then written in batches.

Two passes over the file. The first checks every line against the models and against what the store holds, and reports
every defect; nothing is written when there is one. The second writes what is new or different, some thousand changes a
commit. Importing is therefore idempotent, and an import that was interrupted goes on when it is started again.

Longer than 400 lines because the two passes share what they know of a twin, and are read side by side.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, TypeAlias

import orjson

from twinloom.graph.hot import HotGraph
from twinloom.graph.layout import Layout, layout_for, nest
from twinloom.graph.store import Change, GraphStore, PutModels, PutRelationship, PutTwin, etag_of, stamped
from twinloom.runtime.limits import Limits
from twinloom.twin import dtdl
from twinloom.twin.dtdl import Defect, DtdlError, Models, RelationshipType
from twinloom.twin.errors import BadFile, LimitExceeded, ModelViolation, TwinloomError
from twinloom.twin.ids import ModelId, TwinId, twin_id
from twinloom.twin.instance import Json, Relationship, Twin

BATCH = 50_000
"""Changes in one commit: the fewer commits, the fewer times a page of the store is written."""

REPORTED = 1_000
"""Defects that are kept; more are counted."""

RELATIONSHIP_ID = 600


class ModelItem(NamedTuple):
    line: int
    text: bytes
    file: str = ""
    """Where the text is a file of its own."""


class TwinItem(NamedTuple):
    line: int
    id: str
    model: str
    properties: dict[str, Json]
    size: int
    """An upper bound of the properties' JSON text, in bytes."""


class EdgeItem(NamedTuple):
    line: int
    source: str
    id: str
    name: str
    target: str
    properties: dict[str, Json]
    size: int


Item: TypeAlias = ModelItem | TwinItem | EdgeItem


class Reading(Protocol):
    """A file to import. `items` may be called again for another pass."""

    file: str

    def items(self, models: Callable[[], Models], report: Report) -> Iterator[Item]:
        """Models first, then twins, then relationships. `models()` answers once all models were given."""
        ...


class Report:
    """Defects of one file, in the order in which they were found."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.defects: list[Defect] = []

    def add(self, line: int, code: str, message: str, remedy: str = "", path: str = "", file: str = "") -> None:
        self.count += 1
        if len(self.defects) < REPORTED:
            self.defects.append(Defect(code, path, message, remedy, file or self.file, line))

    def add_error(self, line: int, error: TwinloomError, prefix: str = "") -> None:
        """Each defect of a violation, or the error itself."""
        several = getattr(error, "errors", ())
        for defect in several:
            self.add(line, defect.code, prefix + defect.message, defect.remedy, defect.path)
        if not several:
            path = error.path if isinstance(error, ModelViolation) else ""
            self.add(line, error.code, prefix + error.message, error.remedy, path)


class ImportRefused(BadFile):
    """A file with defects: `errors` has the first thousand, `count` how many there are."""

    def __init__(self, report: Report) -> None:
        first = report.defects[0]
        more = f" (and {report.count - 1} more)" if report.count > 1 else ""
        super().__init__(
            first.file, first.message + more, place=f"line {first.line}", remedy=first.remedy or "mend the file"
        )
        self.errors = tuple(report.defects)
        self.count = report.count


@dataclass(slots=True)
class Tally:
    created: int = 0
    updated: int = 0
    unchanged: int = 0


@dataclass(slots=True)
class Loaded:
    """What an import did, or with `dry_run` would do."""

    dry_run: bool = False
    models: Tally = field(default_factory=Tally)
    twins: Tally = field(default_factory=Tally)
    relationships: Tally = field(default_factory=Tally)


@dataclass(slots=True)
class _NewModels:
    documents: tuple[Json, ...] = ()
    ids: tuple[ModelId, ...] = ()
    models: Models = dtdl.EMPTY
    sound: bool = True


class Check:
    """The first pass. After it `report` has every defect and `new` the models that the store does not have."""

    def __init__(self, hot: HotGraph, report: Report, limits: Limits) -> None:
        self._hot = hot
        self._limits = limits
        self.report = report
        self.new = _NewModels(models=hot.models)
        self.unchanged_models = 0
        self._texts: list[ModelItem] | None = []
        self._model_of: dict[str, ModelId] = {}
        self._lines: dict[str, int] = {}
        self._edges: dict[str, int] = {}
        self.there: set[str] = set()
        self._counts: dict[tuple[str, str], int] = {}
        self._plain: set[tuple[str, str, str]] = set()

    def take(self, item: Item) -> None:
        if type(item) is EdgeItem:
            self._edge(item)
        elif type(item) is TwinItem:
            self._twin(item)
        elif isinstance(item, ModelItem) and self._texts is not None:
            self._texts.append(item)

    def models(self) -> Models:
        """The models of the store and of the file; called for the first time once all were taken."""
        texts, self._texts = self._texts, None
        if texts:
            self._read_models(texts)
        return self.new.models

    def _read_models(self, texts: list[ModelItem]) -> None:
        documents: list[dtdl.Document] = []
        places: dict[str, ModelItem] = {}
        for item in texts:
            known = self._known_model(item)
            if known:
                self.unchanged_models += 1
            elif known is None:
                name = item.file or f"line {item.line}"
                places[name] = item
                documents.append(dtdl.Document(item.text, name))
        if not documents:
            return
        before = self._hot.models
        try:
            after = dtdl.parse(documents, base=before)
        except DtdlError as error:
            self.new.sound = False
            for defect in error.errors:
                place = places.get(defect.file)
                line = defect.line if place is None or place.file else place.line
                file = "" if place is None else place.file
                self.report.add(line, defect.code, defect.message, defect.remedy, defect.path, file)
            return
        ids = tuple(id for id in after if id not in before)
        self.new = _NewModels(tuple(after.interfaces[id].document for id in ids), ids, after)

    def _known_model(self, item: ModelItem) -> bool | None:
        """True: the store has this very model. None: it is new. False: the store has another one of that id."""
        try:
            document = orjson.loads(item.text)
        except orjson.JSONDecodeError:
            return None  # the parser says what is wrong with it
        id = document.get("@id") if isinstance(document, dict) else None
        if isinstance(document, list) and document and item.file:
            return self._known_models(document)
        interface = self._hot.models.get(id) if isinstance(id, str) else None
        if interface is None:
            return None
        if interface.document == document:
            return True
        message = f"the model {id} is there already and is another one"
        self.report.add(item.line, "modelDiffers", message, "give the changed model a new version", "/@id", item.file)
        return False

    def _known_models(self, documents: list[Json]) -> bool | None:
        """As `_known_model` for a file with an array: None unless the store has every one of them as it is."""
        for document in documents:
            id = document.get("@id") if isinstance(document, dict) else None
            interface = self._hot.models.get(id) if isinstance(id, str) else None
            if interface is None or interface.document != document:
                return None
        return True

    def _twin(self, item: TwinItem) -> None:
        models = self.models() if self._texts is not None else self.new.models
        line, id = item.line, item.id
        try:
            twin_id(id)
            if id in self._model_of:
                at = f"the twin {id!r} is given on line {self._lines[id]} too"
                self.report.add(line, "duplicateTwin", at, "give it once", "/$dtId")
                return
            self._lines[id] = line
            self._model_of[id] = model = ModelId(item.model)
            row = self._hot.row(id)
            if row is not None and self._hot.model_of(row) != model:
                message = f"the twin {id!r} is there already, of the model {self._hot.model_of(row)}"
                self.report.add(line, "otherModel", message, "migrate it, or give it another id", "/$metadata/$model")
                return
            if model not in models:
                if self.new.sound:
                    message, remedy = f"there is no model {item.model!r}", "add it to the file, or mend the id"
                    self.report.add(line, "unknownModel", message, remedy, "/$metadata/$model")
                return
            if item.size > self._limits.twin_bytes:
                self._limits.check_twin(item.properties)
            models.check_twin(model, item.properties)
        except TwinloomError as error:
            self.report.add_error(line, error, f"twin {id!r}: ")
            return

    def _edge(self, item: EdgeItem) -> None:
        models = self.models() if self._texts is not None else self.new.models
        line, source, id, name, target, properties, size = item
        source_model, target_model = self._model(source), self._model(target)
        if source_model is None or target_model is None:
            for end, model, key in ((source, source_model, "$sourceId"), (target, target_model, "$targetId")):
                if model is None:
                    message = f"there is no twin {end!r}, neither in the file nor in the graph"
                    self.report.add(line, "unknownTwin", message, "add the twin, or mend the id", f"/{key}")
            return
        key = edge_key(source, id)
        first = self._edges.setdefault(key, line)
        if first != line:
            message = f"{source!r} has the relationship {id!r} on line {first} too"
            self.report.add(line, "duplicateRelationship", message, "give it an id of its own", "/$relationshipId")
            return
        if len(id) > RELATIONSHIP_ID:
            message = f"the relationship id is longer than {RELATIONSHIP_ID} characters"
            self.report.add(line, "longId", message, "choose a shorter one", "/$relationshipId")
            return
        there = self._hot.relationship(source, id) if self._hot.row(source) is not None else None
        if there is not None and (there.name, there.target) != (name, target):
            message = f"{source!r} has a relationship {id!r} already: {there.name} to {there.target!r}"
            self.report.add(line, "otherRelationship", message, "delete that one, or choose another id")
            return
        if not self.new.sound and (source_model not in models or target_model not in models):
            return
        existing = self._existing(source, name)
        if there is None:
            self._counts[source, name] = existing + 1
        else:
            self.there.add(key)
        kind = (source_model, name, target_model)
        if kind in self._plain and not properties and existing < self._limits.relationships_per_twin:
            return
        prefix = f"{source!r} -[{name}]-> {target!r}: "
        try:
            models.check_relationship(
                source_model, name, target_model, properties, existing if there is None else existing - 1
            )
            if there is None:
                self._limits.check_degree(source, existing)
            if size > self._limits.twin_bytes:
                self._limits.check_twin(properties)
        except (ModelViolation, LimitExceeded) as error:
            self.report.add_error(line, error, prefix)
            return
        content = models.interface(source_model).contents[name]
        if isinstance(content, RelationshipType) and content.max_multiplicity is None:
            self._plain.add(kind)

    def _existing(self, source: str, name: str) -> int:
        """How many relationships of that name the twin has so far, in the store and the file."""
        found = self._counts.get((source, name))
        if found is None:
            row = self._hot.row(source)
            found = 0 if row is None else len(self._hot.out(row, name))
        return found

    def _model(self, id: str) -> ModelId | None:
        found = self._model_of.get(id)
        if found is None:
            row = self._hot.row(id)
            return None if row is None else self._hot.model_of(row)
        return found


def edge_key(source: str, id: str) -> str:
    """One text for a relationship: twin ids have no line feed."""
    return f"{source}\n{id}"


class _Writer:
    """The second pass: items as changes. A commit runs while the next batch is read."""

    def __init__(self, hot: HotGraph, store: GraphStore | None, seq: int, loaded: Loaded, there: set[str]) -> None:
        self._hot = hot
        self._there = there
        self._store = store
        self._seq = seq
        self._etag = etag_of(seq)
        self._time_ns = time.time_ns()
        self._loaded = loaded
        self._changes: list[Change] = []
        self._pending: asyncio.Task[None] | None = None
        self._layouts: dict[ModelId, Layout] = {}

    def add(self, item: Item) -> None:
        if type(item) is EdgeItem:
            _, source, id, name, target, properties, _ = item
            edge = Relationship(id, TwinId(source), name, TwinId(target), properties, self._etag, self._seq)
            there = None
            if self._there and edge_key(source, id) in self._there:
                there = self._hot.relationship(source, id)
            if there is None:
                self._loaded.relationships.created += 1
                self._changes.append(PutRelationship(edge, create=True))
            elif there.properties == properties:
                self._loaded.relationships.unchanged += 1
            else:
                self._loaded.relationships.updated += 1
                self._changes.append(PutRelationship(edge, there.etag, create=False))
        elif type(item) is TwinItem:
            if item.id in self._hot:
                self._update(item)
                return
            self._loaded.twins.created += 1
            now = self._time_ns
            twin = Twin(TwinId(item.id), ModelId(item.model), item.properties, self._etag, self._seq, now, now)
            self._changes.append(PutTwin(twin, create=True))

    def _update(self, item: TwinItem) -> None:
        before = self._hot.twin(item.id)
        assert before is not None
        layout = self._layouts.get(before.model)
        if layout is None:
            layout = self._layouts[before.model] = layout_for(self._hot.models, before.model)
        old, new = layout.flat(before.properties), layout.flat(item.properties)
        for path in layout.telemetry:  # a file without telemetry takes none away
            if path in old and path not in new:
                new[path] = old[path]
        paths = tuple(path for path in {**old, **new} if old.get(path) != new.get(path))
        if not paths:
            self._loaded.twins.unchanged += 1
            return
        self._loaded.twins.updated += 1
        properties: dict[str, Json] = {}
        for path, value in new.items():
            nest(properties, tuple(path.split(".")), value)
        twin = replace(before, properties=properties)
        self._changes.append(PutTwin(twin, expected_etag=before.etag, paths=paths))

    @property
    def full(self) -> bool:
        return len(self._changes) >= BATCH

    async def models(self, new: _NewModels) -> None:
        if new.ids:
            self._changes.append(PutModels(new.documents, new.ids))
            await self.flush()
            await self.flush()  # twins are added to a graph that knows their models

    async def flush(self) -> None:
        """Hands over what is collected once the commit before is done and applied; with nothing collected, waits."""
        pending, self._pending = self._pending, None
        if pending is not None:
            await pending
        changes, self._changes = self._changes, []
        if changes and self._store is not None:
            self._pending = asyncio.create_task(self._commit(self._store, tuple(changes), self._seq))
            self._seq += 1
            self._etag = etag_of(self._seq)
            await asyncio.sleep(0)

    async def _commit(self, store: GraphStore, changes: tuple[Change, ...], seq: int) -> None:
        changes = stamped(changes, seq=seq, time_ns=self._time_ns)
        await store.commit(changes, seq=seq, time_ns=self._time_ns, cause="import")
        self._hot.apply(changes, seq)

    async def cancel(self) -> None:
        if self._pending is not None:
            await asyncio.wait({self._pending})


def check(reading: Reading, hot: HotGraph, limits: Limits | None = None) -> Check:
    """The first pass. Raises ImportRefused with every defect of the file."""
    report = Report(reading.file)
    found = Check(hot, report, limits or Limits())
    for item in reading.items(found.models, report):
        found.take(item)
    found.models()
    if report.count:
        raise ImportRefused(report)
    return found


async def write(reading: Reading, checked: Check, hot: HotGraph, store: GraphStore | None, seq: int) -> Loaded:
    """The second pass: `hot` shows what was written. Without a store only counts what it would do.

    Raises what the store raises; the batches before are written then, and the next import goes on behind them.
    """
    loaded = Loaded(dry_run=store is None)
    loaded.models = Tally(created=len(checked.new.ids), unchanged=checked.unchanged_models)
    writer = _Writer(hot, store, seq + 1, loaded, checked.there)
    collecting = gc.isenabled()
    gc.disable()  # the graph only grows: collections would find nothing and take half of the time
    try:
        await writer.models(checked.new)
        for item in reading.items(lambda: checked.new.models, Report(reading.file)):
            writer.add(item)
            if writer.full:
                await writer.flush()
        await writer.flush()
        await writer.flush()
    finally:
        if collecting:
            gc.enable()
        await writer.cancel()
    return loaded


def tallies(loaded: Loaded) -> Mapping[str, Tally]:
    return {"models": loaded.models, "twins": loaded.twins, "relationships": loaded.relationships}
