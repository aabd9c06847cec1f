"""Reading twins, their values and what joins them."""

from __future__ import annotations

from typing import Any

import pytest

SPINDLE = "toulouse/line-1/cnc-01/spindle"
MACHINE = "toulouse/line-1/cnc-01"
SPINDLE_MODEL = "dtmi:com:twinloom:cnc:Spindle;1"


async def test_a_twin_is_found_by_its_id_and_by_its_global_id(api: Any) -> None:
    first = await api.data("query($id: String!) { twin(id: $id) { id dtId modelId name } }", {"id": SPINDLE})
    assert first["twin"]["dtId"] == SPINDLE
    assert first["twin"]["modelId"] == SPINDLE_MODEL
    assert first["twin"]["name"] == "Spindle"
    again = await api.data("query($id: String!) { twin(id: $id) { dtId } }", {"id": first["twin"]["id"]})
    assert again["twin"]["dtId"] == SPINDLE
    node = await api.data(
        "query($id: ID!) { node(id: $id) { __typename id ... on Twin { dtId } } }", {"id": first["twin"]["id"]}
    )
    assert node["node"] == {"__typename": "Twin", "id": first["twin"]["id"], "dtId": SPINDLE}


async def test_a_twin_that_does_not_exist_is_null(api: Any) -> None:
    assert (await api.data('{ twin(id: "nowhere") { dtId } }'))["twin"] is None


async def test_values_come_with_unit_quality_and_times(api: Any) -> None:
    seq = await api.measure({(SPINDLE, "temperature"): 61.5})
    found = await api.data(
        """query($id: String!) { twin(id: $id) {
            seq value(path: "temperature") fahrenheit: value(path: "temperature", unit: "degreeFahrenheit")
            property(path: "temperature") { path value number unit symbol quality statusCode sourceTime seq
            stale } } }""",
        {"id": SPINDLE},
    )
    twin = found["twin"]
    assert twin["value"] == 61.5
    assert twin["fahrenheit"] == pytest.approx(142.7)
    assert twin["seq"] == seq
    assert twin["property"] == {
        "path": "temperature",
        "value": 61.5,
        "number": 61.5,
        "unit": "degreeCelsius",
        "symbol": "°C",
        "quality": "GOOD",
        "statusCode": 0,
        "sourceTime": "2023-11-14T22:13:20.100000Z",
        "seq": seq,
        "stale": False,
    }


