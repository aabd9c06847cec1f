"""GraphQL over HTTP (the specification's draft): one ASGI endpoint for POST, GET and event streams.

Written against ASGI directly: a request costs as little as the protocol allows. Whatever arrives, the answer is JSON
with `extensions.code`; what is no valid request is refused before anything is parsed that need not be.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from twinloom.api.documents import variables_of
from twinloom.api.engine import Engine, internal
from twinloom.api.errors import RequestRefused, TooManyRequests, refusal_of, refuse
from twinloom.api.guard import Buckets
from twinloom.api.health import ApiMetrics
from twinloom.api.persisted import Persisted
from twinloom.api.services import Services
from twinloom.api.tokens import Doorkeeper, Principal, bearer
from twinloom.twin.errors import TwinloomError, Unauthenticated

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
EVENTS = "text/event-stream"
_TYPES = {JSON: f"{JSON}; charset=utf-8".encode(), GRAPHQL: f"{GRAPHQL}; charset=utf-8".encode()}
DRAIN_S = 5.0
DRAIN_BYTES = 256 << 20
_REFUSED_IN_BODY = frozenset({"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"})
"""Answered with status 200 to clients that accept application/json only, as the specification's legacy rule says."""


class Gate:
    """Who may knock at all: origins, hosts, tokens, request rates. Shared by HTTP, event streams and WebSockets."""

    def __init__(self, services: Services) -> None:
        limits = services.limits
        self.doorkeeper = Doorkeeper(services.tokens)
        self._origins = frozenset(origin.rstrip("/") for origin in services.allowed_origins)
        self._hosts = frozenset(urlsplit(origin).hostname or "" for origin in self._origins)
        self._requests = Buckets(limits.requests_per_s, limits.request_burst)
        self._refused = Buckets(limits.refused_logins_per_s, max(1.0, limits.refused_logins_per_s * 2))

    def origin(self, origin: str | None, host: str | None) -> str | None:
        """The origin to name in CORS headers, or None when there is none to name. Raises RequestRefused.

        Without tokens the host must be an address, localhost or an allowed one: else a page of another site could
        rebind its own name to this server and read it.
        """
        if self.doorkeeper.open and host is not None and not self._trusted(host):
            raise refuse(
                f"the host {host[:80]!r} is not one of this server", "FORBIDDEN_HOST", 403, remedy="set allowed origins"
            )
        if origin is None:
            return None
        if origin.rstrip("/") in self._origins:
            return origin
        if host is not None and urlsplit(origin).netloc.lower() == host.lower():
            return None
        raise refuse(
            f"pages of {origin[:80]!r} may not use this server", "FORBIDDEN_ORIGIN", 403, remedy="set allowed origins"
        )

    def _trusted(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name in self._hosts or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def admit(self, secret: str | None, client: str) -> Principal:
        """Who asks. Raises RequestRefused: 401 for an unknown token, 429 for too many of them or too many requests."""
        try:
            if self._refused.empty(client):
                self._refused.take(client)
            principal = self.doorkeeper.admit(secret)
        except Unauthenticated as error:
            try:
                self._refused.take(client)
            except TooManyRequests as many:
                raise refusal_of(many) from None
            refusal = refusal_of(error)
            refusal.headers["WWW-Authenticate"] = 'Bearer realm="twinloom"'
            raise refusal from None
        except TwinloomError as error:
            raise refusal_of(error) from None
        self.request(principal, client)
        return principal

    def request(self, principal: Principal, client: str) -> None:
        """Counts one request. Raises RequestRefused (429) above the rate."""
        try:
            self._requests.take(client if self.doorkeeper.open else principal.name)
        except TwinloomError as error:
            raise refusal_of(error) from None


class GraphQLOverHttp:
    """The endpoint."""

    def __init__(
        self, engine: Engine, gate: Gate, persisted: Persisted, ide: bytes | None, events: Any, metrics: ApiMetrics
    ) -> None:
        self._metrics = metrics
        self._engine = engine
        self._gate = gate
        self._persisted = persisted
        self._ide = ide
        self._events = events
        self._body_bytes = engine.limits.body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content_type = authorization = accept = origin = host = encoding = length = None
        for name, value in scope["headers"]:
            if name == b"content-type":
                content_type = value
            elif name == b"authorization":
                authorization = value
            elif name == b"accept":
                accept = value if accept is None else accept + b"," + value
            elif name == b"origin":
                origin = value
            elif name == b"host":
                host = value
            elif name == b"content-encoding":
                encoding = value
            elif name == b"content-length":
                length = value
        media = GRAPHQL
        cors: str | None = None
        status = 200
        headers: dict[str, str] = {}
        try:
            method = scope["method"]
            cors = self._gate.origin(_text(origin), _text(host))
            if (
                self._ide is not None
                and method == "GET"
                and not scope["query_string"]
                and b"text/html" in (accept or b"")
            ):
                await _send(send, 200, b"text/html; charset=utf-8", self._ide, None, IDE_HEADERS)
                return
            media = _media(accept)
            if method == "OPTIONS" and cors is not None:
                await _send(send, 204, _TYPES[JSON], b"", cors, {"Access-Control-Max-Age": "600"})
                return
            if method not in ("GET", "POST"):
                raise refuse(f"{method} is not used here", "METHOD_NOT_ALLOWED", 405, headers={"Allow": "GET, POST"})
            client = scope["client"][0] if scope.get("client") else ""
            principal = self._gate.admit(bearer(_text(authorization)), client)
            if method == "POST":
                if encoding is not None and encoding.lower() != b"identity":
                    raise refuse(
                        "compressed bodies are not read", "UNSUPPORTED_MEDIA_TYPE", 415, remedy="send it plain"
                    )
                _require_json(content_type)
                request = _parsed(await self._body(receive, length))
            else:
                request = _from_query(scope["query_string"])
            query, variables, name = self._persisted.resolve(request)
            if media == EVENTS:
                await self._events(scope, receive, send, query, variables, name, principal, cors)
                return
            body = await self._engine.run(query, variables, name, principal, mutations=method == "POST")
        except RequestRefused as refusal:
            status, headers = refusal.status, refusal.headers
            body = orjson.dumps({"errors": refusal.errors}, default=str)
            code = refusal.errors[0].get("extensions", {}).get("code")
            self._metrics.refused.labels(code).inc()
            if media == EVENTS:
                media = GRAPHQL
            if media == JSON and status == 400 and code in _REFUSED_IN_BODY:
                status = 200
        except Exception as error:
            failure = internal(error)
            status, body = failure.status, orjson.dumps({"errors": failure.errors})
            media = JSON if media == EVENTS else media
        if status == 413:
            await _send_and_drain(receive, send, _TYPES[media], body, cors)
            return
        await _send(send, status, _TYPES[media], body, cors, headers)

    async def _body(self, receive: Receive, length: bytes | None) -> bytes:
        limit = self._body_bytes
        if length is not None and length.isdigit() and int(length[:20]) > limit:
            raise _too_large(limit)
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > limit:
                raise _too_large(limit)
            return body
        parts = [body]
        size = len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise refuse("the client went away", "BAD_REQUEST", 400)
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
        return b"".join(parts)


IDE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}


