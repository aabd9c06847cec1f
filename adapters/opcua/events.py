"""Alarms & Conditions (OPC 10000-9) as `MachineAlarm`s: one event subscription on the Server object.

After every connect a ConditionRefresh tells what stands; a condition that stood before and is not told of any more
has ended meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from asyncua import ua

from twinloom.adapters.opcua.decode import ticks_to_ns
from twinloom.adapters.opcua.session import Session, Subscription
from twinloom.twin.assessments import Severity
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import MachineAlarm

EVENT_HANDLE = 0x7FFF_FFFF
_BASE, _CONDITION = ua.ObjectIds.BaseEventType, ua.ObjectIds.ConditionType
_ACKNOWLEDGEABLE, _ALARM = ua.ObjectIds.AcknowledgeableConditionType, ua.ObjectIds.AlarmConditionType
_FIELDS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("type", _BASE, ("EventType",)),
    ("source", _BASE, ("SourceNode",)),
    ("source_name", _BASE, ("SourceName",)),
    ("time", _BASE, ("Time",)),
    ("message", _BASE, ("Message",)),
    ("severity", _BASE, ("Severity",)),
    ("condition", _CONDITION, ()),
    ("name", _CONDITION, ("ConditionName",)),
    ("retain", _CONDITION, ("Retain",)),
    ("acknowledged", _ACKNOWLEDGEABLE, ("AckedState", "Id")),
    ("active", _ALARM, ("ActiveState", "Id")),
)
_REFRESH_START, _REFRESH_END = ua.ObjectIds.RefreshStartEventType, ua.ObjectIds.RefreshEndEventType
_HIGH, _MEDIUM = 667, 334  # Part 9, table "Severity ranges"
_QUEUE = 1000


async def watch_alarms(session: Session, subscription: Subscription) -> None:
    """Subscribes to the server's events and asks for what stands. Raises UaError when it offers none."""
    selects = [
        ua.SimpleAttributeOperand(
            TypeDefinitionId=ua.NodeId(type_),
            BrowsePath=[ua.QualifiedName(name, 0) for name in path],
            AttributeId=ua.AttributeIds.Value if path else ua.AttributeIds.NodeId,
        )
        for _, type_, path in _FIELDS
    ]
    request = ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=ua.NodeId(ua.ObjectIds.Server), AttributeId=ua.AttributeIds.EventNotifier),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=EVENT_HANDLE,
            SamplingInterval=0.0,
            Filter=ua.EventFilter(SelectClauses=selects),
            QueueSize=_QUEUE,
            DiscardOldest=True,
        ),
    )
    (result,) = await session.client.uaclient.create_monitored_items(
        ua.CreateMonitoredItemsParameters(
            SubscriptionId=subscription.id,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[request],
        )
    )
    result.StatusCode.check()
    (refreshed,) = await session.client.uaclient.call(
        [
            ua.CallMethodRequest(
                ObjectId=ua.NodeId(_CONDITION),
                MethodId=ua.NodeId(ua.ObjectIds.ConditionType_ConditionRefresh),
                InputArguments=[ua.Variant(subscription.id, ua.VariantType.UInt32)],
            )
        ]
    )
    refreshed.StatusCode.check()


class Alarms:
    """The conditions of one server that stand, across its sessions."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._standing: dict[str, MachineAlarm] = {}
        self._unseen: set[str] | None = None

    def hear(self, events: Sequence[Any], twins: Mapping[ua.NodeId, TwinId], now_ns: int) -> list[MachineAlarm]:
        """What an event list changes: alarms that came, changed or went."""
        changes: list[MachineAlarm] = []
        for event in events:
            variants = event.EventFields or ()
            fields = {name: variant.Value for (name, _, _), variant in zip(_FIELDS, variants, strict=False)}
            kind = fields.get("type")
            identifier = kind.Identifier if isinstance(kind, ua.NodeId) and kind.NamespaceIndex == 0 else None
            if identifier == _REFRESH_START:
                self._unseen = set(self._standing)
            elif identifier == _REFRESH_END:
                changes += [self._ended(key, now_ns) for key in self._unseen or ()]
                self._unseen = None
            elif isinstance(fields.get("condition"), ua.NodeId) and fields.get("active") is not None:
                changes += self._change(fields, twins, now_ns)
        return changes

    def _change(self, fields: Mapping[str, Any], twins: Mapping[ua.NodeId, TwinId], now_ns: int) -> list[MachineAlarm]:
        key = fields["condition"].to_string()
        if self._unseen is not None:
            self._unseen.discard(key)
        time = ua.datetime_to_win_epoch(fields["time"]) if fields.get("time") is not None else 0
        message = fields.get("message")
        alarm = MachineAlarm(
            source=self._source,
            key=key,
            twin=twins.get(fields.get("source"), TwinId("")),
            name=str(fields.get("name") or fields.get("source_name") or key),
            message=(message.Text if isinstance(message, ua.LocalizedText) else message) or "",
            severity=_severity(int(fields.get("severity") or 0)),
            active=bool(fields["active"]),
            acknowledged=bool(fields.get("acknowledged")),
            time_ns=int(ticks_to_ns(np.array([time]))[0]) or now_ns,
        )
        known = self._standing.get(key)
        if not alarm.active:
            self._standing.pop(key, None)
            return [alarm] if known is not None else []
        self._standing[key] = alarm
        same = known is not None and (known.severity, known.message, known.acknowledged) == (
            alarm.severity, alarm.message, alarm.acknowledged,
        )  # fmt: skip
        return [] if same else [alarm]

    def _ended(self, key: str, now_ns: int) -> MachineAlarm:
        return replace(self._standing.pop(key), active=False, time_ns=now_ns)


def _severity(number: int) -> Severity:
    if number >= _HIGH:
        return Severity.CRITICAL
    return Severity.WARNING if number >= _MEDIUM else Severity.INFO
