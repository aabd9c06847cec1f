"""Migrations of models over real SQLite files: planned, applied in batches, resumed, reverted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from twinloom.runtime import migration
from twinloom.runtime.model_moves import Move
from twinloom.runtime.registry import dependencies, dependents
from twinloom.runtime.service import Service
from twinloom.twin.commands import CreateRelationship, CreateTwin, DeleteRelationship, UpdateTwin, UploadModels
from twinloom.twin.errors import BadRequest, Conflict, ModelViolation, NotFound
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.signals import Signal, TwinUpdated

Start = Callable[..., Awaitable[Service]]
PUMP = ModelId("dtmi:com:example:Pump;1")
NEXT = ModelId("dtmi:com:example:Pump;2")
CONTEXT = "dtmi:dtdl:context;3"

SECOND: dict[str, Any] = {
    "@context": CONTEXT,
    "@id": NEXT,
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "title", "schema": "string", "writable": True},
        {"@type": "Property", "name": "count", "schema": "integer", "writable": False},
        {"@type": "Property", "name": "grade", "schema": "string", "writable": True},
        {"@type": "Telemetry", "name": "pressure", "schema": "double", "comment": "unit: kPa"},
        {"@type": "Telemetry", "name": "temperature", "schema": "double", "comment": "unit: degC"},
        {"@type": "Telemetry", "name": "state", "schema": "string"},
        {"@type": "Component", "name": "drive", "schema": "dtmi:com:example:Drive;1"},
        {"@type": "Relationship", "name": "feeds", "target": NEXT, "maxMultiplicity": 2},
    ],
}
MOVE = Move(PUMP, NEXT, renames={"label": "title"}, defaults={"grade": "unknown"})


def canonical(service: Service) -> bytes:
    """Models and properties of all twins, as bytes; etags and numbers change with every write and are left out."""
    hot = service.hot
    twins = [hot.twin(hot.id_of(row)) for row in hot.rows_of()]
    return orjson.dumps(
        [[twin.id, twin.model, twin.properties] for twin in twins if twin is not None], option=orjson.OPT_SORT_KEYS
    )


async def prepared(start: Start, *, pumps: int = 5, second: dict[str, Any] = SECOND) -> Service:
    service = await start(pumps=pumps)
    execute = service.orders.execute
    await execute(UpdateTwin(id=TwinId("p1"), set={"drive.gain": 2.5, "place": {"x": 1.0, "y": 2.0}, "count": 7}))
    await execute(UploadModels(documents=(second,)))
    return service


async def test_a_plan_names_affected_twins_breaking_changes_and_a_sample_of_diffs(start: Start) -> None:
    service = await prepared(start)
    before = canonical(service)
    plan = await service.migrations.plan([MOVE], principal="ann")
    assert (plan.twins, plan.problem_count, plan.state, plan.moved) == (5, 0, "planned", 0)
    found = {(change.path, change.kind) for change in plan.breaking}
    assert found == {
        ("label", "renamed"),
        ("place", "removed"),
        ("count", "notWritable"),
        ("pressure", "unit"),
        ("feeds", "target"),
        ("stop", "commandRemoved"),
    }
    sample = next(sample for sample in plan.samples if sample.twin == "p1")
    assert sample.before == {"label": "pump 1", "place": {"x": 1.0, "y": 2.0}, "title": None, "grade": None}
    assert sample.after == {"label": None, "place": None, "title": "pump 1", "grade": "unknown"}
    assert canonical(service) == before


async def test_applying_moves_every_twin_with_renames_defaults_units_and_relationships(start: Start, hand: Any) -> None:
    service = await prepared(start)
    await hand.push(("p1", "pressure", 3.0))
    plan = await service.migrations.plan([MOVE])
    after = service.seq
    done = await service.migrations.apply(plan.id, principal="ann")
    assert (done.state, done.moved) == ("applied", 5)
    twin = service.hot.twin("p1")
    assert twin is not None
    assert twin.model == NEXT
    assert twin.properties == {
        "title": "pump 1",
        "grade": "unknown",
        "count": 7,
        "pressure": 300.0,
        "drive": {"gain": 2.5},
    }
    assert [edge.id for edge in service.hot.out(service.hot.row("p0") or 0)] == ["feeds:p1"]
    told = []
    async with asyncio.timeout(5):
        async for item in service.feed.subscribe(after=after, capacity=100):
            assert isinstance(item, Signal)
            if isinstance(item, TwinUpdated):
                told.append(item)
            if len(told) == 5:
                break
    assert {signal.twin for signal in told} == {f"p{n}" for n in range(5)}
    assert all("$model" in signal.paths and signal.cause == "ann" for signal in told)
    await hand.push(("p1", "pressure", 310.0))
    assert service.hot.value(service.hot.row("p1") or 0, "pressure") == 310.0


async def test_reverting_gives_the_very_bytes_that_were_there(start: Start) -> None:
    service = await prepared(start, pumps=1000)
    before = canonical(service)
    plan = await service.migrations.plan([MOVE])
    await service.migrations.apply(plan.id)
    assert canonical(service) != before
    done = await service.migrations.revert(plan.id)
    assert (done.state, done.moved, done.batches) == ("reverted", 0, 0)
    assert canonical(service) == before
    await service.stop()
    assert canonical(await start()) == before


async def test_what_was_changed_since_stays_changed_when_a_migration_is_reverted(start: Start, hand: Any) -> None:
    service = await prepared(start)
    await hand.push(("p2", "pressure", 3.0))
    plan = await service.migrations.plan([MOVE])
    await service.migrations.apply(plan.id)
    await service.orders.execute(UpdateTwin(id=TwinId("p1"), set={"title": "renamed", "drive.gain": 9.0}))
    await hand.push(("p2", "pressure", 500.0))
    await service.migrations.revert(plan.id)
    first, second = service.hot.twin("p1"), service.hot.twin("p2")
    assert first is not None and second is not None
    assert first.model == PUMP
    assert first.properties == {
        "label": "renamed",
        "count": 7,
        "place": {"x": 1.0, "y": 2.0},
        "drive": {"gain": 9.0},
    }
    assert second.properties["pressure"] == 5.0


async def test_a_plan_under_way_goes_on_in_a_new_process_and_its_revert_too(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "BATCH", 2)
    service = await prepared(start, pumps=7)
    before = canonical(service)
    plan = await service.migrations.plan([MOVE])
    commit = service.store.commit
    commits = 0

    async def twice(*arguments: Any, **named: Any) -> None:
        nonlocal commits
        commits += 1
        if commits > 2:
            raise Conflict("the process ends here")
        await commit(*arguments, **named)

    monkeypatch.setattr(service.store, "commit", twice)
    with pytest.raises(Conflict):
        await service.migrations.apply(plan.id)
    await service.stop()

    service = await start()
    found = service.migrations.get(plan.id)
    assert found is not None
    assert (found.state, found.moved, found.twins) == ("applying", 4, 7)
    assert len(service.hot.rows_of(NEXT)) == 4
    done = await service.migrations.apply(plan.id)
    assert (done.state, done.moved) == ("applied", 7)
    await service.stop()

    service = await start()
    await service.migrations.revert(plan.id)
    assert canonical(service) == before


async def test_a_plan_that_would_break_a_twin_says_so_and_cannot_be_applied(start: Start) -> None:
    second = {**SECOND, "contents": [*SECOND["contents"][:1], *SECOND["contents"][2:-1]]}
    second["contents"].append({"@type": "Property", "name": "count", "schema": "string"})
    service = await prepared(start, second=second)
    before = canonical(service)
    plan = await service.migrations.plan([Move(PUMP, NEXT, renames={"label": "title"})])
    assert plan.problem_count == 7  # five counts that are no texts, the relationship at both of its ends
    assert ("p1", "/count") in {(problem.twin, problem.path) for problem in plan.problems}
    assert ("p0", "feeds") in {(problem.twin, problem.path) for problem in plan.problems}
    with pytest.raises(Conflict, match="cannot move"):
        await service.migrations.apply(plan.id)
    assert canonical(service) == before
    await service.orders.execute(DeleteRelationship(source=TwinId("p0"), id="feeds:p1"))
    mended = await service.migrations.plan([Move(PUMP, NEXT, renames={"label": "title"}, defaults={"count": "0"})])
    assert mended.problem_count == 0
    assert (await service.migrations.apply(mended.id)).state == "applied"


async def test_models_that_refer_to_each_other_move_in_one_plan(start: Start) -> None:
    service = await start(pumps=1)
    tank = {
        "@context": CONTEXT,
        "@id": "dtmi:com:example:Tank;1",
        "@type": "Interface",
        "contents": [{"@type": "Relationship", "name": "drains", "target": PUMP}],
    }
    tank_2 = {
        **tank,
        "@id": "dtmi:com:example:Tank;2",
        "contents": [{"@type": "Relationship", "name": "drains", "target": NEXT}],
    }
    execute = service.orders.execute
    await execute(UploadModels(documents=(tank_2, SECOND, tank)))
    await execute(CreateTwin(id=TwinId("t"), model=ModelId("dtmi:com:example:Tank;1")))
    await execute(CreateRelationship(source=TwinId("t"), name="drains", target=TwinId("p0")))
    alone = await service.migrations.plan([MOVE])
    assert [problem.path for problem in alone.problems] == ["drains"]
    both = [MOVE, Move(ModelId("dtmi:com:example:Tank;1"), ModelId("dtmi:com:example:Tank;2"))]
    plan = await service.migrations.plan(both)
    assert plan.problem_count == 0
    await service.migrations.apply(plan.id)
    assert {service.hot.model_of(row) for row in service.hot.rows()} == {NEXT, "dtmi:com:example:Tank;2"}


async def test_moves_that_mean_nothing_are_refused(start: Start) -> None:
    service = await prepared(start)
    plan = service.migrations.plan
    with pytest.raises(BadRequest, match="to itself"):
        await plan([Move(PUMP, PUMP)])
    with pytest.raises(NotFound, match="Nothing"):
        await plan([Move(PUMP, ModelId("dtmi:com:example:Nothing;1"))])
    with pytest.raises(BadRequest, match="no path 'labl'"):
        await plan([Move(PUMP, NEXT, renames={"labl": "title"})])
    with pytest.raises(BadRequest, match="value of its own"):
        await plan([Move(PUMP, NEXT, renames={"label": "state"})])
    with pytest.raises(ModelViolation, match="no string"):
        await plan([Move(PUMP, NEXT, defaults={"grade": 5})])
    with pytest.raises(BadRequest, match="no move"):
        await plan([])
    with pytest.raises(NotFound, match="no migration"):
        await service.migrations.apply("nothing")
    ready = await plan([MOVE])
    with pytest.raises(Conflict, match="is planned"):
        await service.migrations.revert(ready.id)
    await service.migrations.apply(ready.id)
    with pytest.raises(Conflict, match="is applied"):
        await service.migrations.apply(ready.id)


async def test_only_the_latest_plans_are_kept(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "KEPT", 3)
    service = await prepared(start)
    ids = [(await service.migrations.plan([MOVE])).id for _ in range(5)]
    assert [plan.id for plan in service.migrations] == ids[:1:-1]
    await service.stop()
    assert [plan.id for plan in (await start()).migrations] == ids[:1:-1]


async def test_the_dependency_graph_knows_who_needs_whom(start: Start) -> None:
    service = await prepared(start)
    models = service.hot.models
    assert {(d.needs, d.kind, d.name) for d in dependencies(models, NEXT)} == {
        ("dtmi:com:example:Drive;1", "component", "drive"),
        (NEXT, "target", "feeds"),
    }
    assert [(d.model, d.kind) for d in dependents(models, PUMP)] == [("dtmi:com:example:BigPump;1", "extends")]
    assert [d.model for d in dependents(models, "dtmi:com:example:Drive;1")] == [PUMP, NEXT]
