"""Orders through `Orders.execute`: checked, durable, applied, published, idempotent, serialised."""

from __future__ import annotations

import asyncio

import pytest

from twinloom.graph.store import PutTwin
from twinloom.runtime.feed import Missed
from twinloom.twin.commands import (
    AcknowledgeAlert,
    CloseWorkOrder,
    CreateRelationship,
    CreateTwin,
    DeleteModel,
    DeleteRelationship,
    DeleteTwin,
    UpdateTwin,
    UploadModels,
)
from twinloom.twin.dtdl import DtdlError
from twinloom.twin.errors import BadRequest, Conflict, LimitExceeded, ModelViolation, NotFound
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.signals import (
    ModelsChanged,
    RelationshipCreated,
    RelationshipDeleted,
    TwinCreated,
    TwinDeleted,
    TwinUpdated,
)

PUMP = ModelId("dtmi:com:example:Pump;1")
P0, P1, P2 = TwinId("p0"), TwinId("p1"), TwinId("p2")


async def test_a_created_twin_is_read_at_once_published_and_there_after_a_restart(start):
    service = await start()
    feed = service.feed.subscribe(after=None)
    outcome = await service.orders.execute(CreateTwin(id=TwinId("new"), model=PUMP, properties={"label": "x"}))
    twin = service.hot.twin("new")
    assert twin is not None
    assert twin.properties == {"label": "x"}
    assert twin.etag == outcome.etag
    signal = feed.poll()
    assert isinstance(signal, TwinCreated)
    assert (signal.seq, signal.twin, signal.model) == (outcome.seq, "new", PUMP)
    assert service.hot.twin_seq(service.hot.row("new")) >= signal.seq
    await service.stop()
    again = await start()
    assert again.hot.twin("new") == twin
    assert again.seq > outcome.seq


async def test_an_update_merges_objects_sets_dotted_paths_and_removes_with_null(start):
    service = await start()
    execute = service.orders.execute
    await execute(UpdateTwin(id=P0, set={"place": {"x": 1.0, "y": 2.0}, "drive": {"mode": "auto", "gain": 0.5}}))
    await execute(UpdateTwin(id=P0, set={"place": {"y": 3.0}, "drive.gain": 0.75, "label": None}))
    assert service.hot.twin("p0").properties == {
        "count": 0,
        "place": {"x": 1.0, "y": 3.0},
        "drive": {"mode": "auto", "gain": 0.75},
    }
    await execute(UpdateTwin(id=P0, set={"place.x": 9.0}, unset=("drive.mode",)))
    assert service.hot.twin("p0").properties == {"count": 0, "place": {"x": 9.0, "y": 3.0}, "drive": {"gain": 0.75}}


async def test_an_update_names_the_paths_that_it_wrote(start):
    service = await start()
    feed = service.feed.subscribe()
    await service.orders.execute(UpdateTwin(id=P0, set={"drive": {"mode": "auto"}, "place.x": 1.0}, principal="ann"))
    signal = feed.poll()
    assert isinstance(signal, TwinUpdated)
    assert (signal.paths, signal.cause) == (("drive.mode", "place"), "ann")


@pytest.mark.parametrize(
    ("patch", "unset", "names"),
    [
        ({"lable": "x"}, (), "lable"),
        ({"count": "seven"}, (), "count"),
        ({"pressure": 3.0}, (), "pressure"),
        ({"drive.firmware": "2"}, (), "firmware"),
        ({}, ("pressure",), "pressure"),
        ({}, ("nothing.there",), "nothing"),
        ({"place": {"z": 1.0}}, (), "z"),
    ],
)
async def test_a_write_that_the_model_forbids_changes_nothing(start, patch, unset, names):
    service = await start()
    before, seq = service.hot.twin("p0"), service.seq
    with pytest.raises(ModelViolation) as refused:
        await service.orders.execute(UpdateTwin(id=P0, set=patch, unset=unset))
    assert names in str(refused.value) + refused.value.path
    assert refused.value.remedy
    assert service.hot.twin("p0") == before
    assert service.seq == seq


async def test_an_update_of_nothing_or_of_nobody_is_refused(start):
    service = await start()
    with pytest.raises(BadRequest):
        await service.orders.execute(UpdateTwin(id=P0))
    with pytest.raises(NotFound):
        await service.orders.execute(UpdateTwin(id=TwinId("nobody"), set={"label": "x"}))
    with pytest.raises(LimitExceeded):
        await service.orders.execute(UpdateTwin(id=P0, set={"label": "x" * 40_000}))


