"""The store goes away and comes back: telemetry goes on, orders fail fast, alerts wait, nothing needs a restart."""

from __future__ import annotations

import asyncio
import time

import pytest

from twinloom.graph.neo4j_store import Neo4jStore
from twinloom.runtime.limits import Limits
from twinloom.runtime.rules import Rule
from twinloom.runtime.service import Service
from twinloom.twin.assessments import Severity
from twinloom.twin.commands import UpdateTwin
from twinloom.twin.errors import StoreUnavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.signals import AlertRaised, ReadingsFolded, TwinUpdated, WorkOrderOpened

PUMP = ModelId("dtmi:com:example:Pump;1")
BURST = Rule("burst", PUMP, "pressure", True, 9.0, 6.0, 0.0, Severity.CRITICAL, "{twin} bursts", "Replace the seal")
P0 = TwinId("p0")


class Line:
    """The line to a real store, which can be cut: before a commit gets there, or after, before the answer is back."""

    def __init__(self, store) -> None:
        self.store = store
        self.cut = False
        self.lose_answers = False
        self.hang = False
        self.largest_write = 0

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def _over(self, call, *args, **kwargs):
        if self.hang:
            await asyncio.get_running_loop().create_future()
        if self.cut:
            raise StoreUnavailable("the line is cut")
        answer = await call(*args, **kwargs)
        if self.lose_answers:
            self.cut = True
            raise StoreUnavailable("the answer was lost")
        return answer

    async def commit(self, changes, **rest):
        await self._over(self.store.commit, changes, **rest)

    async def write_values(self, rows, **rest):
        self.largest_write = max(self.largest_write, len(rows))
        await self._over(self.store.write_values, rows, **rest)

    async def log(self, after, limit):
        return await self._over(self.store.log, after, limit)

    async def reserve(self, seq):
        await self._over(self.store.reserve, seq)

    def mend(self) -> None:
        self.cut = self.lose_answers = self.hang = False


@pytest.fixture
def line():
    lines: list[Line] = []

    def wrap(store) -> Line:
        lines.append(Line(store))
        return lines[-1]

    wrap.lines = lines
    return wrap


def part(service, name):
    return next(p for p in service.health().parts if p.name == name)


async def test_telemetry_flows_and_is_conflated_while_orders_fail_fast(start, hand, line, until):
    service = await start(wrap=line, rules=[BURST])
    await until(lambda: service.write_behind.waiting == 0, "the line is quiet")
    line.lines[0].cut = True
    feed = service.feed.subscribe(capacity=100_000)
    for n in range(200):
        await hand.push(("p0", "pressure", float(n % 5)), ("p1", "temperature", float(n)))
    folded = []
    while (item := feed.poll()) is not None:
        folded.append(item)
    assert sum(len(s.slots) for s in folded if isinstance(s, ReadingsFolded)) == 400
    assert service.write_behind.waiting == 2
    with pytest.raises(StoreUnavailable):
        await service.orders.execute(UpdateTwin(id=P0, set={"count": 1}))
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as refused:
        await service.orders.execute(UpdateTwin(id=P0, set={"count": 2}))
    assert time.monotonic() - started < 0.5
    assert refused.value.remedy
    assert service.health().state == "degraded"
    assert "2 last values wait" in part(service, "store").reason
    line.lines[0].mend()
    await until(lambda: service.health().state == "ok", "recovery without a restart")
    outcome = await service.orders.execute(UpdateTwin(id=P0, set={"count": 3}))
    await until(lambda: service.write_behind.waiting == 0, "the last values are written")
    assert service.seq >= outcome.seq
    stored = {(v.twin, v.path): v.value for v in (await service.store.load()).last_values}
    assert stored == {("p0", "pressure"): 4.0, ("p1", "temperature"): 199.0}
    assert line.lines[0].largest_write <= 2
    assert service.metrics.lost == {}


async def test_alerts_and_work_orders_wait_for_the_store_and_are_published_only_when_durable(start, hand, line, until):
    service = await start(wrap=line, rules=[BURST])
    line.lines[0].cut = True
    feed = service.feed.subscribe(capacity=100_000)
    await hand.push(("p0", "pressure", 9.5), ("p1", "pressure", 9.6))
    await until(lambda: service.commits.away is not None, "the writer has noticed")
    await hand.push(("p0", "pressure", 9.7))
    assert service.alerts.current() == []
    assert not [i for i in iter(feed.poll, None) if isinstance(i, AlertRaised)]
    line.lines[0].mend()
    await until(lambda: len(list(service.work_orders)) == 2, "the alerts and their orders are durable")
    heard = [i for i in iter(feed.poll, None) if isinstance(i, AlertRaised | WorkOrderOpened)]
    assert sorted(i.alert.twin for i in heard if isinstance(i, AlertRaised)) == ["p0", "p1"]
    assert sorted(i.order.twin for i in heard if isinstance(i, WorkOrderOpened)) == ["p0", "p1"]
    assert [i.seq for i in heard] == sorted({i.seq for i in heard})


