"""Model migrations: planned, applied in batches, resumed after a crash, reverted.

A plan is a record. Each batch of twins is one commit, which also holds what the batch undid and how far the plan is; so
at every moment the store says exactly which twins have moved. Twins that have moved are of another model, so going on
after a crash needs no cursor. Telemetry and other orders go on meanwhile; a plan is never applied beyond a twin that
would break its models.

Longer than 400 lines because plan, apply and revert are one state machine over one record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeAlias

import msgspec

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import Change, DropRecord, PutRecord, PutTwin
from twinloom.runtime.commits import Commits, Numbers, Prepared
from twinloom.runtime.model_moves import Breaking, Move, Transform, Undo, moved
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.records import document, record
from twinloom.twin.errors import BadRequest, Conflict, ModelViolation, NotFound, TwinloomError
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Json, Twin
from twinloom.twin.ports import Clock
from twinloom.twin.signals import AnySignal, TwinUpdated

MIGRATION = "migration"
MIGRATION_UNDO = "migration_undo"

BATCH = 200
"""Twins in one commit: some 20 ms of work, so that readings never wait longer behind it."""

SAMPLES = 10
PROBLEMS = 100
KEPT = 50
"""How many plans are remembered, and so can be reverted."""

Moved: TypeAlias = Callable[[ModelId], ModelId]
"""The model that a model's twins have after the moves."""

