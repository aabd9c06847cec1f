"""An OPC UA server that stands for one plant: CNC machines that work, wear out and are repaired, faster than life.

Run as its own process; `--help` lists the options:

    python -m twinloom.adapters.opcua.simulator --plant toulouse --port 48410 --speedup 2000 --seed 7

Address space below Objects, namespace `urn:twinloom:simulator:cnc`: line / machine / component / variable, with
EngineeringUnits and EURange (Part 8, 5.6.3); `controller` holds slow text and the writable feed_override. The object
`simulator` shows what was put out: paths, counts, ticks and the method count_between(start_ns, end_ns).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from asyncua import Server, ua
from asyncua.common.methods import uamethod

from twinloom.adapters.opcua.columns import Columns, ColumnSubscriptions
from twinloom.adapters.opcua.ledger import Ledger
from twinloom.adapters.opcua.machine import VARIABLES, Machines, Variable
from twinloom.twin.errors import BadFile, TwinloomError

NAMESPACE = "urn:twinloom:simulator:cnc"
_UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"
_BAD_SENSOR_FAILURE = 0x808C0000
_SLOW_TICKS = 10
_LAST_PUBLISH_S = 0.5
_PROGRAMS = ("RIB-114-ROUGH", "RIB-114-FINISH", "STRUT-07-OP10", "STRUT-07-OP20", "DISC-33-TURNMILL", "BLISK-9-OP30")
_EXAMPLE_PLANT = Path(__file__).parents[2] / "examples" / "cnc" / "plant.yaml"


@dataclass(frozen=True, slots=True)
class Options:
    """How a simulator runs. `speedup`: plant seconds per second. `bad_share`: samples with Bad_SensorFailure."""

    plant: str
    port: int
    speedup: float = 1.0
    seed: int = 1
    plant_file: Path = _EXAMPLE_PLANT
    start_ages: Literal["new", "mixed"] = "new"
    stats_file: Path | None = None
    period_s: float = 0.1
    bad_share: float = 0.0
    host: str = "127.0.0.1"


def machines_of(plant: str, file: Path) -> list[tuple[str, str]]:
    """(line, machine) names of `plant` in a plant file, in its order. Raises BadFile naming file and place."""
    remedy = "give a plant file such as examples/cnc/plant.yaml and one of its plants"
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        plants = {entry["id"]: entry for entry in document["twins"]}
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BadFile(str(file), "not a plant file", place="/twins", remedy=remedy) from error
    if plant not in plants:
        raise BadFile(str(file), f"no plant {plant!r} among {', '.join(plants)}", place="/twins", remedy=remedy)
    found = [
        (line["id"], machine["id"])
        for line in plants[plant].get("contains", [])
        for machine in line.get("contains", [])
    ]
    if not found:
        raise BadFile(str(file), f"plant {plant!r} has no machines", place="/twins", remedy=remedy)
    return found


class Simulator:
    """One plant's server. `start`, then `run` until `stop`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._names = machines_of(options.plant, options.plant_file)
        # Each plant wears by its own stream of the same seed.
        seed = int(np.random.SeedSequence([options.seed, *options.plant.encode()]).generate_state(1)[0])
        self._machines = Machines(len(self._names), seed, start_ages=options.start_ages)
        self._random = np.random.default_rng([seed, 0xBAD])
        paths = [
            "/".join(part for part in (line, machine, variable.component, variable.name) if part)
            for line, machine in self._names
            for variable in VARIABLES
        ]
        self.ledger = Ledger(paths)
        self._server = Server()
        self._modes: list[Any] = []
        self._programs: list[Any] = []
        self._overrides: list[ua.NodeId] = []
        self._shown: list[tuple[str, str]] = [("", "")] * len(self._names)
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Builds the address space and listens. Raises OSError when the port is taken."""
        server = self._server
        await server.init()
        server.set_endpoint(f"opc.tcp://{self._options.host}:{self._options.port}")
        server.set_server_name(f"twinloom simulator, plant {self._options.plant}")
        await server.set_application_uri(f"urn:twinloom:simulator:{self._options.plant}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self._namespace = await server.register_namespace(NAMESPACE)
        nodes = await self._build()
        self._columns = Columns(nodes)
        self._service = ColumnSubscriptions.install(server, self._columns)
        self._sample(self._options.period_s)
        await self._show_slow()
        await server.start()

    async def run(self) -> None:
        """A tick every period until `stop`; ticks that came due while the process stood still are skipped."""
        period, ticks = self._options.period_s, 0
        due = last = time.monotonic()
        while not self._stopping.is_set():
            due += period
            if (late := time.monotonic() - due) > period:
                due += period * math.floor(late / period)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._stopping.is_set():
                break
            now = time.monotonic()
            self._sample(now - last)
            last = now
            ticks += 1
            if ticks % _SLOW_TICKS == 0:
                await self._show_slow()

    def stop(self) -> None:
        self._stopping.set()

    async def close(self) -> None:
        """Lets the last samples out, ends sessions and writes the statistics file."""
        await asyncio.sleep(_LAST_PUBLISH_S)
        try:
            await asyncio.wait_for(self._server.stop(), 5.0)
        finally:
            if self._options.stats_file:
                self.ledger.write(self._options.stats_file, plant=self._options.plant, replaced=self._machines.replaced)

    def _sample(self, seconds: float) -> None:
        for i, node in enumerate(self._overrides):
            self._machines.override[i] = self._server.iserver.aspace.read_attribute_value(
                node, ua.AttributeIds.Value
            ).Value.Value
        values = self._machines.advance(seconds, seconds * self._options.speedup / 3600.0)
        self._columns.values[:] = values.ravel()
        if self._options.bad_share:
            bad = self._random.random(len(self._columns.values)) < self._options.bad_share
            self._columns.quality[:] = np.where(bad, _BAD_SENSOR_FAILURE, 0)
        time_ns = time.time_ns() // 1000 * 1000
        self._service.tick(time_ns)
        self.ledger.tick(time_ns)

    async def _show_slow(self) -> None:
        hours = self._machines.fleet.hours
        for i, mode in enumerate(self._machines.modes()):
            shown = (mode, _PROGRAMS[(i + int(hours / 40.0)) % len(_PROGRAMS)])
            if shown[0] != self._shown[i][0]:
                await self._modes[i].write_value(shown[0])
            if shown[1] != self._shown[i][1]:
                await self._programs[i].write_value(shown[1])
            self._shown[i] = shown

    async def _build(self) -> list[ua.NodeId]:
        objects, ns = self._server.nodes.objects, self._namespace
        lines: dict[str, Any] = {}
        nodes: list[ua.NodeId] = []
        for line, name in self._names:
            if line not in lines:
                lines[line] = await objects.add_object(ua.NodeId(line, ns), ua.QualifiedName(line, ns))
            path = f"{line}/{name}"
            machine = await lines[line].add_object(ua.NodeId(path, ns), ua.QualifiedName(name, ns))
            parents = {"": machine}
            for component in dict.fromkeys(v.component for v in VARIABLES if v.component):
                node_id = ua.NodeId(f"{path}/{component}", ns)
                parents[component] = await machine.add_object(node_id, ua.QualifiedName(component, ns))
            for variable in VARIABLES:
                prefix = f"{path}/{variable.component}" if variable.component else path
                nodes.append(await self._add_sensor(parents[variable.component], prefix, variable))
            await self._add_controller(machine, path)
        await self._add_evidence(objects)
        return nodes

    async def _add_sensor(self, parent: Any, prefix: str, variable: Variable) -> ua.NodeId:
        ns = self._namespace
        node = await parent.add_variable(
            ua.NodeId(f"{prefix}/{variable.name}", ns), ua.QualifiedName(variable.name, ns), 0.0, ua.VariantType.Double
        )
        await _add_unit(node, f"{prefix}/{variable.name}", ns, variable.code, variable.symbol)
        await node.add_property(
            ua.NodeId(f"{prefix}/{variable.name}/range", ns),
            ua.QualifiedName("EURange", 0),
            ua.Range(Low=variable.low, High=variable.high),
        )
        node_id: ua.NodeId = node.nodeid
        return node_id

    async def _add_controller(self, machine: Any, path: str) -> None:
        ns, path = self._namespace, f"{path}/controller"
        controller = await machine.add_object(ua.NodeId(path, ns), ua.QualifiedName("controller", ns))

        async def add(name: str, value: Any) -> Any:
            return await controller.add_variable(ua.NodeId(f"{path}/{name}", ns), ua.QualifiedName(name, ns), value)

        self._modes.append(await add("operating_mode", "idle"))
        self._programs.append(await add("program_name", ""))
        override = await add("feed_override", 100.0)
        await override.set_writable()
        await _add_unit(override, f"{path}/feed_override", ns, "P1", "%")
        self._overrides.append(override.nodeid)

    async def _add_evidence(self, objects: Any) -> None:
        ns, ledger, space = self._namespace, self.ledger, self._server.iserver.aspace
        parent = await objects.add_object(ua.NodeId("simulator", ns), ua.QualifiedName("simulator", ns))
        await parent.add_variable(ua.NodeId("simulator/paths", ns), ua.QualifiedName("paths", ns), list(ledger.nodes))
        counts = await parent.add_variable(
            ua.NodeId("simulator/counts", ns),
            ua.QualifiedName("counts", ns),
            ledger.counts.tolist(),
            ua.VariantType.UInt64,
        )
        space.set_attribute_value_callback(
            counts.nodeid,
            ua.AttributeIds.Value,
            lambda _node, _attribute: ua.DataValue(ua.Variant(ledger.counts.tolist(), ua.VariantType.UInt64)),
        )

        def count_between(_parent: ua.NodeId, start_ns: int, end_ns: int) -> Any:
            return ua.Variant(ledger.between(start_ns, end_ns), ua.VariantType.UInt64)

        await parent.add_method(
            ua.NodeId("simulator/count_between", ns),
            ua.QualifiedName("count_between", ns),
            uamethod(count_between),
            [ua.VariantType.Int64, ua.VariantType.Int64],
            [ua.VariantType.UInt64],
        )


async def _add_unit(node: Any, path: str, ns: int, code: str, symbol: str) -> None:
    unit = ua.EUInformation(
        NamespaceUri=_UNECE,
        UnitId=int.from_bytes(code.encode("ascii"), "big"),
        DisplayName=ua.LocalizedText(symbol),
        Description=ua.LocalizedText(symbol),
    )
    await node.add_property(ua.NodeId(f"{path}/unit", ns), ua.QualifiedName("EngineeringUnits", 0), unit)


def parse(arguments: Sequence[str]) -> Options:
    """Command-line arguments as options; argparse exits with status 2 on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python -m twinloom.adapters.opcua.simulator",
        description="An OPC UA server that stands for one plant of CNC machines.",
        epilog="example: python -m twinloom.adapters.opcua.simulator --plant derby --port 48412 --speedup 5000",
    )
    parser.add_argument("--plant", required=True, help="a plant of the plant file")
    parser.add_argument("--port", required=True, type=int, help="TCP port on the loopback interface")
    parser.add_argument("--host", default="127.0.0.1", help="interface to listen on (default 127.0.0.1)")
    parser.add_argument("--speedup", type=float, default=1.0, help="plant seconds per second (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed wears the same way (default 1)")
    parser.add_argument("--plant-file", type=Path, default=_EXAMPLE_PLANT, help="plant file (default: the example)")
    parser.add_argument("--start-ages", choices=("new", "mixed"), default="new", help="age of the parts at start")
    parser.add_argument("--stats-file", type=Path, help="written at the end: what was put out, per node")
    parser.add_argument("--period", dest="period_s", type=float, default=0.1, help="seconds per sample (default 0.1)")
    parser.add_argument("--bad-share", type=float, default=0.0, help="share of samples with Bad quality (default 0)")
    return Options(**vars(parser.parse_args(arguments)))


async def serve(options: Options) -> None:
    """Runs a simulator until SIGTERM or SIGINT; prints one line when it listens."""
    simulator = Simulator(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, simulator.stop)
    await simulator.start()
    gc.freeze()
    gc.enable()
    print(f"listening opc.tcp://{options.host}:{options.port} plant {options.plant}", flush=True)
    try:
        await simulator.run()
    finally:
        await simulator.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when it ended by signal; 2 with one sentence on standard error when it could not start."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    gc.disable()  # the standard address space is half a million objects: collecting while it loads doubles the start
    try:
        asyncio.run(serve(options))
    except (TwinloomError, OSError) as error:
        print(f"twinloom simulator: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