async def test_of_many_writers_with_the_same_etag_exactly_one_wins(start):
    service = await start()
    etag = service.hot.twin("p0").etag
    orders = [UpdateTwin(id=P0, set={"count": n}, expected_etag=etag) for n in range(20)]
    answers = await asyncio.gather(*(service.orders.execute(o) for o in orders), return_exceptions=True)
    won = [n for n, answer in enumerate(answers) if not isinstance(answer, Exception)]
    assert len(won) == 1
    assert all(isinstance(a, Conflict) for n, a in enumerate(answers) if n != won[0])
    assert service.hot.value(service.hot.row("p0"), "count") == won[0]


async def test_fifty_writers_that_count_with_etags_lose_no_update(start):
    service = await start()
    successes = 0

    async def count_up() -> None:
        nonlocal successes
        for _ in range(4):
            while True:
                twin = service.hot.twin("p0")
                order = UpdateTwin(id=P0, set={"count": twin.properties["count"] + 1}, expected_etag=twin.etag)
                try:
                    await service.orders.execute(order)
                except Conflict:
                    continue
                successes += 1
                break

    await asyncio.gather(*(count_up() for _ in range(10)))
    assert service.hot.value(service.hot.row("p0"), "count") == successes == 40


async def test_orders_beside_each_other_are_all_durable_and_the_feed_grows_strictly(start):
    service = await start(pumps=200)
    feed = service.feed.subscribe(capacity=10_000)
    outcomes = await asyncio.gather(
        *(service.orders.execute(UpdateTwin(id=TwinId(f"p{n}"), set={"count": n})) for n in range(200))
    )
    seqs = []
    while (signal := feed.poll()) is not None:
        assert not isinstance(signal, Missed)
        seqs.append(signal.seq)
        assert service.hot.twin_seq(service.hot.row(signal.twin)) >= signal.seq
    assert seqs == sorted(set(seqs))
    assert sorted(o.seq for o in outcomes) == seqs
    assert all(o.etag == service.hot.etag(service.hot.row(o.twin)) for o in outcomes)
    await service.stop()
    again = await start()
    assert [again.hot.value(again.hot.row(f"p{n}"), "count") for n in range(200)] == list(range(200))
    assert [again.hot.etag(again.hot.row(o.twin)) for o in outcomes] == [o.etag for o in outcomes]


async def test_one_order_at_fault_in_a_group_fails_alone(start):
    service = await start(pumps=20)
    # Somebody wrote to the store behind the service's back: the store itself refuses p7 then.
    twin = service.hot.twin("p7")
    await service.store.commit([PutTwin(twin)], seq=service.sequence.current + 1, time_ns=1, cause="intruder")
    orders = [service.orders.execute(UpdateTwin(id=TwinId(f"p{n}"), set={"count": 5})) for n in range(20)]
    answers = await asyncio.gather(*orders, return_exceptions=True)
    assert [n for n, a in enumerate(answers) if isinstance(a, Conflict)] == [7]
    assert [n for n, a in enumerate(answers) if isinstance(a, Exception)] == [7]


async def test_the_same_key_is_executed_once_also_after_a_restart(start):
    service = await start()
    order = CreateTwin(id=TwinId("once"), model=PUMP, key="k1", principal="ann")
    first, *others = await asyncio.gather(*(service.orders.execute(order) for _ in range(5)))
    assert {o.seq for o in others} == {first.seq}
    assert [o.replayed for o in (first, *others)].count(False) == 1
    await service.orders.execute(DeleteTwin(id=TwinId("once")))
    await service.stop()
    again = await start()
    replayed = await again.orders.execute(order)
    assert (replayed.seq, replayed.etag, replayed.replayed) == (first.seq, first.etag, True)
    assert "once" not in again.hot
    with pytest.raises(Conflict):
        await again.orders.execute(CreateTwin(id=TwinId("other"), model=PUMP, key="k1", principal="ann"))
    other = await again.orders.execute(CreateTwin(id=TwinId("other"), model=PUMP, key="k1", principal="bob"))
    assert not other.replayed


async def test_a_refused_order_leaves_its_key_free(start):
    service = await start()
    with pytest.raises(ModelViolation):
        await service.orders.execute(UpdateTwin(id=P0, set={"count": "x"}, key="k"))
    outcome = await service.orders.execute(UpdateTwin(id=P0, set={"count": 1}, key="k"))
    assert not outcome.replayed


async def test_a_twin_with_relationships_goes_only_with_detach(start):
    service = await start()
    with pytest.raises(Conflict):
        await service.orders.execute(DeleteTwin(id=P1))
    feed = service.feed.subscribe()
    outcome = await service.orders.execute(DeleteTwin(id=P1, detach=True))
    first, second = feed.poll(), feed.poll()
    assert isinstance(first, RelationshipDeleted)
    assert (first.relationship.source, first.relationship.target) == ("p0", "p1")
    assert isinstance(second, TwinDeleted)
    assert (second.twin, second.model, second.seq) == ("p1", PUMP, outcome.seq)
    assert "p1" not in service.hot
    assert list(service.hot.out(service.hot.row("p0"))) == []
    await service.stop()
    again = await start()
    assert "p1" not in again.hot


