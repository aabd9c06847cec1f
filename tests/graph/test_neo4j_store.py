"""What Neo4j adds to the contract: a natural graph, safety from hostile names, honest failure when it is gone."""

from __future__ import annotations

import ast
import random
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from servers.neo4j_server import Neo4jServer

from twinloom.graph.neo4j_store import Neo4jStore
from twinloom.graph.seed import read_plant
from twinloom.graph.store import Change, LastValue, PutModels, PutRecord, PutRelationship, PutTwin
from twinloom.twin.errors import BadRequest, BadSetting, StoreUnavailable, TwinloomError
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Relationship, Twin

ROOM = Path(__file__).resolve().parents[2] / "graph"
UNIT = ModelId("dtmi:test:Unit;1")


@pytest.fixture
async def store(neo4j_uri: str, neo4j_auth: tuple[str, str]) -> AsyncIterator[Neo4jStore]:
    store = Neo4jStore(neo4j_uri, *neo4j_auth, timeout_s=30.0)
    await store.open()
    yield store
    await store.close()


async def commit(store: Neo4jStore, seq: int, *changes: Change) -> None:
    await store.commit(changes, seq=seq, time_ns=seq, cause="test")


async def test_the_graph_is_natural_to_any_cypher_tool(store: Neo4jStore, examples: Path) -> None:
    plant = read_plant(examples / "plant.yaml")
    alert = {"id": "x1", "twin": "toulouse/line-1/cnc-01/spindle", "severity": "critical", "value": 9.5}
    await commit(store, 1, *plant.changes, PutRecord("alert", "x1", alert), PutRecord("work_order", "w1", {"id": "w1"}))
    await store.write_values([LastValue(TwinId("toulouse/line-1/cnc-01/spindle"), "vibration_x", 4.25, 10, 0)], seq=2)

    async def ask(cypher: str) -> list[Any]:
        return [list(row.values()) for row in await store.query(cypher, {}, 100)]

    assert await ask(
        "MATCH (p:Plant)-[:contains]->(:ProductionLine)-[:contains]->(m:CncMachine) "
        "RETURN p.name, count(m) ORDER BY p.name"
    ) == [["Derby", 14], ["Hamburg", 15], ["Toulouse", 18]]
    assert await ask("MATCH (m:CncMachine {id: 'toulouse/line-1/cnc-01'}) RETURN m.serial_number, "
                     "m.`controller.feed_override`, m.`placement.x`, labels(m)") == [
        ["EMT-2101", 100.0, 0.0, ["Twin", "CncMachine"]]
    ]  # fmt: skip
    assert await ask("MATCH (:ProductionLine {id: 'toulouse/line-1'})-[f:feeds]->(l) RETURN f.share, l.id") == [
        [0.6, "toulouse/line-3"]
    ]
    assert await ask("MATCH (s:Spindle) WHERE s.vibration_x > 4 RETURN s.id") == [["toulouse/line-1/cnc-01/spindle"]]
    assert await ask("MATCH (a:Alert)-[:ABOUT]->(t:Spindle) RETURN a.severity, a.value, t.name") == [
        ["critical", 9.5, "Spindle"]
    ]
    assert await ask("MATCH (w:WorkOrder) RETURN w.id") == [["w1"]]
    assert await ask("MATCH (m:Model {name: 'Spindle'})-[:EXTENDS*]->(b:Model) RETURN b.name ORDER BY b.name") == [
        ["Asset"],
        ["MachineComponent"],
    ]
    assert await ask("MATCH (m:Model {name: 'CncMachine'})-[c:COMPONENT]->(b) RETURN c.name, b.name") == [
        ["controller", "CncController"]
    ]
    assert await ask(
        "SHOW CONSTRAINTS YIELD name, type, labelsOrTypes, properties WHERE name = 'twin_id' AND type = 'UNIQUENESS' "
        "RETURN labelsOrTypes[0] AS label, properties"
    ) == [["Twin", ["id"]]]


