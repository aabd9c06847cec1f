"""What is no good request, or too large a one, is refused in time, with a code, and harms nobody."""

from __future__ import annotations

import asyncio
import gzip
import time
from typing import Any

import httpx
import psutil
import pytest

from twinloom.api.app import Limits
from twinloom.api.schema.build import COLUMN_FIELDS

JSON = {"content-type": "application/json"}
HUGE = 2_147_483_647
HOSTILE_BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "null": (b"null", {}, 400),
    "a string": (b'"x"', {}, 400),
    "a number": (b"7", {}, 400),
    "a list": (b"[]", {}, 400),
    "nothing": (b"", {}, 400),
    "no query": (b"{}", {}, 400),
    "a query that is a number": (b'{"query": 7}', {}, 400),
    "100,000-deep JSON": (b'{"query":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {}, 400),
    "deep variables": (b'{"query": "{ __typename }", "variables": {"a":' + b"[" * 900 + b"]" * 900 + b"}}", {}, 200),
    "bytes that are no UTF-8": (b'{"query": "\xff\xfe"}', {}, 400),
    "gzip": (gzip.compress(b'{"query": "{ __typename }"}'), {"content-encoding": "gzip"}, 415),
    "another charset": (b'{"query": "{ __typename }"}', {"content-type": "application/json; charset=utf-16"}, 415),
    "a form": (b"query={__typename}", {"content-type": "application/x-www-form-urlencoded"}, 415),
    "multipart": (b"--x--", {"content-type": "multipart/form-data; boundary=x"}, 415),
    "a 5,000-digit integer in a variable": (
        b'{"query": "query($a: Int) { twins(first: $a) { totalCount } }", "variables": {"a": ' + b"9" * 5_000 + b"}}",
        {},
        400,
    ),
    "a 5,000-digit integer in the document": (
        b'{"query": "{ twins(first: ' + b"9" * 5_000 + b') { totalCount } }"}',
        {},
        400,
    ),
    "lone surrogates": (b'{"query": "{ twin(id: \\"\\ud800\\") { dtId } }"}', {}, 400),
    "200,000 tokens": (b'{"query": "{' + b" a" * 200_000 + b'}"}', {}, 400),
    "64 MiB": (b" " * (64 << 20), {}, 413),
}


@pytest.mark.parametrize("what", HOSTILE_BODIES)
async def test_hostile_bodies_are_refused_with_a_code(api: Any, what: str) -> None:
    body, headers, status = HOSTILE_BODIES[what]
    memory = psutil.Process().memory_info().rss
    begun = time.perf_counter()
    answer = await api.http.post(
        "/graphql", content=body, headers={**JSON, "accept": "application/graphql-response+json", **headers}
    )
    assert answer.status_code == status, answer.text[:300]
    if status != 200:
        assert answer.json()["errors"][0]["extensions"]["code"] not in ("", "INTERNAL")
    if len(body) < 1 << 20:
        assert time.perf_counter() - begun < 2.0
    assert psutil.Process().memory_info().rss - memory < 20 << 20 or len(body) > 1 << 20
    assert (await api.data("{ __typename }")) == {"__typename": "Query"}


def nested(depth: int) -> str:
    return "{ twins { nodes " + "{ related { nodes " * depth + "{ dtId }" + " } }" * depth + " } }"


ABUSE: dict[str, tuple[str, str]] = {
    "depth": (nested(20), "LIMIT_EXCEEDED"),
    "aliases": ("{" + " ".join(f"a{n}: __typename" for n in range(200)) + "}", "LIMIT_EXCEEDED"),
    "directives": ("{ __typename " + "@include(if: true) " * 100 + "}", "LIMIT_EXCEEDED"),
    "page": (f"{{ twins(first: {HUGE}) {{ totalCount }} }}", "LIMIT_EXCEEDED"),
    "page of alerts": ("{ alerts(first: 101) { totalCount } }", "LIMIT_EXCEEDED"),
    "negative page": ("{ twins(first: -1) { totalCount } }", "BAD_USER_INPUT"),
    "cost": ("{ twins(first: 1000) { nodes { related(first: 1000) { nodes { dtId } } } } }", "COST_LIMIT"),
    "circular fragments": (
        "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
        "GRAPHQL_VALIDATION_FAILED",
    ),
    "4,096 aliases by fragments": (
        "{ ...f0 } "
        + " ".join(
            f"fragment f{n} on Query {{ ...f{n + 1} ...g{n} }} fragment g{n} on Query {{ ...f{n + 1} }}"
            for n in range(12)
        )
        + " fragment f12 on Query { x: __typename y: __typename }",
        "LIMIT_EXCEEDED",
    ),
    "tokens": ("{" + " __typename" * 3_000 + "}", "LIMIT_EXCEEDED"),
    "characters": ("#" + "x" * 200_000, "LIMIT_EXCEEDED"),
    "deep lists": ("{ twins(filter: {id: {in: " + "[" * 400 + "]" * 400 + "}}) { totalCount } }", "ANY"),
    "introspection": ("{ __schema { types { name } } }", "GRAPHQL_VALIDATION_FAILED"),
}


