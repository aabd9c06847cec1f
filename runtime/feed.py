"""The feed: every signal in the order of `seq`, kept in a bounded log, read by any number of subscriptions.

A subscription is a cursor into the shared log, not a queue of its own: one that never reads costs nobody anything, and
what its overflow policy means is worked out when it reads. `after` replays from the log and goes on live without a
hole or a duplicate; where the log no longer reaches, the first item is an explicit `LogGap`, never silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import numpy as np

from twinloom.runtime.conflation import conflate
from twinloom.twin.errors import BadRequest, LimitExceeded
from twinloom.twin.signals import AnySignal

Overflow = Literal["conflate", "drop_oldest", "close"]


@dataclass(frozen=True, slots=True)
class Missed:
    """`count` values or signals from `from_seq` to `to_seq` (inclusive) were passed over: this reader was too slow."""

    count: int
    from_seq: int
    to_seq: int


@dataclass(frozen=True, slots=True)
class LogGap:
    """Signals from `from_seq` to `to_seq` (inclusive) are no longer in the log: read the state anew, then go on."""

    from_seq: int
    to_seq: int


FeedItem: TypeAlias = AnySignal | Missed | LogGap


class SubscriptionOverflow(LimitExceeded):
    """A subscription with the policy `close` fell more than its capacity behind."""


def size_of(signal: AnySignal) -> int:
    """Bytes that the log counts for a signal: its columns, and a flat 512 for everything else.

    >>> from twinloom.twin.signals import SourceStateChanged
    >>> size_of(SourceStateChanged(seq=1, time_ns=0, source="a", state="live", reason=""))
    512
    """
    total = 512
    for name in _array_fields(type(signal)):
        total += getattr(signal, name).nbytes
    return total


_ARRAYS: dict[type, tuple[str, ...]] = {}


def _array_fields(kind: type) -> tuple[str, ...]:
    names = _ARRAYS.get(kind)
    if names is None:
        columns = {"slots", "values", "source_times_ns", "quality"}
        names = tuple(f.name for f in fields(kind) if f.name in columns)
        _ARRAYS[kind] = names
    return names


class Feed:
    """The sequenced log. All calls on the event-loop thread.

    `capacity` bounds the log by signals, `max_bytes` by the memory of their columns. `start_seq` is the last number
    that an earlier process may have used: whatever a subscriber asks for below it is a gap.
    """

    def __init__(self, capacity: int = 65_536, *, max_bytes: int = 128 << 20, start_seq: int = 0) -> None:
        if capacity < 1:
            raise ValueError("a feed holds at least one signal")
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._signals: list[AnySignal | None] = [None] * capacity
        self._sizes = np.zeros(capacity, dtype=np.int64)
        self._seqs = np.zeros(capacity, dtype=np.int64)
        self._oldest = 0  # ordinals: signal k lies at k % capacity
        self._next = 0
        self._bytes = 0
        self._last_seq = start_seq
        self._dropped_seq = start_seq  # the highest number that is in the past of the log
        self._waiting: set[asyncio.Future[None]] = set()
        self._subscriptions = 0
        self._closed = False

    @property
    def last_seq(self) -> int:
        """The highest number that was used; a signal that is published later has a higher one."""
        return self._last_seq

    @property
    def first_seq(self) -> int:
        """The lowest `after` that misses nothing."""
        return self._dropped_seq

    @property
    def subscribers(self) -> int:
        return self._subscriptions

    @property
    def retained_bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return self._next - self._oldest

    def start_from(self, seq: int) -> None:
        """Sets the number that an earlier process may have reached. Only before the first signal."""
        if self._next:
            raise RuntimeError("the feed has begun")
        self._last_seq = self._dropped_seq = seq

    def advance(self, seq: int) -> None:
        """A number was used that has no signal: a subscription `after` it is not one from the future."""
        self._last_seq = max(self._last_seq, seq)

    def publish(self, signal: AnySignal) -> None:
        """Appends a signal and wakes the readers. Raises ValueError unless its seq is above every earlier one."""
        if signal.seq <= self._last_seq:
            raise ValueError(f"seq {signal.seq} after {self._last_seq}: the feed only grows")
        size = size_of(signal)
        while self._next > self._oldest and (
            self._next - self._oldest == self._capacity or self._bytes + size > self._max_bytes
        ):
            self._drop_oldest()
        at = self._next % self._capacity
        self._signals[at] = signal
        self._sizes[at] = size
        self._seqs[at] = signal.seq
        self._bytes += size
        self._next += 1
        self._last_seq = signal.seq
        if self._waiting:
            self._wake()

    def subscribe(
        self, *, after: int | None = None, capacity: int = 1024, overflow: Overflow = "conflate"
    ) -> Subscription:
        """A subscription from `after` on (None: from now on).

        `capacity` is how many signals it may be behind before `overflow` applies: `conflate` gives it the latest of
        every value and thing, `drop_oldest` the newest `capacity` signals, each after an explicit `Missed`; `close`
        ends it with SubscriptionOverflow. Raises BadRequest when `after` lies in the future of this server.
        """
        if capacity < 1:
            raise BadRequest("a subscription needs a capacity of at least 1", remedy="give a positive capacity")
        if after is None:
            return Subscription(self, self._next, None, self._last_seq, capacity, overflow)
        if after > self._last_seq:
            raise BadRequest(
                f"seq {after} lies ahead of this server, which is at {self._last_seq}",
                remedy="subscribe without `after`, or with a seq that this server gave",
            )
        gap = LogGap(after + 1, self._dropped_seq) if after < self._dropped_seq else None
        seen = max(after, self._dropped_seq)
        return Subscription(self, self._ordinal_after(after), gap, seen, capacity, overflow)

    def close(self) -> None:
        """Ends every subscription once it has read what is in the log."""
        self._closed = True
        self._wake()

    def _ordinal_after(self, seq: int) -> int:
        low, high = self._oldest, self._next
        while low < high:
            middle = (low + high) // 2
            if self._seqs[middle % self._capacity] <= seq:
                low = middle + 1
            else:
                high = middle
        return low

    def _drop_oldest(self) -> None:
        at = self._oldest % self._capacity
        self._signals[at] = None
        self._bytes -= int(self._sizes[at])
        self._dropped_seq = int(self._seqs[at])
        self._oldest += 1

    def _between(self, start: int, end: int) -> list[AnySignal]:
        return [s for k in range(start, end) if (s := self._signals[k % self._capacity]) is not None]

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)


class Subscription(AsyncIterator[FeedItem]):
    """One reader of the feed: `async for item in subscription`. End it with `close()`, or use it as `async with`."""

    def __init__(
        self, feed: Feed, cursor: int, gap: LogGap | None, seen_seq: int, capacity: int, overflow: Overflow
    ) -> None:
        self._feed = feed
        self._cursor = cursor
        self._gap = gap
        self._capacity = capacity
        self._overflow = overflow
        self._ready: list[FeedItem] = []  # at most one conflated step, newest first
        self._seen_seq = seen_seq
        self._wakeup: asyncio.Future[None] | None = None
        self._open = True
        self.missed = 0
        feed._subscriptions += 1

    @property
    def behind(self) -> int:
        """How many signals lie between this reader and the newest one."""
        return self._feed._next - self._cursor + len(self._ready)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> FeedItem:
        while True:
            item = self.poll()
            if item is not None:
                return item
            if not self._open or self._feed._closed:
                self.close()
                raise StopAsyncIteration
            self._wakeup = asyncio.get_running_loop().create_future()
            self._feed._waiting.add(self._wakeup)
            try:
                await self._wakeup
            finally:
                self._feed._waiting.discard(self._wakeup)
                self._wakeup = None

    def poll(self) -> FeedItem | None:
        """The next item without waiting, or None when there is none. Raises SubscriptionOverflow (policy `close`)."""
        if not self._open:
            return None
        if self._gap is not None:
            gap, self._gap = self._gap, None
            return gap
        if self._ready:
            return self._ready.pop()
        feed = self._feed
        behind = feed._next - self._cursor
        if behind <= 0:
            return None
        if behind > self._capacity or self._cursor < feed._oldest:
            return self._overflowed()
        signal = feed._signals[self._cursor % feed._capacity]
        self._cursor += 1
        assert signal is not None
        self._seen_seq = signal.seq
        return signal

    def close(self) -> None:
        """Ends the subscription; a waiting reader stops. Closing twice does nothing."""
        if self._open:
            self._open = False
            self._ready.clear()
            self._feed._subscriptions -= 1
            if self._wakeup is not None and not self._wakeup.done():
                self._wakeup.set_result(None)

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _overflowed(self) -> FeedItem:
        feed = self._feed
        if self._overflow == "close":
            self.close()
            raise SubscriptionOverflow(
                f"the subscription fell more than {self._capacity} signals behind and was closed",
                remedy=f"subscribe again after seq {self._seen_seq}, read faster, or ask for less",
            )
        if self._overflow == "drop_oldest":
            start = max(feed._next - self._capacity, feed._oldest)
            missed = start - self._cursor
            self._cursor = start
            self.missed += missed
            first = self._seen_seq + 1
            last = int(feed._seqs[(start - 1) % feed._capacity]) if start > feed._oldest else feed._dropped_seq
            self._seen_seq = last
            return Missed(missed, first, last)
        gap: FeedItem | None = None
        if self._cursor < feed._oldest:
            gap = LogGap(self._seen_seq + 1, feed._dropped_seq)
            self.missed += feed._oldest - self._cursor
            self._cursor = feed._oldest
            self._seen_seq = feed._dropped_seq
        kept, passed_over = conflate(feed._between(self._cursor, feed._next))
        first, last = self._seen_seq + 1, feed._last_seq
        self._cursor = feed._next
        self._seen_seq = last
        self.missed += passed_over
        self._ready = list(reversed(kept))
        if passed_over:
            self._ready.append(Missed(passed_over, first, last))
        if gap is not None:
            self._ready.append(gap)
        return self._ready.pop()