async def test_a_model_named_like_our_own_nodes_does_not_mix_with_them(store: Neo4jStore) -> None:
    for name in ("Twin", "Model", "Record", "LogEntry", "Meta"):
        model = ModelId(f"dtmi:test:{name};1")
        await commit(store, (await store.load()).seq + 1, PutTwin(Twin(TwinId(name), model, {"id": name}), create=True))
    snapshot = await store.load()
    assert {t.id: (t.model, t.properties) for t in snapshot.twins} == {
        name: (f"dtmi:test:{name};1", {"id": name}) for name in ("Twin", "Model", "Record", "LogEntry", "Meta")
    }
    assert snapshot.models == ()
    assert snapshot.seq == 5


def hostile_names(n: int) -> list[str]:
    """Names made of what breaks out of quotes, comments, identifiers and encodings."""
    chance = random.Random(3)
    pieces = [
        "`", "``", "\\u0060", "\\", "'", '"', "//", "/*", "*/", "\x00", "\u202e", "\n", ";", "}", ")", "]->()", "$x",
        "{id:1}", "DETACH DELETE n", "` SET t.pwned=1 //", "'}) MATCH (n) DETACH DELETE n //", "é", "😀", "a", "Twin",
        "\u2028", "\u0000", "\ufffe", "@", "_", ".", "id", " ",
    ]  # fmt: skip
    return ["".join(chance.choices(pieces, k=chance.randint(1, 5))) + f"#{k}" for k in range(n)]


async def test_hostile_names_change_nothing_but_their_own_target(store: Neo4jStore) -> None:
    await commit(store, 1, PutTwin(Twin(TwinId("target"), UNIT), create=True),
                 PutTwin(Twin(TwinId("bystander"), UNIT, {"name": "untouched"}), create=True))  # fmt: skip
    names = hostile_names(5000)
    seq = 1

    async def attempt(*changes: Change) -> str:
        nonlocal seq
        seq += 1
        try:
            await commit(store, seq, *changes)
        except TwinloomError as error:
            assert error.code in ("BAD_USER_INPUT", "CONFLICT", "NOT_FOUND"), error
            assert "Invalid input" not in str(error), "a syntax error got out"
            return error.code
        return ""

    for start in range(0, 5000, 500):
        part = names[start : start + 500]
        # As twin ids, property names and values, relationship ids and property names, record keys and fields.
        assert not await attempt(*(PutTwin(Twin(TwinId(n), UNIT, {n: n, "a": {n: [n]}}), create=True) for n in part))
        assert not await attempt(
            *(PutRelationship(Relationship(n, TwinId("target"), "feeds", TwinId(n), {n: n})) for n in part)
        )
        assert not await attempt(*(PutRecord("alert", n, {n: n, "twin": n}) for n in part))
        await store.write_values([LastValue(TwinId("target"), "last", n, seq, 0) for n in part], seq=seq)
    for name in [*names[:300], "a\ud800", "\udfff"]:
        # As relationship names, models and their labels, record kinds.
        edge = Relationship("x", TwinId("target"), name, TwinId("target"))
        assert await attempt(PutRelationship(edge)) == "BAD_USER_INPUT"
        assert (
            await attempt(PutTwin(Twin(TwinId("new"), ModelId(f"dtmi:test:{name};1")), create=True)) == "BAD_USER_INPUT"
        )
    for name in names[:100]:
        await attempt(PutRecord(name, "key", {}))
        await attempt(PutModels(({"@id": name, "extends": name},), (ModelId(name),)))
        with pytest.raises(TwinloomError):
            await store.query(f"MATCH (n) RETURN n.{name}", {}, 1)
        assert await store.query("MATCH (t:Twin {id: $id}) RETURN t.id AS id", {"id": name}, 1) == [{"id": name}]

    snapshot = await store.load()
    twins = {t.id: t for t in snapshot.twins}
    assert set(twins) == {"target", "bystander", *names}
    assert twins[TwinId("bystander")].properties == {"name": "untouched"}
    assert twins[TwinId("bystander")].etag == "1"
    assert all(twins[TwinId(n)].properties == {n: n, "a": {n: [n]}} for n in names)
    assert {e.id: (e.target, e.properties) for e in snapshot.relationships} == {n: (n, {n: n}) for n in names}
    assert {k: d for kind, k, d in snapshot.records if kind == "alert"} == {n: {n: n, "twin": n} for n in names}
    labels = await store.query("MATCH (n) UNWIND labels(n) AS l RETURN DISTINCT l ORDER BY l", {}, 100)
    assert {row["l"] for row in labels} <= {
        "Alert",
        "LogEntry",
        "Meta",
        "Model",
        "OtherRecord",
        "Record",
        "Twin",
        "Unit",
    }
    types = await store.query("MATCH ()-[r]->() RETURN DISTINCT type(r) AS t ORDER BY t", {}, 100)
    assert [row["t"] for row in types] == ["ABOUT", "EXTENDS", "feeds"]


