"""Clients that do not read, come and go, or stay for very many events."""

from __future__ import annotations

import asyncio
import gc
import json
import socket as sockets
from typing import Any

import psutil
import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from twinloom.api.app import Limits

SPINDLE = "toulouse/line-1/cnc-01/spindle"
MANY = " ".join(
    f"v{n}: values {{ path number sourceTime receivedTime unit symbol quality statusCode }}" for n in range(20)
)
WIDE = (
    'subscription { twinsChanged(filter: {subtreeOf: "toulouse"}) { seq missed changes { dtId missed '
    f"values {{ number }} twin {{ properties {MANY} }} }} }} }}"
)


class Deaf:
    """A WebSocket client with a small receive buffer that subscribes and then reads only when told to."""

    def __init__(self, port: int) -> None:
        self.sock = sockets.socket()
        self.sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        self.sock.connect(("127.0.0.1", port))
        uri = parse_uri(f"ws://127.0.0.1:{port}/graphql")
        self.protocol = ClientProtocol(uri, subprotocols=["graphql-transport-ws"], max_size=None)  # type: ignore[list-item]
        self.protocol.send_request(self.protocol.connect())
        self.flush()

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)

    def say(self, **message: Any) -> None:
        self.protocol.send_text(json.dumps(message).encode())
        self.flush()

    def hear(self) -> list[dict[str, Any]]:
        """Reads once (blocking) and returns the JSON messages that are complete."""
        self.protocol.receive_data(self.sock.recv(65536))
        self.flush()
        events = self.protocol.events_received()
        return [json.loads(one.data) for one in events if isinstance(one, Frame) and one.opcode is Opcode.TEXT]

    def begin(self, token: str, query: str) -> None:
        while self.protocol.state.name != "OPEN":
            self.hear()
        self.say(type="connection_init", payload={"token": token})
        while not any(message["type"] == "connection_ack" for message in self.hear()):
            pass
        self.say(type="subscribe", id="1", payload={"query": query})
        self.say(type="ping")
        while not any(message["type"] == "pong" for message in self.hear()):
            pass


async def test_a_client_that_never_reads_harms_nobody_and_is_told_what_it_missed(start: Any, request: Any) -> None:
    api = await start(limits=Limits(subscription_queue=4))
    deaf = await asyncio.to_thread(Deaf, api.port)
    request.addfinalizer(deaf.sock.close)
    await asyncio.to_thread(deaf.begin, api.token, WIDE)
    twins = [f"toulouse/line-{line}/cnc-{line * 6 - 6 + n:02}/spindle" for line in (1, 2, 3) for n in range(1, 7)]
    memory = psutil.Process().memory_info().rss
    last = 0
    async with api.socket() as good:
        await good.subscribe(WIDE)
        await good.settle()
        for at in range(150):
            last = await api.measure({(twin, "temperature"): float(at) for twin in twins})
            assert (await good.data())["twinsChanged"]["seq"] == last
    assert psutil.Process().memory_info().rss - memory < 50 << 20
    missed, seen, events = 0, 0, 0
    while seen < last:
        for message in await asyncio.to_thread(deaf.hear):
            change = message["payload"]["data"]["twinsChanged"]
            assert change["seq"] > seen, "events come in order"
            seen, missed, events = change["seq"], missed + change["missed"], events + 1
    assert events + missed == 150, "every event was delivered or counted"
    assert missed > 0
    assert [value["number"] for value in change["changes"][0]["values"]] == [149.0], "the latest value wins"


@pytest.mark.parametrize("compiled", [True, False])
async def test_memory_is_flat_over_many_events_of_one_subscription(api: Any, compiled: bool) -> None:
    """graphql-core 3.3 keeps something of every event for the life of a subscription; each execution here is
    its own."""
    from twinloom.api.documents import Operation
    from twinloom.api.engine import Engine
    from twinloom.api.schema.changes import AlertChange
    from twinloom.api.schema.scalars import Long
    from twinloom.api.services import Services
    from twinloom.api.tokens import ANYONE

    engine = Engine(Services(service=api.service, tokens=None))
    engine.compiles = compiled
    operation: Operation = engine.edition.documents.operation(
        "subscription { alertChanged { seq kind alert { id } } }", None
    )

    def run(events: int) -> None:
        for seq in range(events):
            event = AlertChange(seq=Long(seq), kind="GAP")
            data, errors = engine.event(engine.edition, operation, {}, ANYONE, "alertChanged", event)
            assert (data, errors) == ({"alertChanged": {"seq": seq, "kind": "GAP", "alert": None}}, [])

    run(50)
    gc.collect()
    before = len(gc.get_objects())
    run(1_000)
    gc.collect()
    assert len(gc.get_objects()) - before < 500
