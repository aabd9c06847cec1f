"""PublishResponse bytes as columns, without an object per value (Part 6, 5.2; Part 4, 5.14.5 and 7.25).

Three ways through a DataChangeNotification, each for what it does best: items that all have the same DataValue mask and
scalar type are one `numpy.frombuffer`; many items with mixed masks are measured one by one and then gathered per
layout (servers set the picosecond bits only when they are not zero, so this is the common case); few items are
unpacked one by one. An item that is no numeric scalar (text, array, structure) is decoded by asyncua and handed
over as an object; a response that holds anything else is left to asyncua whole (`decode` returns None, see `fallback`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 1, 2, 4, 8, 16, 32
_TICKS_1970: Final = 116_444_736_000_000_000
_TICKS_MIN: Final = _TICKS_1970 - 92_233_720_368_547_758  # the first DateTime that int64 ns since 1970 can hold (1677)
_TICKS_MAX: Final = _TICKS_1970 + 92_233_720_368_547_757
_PUBLISH_RESPONSE: Final = b"\x01\x00\x3d\x03"
_DATA_CHANGE: Final = b"\x01\x00\x2b\x03\x01"
_FEW = 24  # from here on measuring and gathering is faster than unpacking one by one

SCALARS: Final = {
    1: ("?", "?"), 2: ("b", "i1"), 3: ("B", "u1"), 4: ("h", "<i2"), 5: ("H", "<u2"), 6: ("i", "<i4"), 7: ("I", "<u4"),
    8: ("q", "<i8"), 9: ("Q", "<u8"), 10: ("f", "<f4"), 11: ("d", "<f8"),
}  # fmt: skip

Numbers = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint32]

_HEADER = struct.Struct("<4sqII")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_MESSAGE = struct.Struct("<Iqi")
_KEY = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How an item with one mask and scalar type lies in memory: client handle, mask, type, then the fields set."""

    size: int
    dtype: np.dtype[Any]
    unpack: struct.Struct
    value: int  # index of each field in an unpacked tuple, -1 = not there
    status: int
    time: int


def _layout(mask: int, kind: int) -> _Layout:
    names: list[tuple[str, str]] = [("handle", "<u4"), ("mask", "u1")]
    form, at = "<IB", {"value": -1, "status": -1, "source": -1, "server": -1}

    def add(name: str, code: str, numpy_code: str) -> None:
        nonlocal form
        at[name] = len(names)
        names.append((name, numpy_code))
        form += code

    if mask & _VALUE:
        add("type", "B", "u1")
        if kind:
            add("value", *SCALARS[kind])
    if mask & _STATUS:
        add("status", "I", "<u4")
    if mask & _SOURCE:
        add("source", "q", "<i8")
    if mask & _SOURCE_PICO:
        add("source_pico", "H", "<u2")
    if mask & _SERVER:
        add("server", "q", "<i8")
    if mask & _SERVER_PICO:
        add("server_pico", "H", "<u2")
    dtype = np.dtype(names)
    return _Layout(
        size=dtype.itemsize,
        dtype=dtype,
        unpack=struct.Struct(form),
        value=at["value"],
        status=at["status"],
        time=at["source"] if at["source"] >= 0 else at["server"],
    )


def _build() -> tuple[dict[int, _Layout], list[int]]:
    layouts: dict[int, _Layout] = {}
    for mask in range(64):
        if mask & _VALUE:
            for kind in (0, *SCALARS):
                layouts[mask | kind << 8] = _layout(mask, kind)
        else:
            bare = _layout(mask, 0)
            for following in range(256):  # the byte after the mask is no type then
                layouts[mask | following << 8] = bare
    sizes = [0] * 65536
    for key, layout in layouts.items():
        sizes[key] = layout.size
    return layouts, sizes


