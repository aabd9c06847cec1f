"""GraphQL over HTTP and graphql-transport-ws: one question, or several subscriptions on one connection.

Contacts the address that the user names and nothing else. Protocol: github.com/enisdenjo/graphql-ws PROTOCOL.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import websockets
from websockets.asyncio.client import ClientConnection, connect

from twinloom.twin.errors import BadRequest, Forbidden, LimitExceeded, TwinloomError, Unauthenticated, Unavailable
from twinloom.twin.instance import Json

TIMEOUT_S = 20.0
MAX_FRAME_BYTES = 64 * 2**20
_ERRORS: dict[str, type[TwinloomError]] = {
    "UNAUTHENTICATED": Unauthenticated,
    "FORBIDDEN": Forbidden,
    "LIMIT_EXCEEDED": LimitExceeded,
}
HOW_TO_START = "start it with `twinloom serve` or `twinloom demo`, or give its address"


def endpoint(url: str) -> str:
    """The GraphQL address of a service's `url`. Raises BadRequest for one that is no http(s) address.

    >>> endpoint("http://127.0.0.1:8000")
    'http://127.0.0.1:8000/graphql'
    """
    parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise BadRequest(f"{url!r} is no http address", remedy="give one such as http://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    return urllib.parse.urlunsplit(
        (parts.scheme, parts.netloc, path if path.endswith("/graphql") else f"{path}/graphql", "", "")
    )


@dataclass(slots=True)
class Client:
    """One service. `query` raises Unavailable, Unauthenticated, LimitExceeded or BadRequest."""

    url: str
    token: str = ""
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        self.url = endpoint(self.url)

    async def query(self, document: str, variables: Mapping[str, Json] | None = None) -> dict[str, Any]:
        """The `data` of one operation."""
        body = orjson.dumps({"query": document, "variables": dict(variables or {})})
        status, answer = await asyncio.to_thread(self._post, body)
        try:
            document_out = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise Unavailable(f"{self.url} answered {status} without GraphQL", remedy=HOW_TO_START) from error
        if not isinstance(document_out, dict):
            raise Unavailable(f"{self.url} answered {status} without GraphQL", remedy=HOW_TO_START)
        if document_out.get("errors"):
            raise _translated(document_out["errors"])
        if status == 401:
            raise Unauthenticated(f"{self.url} wants a token", remedy="give one with --token")
        if not isinstance(document_out.get("data"), dict):
            raise Unavailable(f"{self.url} answered {status} without data", remedy=HOW_TO_START)
        data: dict[str, Any] = document_out["data"]
        return data

    def _post(self, body: bytes) -> tuple[int, bytes]:
        parts = urllib.parse.urlsplit(self.url)
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        host = parts.hostname or ""
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, parts.port, timeout=self.timeout_s, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, parts.port, timeout=self.timeout_s)
        )
        try:
            connection.request("POST", parts.path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"no twinloom service answers at {self.url}", remedy=HOW_TO_START) from error
        finally:
            connection.close()

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        """An acknowledged graphql-transport-ws connection. Raises Unavailable or Unauthenticated."""
        parts = urllib.parse.urlsplit(self.url)
        address = urllib.parse.urlunsplit(("wss" if parts.scheme == "https" else "ws", *parts[1:]))
        try:
            connection = await connect(
                address,
                subprotocols=[websockets.Subprotocol("graphql-transport-ws")],
                open_timeout=self.timeout_s,
                close_timeout=2.0,
                ping_interval=10.0,
                ping_timeout=self.timeout_s,
                max_size=MAX_FRAME_BYTES,
                max_queue=256,
                proxy=None,
                additional_headers={"authorization": f"Bearer {self.token}"} if self.token else None,
            )
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            if isinstance(error, websockets.InvalidStatus) and error.response.status_code in (401, 403):
                raise Unauthenticated(f"{address} refused the token", remedy="give a valid one with --token") from error
            raise Unavailable(f"no twinloom service answers at {address}", remedy=HOW_TO_START) from error
        try:
            payload = {"authorization": f"Bearer {self.token}"} if self.token else {}
            await connection.send(orjson.dumps({"type": "connection_init", "payload": payload}).decode())
            async with asyncio.timeout(self.timeout_s):
                while orjson.loads(await connection.recv()).get("type") != "connection_ack":
                    pass
            yield Socket(connection)
        except websockets.ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 0
            if code in (4401, 4403):
                raise Unauthenticated(f"{address} refused the token", remedy="give a valid one with --token") from error
            raise Unavailable(f"the connection to {address} was lost ({code})", remedy=HOW_TO_START) from error
        except TimeoutError as error:
            raise Unavailable(f"{address} did not answer in {self.timeout_s:.0f} s", remedy=HOW_TO_START) from error
        finally:
            await connection.close()


@dataclass(slots=True)
class Socket:
    """Several subscriptions over one connection; `events` yields (name given to the subscription, its data)."""

    connection: ClientConnection
    names: dict[str, str] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def subscribe(self, name: str, document: str, variables: Mapping[str, Json] | None = None) -> None:
        id = str(next(self.numbers))
        self.names[id] = name
        payload = {"query": document, "variables": dict(variables or {})}
        await self.connection.send(orjson.dumps({"id": id, "type": "subscribe", "payload": payload}).decode())

    async def events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Until the connection ends. Raises BadRequest and its kin when the service refuses a subscription."""
        async for text in self.connection:
            message = orjson.loads(text)
            kind = message.get("type")
            if kind == "next":
                payload = message["payload"]
                if payload.get("errors"):
                    raise _translated(payload["errors"])
                yield self.names[message["id"]], payload["data"]
            elif kind == "ping":
                await self.connection.send('{"type":"pong"}')
            elif kind == "error":
                raise _translated(message["payload"])
            elif kind == "complete":
                raise Unavailable("the service ended a subscription", remedy=HOW_TO_START)


def _translated(errors: list[dict[str, Any]]) -> TwinloomError:
    first = errors[0] if errors else {}
    extensions = first.get("extensions") or {}
    kind = _ERRORS.get(str(extensions.get("code")), BadRequest)
    return kind(
        str(first.get("message") or "the service refused the query"), remedy=str(extensions.get("remedy") or "")
    )
