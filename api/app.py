"""`create_app`: the whole API as one Starlette application over a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from twinloom.api.engine import Engine
from twinloom.api.health import ApiMetrics, HealthPages
from twinloom.api.http import Gate, GraphQLOverHttp
from twinloom.api.limits import Limits
from twinloom.api.pages import AsgiEndpoint, Ide, Pages
from twinloom.api.persisted import Persisted
from twinloom.api.services import Services
from twinloom.api.sse import EventStreams
from twinloom.api.subscriptions import Hub
from twinloom.api.tokens import Token
from twinloom.api.transport_ws import TransportWs

__all__ = ["Limits", "Services", "Token", "create_app"]


class Application(Starlette):
    """Starlette with a short way to `/graphql`: the endpoint handles its own errors, so no middleware is needed."""

    def __init__(self, endpoint: GraphQLOverHttp, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/graphql":
            await self._endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(services: Services) -> Starlette:
    """The application. Its lifespan runs the hub that feeds subscriptions; the service must be started before.

    >>> from inspect import signature
    >>> list(signature(create_app).parameters)
    ['services']
    """
    engine = Engine(services)
    gate = Gate(services)
    metrics = ApiMetrics()
    persisted = Persisted(
        services.trusted, trusted_only=services.trusted_only, capacity=services.limits.persisted_documents
    )
    hub = Hub(engine, metrics)
    sockets = TransportWs(engine, gate, persisted, hub, metrics)
    pages = Pages(services, gate)
    health = HealthPages(services, metrics.registry)
    ide = Ide() if services.development else None
    endpoint = GraphQLOverHttp(engine, gate, persisted, ide.page if ide else None, EventStreams(engine, hub), metrics)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with hub.running():
            yield
            await sockets.close()

    return Application(
        endpoint,
        routes=[
            WebSocketRoute("/graphql", AsgiEndpoint(sockets)),
            *([Route("/graphql/ide/{name}", ide.file, methods=["GET"])] if ide else []),
            Route("/", pages.index, methods=["GET"]),
            Route("/scene.glb", pages.scene, methods=["GET"]),
            Route("/health/live", health.live, methods=["GET"]),
            Route("/health/ready", health.ready, methods=["GET"]),
            Route("/metrics", health.metrics, methods=["GET"]),
            Route("/{path:path}", pages.file, methods=["GET"]),
        ],
        lifespan=lifespan,
    )