async def test_an_unknown_property_gets_an_error_with_a_suggestion(api: Any) -> None:
    answer = await api.ask('query($id: String!) { twin(id: $id) { value(path: "temprature") } }', {"id": SPINDLE})
    assert answer["data"]["twin"]["value"] is None
    error = answer["errors"][0]
    assert error["path"] == ["twin", "value"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "temperature" in error["extensions"]["remedy"]


async def test_paging_through_all_twins_gives_each_once_in_order(api: Any) -> None:
    seen: list[str] = []
    after = None
    while True:
        found = await api.data(
            "query($after: String) { twins(first: 50, after: $after) { nodes { dtId } totalCount pageInfo { "
            "hasNextPage endCursor } } }",
            {"after": after},
        )
        page = found["twins"]
        seen += [node["dtId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == sorted(seen)
    assert len(seen) == len(set(seen)) == page["totalCount"] == len(api.service.hot)


async def test_a_cursor_of_another_filter_is_refused(api: Any) -> None:
    found = await api.data("{ twins(first: 1) { pageInfo { endCursor } } }")
    answer = await api.ask(
        "query($after: String) { twins(first: 1, after: $after, filter: {hasAlert: true}) { nodes { dtId } } }",
        {"after": found["twins"]["pageInfo"]["endCursor"]},
    )
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_filters_combine(api: Any) -> None:
    await api.measure({(SPINDLE, "temperature"): 80.0, ("hamburg/line-1/cnc-19/spindle", "temperature"): 20.0})
    found = await api.data(
        """{ twins(filter: {model: "dtmi:com:twinloom:cnc:Spindle;1",
             property: {path: "temperature", gt: 150, unit: "degreeFahrenheit", quality: [GOOD]}}) { nodes {
             dtId } } }"""
    )
    assert [node["dtId"] for node in found["twins"]["nodes"]] == [SPINDLE]
    found = await api.data(
        """{ twins(filter: {model: "dtmi:com:twinloom:cnc:CncMachine;1",
             relationship: {name: "contains", some: {property: {path: "temperature", gte: 80}}}}) { nodes {
             dtId } } }"""
    )
    assert [node["dtId"] for node in found["twins"]["nodes"]] == [MACHINE]


async def test_order_by_a_property_puts_unset_values_last_and_pages_on(api: Any) -> None:
    spindles = [f"toulouse/line-1/cnc-0{n}/spindle" for n in range(1, 7)]
    await api.measure({(twin, "temperature"): float(10 * at) for at, twin in enumerate(spindles)})
    query = """query($after: String) { twins(first: 2, after: $after, orderBy: [{by: "temperature", direction: DESC}],
        filter: {subtreeOf: "toulouse/line-1", model: "dtmi:com:twinloom:cnc:Spindle;1"})
        { nodes { dtId value(path: "temperature") } pageInfo { endCursor hasNextPage } } }"""
    seen, after = [], None
    for _ in range(3):
        page = (await api.data(query, {"after": after}))["twins"]
        seen += [node["dtId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert seen == spindles[::-1]


async def test_relationships_go_both_ways(api: Any) -> None:
    found = await api.data(
        """query($id: String!) { twin(id: $id) { parent { dtId }
            out: relationships(name: "contains") { nodes { name target { dtId } source { dtId } } totalCount }
            into: related(direction: INCOMING) { nodes { dtId } }
            subtree { totalCount nodes { dtId } } } }""",
        {"id": MACHINE},
    )
    twin = found["twin"]
    assert twin["parent"]["dtId"] == "toulouse/line-1"
    assert twin["out"]["totalCount"] == 6
    assert {edge["source"]["dtId"] for edge in twin["out"]["nodes"]} == {MACHINE}
    assert twin["into"]["nodes"] == [{"dtId": "toulouse/line-1"}]
    assert twin["subtree"]["totalCount"] == 6
    assert {node["dtId"] for node in twin["subtree"]["nodes"]} == {
        edge["target"]["dtId"] for edge in twin["out"]["nodes"]
    }


async def test_models_show_their_fields(api: Any) -> None:
    found = await api.data(
        """{ model(id: "dtmi:com:twinloom:cnc:Spindle;1") { displayName version decommissioned extends { modelId }
             fields { path kind schema unit writable } } models(first: 100) { totalCount } }"""
    )
    fields = {field["path"]: field for field in found["model"]["fields"]}
    assert fields["vibration_x"] == {
        "path": "vibration_x",
        "kind": "telemetry",
        "schema": "double",
        "unit": "mm/s",
        "writable": False,
    }
    assert found["model"]["extends"] == [{"modelId": "dtmi:com:twinloom:cnc:MachineComponent;1"}]
    assert found["models"]["totalCount"] == 10


async def test_history_has_points_and_buckets(api: Any) -> None:
    for at in range(5):
        await api.measure({(SPINDLE, "temperature"): 20.0 + at}, step_s=1.0)
    await api.service.historian.flush()
    found = await api.data(
        """query($id: String!) { history(twin: $id, path: "temperature", from: "2023-11-14T22:00:00Z", to:
        "2023-11-14T23:00:00Z")
            { unit points { time value quality } buckets { count } gaps { reason } }
            twin(id: $id) { history(path: "temperature", bucketMs: 3600000, from: "2023-11-14T22:00:00Z", to:
            "2023-11-14T23:00:00Z",
              unit: "kelvin") { unit buckets { start count min max avg last } } } }""",
        {"id": SPINDLE},
    )
    assert [point["value"] for point in found["history"]["points"]] == [20.0, 21.0, 22.0, 23.0, 24.0]
    (bucket,) = found["twin"]["history"]["buckets"]
    assert bucket["count"] == 5
    assert bucket["avg"] == pytest.approx(22 + 273.15)


async def test_history_of_a_text_has_its_texts_and_no_buckets(api: Any) -> None:
    for mode in ("idle", "automatic"):
        await api.measure({(MACHINE, "controller.operating_mode"): mode}, step_s=1.0)
    await api.service.historian.flush()
    span = 'path: "controller.operating_mode", from: "2023-11-14T22:00:00Z", to: "2023-11-14T23:00:00Z"'
    found = await api.data(
        f'{{ history(twin: "{MACHINE}", {span}) {{ points {{ value }} texts {{ value quality }} }} }}'
    )
    assert found["history"] == {
        "points": [],
        "texts": [{"value": "idle", "quality": "GOOD"}, {"value": "automatic", "quality": "GOOD"}],
    }
    answer = await api.ask(f'{{ history(twin: "{MACHINE}", bucketMs: 1000, {span}) {{ buckets {{ count }} }} }}')
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_the_first_buckets_of_an_hour_can_be_asked_for(api: Any) -> None:
    await api.measure({(SPINDLE, "temperature"): 20.0})
    await api.service.historian.flush()
    span = 'from: "2023-11-14T22:00:00Z", to: "2023-11-14T23:00:00Z", bucketMs: 5000, first: 3'
    found = await api.data(f'{{ history(twin: "{SPINDLE}", path: "temperature", {span}) {{ buckets {{ count }} }} }}')
    assert found["history"]["buckets"] == [{"count": 1}]


async def test_every_answer_carries_the_seq_and_the_cost(api: Any) -> None:
    answer = await api.ask("{ serviceInfo { seq twins health { state } } }")
    assert answer["extensions"]["seq"] == api.service.hot.seq == answer["data"]["serviceInfo"]["seq"]
    assert answer["extensions"]["cost"]["requested"] == 5
    assert answer["data"]["serviceInfo"]["health"]["state"] == "ok"


async def test_min_seq_waits_for_the_state(api: Any) -> None:
    seq = await api.measure({(SPINDLE, "temperature"): 1.0})
    found = await api.data(
        "query($seq: Long!, $id: String!) { twin(id: $id, minSeq: $seq) { seq } }", {"seq": seq, "id": SPINDLE}
    )
    assert found["twin"]["seq"] == seq


async def test_min_seq_that_is_not_reached_is_an_error(start: Any) -> None:
    from twinloom.api.app import Limits

    api = await start(limits=Limits(min_seq_wait_s=0.05))
    answer = await api.http.post("/graphql", json={"query": '{ twin(id: "a", minSeq: 99999999) { seq } }'})
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["extensions"]["code"] == "SEQ_NOT_REACHED"


async def test_alert_rules_and_limits_are_served(api: Any) -> None:
    found = await api.data(
        "{ alertRules { name below above clear unit workOrder } serviceLimits { cost page depth timeoutS } }"
    )
    rules = {rule["name"]: rule for rule in found["alertRules"]}
    assert rules["spindle-rul-critical"] == {
        "name": "spindle-rul-critical",
        "below": 14.0,
        "above": None,
        "clear": 21.0,
        "unit": "day",
        "workOrder": "Replace the spindle bearings",
    }
    assert found["serviceLimits"]["page"] == 100
