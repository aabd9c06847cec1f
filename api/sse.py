"""graphql-sse in distinct-connections mode: one event stream for one operation, for clients behind proxies.

Each result is `event: next`, the end `event: complete`; a comment every few seconds keeps proxies from hanging up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from graphql import OperationType

from twinloom.api.engine import Engine
from twinloom.api.outbox import Member, Outbox
from twinloom.api.subscriptions import Hub
from twinloom.api.tokens import Principal

KEEP_ALIVE_S = 12.0
COMPLETE = "event: complete\ndata: \n\n"


class EventStreams:
    """Called by the HTTP endpoint once the request is read and admitted."""

    def __init__(self, engine: Engine, hub: Hub) -> None:
        self._engine = engine
        self._hub = hub

    async def __call__(
        self,
        scope: Any,
        receive: Any,
        send: Any,
        query: str,
        variables: Mapping[str, Any],
        name: str | None,
        principal: Principal,
        cors: str | None,
    ) -> None:
        """Streams the results of one operation. Raises RequestRefused before anything was sent."""
        edition = self._engine.edition
        operation = edition.documents.operation(query, name)
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache, no-transform"),
            (b"x-accel-buffering", b"no"),
        ]
        if cors is not None:
            headers += [(b"access-control-allow-origin", cors.encode()), (b"vary", b"origin")]
        start = {"type": "http.response.start", "status": 200, "headers": headers}

        if operation.kind is not OperationType.SUBSCRIPTION:
            body = await self._engine.run(query, variables, name, principal, mutations=scope["method"] == "POST")
            await send(start)
            text = f"event: next\ndata: {body.decode()}\n\n{COMPLETE}"
            await send({"type": "http.response.body", "body": text.encode()})
            return
        outbox = Outbox(send)
        member = Member(outbox, "sse", _next_event, self._engine.limits.subscription_queue)
        self._hub.join(edition, operation, variables, principal, member)
        try:
            await send(start)
            outbox.put(None, _part(":\n\n"))
            writer = asyncio.create_task(outbox.run(), name="event stream")
            alive = asyncio.create_task(_keep_alive(outbox), name="event stream keep-alive")
            gone = asyncio.create_task(_gone(receive), name="event stream reader")
            try:
                await asyncio.wait({writer, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (writer, alive, gone):
                    task.cancel()
                await asyncio.gather(writer, alive, gone, return_exceptions=True)
        finally:
            self._hub.leave(member)


async def _keep_alive(outbox: Outbox) -> None:
    while True:
        await asyncio.sleep(KEEP_ALIVE_S)
        if not len(outbox):
            outbox.put(None, _part(":\n\n"))


async def _gone(receive: Any) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(text: str) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}


def _next_event(payload: str) -> dict[str, Any]:
    return _part(f"event: next\ndata: {payload}\n\n")
