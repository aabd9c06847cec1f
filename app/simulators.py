"""The simulated plants of the demo: one OPC UA server process each, and what they say they put out."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from twinloom.adapters.opcua.ledger import Record, read_record
from twinloom.twin.errors import BadFile, SourceUnavailable

READY_S = 30.0
STOP_S = 10.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(slots=True)
class Simulators:
    """`folder` takes their logs and statistics."""

    folder: Path
    plant_file: Path
    seed: int
    speedup: float
    ports: dict[str, int] = field(default_factory=dict)
    _processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def launch(self, plants: tuple[str, ...]) -> None:
        """Starts one process a plant; their `ports` stand from now on."""
        for number, plant in enumerate(plants):
            self.ports[plant] = free_port()
            self._stats(plant).unlink(missing_ok=True)  # an earlier run's count is not this one's
            command = [
                sys.executable, "-m", "twinloom.adapters.opcua.simulator",
                "--plant", plant, "--port", str(self.ports[plant]), "--plant-file", str(self.plant_file),
                "--seed", str(self.seed + number), "--speedup", str(self.speedup),
                "--start-ages", "mixed", "--stats-file", str(self._stats(plant)),
            ]  # fmt: skip
            with self._log(plant).open("wb") as log:
                self._processes[plant] = await asyncio.create_subprocess_exec(
                    *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )

    async def listening(self) -> None:
        """Waits until each listens. Raises SourceUnavailable naming the log of one that does not."""
        for plant in self.ports:
            await self._wait_until_listening(plant)

    async def stop(self) -> dict[str, Record]:
        """Ends them politely (they stop writing, let the last values out, then exit); their ledgers by plant."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        ledgers = {}
        for plant in self._processes:
            with contextlib.suppress(BadFile):
                ledgers[plant] = read_record(self._stats(plant))
        self._processes.clear()
        return ledgers

    async def _wait_until_listening(self, plant: str) -> None:
        deadline = asyncio.get_running_loop().time() + READY_S
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.ports[plant])
                writer.close()
                return
            if self._processes[plant].returncode is not None or asyncio.get_running_loop().time() > deadline:
                # The log may lie in a temporary folder that is soon gone: its last line comes along.
                said = self._log(plant).read_text(errors="replace").strip().splitlines()
                raise SourceUnavailable(
                    f"the simulator of {plant} did not start: {said[-1] if said else 'it said nothing'}",
                    remedy="run again with --data DIR to keep its whole log",
                )
            await asyncio.sleep(0.1)

    def _stats(self, plant: str) -> Path:
        return self.folder / f"simulator-{plant}.json"

    def _log(self, plant: str) -> Path:
        return self.folder / f"simulator-{plant}.log"
