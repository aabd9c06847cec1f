"""Subscriptions over graphql-transport-ws: what is delivered, to whom, and what a slow or late client is told."""

from __future__ import annotations

from typing import Any

SPINDLE = "toulouse/line-1/cnc-01/spindle"
OTHER = "toulouse/line-1/cnc-02/spindle"
VALUES = """subscription($filter: TwinChangeFilter, $after: Long) { twinChanged(filter: $filter, after: $after)
    { seq kind dtId missed values { path number quality sourceTime } gap { fromSeq toSeq hint } } }"""
TOGETHER = """subscription($filter: TwinChangeFilter) { twinsChanged(filter: $filter)
    { seq missed changes { dtId kind values { path number } } } }"""


async def test_a_change_reaches_only_who_asked_for_it(api: Any) -> None:
    async with api.socket() as socket:
        await socket.subscribe(VALUES, {"filter": {"ids": [SPINDLE], "paths": ["temperature"]}})
        await socket.settle()
        await api.measure({(OTHER, "temperature"): 1.0, (SPINDLE, "speed"): 2.0})
        seq = await api.measure({(SPINDLE, "temperature"): 3.0, (OTHER, "temperature"): 4.0})
        change = (await socket.data())["twinChanged"]
        assert change["seq"] == seq
        assert change["kind"] == "VALUES"
        assert change["dtId"] == SPINDLE
        assert [(value["path"], value["number"]) for value in change["values"]] == [("temperature", 3.0)]


async def test_one_event_holds_all_twins_of_a_step(api: Any) -> None:
    async with api.socket() as socket:
        await socket.subscribe(TOGETHER, {"filter": {"subtreeOf": "toulouse/line-1"}})
        await socket.settle()
        seq = await api.measure(
            {
                (SPINDLE, "temperature"): 3.0,
                (OTHER, "temperature"): 4.0,
                ("hamburg/line-1/cnc-19/spindle", "speed"): 1.0,
            }
        )
        event = (await socket.data())["twinsChanged"]
        assert event["seq"] == seq
        assert {change["dtId"]: change["values"][0]["number"] for change in event["changes"]} == {
            SPINDLE: 3.0,
            OTHER: 4.0,
        }


async def test_structural_changes_are_told(api: Any) -> None:
    async with api.socket() as socket:
        await socket.subscribe(VALUES, {"filter": {"model": "dtmi:com:twinloom:cnc:CoolantPump;1"}})
        await socket.settle()
        await api.data(
            'mutation { createTwin(input: {id: "p1", model: "dtmi:com:twinloom:cnc:CoolantPump;1"}) { seq } }'
        )
        created = (await socket.data())["twinChanged"]
        assert (created["kind"], created["dtId"]) == ("CREATED", "p1")
        await api.data('mutation { updateTwin(input: {id: "p1", properties: {name: "P"}}) { seq } }')
        assert (await socket.data())["twinChanged"]["kind"] == "UPDATED"
        await api.data('mutation { deleteTwin(input: {id: "p1"}) { seq } }')
        assert (await socket.data())["twinChanged"]["kind"] == "DELETED"


async def test_after_replays_every_event_once_and_goes_on_live(api: Any) -> None:
    seqs = [await api.measure({(SPINDLE, "temperature"): float(at)}) for at in range(10)]
    async with api.socket() as socket:
        await socket.subscribe(VALUES, {"filter": {"ids": [SPINDLE]}, "after": seqs[3]})
        got = [(await socket.data())["twinChanged"]["seq"] for _ in range(6)]
        assert got == seqs[4:]
        live = await api.measure({(SPINDLE, "temperature"): 99.0})
        assert (await socket.data())["twinChanged"]["seq"] == live


async def test_a_seq_older_than_the_log_gives_a_gap_with_its_bounds(api: Any) -> None:
    first = api.service.feed.first_seq
    async with api.socket() as socket:
        await socket.subscribe(VALUES, {"after": first - 5})
        event = (await socket.data())["twinChanged"]
        assert event["kind"] == "GAP"
        assert (event["gap"]["fromSeq"], event["gap"]["toSeq"]) == (first - 4, first)


async def test_a_seq_of_the_future_is_refused(api: Any) -> None:
    async with api.socket() as socket:
        await socket.subscribe(VALUES, {"after": 1 << 40})
        message = await socket.receive()
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_equal_subscriptions_share_one_group(api: Any) -> None:
    async with api.socket() as one, api.socket() as two:
        for socket in (one, two):
            await socket.subscribe(VALUES, {"filter": {"ids": [SPINDLE]}})
            await socket.settle()
        text = (await api.http.get("/metrics")).text
        assert "graphql_subscriptions 2.0" in text
        assert "graphql_subscription_groups 1.0" in text
        await api.measure({(SPINDLE, "temperature"): 5.0})
        assert await one.data() == await two.data()


async def test_a_deadband_holds_small_changes_back(api: Any) -> None:
    async with api.socket() as socket:
        await socket.subscribe(
            "subscription($id: [String!]) { twinChanged(filter: {ids: $id}, deadband: 1.0) { values { number } } }",
            {"id": [SPINDLE]},
        )
        await socket.settle()
        for value in (10.0, 10.5, 10.9, 11.1):
            await api.measure({(SPINDLE, "temperature"): value})
        got = [(await socket.data())["twinChanged"]["values"][0]["number"] for _ in range(2)]
        assert got == [10.0, 11.1]


async def test_a_query_and_an_error_go_over_the_same_socket(api: Any) -> None:
    async with api.socket() as socket:
        await socket.subscribe("{ serviceInfo { name } }", id="q")
        assert (await socket.data())["serviceInfo"]["name"] == "twinloom"
        assert await socket.receive() == {"id": "q", "type": "complete"}
        await socket.subscribe("{ nonsense }", id="bad")
        message = await socket.receive()
        assert (message["type"], message["id"]) == ("error", "bad")
        await socket.subscribe("{ syntax", id="bad")
        assert (await socket.receive())["payload"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"


async def test_a_subscription_whose_filter_loses_its_model_is_told_once(api: Any) -> None:
    valve = {"@context": "dtmi:dtdl:context;3", "@id": "dtmi:com:example:Valve;1", "@type": "Interface", "contents": []}
    upload = "mutation($d: [JSON!]!) { uploadModels(input: {documents: $d}) { userErrors { message } } }"
    await api.data(upload, {"d": [valve]})
    async with api.socket() as socket:
        where = {"NOT": {"exactModel": "dtmi:com:example:Valve;1"}}
        await socket.subscribe(VALUES, {"filter": {"where": where}})
        await socket.settle()
        await api.data('mutation { deleteModel(input: {id: "dtmi:com:example:Valve;1"}) { seq } }')
        message = await socket.receive()
        assert message["payload"]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        await api.measure({(SPINDLE, "temperature"): 1.0})
        assert (await socket.data())["twinChanged"]["dtId"] == SPINDLE
