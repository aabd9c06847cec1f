"""What every GraphStore must do, tried on SQLite and on a real Neo4j."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinloom.graph.hot import HotGraph
from twinloom.graph.neo4j_store import Neo4jStore
from twinloom.graph.seed import read_plant
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.graph.store import (
    Change,
    DropModel,
    DropRecord,
    DropRelationship,
    DropTwin,
    GraphStore,
    LastValue,
    PutModels,
    PutRecord,
    PutRelationship,
    PutTwin,
    Snapshot,
    stamped,
)
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import BadRequest, Conflict, NotFound, StoreUnavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Relationship, Twin

LINE = ModelId("dtmi:com:twinloom:cnc:ProductionLine;1")
SPINDLE = ModelId("dtmi:com:twinloom:cnc:Spindle;1")
Open = Callable[[], Awaitable[GraphStore]]


@pytest.fixture(params=["sqlite", "neo4j"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens one more store on the same data; all are closed at the end."""
    opened: list[GraphStore] = []
    make: Callable[[], GraphStore]
    if request.param == "sqlite":
        make = lambda: SqliteStore(tmp_path / "twins.db")  # noqa: E731
    else:
        uri = request.getfixturevalue("neo4j_uri")
        user, password = request.getfixturevalue("neo4j_auth")
        make = lambda: Neo4jStore(uri, user, password, timeout_s=30.0)  # noqa: E731

    async def open_one() -> GraphStore:
        store = make()
        await store.open()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: Open) -> GraphStore:
    return await open_store()


def twin(id: str, model: ModelId = LINE, **properties: Any) -> PutTwin:
    return PutTwin(Twin(TwinId(id), model, properties), create=True)


def edge(source: str, name: str, target: str, **properties: Any) -> PutRelationship:
    return PutRelationship(Relationship(f"{name}:{target}", TwinId(source), name, TwinId(target), properties))


async def commit(store: GraphStore, seq: int, *changes: Change) -> None:
    await store.commit(changes, seq=seq, time_ns=seq * 1000, cause="test")


async def twins_of(store: GraphStore) -> dict[str, Twin]:
    return {twin.id: twin for twin in (await store.load()).twins}


async def edges_of(store: GraphStore) -> dict[tuple[str, str], Relationship]:
    return {(edge.source, edge.id): edge for edge in (await store.load()).relationships}


async def test_the_example_plant_comes_back_as_it_was_committed(open_store: Open, examples: Path) -> None:
    plant = read_plant(examples / "plant.yaml")
    first = await open_store()
    await commit(first, 7, *plant.changes)
    await first.close()

    snapshot = await (await open_store()).load()

    kept = stamped(plant.changes, seq=7, time_ns=7000)
    assert {t.id: t for t in snapshot.twins} == {c.twin.id: c.twin for c in kept if isinstance(c, PutTwin)}
    assert {(e.source, e.id): e for e in snapshot.relationships} == {
        (c.relationship.source, c.relationship.id): c.relationship for c in kept if isinstance(c, PutRelationship)
    }
    assert snapshot.models == plant.documents
    assert snapshot.seq == 7
    hot, direct = HotGraph(), HotGraph()
    hot.load(snapshot)
    direct.apply(kept, 7)
    assert len(hot) == 339
    assert [hot.twin(id) for id in map(hot.id_of, hot.rows_of())] == [
        direct.twin(id) for id in map(direct.id_of, direct.rows_of())
    ]


async def test_a_commit_that_meets_a_taken_id_leaves_nothing_behind(store: GraphStore) -> None:
    await commit(store, 1, twin("a", name="first"))
    with pytest.raises(Conflict, match="'a' is taken"):
        await commit(store, 2, twin("b"), twin("a", name="second"), PutRecord("alert", "x", {}))
    snapshot = await store.load()
    assert {t.id: t.properties for t in snapshot.twins} == {"a": {"name": "first"}}
    assert list(snapshot.records) == []
    assert [entry.seq for entry in await store.log(0, 10)] == [1]


async def test_an_id_given_twice_in_one_commit_is_a_conflict(store: GraphStore) -> None:
    with pytest.raises(Conflict, match="'a'"):
        await commit(store, 1, twin("a"), twin("b"), twin("a"))
    assert await twins_of(store) == {}


