"""Orders that leave for a machine: requested, authorised, written, then done by the machine's own echo, or failed.

The chain is a durable record before anything leaves, so a key is never written twice: a command that was under way when
the process died is `unknown` after the restart, and stays so until a person looks at the machine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from uuid import uuid4

from twinloom.graph.store import Change, DropRecord, PutRecord
from twinloom.runtime.commits import Commits, Numbers, Prepared
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.records import COMMAND, document, record
from twinloom.twin.commands import InvokeCommand, UpdateTwin
from twinloom.twin.errors import CommandFailed, StoreUnavailable, TwinloomError, Unavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json
from twinloom.twin.ports import Actuator, Clock, Echo

log = logging.getLogger(__name__)

KEPT = 10_000
WRITE_TIMEOUT_S = 5.0
ENDED = frozenset(("done", "failed", "unknown"))


@dataclass(frozen=True, slots=True)
class Step:
    """`state` is requested, authorised, written, done, failed or unknown."""

    state: str
    time_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One order to a machine and all that became of it; `name` is the command, or `write` for property writes."""

    id: str
    twin: TwinId
    name: str
    payload: Json
    principal: str
    key: str
    chain: tuple[Step, ...]
    response: Json = None

    @property
    def state(self) -> str:
        return self.chain[-1].state


