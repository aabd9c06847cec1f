"""One secured session with one server, its subscriptions and their PublishResponses as bytes.

asyncua's own supervisor, watchdog and publish loop are not started: after a black hole they can wait for ever
(opcua-asyncio issue 1660). Whoever loses a session makes a new one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asyncua import Client, ua
from asyncua.ua.ua_binary import struct_from_binary

from twinloom.adapters.opcua.channel import (
    SERVICE_RESULTS_THAT_END_A_SESSION,
    PublishChannel,
    fault_code,
    is_service_fault,
)
from twinloom.adapters.opcua.security import SecuredClient, Ticket, secure
from twinloom.adapters.opcua.settings import OpcUaSettings, Sampling
from twinloom.twin.errors import SourceUnavailable

_log = logging.getLogger(__name__)
_CLOSE_S = 1.0
_LIFETIME_S = 60.0
_SESSION_MS = 120_000
_ITEMS_PER_CALL = 500


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the server granted. `silent_s`: after this long without a word it is stale (three keep-alives)."""

    id: int
    publishing_interval_s: float
    silent_s: float


@dataclass(frozen=True, slots=True)
class Item:
    """A value to be watched: its client handle comes back with every notification."""

    node: ua.NodeId
    handle: int
    sampling: Sampling
    percent_range: bool = False
    numeric: bool = True


class SessionEnded(ConnectionError):
    """The server itself ended the session or a subscription: nothing of it can be taken over."""


class Session:
    """A connected session; made by `connect`. PublishResponse bodies wait in order until `bodies` takes them."""

    def __init__(self, client: SecuredClient, settings: OpcUaSettings) -> None:
        self.client = client
        self.settings = settings
        self.namespaces: list[str] = []
        self._waiting: deque[bytes] = deque()
        self._woken = asyncio.Event()
        self._lost: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = 0
        self._acknowledgements: list[tuple[int, int]] = []

    @property
    def resumed(self) -> bool:
        """True when this is the session of the ticket, subscriptions included."""
        return self.client.resumed

    @property
    def _channel(self) -> PublishChannel:
        channel = self.client.uaclient.protocol
        if not isinstance(channel, PublishChannel):
            raise ConnectionError("the connection is closed")
        return channel

    def receive(self, body: bytes) -> None:
        """Called by the channel."""
        self._waiting.append(body)
        self._woken.set()

    def lose(self, error: Exception | None) -> None:
        """Called when the transport is gone: `bodies` hands out what came, then raises ConnectionError."""
        self._lost = error or ConnectionError("the server closed the connection")
        self._woken.set()

    async def subscribe(self, sampling: Sampling) -> Subscription:
        """A subscription at the sampling's publishing interval, without items yet."""
        interval = sampling.publishing_interval_ms
        keep_alive = max(1, math.ceil(1000.0 * self.settings.keep_alive_s / interval))
        request = ua.CreateSubscriptionRequest()
        request.Parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=interval,
            RequestedLifetimeCount=max(3 * keep_alive, math.ceil(1000.0 * _LIFETIME_S / interval)),
            RequestedMaxKeepAliveCount=keep_alive,
            MaxNotificationsPerPublish=0,
            PublishingEnabled=True,
            Priority=0,
        )
        data = await self.client.uaclient.session._send_request(request)
        response = struct_from_binary(ua.CreateSubscriptionResponse, data)
        response.ResponseHeader.ServiceResult.check()
        granted = response.Parameters
        period = granted.RevisedPublishingInterval / 1000.0
        return Subscription(
            id=int(granted.SubscriptionId),
            publishing_interval_s=period,
            silent_s=3.0 * period * max(1, int(granted.RevisedMaxKeepAliveCount)),
        )

    async def watch(self, subscription: Subscription, items: Sequence[Item]) -> list[ua.MonitoredItemCreateResult]:
        """Monitored items, in calls of at most 500; one result an item."""
        results: list[ua.MonitoredItemCreateResult] = []
        for start in range(0, len(items), _ITEMS_PER_CALL):
            part = items[start : start + _ITEMS_PER_CALL]
            results += await self.client.uaclient.create_monitored_items(
                ua.CreateMonitoredItemsParameters(
                    SubscriptionId=subscription.id,
                    TimestampsToReturn=ua.TimestampsToReturn.Both,
                    ItemsToCreate=[_item_request(item) for item in part],
                )
            )
        return results

    def publish(self, outstanding: int) -> None:
        """Keeps `outstanding` PublishRequests at the server from now on."""
        self._wanted = outstanding
        self._arm()

    def acknowledge(self, subscription: int, sequence: int) -> None:
        self._acknowledgements.append((subscription, sequence))

    def _arm(self) -> None:
        channel = self._channel
        while channel.outstanding < self._wanted:
            channel.send_publish(self._acknowledgements)
            self._acknowledgements = []

    def _ring(self) -> None:
        self._timer = None
        self._woken.set()

    async def bodies(self, timeout_s: float) -> list[bytes]:
        """All PublishResponses that came since the last call, and new requests in their place.

        [] after `timeout_s` of silence, or sooner. Raises ConnectionError when the session is over.
        """
        if not self._waiting and self._lost is None:
            # One timer a period, not one a message: it may ring early, and the caller then just comes again.
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(timeout_s, self._ring)
            self._woken.clear()
            await self._woken.wait()
        if not self._waiting and self._lost is not None:
            if isinstance(self._lost, SessionEnded):
                raise self._lost
            raise ConnectionError(str(self._lost) or "the connection was lost") from self._lost
        taken: list[bytes] = []
        while self._waiting:
            body = self._waiting.popleft()
            if not is_service_fault(body):
                taken.append(body)
                continue
            code = fault_code(body)
            if code == ua.StatusCodes.BadTooManyPublishRequests:
                self._wanted = max(1, self._wanted - 1)
            elif code in SERVICE_RESULTS_THAT_END_A_SESSION:
                self._lost = SessionEnded(f"the server ended the session ({ua.StatusCode(code).name})")
        if not taken and isinstance(self._lost, SessionEnded):
            raise self._lost
        return taken

    def rearm(self) -> None:
        """Sends PublishRequests for the responses taken, with the acknowledgements since. Raises ConnectionError."""
        self._arm()

    async def republish(self, subscription: int, sequence: int) -> ua.NotificationMessage | None:
        """A message sent before, or None when the server does not have it any more."""
        try:
            message = await self.client.uaclient.session.republish(subscription, sequence)
        except ua.UaStatusCodeError:
            return None
        return message if message.NotificationData else None


