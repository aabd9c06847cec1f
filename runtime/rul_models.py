"""Which models are loaded and which scores what: loaded beside, shadowed, swapped, rolled back while scoring goes on.

Files come from one folder that the operator names (setting `models`); a request names a file in it, never a path. The
plan is a durable record: after a restart the same digests are in force, provided that their files still have them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import PutRecord
from twinloom.prognostics.onnx_estimator import OnnxEstimator
from twinloom.prognostics.registry import EVERYTHING, ShadowFigures
from twinloom.prognostics.served import Served
from twinloom.runtime.commits import Commits, Numbers, Prepared
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.records import RUL_MODELS
from twinloom.twin.assessments import ModelHealth
from twinloom.twin.errors import BadRequest, NotFound, TwinloomError, Unavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Json

log = logging.getLogger(__name__)

MOST_MODELS = 32
_KEY = "plan"


@dataclass(frozen=True, slots=True)
class RulModel:
    """One loaded model. `active`, `shadows`: the targets (twin ids, DTDL types, `*`) that it scores, or shadows."""

    digest: str
    file: str
    model: OnnxEstimator
    active: tuple[str, ...]
    shadows: tuple[str, ...]
    health: ModelHealth
    reason: str
    figures: ShadowFigures | None
    lives: int
    coverage: float


class RulModels:
    """All calls on the event-loop thread; loading and checking happen in worker threads."""

    def __init__(self, served: Served | None, hot: HotGraph, commits: Commits, folder: Path | None) -> None:
        self._served = served
        self._hot = hot
        self._commits = commits
        self._folder = folder
        self._files: dict[str, str] = {}
        self._changing = asyncio.Lock()
        if served is not None:
            served.types_of = self._types_of

    @property
    def served(self) -> Served:
        """Raises Unavailable when the service scores with something else."""
        if self._served is None:
            raise Unavailable("this service scores without a model registry", remedy="start it with `twinloom serve`")
        return self._served

    async def restore(self, record: Json) -> None:
        """Takes over the plan of an earlier process; a file that is gone or another one is left out, and logged."""
        if self._served is None or not isinstance(record, Mapping):
            return
        for digest, file in record["files"].items():
            try:
                path = self._path(file)
                if hashlib.sha256(path.read_bytes()).hexdigest()[:12] != digest:
                    raise BadRequest(f"{file} is not the model {digest} any more", remedy="put the old file back")
                await asyncio.to_thread(self._served.registry.add_file, path)
            except (TwinloomError, OSError) as error:
                log.warning("the RUL model %s (%s) is not loaded again: %s", digest, file, error)
            else:
                self._files[digest] = file
        self._served.registry.restore(record["plan"])

    def loaded(self) -> list[RulModel]:
        """Every loaded model, those in force first."""
        if self._served is None:
            return []
        plan = self._served.registry.plan
        found = []
        for digest, model in self._served.registry.models.items():
            watch = self._served.watch_of(digest)
            health, reason = watch.health()
            found.append(
                RulModel(
                    digest=digest,
                    file=self._files.get(digest, Path(model.file).name),
                    model=model,
                    active=tuple(sorted(t for t, d in plan["active"].items() if d == digest)),
                    shadows=tuple(sorted(t for t, d in plan["shadows"].items() if d == digest)),
                    health=health,
                    reason=reason,
                    figures=self._served.registry.shadow_figures.get(digest),
                    lives=watch.learner.lives,
                    coverage=watch.learner.coverage,
                )
            )
        return sorted(found, key=lambda entry: (not entry.active, entry.digest))

    def get(self, digest: str) -> RulModel:
        """Raises NotFound."""
        found = next((entry for entry in self.loaded() if entry.digest == digest), None)
        if found is None:
            raise NotFound(f"there is no RUL model {digest[:80]!r}", remedy="list them with rulModels")
        return found

    async def load(self, file: str, principal: str) -> RulModel:
        """Loads a file of the folder beside the others, fully checked, trial run included. Raises BadFile and others;
        nothing changes then."""
        async with self._changing:
            path = self._path(file)
            if len(self.served.registry) >= MOST_MODELS:
                raise BadRequest(f"{MOST_MODELS} models are loaded already", remedy="restart without the unused ones")
            digest = await asyncio.to_thread(self.served.registry.add_file, path)
            self._files[digest] = file
            await self._keep(principal)
            return self.get(digest)

    async def shadow(self, digest: str, target: str, principal: str) -> RulModel:
        """Scores `target` with this model too, for comparison only."""
        async with self._changing:
            self.served.registry.shadow(digest, self._target(target))
            await self._keep(principal)
            return self.get(digest)

    async def swap(self, digest: str, target: str, principal: str) -> RulModel:
        """Puts a loaded model in force for a twin, a DTDL type or everything (`*`)."""
        async with self._changing:
            self.served.registry.activate(digest, self._target(target))
            self.served.registry.end_shadow(target)
            await self._keep(principal)
            return self.get(digest)

    async def roll_back(self, target: str, principal: str) -> RulModel:
        """Puts the model before in force again. Raises Conflict when there was none."""
        async with self._changing:
            digest = self.served.registry.roll_back(self._target(target))
            await self._keep(principal)
            return self.get(digest)

    def _path(self, file: str) -> Path:
        if self._folder is None:
            raise BadRequest("no folder of models is allowed", remedy="name one with the setting `models`")
        path = self._folder / file
        if Path(file).name != file or not file.endswith(".onnx") or not path.is_file():
            raise NotFound(f"there is no model {file[:80]!r} in the folder of models", remedy="name a .onnx file in it")
        if path.resolve().parent != self._folder.resolve():
            raise BadRequest(f"{file!r} leads out of the folder of models", remedy="copy the file there")
        return path

    def _target(self, target: str) -> str:
        if target != EVERYTHING and target not in self._hot and ModelId(target) not in self._hot.models:
            raise NotFound(f"there is no twin or model {target[:80]!r}", remedy="name a twin, a DTDL type or *")
        return target

    def _types_of(self, twin: TwinId) -> list[str]:
        """DTDL types of a twin, most specific first. Called in the thread that scores."""
        row = self._hot.row(twin)
        interface = self._hot.models.get(self._hot.model_of(row)) if row is not None else None
        if interface is None:
            return []
        known = ((id, self._hot.models.get(id)) for id in interface.ancestors)
        above = sorted(known, key=lambda entry: -len(entry[1].ancestors) if entry[1] else 0)
        return [interface.id, *(id for id, _ in above)]

    async def _keep(self, principal: str) -> None:
        document: dict[str, Json] = {"files": dict(self._files), "plan": self.served.registry.plan}

        def prepare(numbers: Numbers, now_ns: int) -> Prepared:
            return Prepared(Outcome(seq=0), (PutRecord(RUL_MODELS, _KEY, document),))

        await self._commits.submit(f"RUL models by {principal}", frozenset((RUL_MODELS,)), prepare)
