"""The columnar decoder against asyncua's own, on any PublishResponse that hypothesis can think of."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloom.adapters.opcua.decode import Publication, decode, ticks_to_ns
from twinloom.adapters.opcua.fallback import decode_slowly

V = ua.VariantType
_RANGES = {
    V.SByte: (-128, 127), V.Byte: (0, 255), V.Int16: (-(2**15), 2**15 - 1), V.UInt16: (0, 2**16 - 1),
    V.Int32: (-(2**31), 2**31 - 1), V.UInt32: (0, 2**32 - 1), V.Int64: (-(2**53), 2**53), V.UInt64: (0, 2**53),
}  # fmt: skip

numbers = st.one_of(
    *(st.integers(low, high).map(lambda n, kind=kind: ua.Variant(n, kind)) for kind, (low, high) in _RANGES.items()),
    st.booleans().map(lambda b: ua.Variant(b, V.Boolean)),
    st.floats(width=32, allow_nan=False).map(lambda x: ua.Variant(x, V.Float)),
    st.floats(allow_nan=False).map(lambda x: ua.Variant(x, V.Double)),
    st.just(ua.Variant(None, V.Null)),
)
others = st.one_of(
    st.text(max_size=20).map(lambda t: ua.Variant(t, V.String)),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=4).map(lambda xs: ua.Variant(xs, V.Double)),
    st.text(max_size=9).map(lambda t: ua.Variant(ua.LocalizedText(t, "en"), V.LocalizedText)),
)
times = st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))
picoseconds = st.none() | st.integers(1, 9999)
statuses = st.sampled_from([0, 0, 0, 0x80310000, 0x40940000, 0x00000480, 0x808C0000])


@st.composite
def items(draw: st.DrawFn, values: st.SearchStrategy[Any] = numbers) -> ua.MonitoredItemNotification:
    source = draw(times)
    server = draw(times)
    return ua.MonitoredItemNotification(
        ClientHandle=draw(st.integers(0, 2**32 - 1)),
        Value=ua.DataValue(
            Value=draw(values),
            StatusCode=ua.StatusCode(draw(statuses)),
            SourceTimestamp=source,
            ServerTimestamp=server,
            SourcePicoseconds=draw(picoseconds) if source else None,
            ServerPicoseconds=draw(picoseconds) if server else None,
        ),
    )


def response(*notifications: Any, sequence: int = 7, available: tuple[int, ...] = (), acknowledged: int = 0) -> bytes:
    answer = ua.PublishResponse()
    answer.ResponseHeader.RequestHandle = 5
    answer.ResponseHeader.Timestamp = datetime(2024, 5, 6, tzinfo=UTC)
    answer.Parameters.SubscriptionId = 42
    answer.Parameters.AvailableSequenceNumbers = list(available)
    answer.Parameters.NotificationMessage.SequenceNumber = sequence
    answer.Parameters.NotificationMessage.PublishTime = datetime(2024, 5, 6, tzinfo=UTC)
    answer.Parameters.NotificationMessage.NotificationData = list(notifications)
    answer.Parameters.Results = [ua.StatusCode(0)] * acknowledged
    encoded: bytes = struct_to_binary(answer)
    return encoded


def change(entries: list[ua.MonitoredItemNotification]) -> ua.DataChangeNotification:
    return ua.DataChangeNotification(MonitoredItems=entries)


def assert_same(fast: Publication | None, slow: Publication) -> None:
    assert fast is not None
    assert (fast.subscription, fast.sequence, fast.available) == (slow.subscription, slow.sequence, slow.available)
    assert fast.keep_alive == slow.keep_alive
    assert fast.results == slow.results
    np.testing.assert_array_equal(fast.handles, slow.handles)
    np.testing.assert_array_equal(fast.values, slow.values)
    np.testing.assert_array_equal(fast.status, slow.status)
    np.testing.assert_array_equal(fast.times_ns // 1000, slow.times_ns // 1000)
    assert [odd.handle for odd in fast.odd] == [odd.handle for odd in slow.odd]
    assert [odd.value for odd in fast.odd] == [odd.value for odd in slow.odd]
    assert fast.untimed == slow.untimed


@settings(max_examples=300, deadline=None)
@given(st.lists(items(), max_size=60), st.integers(0, 3))
def test_numbers_of_any_mask_and_type_decode_as_asyncua_does(
    entries: list[ua.MonitoredItemNotification], acknowledged: int
) -> None:
    body = response(change(entries), available=(3, 7), acknowledged=acknowledged)
    assert_same(decode(body), decode_slowly(body))


@settings(max_examples=150, deadline=None)
@given(st.lists(items(st.one_of(numbers, others)), min_size=1, max_size=50))
def test_texts_and_arrays_among_numbers_are_handed_over_as_objects(entries: list[ua.MonitoredItemNotification]) -> None:
    body = response(change(entries))
    assert_same(decode(body), decode_slowly(body))


@settings(max_examples=100, deadline=None)
@given(items(), st.integers(1, 80))
def test_items_of_one_layout_decode_as_asyncua_does(entry: ua.MonitoredItemNotification, count: int) -> None:
    body = response(change([entry] * count))
    assert_same(decode(body), decode_slowly(body))


@settings(max_examples=60, deadline=None)
@given(st.lists(items(), max_size=30), st.lists(items(), max_size=30))
def test_two_notifications_in_one_message_are_joined_in_order(first: list[Any], second: list[Any]) -> None:
    body = response(change(first), change(second))
    assert_same(decode(body), decode_slowly(body))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_what_the_source_counts(noise: bytes) -> None:
    for decoder in (decode, decode_slowly):
        with suppress(struct.error, IndexError, ValueError, ua.UaError):
            decoder(noise)


@settings(max_examples=100, deadline=None)
@given(st.lists(items(st.one_of(numbers, others)), min_size=1, max_size=40), st.data())
def test_a_cut_or_changed_response_raises_only_what_the_source_counts(entries: list[Any], data: st.DataObject) -> None:
    body = bytearray(response(change(entries)))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        publication = decode(damaged)
    except (struct.error, IndexError, ValueError, ua.UaError):
        return
    if publication is not None:
        assert len(publication.handles) == len(publication.values) == len(publication.times_ns)


def test_a_keep_alive_has_no_columns_and_shows_the_next_sequence_number() -> None:
    publication = decode(response(sequence=12))
    assert publication is not None
    assert publication.keep_alive and publication.sequence == 12 and not len(publication.handles)


def test_events_and_status_changes_are_left_to_asyncua() -> None:
    body = response(ua.StatusChangeNotification(Status=ua.StatusCode(ua.StatusCodes.BadTimeout)))
    assert decode(body) is None
    (status,) = decode_slowly(body).others
    assert status.Status.value == ua.StatusCodes.BadTimeout


def test_a_failed_service_is_left_to_asyncua_which_raises_its_status() -> None:
    answer = ua.PublishResponse()
    answer.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadInternalError)
    body = struct_to_binary(answer)
    assert decode(body) is None
    with pytest.raises(ua.UaStatusCodeError):
        decode_slowly(body)


def test_objects_keep_booleans_and_integers_what_they_are() -> None:
    entries = [
        ua.MonitoredItemNotification(ClientHandle=n, Value=ua.DataValue(ua.Variant(value, kind)))
        for n, (value, kind) in enumerate([(True, V.Boolean), (2**63 - 1, V.Int64), ("on", V.String)])
    ]
    publication = decode_slowly(response(change(entries)), objects=True)
    assert [odd.value.Value.Value for odd in publication.odd] == [True, 2**63 - 1, "on"]


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_datetime_becomes_a_time_that_int64_holds(ticks: int) -> None:
    (ns,) = ticks_to_ns(np.array([ticks])).tolist()
    exact = (ticks - 116_444_736_000_000_000) * 100
    if ticks <= 0:
        assert ns == 0
    elif abs(exact) < 2**63 - 1000:
        assert ns == exact
    else:
        assert math.copysign(1, ns) == math.copysign(1, exact) and abs(ns) > 2**62


def test_a_value_without_source_time_takes_the_servers() -> None:
    when = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    entry = ua.MonitoredItemNotification(
        ClientHandle=1, Value=ua.DataValue(ua.Variant(1.5, V.Double), ServerTimestamp=when)
    )
    publication = decode(response(change([entry])))
    assert publication is not None
    assert publication.times_ns[0] == (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