async def test_an_update_needs_the_etag_that_is_stored(store: GraphStore) -> None:
    await commit(store, 1, twin("a", name="one"))
    await commit(store, 2, PutTwin(Twin(TwinId("a"), LINE, {"name": "two"}), expected_etag="1"))
    with pytest.raises(Conflict, match="changed since"):
        await commit(store, 3, PutTwin(Twin(TwinId("a"), LINE, {"name": "three"}), expected_etag="1"))
    found = (await twins_of(store))["a"]
    assert found == Twin(TwinId("a"), LINE, {"name": "two"}, "2", 2, 1000, 2000)


async def test_an_update_without_an_etag_overwrites_and_keeps_the_time_of_creation(store: GraphStore) -> None:
    await commit(store, 1, twin("a", name="one", product="ribs"))
    await commit(store, 2, PutTwin(Twin(TwinId("a"), LINE, {"name": "two"})))
    assert (await twins_of(store))["a"] == Twin(TwinId("a"), LINE, {"name": "two"}, "2", 2, 1000, 2000)


async def test_one_commit_may_create_and_update_a_twin(store: GraphStore) -> None:
    later = PutTwin(Twin(TwinId("a"), LINE, {"name": "two"}))
    latest = PutTwin(Twin(TwinId("a"), LINE, {"name": "three"}), expected_etag="1")
    await commit(store, 1, twin("a", name="one"), later, latest)
    assert (await twins_of(store))["a"].properties == {"name": "three"}


async def test_updating_or_dropping_what_is_not_there_is_not_found(store: GraphStore) -> None:
    for change in (
        PutTwin(Twin(TwinId("no"), LINE)),
        DropTwin(TwinId("no")),
        DropRelationship(TwinId("no"), "x"),
        PutRelationship(Relationship("x", TwinId("no"), "feeds", TwinId("no")), create=False),
        DropModel(LINE),
    ):
        with pytest.raises(NotFound):
            await commit(store, 1, change)


async def test_a_twin_may_change_its_model(store: GraphStore) -> None:
    await commit(store, 1, twin("a", name="one"))
    await commit(store, 2, PutTwin(Twin(TwinId("a"), SPINDLE, {"name": "one"})))
    assert (await twins_of(store))["a"].model == SPINDLE


async def test_contending_writers_lose_no_update(open_store: Open) -> None:
    stores = [await open_store()]
    if isinstance(stores[0], Neo4jStore):
        stores += [await open_store() for _ in range(3)]
    await commit(stores[0], 1, twin("counter", count=0))
    seqs = itertools.count(2)
    successes = conflicts = 0

    async def writer(store: GraphStore, rounds: int) -> None:
        nonlocal successes, conflicts
        for _ in range(rounds):
            found = (await twins_of(store))["counter"]
            raised = Twin(found.id, found.model, {"count": found.properties["count"] + 1})
            try:
                await commit(store, next(seqs), PutTwin(raised, expected_etag=found.etag))
                successes += 1
            except Conflict:
                conflicts += 1

    await asyncio.gather(*(writer(stores[k % len(stores)], 15) for k in range(16)))

    assert successes + conflicts == 240
    assert conflicts > 0, "the writers did not contend"
    assert (await twins_of(stores[0]))["counter"].properties["count"] == successes


async def test_writers_that_create_the_same_twin_at_once_have_one_winner(store: GraphStore) -> None:
    async def create(seq: int) -> bool:
        try:
            await commit(store, seq, twin("same", name=str(seq)))
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(create(seq) for seq in range(1, 17)))
    assert sum(won) == 1
    assert (await twins_of(store))["same"].properties == {"name": str(won.index(True) + 1)}


