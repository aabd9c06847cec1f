"""One OPC UA server as a `Source`: connects, subscribes, hands over columns, survives what servers do.

States: connecting -> live -> (stale: three keep-alives without a word) -> lost (session over, reconnecting) -> live.
One outage, from the last value before it to the first after it, is one marked gap, filled from the server's own history
where it has one. A new connection is a new client; every wait has a time-out.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from asyncua import ua

from twinloom.adapters.opcua.events import Alarms
from twinloom.adapters.opcua.mapping import OpcUaMapping, read_mapping
from twinloom.adapters.opcua.reader import Connection, Reader, Stream
from twinloom.adapters.opcua.security import Ticket
from twinloom.adapters.opcua.session import Session, SessionEnded, connect
from twinloom.adapters.opcua.settings import OpcUaSettings
from twinloom.adapters.opcua.table import Key
from twinloom.twin.errors import SourceUnavailable
from twinloom.twin.ids import TwinId
from twinloom.twin.ports import Clock, ReadingSink, SourceState, SourceStatus, SystemClock

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class _Kept:
    ticket: Ticket
    stream: Stream


class OpcUaSource:
    """Reads the server of `settings` by the rules of `mapping`. Only BadFile and BadSetting end `run`."""

    def __init__(self, settings: OpcUaSettings, mapping: OpcUaMapping, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.mapping = mapping
        self.clock = clock or SystemClock()
        self.counters: Counter[str] = Counter()
        self._status = SourceStatus(settings.name, "connecting", self.clock.now_ns())
        self.last: dict[Key, int] = {}
        self.twins: tuple[TwinId, ...] = ()
        self.outage: tuple[int, str] | None = None
        self._was_live = False
        self.connection: Connection | None = None
        self.actuated: frozenset[Key] = frozenset()
        self.alarms = Alarms(settings.name)
        self.losses_before = 0

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def state(self) -> SourceState:
        return self._status.state

    def status(self) -> SourceStatus:
        return replace(self._status, counters=dict(self.counters))

    @property
    def knows_times(self) -> bool:
        """True when values have been read before."""
        return bool(self.last)

    @property
    def losses(self) -> int:
        """Samples and messages known to be lost since start."""
        return self.counters["queue_overflow"] + self.counters["missed_messages"]

    def connected(self, connection: Connection) -> None:
        """What can be written to is remembered, so that an order fails while the server is away."""
        self.connection = connection
        written = [node.target for node in connection.table.nodes if node.writable]
        written += [method.target for method in connection.methods]
        self.actuated = frozenset((target.twin, target.path) for target in written)

    async def run(self, sink: ReadingSink) -> None:
        pause = _FIRST_PAUSE_S
        kept: _Kept | None = None
        while True:
            lived = False
            try:
                async with connect(self.settings, kept.ticket if kept else None) as session:
                    stream = kept.stream if kept and session.resumed else None
                    kept = None
                    reader = Reader(self, session, sink, stream)
                    try:
                        await reader.run()
                    finally:
                        self.connection = None
                        lived = reader.lived
                        kept = self._keep(session, reader)
            except (SourceUnavailable, ConnectionError, TimeoutError, ua.UaError, OSError) as error:
                if isinstance(error, SessionEnded | ua.UaError):
                    kept = None
                reason = str(error) or type(error).__name__
                self.counters["disconnects" if lived else "failed_connects"] += 1
                await self.enter("lost" if self._was_live else "connecting", reason, sink)
            pause = _FIRST_PAUSE_S if lived else min(2 * pause, self.settings.retry_max_s)
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))

    def _keep(self, session: Session, reader: Reader) -> _Kept | None:
        reader.stream.table.remember(self.last)
        ticket = session.client.ticket_for_later()
        if not self.settings.resume or ticket is None or not reader.stream.subscriptions:
            return None
        return _Kept(ticket, reader.stream)

    async def enter(self, state: SourceState, reason: str, sink: ReadingSink) -> None:
        """Reports a change of state; the first step away from live opens an outage."""
        if state in ("stale", "lost") and self._was_live and self.outage is None:
            self.outage = (max(self.last.values(), default=0) or self.clock.now_ns(), reason)
            self.losses_before = self.losses
        changed = state != self._status.state
        news = changed or (bool(reason) and not self._status.reason)
        self._status = SourceStatus(self.name, state, self.clock.now_ns() if changed else self._status.since_ns, reason)
        if state == "live":
            self._was_live = True
        if news:
            log = _log.info if state == "live" else _log.warning
            log("opcua source %s is %s%s", self.name, state, f": {reason}" if reason else "")
            await sink.report(self.status(), self.twins)


def sources_of(file: Path) -> list[OpcUaSource]:
    """One source a server of the mapping file: the entry point `opcua` of `twinloom.sources`. Raises BadFile."""
    mapping = read_mapping(file)
    return [OpcUaSource(server, mapping) for server in mapping.servers]
