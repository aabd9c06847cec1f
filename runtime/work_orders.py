"""Work orders: one for a critical alert of a rule that asks for it, never two open for the same twin and rule.

The order's own record is written in the transaction of its alert, so neither exists without the other. Delivery to the
maintenance system goes through the `WorkOrders` port afterwards and is repeated until it answered with its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b

from twinloom.graph.store import DropRecord, PutRecord
from twinloom.runtime.commits import Numbers, Prepared
from twinloom.runtime.metrics import Metrics
from twinloom.runtime.outcome import Outcome
from twinloom.runtime.records import WORK_ORDER, document, record
from twinloom.runtime.rules import Rule
from twinloom.twin.assessments import Alert, Severity, WorkOrder, WorkOrderState
from twinloom.twin.errors import NotFound
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json
from twinloom.twin.signals import WorkOrderClosed, WorkOrderOpened

KEPT_CLOSED = 10_000


class LocalWorkOrders:
    """The maintenance system that is always there: the order's record in the graph store is the order.

    Its number is a function of the order's id, so opening twice gives one order.
    """

    async def open(self, order: WorkOrder) -> str:
        return f"WO-{order.id[:8].upper()}"

    async def close(self, order: WorkOrder) -> None:
        """Nothing more to do: the closed record is durable already."""


class WorkOrderBook:
    """All open work orders and the latest closed ones. Changed only by the commits that made it durable."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._orders: dict[str, WorkOrder] = {}
        self._open: dict[tuple[TwinId, str], str] = {}
        self._closed: dict[str, None] = {}
        self._closings: dict[str, WorkOrder] = {}
        self.on_change: Callable[[], None] = lambda: None

    def load(self, records: Iterable[tuple[str, Json]]) -> None:
        for _, stored in records:
            self._keep(record(WorkOrder, stored))

    def __len__(self) -> int:
        return len(self._orders)

    def __iter__(self) -> Iterator[WorkOrder]:
        return iter(self._orders.values())

    def get(self, id: str) -> WorkOrder | None:
        return self._orders.get(id)

    def open_for(self, twin: TwinId, rule: str) -> WorkOrder | None:
        """The order that stands open for this twin and rule."""
        id = self._open.get((twin, rule))
        return self._orders[id] if id is not None else None

    def find(
        self, *, twin: TwinId | None = None, rule: str | None = None, states: Iterable[WorkOrderState] | None = None
    ) -> list[WorkOrder]:
        """Orders that fit all that is given, latest first."""
        wanted = frozenset(states) if states is not None else None
        found = [
            order
            for order in self._orders.values()
            if (twin is None or order.twin == twin)
            and (rule is None or order.rule == rule)
            and (wanted is None or order.state in wanted)
        ]
        return sorted(found, key=lambda o: (-o.opened_ns, o.id))

    def of_alert(self, alert: Alert) -> WorkOrder | None:
        """The order that the alert opened, or the one that stood open for the same cause when it was raised."""
        own = next((o for o in self._orders.values() if o.alert == alert.id), None)
        standing = self.open_for(alert.twin, alert.rule)
        if own is None and standing is not None and standing.opened_ns <= alert.raised_ns:
            return standing
        return own

    def undelivered(self) -> list[WorkOrder]:
        """Orders that the maintenance system must still hear of: open ones without its number, then closed ones."""
        orders = (self._orders[id] for id in self._open.values())
        opened = sorted((o for o in orders if not o.external_id), key=lambda o: o.opened_ns)
        return [*opened, *self._closings.values()]

    def told(self, id: str) -> None:
        """The maintenance system took the closing of an order."""
        self._closings.pop(id, None)

    def follow(self, alert: Alert, rule: Rule, recommendation: str, numbers: Numbers, now_ns: int) -> Prepared | None:
        """The work order that a just raised alert asks for, or None when it asks for none or one stands open."""
        if not rule.work_order or alert.severity is not Severity.CRITICAL:
            return None
        if self.open_for(alert.twin, rule.name) is not None:
            return None
        seq = numbers.take()
        order = WorkOrder(
            id=blake2b(f"{alert.id}/{rule.name}".encode(), digest_size=8).hexdigest(),
            twin=alert.twin,
            rule=rule.name,
            alert=alert.id,
            title=rule.work_order,
            recommendation=recommendation,
            priority=alert.severity,
            state=WorkOrderState.OPEN,
            opened_ns=now_ns,
            seq=seq,
        )
        return self._put(order, "opened", WorkOrderOpened(seq=seq, time_ns=now_ns, cause=rule.name, order=order))

    def close(self, id: str, cause: str, numbers: Numbers, now_ns: int) -> Prepared:
        """Closes an order; one that is closed already stays as it is. Raises NotFound."""
        order = self._orders.get(id)
        if order is None:
            raise NotFound(f"there is no work order {id!r}", remedy="list them with workOrders")
        if order.state is WorkOrderState.CLOSED:
            return Prepared(Outcome(seq=order.seq, twin=order.twin, work_order=id))
        seq = numbers.take()
        order = replace(order, state=WorkOrderState.CLOSED, closed_ns=now_ns, seq=seq)
        return self._put(order, "closed", WorkOrderClosed(seq=seq, time_ns=now_ns, cause=cause, order=order))

    def delivered(self, id: str, external_id: str) -> Prepared:
        """The maintenance system's number, to be kept with the order."""
        order = self._orders.get(id)
        if order is None or order.external_id:
            return Prepared(Outcome(seq=0))
        order = replace(order, external_id=external_id)
        change = PutRecord(WORK_ORDER, order.id, document(order))
        return Prepared(Outcome(seq=order.seq, work_order=id), (change,), (), lambda: self._keep(order))

    def _put(self, order: WorkOrder, event: str, signal: WorkOrderOpened | WorkOrderClosed) -> Prepared:
        changes: list[PutRecord | DropRecord] = [PutRecord(WORK_ORDER, order.id, document(order))]
        oldest = next(iter(self._closed), None) if len(self._closed) >= KEPT_CLOSED else None
        if oldest is not None:
            changes.append(DropRecord(WORK_ORDER, oldest))

        def applied() -> None:
            if oldest is not None:
                self._closed.pop(oldest, None)
                self._orders.pop(oldest, None)
            self._keep(order)
            if order.state is WorkOrderState.CLOSED and order.external_id:
                self._closings[order.id] = order
            self._metrics.count_work_order(event)
            self.on_change()

        outcome = Outcome(seq=order.seq, twin=order.twin, alert=order.alert, work_order=order.id)
        return Prepared(outcome, tuple(changes), (signal,), applied)

    def _keep(self, order: WorkOrder) -> None:
        self._orders[order.id] = order
        key = (order.twin, order.rule)
        if order.state is WorkOrderState.CLOSED:
            self._closed[order.id] = None
            if self._open.get(key) == order.id:
                del self._open[key]
        else:
            self._open[key] = order.id
        self._metrics.work_orders_open.set(len(self._open))
