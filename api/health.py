"""Liveness, readiness and metrics, for whoever runs the server. None of them needs a token."""

from __future__ import annotations

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from twinloom.api.services import Services


class HealthPages:
    """The three endpoints over one service."""

    def __init__(self, services: Services, registry: CollectorRegistry) -> None:
        self._services = services
        self._registry = registry

    async def live(self, request: Request) -> Response:
        """200 while the process answers at all."""
        return Response(b'{"state":"ok"}', media_type="application/json")

    async def ready(self, request: Request) -> Response:
        """200 while the service is of use (ok or degraded), 503 when it failed; the parts say why."""
        health = self._services.service.health()
        body = {
            "state": health.state,
            "parts": [{"name": part.name, "state": part.state, "reason": part.reason} for part in health.parts],
        }
        return Response(
            orjson.dumps(body), status_code=503 if health.state == "failed" else 200, media_type="application/json"
        )

    async def metrics(self, request: Request) -> Response:
        """Prometheus text of the runtime and of the API."""
        text = self._services.service.metrics.text() + generate_latest(self._registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


class ApiMetrics:
    """What the API counts, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.refused = Counter(
            "graphql_refused", "Requests that were not executed, by extensions.code", ["code"], registry=self.registry
        )
        self.connections = Gauge("websocket_connections", "Open WebSocket connections", registry=self.registry)
        self.subscriptions = Gauge("graphql_subscriptions", "Open GraphQL subscriptions", registry=self.registry)
        self.groups = Gauge(
            "graphql_subscription_groups", "Distinct subscriptions that share a plan", registry=self.registry
        )
