"""The one sequence: who may use which number, so that telemetry never waits for the store (docs/adr/0005).

A commit reserves numbers `jump` ahead of the current one; telemetry meanwhile uses the numbers below. Once the commit
is durable, its signals are published with the reserved numbers and counting goes on above them. Telemetry is not
logged, so the store keeps a high-water mark; numbers up to `block` above the mark may be used, and a new process starts
above them.
"""

from __future__ import annotations

import asyncio

JUMP = 16_384
BLOCK = 1 << 24


class Sequence:
    """`durable` is the highest number the store knows of (0 for a new store)."""

    def __init__(self, durable: int = 0, *, jump: int = JUMP, block: int = BLOCK) -> None:
        self._jump = jump
        self._block = block
        self._reserved: int | None = None
        self._changed = asyncio.Event()
        self.start_from(durable)

    def start_from(self, durable: int) -> None:
        """The store's high-water mark, once it is loaded: counting begins a block above it.

        Before the first number is used, `current` must be made the new mark, so that a crash right after is one too.
        """
        self._durable = durable
        self._current = self._floor = durable + self._block if durable else 1

    @property
    def current(self) -> int:
        """The last number given out for something already published or folded."""
        return self._current

    @property
    def needs_mark(self) -> bool:
        """True when half of the block above the durable mark is used: time to store a new mark."""
        return self._current - self._durable > self._block // 2

    def try_next(self) -> int | None:
        """The next number for telemetry, or None while a reservation or the durable mark stands in the way."""
        number = self._current + 1
        if (self._reserved is not None and number >= self._reserved) or number > self._durable + self._block:
            return None
        self._current = number
        return number

    async def next(self) -> int:
        """The next number for telemetry; waits only when 16,384 numbers were used during one commit, or no new mark
        could be stored while 16 million were."""
        while (number := self.try_next()) is None:
            self._changed.clear()
            await self._changed.wait()
        return number

    def reserve(self) -> int:
        """The first of a run of numbers for one commit. One reservation at a time; end it by `commit` or `abandon`."""
        if self._reserved is not None:
            raise RuntimeError("a reservation stands already")
        self._reserved = max(self._current, self._floor) + self._jump
        return self._reserved

    def commit(self, last: int, *, durable: bool = True) -> None:
        """The run up to `last` is published: counting goes on above it. `durable`: the store holds `last` as well."""
        self._reserved = None
        self._current = self._floor = max(last, self._current)
        self.marked(last if durable else 0)

    def abandon(self, last: int) -> None:
        """The commit failed or is in doubt: none of its numbers is ever reserved again."""
        self._reserved = None
        self._floor = max(self._floor, last)
        self._changed.set()

    def marked(self, seq: int) -> None:
        """The store holds `seq` as its mark."""
        self._durable = max(self._durable, seq)
        self._changed.set()
