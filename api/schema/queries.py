"""The query root."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from twinloom.api.context import Context, Info
from twinloom.api.schema.aggregates import TwinGroup, groups_of
from twinloom.api.schema.assessments import Alert, AlertRule, WorkOrder
from twinloom.api.schema.connections import (
    Connection,
    Page,
    decode_cursor,
    encode_cursor,
    fingerprint,
    keyset,
    page_size,
)
from twinloom.api.schema.described import described
from twinloom.api.schema.filters import AlertFilter, TwinFilter, TwinOrder, WorkOrderFilter
from twinloom.api.schema.history import History
from twinloom.api.schema.identity import key_of
from twinloom.api.schema.info import ServiceInfo, ServiceLimits, limits_of
from twinloom.api.schema.models import Model, Node
from twinloom.api.schema.recall import history_of
from twinloom.api.schema.scalars import DateTime, Json, Long, Quality
from twinloom.api.schema.selection import page_of_twins, twin_at
from twinloom.api.schema.twins import Relationship, Twin
from twinloom.runtime.rules import Rule
from twinloom.twin import assessments as domain
from twinloom.twin.errors import BadRequest, LimitExceeded
from twinloom.twin.ids import ModelId, TwinId


@strawberry.type
class Query:
    @described("Any node by its global id; null when it is gone.")
    def node(self, info: Info, id: strawberry.ID) -> Node | None:
        return node_of(info.context, id)

    @strawberry.field
    def nodes(self, info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
        limit = info.context.services.limits.page
        if len(ids) > limit:
            raise LimitExceeded(f"{len(ids)} ids are more than {limit}", remedy=f"ask for at most {limit} at once")
        return [node_of(info.context, id) for id in ids]

    @described("A twin by its id; null when there is none. `minSeq` waits until that seq is reached.")
    def twin(self, info: Info, id: str, min_seq: Long | None = None) -> Twin | None:
        row = info.context.row(id)
        return None if row is None else twin_at(info.context, row)

    @strawberry.field
    def twins(
        self,
        info: Info,
        filter: TwinFilter | None = None,
        order_by: list[TwinOrder] | None = None,
        first: int | None = 25,
        after: str | None = None,
        min_seq: Long | None = None,
    ) -> Connection[Twin]:
        return Connection(page=page_of_twins(info.context, filter, order_by, first, after))

    @described("Count, min, max, avg, sum and percentiles of the values at `of`, over the twins that match, in groups.")
    def aggregate_twins(
        self,
        info: Info,
        filter: TwinFilter | None = None,
        of: list[str] | None = None,
        group_by: list[str] | None = None,
        unit: str | None = None,
        quality: list[Quality] | None = None,
        min_seq: Long | None = None,
    ) -> list[TwinGroup]:
        return groups_of(info.context, filter, of or [], group_by or [], unit, quality)

    @described("A model by its DTMI or global id.")
    def model(self, info: Info, id: str) -> Model | None:
        interface = info.context.hot.models.get(ModelId(model_id_of(id)))
        return Model(interface=interface) if interface else None

    @strawberry.field
    def models(self, info: Info, first: int | None = 25, after: str | None = None) -> Connection[Model]:
        models = info.context.hot.models
        size = page_size(first, 25, info.context.services.limits.page)
        page = keyset(
            sorted(models),
            first=size,
            after=after,
            bound=fingerprint("models"),
            node=lambda id: Model(interface=models.interface(id)),
        )
        return Connection(page=page)

    @described("The stored values of one path of a twin: points, or buckets of `bucketMs`.")
    async def history(
        self,
        info: Info,
        twin: str,
        path: str,
        from_: Annotated[DateTime | None, strawberry.argument(name="from")] = None,
        to: DateTime | None = None,
        bucket_ms: Long | None = None,
        first: int | None = None,
        unit: str | None = None,
        percentiles: list[float] | None = None,
    ) -> History:
        twin_id = info.context.twin_id(twin)
        return await history_of(info.context, twin_id, path, from_, to, bucket_ms, first, unit, percentiles)

    @described("Alerts, newest first.")
    def alerts(
        self, info: Info, filter: AlertFilter | None = None, first: int | None = 25, after: str | None = None
    ) -> Connection[Alert]:
        context: Context = info.context
        matches = alert_matcher(context, filter)
        found = [alert for alert in context.alerts() if matches(alert)]
        return Connection(
            page=_newest_first(
                context,
                [(alert.raised_ns, alert.id, alert) for alert in found],
                first,
                after,
                fingerprint("alerts", filter),
                lambda alert: Alert(of=alert),
            )
        )

    @strawberry.field
    def alert(self, info: Info, id: str) -> Alert | None:
        found = info.context.alert(_key("Alert", id))
        return Alert(of=found) if found else None

    @described("Work orders, newest first.")
    def work_orders(
        self, info: Info, filter: WorkOrderFilter | None = None, first: int | None = 25, after: str | None = None
    ) -> Connection[WorkOrder]:
        context: Context = info.context
        below = None if filter is None or filter.subtree_of is None else subtree_ids(context, filter.subtree_of)
        twin = None if filter is None or filter.twin is None else context.twin_id(filter.twin)
        found = [
            order
            for order in context.work_orders()
            if filter is None
            or (
                (filter.state is None or order.state in filter.state)
                and (filter.priority is None or order.priority in filter.priority)
                and (twin is None or order.twin == twin)
                and (below is None or order.twin in below)
            )
        ]
        return Connection(
            page=_newest_first(
                context,
                [(order.opened_ns, order.id, order) for order in found],
                first,
                after,
                fingerprint("workOrders", filter),
                lambda order: WorkOrder(of=order),
            )
        )

    @strawberry.field
    def alert_rules(self, info: Info) -> list[AlertRule]:
        return [rule_view(info.context, rule) for rule in info.context.service.alerts.rules]

    @strawberry.field
    def service_info(self, info: Info) -> ServiceInfo:
        return ServiceInfo()

    @strawberry.field
    def service_limits(self, info: Info) -> ServiceLimits:  # type: ignore[valid-type]
        return limits_of(info.context)


def node_of(context: Context, identity: str) -> Node | None:
    """The node behind a global id. Raises BadRequest when it is no id of this API."""
    kind, key = key_of(identity)
    if kind == "Twin":
        row = context.hot.row(key)
        return None if row is None else cast(Node, twin_at(context, row))
    if kind == "Model":
        interface = context.hot.models.get(ModelId(key))
        return Model(interface=interface) if interface else None
    if kind == "Relationship":
        source, _, edge_id = key.partition("\n")
        edge = context.hot.relationship(source, edge_id)
        return Relationship(edge=edge) if edge else None
    if kind == "Alert":
        alert = context.alert(key)
        return Alert(of=alert) if alert else None
    if kind == "WorkOrder":
        order = context.work_order(key)
        return WorkOrder(of=order) if order else None
    raise BadRequest(f"{identity[:80]!r} is not an id of this API", remedy="use the `id` of a node that was read")


def model_id_of(identity: str) -> str:
    """A DTMI, given the DTMI or the model's global id."""
    return identity if identity.startswith("dtmi:") else _key("Model", identity)


