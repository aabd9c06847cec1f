"""Orders to machines: requested, authorised, written, done by the echo or failed; nothing is written twice."""

from __future__ import annotations

import asyncio

import pytest

from twinloom.twin.commands import InvokeCommand, UpdateTwin
from twinloom.twin.errors import CommandFailed, ModelViolation, NotFound, Unavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import Echo
from twinloom.twin.signals import TwinUpdated

P0 = TwinId("p0")


class Machine:
    """An actuator that does what it is told, when it is told."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str, object]] = []
        self.answer = asyncio.Event()
        self.answer.set()
        self.refuse: str = ""
        self.told = asyncio.Event()

    def reaches(self, twin, path):
        return path in ("drive.gain", "stop")

    async def write(self, twin, path, value, *, timeout_s):
        self.written.append((twin, path, value))
        self.told.set()
        await self.answer.wait()
        if self.refuse:
            raise CommandFailed(self.refuse)
        return Echo(value, 1, 0)

    async def invoke(self, twin, command, payload, *, timeout_s):
        self.written.append((twin, command, payload))
        async with asyncio.timeout(timeout_s):
            await self.answer.wait()
        return Echo(True, 1, 0)


async def test_a_write_becomes_the_twins_value_only_after_the_machines_echo(start):
    machine = Machine()
    machine.answer.clear()
    service = await start(actuators=[machine])
    feed = service.feed.subscribe()
    order = UpdateTwin(id=P0, set={"drive": {"gain": 0.5, "mode": "auto"}}, principal="ann", key="k")
    asked = asyncio.create_task(service.orders.execute(order))
    await machine.told.wait()
    (command,) = service.actuation
    assert [s.state for s in command.chain] == ["requested", "authorised", "written"]
    assert command.chain[1].detail == "ann"
    assert service.hot.value(service.hot.row("p0"), "drive.gain") is None
    machine.answer.set()
    outcome = await asked
    assert machine.written == [("p0", "drive.gain", 0.5)]
    assert service.hot.twin("p0").properties["drive"] == {"gain": 0.5, "mode": "auto"}
    assert isinstance(feed.poll(), TwinUpdated)
    assert service.actuation.get(outcome.command).state == "done"
    again = await service.orders.execute(order)
    assert (again.seq, again.replayed) == (outcome.seq, True)
    assert len(machine.written) == 1
    await service.stop()
    later = await start(actuators=[machine])
    assert [s.state for s in later.actuation.get(outcome.command).chain][-2:] == ["written", "done"]
    assert (await later.orders.execute(order)).replayed
    assert len(machine.written) == 1


async def test_the_same_key_sent_twice_at_once_is_written_once(start):
    machine = Machine()
    machine.answer.clear()
    service = await start(actuators=[machine])
    order = UpdateTwin(id=P0, set={"drive.gain": 0.5}, key="k")
    asked = [asyncio.create_task(service.orders.execute(order)) for _ in range(5)]
    await machine.told.wait()
    machine.answer.set()
    assert len({o.seq for o in await asyncio.gather(*asked)}) == 1
    assert len(machine.written) == 1


async def test_a_refusal_leaves_the_twin_as_it_was_and_the_reason_in_the_record(start):
    machine = Machine()
    machine.refuse = "BadUserAccessDenied"
    service = await start(actuators=[machine])
    before = service.hot.twin("p0")
    order = UpdateTwin(id=P0, set={"drive.gain": 0.5}, key="k")
    with pytest.raises(CommandFailed, match="BadUserAccessDenied"):
        await service.orders.execute(order)
    assert service.hot.twin("p0") == before
    (command,) = service.actuation
    assert (command.state, command.chain[-1].detail) == ("failed", "BadUserAccessDenied")
    with pytest.raises(CommandFailed, match="BadUserAccessDenied"):
        await service.orders.execute(order)
    assert len(machine.written) == 1
    await service.orders.execute(UpdateTwin(id=P0, set={"count": 5}))
    assert service.health().state == "ok"


async def test_what_the_model_forbids_never_leaves_for_the_machine(start):
    machine = Machine()
    service = await start(actuators=[machine])
    with pytest.raises(ModelViolation):
        await service.orders.execute(UpdateTwin(id=P0, set={"drive.gain": "high"}))
    with pytest.raises(ModelViolation):
        await service.orders.execute(InvokeCommand(twin=P0, name="stop", payload=7))
    with pytest.raises(ModelViolation):
        await service.orders.execute(InvokeCommand(twin=P0, name="explode"))
    with pytest.raises(NotFound):
        await service.orders.execute(InvokeCommand(twin=TwinId("nobody"), name="stop"))
    assert machine.written == []


async def test_a_command_returns_when_the_machine_answered_and_keeps_its_answer(start):
    machine = Machine()
    service = await start(actuators=[machine])
    outcome = await service.orders.execute(InvokeCommand(twin=P0, name="stop", payload="lunch"))
    command = service.actuation.get(outcome.command)
    assert (command.name, command.payload, command.response, command.state) == ("stop", "lunch", True, "done")
    assert outcome.seq > 0


async def test_a_command_that_no_machine_can_take_fails_at_once(start):
    service = await start()
    with pytest.raises(CommandFailed) as failed:
        await service.orders.execute(InvokeCommand(twin=P0, name="stop", payload="x"))
    assert failed.value.remedy


async def test_an_echo_that_does_not_come_is_a_failure(start):
    machine = Machine()
    machine.answer.clear()
    service = await start(actuators=[machine])
    with pytest.raises(CommandFailed, match="in time"):
        await service.orders.execute(InvokeCommand(twin=P0, name="stop", payload="x", timeout_s=0.05))
    assert [c.state for c in service.actuation] == ["failed"]


async def test_a_caller_that_goes_away_does_not_stop_what_is_under_way(start, until):
    machine = Machine()
    machine.answer.clear()
    service = await start(actuators=[machine])
    asked = asyncio.create_task(service.orders.execute(UpdateTwin(id=P0, set={"drive.gain": 0.5})))
    await machine.told.wait()
    asked.cancel()
    await asyncio.sleep(0)
    machine.answer.set()
    await until(lambda: [c.state for c in service.actuation] == ["done"], "the order is carried out")
    assert service.hot.value(service.hot.row("p0"), "drive.gain") == 0.5


async def test_what_was_under_way_at_a_crash_is_unknown_and_not_written_again(start):
    machine = Machine()
    machine.answer.clear()
    service = await start(actuators=[machine])
    order = UpdateTwin(id=P0, set={"drive.gain": 0.5}, key="k")
    asked = asyncio.create_task(service.orders.execute(order))
    await machine.told.wait()
    await service.stop()
    with pytest.raises(Unavailable):
        await asked
    later = await start(actuators=[machine])
    assert [c.state for c in later.actuation] == ["unknown"]
    with pytest.raises(CommandFailed, match="unknown"):
        await later.orders.execute(order)
    assert len(machine.written) == 1
