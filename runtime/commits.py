"""The single writer of structural changes: orders, alerts and work orders become durable here, one group at a time.

An intent is prepared against the hot graph, committed to the store, applied to the hot graph and only then published.
Intents that touch nothing in common share one transaction (group commit). Whoever waits for an answer fails fast while
the store is away; alerts and work orders wait in a bounded queue and are tried again. A commit whose outcome is unknown
(time-out, lost connection) is looked up in the store's log before anything else is written, so that the hot graph and
the store never part (docs/adr/0006).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import Change, DropRecord, GraphStore, PutRecord, stamped
from twinloom.runtime.feed import Feed
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.sequence import Sequence
from twinloom.twin.errors import LimitExceeded, StoreUnavailable, TwinloomError, Unavailable
from twinloom.twin.ports import Clock
from twinloom.twin.signals import AnySignal

log = logging.getLogger(__name__)

GROUP = 256  # intents in one transaction


class Numbers:
    """The run of numbers that one commit reserved: each signal takes the next, `commit` is the last of the run.

    The transaction, and so the etag of all that it writes, has the last number: no signal is ahead of the state.
    """

    def __init__(self, first: int, count: int) -> None:
        self._next = first
        self.commit = first + max(count, 1) - 1

    def take(self) -> int:
        number = self._next
        if number > self.commit:
            raise RuntimeError("an intent gave more signals than it announced")
        self._next += 1
        return number


def one() -> int:
    """The usual number of signals of an intent."""
    return 1


def two() -> int:
    return 2


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an intent does: `changes` for the store, `signals` for the feed, `applied` for the books, the answer."""

    outcome: Outcome
    changes: tuple[Change, ...] = ()
    signals: tuple[AnySignal, ...] = ()
    applied: Callable[[], None] | None = None


# Checks against the present state and says what to do, at (numbers, ns UTC). Raises what the caller shall see.
Prepare: TypeAlias = Callable[[Numbers, int], Prepared]


@dataclass(slots=True)
class Intent:
    """`touches` names what the intent reads and changes (None: everything, so it goes alone).

    `signals` says how many signals it can give at most. Without `answer` nobody waits: it is tried until it is durable.
    """

    cause: str
    touches: frozenset[str] | None
    prepare: Prepare
    signals: Callable[[], int] = one
    answer: asyncio.Future[Outcome] | None = None


@dataclass(slots=True)
class _Group:
    numbers: Numbers
    now_ns: int
    intents: list[Intent] = field(default_factory=list)
    prepared: list[Prepared] = field(default_factory=list)


