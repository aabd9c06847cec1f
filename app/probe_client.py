"""The probe process as the demo and the benchmarks use it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinloom.twin.errors import Unavailable

READY_S = 30.0
STOP_S = 15.0


@dataclass(slots=True)
class Probe:
    """`recent` is the report of the last second."""

    process: asyncio.subprocess.Process
    recent: dict[str, Any] = field(default_factory=dict)
    _reading: asyncio.Task[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, url: str, subtrees: Sequence[str], *, everything: int) -> AsyncIterator[Probe]:
        """Starts the process and waits until every subscription stands."""
        command = [sys.executable, "-m", "twinloom.app.probe", "--url", url.replace("http", "ws", 1) + "/graphql"]
        command += ["--everything", str(everything)]
        command += [part for subtree in subtrees for part in ("--subtree", subtree)]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        probe = cls(process)
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_S)
            if line.strip() != b"ready":
                raise Unavailable("the subscribers did not start", remedy="read their message above")
            probe._reading = asyncio.create_task(probe._read(process.stdout))
            yield probe
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if probe._reading is not None:
                probe._reading.cancel()

    async def stop(self) -> dict[str, Any]:
        """Ends the measurement; the report of the whole of it."""
        assert self.process.stdin is not None
        assert self._reading is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()
        await asyncio.wait_for(self._reading, STOP_S)
        return self.recent

    async def _read(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            self.recent = json.loads(line)