def test_no_cypher_is_put_together_in_python() -> None:
    keyword = re.compile(r"\b(MATCH|MERGE|UNWIND|CREATE \(|DETACH DELETE)\b")
    for file in ROOM.glob("neo4j*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                assert not keyword.search(node.value), f"{file.name}:{node.lineno} holds Cypher: put it in cypher/"


async def test_a_query_reads_and_does_nothing_else(store: Neo4jStore) -> None:
    await commit(store, 1, PutTwin(Twin(TwinId("a"), UNIT, {"name": "A"}), create=True))
    for text in (
        "CREATE (:X)",
        "MATCH (n) DETACH DELETE n",
        "MATCH (n) SET n.x = 1 RETURN n",
        "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
        "load /* x */ csv FROM 'http://127.0.0.1/' AS line RETURN line",
        "\\u004cOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
        "LOAD // x\nCSV FROM 'file:///etc/passwd' AS line RETURN line",
        "no cypher",
        "RETURN $missing",
    ):
        with pytest.raises(BadRequest) as caught:
            await store.query(text, {}, 10)
        assert "\n" not in str(caught.value)
    assert len(await store.query("UNWIND range(1, 100) AS n RETURN n", {}, 7)) == 7
    assert await store.query("MATCH (t:Twin) RETURN count(*) AS n, date('2026-01-02') AS d, t.id AS id", {}, 10) == [
        {"n": 1, "d": "2026-01-02", "id": "a"}
    ]


async def test_an_address_where_nobody_answers_fails_soon(free_port: Any) -> None:
    store = Neo4jStore(f"bolt://127.0.0.1:{free_port()}", "neo4j", "secret-canary", timeout_s=2.0)
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    assert time.monotonic() - begin < 5.0
    assert "secret-canary" not in str(caught.value)
    assert caught.value.remedy


async def test_an_address_that_is_none_is_a_bad_setting() -> None:
    with pytest.raises(BadSetting, match="TWINLOOM_GRAPH"):
        await Neo4jStore("gopher://example", "a", "b").open()


async def test_a_killed_server_is_said_to_be_gone_and_serves_again_when_it_is_back(private_neo4j: Neo4jServer) -> None:
    store = Neo4jStore(private_neo4j.uri, "neo4j", "x", timeout_s=60.0)
    await store.open()
    acknowledged = 0
    for seq in range(1, 21):
        await commit(store, seq, PutTwin(Twin(TwinId(f"t{seq}"), UNIT), create=True), PutRecord("alert", str(seq), seq))
        acknowledged = seq
    private_neo4j.kill()
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await commit(store, 21, PutTwin(Twin(TwinId("t21"), UNIT), create=True))
    with pytest.raises(StoreUnavailable):
        await store.load()
    assert time.monotonic() - begin < 60.0, "the retries are bounded by 5 s a call"
    private_neo4j.start()
    await commit(store, 22, PutTwin(Twin(TwinId("back"), UNIT), create=True))
    snapshot = await store.load()
    await store.close()
    assert {f"t{seq}" for seq in range(1, acknowledged + 1)} <= {t.id for t in snapshot.twins}
    assert {key for _, key, _ in snapshot.records} == {str(seq) for seq in range(1, acknowledged + 1)}
    assert "back" in {t.id for t in snapshot.twins}