async def test_relationships_are_checked_against_the_model_and_survive(start):
    service = await start(pumps=4)
    execute = service.orders.execute
    outcome = await execute(CreateRelationship(source=P0, name="feeds", target=P2))
    assert outcome.relationship == "feeds:p2"
    kept = service.hot.relationship("p0", "feeds:p2")
    assert (kept.target, kept.etag) == ("p2", outcome.etag)
    with pytest.raises(Conflict):
        await execute(CreateRelationship(source=P0, name="feeds", target=P2))
    with pytest.raises(ModelViolation):
        await execute(CreateRelationship(source=P0, name="feeds", target=TwinId("p3")))
    with pytest.raises(ModelViolation):
        await execute(CreateRelationship(source=P0, name="drains", target=P1))
    with pytest.raises(NotFound):
        await execute(CreateRelationship(source=P0, name="feeds", target=TwinId("nobody")))
    with pytest.raises(Conflict):
        await execute(DeleteRelationship(source=P0, id="feeds:p2", expected_etag="0"))
    feed = service.feed.subscribe()
    await execute(DeleteRelationship(source=P0, id="feeds:p2", expected_etag=outcome.etag))
    assert isinstance(feed.poll(), RelationshipDeleted)
    await execute(CreateRelationship(source=P0, name="feeds", target=TwinId("p3"), id="mine"))
    assert isinstance(feed.poll(), RelationshipCreated)
    await service.stop()
    again = await start()
    assert again.hot.relationship("p0", "feeds:p2") is None
    assert again.hot.relationship("p0", "mine").target == "p3"


async def test_models_come_all_or_none_in_any_order_and_go_when_unused(start):
    service = await start()
    execute = service.orders.execute
    context = "dtmi:dtdl:context;3"
    derived = {
        "@context": context,
        "@id": "dtmi:com:example:B;1",
        "@type": "Interface",
        "extends": "dtmi:com:example:A;1",
    }
    base = {"@context": context, "@id": "dtmi:com:example:A;1", "@type": "Interface"}
    with pytest.raises(DtdlError):
        await execute(UploadModels(documents=(base, {**derived, "extends": "dtmi:com:example:Missing;1"})))
    assert "dtmi:com:example:A;1" not in service.hot.models
    feed = service.feed.subscribe()
    outcome = await execute(UploadModels(documents=(derived, base)))
    assert set(outcome.models) == {"dtmi:com:example:A;1", "dtmi:com:example:B;1"}
    signal = feed.poll()
    assert isinstance(signal, ModelsChanged)
    assert set(signal.uploaded) == set(outcome.models)
    with pytest.raises(Conflict):
        await execute(UploadModels(documents=(base,)))
    with pytest.raises(Conflict, match="refers to"):
        await execute(DeleteModel(id=ModelId("dtmi:com:example:A;1")))
    with pytest.raises(Conflict, match="twins are of"):
        await execute(DeleteModel(id=PUMP))
    await execute(DeleteModel(id=ModelId("dtmi:com:example:B;1")))
    await execute(DeleteModel(id=ModelId("dtmi:com:example:A;1")))
    await service.stop()
    again = await start()
    assert "dtmi:com:example:A;1" not in again.hot.models


async def test_a_decommissioned_model_keeps_its_twins_and_takes_no_new_ones(start):
    service = await start()
    await service.orders.execute(DeleteModel(id=PUMP, decommission=True))
    with pytest.raises(Conflict, match="decommissioned"):
        await service.orders.execute(CreateTwin(id=TwinId("late"), model=PUMP))
    await service.orders.execute(UpdateTwin(id=P0, set={"count": 3}))
    await service.stop()
    again = await start()
    assert again.orders.decommissioned == {PUMP}
    with pytest.raises(Conflict, match="decommissioned"):
        await again.orders.execute(CreateTwin(id=TwinId("late"), model=PUMP))


async def test_orders_about_unknown_things_say_so(start):
    service = await start()
    for order in (
        DeleteTwin(id=TwinId("nobody")),
        DeleteRelationship(source=P0, id="nothing"),
        AcknowledgeAlert(alert="nothing"),
        CloseWorkOrder(order="nothing"),
        DeleteModel(id=ModelId("dtmi:com:example:Nothing;1")),
        CreateTwin(id=TwinId("x"), model=ModelId("dtmi:com:example:Nothing;1")),
    ):
        with pytest.raises(NotFound) as refused:
            await service.orders.execute(order)
        assert refused.value.remedy
    with pytest.raises(BadRequest):
        await service.orders.execute(CreateTwin(id=TwinId("a b"), model=PUMP))
    with pytest.raises(Conflict):
        await service.orders.execute(CreateTwin(id=P0, model=PUMP))
