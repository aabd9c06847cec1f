"""One sequence: telemetry never waits for a commit, and no number is given twice, also after a crash."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from twinloom.runtime.sequence import Sequence


def test_telemetry_uses_the_numbers_below_a_reservation():
    sequence = Sequence(jump=100)
    assert sequence.try_next() == 2
    reserved = sequence.reserve()
    assert reserved == 102
    assert [sequence.try_next() for _ in range(3)] == [3, 4, 5]
    sequence.commit(reserved + 1)
    assert sequence.try_next() == 104


async def test_telemetry_waits_only_when_it_reaches_the_reservation():
    sequence = Sequence(jump=5)
    reserved = sequence.reserve()
    assert [sequence.try_next() for _ in range(5)] == [2, 3, 4, 5, None]
    waiting = asyncio.create_task(sequence.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    sequence.commit(reserved)
    assert await asyncio.wait_for(waiting, 5) == 7


async def test_telemetry_waits_for_a_new_mark_when_its_block_is_used_up():
    sequence = Sequence(block=10)
    sequence.marked(1)
    assert [sequence.try_next() for _ in range(11)] == [*range(2, 12), None]
    assert sequence.needs_mark
    waiting = asyncio.create_task(sequence.next())
    await asyncio.sleep(0)
    sequence.marked(11)
    assert await asyncio.wait_for(waiting, 5) == 12


def test_an_abandoned_number_is_never_reserved_again():
    sequence = Sequence(jump=10)
    first = sequence.reserve()
    sequence.abandon(first + 2)
    assert sequence.reserve() > first + 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["telemetry", "reserve", "commit", "abandon", "mark", "crash"]), max_size=60))
def test_no_number_is_given_twice_whatever_happens(steps):
    sequence, durable, reserved = Sequence(jump=7, block=40), 1, None
    sequence.marked(1)  # as the service does before it starts
    given_out: list[int] = []
    for step in steps:
        match step:
            case "telemetry":
                number = sequence.try_next()
                given_out += [] if number is None else [number]
            case "reserve" if reserved is None:
                reserved = sequence.reserve()
            case "commit" if reserved is not None:
                durable = max(durable, reserved)
                given_out.append(reserved)
                sequence.commit(reserved)
                reserved = None
            case "abandon" if reserved is not None:
                sequence.abandon(reserved)
                reserved = None
            case "mark":
                durable = max(durable, sequence.current)
                sequence.marked(sequence.current)
            case "crash":
                sequence, reserved = Sequence(durable, jump=7, block=40), None
                durable = max(durable, sequence.current)
                sequence.marked(sequence.current)
    assert given_out == sorted(set(given_out))
