"""Orders to machines: a write or a method call, done only when the machine itself shows the outcome.

An order is sent once. When the answer or the echo does not come, nobody knows whether the machine obeyed, and the error
says so; nothing is sent a second time. Writes leave through the session of the source that reads the same server.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from asyncua import ua

from twinloom.adapters.opcua.decode import ticks_to_ns
from twinloom.adapters.opcua.discover import MappedMethod, browse, read
from twinloom.adapters.opcua.plain import plain
from twinloom.adapters.opcua.reader import Connection
from twinloom.adapters.opcua.source import OpcUaSource
from twinloom.twin.errors import BadRequest, CommandFailed
from twinloom.twin.ids import TwinId
from twinloom.twin.instance import Json
from twinloom.twin.ports import Echo, Source

_FIRST_LOOK_S = 0.02
_SLOWEST_LOOK_S = 0.25
_INTEGERS = {
    ua.VariantType.SByte, ua.VariantType.Byte, ua.VariantType.Int16, ua.VariantType.UInt16, ua.VariantType.Int32,
    ua.VariantType.UInt32, ua.VariantType.Int64, ua.VariantType.UInt64,
}  # fmt: skip
_FLOATS = {ua.VariantType.Float, ua.VariantType.Double}


class OpcUaActuator:
    """The way to the machines behind `source`."""

    def __init__(self, source: OpcUaSource) -> None:
        self._source = source

    def reaches(self, twin: TwinId, path: str) -> bool:
        """True for a mapped writable variable or method, also while the server is away: the order must fail then."""
        return (twin, path) in self._source.actuated

    async def write(self, twin: TwinId, path: str, value: Json, *, timeout_s: float) -> Echo:
        """Writes in the model's unit and waits until a read shows the value.

        Raises BadRequest when the value does not fit the node, CommandFailed with the StatusCode when the server
        refused, when the machine shows another value at the deadline, or when the connection broke.
        """
        connection = self._connection(twin, path)
        i = _variable(connection, twin, path)
        if i is None:
            raise CommandFailed(f"{twin} {path} cannot be written", remedy="map it to a writable OPC UA variable")
        async with self._deadline(twin, path, timeout_s):
            node = connection.table.nodes[i]
            (before,) = await read(connection.session, [(node.node, ua.AttributeIds.Value)])
            kind = before.Value.VariantType if before.Value is not None else ua.VariantType.Null
            wanted = _encodable(value, kind, lambda number: connection.table.to_node_unit(i, number), f"{twin} {path}")
            if isinstance(wanted, int | float) and not node.low <= wanted <= node.high:
                raise BadRequest(
                    f"{wanted:g} is outside the range of {twin} {path}", remedy=f"use {node.low:g} to {node.high:g}"
                )
            data = ua.DataValue(ua.Variant(wanted, kind))
            (status,) = await connection.session.client.uaclient.write_attributes([node.node], [data])
            if not status.is_good():
                raise CommandFailed(
                    f"the machine refused {twin} {path} ({status.name})", remedy="see the machine's own limits and mode"
                )
            return await self._echo(connection, i, wanted, f"{twin} {path}", timeout_s)

    async def _echo(self, connection: Connection, i: int, wanted: Any, what: str, timeout_s: float) -> Echo:
        loop = asyncio.get_running_loop()
        deadline, pause, shown = loop.time() + 0.9 * timeout_s, _FIRST_LOOK_S, None
        while True:
            answer = await _look(connection, i)
            shown = answer.Value.Value if answer.Value is not None else None
            code = int(answer.StatusCode.value) if answer.StatusCode is not None else 0
            if code >> 30 == 0 and _same(shown, wanted):
                number = isinstance(wanted, float)
                value = connection.table.to_model_unit(i, float(shown or 0)) if number else plain(shown)
                stamp = answer.SourceTimestamp or answer.ServerTimestamp
                ticks = ua.datetime_to_win_epoch(stamp) if stamp is not None else 0
                return Echo(value, int(ticks_to_ns(np.array([ticks]))[0]), code)
            if loop.time() + pause > deadline:
                raise CommandFailed(
                    f"{what} was written but the machine shows {plain(shown)!r}",
                    remedy="look at the machine before you repeat the order",
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _SLOWEST_LOOK_S)

    async def invoke(self, twin: TwinId, command: str, payload: Json, *, timeout_s: float) -> Echo:
        """Calls the mapped method; the echo is its result: one output as it is, several as an object by name.

        Raises BadRequest when the payload does not fit the arguments, CommandFailed when the machine refused.
        """
        connection = self._connection(twin, command)
        method = _method(connection, twin, command)
        if method is None:
            raise CommandFailed(f"{twin} has no method for {command}", remedy="map the command to an OPC UA method")
        async with self._deadline(twin, command, timeout_s):
            inputs, outputs = await _arguments(connection, method)
            arguments = _fill(inputs, payload, f"{twin} {command}")
            request = ua.CallMethodRequest(ObjectId=method.owner, MethodId=method.node, InputArguments=arguments)
            (result,) = await connection.session.client.uaclient.call([request])
            if not result.StatusCode.is_good():
                raise CommandFailed(
                    f"the machine refused {twin} {command} ({result.StatusCode.name})",
                    remedy="see the machine's own limits and mode",
                )
            values = [plain(variant.Value) for variant in result.OutputArguments or ()]
            names = [argument.Name or str(n) for n, argument in enumerate(outputs)]
            answer: Json = values[0] if len(values) == 1 else dict(zip(names, values, strict=False)) if values else None
            return Echo(answer, self._source.clock.now_ns(), int(result.StatusCode.value))

    def _connection(self, twin: TwinId, path: str) -> Connection:
        connection = self._source.connection
        if connection is None:
            raise CommandFailed(
                f"{twin} {path} cannot be reached: {self._source.name} is not connected",
                remedy="wait until the source is live",
            )
        return connection

    @asynccontextmanager
    async def _deadline(self, twin: TwinId, path: str, timeout_s: float) -> AsyncIterator[None]:
        unknown = "look at the machine before you repeat the order: it may have been carried out"
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError as error:
            raise CommandFailed(f"{twin} {path}: no answer within {timeout_s:g} s", remedy=unknown) from error
        except (OSError, ConnectionError) as error:
            raise CommandFailed(f"{twin} {path}: the connection broke", remedy=unknown) from error
        except ua.UaStatusCodeError as error:
            name = ua.StatusCode(error.code).name
            raise CommandFailed(f"{twin} {path}: the server refused ({name})", remedy="see the server's log") from error


def actuators_of(sources: Iterable[Source]) -> list[OpcUaActuator]:
    """An actuator for each OPC UA source among `sources`."""
    return [OpcUaActuator(source) for source in sources if isinstance(source, OpcUaSource)]


def _variable(connection: Connection, twin: TwinId, path: str) -> int | None:
    for i, node in enumerate(connection.table.nodes):
        if node.target.twin == twin and node.target.path == path:
            return i if node.writable else None
    return None


def _method(connection: Connection, twin: TwinId, command: str) -> MappedMethod | None:
    for method in connection.methods:
        if method.target.twin == twin and method.target.path == command:
            return method
    return None


async def _look(connection: Connection, i: int) -> ua.DataValue:
    parameters = ua.ReadParameters(
        MaxAge=0,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=connection.table.nodes[i].node, AttributeId=ua.AttributeIds.Value)],
    )
    (answer,) = await connection.session.client.uaclient.read(parameters)
    return answer


async def _arguments(connection: Connection, method: MappedMethod) -> tuple[list[ua.Argument], list[ua.Argument]]:
    (properties,) = await browse(connection.session, [method.node], reference=ua.ObjectIds.HasProperty)
    found: dict[str, list[ua.Argument]] = {"InputArguments": [], "OutputArguments": []}
    wanted = [reference for reference in properties if reference.BrowseName.Name in found]
    answers = await read(
        connection.session,
        [(ua.NodeId(r.NodeId.Identifier, r.NodeId.NamespaceIndex), ua.AttributeIds.Value) for r in wanted],
    )
    for reference, answer in zip(wanted, answers, strict=True):
        found[reference.BrowseName.Name] = list(answer.Value.Value or ()) if answer.Value is not None else []
    return found["InputArguments"], found["OutputArguments"]


def _fill(inputs: list[ua.Argument], payload: Json, what: str) -> list[ua.Variant]:
    if not inputs:
        if payload is not None:
            raise BadRequest(f"{what} takes no payload", remedy="send null")
        return []
    names = [argument.Name for argument in inputs]
    if isinstance(payload, dict) and set(payload) == set(names):
        values = [payload[name] for name in names]
    elif len(inputs) == 1:
        values = [payload]
    else:
        raise BadRequest(f"{what} takes {', '.join(names)}", remedy="send an object with exactly these names")
    variants = []
    for argument, value in zip(inputs, values, strict=True):
        identifier = argument.DataType.Identifier
        builtin = argument.DataType.NamespaceIndex == 0 and isinstance(identifier, int) and 1 <= identifier <= 25
        kind = ua.VariantType(identifier) if builtin else ua.VariantType.Null
        variants.append(ua.Variant(_encodable(value, kind, lambda number: number, f"{what} {argument.Name}"), kind))
    return variants


def _encodable(value: Json, kind: ua.VariantType, convert: Any, what: str) -> Any:
    """`value` as the node's type; raises BadRequest when it is none of its values."""
    bad = BadRequest(f"{value!r} does not fit {what}", remedy=f"send a value that an OPC UA {kind.name} can hold")
    if kind == ua.VariantType.Boolean:
        if isinstance(value, bool):
            return value
    elif isinstance(value, bool):
        raise bad
    elif kind in _FLOATS and isinstance(value, int | float) and math.isfinite(value):
        return float(convert(float(value)))
    elif kind in _INTEGERS and isinstance(value, int | float):
        number = convert(float(value)) if not isinstance(value, int) or convert(1.0) != 1.0 else value
        whole = round(number)
        if abs(number - whole) < 1e-9:
            try:
                ua.ua_binary.pack_uatype(kind, whole)
            except Exception as error:  # asyncua lets struct.error and ValueError of several kinds through
                raise bad from error
            return whole
    elif kind == ua.VariantType.String and isinstance(value, str):
        return value
    elif kind == ua.VariantType.LocalizedText and isinstance(value, str):
        return ua.LocalizedText(value)
    raise bad


def _same(shown: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(shown, int | float):
        return math.isclose(shown, wanted, rel_tol=1e-6, abs_tol=1e-9)
    same: bool = plain(shown) == plain(wanted)
    return same