def _key(kind: str, identity: str) -> str:
    """The key behind a global id of that kind; an identity that is none stands for itself."""
    try:
        found, key = key_of(identity)
    except BadRequest:
        return identity
    return key if found == kind else identity


def alert_key(identity: str) -> str:
    return _key("Alert", identity)


def order_key(identity: str) -> str:
    return _key("WorkOrder", identity)


def subtree_ids(context: Context, identity: str) -> frozenset[TwinId]:
    """Twin ids of a twin and all that it contains."""
    hot = context.hot
    return frozenset(hot.id_of(int(row)) for row in hot.subtree(context.row_of(identity), "contains"))


def alert_matcher(context: Context, filter: AlertFilter | None):  # type: ignore[no-untyped-def]
    """A predicate over alerts."""
    if filter is None:
        return lambda alert: True
    states = None if filter.state is None else frozenset(filter.state)
    severities = None if filter.severity is None else frozenset(filter.severity)
    rules = None if filter.rule is None else frozenset(filter.rule)
    twin = None if filter.twin is None else context.twin_id(filter.twin)
    below = None if filter.subtree_of is None else subtree_ids(context, filter.subtree_of)

    def matches(alert: domain.Alert) -> bool:
        return (
            (states is None or alert.state in states)
            and (severities is None or alert.severity in severities)
            and (rules is None or alert.rule in rules)
            and (twin is None or alert.twin == twin)
            and (below is None or alert.twin in below)
        )

    return matches


def _newest_first(context: Context, found, first, after, bound, view) -> Page:  # type: ignore[no-untyped-def]
    size = page_size(first, 25, context.services.limits.page)
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    start = 0
    if after is not None:
        key = decode_cursor(after, bound)
        if not isinstance(key, list) or len(key) != 2:
            raise BadRequest("`after` is not a cursor of this list", remedy="use an endCursor that was read")
        last = (-key[0], key[1])
        while start < len(found) and (-found[start][0], found[start][1]) <= last:
            start += 1
    chosen = found[start : start + size]
    return Page(
        keys=chosen,
        node=lambda entry: view(entry[2]),
        cursor=lambda entry: encode_cursor(bound, Json([entry[0], entry[1]])),
        total=lambda: len(found),
        has_next=start + len(chosen) < len(found),
        has_previous=start > 0,
    )


def rule_view(context: Context, rule: Rule) -> AlertRule:
    """A rule of the alert book."""
    return AlertRule(
        name=rule.name,
        model=rule.model,
        value=rule.value,
        above=rule.threshold if rule.above else None,
        below=None if rule.above else rule.threshold,
        clear=rule.clear,
        for_s=rule.for_s,
        severity=rule.severity,
        message=rule.message,
        work_order=rule.work_order or None,
        unit=rule.unit or _rule_unit(context, rule.model, rule.value),
    )


def _rule_unit(context: Context, model: str, path: str) -> str:
    if path == "rul_days":
        return "day"
    models = context.hot.models
    field = models.fields(ModelId(model)).get(path) if model in models else None
    return (field.unit or "") if field else ""
