"""The way out to one client: a bounded queue for each subscription, one writer for the connection.

When a subscription has `capacity` frames waiting, further events are conflated (latest wins)
in its backlog, and what was passed over is counted; once it has been drained the backlog goes out, with the count.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinloom.api.backlog import Backlog
    from twinloom.api.subscriptions import Group


Message = MutableMapping[str, Any]
"""An ASGI message. Those of one event are shared by all members whose key is the same: nobody changes them."""


class Member:
    """One subscription of one client. `wrap` makes an ASGI message of a payload; equal `key`s wrap equally."""

    __slots__ = ("backlog", "capacity", "from_seq", "group", "key", "on_drained", "outbox", "pending", "wrap")

    def __init__(self, outbox: Outbox, key: str, wrap: Callable[[str], Message], capacity: int) -> None:
        self.outbox = outbox
        self.key = key
        self.wrap = wrap
        self.capacity = capacity
        self.pending = 0
        self.from_seq = 0
        self.group: Group | None = None
        self.backlog: Backlog | None = None
        self.on_drained: Callable[[Member], None] | None = None

    @property
    def full(self) -> bool:
        return self.pending >= self.capacity or self.backlog is not None

    def push(self, payload: str) -> None:
        self.pending += 1
        self.outbox.put(self, self.wrap(payload))


class Outbox:
    """The queue of one connection. `send` waits while the client does not read: that is the back-pressure."""

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: deque[tuple[Member | None, Message]] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._drained: list[asyncio.Future[None]] = []
        self._closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, member: Member | None, message: Message) -> None:
        self._waiting.append((member, message))
        wake = self._wake
        if wake is not None and not wake.done():
            wake.set_result(None)

    async def room(self, below: int) -> None:
        """Waits until fewer than `below` frames wait."""
        while len(self._waiting) >= below and not self._closing:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drained.append(future)
            await future

    def close(self) -> None:
        """Lets `run` end once everything has gone out."""
        self._closing = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._notify()

    async def run(self) -> None:
        """Sends what is put, until closed or cancelled."""
        waiting, send = self._waiting, self._send
        try:
            while True:
                while waiting:
                    member, message = waiting.popleft()
                    await send(message)
                    if member is not None:
                        member.pending -= 1
                        if member.pending == 0 and member.on_drained is not None:
                            member.on_drained(member)
                    if self._drained:
                        self._notify()
                if self._closing:
                    return
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
                self._wake = None
        finally:
            self._closing = True
            self._waiting.clear()
            self._notify()

    def _notify(self) -> None:
        drained, self._drained = self._drained, []
        for future in drained:
            if not future.done():
                future.set_result(None)
