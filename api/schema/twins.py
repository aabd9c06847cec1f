"""Twins, their values and their relationships, read from the hot graph. A `Twin` here is a handle: row and id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import strawberry

from twinloom.api.context import Context, Info
from twinloom.api.schema import traversal
from twinloom.api.schema.connections import Connection, Page, page_size
from twinloom.api.schema.described import described
from twinloom.api.schema.filters import TwinFilter
from twinloom.api.schema.history import History
from twinloom.api.schema.identity import global_id
from twinloom.api.schema.models import Model, Node
from twinloom.api.schema.scalars import QUALITIES, AlertState, DateTime, Direction, HealthZone, Json, Long, Quality
from twinloom.api.schema.selection import page_of_rows, twin_at
from twinloom.twin import units
from twinloom.twin.errors import BadRequest, NotFound
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import PropertyValue as Reading
from twinloom.twin.instance import Relationship as Edge

if TYPE_CHECKING:
    from twinloom.api.schema.assessments import Alert, RulEstimate, WorkOrder

BAD_WAITING_FOR_INITIAL_DATA = 0x80320000
NEVER_SET = Reading(None, 0, 0, BAD_WAITING_FOR_INITIAL_DATA, 0)


@strawberry.type(description="A value with where it came from: quality, times, and the seq it was committed with.")
class PropertyValue:
    path: str
    unit: str = strawberry.field(description="Of `value`; empty when the model names none.")
    reading: strawberry.Private[Reading]
    is_stale: strawberry.Private[bool]
    convert: strawberry.Private[Callable[[float], float] | None] = None

    @strawberry.field
    def value(self) -> Json | None:
        value = self.reading.value
        if value is None:
            return None
        if self.convert is None:
            return Json(value)
        return Json(self.convert(value))

    @described("The value as a number; null when it is none.")
    def number(self) -> float | None:
        value = self.reading.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if self.convert is None else self.convert(value)

    @described("The unit for people: `°C`, `mm/s`.")
    def symbol(self) -> str:
        return units.symbol(self.unit) if self.unit else ""

    @strawberry.field
    def quality(self) -> Quality:
        return QUALITIES[self.reading.quality >> 30]

    @described("The OPC UA StatusCode as it arrived.")
    def status_code(self) -> Long:
        return Long(self.reading.quality)

    @described("When the value was true, by the clock of its source.")
    def source_time(self) -> DateTime | None:
        return DateTime(self.reading.source_time_ns) if self.reading.source_time_ns else None

    @described("When it reached this server.")
    def received_time(self) -> DateTime | None:
        return DateTime(self.reading.received_ns) if self.reading.received_ns else None

    @strawberry.field
    def seq(self) -> Long:
        return Long(self.reading.seq)

    @described("True while its source is not live.")
    def stale(self) -> bool:
        return self.is_stale


@strawberry.type(description="A directed, named edge between two twins.")
class Relationship(Node):
    edge: strawberry.Private[Edge]

    @described("Opaque and global.")
    def id(self) -> strawberry.ID:
        return strawberry.ID(global_id("Relationship", f"{self.edge.source}\n{self.edge.id}"))

    @described("Unique among the relationships of its source.")
    def relationship_id(self) -> str:
        return self.edge.id

    @strawberry.field
    def name(self) -> str:
        return self.edge.name

    @strawberry.field
    def source(self, info: Info) -> Twin:
        return twin_of(info.context, self.edge.source)

    @strawberry.field
    def target(self, info: Info) -> Twin:
        return twin_of(info.context, self.edge.target)

    @strawberry.field
    def properties(self) -> Json:
        return Json(dict(self.edge.properties))

    @strawberry.field
    def etag(self) -> str:
        return self.edge.etag

    @strawberry.field
    def seq(self) -> Long:
        return Long(self.edge.seq)


@strawberry.type(description="A twin: what it is, what it does now, how it is joined to others.")
class Twin(Node):
    row: strawberry.Private[int]
    twin_id: strawberry.Private[TwinId]

    @described("Opaque and global.")
    def id(self) -> strawberry.ID:
        return strawberry.ID(global_id("Twin", self.twin_id))

    @described("The id that its creator gave it.")
    def dt_id(self) -> str:
        return self.twin_id

    @described("The DTMI of its model.")
    def model_id(self, info: Info) -> str:
        return info.context.hot.model_of(self.live(info.context))  # type: ignore[no-any-return]

    @strawberry.field
    def model(self, info: Info) -> Model | None:
        context: Context = info.context
        interface = context.hot.models.get(context.hot.model_of(self.live(context)))
        return Model(interface=interface) if interface else None

    @described("Its property `name`, where its model has one.")
    def name(self, info: Info) -> str | None:
        name = info.context.hot.value(self.live(info.context), "name")
        return name if isinstance(name, str) else None

    @described("Changes with each structural write; give it as expectedEtag.")
    def etag(self, info: Info) -> str:
        return info.context.hot.etag(self.live(info.context))  # type: ignore[no-any-return]

    @described("The seq of the last change of anything of it, telemetry included.")
    def seq(self, info: Info) -> Long:
        return Long(info.context.hot.twin_seq(self.live(info.context)))

    @strawberry.field
    def created_at(self, info: Info) -> DateTime:
        return DateTime(info.context.hot.created_ns(self.live(info.context)))

    @described("When its properties were last written (telemetry does not count).")
    def updated_at(self, info: Info) -> DateTime:
        return DateTime(info.context.hot.updated_ns(self.live(info.context)))

    @described("Its values as nested JSON, last telemetry included. `paths` picks some, by dotted path.")
    def properties(self, info: Info, paths: list[str] | None = None) -> Json:
        return Json(properties_of(info.context, self.live(info.context), paths))

    @described("One value by dotted path, in `unit` when that is given; null when it was never set.")
    def value(self, info: Info, path: str, unit: str | None = None) -> Json | None:
        return Json(value_of(info.context, self.live(info.context), path, unit))

    @described("One value with quality, times and seq; null when its model has no such path.")
    def property(self, info: Info, path: str, unit: str | None = None) -> PropertyValue | None:
        return property_of(info.context, self.live(info.context), path, unit)

    @described("Every value that is set, or those at `paths`, each with quality, times and seq.")
    def values(self, info: Info, paths: list[str] | None = None) -> list[PropertyValue]:
        return values_of(info.context, self.live(info.context), paths)

    @strawberry.field
    def relationships(
        self,
        info: Info,
        name: str | None = None,
        direction: Direction = Direction.OUTGOING,
        first: int | None = 25,
        after: str | None = None,
    ) -> Connection[Relationship]:
        context: Context = info.context
        size = page_size(first, 25, context.services.limits.page)
        edges = traversal.edges(context.hot, self.live(context), name, direction)
        page = traversal.edge_page(edges, first=size, after=after, bound=("edges", self.twin_id, name, direction.value))
        return Connection(
            page=Page(page.keys, _relationship, page.cursor, page.total, page.has_next, page.has_previous)
        )

    @described("The twins at the other end of its relationships.")
    def related(
        self,
        info: Info,
        name: str | None = None,
        direction: Direction = Direction.OUTGOING,
        filter: TwinFilter | None = None,
        first: int | None = 25,
        after: str | None = None,
    ) -> Connection[Twin]:
        context: Context = info.context
        rows = traversal.neighbours(context.hot, self.live(context), name, direction)
        return twin_connection(context, rows, filter, first, after, ("related", self.twin_id, name, direction.value))

    @described("Everything below it by `relationship`, itself excluded.")
    def subtree(
        self,
        info: Info,
        relationship: str = "contains",
        max_depth: int | None = None,
        filter: TwinFilter | None = None,
        first: int | None = 25,
        after: str | None = None,
    ) -> Connection[Twin]:
        context: Context = info.context
        rows = traversal.below(context.hot, self.live(context), relationship, max_depth)
        return twin_connection(context, rows, filter, first, after, ("subtree", self.twin_id, relationship, max_depth))

    @described("The twin that contains it.")
    def parent(self, info: Info) -> Twin | None:
        context: Context = info.context
        edges = context.hot.into(self.live(context), "contains")
        return twin_at(context, edges[0].source) if edges else None

    @described("Remaining useful life; null for twins that are not scored.")
    def rul(self, info: Info) -> Annotated[RulEstimate, strawberry.lazy("twinloom.api.schema.assessments")] | None:
        from twinloom.api.schema.assessments import rul_of

        return rul_of(info.context, self.twin_id)

    @described("Its own zone when it is scored, else the worst zone of what it contains.")
    def health(self, info: Info) -> HealthZone:
        return info.context.health(self.live(info.context), self.twin_id)  # type: ignore[no-any-return]

    @described("Its alerts, newest first; without `state` those that stand.")
    def alerts(
        self, info: Info, state: list[AlertState] | None = None
    ) -> list[Annotated[Alert, strawberry.lazy("twinloom.api.schema.assessments")]]:
        from twinloom.api.schema.assessments import Alert as AlertView

        return [AlertView(of=alert) for alert in info.context.alerts_of(self.twin_id, state)]

    @described("Its work orders, newest first.")
    def work_orders(self, info: Info) -> list[Annotated[WorkOrder, strawberry.lazy("twinloom.api.schema.assessments")]]:
        from twinloom.api.schema.assessments import WorkOrder as WorkOrderView

        return [WorkOrderView(of=order) for order in info.context.work_orders_of(self.twin_id)]

    @described("True while its source is not live.")
    def stale(self, info: Info) -> bool:
        return info.context.stale_since(self.twin_id) is not None

    @strawberry.field
    def stale_since(self, info: Info) -> DateTime | None:
        since = info.context.stale_since(self.twin_id)
        return None if since is None else DateTime(since)

    @described("The stored values of one path: points, or buckets of `bucketMs`.")
    async def history(
        self,
        info: Info,
        path: str,
        from_: Annotated[DateTime | None, strawberry.argument(name="from")] = None,
        to: DateTime | None = None,
        bucket_ms: Long | None = None,
        first: int | None = None,
        unit: str | None = None,
        percentiles: list[float] | None = None,
    ) -> History:
        from twinloom.api.schema.recall import history_of

        return await history_of(info.context, self.twin_id, path, from_, to, bucket_ms, first, unit, percentiles)

    def live(self, context: Context) -> int:
        """Its row now. Raises NotFound when the twin is gone: a request may have waited meanwhile."""
        row = context.hot.row(self.twin_id)
        if row is None:
            raise NotFound(f"twin {self.twin_id!r} is gone", remedy="read again")
        return row


def twin_of(context: Context, twin_id: TwinId) -> Twin:
    """The twin of that id. Raises NotFound."""
    row = context.hot.row(twin_id)
    if row is None:
        raise NotFound(f"there is no twin {twin_id!r}", remedy="read again")
    return Twin(row=row, twin_id=twin_id)


def twin_connection(
    context: Context,
    rows: Sequence[int],
    filter: TwinFilter | None,
    first: int | None,
    after: str | None,
    bound: tuple[object, ...],
) -> Connection[Twin]:
    """A page of the twins at `rows` that match, by twin id."""
    return Connection(page=page_of_rows(context, rows, filter, None, first, after, bound))


def _relationship(edge: object) -> Relationship:
    return Relationship(edge=edge.relationship())  # type: ignore[attr-defined]


def properties_of(context: Context, row: int, paths: list[str] | None) -> Json:
    """Nested JSON of all values, or of those at `paths` (which must be known to some model)."""
    hot = context.hot
    if paths is None:
        twin = hot.twin(hot.id_of(row))
        return Json({} if twin is None else twin.properties)
    nested: dict[str, object] = {}
    for path in paths:
        value = hot.value(row, path)
        if value is None:
            if not context.known_path(path):
                raise context.unknown_path(path, (hot.model_of(row),))
            continue
        *parents, last = path.split(".")
        place = nested
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                break
            place = inner
        place[last] = value
    return Json(nested)


def value_of(context: Context, row: int, path: str, unit: str | None) -> object:
    """The value at `path`, converted. Raises BadRequest when no model has the path, or the unit does not fit."""
    value = context.hot.value(row, path)
    if value is None:
        if not context.known_path(path):
            raise context.unknown_path(path, (context.hot.model_of(row),))
        return None
    if unit is None:
        return value
    convert = conversion(context, row, path, unit)
    return value if convert is None else convert(value)


def conversion(context: Context, row: int, path: str, unit: str) -> Callable[[float], float] | None:
    """How to turn values at `path` into `unit`; None when they are in it. Raises BadRequest when that cannot be."""
    field = context.hot.models.fields(context.hot.model_of(row)).get(path)
    own = (field.unit or "") if field is not None else ""
    if not own:
        raise BadRequest(f"{path!r} has no unit, so it cannot be shown in {unit!r}", remedy="leave `unit` out")
    factor, offset = units.converter(own, unit)
    if factor == 1.0 and offset == 0.0:
        return None
    return lambda value: value * factor + offset


def property_of(context: Context, row: int, path: str, unit: str | None) -> PropertyValue | None:
    hot = context.hot
    field = hot.models.fields(hot.model_of(row)).get(path)
    if field is None:
        if not context.known_path(path):
            raise context.unknown_path(path, (hot.model_of(row),))
        return None
    reading = hot.get(row, path) or NEVER_SET
    stale = context.stale_since(hot.id_of(row)) is not None
    if unit is None:
        return PropertyValue(path=path, unit=field.unit or "", reading=reading, is_stale=stale)
    convert = conversion(context, row, path, unit)
    return PropertyValue(path=path, unit=unit, reading=reading, is_stale=stale, convert=convert)


def values_of(context: Context, row: int, paths: list[str] | None) -> list[PropertyValue]:
    hot = context.hot
    fields = hot.models.fields(hot.model_of(row))
    stale = context.stale_since(hot.id_of(row)) is not None
    if paths is not None:
        for path in paths:
            if path not in fields and not context.known_path(path):
                raise context.unknown_path(path, (hot.model_of(row),))
        return [
            PropertyValue(
                path=path, unit=fields[path].unit or "", reading=hot.get(row, path) or NEVER_SET, is_stale=stale
            )
            for path in paths
            if path in fields
        ]
    found = []
    for path, field in fields.items():
        reading = hot.get(row, path)
        if reading is not None and reading.value is not None:
            found.append(PropertyValue(path=path, unit=field.unit or "", reading=reading, is_stale=stale))
    return found
