"""`twinloom demo`: the whole road in one command, with real protocols and measured figures.

Starts one OPC UA simulator a plant (processes), the service (this process) and real WebSocket subscribers (a process)
that measure latency from source timestamp to receipt. `lost` compares, node by node, what each simulator says it put
out with what was folded and published here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live

from twinloom.app.bootstrap import build_service
from twinloom.app.census import Census
from twinloom.app.folder import claimed, example
from twinloom.app.probe_client import Probe
from twinloom.app.server import listen, quieten_libraries, serving
from twinloom.app.settings import Settings
from twinloom.app.simulators import Simulators
from twinloom.app.summary import Figures, picture
from twinloom.graph.seed import read_plant
from twinloom.graph.store import Change
from twinloom.runtime.service import Service
from twinloom.twin.errors import BadFile, TwinloomError

log = logging.getLogger(__name__)
PLANTS = ("toulouse", "hamburg", "derby")
SETTLE_S = 1.0
FIRST_VALUE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    host: str
    port: int
    data: Path | None
    duration_s: float | None
    as_json: bool
    snapshot: Path | None
    seed: int
    speedup: float
    subscribers: int


async def run_demo(options: DemoOptions) -> int:
    """Runs until `duration_s` or Ctrl-C and returns the exit status: 1 when anything was lost or failed."""
    if options.snapshot is not None and not options.snapshot.parent.is_dir():
        raise BadFile(
            str(options.snapshot),
            f"the folder {options.snapshot.parent} does not exist",
            remedy="make it, or give another name",
        )
    with contextlib.ExitStack() as stack:
        data = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinloom-demo-")))
        stack.enter_context(claimed(data))
        stack.enter_context(_logging_to(data / "demo.log"))
        listener = stack.enter_context(listen(options.host, options.port))
        run = _Run(options, data, Simulators(data, example() / "plant.yaml", options.seed, options.speedup))
        await run.until_done(listener)
    return run.conclude()


@contextlib.contextmanager
def _logging_to(file: Path):  # type: ignore[no-untyped-def]
    """The summary has the screen, so the log goes to a file; warnings of the libraries included."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    quieten_libraries()
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


@dataclass(slots=True)
class _Run:
    options: DemoOptions
    data: Path
    simulators: Simulators
    figures: Figures = field(default_factory=Figures)
    failures: list[str] = field(default_factory=list)

    async def until_done(self, listener: Any) -> None:
        began = time.monotonic()
        done = asyncio.Event()
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, done.set)
        try:
            await self.simulators.launch(PLANTS)
            # Loading the models takes as long as the simulators take to start: it happens meanwhile.
            settings = self._settings()
            service = build_service(settings, seed=self._seed())
            await self.simulators.listening()
            async with serving(service, settings, listener, mode="demo") as url, Census.of(service) as census:
                self.figures.url = url
                subtrees = census.machines(self.options.subscribers)
                async with Probe.started(url, subtrees, everything=1) as probe, self._shown(service, probe):
                    if await self._first_value(census, done, began):
                        await self._wait(done)
                    self.figures.latency_ms = await self._stop_probe(probe)
                    self.figures.take(service)
                    await self._snapshot(url)
                records = await self.simulators.stop()
                await asyncio.sleep(SETTLE_S)
                self.figures.take_values(service)
                self.figures.lost = census.lost(records)
                self.failures += [
                    f"the simulator of {plant} left no count: it was killed" for plant in PLANTS if plant not in records
                ]
        finally:
            await self.simulators.stop()

    def conclude(self) -> int:
        """Prints the last word and returns the exit status."""
        if self.figures.lost:
            self.failures.append(f"{self.figures.lost} values were lost")
        if self.options.duration_s and not self.figures.received:
            self.failures.append("no value was received")
        if self.options.as_json:
            print(json.dumps({**self.figures.report(), "failures": self.failures}))
        else:
            console = Console(highlight=False)
            console.print(picture(self.figures))
            for failure in self.failures:
                console.print(f"[red]{failure}[/]")
        return 1 if self.failures else 0

    def _settings(self) -> Settings:
        mapping = yaml.safe_load((example() / "opcua.yaml").read_text(encoding="utf-8"))
        for server in mapping["servers"]:
            server["endpoint"] = f"opc.tcp://127.0.0.1:{self.simulators.ports[server['name']]}"
        file = self.data / "opcua.yaml"
        file.write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")
        return Settings(
            data=self.data,
            sources=(f"opcua:{file}",),
            rules=example() / "rules.yaml",
            host=self.options.host,
            port=self.options.port,
            authentication=False,
            development=True,
        )

    def _seed(self) -> tuple[Change, ...]:
        return read_plant(example() / "plant.yaml").changes

    async def _first_value(self, census: Census, done: asyncio.Event, began: float) -> bool:
        """Waits for the first value; False at a stop, or when a run of limited duration got none."""
        coming, stopping = asyncio.create_task(census.first_value()), asyncio.create_task(done.wait())
        patience = FIRST_VALUE_S if self.options.duration_s else None
        await asyncio.wait({coming, stopping}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        came = coming.done()
        if came:
            self.figures.first_value_s = coming.result() - began
        coming.cancel()
        stopping.cancel()
        return came

    async def _wait(self, done: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), self.options.duration_s)

    async def _stop_probe(self, probe: Probe) -> dict[str, float]:
        report = await probe.stop()
        for trouble in report["errors"]:
            self.failures.append(f"a subscriber failed: {trouble}")
        if report["missed"]:
            self.failures.append(f"subscribers missed {report['missed']} values")
        self.figures.deliveries = report["deliveries"]
        self.figures.subscribers = self.options.subscribers + 1
        latency: dict[str, float] = report["latency_ms"]
        return latency

    async def _snapshot(self, url: str) -> None:
        if self.options.snapshot is None:
            return
        command = [sys.executable, "-m", "twinloom.app.cli", "snapshot", str(self.options.snapshot), "--url", url]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            self.failures.append(f"no picture: {output.decode(errors='replace').strip()[-300:]}")

    @contextlib.asynccontextmanager
    async def _shown(self, service: Service, probe: Probe) -> AsyncIterator[None]:
        """The live summary, redrawn each second; silent with --json or when the output is no terminal."""
        console = Console(stderr=self.options.as_json)
        if self.options.as_json or not console.is_terminal:
            if not self.options.as_json:
                console.print(f"twinloom demo: {self.figures.url}  (Ctrl-C ends it)", highlight=False)
            yield
            return

        async def draw(live: Live) -> None:
            while True:
                self.figures.take(service)
                self.figures.latency_ms = probe.recent.get("latency_ms", {})
                live.update(picture(self.figures, service, console.size), refresh=True)
                await asyncio.sleep(1.0)

        with Live(console=console, auto_refresh=False, screen=True) as live:
            drawing = asyncio.create_task(draw(live))
            try:
                yield
            finally:
                drawing.cancel()
                with contextlib.suppress(asyncio.CancelledError, TwinloomError):
                    await drawing