async def _send(
    send: Send, status: int, content_type: bytes, body: bytes, cors: str | None, more: dict[str, str] | None = None
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if cors is not None:
        headers += [
            (b"access-control-allow-origin", cors.encode()),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"access-control-allow-methods", b"GET, POST"),
            (b"vary", b"origin"),
        ]
    if more:
        headers += [(name.lower().encode(), value.encode()) for name, value in more.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_and_drain(receive: Receive, send: Send, content_type: bytes, body: bytes, cors: str | None) -> None:
    """Answers 413 at once, and then throws away what still comes, for a while: a client that is cut off in the middle
    of its body would not see the answer."""
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    if cors is not None:
        headers += [(b"access-control-allow-origin", cors.encode()), (b"vary", b"origin")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            size = 0
            while size < DRAIN_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    break
    await send({"type": "http.response.body", "body": b""})


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")


def _too_large(limit: int) -> RequestRefused:
    return refuse(f"the body is larger than {limit} bytes", "PAYLOAD_TOO_LARGE", 413, remedy="send less")


@lru_cache(maxsize=256)
def _media(accept: bytes | None) -> str:
    """The media type of the answer. Raises RequestRefused (406) when the client takes none that there is."""
    if accept is None:
        return JSON
    best, best_quality = "", 0.0
    for part in accept.decode("latin-1").split(","):
        name, _, parameters = part.partition(";")
        kind = name.strip().lower()
        quality = 1.0
        for parameter in parameters.split(";"):
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
            elif key.strip() == "charset" and value.strip(' "').lower() not in ("utf-8", "utf8"):
                quality = 0.0
        if kind in ("*/*", "application/*"):
            kind = JSON
        if kind in (JSON, GRAPHQL, EVENTS) and quality > best_quality:
            best, best_quality = kind, quality
    if not best:
        raise refuse(
            "no media type that is accepted can be sent", "NOT_ACCEPTABLE", 406, remedy=f"accept {GRAPHQL} or {JSON}"
        )
    return best


def _require_json(content_type: bytes | None) -> None:
    if content_type == b"application/json":
        return
    kind, _, parameters = (content_type or b"").decode("latin-1").partition(";")
    if kind.strip().lower() != JSON:
        raise refuse(
            "the body is not declared as JSON", "UNSUPPORTED_MEDIA_TYPE", 415, remedy=f"send Content-Type: {JSON}"
        )
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset" and value.strip(' "').lower() not in ("utf-8", "utf8"):
            raise refuse("the body is not declared as UTF-8", "UNSUPPORTED_MEDIA_TYPE", 415, remedy="send UTF-8")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise refuse("the body is not JSON in UTF-8", "BAD_REQUEST", 400, remedy='send {"query": "..."}') from None
    if not isinstance(request, dict):
        raise refuse("the body is not a JSON object", "BAD_REQUEST", 400, remedy='send {"query": "..."}')
    return request


def _from_query(query_string: bytes) -> dict[str, Any]:
    try:
        given = parse_qs(
            query_string.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query_string),
            max_num_fields=16,
            errors="strict",
        )
    except ValueError:
        raise refuse("the query string cannot be read", "BAD_REQUEST", 400, remedy="send ?query=...") from None
    request: dict[str, Any] = {}
    for name in ("query", "operationName", "variables", "extensions"):
        values = given.get(name)
        if values is None:
            continue
        value: Any = values[-1]
        if name in ("variables", "extensions"):
            try:
                value = orjson.loads(value) if value else None
            except orjson.JSONDecodeError:
                raise refuse(f"`{name}` is not JSON", "BAD_REQUEST", 400, remedy="send URL-encoded JSON") from None
        request[name] = value
    return request


__all__ = ["Gate", "GraphQLOverHttp", "variables_of"]
