"""Alerts: hysteresis, duration, quality; durable before published; restored; each with at most one work order."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import Snapshot
from twinloom.prognostics.layout import CNC_SPINDLE
from twinloom.runtime.judge import Judge
from twinloom.runtime.rules import BoundRule, Rule
from twinloom.runtime.scoring import Assignment
from twinloom.twin.assessments import (
    AlertState,
    Health,
    ModelHealth,
    RulEstimate,
    Severity,
    WorkOrder,
    WorkOrderState,
)
from twinloom.twin.commands import AcknowledgeAlert, CloseWorkOrder, CreateTwin, DeleteTwin
from twinloom.twin.errors import BadFile, Unavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Twin
from twinloom.twin.ports import AlarmSink, MachineAlarm, SourceStatus
from twinloom.twin.signals import AlertAcknowledged, AlertCleared, AlertRaised, WorkOrderClosed, WorkOrderOpened

PUMP = ModelId("dtmi:com:example:Pump;1")
HIGH = Rule(
    "high", PUMP, "pressure", True, 8.0, 6.0, 0.0, Severity.WARNING, "{twin}: {value:.1f} {unit} over {threshold}"
)
BURST = Rule("burst", PUMP, "pressure", True, 9.0, 6.0, 0.0, Severity.CRITICAL, "{twin} bursts", "Replace the seal")
WORN = Rule(
    "worn", PUMP, "rul_days", False, 14.0, 21.0, 0.0, Severity.CRITICAL, "{twin}: {value:.0f} {unit}", "Replace it"
)
S = 1_000_000_000


def of(feed, *kinds):
    found = []
    while (item := feed.poll()) is not None:
        if isinstance(item, kinds):
            found.append(item)
    return found


async def settled(service):
    await service.commits.drained()


def estimate(days: float, *, degraded: str = "") -> RulEstimate:
    health = ModelHealth.DEGRADED if degraded else ModelHealth.OK
    return RulEstimate(
        TwinId("p0"),
        days,
        days / 2,
        days * 2,
        Health.C,
        "Plan it",
        health,
        "v1",
        "baseline" if degraded else "onnx",
        degraded,
    )


async def test_an_alert_is_raised_over_the_threshold_and_cleared_at_the_lower_one(start, hand):
    service = await start(rules=[HIGH])
    feed = service.feed.subscribe(capacity=1000)
    t = time.time_ns()
    for n, pressure in enumerate((7.9, 8.0, 8.5, 7.0, 6.1, 9.0, 6.0, 5.0)):
        await hand.push(("p0", "pressure", pressure), at_ns=t + n)
        await settled(service)
    raised, cleared = of(feed, AlertRaised, AlertCleared)
    assert (raised.alert.value, raised.alert.threshold, raised.alert.unit) == (8.5, 8.0, "bar")
    assert raised.alert.message == "p0: 8.5 bar over 8.0"
    assert raised.alert.raised_ns == t + 2
    assert cleared.alert == replace(
        raised.alert, state=AlertState.CLEARED, cleared_ns=cleared.alert.cleared_ns, seq=cleared.seq
    )
    assert service.alerts.current() == []
    assert service.alerts.get(raised.alert.id) == cleared.alert


async def test_the_condition_must_hold_for_its_duration_without_a_break(start, hand):
    service = await start(rules=[replace(HIGH, for_s=3.0)])
    t = time.time_ns() - 100 * S
    for second, pressure in enumerate((9, 9, 5, 9, 9, 9)):
        await hand.push(("p0", "pressure", pressure), at_ns=t + second * S)
    assert service.alerts.current() == []
    await hand.push(("p0", "pressure", 9), at_ns=t + 6 * S)
    await settled(service)
    assert [a.raised_ns for a in service.alerts.current()] == [t + 3 * S]


async def test_a_value_that_stays_without_a_new_reading_raises_when_its_time_has_come(start, hand, until):
    service = await start(rules=[replace(HIGH, for_s=0.3)])
    await hand.push(("p0", "pressure", 9.0))
    assert service.alerts.current() == []
    await until(lambda: service.alerts.current(), "the alert is raised by the clock")


async def test_a_stale_twin_raises_nothing_by_the_clock(start, hand):
    service = await start(rules=[replace(HIGH, for_s=0.1)])
    await hand.push(("p0", "pressure", 9.0), ("p1", "pressure", 9.0))
    await hand.sink.report(SourceStatus("hand", "lost", 5, "gone"), [TwinId("p0")])
    await service.pipeline.ingest.drained()
    service.alerts.tick(time.time_ns() + S, service.staleness.is_stale)
    await settled(service)
    assert [a.twin for a in service.alerts.current()] == ["p1"]


@pytest.mark.parametrize("quality", [0x80000000, 0x40000000, 0x80310000])
async def test_values_that_are_not_good_neither_raise_nor_clear(start, hand, quality):
    service = await start(rules=[HIGH])
    t = time.time_ns()
    await hand.push(("p0", "pressure", 20.0), at_ns=t, quality=quality)
    await settled(service)
    assert service.alerts.current() == []
    await hand.push(("p0", "pressure", 20.0), at_ns=t + 1)
    await hand.push(("p0", "pressure", 1.0), at_ns=t + 2, quality=quality)
    await settled(service)
    assert len(service.alerts.current()) == 1


async def test_an_alert_is_in_the_store_before_anyone_hears_of_it(start, hand):
    service = await start(rules=[BURST])
    feed = service.feed.subscribe(capacity=1000)
    await hand.push(("p0", "pressure", 9.5))
    while not isinstance(item := await asyncio.wait_for(anext(feed), 5), AlertRaised):
        pass
    records = {(kind, key) for kind, key, _ in (await service.store.load()).records}
    assert ("alert", item.alert.id) in records
    assert service.alerts.get(item.alert.id) == item.alert
    opened = await asyncio.wait_for(anext(feed), 5)
    assert isinstance(opened, WorkOrderOpened)
    assert ("work_order", opened.order.id) in records
    assert opened.order.alert == item.alert.id


async def test_a_standing_alert_and_its_order_are_neither_forgotten_nor_repeated_by_a_restart(start, hand):
    service = await start(rules=[BURST])
    await hand.push(("p0", "pressure", 9.5))
    await settled(service)
    (alert,) = service.alerts.current()
    (order,) = service.work_orders.find()
    await service.stop()
    again = await start(rules=[BURST])
    feed = again.feed.subscribe(capacity=1000)
    assert again.alerts.current() == [alert]
    await hand.push(("p0", "pressure", 9.9))
    await settled(again)
    assert again.alerts.current() == [alert]
    assert [o.id for o in again.work_orders.find()] == [order.id]
    await hand.push(("p0", "pressure", 1.0))
    await settled(again)
    (cleared,) = of(feed, AlertRaised, AlertCleared)
    assert isinstance(cleared, AlertCleared)
    assert cleared.alert.id == alert.id


async def test_one_work_order_stands_open_for_a_twin_and_rule_until_it_is_closed(start, hand):
    service = await start(rules=[BURST])
    feed = service.feed.subscribe(capacity=1000)
    for pressure in (9.5, 1.0, 9.6, 1.0, 9.7):
        await hand.push(("p0", "pressure", pressure), ("p1", "pressure", pressure))
        await settled(service)
    assert len(service.alerts.find(twin="p0")) == 3
    assert [(o.twin, o.state) for o in service.work_orders.find(twin=TwinId("p0"))] == [("p0", WorkOrderState.OPEN)]
    (order,) = service.work_orders.find(twin=TwinId("p0"))
    assert (order.title, order.priority, order.rule) == ("Replace the seal", Severity.CRITICAL, "burst")
    assert {service.work_orders.of_alert(alert) for alert in service.alerts.find(twin="p0")} == {order}
    outcome = await service.orders.execute(CloseWorkOrder(order=order.id, principal="ann", failure_confirmed=True))
    closed = of(feed, WorkOrderClosed)
    assert [(s.seq, s.order.state, s.cause) for s in closed] == [
        (outcome.seq, WorkOrderState.CLOSED, "ann (failure confirmed)")
    ]
    assert (await service.orders.execute(CloseWorkOrder(order=order.id))).seq == outcome.seq
    await hand.push(("p0", "pressure", 1.0))
    await hand.push(("p0", "pressure", 9.8))
    await settled(service)
    assert [o.state for o in service.work_orders.find(twin=TwinId("p0"))] == [
        WorkOrderState.OPEN,
        WorkOrderState.CLOSED,
    ]


async def test_a_warning_opens_no_work_order(start, hand):
    service = await start(rules=[HIGH])
    await hand.push(("p0", "pressure", 9.5))
    await settled(service)
    assert service.alerts.current()
    assert not list(service.work_orders)


async def test_an_order_is_sent_to_maintenance_until_it_answers_with_its_number(start, hand, until, monkeypatch):
    class Flaky:
        def __init__(self) -> None:
            self.asked: list[str] = []

        async def open(self, order: WorkOrder) -> str:
            self.asked.append(order.id)
            if len(self.asked) < 3:
                raise Unavailable("maintenance is closed")
            return "SAP-1"

        async def close(self, order: WorkOrder) -> None:
            pass

    monkeypatch.setattr("twinloom.runtime.supervise.DELIVERY_RETRY_S", 0.02)
    maintenance = Flaky()
    service = await start(rules=[BURST], maintenance=maintenance)
    await hand.push(("p0", "pressure", 9.5))
    await until(lambda: [o.external_id for o in service.work_orders] == ["SAP-1"], "the number is kept")
    assert len(maintenance.asked) == 3
    assert len(set(maintenance.asked)) == 1
    await service.stop()
    again = await start(rules=[BURST], maintenance=maintenance)
    assert [o.external_id for o in again.work_orders] == ["SAP-1"]
    await settled(again)
    assert len(maintenance.asked) == 3


async def test_acknowledging_names_the_person_once_and_clears_nothing(start, hand):
    service = await start(rules=[HIGH])
    await hand.push(("p0", "pressure", 9.5))
    await settled(service)
    feed = service.feed.subscribe(capacity=1000)
    (alert,) = service.alerts.current()
    first = await service.orders.execute(AcknowledgeAlert(alert=alert.id, principal="ann"))
    second = await service.orders.execute(AcknowledgeAlert(alert=alert.id, principal="bob"))
    assert first.seq == second.seq
    (signal,) = of(feed, AlertAcknowledged)
    assert (signal.alert.state, signal.alert.acknowledged_by) == (AlertState.ACKNOWLEDGED, "ann")
    await hand.push(("p0", "pressure", 1.0))
    await settled(service)
    kept = service.alerts.get(alert.id)
    assert (kept.state, kept.acknowledged_by) == (AlertState.CLEARED, "ann")


async def test_rul_rules_judge_estimates_and_a_degraded_one_says_so(start):
    service = await start(rules=[WORN])
    feed = service.feed.subscribe(capacity=1000)
    await service.pipeline.scored([estimate(10.0, degraded="late: no answer in 1 s")])
    await settled(service)
    (raised,) = of(feed, AlertRaised)
    assert raised.alert.message == "p0: 10 d (degraded estimate by baseline: late: no answer in 1 s)"
    assert (raised.alert.path, raised.alert.unit) == ("rul_days", "day")
    (order,) = service.work_orders.find()
    assert order.recommendation == "Plan it"
    await service.pipeline.scored([estimate(20.0)])
    await settled(service)
    assert len(service.alerts.current()) == 1
    await service.pipeline.scored([estimate(21.0)])
    await settled(service)
    assert service.alerts.current() == []


async def test_the_alert_of_a_deleted_twin_is_cleared_and_a_new_twin_is_watched(start, hand, until):
    service = await start(rules=[HIGH])
    await hand.push(("p2", "pressure", 9.5))
    await settled(service)
    await service.orders.execute(DeleteTwin(id=TwinId("p2")))
    await until(lambda: not service.alerts.current(), "the alert is cleared")
    await service.orders.execute(CreateTwin(id=TwinId("p9"), model=PUMP))
    await hand.push(("p9", "pressure", 9.5))
    await until(lambda: [a.twin for a in service.alerts.current()] == ["p9"], "the new twin is watched")


async def test_twins_that_came_since_the_last_layout_are_folded_and_judged_by_the_next(start, hand, until):
    service = await start(rules=[HIGH], assignments=[Assignment(PUMP, CNC_SPINDLE)])
    service.alerts._lay_out_after_s = service.scorer._lay_out_after_s = float("inf")
    for n in range(400):
        await service.orders.execute(CreateTwin(id=TwinId(f"n{n}"), model=PUMP))
    await hand.push(*((f"n{n}", "pressure", 9.5) for n in range(400)))
    assert service.metrics.applied == 400
    assert service.alerts.current() == []
    service.alerts._lay_out_after_s = service.scorer._lay_out_after_s = 0.0
    await until(lambda: len(service.alerts.current()) == 400, "what they said meanwhile is judged")


async def test_a_rule_that_does_not_fit_stops_the_start_and_leaves_nothing_open(start):
    with pytest.raises(BadFile, match="pressure"):
        await start(rules=[replace(HIGH, value="presure", file="rules.yaml", place="/rules/0")])
    service = await start(rules=[HIGH])
    assert service.health().state == "ok"


# ---- the judge beside a plain one ----------------------------------------------------------------------------------


def pump_graph(n: int) -> HotGraph:
    document = {
        "@context": "dtmi:dtdl:context;3",
        "@id": PUMP,
        "@type": "Interface",
        "contents": [{"@type": "Telemetry", "name": "pressure", "schema": "double"}],
    }
    hot = HotGraph()
    hot.load(Snapshot((document,), [Twin(TwinId(f"p{k}"), PUMP) for k in range(n)]))
    return hot


class PlainJudge:
    """One value at a time, as a person would write it down."""

    def __init__(self, rule: BoundRule) -> None:
        self.rule, self.since, self.active = rule, None, False

    def value(self, value: float, time_ns: int, good: bool) -> tuple[bool, int] | None:
        if not good:
            return None
        sign = 1 if self.rule.rule.above else -1
        if self.active:
            if sign * value <= sign * self.rule.clear:
                self.active = False
                return (False, time_ns)
            return None
        if sign * value <= sign * self.rule.threshold:
            self.since = None
            return None
        self.since = time_ns if self.since is None else self.since
        if time_ns - self.since >= self.rule.rule.for_s * 1e9:
            since, self.since, self.active = self.since, None, True
            return (True, since)
        return None


RULES = [
    BoundRule(replace(HIGH, name=f"r{n}", above=above, threshold=th, clear=cl, for_s=hold), th, cl, "bar", "bar")
    for n, (above, th, cl, hold) in enumerate(
        [(True, 5.0, 5.0, 0.0), (True, 6.0, 3.0, 2.0), (False, 2.0, 4.0, 0.0), (False, 3.0, 3.0, 1.0)]
    )
]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8), st.booleans()), min_size=1, max_size=8), max_size=20
    )
)
def test_the_vectorised_judge_agrees_with_a_plain_one_on_every_stream(batches):
    hot = pump_graph(3)
    judge = Judge()
    judge.lay_out(hot, RULES, set())
    plain = {(b.rule.name, k): PlainJudge(b) for b in RULES for k in range(3)}
    slots = [hot.slot(hot.row(f"p{k}"), "pressure") for k in range(3)]
    rows = [hot.row(f"p{k}") for k in range(3)]
    now = 0
    for batch in batches:
        expected, times = [], []
        for k, value, good in batch:
            now += S // 2
            times.append(now)
            for b in RULES:
                verdict = plain[(b.rule.name, k)].value(float(value), now, good)
                if verdict is not None:
                    expected.append((b.rule.name, rows[k], *verdict, float(value)))
        found = judge.values(
            np.array([slots[k] for k, _, _ in batch], np.int32),
            np.array([value for _, value, _ in batch], np.float64),
            np.array(times, np.int64),
            np.array([0 if good else 0x80000000 for _, _, good in batch], np.uint32),
            now,
        )
        got = [(v.rule.rule.name, v.row, v.raised, v.time_ns, v.value) for v in found]
        by_instance = {}
        for name, row, *rest in expected:
            by_instance.setdefault((name, row), []).append(tuple(rest))
        got_by_instance = {}
        for name, row, *rest in got:
            got_by_instance.setdefault((name, row), []).append(tuple(rest))
        assert got_by_instance == by_instance


async def test_a_machines_own_alarm_is_one_alert_until_the_machine_lets_go(start):
    service = await start(rules=[])
    feed = service.feed.subscribe(capacity=1000)
    assert isinstance(service.pipeline, AlarmSink)
    alarm = MachineAlarm("plc", "door", TwinId("p0"), "DoorOpen", "guard door", Severity.CRITICAL, True, False, 1)
    for said in (alarm, replace(alarm, acknowledged=True), replace(alarm, twin=TwinId("nobody"))):
        await service.pipeline.alarm(said)
    await service.pipeline.alarm(replace(alarm, active=False))
    await service.pipeline.ingest.drained()
    await settled(service)
    raised, cleared = of(feed, AlertRaised, AlertCleared)
    assert (raised.alert.rule, raised.alert.message) == ("plc:door", "DoorOpen: guard door")
    assert raised.alert.severity is Severity.CRITICAL
    assert (cleared.alert.id, cleared.alert.state) == (raised.alert.id, AlertState.CLEARED)