async def test_a_commit_whose_answer_was_lost_is_found_and_not_repeated(start, hand, line, until):
    service = await start(wrap=line)
    feed = service.feed.subscribe(capacity=100_000)
    line.lines[0].lose_answers = True
    order = UpdateTwin(id=P0, set={"count": 7}, key="k", principal="ann")
    with pytest.raises(StoreUnavailable):
        await service.orders.execute(order)
    for n in range(5):
        await hand.push(("p0", "pressure", float(n)))
    line.lines[0].mend()
    await until(lambda: service.commits.away is None, "the store is back")
    assert service.hot.value(service.hot.row("p0"), "count") == 7
    again = await service.orders.execute(order)
    assert again.replayed
    heard = list(iter(feed.poll, None))
    assert [i.paths for i in heard if isinstance(i, TwinUpdated)] == [("count",)]
    assert [i.seq for i in heard] == sorted({i.seq for i in heard})
    assert again.etag == service.hot.etag(service.hot.row("p0"))
    await service.orders.execute(UpdateTwin(id=P0, set={"count": 8}, expected_etag=again.etag))


async def test_an_order_that_never_reached_the_store_leaves_no_trace(start, line, until):
    service = await start(wrap=line)
    before = service.hot.twin("p0")
    line.lines[0].cut = True
    with pytest.raises(StoreUnavailable):
        await service.orders.execute(UpdateTwin(id=P0, set={"count": 7}, key="k"))
    line.lines[0].mend()
    await until(lambda: service.commits.away is None, "the store is back")
    assert service.hot.twin("p0") == before
    assert not (await service.orders.execute(UpdateTwin(id=P0, set={"count": 8}, key="k2"))).replayed


async def test_a_store_that_hangs_is_given_up_after_the_time_out_and_telemetry_does_not_wait(start, hand, line, until):
    limits = Limits(commit_timeout_s=0.2, write_behind_interval_s=0.05)
    service = await start(wrap=line, limits=limits)
    line.lines[0].hang = True
    asked = asyncio.create_task(service.orders.execute(UpdateTwin(id=P0, set={"count": 7})))
    await asyncio.sleep(0)
    started = time.monotonic()
    await hand.push(("p0", "pressure", 1.0))
    assert time.monotonic() - started < 0.15
    with pytest.raises(StoreUnavailable):
        await asked
    line.lines[0].mend()
    await until(lambda: service.health().state == "ok", "recovery without a restart")
    await service.orders.execute(UpdateTwin(id=P0, set={"count": 8}))


async def test_telemetry_that_used_up_the_reserved_numbers_still_gets_its_order(start, hand, line, until):
    service = await start(wrap=line)
    service.sequence._jump = 3
    feed = service.feed.subscribe(capacity=100_000)
    line.lines[0].lose_answers = True
    with pytest.raises(StoreUnavailable):
        await service.orders.execute(UpdateTwin(id=P0, set={"count": 7}))
    for n in range(20):
        await hand.push(("p0", "pressure", float(n)))
    line.lines[0].mend()
    await until(lambda: service.commits.away is None, "the store is back")
    heard = list(iter(feed.poll, None))
    assert [i.seq for i in heard] == sorted({i.seq for i in heard})
    assert isinstance(heard[-1], TwinUpdated)
    assert service.hot.seq >= heard[-1].seq


async def test_history_waits_up_to_its_bound_and_counts_what_it_must_give_up(start, hand, tmp_path, until):
    from twinloom.graph.duckdb_history import DuckdbHistory

    class Cut(DuckdbHistory):
        away = True

        async def append(self, rows):
            if self.away:
                raise StoreUnavailable("the disk is full")
            await super().append(rows)

    history = Cut(tmp_path / "history.db")
    limits = Limits(history_values=10, history_interval_s=0.01)
    service = await start(history=history, limits=limits)
    service.historian._retry_s = 0.02
    t = time.time_ns()
    for n in range(25):
        await hand.push(("p0", "pressure", float(n)), at_ns=t + n)
    await until(lambda: service.health().state == "degraded", "health says so")
    assert part(service, "history").state == "degraded"
    assert service.metrics.lost == {"history_overflow": 15}
    assert service.historian.waiting == 10
    history.away = False
    await until(lambda: service.health().state == "ok", "the history is written again")
    points = await service.history.read(P0, "pressure", 0, 2 << 60, 100)
    assert points.value.tolist() == [float(n) for n in range(15, 25)]


async def test_a_frozen_neo4j_is_survived_without_a_restart(private_neo4j, neo4j_auth, tmp_path, hand, plant, until):
    """A real Neo4j that is stopped by SIGSTOP, as a paused machine or a black hole is, and goes on later."""
    import signal

    from twinloom.graph.duckdb_history import DuckdbHistory

    service = Service(
        store=Neo4jStore(private_neo4j.uri, *neo4j_auth, timeout_s=20.0),
        history=DuckdbHistory(tmp_path / "history.db"),
        rules=[BURST],
        sources=[hand],
        seed=plant(3),
        limits=Limits(commit_timeout_s=4.0, write_behind_interval_s=0.1),
    )
    async with service:
        await asyncio.wait_for(hand.started.wait(), 5)
        await service.orders.execute(UpdateTwin(id=P0, set={"count": 1}))
        private_neo4j._process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                await service.orders.execute(UpdateTwin(id=P0, set={"count": 2}, key="k"))
            received = service.metrics.applied
            for n in range(50):
                await hand.push(("p0", "pressure", float(n % 9)))
            await hand.push(("p0", "pressure", 9.5))
            assert service.metrics.applied == received + 51
            assert service.health().state == "degraded"
        finally:
            private_neo4j._process.send_signal(signal.SIGCONT)
        await until(lambda: service.health().state == "ok", "recovery", timeout_s=20)
        await until(lambda: len(service.alerts.current()) == 1, "the alert is durable", timeout_s=20)
        await service.orders.execute(UpdateTwin(id=P0, set={"count": 3}))
        assert service.hot.value(service.hot.row("p0"), "count") == 3