async def test_relationships_keep_their_properties_and_compare_etags(store: GraphStore) -> None:
    await commit(store, 1, twin("a"), twin("b"), edge("a", "feeds", "b", share=0.5, via=["x", "y"], note={"by": "me"}))
    assert (await edges_of(store))["a", "feeds:b"] == Relationship(
        "feeds:b",
        TwinId("a"),
        "feeds",
        TwinId("b"),
        {"share": 0.5, "via": ["x", "y"], "note": {"by": "me"}},
        "1",
        1,
    )
    changed = Relationship("feeds:b", TwinId("a"), "feeds", TwinId("b"), {"share": 1.0})
    await commit(store, 2, PutRelationship(changed, expected_etag="1", create=False))
    with pytest.raises(Conflict):
        await commit(store, 3, PutRelationship(changed, expected_etag="1", create=False))
    with pytest.raises(Conflict):
        await commit(store, 3, DropRelationship(TwinId("a"), "feeds:b", expected_etag="1"))
    assert (await edges_of(store))["a", "feeds:b"].properties == {"share": 1.0}
    await commit(store, 4, DropRelationship(TwinId("a"), "feeds:b", expected_etag="2"))
    assert await edges_of(store) == {}


async def test_a_relationship_cannot_be_pointed_elsewhere(store: GraphStore) -> None:
    await commit(store, 1, twin("a"), twin("b"), twin("c"), edge("a", "feeds", "b"))
    elsewhere = Relationship("feeds:b", TwinId("a"), "feeds", TwinId("c"))
    with pytest.raises(Conflict):
        await commit(store, 2, PutRelationship(elsewhere, create=False))


async def test_a_relationship_needs_both_ends_and_a_free_id(store: GraphStore) -> None:
    await commit(store, 1, twin("a"), twin("b"), edge("a", "feeds", "b"))
    with pytest.raises(NotFound, match="'nowhere'"):
        await commit(store, 2, edge("a", "contains", "b"), edge("a", "feeds", "nowhere"))
    with pytest.raises(NotFound, match="'nowhere'"):
        await commit(store, 2, edge("nowhere", "feeds", "a"))
    with pytest.raises(Conflict, match="feeds:b"):
        await commit(store, 2, edge("a", "feeds", "b"))
    with pytest.raises(Conflict, match="contains:b"):
        await commit(store, 2, edge("a", "contains", "b"), edge("a", "contains", "b"))
    assert set(await edges_of(store)) == {("a", "feeds:b")}


async def test_a_twin_with_relationships_goes_only_with_detach(store: GraphStore) -> None:
    await commit(store, 1, twin("a"), twin("b"), twin("c"), edge("a", "feeds", "b"), edge("b", "feeds", "c"))
    with pytest.raises(Conflict, match="relationships"):
        await commit(store, 2, DropTwin(TwinId("b")))
    with pytest.raises(Conflict, match="changed since"):
        await commit(store, 2, DropTwin(TwinId("b"), expected_etag="0", detach=True))
    await commit(store, 3, DropTwin(TwinId("b"), expected_etag="1", detach=True))
    assert set(await twins_of(store)) == {"a", "c"}
    assert await edges_of(store) == {}
    await commit(store, 4, DropTwin(TwinId("a")))
    assert set(await twins_of(store)) == {"c"}


async def test_an_alert_about_a_twin_does_not_hold_it_back(store: GraphStore) -> None:
    await commit(store, 1, twin("a"), PutRecord("alert", "x", {"id": "x", "twin": "a", "value": 7.5}))
    await commit(store, 2, DropTwin(TwinId("a")))
    snapshot = await store.load()
    assert list(snapshot.twins) == []
    assert list(snapshot.records) == [("alert", "x", {"id": "x", "twin": "a", "value": 7.5})]


async def test_models_are_kept_in_order_replaced_and_dropped(store: GraphStore, cnc_models: Models) -> None:
    ids = tuple(cnc_models)
    documents = tuple(cnc_models.interfaces[id].document for id in ids)
    await commit(store, 1, PutModels(documents[:4], ids[:4]))
    await commit(store, 2, PutModels(documents[4:], ids[4:]))
    assert (await store.load()).models == documents
    replaced = {**documents[0], "description": "another"}
    await commit(store, 3, PutModels((replaced,), ids[:1]), DropModel(ids[1]))
    assert (await store.load()).models == (replaced, *documents[2:])


