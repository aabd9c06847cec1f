"""`twinloom migrate`: a migration of models on a data folder, without a server.

The same plans as the server's (`planModelMigration`): one that was planned there is applied here, and the other way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinloom.app.bootstrap import open_store
from twinloom.app.folder import claimed
from twinloom.app.settings import Settings
from twinloom.app.transfer import is_new
from twinloom.graph.hot import HotGraph
from twinloom.runtime.commits import Commits
from twinloom.runtime.feed import Feed
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.migration import MIGRATION, MIGRATION_UNDO, Migrations, Plan
from twinloom.runtime.model_moves import Move
from twinloom.runtime.sequence import Sequence as Numbering
from twinloom.twin.errors import BadFile, BadRequest
from twinloom.twin.ids import model_id
from twinloom.twin.instance import Json
from twinloom.twin.ports import SystemClock

PRINCIPAL = "command line"


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    source: str | None
    target: str | None
    renames: tuple[str, ...]
    defaults: tuple[str, ...]
    plan: str | None
    apply: bool
    revert: bool


async def migrate_and_report(options: MigrateOptions, settings: Settings, *, as_json: bool) -> int:
    """0 when it was done, 1 when the plan has problems that must be mended first. Raises TwinloomErrors."""
    moves = _moves(options)
    async with open_migrations(settings) as migrations:
        if options.plan is None:
            plan = await migrations.plan(moves, principal=PRINCIPAL)
        else:
            plan = _known(migrations, options.plan)
        if options.revert:
            plan = await migrations.revert(plan.id, principal=PRINCIPAL)
        elif options.apply and not plan.problem_count:
            plan = await migrations.apply(plan.id, principal=PRINCIPAL)
    if as_json:
        print(json.dumps(msgspec.to_builtins(plan)))
    else:
        print_plan(plan)
    return int(plan.problem_count > 0)


def _moves(options: MigrateOptions) -> Sequence[Move]:
    if options.apply and options.revert:
        raise BadRequest("--apply and --revert exclude each other", remedy="give one of them")
    if options.plan is not None:
        if options.source or options.renames or options.defaults:
            raise BadRequest("a plan has its models already", remedy="give either --plan or the two models")
        return ()
    if options.revert or not options.source or not options.target:
        what = "--revert needs --plan" if options.revert else "the two models are missing"
        raise BadRequest(what, remedy="twinloom migrate FROM TO, or twinloom migrate --plan ID --revert")
    defaults: dict[str, Json] = {}
    for given in options.defaults:
        path, value = _pair(given, "--default")
        try:
            defaults[path] = json.loads(value)
        except json.JSONDecodeError:
            raise BadRequest(f"--default {given!r}: no JSON", remedy="a text in quotes: grade='\"A\"'") from None
    renames = dict(_pair(given, "--rename") for given in options.renames)
    return (Move(model_id(options.source), model_id(options.target), renames, defaults),)


def _pair(given: str, option: str) -> tuple[str, str]:
    name, found, value = given.partition("=")
    if not found or not name or not value:
        raise BadRequest(f"{option} {given!r} has no two sides", remedy=f"write {option} left=right")
    return name, value


def _known(migrations: Migrations, id: str) -> Plan:
    plan = migrations.get(id)
    if plan is None:
        known = ", ".join(plan.id for plan in migrations) or "none"
        raise BadRequest(f"there is no migration {id!r}", remedy=f"known: {known}")
    return plan


@contextlib.asynccontextmanager
async def open_migrations(settings: Settings) -> AsyncIterator[Migrations]:
    """The migrations of a data folder that no server has open. Raises BadFile where there is no graph."""
    if is_new(settings):
        raise BadFile(str(settings.data), "holds no graph", remedy="name the folder that `serve` uses with --data")
    with claimed(settings.data):
        async with open_store(settings) as store:
            snapshot = await store.load()
            hot, feed, clock, metrics = HotGraph(), Feed(), SystemClock(), Metrics()
            hot.load(snapshot)
            hot.seq = snapshot.seq
            feed.start_from(snapshot.seq)
            commits = Commits(store, hot, feed, Numbering(snapshot.seq), clock, metrics)
            migrations = Migrations(hot, commits, clock)
            records = list(snapshot.records)
            migrations.load(
                [(key, stored) for kind, key, stored in records if kind == MIGRATION],
                [(key, stored) for kind, key, stored in records if kind == MIGRATION_UNDO],
            )
            writer = asyncio.create_task(commits.run(), name="commits")
            try:
                yield migrations
            finally:
                writer.cancel()
                await asyncio.wait({writer})


def print_plan(plan: Plan) -> None:
    console = Console(highlight=False, soft_wrap=True)
    moves = ", ".join(f"{move.source} -> {move.target}" for move in plan.moves)
    console.print(f"[bold]{escape(plan.id)}[/] {escape(moves)}")
    console.print(f"{plan.state}: {plan.moved} of {plan.twins} twins have moved")
    if plan.breaking:
        table = Table("path", "change", "what it means")
        for change in plan.breaking:
            table.add_row(escape(change.path), change.kind, escape(change.reason))
        console.print(table)
    for sample in plan.samples[:3]:
        console.print(f"for example {escape(sample.twin)}:")
        for path in sample.before:
            before, after = json.dumps(sample.before[path]), json.dumps(sample.after.get(path))
            console.print(f"    {escape(path)}: {escape(before)} -> {escape(after)}")
    for problem in plan.problems[:20]:
        console.print(f"[red]{escape(problem.twin)}[/] {escape(problem.path)}: {escape(problem.reason)}")
    if plan.problem_count:
        console.print(f"[red]{plan.problem_count} problems[/] must be mended before the plan can be applied")
