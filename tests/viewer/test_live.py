"""The live client against a real service: snapshot, order by seq, loss and return, bad addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from twinloom.twin.errors import BadRequest, Unauthenticated, Unavailable
from twinloom.viewer.client import Client, endpoint
from twinloom.viewer.live import Feed, fetch_plant
from twinloom.viewer.plant import Plant, TwinView

SPINDLE = "toulouse/line-1/cnc-01/spindle"


@pytest.fixture
async def following() -> Any:
    """Starts a feed as a task and cancels it after the test."""
    tasks: list[asyncio.Task[None]] = []

    def begin(feed: Feed) -> Feed:
        tasks.append(asyncio.create_task(feed.run()))
        return feed

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the conditions are of objects without an event
            await asyncio.sleep(0.005)


async def elsewhere(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return await asyncio.to_thread(work, *arguments, **named)


async def test_a_snapshot_brings_all_twins_with_parents_models_rules_and_alerts(server: Any) -> None:
    await elsewhere(server.measure, {(SPINDLE, "vibration_x"): 5.5})
    for _ in range(5):
        await elsewhere(server.measure, {(SPINDLE, "vibration_x"): 5.6})
    plant = await fetch_plant(Client(server.url, server.token), ("vibration_x",))
    assert len(plant.twins) == 339
    assert plant.twins[SPINDLE].parent == "toulouse/line-1/cnc-01"
    assert plant.twins[SPINDLE].is_a("dtmi:com:twinloom:cnc:MachineComponent;1")
    assert plant.twins[SPINDLE].values["vibration_x"].number == 5.6
    assert plant.twins[SPINDLE].values["vibration_x"].symbol == "mm/s"
    assert "spindle-rul-critical" in {rule.name for rule in plant.rules}
    assert [alert.rule for alert in plant.standing()] == ["spindle-vibration-high"]


async def test_values_and_alerts_arrive_while_following(server: Any, following: Callable[[Feed], Feed]) -> None:
    feed = following(Feed(Client(server.url, server.token), paths=("vibration_x",), min_interval_ms=20))
    await until(lambda: feed.phase == "live")
    before = feed.plant.seq
    for value in (5.1, 5.2, 5.3, 5.4, 5.5, 5.6):
        await elsewhere(server.measure, {(SPINDLE, "vibration_x"): value})
    values = feed.plant.twins[SPINDLE].values
    await until(lambda: "vibration_x" in values and values["vibration_x"].number == 5.6)
    await until(lambda: bool(feed.plant.standing()))
    assert feed.plant.seq > before
    assert feed.snapshots == 1


async def test_nothing_that_changes_during_the_snapshot_is_lost_or_taken_back(
    server: Any, following: Callable[[Feed], Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    from twinloom.viewer import live

    fetch = live.fetch_plant

    async def slow(client: Client, paths: tuple[str, ...] = ()) -> Plant:
        plant = await fetch(client, paths)
        await elsewhere(server.measure, {(SPINDLE, "temperature"): 41.0})
        await elsewhere(server.measure, {(SPINDLE, "temperature"): 42.0})
        return plant

    monkeypatch.setattr(live, "fetch_plant", slow)
    await elsewhere(server.measure, {(SPINDLE, "temperature"): 40.0})
    feed = following(Feed(Client(server.url, server.token), paths=("temperature",), min_interval_ms=10))
    await until(lambda: feed.phase == "live")
    await until(lambda: feed.plant.twins[SPINDLE].values["temperature"].number == 42.0)


async def test_when_the_server_dies_the_picture_is_stale_since_then_and_fresh_again_when_it_is_back(
    server: Any, following: Callable[[Feed], Feed]
) -> None:
    feed = following(
        Feed(Client(server.url, server.token), paths=("temperature",), first_delay_s=0.02, longest_delay_s=0.2)
    )
    await until(lambda: feed.phase == "live")
    await elsewhere(server.stop)
    await until(lambda: bool(feed.plant.lost_since))
    assert feed.phase == "lost" and feed.reason
    assert len(feed.plant.twins) == 339, "the last picture stays"
    await elsewhere(server.start)
    await elsewhere(server.measure, {(SPINDLE, "temperature"): 47.0})
    await until(lambda: feed.phase == "live" and not feed.plant.lost_since)
    assert feed.snapshots == 2
    await until(lambda: getattr(feed.plant.twins[SPINDLE].values.get("temperature"), "number", None) == 47.0)


async def test_five_deaths_in_a_row_leave_no_task_and_no_thread_hanging(
    server: Any, following: Callable[[Feed], Feed]
) -> None:
    feed = following(Feed(Client(server.url, server.token), first_delay_s=0.01, longest_delay_s=0.1))
    for round_ in range(1, 6):
        await until(lambda n=round_: feed.snapshots == n and feed.phase == "live")  # type: ignore[misc]
        await elsewhere(server.stop)
        await until(lambda: feed.phase == "lost")
        await elsewhere(server.start)
    await until(lambda: feed.snapshots == 6)
    assert len(asyncio.all_tasks()) < 20


async def test_a_twin_that_is_created_appears_without_a_moment_of_being_lost(
    server: Any, following: Callable[[Feed], Feed]
) -> None:
    lost: list[bool] = []
    feed = Feed(Client(server.url, server.token), changed=lambda plant, ids: lost.append(bool(plant.lost_since)))
    following(feed)
    await until(lambda: feed.phase == "live")
    create = """mutation { createTwin(input: {id: "lab/cnc-99", model: "dtmi:com:twinloom:cnc:CncMachine;1"}) {
        twin { dtId } userErrors { message } } }"""
    answer = await Client(server.url, server.token).query(create)
    assert answer["createTwin"]["userErrors"] == []
    await until(lambda: "lab/cnc-99" in feed.plant.twins)
    assert not any(lost)


async def test_a_wrong_token_is_said_and_not_tried_for_ever(server: Any) -> None:
    with pytest.raises(Unauthenticated):
        await fetch_plant(Client(server.url, "wrong"))
    with pytest.raises(Unauthenticated):
        async with asyncio.timeout(10):
            await Feed(Client(server.url, "wrong")).run()


async def test_no_service_at_an_address_is_one_sentence_with_the_remedy(free_port: Callable[[], int]) -> None:
    with pytest.raises(Unavailable, match=r"no twinloom service answers at .* start it with"):
        await Client(f"http://127.0.0.1:{free_port()}").query("{ __typename }")


async def test_a_server_that_is_no_graphql_and_one_that_never_answers_are_said() -> None:
    async def wrong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(wrong, "127.0.0.1", 0)
    async with plain:
        port = plain.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="without GraphQL"):
            await Client(f"http://127.0.0.1:{port}").query("{ __typename }")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unavailable):
            await Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2).query("{ __typename }")


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://host:99999", "file:///etc/passwd", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="is no http address"):
        endpoint(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000/graphql"),
        ("https://plant.example/twins/", "https://plant.example/twins/graphql"),
    ],
)
def test_an_address_leads_to_its_graphql_endpoint(url: str, expected: str) -> None:
    assert endpoint(url) == expected


def value(number: float, seq: int) -> dict[str, Any]:
    fixed = {"unit": "u", "symbol": "u", "quality": "GOOD", "stale": False, "sourceTime": None}
    return {"path": "t", "number": number, "value": number, "seq": seq, **fixed}


def change(seq: int, number: float, kind: str = "VALUES") -> dict[str, Any]:
    one = {
        "seq": seq,
        "kind": kind,
        "dtId": "a",
        "missed": 0,
        "gap": None,
        "twin": None,
        "values": [value(number, seq)],
    }
    return {"twinsChanged": {"seq": seq, "time": "2026-01-01T00:00:00Z", "missed": 0, "gap": None, "changes": [one]}}


@pytest.fixture
def idle() -> Feed:
    feed = Feed(Client("http://127.0.0.1:1"))
    feed.plant.twins["a"] = TwinView("a", "dtmi:m;1")
    return feed


def test_an_older_value_never_overwrites_a_newer_one(idle: Feed) -> None:
    assert idle.apply("twins", change(7, 1.0)) == {"a"}
    assert idle.apply("twins", change(6, 9.0)) == set()
    assert idle.plant.twins["a"].values["t"].number == 1.0
    assert idle.plant.seq == 7


@pytest.mark.parametrize("kind", ["CREATED", "DELETED", "UPDATED", "RELATED", "GAP"])
def test_a_change_of_structure_or_a_gap_asks_for_a_new_snapshot(idle: Feed, kind: str) -> None:
    assert idle.apply("twins", change(8, 1.0, kind)) is None


def test_missed_events_ask_for_a_new_snapshot(idle: Feed) -> None:
    event = change(9, 1.0)
    event["twinsChanged"]["missed"] = 3
    assert idle.apply("twins", event) is None
