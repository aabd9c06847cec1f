"""graphql-transport-ws: every close code, provoked once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import websockets

from twinloom.api.app import Limits


async def test_a_message_that_is_no_json_closes_with_4400(api: Any) -> None:
    async with api.socket() as socket:
        await socket.raw.send("{nonsense")
        assert (await socket.closed())[0] == 4400


@pytest.mark.parametrize(
    "message",
    [
        b"\x00\x01",
        "null",
        "[]",
        '"x"',
        '{"type": "unknown"}',
        '{"type": "subscribe"}',
        '{"id": 1}',
        '{"type": "subscribe", "id": "", "payload": {"query": "{a}"}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 7}}',
        "[" * 5_000,
    ],
)
async def test_malformed_messages_close_with_4400(api: Any, message: Any) -> None:
    async with api.socket() as socket:
        await socket.raw.send(message)
        assert (await socket.closed())[0] == 4400


async def test_subscribing_before_the_acknowledgement_closes_with_4401(api: Any) -> None:
    async with api.socket(ack=False) as socket:
        await socket.subscribe("{ serviceInfo { name } }")
        assert await socket.closed() == (4401, "Unauthorized")


@pytest.mark.parametrize(
    "payload", [{}, {"token": "wrong"}, {"authorization": "Bearer wrong"}, {"authorization": "Basic x"}]
)
async def test_a_refused_token_closes_with_4403(api: Any, payload: Any) -> None:
    async with api.socket(ack=False) as socket:
        await socket.send(type="connection_init", payload=payload)
        assert await socket.closed() == (4403, "Forbidden")


async def test_a_token_is_taken_in_either_form(api: Any) -> None:
    async with api.socket(payload={"Authorization": f"Bearer {api.token}"}), api.socket(payload={"token": api.token}):
        pass


@pytest.mark.parametrize("protocol", ["graphql-ws", "mqtt"])
async def test_another_protocol_closes_with_4406(api: Any, protocol: str) -> None:
    uri = f"ws://127.0.0.1:{api.port}/graphql"
    try:
        async with websockets.connect(uri, subprotocols=[websockets.Subprotocol(protocol)]) as raw:
            await raw.wait_closed()
            assert raw.close_code == 4406
    except websockets.exceptions.NegotiationError:
        pass  # a client that insists on its protocol gives up in the handshake


async def test_silence_instead_of_init_closes_with_4408(start: Any) -> None:
    api = await start(limits=Limits(connection_init_s=0.05))
    async with api.socket(ack=False) as socket:
        assert (await socket.closed())[0] == 4408


async def test_an_id_that_is_in_use_closes_with_4409(api: Any) -> None:
    async with api.socket() as socket:
        await socket.subscribe("subscription { twinChanged { seq } }", id="a")
        await socket.subscribe("subscription { twinChanged { seq } }", id="a")
        assert (await socket.closed())[0] == 4409


async def test_a_second_init_closes_with_4429(api: Any) -> None:
    async with api.socket() as socket:
        await socket.send(type="connection_init")
        assert (await socket.closed())[0] == 4429


async def test_a_foreign_origin_is_refused_in_the_handshake(api: Any) -> None:
    uri = f"ws://127.0.0.1:{api.port}/graphql"
    protocols = [websockets.Subprotocol("graphql-transport-ws")]
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        async with websockets.connect(uri, subprotocols=protocols, origin=websockets.Origin("https://evil.example")):
            pass
    assert refused.value.response.status_code == 403


async def test_more_operations_than_allowed_are_an_error_of_that_operation(start: Any) -> None:
    api = await start(limits=Limits(subscriptions_per_connection=2))
    async with api.socket() as socket:
        for at in range(3):
            await socket.subscribe("subscription { twinChanged { seq } }", id=str(at))
        message = await socket.receive()
        assert (message["type"], message["id"]) == ("error", "2")
        assert message["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"


async def test_an_id_can_be_used_again_after_complete(api: Any) -> None:
    async with api.socket() as socket:
        await socket.subscribe("subscription { twinChanged { seq } }", id="a")
        await socket.send(type="complete", id="a")
        await socket.subscribe("{ serviceInfo { name } }", id="a")
        assert (await socket.data())["serviceInfo"]["name"] == "twinloom"


async def test_a_client_that_goes_leaves_nothing_behind(api: Any) -> None:
    tasks = len(asyncio.all_tasks())
    for _ in range(20):
        async with api.socket() as socket:
            await socket.subscribe("subscription { twinChanged { seq } }")
            await socket.settle()
            socket.raw.transport.abort()
    async with asyncio.timeout(10):
        while (  # noqa: ASYNC110
            "graphql_subscriptions 0.0" not in (await api.http.get("/metrics")).text
            or len(asyncio.all_tasks()) > tasks + 2
        ):
            await asyncio.sleep(0.02)
    assert "websocket_connections 0.0" in (await api.http.get("/metrics")).text
