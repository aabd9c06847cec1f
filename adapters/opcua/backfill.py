"""What a server's own history knows of the time in which nobody listened (OPC 10000-11, HistoryRead raw)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from asyncua import ua

from twinloom.adapters.opcua.decode import ticks_to_ns
from twinloom.adapters.opcua.session import Session
from twinloom.adapters.opcua.table import Table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NODES_PER_CALL = 50
_VALUES_PER_NODE = 10_000
_MOST_VALUES = 2_000_000


@dataclass(frozen=True, slots=True)
class Backfill:
    """Numbers from history as columns, oldest first per node. `complete`: every node that was asked has answered."""

    handles: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float64]
    times_ns: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint32]
    complete: bool


async def read_history(session: Session, table: Table, end_ns: int) -> Backfill:
    """The samples of each numeric node after its last one, up to `end_ns`.

    Raises UaError, ConnectionError, TimeoutError. Not complete when a node keeps no history or the
    limit of two million values was met.
    """
    last = table.last.copy()  # live values move it while the server searches
    asked = [
        i
        for i, node in enumerate(table.nodes)
        if table.watched[i] and not table.is_text[i] and node.has_history and last[i] > 0
    ]
    numeric = int(np.count_nonzero(table.watched & ~table.is_text))
    complete = bool(asked) and len(asked) == numeric
    rows: list[tuple[int, float, int, int]] = []
    for start in range(0, len(asked), _NODES_PER_CALL):
        part = asked[start : start + _NODES_PER_CALL]
        begin_ns = int(last[part].min())
        pending = [ua.HistoryReadValueId(NodeId=table.nodes[i].node) for i in part]
        places = list(part)
        while pending and len(rows) < _MOST_VALUES:
            results = await session.client.uaclient.history_read(
                ua.HistoryReadParameters(
                    HistoryReadDetails=ua.ReadRawModifiedDetails(
                        IsReadModified=False,
                        StartTime=_time(begin_ns),
                        EndTime=_time(end_ns),
                        NumValuesPerNode=_VALUES_PER_NODE,
                        ReturnBounds=False,
                    ),
                    TimestampsToReturn=ua.TimestampsToReturn.Both,
                    ReleaseContinuationPoints=False,
                    NodesToRead=pending,
                )
            )
            again: list[ua.HistoryReadValueId] = []
            again_places: list[int] = []
            for i, result in zip(places, results, strict=True):
                if not result.StatusCode.is_good():
                    complete = False
                    continue
                rows += _rows(i, result, int(last[i]))
                if result.ContinuationPoint:
                    again.append(
                        ua.HistoryReadValueId(NodeId=table.nodes[i].node, ContinuationPoint=result.ContinuationPoint)
                    )
                    again_places.append(i)
            pending, places = again, again_places
        complete &= not pending
    return _columns(rows, complete)


def _time(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)


def _rows(handle: int, result: ua.HistoryReadResult, after_ns: int) -> list[tuple[int, float, int, int]]:
    data = result.HistoryData
    rows: list[tuple[int, float, int, int]] = []
    for value in getattr(data, "DataValues", None) or ():
        stamp = value.SourceTimestamp or value.ServerTimestamp
        number = value.Value.Value if value.Value is not None else None
        if stamp is None or isinstance(number, str | bytes | list):
            continue
        time = int(ticks_to_ns(np.array([ua.datetime_to_win_epoch(stamp)]))[0])
        if time > after_ns:
            status = int(value.StatusCode.value) if value.StatusCode is not None else 0
            rows.append((handle, float("nan") if number is None else float(number), time, status))
    return rows


def _columns(rows: list[tuple[int, float, int, int]], complete: bool) -> Backfill:
    rows.sort(key=lambda row: row[2])
    handles, values, times, status = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Backfill(
        handles=np.array(handles, dtype=np.uint32),
        values=np.array(values, dtype=np.float64),
        times_ns=np.array(times, dtype=np.int64),
        status=np.array(status, dtype=np.uint32),
        complete=complete,
    )
