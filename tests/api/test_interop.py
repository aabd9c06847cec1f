"""Other people's judges and clients, from npm at pinned versions, against this server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers" / "graphql"
SPINDLE = "toulouse/line-1/cnc-01/spindle"
SUBSCRIPTION = (
    'subscription { twinChanged(filter: {ids: ["toulouse/line-1/cnc-01/spindle"]}) { dtId values { number } } }'
)


async def run(node: str, script: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        node, str(PEERS / script), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def finish(process: asyncio.subprocess.Process) -> Any:
    """The JSON on the last line of its output."""
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-2000:]
    return json.loads(out.decode().strip().splitlines()[-1])


async def test_all_61_audits_of_graphql_http_pass(node: str, start: Any) -> None:
    """Four of them ask `__type`, so introspection is on here."""
    api = await start(development=True)
    found = await finish(await run(node, "audit.mjs", f"{api.url}/graphql", api.token))
    assert found["other"] == []
    assert len(found["ok"]) == 61


@pytest.mark.parametrize(("script", "scheme"), [("client_ws.mjs", "ws"), ("client_sse.mjs", "http")])
async def test_the_reference_clients_get_answers_and_events(node: str, api: Any, script: str, scheme: str) -> None:
    process = await run(node, script, f"{scheme}://127.0.0.1:{api.port}/graphql", api.token, SUBSCRIPTION, "3")
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert (await process.stdout.readline()).strip() == b"ready"
            while "graphql_subscriptions 1.0" not in (await api.http.get("/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for at in range(3):
            await api.measure({(SPINDLE, "temperature"): float(at)})
        found = await finish(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert found["query"]["data"]["serviceInfo"]["name"] == "twinloom"
    assert [event["twinChanged"]["values"][0]["number"] for event in found["events"]] == [0.0, 1.0, 2.0]
    if scheme == "ws":
        assert found["invalid"]["error"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
        assert found["syntax"]["error"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
