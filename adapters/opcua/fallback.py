"""What the columnar decoder leaves to asyncua: events, status changes, diagnostics, republished messages, objects."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua.ua_binary import struct_from_binary

from twinloom.adapters.opcua.decode import SCALARS, Odd, Publication, ticks_to_ns


def decode_slowly(body: bytes, *, objects: bool = False) -> Publication:
    """Any PublishResponse, by asyncua's decoder: several kinds of notifications, events, status changes, diagnostics.

    With `objects` every item is handed over as `Odd`, so that booleans, integers and texts stay what they are.
    Raises UaStatusCodeError when the service itself failed, UaError or ValueError on bytes that make no response.
    """
    try:
        response = struct_from_binary(ua.PublishResponse, Buffer(body))
    except (NotEnoughData, struct.error, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"no PublishResponse: {error}") from error
    response.ResponseHeader.ServiceResult.check()
    return publication_of(response.Parameters.NotificationMessage, response.Parameters, objects=objects)


def publication_of(
    message: ua.NotificationMessage, result: ua.PublishResult | None = None, *, objects: bool = False
) -> Publication:
    """A NotificationMessage (of a PublishResponse or a RepublishResponse) as columns."""
    handles: list[int] = []
    values: list[float] = []
    ticks: list[int] = []
    status: list[int] = []
    odd: list[Odd] = []
    others: list[Any] = []
    for notification in message.NotificationData or ():
        if not isinstance(notification, ua.DataChangeNotification):
            others.append(notification)
            continue
        for item in notification.MonitoredItems or ():
            number = None if objects else _number(item.Value.Value)
            if number is None:
                odd.append(Odd(int(item.ClientHandle), item.Value))
                continue
            handles.append(int(item.ClientHandle))
            values.append(number)
            status.append(item.Value.StatusCode.value if item.Value.StatusCode is not None else 0)
            ticks.append(_ticks(item.Value))
    times = ticks_to_ns(np.array(ticks, dtype=np.int64))
    return Publication(
        subscription=int(result.SubscriptionId) if result else 0,
        sequence=int(message.SequenceNumber),
        handles=np.array(handles, dtype=np.uint32),
        values=np.array(values, dtype=np.float64),
        times_ns=times,
        status=np.array(status, dtype=np.uint32),
        odd=odd,
        available=tuple(int(number) for number in result.AvailableSequenceNumbers or ()) if result else (),
        more=bool(result.MoreNotifications) if result else False,
        keep_alive=not message.NotificationData,
        results=tuple(code.value for code in result.Results or ()) if result else (),
        others=others,
        untimed=int(np.count_nonzero(times == 0)),
        by_asyncua=True,
    )


def _number(variant: ua.Variant | None) -> float | None:
    if variant is None or variant.VariantType == ua.VariantType.Null:
        return float("nan")
    if variant.is_array or variant.VariantType.value not in SCALARS:
        return None
    return float(variant.Value)


def _ticks(value: ua.DataValue) -> int:
    for time in (value.SourceTimestamp, value.ServerTimestamp):
        if time is not None:
            ticks: int = ua.datetime_to_win_epoch(time)
            if ticks > 0:
                return ticks
    return 0
