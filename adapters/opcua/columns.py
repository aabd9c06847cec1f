"""Server-side fast lane of the simulator: a tick's samples leave as one block of bytes per subscription.

asyncua's own way of writing a value (checks, a callback per monitored item, a deep copy, one encoder call each) costs
about 100 us a sample. Here the samples of a tick are a column; each subscription keeps the blocks until it publishes
and puts them into the PublishResponse as an encoded DataChangeNotification (Part 6, 5.2.2.15 and 5.2.2.17). Reads see
the same values. Sessions, acknowledgements, Republish, keep-alives and all other nodes stay asyncua's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from asyncua import Server, ua
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemService
from asyncua.server.subscription_service import SubscriptionService

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS_1970 = 116_444_736_000_000_000  # 100 ns steps from 1601 to 1970
_DOUBLE = 11
_OVERFLOW = 0x00000480
_PLAIN = np.dtype(
    [("handle", "<u4"), ("mask", "u1"), ("type", "u1"), ("value", "<f8"), ("source", "<i8"), ("server", "<i8")]
)
_WITH_STATUS = np.dtype(
    [
        ("handle", "<u4"), ("mask", "u1"), ("type", "u1"), ("value", "<f8"), ("status", "<u4"),
        ("source", "<i8"), ("server", "<i8"),
    ]
)  # fmt: skip


class Columns:
    """The current sample of every fast node: values float64 (n,), quality uint32 (n,), one source time for all."""

    def __init__(self, nodes: Sequence[ua.NodeId]) -> None:
        self.index = {node: i for i, node in enumerate(nodes)}
        self.values: npt.NDArray[np.float64] = np.zeros(len(nodes))
        self.quality: npt.NDArray[np.uint32] = np.zeros(len(nodes), dtype=np.uint32)
        self.time_ns = 0

    def read(self, node: ua.NodeId, _attribute: ua.AttributeIds) -> ua.DataValue:
        """The sample as asyncua's Read service and the first notification of a monitored item want it."""
        i = self.index[node]
        time = _EPOCH + timedelta(microseconds=self.time_ns // 1000)
        return ua.DataValue(
            Value=ua.Variant(float(self.values[i]), ua.VariantType.Double),
            StatusCode=ua.StatusCode(int(self.quality[i])),
            SourceTimestamp=time,
            ServerTimestamp=time,
        )


class _Watch:
    """Items of one subscription that share queue size and filter; `blocks` waits for the next publish."""

    def __init__(self, depth: int, every_sample: bool, deadband: float, items: Sequence[tuple[int, int]]) -> None:
        self.depth = depth
        self.every_sample = every_sample
        self.deadband = deadband
        self.columns = np.array([column for column, _ in items], dtype=np.intp)
        self.handles = np.array([handle for _, handle in items], dtype=np.uint32)
        self.last = np.full(len(items), np.nan)
        self.blocks: deque[npt.NDArray[Any]] = deque()
        self.overflowed = False

    def tick(self, columns: Columns) -> None:
        values = columns.values[self.columns]
        handles, quality = self.handles, columns.quality[self.columns]
        if not self.every_sample:
            changed = ~(np.abs(values - self.last) <= self.deadband)
            self.last = np.where(changed, values, self.last)
            values, handles, quality = values[changed], handles[changed], quality[changed]
        block = np.empty(len(values), _WITH_STATUS if quality.any() else _PLAIN)
        block["handle"], block["type"], block["value"] = handles, _DOUBLE, values
        block["source"] = block["server"] = columns.time_ns // 100 + _TICKS_1970
        if block.dtype is _WITH_STATUS:
            block["mask"], block["status"] = 0x0F, quality
        else:
            block["mask"] = 0x0D
        self.blocks.append(block)
        if len(self.blocks) > self.depth:
            self.blocks.popleft()
            self.overflowed = self.depth > 1

    def drain(self) -> tuple[int, bytes]:
        """How many samples wait, and their encoding; after an overflow the oldest carry the overflow bit."""
        if self.overflowed:
            oldest = self.blocks[0]
            marked = np.empty(len(oldest), _WITH_STATUS)
            for name in ("handle", "type", "value", "source", "server"):
                marked[name] = oldest[name]
            marked["mask"] = 0x0F
            marked["status"] = _OVERFLOW | (oldest["status"] if oldest.dtype is _WITH_STATUS else 0)
            self.blocks[0] = marked
            self.overflowed = False
        count = sum(len(block) for block in self.blocks)
        encoded = b"".join(block.tobytes() for block in self.blocks)
        self.blocks.clear()
        return count, encoded


class _Items(MonitoredItemService):  # type: ignore[misc]
    """Keeps items on fast nodes apart; `watches` is rebuilt when one comes, goes or changes."""

    def __init__(self, subscription: InternalSubscription, address_space: Any, columns: Columns) -> None:
        super().__init__(subscription, address_space)
        self._columns = columns
        self._stale = False
        self._watches: list[_Watch] = []

    def watches(self) -> list[_Watch]:
        if self._stale:
            self._stale = False
            groups: dict[tuple[int, bool, float], list[tuple[int, int]]] = {}
            for item in self._monitored_items.values():
                column = self._columns.index.get(item.read_value_id.NodeId)
                if column is None or item.read_value_id.AttributeId != ua.AttributeIds.Value:
                    continue
                if item.mode != ua.MonitoringMode.Reporting:
                    continue
                # asyncua decodes a filter into the class before its own overrides: ask for what it has.
                chosen = item.filter if hasattr(item.filter, "Trigger") else ua.DataChangeFilter()
                every = chosen.Trigger == ua.DataChangeTrigger.StatusValueTimestamp
                absolute = chosen.DeadbandType == ua.DeadbandType.Absolute
                # With a deadband, StatusValueTimestamp is the same as StatusValue (Part 4, 7.22.2).
                band = float(chosen.DeadbandValue) if absolute else 0.0
                key = (max(1, item.queue_size), every and not band, band)
                groups.setdefault(key, []).append((column, item.client_handle))
            waiting = {(watch.depth, watch.every_sample, watch.deadband): watch for watch in self._watches}
            self._watches = [_Watch(*key, items) for key, items in groups.items()]
            for watch in self._watches:
                watch.last = self._columns.values[watch.columns]  # asyncua has just reported it
                if old := waiting.get((watch.depth, watch.every_sample, watch.deadband)):
                    watch.blocks = old.blocks
        return self._watches

    async def create_monitored_items(self, params: Any) -> Any:
        self._stale = True
        return await super().create_monitored_items(params)

    def modify_monitored_items(self, params: Any) -> Any:
        self._stale = True
        return super().modify_monitored_items(params)

    async def set_monitoring_mode(self, mode: Any, ids: Any) -> Any:
        self._stale = True
        return await super().set_monitoring_mode(mode, ids)

    def delete_monitored_items(self, ids: Any) -> Any:
        self._stale = True
        return super().delete_monitored_items(ids)


class _Subscription(InternalSubscription):  # type: ignore[misc]
    """asyncua's subscription, whose next publish also carries the blocks of its fast nodes."""

    monitored_item_srv: _Items

    def tick(self, columns: Columns) -> None:
        for watch in self.monitored_item_srv.watches():
            watch.tick(columns)

    def has_published_results(self) -> bool:
        if self._publishing_enabled and any(watch.blocks for watch in self.monitored_item_srv.watches()):
            return True
        ready: bool = super().has_published_results()
        return ready

    def _pop_triggered_datachanges(self, result: ua.PublishResult) -> None:
        super()._pop_triggered_datachanges(result)
        drained = [watch.drain() for watch in self.monitored_item_srv.watches() if watch.blocks]
        total = sum(count for count, _ in drained)
        if total:
            body = total.to_bytes(4, "little") + b"".join(encoded for _, encoded in drained) + b"\xff\xff\xff\xff"
            kind = ua.FourByteNodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
            result.NotificationMessage.NotificationData.append(ua.ExtensionObject(TypeId=kind, Body=body))


class ColumnSubscriptions(SubscriptionService):  # type: ignore[misc]
    """The server's subscription service with the fast lane. `install` before the server starts."""

    def __init__(self, server: Server, columns: Columns) -> None:
        super().__init__(server.iserver.aspace, server.iserver)
        self._columns = columns

    @classmethod
    def install(cls, server: Server, columns: Columns) -> ColumnSubscriptions:
        service = cls(server, columns)
        service.standard_events = server.iserver.subscription_service.standard_events
        server.iserver.subscription_service = server.iserver.isession.subscription_service = service
        for node in columns.index:
            server.iserver.aspace.set_attribute_value_callback(node, ua.AttributeIds.Value, columns.read)
        return service

    def tick(self, time_ns: int) -> None:
        """`columns.values` are the samples of source time `time_ns` (whole microseconds): hand them to every item."""
        self._columns.time_ns = time_ns
        for subscription in self.subscriptions.values():
            subscription.tick(self._columns)

    async def create_subscription(
        self, params: Any, callback: Any, session_id: Any, request_callback: Any = None
    ) -> ua.CreateSubscriptionResult:
        internal = self.iserver
        if len(self.subscriptions) >= internal.max_subscriptions:
            raise ua.uaerrors.BadTooManySubscriptions
        self._sub_id_counter += 1
        result = ua.CreateSubscriptionResult(
            SubscriptionId=self._sub_id_counter,
            RevisedPublishingInterval=max(20.0, params.RequestedPublishingInterval),
            RevisedLifetimeCount=self._clamp_lifetime_count(params.RequestedLifetimeCount),
            RevisedMaxKeepAliveCount=self._clamp_keep_alive_count(params.RequestedMaxKeepAliveCount),
        )
        subscription = _Subscription(
            result,
            self.aspace,
            callback,
            session_id,
            request_callback=request_callback,
            delete_callback=lambda: self.subscriptions.pop(result.SubscriptionId, None),
            no_acks_limit=64,
            max_queue_size=internal.max_monitored_item_queue_size,
            publishing_enabled=params.PublishingEnabled,
        )
        subscription.monitored_item_srv = _Items(subscription, self.aspace, self._columns)
        await subscription.start()
        self.subscriptions[result.SubscriptionId] = subscription
        return result
