"""Writing twins, relationships and models: checked, durable, compared by etag, executed once per key."""

from __future__ import annotations

from typing import Any

import httpx

MACHINE = "toulouse/line-1/cnc-01"
UPDATE = """mutation($input: UpdateTwinInput!) { updateTwin(input: $input)
    { twin { etag properties(paths: ["name", "controller.feed_override", "placement"]) } seq userErrors { code
    message path remedy } clientMutationId } }"""
CREATE = """mutation($input: CreateTwinInput!) { createTwin(input: $input)
    { twin { dtId etag name } seq userErrors { code message path remedy } clientMutationId } }"""
PUMP = "dtmi:com:twinloom:cnc:CoolantPump;1"


async def test_a_created_twin_is_there_when_the_answer_comes(api: Any) -> None:
    made = await api.data(
        CREATE, {"input": {"id": "p1", "model": PUMP, "properties": {"name": "Pump"}, "clientMutationId": "k"}}
    )
    payload = made["createTwin"]
    assert payload["userErrors"] == []
    assert payload["clientMutationId"] == "k"
    found = await api.data('query($seq: Long!) { twin(id: "p1", minSeq: $seq) { name etag } }', {"seq": payload["seq"]})
    assert found["twin"] == {"name": "Pump", "etag": payload["twin"]["etag"]}


async def test_the_same_key_is_executed_once(api: Any) -> None:
    order = {"input": {"id": "p1", "model": PUMP, "clientMutationId": "same"}}
    first = (await api.data(CREATE, order))["createTwin"]
    again = (await api.data(CREATE, order))["createTwin"]
    assert again["userErrors"] == []
    assert again["seq"] == first["seq"]


async def test_a_merge_patch_sets_nested_and_dotted_paths_and_removes_with_null(api: Any) -> None:
    done = await api.data(
        UPDATE,
        {
            "input": {
                "id": MACHINE,
                "properties": {"name": None, "controller": {"feed_override": 80.5}, "placement": {"x": 9.0}},
            }
        },
    )
    assert done["updateTwin"]["userErrors"] == []
    assert done["updateTwin"]["twin"]["properties"]["controller"]["feed_override"] == 80.5
    assert done["updateTwin"]["twin"]["properties"]["placement"]["x"] == 9.0
    assert "y" in done["updateTwin"]["twin"]["properties"]["placement"]
    assert "name" not in done["updateTwin"]["twin"]["properties"]
    done = await api.data(UPDATE, {"input": {"id": MACHINE, "properties": {"controller.feed_override": 70}}})
    assert done["updateTwin"]["twin"]["properties"]["controller"]["feed_override"] == 70


async def test_a_write_that_the_model_forbids_is_a_user_error_with_its_place(api: Any) -> None:
    done = await api.data(UPDATE, {"input": {"id": MACHINE, "properties": {"controller": {"feed_override": "fast"}}}})
    (error,) = done["updateTwin"]["userErrors"]
    assert error["code"] == "MODEL_VIOLATION"
    assert error["path"].endswith("/feed_override")
    assert error["remedy"]
    assert done["updateTwin"]["twin"] is None


async def test_an_old_etag_is_a_conflict(api: Any) -> None:
    found = await api.data("query($id: String!) { twin(id: $id) { etag } }", {"id": MACHINE})
    etag = found["twin"]["etag"]
    first = await api.data(UPDATE, {"input": {"id": MACHINE, "properties": {"name": "A"}, "expectedEtag": etag}})
    assert first["updateTwin"]["userErrors"] == []
    second = await api.data(UPDATE, {"input": {"id": MACHINE, "properties": {"name": "B"}, "expectedEtag": etag}})
    assert [error["code"] for error in second["updateTwin"]["userErrors"]] == ["CONFLICT"]


async def test_relationships_are_made_read_and_deleted(api: Any) -> None:
    await api.data(CREATE, {"input": {"id": "p1", "model": PUMP}})
    made = await api.data(
        """mutation($input: CreateRelationshipInput!) { createRelationship(input: $input)
            { relationship { id relationshipId name target { dtId } } userErrors { code } } }""",
        {"input": {"source": MACHINE, "name": "contains", "target": "p1"}},
    )
    relationship = made["createRelationship"]["relationship"]
    assert relationship["target"]["dtId"] == "p1"
    node = await api.data(
        "query($id: ID!) { node(id: $id) { ... on Relationship { relationshipId } } }", {"id": relationship["id"]}
    )
    assert node["node"]["relationshipId"] == relationship["relationshipId"]
    refused = await api.data('mutation { deleteTwin(input: {id: "p1"}) { userErrors { code } } }')
    assert [error["code"] for error in refused["deleteTwin"]["userErrors"]] == ["CONFLICT"]
    done = await api.data(
        'mutation { deleteTwin(input: {id: "p1", detach: true}) { userErrors { code } twin { dtId } } }'
    )
    assert done["deleteTwin"] == {"userErrors": [], "twin": None}
    assert (await api.data('{ twin(id: "p1") { dtId } }'))["twin"] is None


async def test_a_model_with_defects_lists_every_one(api: Any) -> None:
    bad = {
        "@context": "dtmi:dtdl:context;3",
        "@id": "dtmi:com:example:Bad;1",
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "a", "schema": "nonsense"},
            {"@type": "Property", "schema": "double"},
        ],
    }
    done = await api.data(
        "mutation($d: [JSON!]!) { uploadModels(input: {documents: $d}) { models { modelId } userErrors { code "
        "path message remedy } } }",
        {"d": [bad]},
    )
    errors = done["uploadModels"]["userErrors"]
    assert len(errors) >= 2
    assert {error["code"] for error in errors} == {"MODEL_VIOLATION"}
    assert done["uploadModels"]["models"] == []


async def test_a_reader_may_not_write(api: Any) -> None:
    async with httpx.AsyncClient(
        base_url=api.url, headers={"authorization": "Bearer a-reader-of-the-tests-0123456789"}
    ) as reader:
        answer = (
            await reader.post("/graphql", json={"query": CREATE, "variables": {"input": {"id": "p1", "model": PUMP}}})
        ).json()
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        answer = (await reader.post("/graphql", json={"query": "{ serviceInfo { name } }"})).json()
        assert answer["data"]["serviceInfo"]["name"] == "twinloom"
    assert (await api.data('{ twin(id: "p1") { dtId } }'))["twin"] is None