State = Literal["planned", "applying", "applied", "reverting", "reverted"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a twin cannot move. `path` is a JSON pointer into its properties, or names a relationship."""

    twin: TwinId
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What a move changes in one twin, by path; None: no value."""

    twin: TwinId
    before: Mapping[str, Json]
    after: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Plan:
    """`twins` counts the affected twins when the plan was made, `moved` those that are of their new models now.

    `problems` (the first 100 of `problem_count`) must be mended before the plan can be applied. `batches` counts the
    commits that a revert has to undo.
    """

    id: str
    moves: tuple[Move, ...]
    seq: int
    created_ns: int
    principal: str
    twins: int
    breaking: tuple[Breaking, ...] = ()
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    samples: tuple[Sample, ...] = ()
    state: State = "planned"
    moved: int = 0
    batches: int = 0


@dataclass(slots=True)
class _Survey:
    """What a look at every affected twin found."""

    twins: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    samples: list[Sample] = field(default_factory=list)


class Migrations:
    """All calls on the event-loop thread. `run()` carries out what `begin` asked for."""

    def __init__(self, hot: HotGraph, commits: Commits, clock: Clock) -> None:
        self._hot = hot
        self._commits = commits
        self._clock = clock
        self._plans: dict[str, Plan] = {}
        self._undo: dict[str, bytes] = {}
        self._busy: dict[str, asyncio.Future[Plan]] = {}
        self._asked: asyncio.Queue[tuple[str, Literal["apply", "revert"], str]] = asyncio.Queue(KEPT)

    def load(self, plans: Iterable[tuple[str, Json]], undo: Iterable[tuple[str, Json]]) -> None:
        """Takes over what an earlier process made durable. A plan that was under way waits to be applied again."""
        found = [record(Plan, stored) for _, stored in plans]
        self._plans = {plan.id: plan for plan in sorted(found, key=lambda plan: plan.seq)}
        self._undo = {key: msgspec.json.encode(stored) for key, stored in undo}

    def __iter__(self) -> Iterator[Plan]:
        """The latest plan first."""
        return reversed(self._plans.values())

    def get(self, id: str) -> Plan | None:
        return self._plans.get(id)

    def running(self, id: str) -> bool:
        """True while this process applies or reverts the plan."""
        return id in self._busy

    # ---- planning --------------------------------------------------------------------------------------------------

    async def plan(self, moves: Sequence[Move], *, principal: str = "system") -> Plan:
        """Looks at every affected twin, changes none, and keeps the plan.

        Raises NotFound, BadRequest and ModelViolation for moves that mean nothing, StoreUnavailable.
        """
        transforms = self._compiled(moves)
        seq, now_ns = self._hot.seq, self._clock.now_ns()
        survey = await self._survey(transforms)
        plan = Plan(
            id=f"migration-{seq}-{len(self._plans)}",
            moves=tuple(moves),
            seq=seq,
            created_ns=now_ns,
            principal=principal,
            twins=survey.twins,
            breaking=tuple(found for transform in transforms.values() for found in transform.breaking),
            problems=tuple(survey.problems),
            problem_count=survey.problem_count,
            samples=tuple(survey.samples),
        )
        await self._keep(plan, *self._forgotten())
        return plan

    def _compiled(self, moves: Sequence[Move]) -> dict[ModelId, Transform]:
        if not moves:
            raise BadRequest("the migration has no move", remedy="name the model to migrate from and the one to go to")
        transforms: dict[ModelId, Transform] = {}
        for move in moves:
            if move.source in transforms:
                raise BadRequest(f"{move.source} is to be migrated twice", remedy="name each model once")
            transforms[move.source] = Transform(self._hot.models, move)
        for move in moves:
            if move.target in transforms:
                raise BadRequest(
                    f"{move.target} is both source and target", remedy="make two plans, one after the other"
                )
        return transforms

    async def _survey(self, transforms: Mapping[ModelId, Transform]) -> _Survey:
        survey = _Survey()
        after = moved([transform.move for transform in transforms.values()])
        for source, transform in transforms.items():
            ids = [self._hot.id_of(row) for row in self._hot.rows_of(source, subtypes=False)]
            async for id in self._in_turns(ids):
                before = self._hot.twin(id)
                if before is None or before.model != source:
                    continue
                survey.twins += 1
                properties, undo = transform.apply(before.properties)
                if len(survey.samples) < SAMPLES and undo.before:
                    survey.samples.append(Sample(id, undo.before, undo.after))
                for problem in self._problems(id, transform.move.target, properties, after):
                    survey.problem_count += 1
                    if len(survey.problems) < PROBLEMS:
                        survey.problems.append(problem)
        return survey

    async def _in_turns(self, ids: Sequence[TwinId]) -> AsyncIterator[TwinId]:
        """The ids, letting the event loop go on after each batch."""
        for number, id in enumerate(ids, 1):
            yield id
            if number % BATCH == 0:
                await asyncio.sleep(0)

    def _problems(self, id: TwinId, model: ModelId, properties: Mapping[str, Json], after: Moved) -> Iterator[Problem]:
        """Why a twin with these properties cannot be of `model`, `after` having happened to all others."""
        hot = self._hot
        models = hot.models
        try:
            models.check_twin(model, properties)
        except ModelViolation as error:
            yield Problem(id, error.path, error.message)
        row = hot.row(id)
        if row is None:
            return
        counts: dict[str, int] = {}
        for edge in hot.out(row):
            existing = counts.get(edge.name, 0)
            counts[edge.name] = existing + 1
            try:
                models.check_relationship(model, edge.name, after(hot.model_of(edge.target)), edge.properties, existing)
            except ModelViolation as error:
                yield Problem(id, edge.name, f"the relationship {edge.id!r} does not fit: {error.message}")
        for edge in hot.into(row):
            try:
                models.check_relationship(after(hot.model_of(edge.source)), edge.name, model, edge.properties, 0)
            except ModelViolation as error:
                source = hot.id_of(edge.source)
                yield Problem(
                    id, edge.name, f"the relationship {edge.id!r} of {source!r} does not fit: {error.message}"
                )

    # ---- applying and reverting ------------------------------------------------------------------------------------

    def begin(self, id: str, action: Literal["apply", "revert"], *, principal: str = "system") -> asyncio.Future[Plan]:
        """Asks `run()` to apply or revert a plan; the future has the plan when that is done, or its error.

        Asking again while it runs gives the same future. Raises NotFound, Conflict when the plan's state forbids it.
        """
        found = self._busy.get(id)
        if found is not None:
            return found
        self._expect(id, action)
        done: asyncio.Future[Plan] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_observed)
        try:
            self._asked.put_nowait((id, action, principal))
        except asyncio.QueueFull:
            raise Conflict("too many migrations wait", remedy="wait for one of them to end") from None
        self._busy[id] = done
        return done

    async def run(self) -> None:
        """The worker. Runs until cancelled; what it was doing can be begun again afterwards."""
        while True:
            id, action, principal = await self._asked.get()
            done = self._busy[id]
            try:
                plan = await (self.apply if action == "apply" else self.revert)(id, principal=principal)
            except TwinloomError as error:
                done.set_exception(error)
            except asyncio.CancelledError:
                done.cancel()
                raise
            else:
                done.set_result(plan)
            finally:
                del self._busy[id]

    async def apply(self, id: str, *, principal: str = "system") -> Plan:
        """Moves every twin of the plan that has not moved yet.

        Raises Conflict when the plan is done with or a twin cannot move (then nothing more has moved), NotFound when a
        model is gone, StoreUnavailable.
        """
        plan = self._expect(id, "apply")
        transforms = self._compiled(plan.moves)
        survey = await self._survey(transforms)
        if survey.problem_count:
            raise _refusal(survey.problems[0], survey.problem_count)
        after = moved(plan.moves)
        for source, transform in transforms.items():
            while rows := self._hot.rows_of(source, subtypes=False)[:BATCH]:
                ids = [self._hot.id_of(row) for row in rows]
                prepare = partial(self._move_batch, id, transform, after, ids, principal)
                await self._commits.submit(f"migration {id}", _touches(id, ids), prepare, signals=partial(len, ids))
        return await self._keep(replace(self._plans[id], state="applied"))

    def _move_batch(
        self,
        id: str,
        transform: Transform,
        after: Moved,
        ids: Sequence[TwinId],
        principal: str,
        numbers: Numbers,
        now_ns: int,
    ) -> Prepared:
        plan, target = self._plans[id], transform.move.target
        changes: list[Change] = []
        signals: list[AnySignal] = []
        undone: dict[str, Undo] = {}
        for twin_id in ids:
            before = self._hot.twin(twin_id)
            if before is None or before.model != transform.move.source:
                continue
            properties, undo = transform.apply(before.properties)
            problem = next(self._problems(twin_id, target, properties, after), None)
            if problem is not None:
                raise _refusal(problem, 1)
            undone[twin_id] = undo
            paths = tuple(undo.before)
            changes.append(PutTwin(Twin(twin_id, target, properties), expected_etag=before.etag, paths=paths))
            signals.append(
                TwinUpdated(seq=numbers.take(), time_ns=now_ns, cause=principal, twin=twin_id, paths=("$model", *paths))
            )
        if not changes:
            return Prepared(Outcome(seq=self._hot.seq))
        now = replace(plan, state="applying", moved=plan.moved + len(changes), batches=plan.batches + 1)
        key = _undo_key(id, now.batches)
        stored = {"source": transform.move.source, "twins": _undo_document(undone)}
        changes += [PutRecord(MIGRATION, id, document(now)), PutRecord(MIGRATION_UNDO, key, stored)]

        def applied() -> None:
            self._plans[id] = now
            self._undo[key] = msgspec.json.encode(stored)

        return Prepared(Outcome(seq=signals[-1].seq), tuple(changes), tuple(signals), applied)

    async def revert(self, id: str, *, principal: str = "system") -> Plan:
        """Gives every twin that the plan moved its old model and its old values.

        A value that was changed since stays changed. Twins that are gone, or have moved on, are left alone. Raises
        Conflict when the plan moved nothing or a twin cannot go back, NotFound when the old model is gone.
        """
        plan = self._expect(id, "revert")
        transforms = self._compiled(plan.moves)
        back = {move.target: move.source for move in plan.moves}
        for number in range(plan.batches, 0, -1):
            source, undone = self._undone(id, number)
            async for twin_id in self._in_turns([TwinId(name) for name in undone]):
                found = self._reverted(twin_id, transforms[source], undone[twin_id])
                if found is not None:
                    problem = next(self._problems(twin_id, source, found[1], lambda m: back.get(m, m)), None)
                    if problem is not None:
                        raise _refusal(problem, 1)
        while (plan := self._plans[id]).batches:
            source, undone = self._undone(id, plan.batches)
            ids = [TwinId(name) for name in undone]
            prepare = partial(self._revert_batch, id, transforms[source], undone, principal)
            await self._commits.submit(f"revert {id}", _touches(id, ids), prepare, signals=partial(len, ids))
        return await self._keep(replace(self._plans[id], state="reverted"))

    def _revert_batch(
        self, id: str, transform: Transform, undone: Mapping[str, Undo], principal: str, numbers: Numbers, now_ns: int
    ) -> Prepared:
        plan = self._plans[id]
        changes: list[Change] = []
        signals: list[AnySignal] = []
        for name, undo in undone.items():
            twin_id = TwinId(name)
            found = self._reverted(twin_id, transform, undo)
            if found is None:
                continue
            etag, properties, paths = found
            self._hot.models.check_twin(transform.move.source, properties)
            changes.append(PutTwin(Twin(twin_id, transform.move.source, properties), expected_etag=etag, paths=paths))
            signals.append(
                TwinUpdated(seq=numbers.take(), time_ns=now_ns, cause=principal, twin=twin_id, paths=("$model", *paths))
            )
        now = replace(plan, state="reverting", moved=max(0, plan.moved - len(undone)), batches=plan.batches - 1)
        key = _undo_key(id, plan.batches)
        changes += [PutRecord(MIGRATION, id, document(now)), DropRecord(MIGRATION_UNDO, key)]

        def applied() -> None:
            self._plans[id] = now
            self._undo.pop(key, None)

        return Prepared(Outcome(seq=numbers.commit), tuple(changes), tuple(signals), applied)

    def _reverted(
        self, id: TwinId, transform: Transform, undo: Undo
    ) -> tuple[str, dict[str, Json], tuple[str, ...]] | None:
        """(etag, properties, touched paths) of a twin that is to go back; None when there is none."""
        now = self._hot.twin(id)
        if now is None or now.model != transform.move.target:
            return None
        return now.etag, *transform.revert(now.properties, undo)

    # ---- records ---------------------------------------------------------------------------------------------------

    def _expect(self, id: str, action: Literal["apply", "revert"]) -> Plan:
        plan = self._plans.get(id)
        if plan is None:
            raise NotFound(f"there is no migration {id!r}", remedy="plan one, or list those that there are")
        allowed = ("planned", "applying") if action == "apply" else ("applying", "applied", "reverting")
        if plan.state not in allowed:
            raise Conflict(
                f"the migration {id!r} is {plan.state}",
                remedy="plan it anew" if action == "apply" else "only a migration that was applied can be reverted",
            )
        return plan

    async def _keep(self, plan: Plan, *others: Change) -> Plan:
        def prepare(numbers: Numbers, now_ns: int) -> Prepared:
            def applied() -> None:
                self._plans[plan.id] = plan
                for change in others:
                    if isinstance(change, DropRecord):
                        (self._plans if change.kind == MIGRATION else self._undo).pop(change.key, None)

            changes = (PutRecord(MIGRATION, plan.id, document(plan)), *others)
            return Prepared(Outcome(seq=numbers.commit), changes, applied=applied)

        await self._commits.submit(f"migration {plan.id}", frozenset((f"migration:{plan.id}",)), prepare)
        return plan

    def _forgotten(self) -> list[Change]:
        """The changes that drop the oldest plans above KEPT; one that is under way stays."""
        over = len(self._plans) + 1 - KEPT
        done = [plan for plan in self._plans.values() if plan.state not in ("applying", "reverting")][: max(over, 0)]
        changes: list[Change] = []
        for plan in done:
            changes.append(DropRecord(MIGRATION, plan.id))
            changes += [DropRecord(MIGRATION_UNDO, _undo_key(plan.id, number + 1)) for number in range(plan.batches)]
        return changes

    def _undone(self, id: str, number: int) -> tuple[ModelId, dict[str, Undo]]:
        stored = msgspec.json.decode(self._undo[_undo_key(id, number)])
        return ModelId(stored["source"]), {
            twin: Undo(found["before"], found["after"]) for twin, found in stored["twins"].items()
        }


def _undo_document(undone: Mapping[str, Undo]) -> dict[str, Json]:
    return {twin: {"before": dict(undo.before), "after": dict(undo.after)} for twin, undo in undone.items()}


def _undo_key(id: str, number: int) -> str:
    return f"{id}/{number:08}"


def _touches(id: str, twins: Iterable[TwinId]) -> frozenset[str]:
    return frozenset((f"migration:{id}", *(f"twin:{twin}" for twin in twins)))


def _refusal(problem: Problem, count: int) -> Conflict:
    more = f" (and {count - 1} more)" if count > 1 else ""
    return Conflict(
        f"the twin {problem.twin!r} cannot move: {problem.path}: {problem.reason}{more}",
        remedy="mend the twin, or plan with a default or a rename, then apply again",
    )


def _observed(done: asyncio.Future[Plan]) -> None:
    """Nobody may be waiting for the error of a migration that went on in the background."""
    if not done.cancelled():
        done.exception()