class Actuation:
    """The commands that are kept, and the way out. `run()` owns the orders that are under way."""

    def __init__(self, commits: Commits, actuators: Sequence[Actuator], clock: Clock) -> None:
        self._commits = commits
        self._actuators = tuple(actuators)
        self._clock = clock
        self._commands: dict[str, Command] = {}
        self._by_key: dict[str, str] = {}
        self._under_way: dict[str, asyncio.Future[Outcome]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def load(self, records: Iterable[tuple[str, Json]]) -> None:
        """Takes over what an earlier process made durable; what was under way then is unknown now."""
        found = sorted((record(Command, stored) for _, stored in records), key=lambda c: c.chain[0].time_ns)
        for command in found:
            if command.state not in ENDED:
                step = Step("unknown", self._clock.now_ns(), "the service ended before the machine's echo was seen")
                command = replace(command, chain=(*command.chain, step))
                self._commits.enqueue("restart", frozenset((f"command:{command.id}",)), partial(self._store, command))
            self._keep(command)

    async def run(self) -> None:
        """Owns the orders under way until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.get_running_loop().create_future()

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())

    def get(self, id: str) -> Command | None:
        return self._commands.get(id)

    def concerns(self, order: UpdateTwin) -> bool:
        """True when an actuator is the way to one of the properties that the order sets."""
        return bool(self._actuators) and any(True for _ in self._writes(order))

    async def carry_out(
        self,
        order: UpdateTwin | InvokeCommand,
        key: str,
        finish: Callable[[Numbers, int], Prepared] | None,
        remember: Callable[[Prepared], Prepared],
    ) -> Outcome:
        """Sends the order to its machine; returns once the echo was seen and all of it is durable.

        `finish` prepares the twin's own change, `remember` adds the outcome of a key. It goes on when the caller goes.
        """
        twin = order.twin if isinstance(order, InvokeCommand) else order.id
        if isinstance(order, InvokeCommand) and self._way(twin, order.name) is None:
            raise CommandFailed(
                f"no machine connection reaches {twin} {order.name}", remedy="map it to a machine first"
            )
        known = self._by_key.get(key) if key else None
        if known is None:
            if self._tasks is None:
                raise Unavailable("the service is not running", remedy="start it first")
            name = order.name if isinstance(order, InvokeCommand) else "write"
            payload = order.payload if isinstance(order, InvokeCommand) else dict(order.set)
            now_ns = self._clock.now_ns()
            chain = (Step("requested", now_ns), Step("authorised", now_ns, order.principal))
            command = Command(uuid4().hex, twin, name, payload, order.principal, key, chain)
            self._keep(command)
            answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(_seen)
            self._under_way[command.id] = answer
            self._tasks.create_task(self._see_through(answer, order, command, finish, remember))
            return await asyncio.shield(answer)
        if known in self._under_way:
            return await asyncio.shield(self._under_way[known])
        last = self._commands[known].chain[-1]
        raise CommandFailed(f"the order of this key is {last.state}: {last.detail}", remedy="send it with a new key")

    async def _see_through(
        self,
        answer: asyncio.Future[Outcome],
        order: UpdateTwin | InvokeCommand,
        command: Command,
        finish: Callable[[Numbers, int], Prepared] | None,
        remember: Callable[[Prepared], Prepared],
    ) -> None:
        """Carries an order out for whoever waits; what fails is theirs to know, and no reason for the rest to stop."""
        try:
            answer.set_result(await self._carry_out(order, command, finish, remember))
        except TwinloomError as error:
            answer.set_exception(error)
        except Exception as error:
            log.exception("the order %s to %s failed", command.name, command.twin)
            answer.set_exception(TwinloomError(f"internal error: {type(error).__name__}"))
        finally:
            self._under_way.pop(command.id, None)
            if not answer.done():
                answer.set_exception(Unavailable("the service stopped while the order was under way"))

    async def _carry_out(
        self,
        order: UpdateTwin | InvokeCommand,
        command: Command,
        finish: Callable[[Numbers, int], Prepared] | None,
        remember: Callable[[Prepared], Prepared],
    ) -> Outcome:
        touches = frozenset((f"command:{command.id}", f"twin:{command.twin}", f"key:{command.key}"))
        try:
            await self._commits.submit(f"{command.name} by {order.principal}", touches, partial(self._store, command))
        except TwinloomError:
            self._forget(command)  # nothing has left: the same key may try again
            raise
        try:
            response = await self._send(order, command)
        except CommandFailed as error:
            failed = self._with_step(command.id, "failed", str(error))
            try:
                await self._commits.submit("the machine refused", touches, partial(self._store, failed))
            except TwinloomError:
                self._commits.enqueue("the machine refused", touches, partial(self._store, failed))
            raise
        done = replace(self._with_step(command.id, "done", "echo seen"), response=response)

        def prepare(numbers: Numbers, now_ns: int) -> Prepared:
            own = (
                finish(numbers, now_ns) if finish is not None else Prepared(Outcome(seq=numbers.take(), twin=done.twin))
            )
            put = self._put(done)
            outcome = replace(own.outcome, command=done.id)

            def applied() -> None:
                if put.applied is not None:
                    put.applied()
                if own.applied is not None:
                    own.applied()

            return remember(Prepared(outcome, (*own.changes, *put.changes), own.signals, applied))

        try:
            return await self._commits.submit("the machine's echo", touches, prepare)
        except StoreUnavailable:
            # The machine has done it, so the record must follow, whenever the store is back.
            self._commits.enqueue("the machine's echo", touches, prepare)
            raise

    async def _send(self, order: UpdateTwin | InvokeCommand, command: Command) -> Json:
        try:
            if isinstance(order, InvokeCommand):
                way = self._way(order.twin, order.name)
                assert way is not None
                async with asyncio.timeout(order.timeout_s + 1.0):
                    self._step(command.id, "written")
                    echo: Echo = await way.invoke(order.twin, order.name, order.payload, timeout_s=order.timeout_s)
                return echo.value
            for path, value, way in self._writes(order):
                async with asyncio.timeout(WRITE_TIMEOUT_S + 1.0):
                    self._step(command.id, "written", path)
                    await way.write(order.id, path, value, timeout_s=WRITE_TIMEOUT_S)
            return None
        except TimeoutError as error:
            raise CommandFailed("the machine's echo did not come in time", remedy="look at the machine") from error

    def _writes(self, order: UpdateTwin) -> Iterator[tuple[str, Json, Actuator]]:
        pending: list[tuple[str, Json]] = list(order.set.items())
        while pending:
            path, value = pending.pop(0)
            way = self._way(order.id, path)
            if way is not None:
                yield path, value, way
            elif isinstance(value, Mapping):
                pending.extend((f"{path}.{name}", inner) for name, inner in value.items())

    def _way(self, twin: TwinId, path: str) -> Actuator | None:
        return next((a for a in self._actuators if a.reaches(twin, path)), None)

    def _step(self, id: str, state: str, detail: str = "") -> None:
        self._commands[id] = self._with_step(id, state, detail)

    def _with_step(self, id: str, state: str, detail: str) -> Command:
        command = self._commands[id]
        return replace(command, chain=(*command.chain, Step(state, self._clock.now_ns(), detail)))

    def _store(self, command: Command, _numbers: Numbers, _now_ns: int) -> Prepared:
        return self._put(command)

    def _put(self, command: Command) -> Prepared:
        changes: list[Change] = [PutRecord(COMMAND, command.id, document(command))]
        oldest: Command | None = None
        if len(self._commands) > KEPT:
            oldest = next((c for c in self._commands.values() if c.state in ENDED), None)
        if oldest is not None:
            changes.append(DropRecord(COMMAND, oldest.id))

        def applied() -> None:
            if oldest is not None:
                self._forget(oldest)
            self._keep(command)

        return Prepared(Outcome(seq=0, command=command.id), tuple(changes), (), applied)

    def _keep(self, command: Command) -> None:
        self._commands[command.id] = command
        if command.key:
            self._by_key[command.key] = command.id

    def _forget(self, command: Command) -> None:
        self._commands.pop(command.id, None)
        self._by_key.pop(command.key, None)


def _seen(answer: asyncio.Future[Outcome]) -> None:
    """The caller may have gone: a failure is in the record then, and no unheard exception."""
    if not answer.cancelled():
        answer.exception()
