"""Alerts after ISA-18.2: raised, acknowledged, cleared; judged over whole columns, durable before they are published.

`Judge` compares the values of a micro-batch with every rule at once and remembers since when each condition holds.
`AlertBook` keeps the alerts themselves, turns the judge's verdicts into commits and survives restarts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import Change, DropRecord, PutRecord
from twinloom.runtime.commits import Commits, Numbers, Prepared, two
from twinloom.runtime.estimates import EstimateBook
from twinloom.runtime.judge import Judge, Verdict
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.records import ALERT, document, record
from twinloom.runtime.rules import RUL_DAYS, BoundRule, Rule, bind
from twinloom.runtime.work_orders import WorkOrderBook
from twinloom.twin.assessments import Alert, AlertState, ModelHealth, RulEstimate, Severity
from twinloom.twin.errors import NotFound
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json
from twinloom.twin.ports import Clock, MachineAlarm
from twinloom.twin.readings import Codes, Floats, Slots, Times
from twinloom.twin.signals import AlertAcknowledged, AlertCleared, AlertRaised, AnySignal

log = logging.getLogger(__name__)

KEPT_CLEARED = 10_000
MODEL_HEALTH = "model_health"
OWN_RULES = frozenset((MODEL_HEALTH,))


class AlertBook:
    """All standing alerts and the latest cleared ones; `judge` is called by the pipeline for every micro-batch."""

    def __init__(
        self,
        rules: Sequence[Rule],
        hot: HotGraph,
        estimates: EstimateBook,
        work_orders: WorkOrderBook,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._rules = tuple(rules)
        self._bound: dict[str, BoundRule] = {}
        self._hot = hot
        self._estimates = estimates
        self._work_orders = work_orders
        self._metrics = metrics
        self._alerts: dict[str, Alert] = {}
        self._standing: dict[tuple[str, TwinId], str] = {}
        self._cleared: dict[str, None] = {}
        self._by_twin: dict[TwinId, dict[str, None]] = {}
        self._judge = Judge()
        self._layout = -1
        self._started_ns = 0
        self._lay_out_after_s = 0.0
        self._commits: Commits | None = None

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self._rules

    def bound(self, rule: str) -> BoundRule | None:
        """A rule with its thresholds in the model's unit."""
        return self._bound.get(rule)

    def load(self, records: Iterable[tuple[str, Json]]) -> None:
        """Takes over what an earlier process made durable: what stands is not raised again."""
        for _, stored in records:
            self._keep(record(Alert, stored))

    def start(self, commits: Commits) -> None:
        """Checks the rules against the models of the hot graph; raises BadFile for one that cannot be."""
        self._bound = {b.rule.name: b for b in bind(self._rules, self._hot.models)}
        self._commits = commits
        self._follow_layout()

    # reading

    def __len__(self) -> int:
        return len(self._alerts)

    def __iter__(self) -> Iterator[Alert]:
        return iter(self._alerts.values())

    def get(self, id: str) -> Alert | None:
        return self._alerts.get(id)

    def current(self) -> list[Alert]:
        """Standing alerts, worst and latest first."""
        return sorted((self._alerts[id] for id in self._standing.values()), key=_worst_first)

    def of_twin(self, twin: str) -> list[Alert]:
        """Every kept alert of one twin, standing or cleared, worst and latest first."""
        return sorted((self._alerts[id] for id in self._by_twin.get(TwinId(twin), ())), key=_worst_first)

    def find(
        self,
        *,
        twin: str | None = None,
        rule: str | None = None,
        states: Iterable[AlertState] | None = None,
        severities: Iterable[Severity] | None = None,
    ) -> list[Alert]:
        """Alerts that fit all that is given, worst and latest first."""
        wanted = frozenset(states) if states is not None else None
        grades = frozenset(severities) if severities is not None else None
        alerts = self._alerts.values() if twin is None else self.of_twin(twin)
        found = (
            alert
            for alert in alerts
            if (rule is None or alert.rule == rule)
            and (wanted is None or alert.state in wanted)
            and (grades is None or alert.severity in grades)
        )
        return sorted(found, key=_worst_first)

    # judging

    def judge(self, slots: Slots, values: Floats, source_times_ns: Times, quality: Codes, received_ns: int) -> None:
        """Compares applied values (columns of equal length) with the rules; what changes goes to the commits."""
        self._follow_layout()
        self._follow(self._judge.values(slots, values, source_times_ns, quality, received_ns))

    def judge_estimates(self, estimates: Sequence[RulEstimate], now_ns: int) -> None:
        """Compares estimates with the `rul_days` rules. A missing estimate clears nothing."""
        self._follow_layout()
        rows = [(row, e) for e in estimates if (row := self._hot.row(e.twin)) is not None]
        self._follow(self._judge.estimates([(row, e.rul_days, e.source_time_ns or now_ns) for row, e in rows], now_ns))

    def tick(self, now_ns: int, stale: Callable[[TwinId], bool]) -> None:
        """Raises what has held long enough though no new value came; a stale twin's condition proves nothing."""
        self._follow_layout()
        self._follow(self._judge.tick(now_ns, lambda row: stale(self._hot.id_of(row))))

    def hold(self, rule: str, twin: TwinId, severity: Severity, message: str, path: str, value: float) -> bool:
        """Raises an alert that no rule of the plant is behind, unless it stands. False when the queue is full."""
        assert self._commits is not None
        if (rule, twin) in self._standing or twin not in self._hot:
            return True

        def prepare(numbers: Numbers, now_ns: int) -> Prepared:
            if (rule, twin) in self._standing or twin not in self._hot:
                return Prepared(Outcome(seq=0))
            seq = numbers.take()
            id = blake2b(f"{rule}/{twin}/{now_ns}".encode(), digest_size=8).hexdigest()
            state = AlertState.RAISED
            alert = Alert(id, rule, twin, severity, state, message, path, value, 0.0, "", raised_ns=now_ns, seq=seq)
            return self._put(alert, AlertRaised(seq=seq, time_ns=now_ns, cause=rule, alert=alert))

        return self._commits.enqueue(rule, frozenset((f"rule:{rule}:{twin}",)), prepare)

    def release(self, rule: str, twin: TwinId) -> bool:
        """Clears what `hold` raised. False when the queue is full."""
        assert self._commits is not None
        if (rule, twin) not in self._standing:
            return True
        touches = frozenset((f"rule:{rule}:{twin}",))
        return self._commits.enqueue(rule, touches, partial(self._prepare_clear, rule, twin))

    def follow_machine(self, alarm: MachineAlarm) -> None:
        """A machine's own alarm becomes an alert of the rule `source:key`, and clears with the machine's condition.

        An alarm of no known twin has nothing to be an alert of: it is counted with those put off.
        """
        rule = f"{alarm.source}:{alarm.key}"
        assert self._commits is not None
        if alarm.twin not in self._hot:
            done = False
        elif alarm.active:
            done = self.hold(rule, alarm.twin, alarm.severity, f"{alarm.name}: {alarm.message}", alarm.name, 1.0)
        else:
            # Not `release`: the raise may still be on its way to the store, and the clear must follow it there.
            touches = frozenset((f"rule:{rule}:{alarm.twin}",))
            done = self._commits.enqueue(rule, touches, partial(self._prepare_clear, rule, alarm.twin))
        if not done:
            self._metrics.alerts_deferred.inc()

    # orders

    def acknowledge(self, id: str, principal: str, numbers: Numbers, now_ns: int) -> Prepared:
        """Marks an alert as seen by a person; one that is acknowledged stays as it is. Raises NotFound."""
        alert = self._alerts.get(id)
        if alert is None:
            raise NotFound(f"there is no alert {id!r}", remedy="list them with alerts")
        if alert.acknowledged_ns:
            return Prepared(Outcome(seq=alert.seq, twin=alert.twin, alert=id))
        seq = numbers.take()
        state = AlertState.ACKNOWLEDGED if alert.state is AlertState.RAISED else alert.state
        alert = replace(alert, state=state, acknowledged_ns=now_ns, acknowledged_by=principal, seq=seq)
        return self._put(alert, AlertAcknowledged(seq=seq, time_ns=now_ns, cause=principal, alert=alert))

    # from a verdict to a commit

    def _follow(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            twin = self._hot.id_of(verdict.row)
            if not self._send(verdict, twin):
                # The queue is full: the judge forgets the verdict and comes to it again with the next value.
                self._judge.forget(verdict)
                self._metrics.alerts_deferred.inc()

    def _send(self, verdict: Verdict, twin: TwinId) -> bool:
        assert self._commits is not None
        rule = verdict.rule.rule
        touches = frozenset((f"rule:{rule.name}:{twin}",))
        cause = f"rule {rule.name}"
        if verdict.raised:
            return self._commits.enqueue(cause, touches, partial(self._prepare_raise, verdict, twin), signals=two)
        return self._commits.enqueue(cause, touches, partial(self._prepare_clear, rule.name, twin))

    def _prepare_raise(self, verdict: Verdict, twin: TwinId, numbers: Numbers, now_ns: int) -> Prepared:
        bound = verdict.rule
        rule = bound.rule
        if (rule.name, twin) in self._standing or self._hot.row(twin) is None:
            return Prepared(Outcome(seq=0))
        message = bound.text(twin, verdict.value)
        recommendation = rule.work_order
        if rule.value == RUL_DAYS:
            estimate = self._estimates.latest(twin)
            if estimate is not None:
                recommendation = estimate.recommendation or recommendation
                if estimate.model_health is ModelHealth.DEGRADED:
                    message += f" (degraded estimate by {estimate.method}: {estimate.reason or 'no reason given'})"
        seq = numbers.take()
        alert = Alert(
            id=blake2b(f"{rule.name}/{twin}/{now_ns}".encode(), digest_size=8).hexdigest(),
            rule=rule.name,
            twin=twin,
            severity=rule.severity,
            state=AlertState.RAISED,
            message=message,
            path=rule.value,
            value=verdict.value,
            threshold=bound.threshold,
            unit=bound.unit,
            raised_ns=verdict.time_ns,
            seq=seq,
        )
        raised = self._put(alert, AlertRaised(seq=seq, time_ns=now_ns, cause=rule.name, alert=alert))
        order = self._work_orders.follow(alert, rule, recommendation, numbers, now_ns)
        return raised if order is None else _both(raised, order)

    def _prepare_clear(self, rule: str, twin: TwinId, numbers: Numbers, now_ns: int) -> Prepared:
        id = self._standing.get((rule, twin))
        if id is None:
            return Prepared(Outcome(seq=0))
        seq = numbers.take()
        alert = replace(self._alerts[id], state=AlertState.CLEARED, cleared_ns=now_ns, seq=seq)
        return self._put(alert, AlertCleared(seq=seq, time_ns=now_ns, cause=rule, alert=alert))

    def _put(self, alert: Alert, signal: AlertRaised | AlertAcknowledged | AlertCleared) -> Prepared:
        changes: list[Change] = [PutRecord(ALERT, alert.id, document(alert))]
        oldest = next(iter(self._cleared), None) if len(self._cleared) >= KEPT_CLEARED else None
        if oldest is not None:
            changes.append(DropRecord(ALERT, oldest))
        event = type(signal).__name__.removeprefix("Alert").lower()

        def applied() -> None:
            if oldest is not None:
                self._forget(oldest)
            self._keep(alert)
            self._metrics.count_alert(event)

        return Prepared(Outcome(seq=alert.seq, twin=alert.twin, alert=alert.id), tuple(changes), (signal,), applied)

    def _keep(self, alert: Alert) -> None:
        self._alerts[alert.id] = alert
        self._by_twin.setdefault(alert.twin, {})[alert.id] = None
        key = (alert.rule, alert.twin)
        if alert.state is AlertState.CLEARED:
            self._cleared[alert.id] = None
            if self._standing.get(key) == alert.id:
                del self._standing[key]
        else:
            self._standing[key] = alert.id
        self._metrics.alerts_standing.set(len(self._standing))

    def _forget(self, id: str) -> None:
        self._cleared.pop(id, None)
        alert = self._alerts.pop(id, None)
        if alert is not None:
            self._by_twin[alert.twin].pop(id, None)

    def _follow_layout(self) -> None:
        """Twins came or went: what the rules watch is laid out anew, and alerts of what is gone are cleared."""
        if self._layout == self._hot.layout_version:
            return
        if self._clock.monotonic_s() < self._lay_out_after_s:
            self._judge.cover(len(self._hot.owner))
            return
        started_s, first = self._clock.monotonic_s(), self._layout < 0
        if first:
            self._started_ns = self._clock.now_ns()
        self._layout = self._hot.layout_version
        standing = {(rule, row) for rule, twin in self._standing if (row := self._hot.row(twin)) is not None}
        verdicts = self._judge.lay_out(self._hot, list(self._bound.values()), standing, self._started_ns)
        # In a large plant this takes long enough to be done at most a twentieth of the time.
        self._lay_out_after_s = self._clock.monotonic_s() + 19 * (self._clock.monotonic_s() - started_s)
        self._follow(verdicts)
        for rule, twin in list(self._standing):
            bound = self._bound.get(rule)
            row = self._hot.row(twin)
            if rule in OWN_RULES and row is not None:
                continue
            if bound is None or row is None or not self._hot.models.is_a(self._hot.model_of(row), bound.rule.model):
                assert self._commits is not None
                touches = frozenset((f"rule:{rule}:{twin}",))
                self._commits.enqueue(f"rule {rule} is gone", touches, partial(self._prepare_clear, rule, twin))


def _worst_first(alert: Alert) -> tuple[int, int, str]:
    grade = (Severity.CRITICAL, Severity.WARNING, Severity.INFO).index(alert.severity)
    return grade, -alert.raised_ns, alert.id


def _both(first: Prepared, second: Prepared) -> Prepared:
    def applied() -> None:
        for prepared in (first, second):
            if prepared.applied is not None:
                prepared.applied()

    signals: tuple[AnySignal, ...] = (*first.signals, *second.signals)
    return Prepared(first.outcome, (*first.changes, *second.changes), signals, applied)
