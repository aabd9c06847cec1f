"""aiokafka's clients with our settings: time-outs, security, and errors as one class."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from twinloom.adapters.kafka.settings import KafkaSettings, Security
from twinloom.twin.errors import SourceUnavailable

BROKER_ERRORS = (KafkaError, OSError, TimeoutError)


def reason_of(error: BaseException) -> str:
    """A sentence without secrets or stacks."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


@asynccontextmanager
async def producer(settings: KafkaSettings) -> AsyncIterator[Any]:
    """A started producer whose sends are acknowledged by all replicas. Raises SourceUnavailable."""
    client = AIOKafkaProducer(
        **_common(settings),
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=settings.message_bytes + 65_536,
    )
    async with _started(client, settings):
        yield client


@asynccontextmanager
async def consumer(settings: KafkaSettings, *, group: str, **options: Any) -> AsyncIterator[Any]:
    """A started consumer that commits nothing by itself. Raises SourceUnavailable.

    An offset that is gone is an error here, so that what retention took is seen and not skipped silently.
    """
    client = AIOKafkaConsumer(
        **_common(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        session_timeout_ms=int(settings.session_timeout_s * 1000),
        heartbeat_interval_ms=int(settings.session_timeout_s * 1000 / 4),
        max_poll_interval_ms=600_000,
        fetch_max_wait_ms=100,
        fetch_max_bytes=8 << 20,
        max_partition_fetch_bytes=max(1 << 20, settings.message_bytes),
        **options,
    )
    async with _started(client, settings):
        yield client


@asynccontextmanager
async def _started(client: Any, settings: KafkaSettings) -> AsyncIterator[None]:
    try:
        try:
            async with asyncio.timeout(4 * settings.timeout_s):
                await client.start()
        except BROKER_ERRORS as error:
            raise SourceUnavailable(
                f"Kafka at {settings.bootstrap} cannot be reached ({reason_of(error)})",
                remedy="check bootstrap, the listeners of the broker and its security",
            ) from error
        yield
    finally:
        await _end(client, settings.timeout_s)


async def _end(client: Any, timeout_s: float) -> None:
    """`client.stop()`, also without a broker: aiokafka's own then waits for ever, or is cancelled by its own tasks."""
    stopping = asyncio.create_task(client.stop())
    await asyncio.wait({stopping}, timeout=timeout_s)
    sender = getattr(client, "_sender", None)
    if not stopping.done() and sender is not None and sender.sender_task is not None:
        sender.sender_task.cancel()  # an idempotent producer never gives up what it holds
        await asyncio.wait({stopping}, timeout=timeout_s)
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait({stopping}, timeout=timeout_s)
    if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
        fetcher = getattr(client, "_fetcher", None)
        for task in getattr(fetcher, "_pending_tasks", ()):
            task.cancel()
        wire = client.client if hasattr(client, "client") else client._client
        await asyncio.wait({asyncio.create_task(wire.close())}, timeout=timeout_s)


def _common(settings: KafkaSettings) -> dict[str, Any]:
    security = settings.security
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "client_id": f"twinloom-{settings.name}",
        "request_timeout_ms": int(settings.timeout_s * 1000) + 1000,
        "metadata_max_age_ms": 5_000,
        "retry_backoff_ms": 100,
        "security_protocol": security.protocol,
    }
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = _tls(security)
    if security.protocol.startswith("SASL"):
        options["sasl_mechanism"] = security.mechanism
        options["sasl_plain_username"] = security.user
        options["sasl_plain_password"] = os.environ.get(security.password_env, "")
    return options


def _tls(security: Security) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(security.ca) if security.ca else None)
    if security.certificate:
        context.load_cert_chain(str(security.certificate), str(security.key) if security.key else None)
    return context
