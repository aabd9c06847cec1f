"""Numbers over many twins at once, and many orders in one request."""

from __future__ import annotations

from typing import Any

import pytest

SPINDLES = [f"toulouse/line-1/cnc-0{n}/spindle" for n in range(1, 7)]
PUMP = "dtmi:com:twinloom:cnc:CoolantPump;1"


async def test_values_are_aggregated_in_the_unit_asked_for(api: Any) -> None:
    await api.measure({(twin, "temperature"): float(10 * at) for at, twin in enumerate(SPINDLES)})
    found = await api.data(
        """{ aggregateTwins(filter: {model: "dtmi:com:twinloom:cnc:Spindle;1"}, of: ["temperature"], unit: "kelvin") {
            key count aggregates { path unit count min max avg sum percentiles(p: [0, 50, 100]) { p value } } } }"""
    )
    (group,) = found["aggregateTwins"]
    assert (group["key"], group["count"]) == ({}, 47)
    (numbers,) = group["aggregates"]
    assert (numbers["count"], numbers["unit"]) == (6, "kelvin")
    assert numbers["min"] == pytest.approx(273.15)
    assert numbers["avg"] == pytest.approx(298.15)
    assert [one["value"] for one in numbers["percentiles"]] == pytest.approx([273.15, 298.15, 323.15])


async def test_twins_are_grouped_by_model_and_by_a_property(api: Any) -> None:
    found = await api.data(
        """{ byModel: aggregateTwins(groupBy: ["model"]) { key count }
             byMaker: aggregateTwins(groupBy: ["manufacturer", "health"], filter: {model:
             "dtmi:com:twinloom:cnc:CncMachine;1"}) { key count } }"""
    )
    by_model = {group["key"]["model"]: group["count"] for group in found["byModel"]}
    assert by_model["dtmi:com:twinloom:cnc:Axis;1"] == 141
    assert sum(by_model.values()) == len(api.service.hot)
    assert found["byMaker"] == [{"key": {"manufacturer": "Example Machine Tools", "health": "UNKNOWN"}, "count": 47}]


async def test_quality_and_unknown_paths_are_minded(api: Any) -> None:
    await api.measure({(SPINDLES[0], "temperature"): 5.0})
    await api.measure({(SPINDLES[1], "temperature"): 99.0}, quality=0x40000000)
    found = await api.data('{ aggregateTwins(of: ["temperature"], quality: [GOOD]) { aggregates { count max } } }')
    assert found["aggregateTwins"][0]["aggregates"] == [{"count": 1, "max": 5.0}]
    answer = await api.ask('{ aggregateTwins(of: ["temprature"]) { count } }')
    assert "temperature" in answer["errors"][0]["extensions"]["remedy"]


async def test_history_buckets_have_percentiles(api: Any) -> None:
    for at in range(11):
        await api.measure({(SPINDLES[0], "temperature"): float(at)}, step_s=0.5)
    await api.service.historian.flush()
    found = await api.data(
        """query($id: String!) { history(twin: $id, path: "temperature", bucketMs: 3600000, percentiles: [50, 90],
            from: "2023-11-14T22:00:00Z", to: "2023-11-14T23:00:00Z") { buckets { count percentiles { p value }
            } } }""",
        {"id": SPINDLES[0]},
    )
    (bucket,) = found["history"]["buckets"]
    assert bucket == {"count": 11, "percentiles": [{"p": 50, "value": 5.0}, {"p": 90, "value": 9.0}]}


async def test_a_batch_tells_the_result_of_each_item_and_repeats_by_key(api: Any) -> None:
    create = """mutation($input: CreateTwinsInput!) { createTwins(input: $input)
        { seq userErrors { code } results { twin { dtId } seq userErrors { code } clientMutationId } } }"""
    items = [{"id": "p1", "model": PUMP}, {"id": "bad id", "model": PUMP}, {"id": "p2", "model": PUMP}]
    first = (await api.data(create, {"input": {"items": items, "clientMutationId": "k"}}))["createTwins"]
    assert [result["twin"] and result["twin"]["dtId"] for result in first["results"]] == ["p1", None, "p2"]
    assert [len(result["userErrors"]) for result in first["results"]] == [0, 1, 0]
    again = (await api.data(create, {"input": {"items": items, "clientMutationId": "k"}}))["createTwins"]
    assert [result["seq"] for result in again["results"]][::2] == [result["seq"] for result in first["results"]][::2]
    update = "mutation($i: UpdateTwinsInput!) { updateTwins(input: $i) { results { twin { name } } } }"
    done = await api.data(
        update, {"i": {"items": [{"id": twin, "properties": {"name": twin}} for twin in ("p1", "p2")]}}
    )
    assert [result["twin"]["name"] for result in done["updateTwins"]["results"]] == ["p1", "p2"]
    delete = "mutation($i: DeleteTwinsInput!) { deleteTwins(input: $i) { results { userErrors { code } } } }"
    gone = await api.data(delete, {"i": {"items": [{"id": twin} for twin in ("p1", "p2", "p3")]}})
    assert [[error["code"] for error in result["userErrors"]] for result in gone["deleteTwins"]["results"]] == [
        [],
        [],
        ["NOT_FOUND"],
    ]