_LAYOUTS, _SIZES = _build()
_SIZE_OF = np.array(_SIZES, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Odd:
    """An item that is no numeric scalar: its place among the items, its handle and asyncua's DataValue."""

    handle: int
    value: ua.DataValue


@dataclass(slots=True)
class Publication:
    """A PublishResponse. `handles` uint32, `values` float64 (NaN where there is none), `times_ns` int64 and `status`
    uint32 are columns of equal length, in the order of arrival; `untimed` counts items without a usable timestamp
    (their time is 0: the receiver sets it). `more`: the server holds further notifications back.
    """

    subscription: int
    sequence: int
    handles: npt.NDArray[np.uint32]
    values: Numbers
    times_ns: Times
    status: Codes
    odd: list[Odd] = field(default_factory=list)
    available: tuple[int, ...] = ()
    more: bool = False
    keep_alive: bool = False
    results: tuple[int, ...] = ()
    others: list[Any] = field(default_factory=list)
    untimed: int = 0
    by_asyncua: bool = False


def ticks_to_ns(ticks: npt.NDArray[np.int64]) -> Times:
    """OPC UA DateTimes as ns since 1970; 0 (no time: DateTime.MinValue), and what int64 cannot hold at its ends.

    >>> ticks_to_ns(np.array([116_444_736_000_000_001])).tolist()
    [100]
    """
    if not len(ticks):
        return ticks
    if ticks.min() > _TICKS_MIN and ticks.max() < _TICKS_MAX:
        return (ticks - _TICKS_1970) * 100
    clipped = np.clip(ticks, _TICKS_MIN, _TICKS_MAX)
    times: Times = np.where(ticks <= 0, 0, (clipped - _TICKS_1970) * 100)
    return times


def decode(body: bytes) -> Publication | None:
    """The PublishResponse in `body` (from its TypeId on); None when asyncua must decode it (`fallback.decode_slowly`).

    Raises struct.error, IndexError or ValueError on bytes that are no PublishResponse.
    """
    kind, _, _, result = _HEADER.unpack_from(body, 0)
    # Four bytes of TypeId, time, handle, result; then no diagnostics, an empty string table, no additional header.
    if kind != _PUBLISH_RESPONSE or result or body[20] or body[25:28] != b"\0\0\0":
        return None
    if _I32.unpack_from(body, 21)[0] > 0:
        return None
    (subscription,) = _U32.unpack_from(body, 28)
    (count,) = _I32.unpack_from(body, 32)
    at = 36
    available: tuple[int, ...] = ()
    if count > 0:
        available = struct.unpack_from(f"<{count}I", body, at)
        at += 4 * count
    more = bool(body[at])
    sequence, _, parts = _MESSAGE.unpack_from(body, at + 1)
    at += 17
    columns = _Columns()
    for _ in range(max(parts, 0)):
        if body[at : at + 5] != _DATA_CHANGE:
            return None
        (length,) = _I32.unpack_from(body, at + 5)
        start = at + 9
        at = start + length
        if length < 4 or at > len(body) or not columns.read(body, start, at):
            return None
    (acknowledged,) = _I32.unpack_from(body, at)
    results: tuple[int, ...] = struct.unpack_from(f"<{acknowledged}I", body, at + 4) if acknowledged > 0 else ()
    return columns.publication(subscription, sequence, available, more, parts <= 0, results)


class _Columns:
    """Columns of one response, gathered from its notifications."""

    def __init__(self) -> None:
        self._parts: list[tuple[Any, Numbers, Times, Any]] = []
        self._odd: list[Odd] = []

    def read(self, body: bytes, start: int, end: int) -> bool:
        """A DataChangeNotification in body[start:end]; False when it holds diagnostics or does not fit."""
        (count,) = _I32.unpack_from(body, start)
        at = start + 4
        if count > 0:
            key = _KEY.unpack_from(body, at + 4)[0]
            size = _SIZES[key]
            if size and at + size * count + 4 == end and self._same(body, at, count, key):
                at += size * count
            elif count >= _FEW:
                at = self._measured(body, at, count)
            else:
                at = self._one_by_one(body, at, count)
        # DiagnosticInfos: none, or (seldom) more than this decoder knows.
        return at + 4 == end and _I32.unpack_from(body, at)[0] <= 0

    def publication(
        self,
        subscription: int,
        sequence: int,
        available: tuple[int, ...],
        more: bool,
        empty: bool,
        results: tuple[int, ...],
    ) -> Publication:
        if len(self._parts) == 1:
            handles, values, ticks, status = self._parts[0]
        elif self._parts:
            handles, values, ticks, status = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        else:
            handles, values, ticks, status = _NOTHING
        if len(ticks) and ticks.min() > _TICKS_MIN and ticks.max() < _TICKS_MAX:
            times, untimed = (ticks - _TICKS_1970) * 100, 0
        else:
            times = ticks_to_ns(ticks)
            untimed = int(np.count_nonzero(times == 0))
        return Publication(
            subscription=subscription,
            sequence=sequence,
            handles=handles,
            values=values,
            times_ns=times,
            status=status,
            odd=self._odd,
            available=available,
            more=more,
            keep_alive=empty,
            results=results,
            untimed=untimed,
        )

    def _same(self, body: bytes, at: int, count: int, key: int) -> bool:
        layout = _LAYOUTS[key]
        items = np.frombuffer(body, layout.dtype, count, at)
        if count > 1:
            first = body[at + 4]
            if not (items["mask"] == first).all() or (first & _VALUE and not (items["type"] == key >> 8).all()):
                return False
        self._add(layout, items, key & 0xFF)
        return True

    def _add(self, layout: _Layout, items: Any, mask: int) -> None:
        n = len(items)
        values = items["value"].astype(np.float64) if layout.value >= 0 else np.full(n, np.nan)
        status = items["status"].copy() if mask & _STATUS else np.zeros(n, dtype=np.uint32)
        name = "source" if mask & _SOURCE else "server" if mask & _SERVER else ""
        ticks = items[name].copy() if name else np.zeros(n, dtype=np.int64)
        if mask & _SOURCE and mask & _SERVER and not ticks.all():
            ticks = np.where(ticks <= 0, items["server"], ticks)
        self._parts.append((items["handle"].copy(), values, ticks, status))

    def _measured(self, body: bytes, at: int, count: int) -> int:
        keys: list[int] = []
        append, key_at, sizes, end = keys.append, _KEY.unpack_from, _SIZES, at
        for _ in range(count):
            (key,) = key_at(body, end + 4)
            size = sizes[key]
            if not size:
                return self._one_by_one(body, at, count)
            append(key)
            end += size
        if end > len(body):
            raise ValueError("items end behind the message")
        key_of = np.array(keys, dtype=np.int64)
        offsets = np.empty(count, dtype=np.int64)
        offsets[0] = at
        np.cumsum(_SIZE_OF[key_of[:-1]], out=offsets[1:])
        offsets[1:] += at
        raw = np.frombuffer(body, np.uint8)
        handles, values = np.empty(count, dtype=np.uint32), np.empty(count)
        ticks, status = np.empty(count, dtype=np.int64), np.zeros(count, dtype=np.uint32)
        # Items without a value have the next field's byte where others have a type: one layout, many keys.
        layout_of = np.where(key_of & _VALUE, key_of, key_of & 0xFF)
        for key in np.unique(layout_of).tolist():
            (rows,) = np.nonzero(layout_of == key)
            layout = _LAYOUTS[key]
            items = raw[offsets[rows][:, None] + np.arange(layout.size)].view(layout.dtype)[:, 0]
            part = _Columns()
            part._add(layout, items, key & 0xFF)
            handles[rows], values[rows], ticks[rows], status[rows] = part._parts[0]
        self._parts.append((handles, values, ticks, status))
        return end

    def _one_by_one(self, body: bytes, at: int, count: int) -> int:
        handles: list[int] = []
        values: list[float] = []
        ticks: list[int] = []
        status: list[int] = []
        layouts, key_at, nan = _LAYOUTS, _KEY.unpack_from, float("nan")
        for _ in range(count):
            (key,) = key_at(body, at + 4)
            layout = layouts.get(key)
            if layout is None:
                at = self._odd_item(body, at)
                continue
            fields = layout.unpack.unpack_from(body, at)
            handles.append(fields[0])
            values.append(fields[layout.value] if layout.value >= 0 else nan)
            time = fields[layout.time] if layout.time >= 0 else 0
            if time <= 0 and key & _SOURCE and key & _SERVER:
                time = fields[-2] if key & _SERVER_PICO else fields[-1]
            ticks.append(time)
            status.append(fields[layout.status] if layout.status >= 0 else 0)
            at += layout.size
        if handles:
            self._parts.append(
                (
                    np.array(handles, dtype=np.uint32),
                    np.array(values, dtype=np.float64),
                    np.array(ticks, dtype=np.int64),
                    np.array(status, dtype=np.uint32),
                )
            )
        return at

    def _odd_item(self, body: bytes, at: int) -> int:
        (handle,) = _U32.unpack_from(body, at)
        buffer = Buffer(body, at + 4)
        self._odd.append(Odd(handle, struct_from_binary(ua.DataValue, buffer)))
        end: int = buffer.cur_pos
        return end


_NOTHING: tuple[Any, Numbers, Times, Any] = (
    np.empty(0, dtype=np.uint32), np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint32),
)  # fmt: skip
