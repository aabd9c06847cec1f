"""What the service says of itself: version, seq, health, sources, limits."""

from __future__ import annotations

from dataclasses import fields
from importlib.metadata import version

import strawberry

from twinloom.api.context import Context, Info
from twinloom.api.limits import Limits
from twinloom.api.schema.described import described
from twinloom.api.schema.scalars import DateTime, Json, Long

VERSION = version("twinloom")


@strawberry.type
class HealthPart:
    name: str
    state: str
    reason: str


@strawberry.type(description="`ok`, `degraded` or `failed`, and which parts make it so.")
class Health:
    state: str
    parts: list[HealthPart]


@strawberry.type(description="A source of readings, such as an OPC UA server.")
class SourceInfo:
    name: str
    state: str = strawberry.field(description="`connecting`, `live`, `stale` or `lost`.")
    since: DateTime
    reason: str
    counters: Json


@strawberry.type(description="This server, now.")
class ServiceInfo:
    @strawberry.field
    def name(self) -> str:
        return "twinloom"

    @strawberry.field
    def version(self) -> str:
        return VERSION

    @strawberry.field
    def seq(self, info: Info) -> Long:
        return Long(info.context.seq)

    @described("The lowest `after` that a subscription can replay from without a gap.")
    def first_seq(self, info: Info) -> Long:
        return Long(info.context.service.feed.first_seq)

    @strawberry.field
    def started_at(self, info: Info) -> DateTime:
        return DateTime(info.context.service.started_ns)

    @strawberry.field
    def mode(self, info: Info) -> str:
        return info.context.services.mode  # type: ignore[no-any-return]

    @strawberry.field
    def graph(self, info: Info) -> str:
        return kind_of(info.context.service.store)

    @strawberry.field
    def history(self, info: Info) -> str:
        return kind_of(info.context.service.history)

    @described("SHA-256 of the SDL; changes when models change the schema.")
    def schema_hash(self, info: Info) -> str:
        return info.context.edition.digest  # type: ignore[no-any-return]

    @strawberry.field
    def twins(self, info: Info) -> int:
        return len(info.context.hot)

    @strawberry.field
    def health(self, info: Info) -> Health:
        health = info.context.service.health()
        return Health(
            state=health.state,
            parts=[HealthPart(name=part.name, state=part.state, reason=part.reason) for part in health.parts],
        )

    @strawberry.field
    def sources(self, info: Info) -> list[SourceInfo]:
        return [
            SourceInfo(
                name=status.name,
                state=status.state,
                since=DateTime(status.since_ns),
                reason=status.reason,
                counters=Json(dict(status.counters)),
            )
            for status in info.context.service.sources()
        ]


ServiceLimits = strawberry.type(
    type(
        "ServiceLimits",
        (),
        {
            "__annotations__": {field.name: float if "float" in str(field.type) else int for field in fields(Limits)},
            "__doc__": "Every bound of this server.",
        },
    ),
    description="Every bound of this server, as it is set now. Bytes, counts or seconds, as the name says.",
)


def limits_of(context: Context) -> object:
    limits = context.services.limits
    return ServiceLimits(**{field.name: getattr(limits, field.name) for field in fields(Limits)})


def kind_of(store: object) -> str:
    """`sqlite`, `neo4j`, `duckdb`: the class name without its suffix."""
    return type(store).__name__.lower().removesuffix("store").removesuffix("history")
