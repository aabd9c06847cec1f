"""The hub: one reader of the feed for all subscribers. Equal subscriptions share one stream, one plan and one frame.

Equal means: the same document, operation, variables (`after` aside) and permission scope. For each event the selection
is executed once for the group, encoded once, and the text handed to every member's queue. Each execution stands alone,
so what graphql-core keeps for the life of a subscription (facts of 3.3: it grows with every event) is freed at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from graphql import FieldNode, VariableNode, get_argument_values, get_variable_values, print_ast
from graphql.language import Visitor, visit

from twinloom.api.backlog import Backlog, Event, gap_event
from twinloom.api.documents import Operation
from twinloom.api.engine import Edition, Engine, encode
from twinloom.api.errors import RequestRefused, document_errors, extensions_of, masked, refusal_of, refuse
from twinloom.api.health import ApiMetrics
from twinloom.api.outbox import Member
from twinloom.api.schema import build
from twinloom.api.streams import Stream, TwinStream, stream_of
from twinloom.api.tokens import Principal
from twinloom.runtime.feed import LogGap, Missed
from twinloom.runtime.feed import Subscription as FeedSubscription
from twinloom.twin.errors import TwinloomError
from twinloom.twin.signals import AnySignal

log = logging.getLogger("twinloom.api")

REPLAY_BEHIND = 1 << 30


class Group:
    """All members of equal subscriptions."""

    def __init__(
        self,
        key: tuple[Any, ...],
        edition: Edition,
        operation: Operation,
        variables: Mapping[str, Any],
        principal: Principal,
    ) -> None:
        self.key = key
        self.edition = edition
        self.operation = operation
        self.variables = variables
        self.principal = principal
        self.members: dict[Member, None] = {}
        self.field = ""
        self.arguments: Mapping[str, Any] = {}
        self.stream: Stream | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.failing = False


class Hub:
    """`join` and `leave` are called by the transports; `running` is the application's lifespan."""

    def __init__(self, engine: Engine, metrics: ApiMetrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._feed = engine.services.service.feed
        self._groups: dict[tuple[Any, ...], Group] = {}
        self._members = 0
        self._at = 0
        self._replays: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reads the feed while the block runs."""
        self._feed = self._engine.services.service.feed
        self._at = self._feed.last_seq
        task = asyncio.create_task(self._run(), name="subscription hub")
        try:
            yield
        finally:
            task.cancel()
            for replay in self._replays:
                replay.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if self._replays:
                await asyncio.wait(self._replays)

    # ---- members ---------------------------------------------------------------------------------------------------

    def join(
        self, edition: Edition, operation: Operation, variables: Mapping[str, Any], principal: Principal, member: Member
    ) -> None:
        """Begins to feed `member`. Raises RequestRefused for what cannot be subscribed to."""
        limits = self._engine.limits
        if self._members >= limits.subscriptions:
            raise refuse(
                f"more than {limits.subscriptions} subscriptions", "LIMIT_EXCEEDED", 503, remedy="try again later"
            )
        try:
            principal.require("read")
            operation.costing.check(variables)
        except TwinloomError as error:
            raise refusal_of(error) from None
        field, arguments = self._read(edition, operation, variables)
        after = arguments.pop("after", None)
        key = (edition.number, _normal(operation), _keyed(operation, variables), principal.scope)
        group = self._groups.get(key)
        if group is None:
            group = Group(key, edition, operation, dict(variables), principal)
            group.field, group.arguments = field, arguments
            group.stream = self._stream(group)
        replay: FeedSubscription | None = None
        if after is not None:
            try:
                replay = self._feed.subscribe(after=after, capacity=REPLAY_BEHIND)
            except TwinloomError as error:
                raise refusal_of(error) from None
        member.group = group
        member.on_drained = self._drained
        self._members += 1
        self._metrics.subscriptions.set(self._members)
        if replay is None:
            self._attach(group, member)
        else:
            task = asyncio.create_task(self._replay(group, member, replay), name="subscription replay")
            self._replays.add(task)
            task.add_done_callback(self._replays.discard)

    def leave(self, member: Member) -> None:
        """Ends a member's subscription. Leaving twice does nothing."""
        group, member.group = member.group, None
        member.on_drained = None
        member.backlog = None
        if group is None:
            return
        self._members -= 1
        self._metrics.subscriptions.set(self._members)
        group.members.pop(member, None)
        if not group.members:
            self._groups.pop(group.key, None)
            if group.timer is not None:
                group.timer.cancel()
                group.timer = None
        self._metrics.groups.set(len(self._groups))

    def _attach(self, group: Group, member: Member) -> None:
        # A group that was left by everyone meanwhile has missed signals: its stream starts anew.
        if self._groups.get(group.key) is not group:
            other = self._groups.get(group.key)
            if other is not None:
                group = member.group = other
            else:
                self._groups[group.key] = group
                group.stream = self._stream(group)
        group.members[member] = None
        self._metrics.groups.set(len(self._groups))

    def _stream(self, group: Group) -> Stream:
        context = self._engine.context(group.principal)
        try:
            return stream_of(context, group.field, group.arguments)
        except TwinloomError as error:
            raise refusal_of(error) from None

    def _read(self, edition: Edition, operation: Operation, variables: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The one root field with its arguments, as the resolvers get them."""
        coerced = get_variable_values(edition.schema, operation.node.variable_definitions or (), dict(variables))
        if isinstance(coerced, list):
            raise RequestRefused(document_errors(coerced, "BAD_USER_INPUT"), 400)
        root = edition.schema.subscription_type
        nodes = [one for one in operation.node.selection_set.selections if isinstance(one, FieldNode)]
        if root is None or len(nodes) != 1 or len(operation.node.selection_set.selections) != 1:
            raise refuse("a subscription has exactly one field, without fragments around it", "BAD_USER_INPUT", 400)
        node = nodes[0]
        if node.name.value not in root.fields:
            raise refuse("a subscription needs a field of Subscription", "BAD_USER_INPUT", 400)
        if _asynchronous(edition, operation):
            raise refuse("history cannot be part of a subscription", "BAD_USER_INPUT", 400, remedy="query it")
        definition = root.fields[node.name.value]
        given = get_argument_values(definition, node, coerced)
        return node.name.value, build.converted(definition, given)

    # ---- delivery --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            subscription = self._feed.subscribe(after=self._at, capacity=8_192)
            async with subscription:
                async for item in subscription:
                    self._take(item)
                # The feed was closed: the service is stopping.
            return

    def _take(self, item: AnySignal | Missed | LogGap) -> None:
        if isinstance(item, LogGap | Missed):
            log.warning("the subscription hub was too slow: %s", item)
            now = self._engine.services.service.clock.now_ns()
            for group in list(self._groups.values()):
                self._send(group, [gap_event(group.field, item.from_seq, item.to_seq, now)], item.to_seq)
            return
        self._at = item.seq
        for group in list(self._groups.values()):
            try:
                self._feed_group(group, item)
            except Exception as error:
                self._fail(group, error)

    def _feed_group(self, group: Group, signal: AnySignal) -> None:
        stream = group.stream
        assert stream is not None
        events = stream.events(signal)
        if events:
            self._send(group, events, signal.seq)
            group.failing = False
        if isinstance(stream, TwinStream) and group.timer is None and stream.due_ns() is not None:
            self._arm(group, stream)

    def _fail(self, group: Group, error: Exception) -> None:
        """Tells the members once that their events cannot be made (a model of the filter is gone, or worse)."""
        if group.failing:
            return
        group.failing = True
        if isinstance(error, TwinloomError):
            told = {"message": error.message, "extensions": extensions_of(error)}
        else:
            message, extensions = masked(error)
            told = {"message": message, "extensions": extensions}
        payload = encode({"errors": [told], "data": None}).decode()
        for member in group.members:
            member.push(payload)

    def _arm(self, group: Group, stream: TwinStream) -> None:
        """Sees to it that held events go out when their interval is over, though no signal comes."""
        due = stream.due_ns()
        if due is None or not group.members:
            return
        clock = self._engine.services.service.clock
        delay = max(0.001, (due - clock.now_ns()) / 1e9)

        def fire() -> None:
            group.timer = None
            events = stream.release(clock.now_ns())
            if events:
                self._send(group, events, self._at)
            self._arm(group, stream)

        group.timer = asyncio.get_running_loop().call_later(delay, fire)

    def _send(self, group: Group, events: list[Event], seq: int) -> None:
        """Hands events to every member: one execution and one encoding for each event."""
        for event in events:
            payload: str | None = None
            last_key, message = "", None
            for member in group.members:
                if member.from_seq and seq <= member.from_seq:
                    continue
                if member.full:
                    if member.backlog is None:
                        member.backlog = Backlog(counts=True)
                    member.backlog.add(event)
                    continue
                if payload is None:
                    payload = self.payload(group, event)
                if message is None or member.key != last_key:
                    last_key = member.key
                    message = member.wrap(payload)
                member.pending += 1
                member.outbox.put(member, message)

    def payload(self, group: Group, event: Event) -> str:
        """The JSON of one event for a group."""
        data, errors = self._engine.event(
            group.edition, group.operation, group.variables, group.principal, group.field, event
        )
        body: dict[str, Any] = {"data": data}
        if errors:
            body = {"errors": errors, "data": data}
        return encode(body).decode()

    def _drained(self, member: Member) -> None:
        """The member's queue is empty: what waited in its backlog goes out, as much as fits."""
        group, backlog = member.group, member.backlog
        if group is None or backlog is None:
            return
        now = self._engine.services.service.clock.now_ns()
        for event in backlog.take(member.capacity):
            shown = gap_event(group.field, event[0], event[1], now) if isinstance(event, tuple) else event
            member.push(self.payload(group, shown))
        if not len(backlog):
            member.backlog = None

    async def _replay(self, group: Group, member: Member, replay: FeedSubscription) -> None:
        """Sends what the log holds, then joins the member to its group where the replay ends."""
        try:
            stream = self._stream(group)
            seq = 0
            async with replay:
                while member.group is not None:
                    item = replay.poll()
                    if item is None:
                        break
                    if isinstance(item, LogGap | Missed):
                        now = self._engine.services.service.clock.now_ns()
                        member.push(self.payload(group, gap_event(group.field, item.from_seq, item.to_seq, now)))
                        seq = item.to_seq
                        continue
                    seq = item.seq
                    for event in stream.events(item):
                        member.push(self.payload(group, event))
                    if member.pending >= member.capacity:
                        await member.outbox.room(max(1, member.capacity // 2))
            if member.group is not None:
                member.from_seq = seq
                self._attach(member.group, member)
        except RequestRefused:
            self.leave(member)
        except Exception as error:
            masked(error)
            self.leave(member)


def _normal(operation: Operation) -> str:
    """The document's text without its layout, and which of its operations."""
    return f"{operation.name or ''}\n{print_ast(operation.document)}"


def _keyed(operation: Operation, variables: Mapping[str, Any]) -> bytes:
    """The variables that make subscriptions differ: all but the one that only says `after`."""
    uses: dict[str, int] = {}
    after: str | None = None

    class Count(Visitor):
        def enter_argument(self, node: Any, *_: Any) -> None:
            nonlocal after
            if node.name.value == "after" and isinstance(node.value, VariableNode):
                after = node.value.name.value

        def enter_variable(self, node: Any, *_: Any) -> None:
            uses[node.name.value] = uses.get(node.name.value, 0) + 1

    visit(operation.node, Count())
    kept = {
        name: value for name, value in variables.items() if name in uses and not (name == after and uses[name] == 2)
    }
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS, default=str)


def _asynchronous(edition: Edition, operation: Operation) -> bool:
    """Whether the selection asks for what must be awaited."""
    found = False

    class Seek(Visitor):
        def enter_field(self, node: Any, *_: Any) -> None:
            nonlocal found
            found = found or node.name.value == "history"

    visit(operation.document, Seek())
    return found
