"""graphql-transport-ws over ASGI: queries, mutations and subscriptions on one socket, every close code of the protocol.

4400 malformed message, 4401 subscribe before the acknowledgement, 4403 token refused, 4406 sub-protocol, 4408 no
connection_init in time, 4409 id in use, 4429 second connection_init, 4500 our own failure. The legacy `graphql-ws`
sub-protocol is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from graphql import OperationType

from twinloom.api.engine import Engine, internal
from twinloom.api.errors import RequestRefused
from twinloom.api.health import ApiMetrics
from twinloom.api.http import Gate
from twinloom.api.outbox import Member, Outbox
from twinloom.api.persisted import Persisted
from twinloom.api.subscriptions import Hub
from twinloom.api.tokens import Principal, bearer

PROTOCOL = "graphql-transport-ws"
MOST_WAITING = 1_000
"""Frames that may wait before no further message is read from the client."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Close(Exception):
    """The connection is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason[:120]


class TransportWs:
    """The endpoint; holds the open connections."""

    def __init__(self, engine: Engine, gate: Gate, persisted: Persisted, hub: Hub, metrics: ApiMetrics) -> None:
        self._engine = engine
        self._gate = gate
        self._persisted = persisted
        self._hub = hub
        self._metrics = metrics
        self._open: set[Connection] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        message = await receive()
        if message["type"] != "websocket.connect":
            return
        try:
            self._gate.origin(headers.get(b"origin"), headers.get(b"host"))
        except RequestRefused:
            await send({"type": "websocket.close", "code": 1008})
            return
        if PROTOCOL not in scope.get("subprotocols", ()):
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4406, "reason": "Subprotocol not acceptable"})
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        if len(self._open) >= self._engine.limits.connections:
            await send({"type": "websocket.close", "code": 1013, "reason": "Too many connections"})
            return
        client = scope["client"][0] if scope.get("client") else ""
        connection = Connection(self._engine, self._gate, self._persisted, self._hub, receive, send, client)
        self._open.add(connection)
        self._metrics.connections.set(len(self._open))
        try:
            await connection.run()
        finally:
            self._open.discard(connection)
            self._metrics.connections.set(len(self._open))

    async def close(self) -> None:
        """Tells every client that the server goes away."""
        await asyncio.gather(
            *(connection.close(1001, "Going away") for connection in self._open), return_exceptions=True
        )


class Connection:
    """One socket."""

    def __init__(
        self, engine: Engine, gate: Gate, persisted: Persisted, hub: Hub, receive: Receive, send: Send, client: str
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._persisted = persisted
        self._hub = hub
        self._receive = receive
        self._send = send
        self._client = client
        self._principal: Principal | None = None
        self._initialised = False
        self._members: dict[str, Member] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._outbox = Outbox(send)
        self._closed = False

    async def run(self) -> None:
        """Serves the socket until either side closes it."""
        writer = asyncio.create_task(self._outbox.run(), name="websocket writer")
        reader = asyncio.create_task(self._read(), name="websocket reader")
        try:
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.cancel()
            reader.cancel()
            for member in self._members.values():
                self._hub.leave(member)
            tasks = [*self._tasks.values()]
            for task in tasks:
                task.cancel()
            self._members.clear()
            await asyncio.gather(writer, reader, *tasks, return_exceptions=True)

    async def _read(self) -> None:
        try:
            limits = self._engine.limits
            try:
                async with asyncio.timeout(limits.connection_init_s):
                    while not self._initialised:
                        if not await self._one(limits.message_bytes):
                            return
            except TimeoutError:
                raise Close(4408, "Connection initialisation timeout") from None
            while await self._one(limits.message_bytes):
                if len(self._outbox) >= MOST_WAITING:
                    await self._outbox.room(MOST_WAITING // 2)
        except Close as close:
            await self.close(close.code, close.reason)
        except Exception as error:
            internal(error)
            await self.close(4500, "Internal server error")

    async def _one(self, limit: int) -> bool:
        """Handles one message; False when the client is gone."""
        received = await self._receive()
        if received["type"] != "websocket.receive":
            return False
        text = received.get("text")
        if text is None:
            raise Close(4400, "Messages must be text")
        if len(text) > limit:
            raise Close(1009, "Message too large")
        try:
            message = orjson.loads(text)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            raise Close(4400, "Messages must be JSON") from None
        if not isinstance(message, dict):
            raise Close(4400, "Messages must be JSON objects")
        match message.get("type"):
            case "connection_init":
                self._init(message.get("payload"))
            case "ping":
                payload = message.get("payload")
                self._put({"type": "pong", "payload": payload} if isinstance(payload, dict) else {"type": "pong"})
            case "pong":
                pass
            case "subscribe":
                self._subscribe(message)
            case "complete":
                self._complete(message.get("id"))
            case unknown:
                raise Close(4400, f"Unknown message type {str(unknown)[:40]!r}")
        return True

    def _init(self, payload: Any) -> None:
        if self._initialised:
            raise Close(4429, "Too many initialisation requests")
        if payload is not None and not isinstance(payload, dict):
            raise Close(4400, "The payload of connection_init must be an object")
        secret = None
        for name, value in (payload or {}).items():
            if isinstance(value, str) and name.lower() == "authorization":
                secret = bearer(value) or secret
            elif isinstance(value, str) and name.lower() == "token":
                secret = value
        try:
            self._principal = self._gate.admit(secret, self._client)
            self._principal.require("read")
        except RequestRefused:
            raise Close(4403, "Forbidden") from None
        self._initialised = True
        self._put({"type": "connection_ack"})

    def _subscribe(self, message: dict[str, Any]) -> None:
        principal = self._principal
        if principal is None:
            raise Close(4401, "Unauthorized")
        id, payload = message.get("id"), message.get("payload")
        if not isinstance(id, str) or not id or len(id) > 256:
            raise Close(4400, "subscribe needs an id of 1 to 256 characters")
        if not isinstance(payload, dict) or not isinstance(payload.get("query", ""), str):
            raise Close(4400, "subscribe needs a payload with a query")
        if id in self._members or id in self._tasks:
            raise Close(4409, f"Subscriber for {id[:60]} already exists")
        try:
            self._gate.request(principal, self._client)
            self._begin(id, payload, principal)
        except RequestRefused as refusal:
            self._put({"id": id, "type": "error", "payload": refusal.errors})

    def _begin(self, id: str, payload: dict[str, Any], principal: Principal) -> None:
        limit = self._engine.limits.subscriptions_per_connection
        if len(self._members) + len(self._tasks) >= limit:
            raise RequestRefused(
                [
                    {
                        "message": f"more than {limit} operations on one connection",
                        "extensions": {"code": "LIMIT_EXCEEDED", "remedy": "open another connection"},
                    }
                ],
                429,
            )
        query, variables, name = self._persisted.resolve(payload)
        edition = self._engine.edition
        operation = edition.documents.operation(query, name)
        if operation.kind is OperationType.SUBSCRIPTION:
            capacity = self._engine.limits.subscription_queue
            member = Member(self._outbox, f"ws {id}", _next_frame(id), capacity)
            self._hub.join(edition, operation, variables, principal, member)
            self._members[id] = member
            return
        task = asyncio.create_task(self._once(id, query, variables, name, principal), name="websocket operation")
        self._tasks[id] = task

    async def _once(self, id: str, query: str, variables: Any, name: str | None, principal: Principal) -> None:
        """A query or mutation: one `next`, then `complete`."""
        try:
            body = await self._engine.run(query, variables, name, principal)
            self._outbox.put(None, _next_frame(id)(body.decode()))
            self._put({"id": id, "type": "complete"})
        except RequestRefused as refusal:
            self._put({"id": id, "type": "error", "payload": refusal.errors})
        except Exception as error:
            self._put({"id": id, "type": "error", "payload": internal(error).errors})
        finally:
            self._tasks.pop(id, None)

    def _complete(self, id: Any) -> None:
        if not isinstance(id, str):
            raise Close(4400, "complete needs an id")
        member = self._members.pop(id, None)
        if member is not None:
            self._hub.leave(member)
        task = self._tasks.pop(id, None)
        if task is not None:
            task.cancel()

    def _put(self, message: dict[str, Any]) -> None:
        self._outbox.put(None, {"type": "websocket.send", "text": orjson.dumps(message, default=str).decode()})

    async def close(self, code: int, reason: str) -> None:
        """Closes the socket with a code; twice does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(2.0):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (TimeoutError, RuntimeError, OSError):
            pass  # the peer is gone or does not read; the transport closes by itself


def _next_frame(id: str) -> Callable[[str], Message]:
    """Makes the `next` message of an operation around a payload that is JSON already."""
    prefix = f'{{"id":{orjson.dumps(id).decode()},"type":"next","payload":'
    return lambda payload: {"type": "websocket.send", "text": f"{prefix}{payload}}}"}