async def test_records_are_replaced_and_dropped_by_kind_and_key(store: GraphStore) -> None:
    await commit(store, 1, PutRecord("alert", "k", {"n": 1}), PutRecord("work_order", "k", [1, None, "x"]))
    await commit(store, 2, PutRecord("alert", "k", {"n": 2}), PutRecord("alert", "k", {"n": 3}))
    assert list((await store.load()).records) == [("alert", "k", {"n": 3}), ("work_order", "k", [1, None, "x"])]
    await commit(store, 3, DropRecord("alert", "k"), DropRecord("alert", "never there"))
    assert list((await store.load()).records) == [("work_order", "k", [1, None, "x"])]


async def test_the_log_tells_every_commit_in_order(store: GraphStore) -> None:
    await commit(store, 5, twin("a", name="one"))
    await commit(store, 9, PutTwin(Twin(TwinId("a"), LINE, {"name": "two"}), paths=("name",)), DropTwin(TwinId("a")))
    entries = await store.log(0, 10)
    assert [(entry.seq, entry.time_ns, entry.cause) for entry in entries] == [(5, 5000, "test"), (9, 9000, "test")]
    assert entries[0].changes == (
        {
            "op": "put_twin",
            "create": True,
            "id": "a",
            "model": LINE,
            "properties": {"name": "one"},
            "etag": "5",
            "created_ns": 5000,
            "updated_ns": 5000,
        },
    )
    assert [change["op"] for change in entries[1].changes] == ["put_twin", "drop_twin"]
    assert [entry.seq for entry in await store.log(5, 10)] == [9]
    assert list(await store.log(9, 10)) == []


async def test_the_log_never_ends_inside_a_commit(store: GraphStore) -> None:
    await commit(store, 1, *(twin(f"t{n}") for n in range(2500)))
    await commit(store, 2, twin("last"))
    entries = await store.log(0, 1)
    assert [entry.seq for entry in entries] == [1, 1, 1]
    assert [change["id"] for entry in entries for change in entry.changes] == [f"t{n}" for n in range(2500)]


async def test_a_sequence_number_is_committed_once(store: GraphStore) -> None:
    await commit(store, 1, twin("a"))
    with pytest.raises(Conflict):
        await commit(store, 1, twin("b"))
    assert set(await twins_of(store)) == {"a"}


async def test_an_empty_commit_is_logged(store: GraphStore) -> None:
    await commit(store, 3)
    assert [(entry.seq, entry.changes) for entry in await store.log(0, 5)] == [(3, ())]


async def test_the_high_water_mark_only_rises_and_outlives_the_process(open_store: Open) -> None:
    first = await open_store()
    assert (await first.load()).seq == 0
    await first.reserve(5000)
    await first.reserve(4000)
    await commit(first, 4500, twin("a"))
    await first.close()
    assert (await (await open_store()).load()).seq == 5000


async def test_last_values_are_kept_one_a_path_and_go_with_their_twin(store: GraphStore) -> None:
    await commit(store, 1, twin("s", SPINDLE, name="Spindle"), twin("gone", SPINDLE))
    mode = {"state": "on", "since": 5}
    await store.write_values(
        [
            LastValue(TwinId("s"), "vibration_x", 1.5, 100, 0),
            LastValue(TwinId("s"), "mode", mode, 100, 0),
            LastValue(TwinId("gone"), "vibration_x", 1.0, 100, 0),
            LastValue(TwinId("never"), "vibration_x", 1.0, 100, 0),
        ],
        seq=2,
    )
    await store.write_values([LastValue(TwinId("s"), "vibration_x", 2.5, 200, 0x80000000)], seq=3)
    await commit(store, 4, DropTwin(TwinId("gone")))
    snapshot = await store.load()
    assert sorted(snapshot.last_values, key=lambda v: v.path) == [
        LastValue(TwinId("s"), "mode", mode, 100, 0, 2),
        LastValue(TwinId("s"), "vibration_x", 2.5, 200, 0x80000000, 3),
    ]
    assert snapshot.seq == 4


def _values(snapshot: Snapshot, models: Models, id: str) -> dict[str, Any]:
    hot = HotGraph(models)
    hot.load(snapshot)
    found = hot.twin(id)
    assert found is not None
    return dict(found.properties)