class Commits:
    """All calls on the event-loop thread; `run()` is the writer task.

    `capacity` bounds the intents that wait; above it orders are refused with LimitExceeded and `enqueue` answers False.
    """

    def __init__(
        self,
        store: GraphStore,
        hot: HotGraph,
        feed: Feed,
        sequence: Sequence,
        clock: Clock,
        metrics: Metrics,
        *,
        capacity: int = 10_000,
        timeout_s: float = 10.0,
        retry_s: float = 0.25,
        retry_max_s: float = 5.0,
    ) -> None:
        self._store = store
        self._hot = hot
        self._feed = feed
        self._sequence = sequence
        self._clock = clock
        self._metrics = metrics
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._retry_max_s = retry_max_s
        self._waiting: deque[Intent] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.away: StoreUnavailable | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def submit(
        self, cause: str, touches: frozenset[str] | None, prepare: Prepare, *, signals: Callable[[], int] = one
    ) -> Outcome:
        """Carries out an intent and answers once it is durable, applied and published.

        Raises what `prepare` or the store raises; StoreUnavailable at once while the store is away.
        """
        if self._closed:
            raise Unavailable("the service is shutting down", remedy="send the order again after its restart")
        if self.away is not None:
            raise self._refusal(self.away)
        if len(self._waiting) >= self._capacity:
            raise LimitExceeded("too many orders wait for the store", remedy="send fewer at a time", retry_after_s=1.0)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._append(Intent(cause, touches, prepare, signals, answer))
        return await answer

    def enqueue(
        self, cause: str, touches: frozenset[str] | None, prepare: Prepare, *, signals: Callable[[], int] = one
    ) -> bool:
        """Puts an intent in the queue that is tried until it is durable. False when the queue is full."""
        if len(self._waiting) >= self._capacity:
            return False
        self._append(Intent(cause, touches, prepare, signals))
        return True

    async def drained(self) -> None:
        """Returns once nothing waits and nothing is being written."""
        await self._idle.wait()

    def close(self) -> None:
        """Takes no more orders; what waits is still written."""
        self._closed = True

    async def run(self) -> None:
        """The writer. Runs until cancelled."""
        while True:
            if not self._waiting:
                self._idle.set()
                self._arrived.clear()
                await self._arrived.wait()
            group = self._take()
            try:
                await self._write(group)
            except asyncio.CancelledError:
                self._fail(group, StoreUnavailable("the service stopped before the order was durable"))
                raise

    def _append(self, intent: Intent) -> None:
        self._waiting.append(intent)
        self._idle.clear()
        self._arrived.set()

    def _take(self) -> list[Intent]:
        """The next intents that touch nothing in common; one that touches what an earlier one does stays behind it."""
        taken: list[Intent] = []
        left: deque[Intent] = deque()
        touched: set[str] = set()
        while self._waiting and len(taken) < GROUP:
            intent = self._waiting.popleft()
            if intent.answer is not None and intent.answer.done():
                continue  # whoever asked has gone
            if intent.touches is None:
                if taken or left:
                    self._waiting.appendleft(intent)
                else:
                    taken.append(intent)
                break
            if touched.isdisjoint(intent.touches):
                taken.append(intent)
            else:
                left.append(intent)
                if len(left) >= GROUP:
                    break
            touched |= intent.touches
        self._waiting.extendleft(reversed(left))
        return taken

    async def _write(self, intents: list[Intent]) -> None:
        numbers = Numbers(self._sequence.reserve(), sum(intent.signals() for intent in intents))
        group = self._prepare(intents, _Group(numbers, self._clock.now_ns()))
        changes = tuple(c for p in group.prepared for c in p.changes)
        if not changes:
            self._sequence.abandon(numbers.commit)
            self._answer(group)
            return
        causes = dict.fromkeys(intent.cause for intent in group.intents)
        cause = next(iter(causes)) if len(causes) == 1 else f"{len(group.intents)} orders"
        started = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._store.commit(changes, seq=numbers.commit, time_ns=group.now_ns, cause=cause)
        except (StoreUnavailable, TimeoutError) as error:
            await self._in_doubt(group, error)
            return
        except TwinloomError as error:
            self._sequence.abandon(numbers.commit)
            if len(group.intents) > 1:  # one of them is at fault: each alone, so that it fails alone
                for intent in group.intents:
                    await self._write([intent])
            else:
                self._refuse(group.intents[0], error)
            return
        self._metrics.commit_seconds.observe(self._clock.monotonic_s() - started)
        self._finish(group, first=None)
        self._sequence.commit(numbers.commit)

    def _prepare(self, intents: Items[Intent], group: _Group) -> _Group:
        for intent in intents:
            try:
                prepared = intent.prepare(group.numbers, group.now_ns)
            except TwinloomError as error:
                self._refuse(intent, error)
            except Exception as error:
                log.exception("an order could not be prepared")
                self._refuse(intent, TwinloomError(f"internal error: {type(error).__name__}"))
            else:
                group.intents.append(intent)
                group.prepared.append(prepared)
        return group

    def _finish(self, group: _Group, *, first: int | None) -> None:
        """Durable: applied to the hot graph and the books, then published, then answered; nothing comes between.

        `first`: where the signals' numbers begin if not where they were reserved.
        """
        changes = [c for p in group.prepared for c in p.changes if not isinstance(c, PutRecord | DropRecord)]
        commit = group.numbers.commit
        shown = commit if first is None else first + sum(len(p.signals) for p in group.prepared)
        self._hot.apply(stamped(changes, seq=commit, time_ns=group.now_ns), max(shown, self._hot.seq))
        for prepared in group.prepared:
            if prepared.applied is not None:
                prepared.applied()
        for signal in (s for p in group.prepared for s in p.signals):
            if first is not None:
                signal, first = replace(signal, seq=first), first + 1
            self._feed.publish(signal)
        self._feed.advance(shown)
        self._answer(group)

    def _answer(self, group: _Group) -> None:
        for intent, prepared in zip(group.intents, group.prepared, strict=True):
            if intent.answer is not None and not intent.answer.done():
                intent.answer.set_result(prepared.outcome)

    async def _in_doubt(self, group: _Group, error: Exception) -> None:
        """The store may hold the commit or not: those who wait are told, then the store is asked until it answers."""
        seq = group.numbers.commit
        self._sequence.abandon(seq)
        self.away = StoreUnavailable(
            f"the graph store cannot be reached ({error or type(error).__name__})",
            remedy="send the order again with the same key once the service is healthy",
        )
        log.warning("the graph store went away: %s", error or type(error).__name__)
        self._fail(group, self._refusal(self.away))
        try:
            found = await self._look_up(seq)
        finally:
            self.away = None
        log.info("the graph store is back; the commit in doubt was %s", "made" if found else "not made")
        if not found:
            again = [i for i in group.intents if i.answer is None]
            self._waiting.extendleft(reversed(again))
            return
        count = sum(len(p.signals) for p in group.prepared)
        if seq - count >= self._sequence.current:
            self._finish(group, first=None)
            self._sequence.commit(seq)
        else:  # telemetry used the reserved numbers meanwhile: the signals go out with later ones
            first = self._sequence.reserve()
            self._finish(group, first=first)
            self._sequence.commit(first + count, durable=False)

    async def _look_up(self, seq: int) -> bool:
        wait_s = self._retry_s
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._store.reserve(0)  # a write: what was queued before it is decided when it returns
                    entries = await self._store.log(seq - 1, 1)
                return any(entry.seq == seq for entry in entries)
            except (StoreUnavailable, TimeoutError):
                assert self.away is not None
                self._fail_waiting(self._refusal(self.away))
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, self._retry_max_s)

    def _refusal(self, error: StoreUnavailable) -> StoreUnavailable:
        return StoreUnavailable(error.message, remedy=error.remedy)

    def _refuse(self, intent: Intent, error: TwinloomError) -> None:
        if intent.answer is None:
            log.error("gave up on %s: %s", intent.cause, error)
            self._metrics.commits_given_up.inc()
        elif not intent.answer.done():
            intent.answer.set_exception(error)

    def _fail(self, group: _Group | list[Intent], error: TwinloomError) -> None:
        for intent in group if isinstance(group, list) else group.intents:
            if intent.answer is not None and not intent.answer.done():
                intent.answer.set_exception(error)

    def _fail_waiting(self, error: TwinloomError) -> None:
        kept = [i for i in self._waiting if i.answer is None]
        for intent in self._waiting:
            if intent.answer is not None and not intent.answer.done():
                intent.answer.set_exception(error)
        self._waiting = deque(kept)