def _item_request(item: Item) -> ua.MonitoredItemCreateRequest:
    sampling = item.sampling
    filters: ua.DataChangeFilter | None = None
    band, kind = sampling.deadband, ua.DeadbandType.Absolute
    if sampling.deadband_percent and item.percent_range:
        band, kind = sampling.deadband_percent, ua.DeadbandType.Percent
    if (band and item.numeric) or sampling.report == "timestamp":
        filters = ua.DataChangeFilter(
            Trigger=ua.DataChangeTrigger.StatusValueTimestamp
            if sampling.report == "timestamp"
            else ua.DataChangeTrigger.StatusValue,
            DeadbandType=kind if band and item.numeric else ua.DeadbandType.None_,
            DeadbandValue=band if item.numeric else 0.0,
        )
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=item.node, AttributeId=ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=item.handle,
            SamplingInterval=sampling.sampling_interval_ms,
            Filter=filters,
            QueueSize=sampling.queue_size,
            DiscardOldest=True,
        ),
    )


@asynccontextmanager
async def connect(settings: OpcUaSettings, ticket: Ticket | None = None) -> AsyncIterator[Session]:
    """A session as `settings` demand, or the one of `ticket` if the server still holds it (`session.resumed`).

    Closed at the end, unless the connection was lost before. Raises SourceUnavailable, within `connect_timeout_s`.
    """
    client = SecuredClient(settings.endpoint, timeout=settings.timeout_s)
    client.name = client.description = "twinloom"
    client.session_timeout = _SESSION_MS
    client.ticket = ticket
    session = Session(client, settings)

    def make_channel() -> PublishChannel:
        # What UaClient._make_protocol does, with our protocol class.
        transport = client.uaclient
        channel = PublishChannel(settings.timeout_s, transport.security_policy)
        channel.on_publish = session.receive
        channel.on_connection_lost = session.lose
        channel.is_session_closing = transport._is_session_closing
        transport.protocol = channel
        return channel

    client.uaclient._make_protocol = make_channel
    try:
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                await secure(client, settings)
                session._lost = None
                await client._connect_sequence()
                session.namespaces = await client.get_namespace_array()
        except (OSError, TimeoutError, ua.UaError, ValueError) as error:
            raise _unavailable(settings, error) from error
        yield session
    except (ConnectionError, TimeoutError) as error:
        # A session whose connection is lost is left at the server, to be taken over or to time out.
        await _close(client, politely=isinstance(error, SessionEnded))
        raise
    except BaseException:
        await _close(client, politely=True)
        raise
    else:
        await _close(client, politely=True)


async def _close(client: Client, *, politely: bool) -> None:
    client.uaclient.request_disconnect()
    await client._cancel_task(client._renew_channel_task)
    try:
        async with asyncio.timeout(_CLOSE_S):
            protocol = client.uaclient.protocol
            if politely and protocol is not None and not protocol.is_closed:
                await client.uaclient.close_session(True)
                await client.uaclient.close_secure_channel()
    except (OSError, TimeoutError, ua.UaError) as error:
        _log.debug("closing %s: %s", client.server_url.geturl(), error)
    finally:
        protocol = client.uaclient.protocol
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abort()
        client.uaclient.protocol = None


def _unavailable(settings: OpcUaSettings, error: Exception) -> SourceUnavailable:
    if isinstance(error, TimeoutError):
        what, remedy = "did not answer in time", "check that the server runs and is not frozen"
    elif isinstance(error, OSError):
        what, remedy = f"cannot be reached ({error.strerror or error})", "check host, port and firewall"
    elif isinstance(error, ua.UaStatusCodeError):
        name = ua.StatusCode(error.code).name
        what, remedy = f"refused the session ({name})", "check user, password and the certificates that it trusts"
    else:
        what, remedy = f"does not offer what is configured ({error})", "compare security: with the server's endpoints"
    return SourceUnavailable(f"OPC UA server {settings.name} at {settings.endpoint} {what}", remedy=remedy)