@pytest.mark.parametrize("what", ABUSE)
async def test_abusive_documents_are_not_executed(api: Any, what: str) -> None:
    document, code = ABUSE[what]
    begun = time.perf_counter()
    answer = await api.http.post(
        "/graphql", json={"query": document}, headers={"accept": "application/graphql-response+json"}
    )
    assert time.perf_counter() - begun < 2.0
    assert answer.status_code == 400
    found = answer.json()
    assert "data" not in found
    assert code in (found["errors"][0]["extensions"]["code"], "ANY")


async def test_a_page_size_in_a_variable_is_bounded_too(api: Any) -> None:
    answer = await api.ask("query($n: Int) { twins(first: $n) { totalCount } }", {"n": HUGE})
    assert answer["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
    answer = await api.ask("query($n: Int = 2000) { twins(first: $n) { totalCount } }")
    assert answer["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_no_token_and_a_wrong_token_are_401_with_a_challenge(api: Any) -> None:
    async with httpx.AsyncClient(base_url=api.url) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic dGVzdA=="}):
            answer = await client.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_guessing_tokens_is_slowed_down(start: Any) -> None:
    api = await start(limits=Limits(refused_logins_per_s=2))
    async with httpx.AsyncClient(base_url=api.url, headers={"authorization": "Bearer guess"}) as client:
        codes = [(await client.post("/graphql", json={"query": "{ __typename }"})).status_code for _ in range(8)]
    assert codes[0] == 401
    assert codes[-1] == 429


async def test_too_many_requests_are_429_with_retry_after(start: Any) -> None:
    api = await start(limits=Limits(requests_per_s=5, request_burst=3))
    answers = [await api.http.post("/graphql", json={"query": "{ __typename }"}) for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].json()["errors"][0]["extensions"]["retryAfterMs"] > 0


async def test_mutations_by_get_are_refused(api: Any) -> None:
    answer = await api.http.get(
        "/graphql", params={"query": 'mutation { deleteTwin(input: {id: "toulouse"}) { seq } }'}
    )
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert (await api.data('{ twin(id: "toulouse") { dtId } }'))["twin"] is not None
    assert 'graphql_refused_total{code="METHOD_NOT_ALLOWED"} 1.0' in (await api.http.get("/metrics")).text


async def test_a_page_of_another_origin_is_refused(api: Any) -> None:
    answer = await api.http.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    own = await api.http.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": api.url})
    assert own.status_code == 200


async def test_an_allowed_origin_gets_cors_headers(start: Any) -> None:
    api = await start(allowed_origins=("https://mes.example",))
    preflight = await api.http.options(
        "/graphql", headers={"origin": "https://mes.example", "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://mes.example"


async def test_without_tokens_only_local_names_are_answered(start: Any) -> None:
    api = await start(token=None)
    answer = await api.http.post("/graphql", json={"query": "{ __typename }"}, headers={"host": "rebound.evil.example"})
    assert answer.status_code == 403
    assert (
        await api.http.post("/graphql", json={"query": "{ __typename }"}, headers={"host": "localhost:1"})
    ).status_code == 200


async def test_internal_failures_are_masked(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(type(api.service.alerts), "find", broken)
    answer = await api.ask("{ alerts { totalCount } }")
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "INTERNAL"
    assert len(error["extensions"]["correlationId"]) == 16
    assert "hunter2" not in str(answer)


async def test_introspection_is_there_in_development(start: Any) -> None:
    from graphql import build_client_schema, get_introspection_query

    api = await start(development=True)
    found = await api.data(get_introspection_query(descriptions=True))
    schema = build_client_schema(found)
    assert set(COLUMN_FIELDS) <= set(schema.type_map["Twin"].fields)  # type: ignore[attr-defined]


async def test_only_trusted_documents_run_in_safelist_mode(start: Any) -> None:
    import hashlib

    text = "{ __typename }"
    digest = hashlib.sha256(text.encode()).hexdigest()
    api = await start(trusted={digest: text}, trusted_only=True)
    assert await api.data(text) == {"__typename": "Query"}
    by_hash = await api.http.post(
        "/graphql", json={"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}
    )
    assert by_hash.json()["data"] == {"__typename": "Query"}
    refused = await api.http.post("/graphql", json={"query": "{ serviceInfo { name } }"})
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["extensions"]["code"] == "DOCUMENT_NOT_TRUSTED"


async def test_a_persisted_query_is_sent_once_and_then_named_by_its_hash(api: Any) -> None:
    import hashlib

    text = "{ serviceInfo { name } }"
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(text.encode()).hexdigest()}}
    missing = await api.http.post("/graphql", json={"extensions": persisted})
    assert missing.json()["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    assert (await api.http.post("/graphql", json={"query": text, "extensions": persisted})).status_code == 200
    again = await api.http.post("/graphql", json={"extensions": persisted})
    assert again.json()["data"]["serviceInfo"]["name"] == "twinloom"
    wrong = await api.http.post("/graphql", json={"query": "{ __typename }", "extensions": persisted})
    assert wrong.status_code == 400


async def test_others_are_not_slowed_by_a_flood_of_abuse(api: Any) -> None:
    bad = {"query": "{" + " a" * 40_000 + "}"}
    flood = asyncio.gather(*(api.http.post("/graphql", json=bad) for _ in range(50)))
    slowest = 0.0
    while not flood.done():
        begun = time.perf_counter()
        await api.data("{ __typename }")
        slowest = max(slowest, time.perf_counter() - begun)
    assert {answer.status_code for answer in await flood} == {400}
    assert slowest < 5.0
