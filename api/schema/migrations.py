"""Model migrations in the schema: the roots of `queries` and `mutations` with what plans, applies and reverts them.

A migration may take longer than a request: `apply` and `revert` wait up to `waitMs`, then answer with how far it is,
and `modelMigration` tells the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

import strawberry

from twinloom.api.context import Context, Info
from twinloom.api.schema import mutations, queries
from twinloom.api.schema.described import described, mutation
from twinloom.api.schema.mutations import UserError, user_errors
from twinloom.api.schema.scalars import DateTime, Json, Long
from twinloom.runtime.migration import KEPT, Migrations, Plan
from twinloom.runtime.model_moves import Breaking, Move
from twinloom.twin.errors import BadRequest, TwinloomError
from twinloom.twin.ids import model_id

WAIT_MS = 5_000


@strawberry.type(description="Twins that are exactly of the model `from` become twins of `to`.")
class ModelMove:
    from_: str = strawberry.field(name="from")
    to: str
    renames: Json = strawberry.field(description="Old paths with their new names.")
    defaults: Json = strawberry.field(description="Paths with the values of twins that have none that fits.")


@strawberry.type(description="What clients, sources or twins of the old model meet in the new one.")
class BreakingChange:
    model: str
    path: str = strawberry.field(description="A property path, or the name of a relationship or command.")
    kind: str
    reason: str


@strawberry.type(description="Why a twin cannot move.")
class MigrationProblem:
    dt_id: str
    path: str = strawberry.field(description="JSON pointer into its properties, or the name of a relationship.")
    reason: str


@strawberry.type(description="One value of a sample: null where there is none.")
class ValueDiff:
    path: str
    before: Json | None
    after: Json | None


@strawberry.type
class MigrationSample:
    dt_id: str
    changes: list[ValueDiff]


@strawberry.type(description="A plan to move twins from one model to another, and how far it is.")
class ModelMigration:
    plan: strawberry.Private[Plan]
    migrations: strawberry.Private[Migrations]

    @strawberry.field
    def plan_id(self) -> str:
        return self.plan.id

    @described("`planned`, `applying`, `applied`, `reverting` or `reverted`.")
    def state(self) -> str:
        return self.plan.state

    @described("False while `applying` or `reverting` means: interrupted, apply or revert it again.")
    def running(self) -> bool:
        return self.migrations.running(self.plan.id)

    @strawberry.field
    def moves(self) -> list[ModelMove]:
        return [
            ModelMove(
                from_=move.source, to=move.target, renames=Json(dict(move.renames)), defaults=Json(dict(move.defaults))
            )
            for move in self.plan.moves
        ]

    @described("The seq of the state that the plan was made from.")
    def seq(self) -> Long:
        return Long(self.plan.seq)

    @strawberry.field
    def created_at(self) -> DateTime:
        return DateTime(self.plan.created_ns)

    @described("How many twins were affected when the plan was made.")
    def twins(self) -> int:
        return self.plan.twins

    @described("How many twins are of their new models.")
    def moved(self) -> int:
        return self.plan.moved

    @strawberry.field
    def breaking_changes(self) -> list[BreakingChange]:
        return [_breaking(change) for change in self.plan.breaking]

    @described("What must be mended before the plan can be applied: the first hundred.")
    def problems(self) -> list[MigrationProblem]:
        return [MigrationProblem(dt_id=p.twin, path=p.path, reason=p.reason) for p in self.plan.problems]

    @strawberry.field
    def problem_count(self) -> int:
        return self.plan.problem_count

    @described("What changes in some of the twins.")
    def samples(self) -> list[MigrationSample]:
        return [
            MigrationSample(
                dt_id=sample.twin,
                changes=[
                    ValueDiff(path=path, before=_json(before), after=_json(sample.after.get(path)))
                    for path, before in sample.before.items()
                ],
            )
            for sample in self.plan.samples
        ]


@strawberry.type
class MigrationPayload:
    migration: ModelMigration | None
    seq: Long
    user_errors: list[UserError]
    client_mutation_id: str | None


@strawberry.input
class ModelMoveInput:
    from_: str = strawberry.field(name="from")
    to: str
    renames: Json | None = None
    defaults: Json | None = None


@strawberry.input
class PlanModelMigrationInput:
    from_: str = strawberry.field(name="from")
    to: str
    renames: Json | None = strawberry.field(default=None, description='{"old.path": "new.path"}')
    defaults: Json | None = strawberry.field(
        default=None, description='{"path": value}, for twins that have no value there, or none that fits.'
    )
    together: list[ModelMoveInput] | None = strawberry.field(
        default=None, description="Other models that move in the same plan, where relationships tie them together."
    )
    client_mutation_id: str | None = None


@strawberry.input
class ModelMigrationInput:
    plan_id: str
    wait_ms: int = strawberry.field(default=WAIT_MS, description="How long to wait for the end: 0 to 8000.")
    client_mutation_id: str | None = None


@strawberry.type(name="Query")
class Query(queries.Query):
    @described("A migration by the id of its plan.")
    def model_migration(self, info: Info, id: str) -> ModelMigration | None:
        migrations = info.context.service.migrations
        plan = migrations.get(id)
        return None if plan is None else ModelMigration(plan=plan, migrations=migrations)

    @described(f"The latest {KEPT} migrations, newest first.")
    def model_migrations(self, info: Info) -> list[ModelMigration]:
        migrations = info.context.service.migrations
        return [ModelMigration(plan=plan, migrations=migrations) for plan in migrations]


@strawberry.type(name="Mutation")
class Mutation(mutations.Mutation):
    @mutation("Looks at every twin of the model `from` and changes none.")
    async def plan_model_migration(self, info: Info, input: PlanModelMigrationInput) -> MigrationPayload:
        context: Context = info.context
        context.principal.require("write")
        migrations = context.service.migrations
        try:
            moves = [_move(given) for given in (input, *(input.together or ()))]
            plan = await migrations.plan(moves, principal=context.principal.name)
        except TwinloomError as error:
            return _payload(context, error, input.client_mutation_id)
        return _payload(context, plan, input.client_mutation_id)

    @mutation("Moves the twins of a plan, batch by batch. Again after a crash or an error: goes on.")
    async def apply_model_migration(self, info: Info, input: ModelMigrationInput) -> MigrationPayload:
        return await _carry_out(info.context, "apply", input)

    @mutation("Gives the twins of a plan their old model and values; what was changed since stays changed.")
    async def revert_model_migration(self, info: Info, input: ModelMigrationInput) -> MigrationPayload:
        return await _carry_out(info.context, "revert", input)


async def _carry_out(
    context: Context, action: Literal["apply", "revert"], input: ModelMigrationInput
) -> MigrationPayload:
    context.principal.require("write")
    migrations = context.service.migrations
    try:
        if not 0 <= input.wait_ms <= 8_000:
            raise BadRequest(f"waitMs: {input.wait_ms} is out of range", remedy="give 0 to 8000")
        done = migrations.begin(input.plan_id, action, principal=context.principal.name)
        await asyncio.wait({done}, timeout=input.wait_ms / 1000)
        found = done.result() if done.done() else migrations.get(input.plan_id)
    except TwinloomError as error:
        return _payload(context, error, input.client_mutation_id)
    return _payload(context, found, input.client_mutation_id)


def _move(given: PlanModelMigrationInput | ModelMoveInput) -> Move:
    renames = _texts(given.renames)
    return Move(
        model_id(queries.model_id_of(given.from_)),
        model_id(queries.model_id_of(given.to)),
        renames,
        _object(given.defaults, "defaults"),
    )


def _texts(given: object) -> dict[str, str]:
    found = _object(given, "renames")
    for name, value in found.items():
        if not isinstance(value, str):
            raise BadRequest(f"renames: {name!r} has no name as its value", remedy='write {"old": "new"}')
    return {name: str(value) for name, value in found.items()}


def _object(given: object, name: str) -> dict[str, object]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise BadRequest(f"`{name}` must be a JSON object", remedy='write {"path": ...}')
    return dict(given)


def _payload(context: Context, done: Plan | TwinloomError | None, key: str | None) -> MigrationPayload:
    errors: Sequence[UserError] = user_errors(done) if isinstance(done, TwinloomError) else ()
    plan = done if isinstance(done, Plan) else None
    return MigrationPayload(
        migration=None if plan is None else ModelMigration(plan=plan, migrations=context.service.migrations),
        seq=Long(context.seq),
        user_errors=list(errors),
        client_mutation_id=key,
    )


def _breaking(change: Breaking) -> BreakingChange:
    return BreakingChange(model=change.model, path=change.path, kind=change.kind, reason=change.reason)


def _json(value: object) -> Json | None:
    return None if value is None else Json(value)
