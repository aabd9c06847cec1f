"""Thousands of broken variants of good requests: every one is answered, none with a 5xx, a stack trace or a path."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

import orjson

from twinloom.api.engine import Engine
from twinloom.api.errors import RequestRefused
from twinloom.api.services import Services
from twinloom.api.tokens import ANYONE

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "graphql.md").read_text()
SEEDS = [
    *re.findall(r"```graphql\n(.*?)```", GUIDE, re.DOTALL),
    """{ twins(first: 2) { edges { cursor node { id relationships(name: "contains")
        { nodes { target { dtId } } } } } } }""",
    """query($id: ID!, $n: Int = 3) { node(id: $id)
        { ... on Twin @skip(if: false) { subtree(first: $n) { totalCount } } } }""",
    'mutation { createTwin(input: {id: "x", model: "dtmi:com:twinloom:cnc:Axis;1"}) { userErrors { code } } }',
    'mutation { updateTwin(input: {id: "toulouse", properties: {name: "T"}}) { seq userErrors { path } } }',
    'subscription { twinChanged(filter: {ids: ["a"]}, deadband: 1.5) { seq values { path } } }',
    '{ history(twin: "toulouse/line-1/cnc-01/spindle", path: "load", bucketMs: 60000) { buckets { avg } } }',
]
PIECES = [
    *("{", "}", "(", ")", "[", "]", ":", "!", "$x", "...", '"', '"""', "#", "null", "-1", "1e400", " on ", "input"),
    *("@include(if: true)", "\\u0000", "99999999999999999999", "twins", 'node(id: "?")', "__typename"),
    *("__schema { types { name } }", "fragment F on Twin { ...F }", "first: 2147483647", "\ud800", "é", "\x00"),
]
LEAK = re.compile(r'Traceback|File \\?"|/work/|site-packages|\.py\b|0x[0-9a-f]{8}')


def broken(text: str, chance: random.Random) -> str:
    """One to four random edits."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        to = min(len(text), at + chance.randint(0, 12))
        match chance.randrange(5):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:at] + chance.choice(PIECES) + text[at:]
            case 2:
                text = text[:at] + chance.choice(PIECES) + text[to:]
            case 3:
                text = text[:to] + text[at:]
            case _:
                words = re.findall(r"\w+|\W", text)
                one, other = chance.randrange(len(words)), chance.randrange(len(words))
                words[one], words[other] = words[other], words[one]
                text = "".join(words)
    return text


async def test_broken_documents_never_give_an_internal_error(api: Any) -> None:
    engine = Engine(Services(service=api.service, tokens=None))
    chance = random.Random(20_261)
    slowest, executed = 0.0, 0
    for _ in range(3_000):
        text = broken(chance.choice(SEEDS), chance)
        variables = chance.choice([{}, {"id": "toulouse"}, {"id": 7, "n": "x"}, {"n": 1 << 40}, {"id": None}])
        begun = time.process_time()
        try:
            answer = orjson.loads(await engine.run(text, variables, None, ANYONE))
            executed += 1
        except RequestRefused as refusal:
            assert 400 <= refusal.status < 500, (text, refusal.errors)
            answer = {"errors": refusal.errors}
        slowest = max(slowest, time.process_time() - begun)
        for error in answer.get("errors", ()):
            assert error["extensions"]["code"] not in ("", "INTERNAL"), (text, error)
            assert not LEAK.search(str(error)), (text, error)
    assert executed > 100, "some variants are still good"
    assert slowest < 1.0


async def test_broken_requests_over_http_are_never_5xx(api: Any) -> None:
    chance = random.Random(7)
    for _ in range(300):
        body = orjson.dumps({"query": broken(chance.choice(SEEDS), chance).encode("utf-8", "replace").decode()})
        if chance.random() < 0.4:
            cut = bytearray(body)
            for _ in range(chance.randint(1, 6)):
                cut[chance.randrange(len(cut))] = chance.randrange(256)
            body = bytes(cut)
        answer = await api.http.post("/graphql", content=body, headers={"content-type": "application/json"})
        assert answer.status_code < 500, body
        assert not LEAK.search(answer.text), answer.text
        assert {"data", "errors"} & set(answer.json())