async def test_a_write_covers_the_last_values_of_its_own_paths_only(store: GraphStore, cnc_models: Models) -> None:
    machine = ModelId("dtmi:com:twinloom:cnc:CncMachine;1")
    controller = {"operating_mode": "idle", "program_name": "A", "feed_override": 100.0}
    await commit(store, 1, twin("m", machine, name="M", controller=controller))
    await store.write_values(
        [
            LastValue(TwinId("m"), "controller.operating_mode", "automatic", 100, 0),
            LastValue(TwinId("m"), "controller.program_name", "B", 100, 0),
            LastValue(TwinId("m"), "temperature", 31.5, 100, 0),
            LastValue(TwinId("m"), "power_consumption", None, 100, 0x80000000),
        ],
        seq=2,
    )
    changed = Twin(TwinId("m"), machine, {"name": "N", "controller": {**controller, "operating_mode": "fault"}})
    await commit(store, 3, PutTwin(changed, paths=("name", "controller.operating_mode")))
    assert _values(await store.load(), cnc_models, "m") == {
        "name": "N",
        "temperature": 31.5,
        "controller": {"operating_mode": "fault", "program_name": "B", "feed_override": 100.0},
    }
    await commit(store, 4, PutTwin(Twin(TwinId("m"), machine, {"name": "N"}), paths=("controller",)))
    assert _values(await store.load(), cnc_models, "m") == {"name": "N", "temperature": 31.5}
    await commit(store, 5, PutTwin(Twin(TwinId("m"), machine, {"name": "O"})))
    assert _values(await store.load(), cnc_models, "m") == {"name": "O"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab.@_`é", max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(JSON, min_size=1, max_size=20))
async def test_every_json_value_comes_back_as_it_was(store: GraphStore, values: list[Any]) -> None:
    seq = (await store.load()).seq
    values = [value for value in values if value is not None]
    changes = [twin(f"v{seq}.{n}", value=value) for n, value in enumerate(values)]
    records = [PutRecord("outcome", f"v{seq}.{n}", value) for n, value in enumerate(values)]
    await commit(store, seq + 1, *changes, *records)
    await store.write_values(
        [LastValue(TwinId(f"v{seq}.{n}"), "last", value, 1, 0) for n, value in enumerate(values)], seq=seq + 2
    )
    snapshot = await store.load()
    twins = {t.id: t.properties for t in snapshot.twins}
    kept = {key: document for _, key, document in snapshot.records}
    last = {row.twin: row.value for row in snapshot.last_values}
    for n, value in enumerate(values):
        for found in (twins[TwinId(f"v{seq}.{n}")].get("value"), kept[f"v{seq}.{n}"], last[TwinId(f"v{seq}.{n}")]):
            assert found == value
            assert type(found) is type(value)


async def test_values_that_no_store_can_keep_are_refused_and_leave_nothing(store: GraphStore) -> None:
    for bad in ("\ud800", {"k": "\udfff"}, 2**70, {"\ud800": 1}):
        with pytest.raises(BadRequest):
            await commit(store, 1, twin("ok"), twin("a", name=bad))
    with pytest.raises(BadRequest):
        await commit(store, 1, twin("a\ud800"))
    assert await twins_of(store) == {}


async def test_a_cancelled_caller_leaves_a_whole_commit_or_none(store: GraphStore) -> None:
    for seq in range(1, 21):
        task = asyncio.create_task(
            commit(store, seq, twin(f"a{seq}"), twin(f"b{seq}"), PutRecord("alert", str(seq), 1))
        )
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await commit(store, 100, twin("end"))
    snapshot = await store.load()
    numbers = {t.id[1:] for t in snapshot.twins if t.id != "end"}
    assert {t.id for t in snapshot.twins} == {"end", *(f"{side}{n}" for n in numbers for side in "ab")}
    assert {key for _, key, _ in snapshot.records} == numbers


async def test_a_store_that_is_not_open_says_so(open_store: Open) -> None:
    store = await open_store()
    await store.close()
    for call in (store.load(), commit(store, 1), store.log(0, 1), store.reserve(1)):
        with pytest.raises(StoreUnavailable, match="not open"):
            await call
