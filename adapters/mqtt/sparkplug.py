"""Sparkplug B as a host application sees it: births name metrics, data refers to them, deaths make them stale.

One `EdgeNode` a (group, node): its metrics by alias, its sequence number, its devices. All of it is pure: it takes
messages and says what to do (columns, states, rebirth requests). Eclipse Sparkplug 3.0, chapters 5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from twinloom.adapters.mqtt.mapping import NAMESPACE, SparkplugRule
from twinloom.adapters.mqtt.sparkplug_payload import BOOLEAN, Payload, value_of
from twinloom.adapters.telemetry.decoder import BAD_NO_DATA
from twinloom.adapters.telemetry.scalars import Poison
from twinloom.adapters.telemetry.tally import Tally
from twinloom.adapters.telemetry.targets import NOWHERE, TEXT, UNMAPPED, Targets
from twinloom.adapters.telemetry.templates import filled
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import BAD, GOOD, ReadingBatch, TextReading

REBIRTH = "Node Control/Rebirth"
_STALE = 0x40900000  # Uncertain_LastUsableValue (Part 4, 7.39.2)
_QUALITY = {192: GOOD, 0: BAD, 500: _STALE}  # Sparkplug's property `Quality`
_MILLISECOND = 1_000_000
_KINDS = ("NBIRTH", "NDEATH", "DBIRTH", "DDEATH", "NDATA", "DDATA")


@dataclass(frozen=True, slots=True)
class MetricKey:
    """What a birth said of a metric."""

    handle: int
    datatype: int
    name: str


@dataclass(frozen=True, slots=True)
class Turn:
    """An edge node or device (`name`) came to life or died; `twins` are those that it feeds."""

    name: str
    alive: bool
    reason: str
    since_ns: int
    until_ns: int
    twins: tuple[TwinId, ...]


@dataclass(slots=True)
class Part:
    """The node itself (`device` '') or one of its devices. `died_ns` 0 = alive or never born."""

    metrics: dict[str, MetricKey] = field(default_factory=dict)
    alive: bool = False
    last_ns: int = 0
    died_ns: int = 0


@dataclass(slots=True)
class EdgeNode:
    group: str
    name: str
    parts: dict[str, Part] = field(default_factory=dict)
    aliases: dict[int, MetricKey] = field(default_factory=dict)
    birth: int | None = None
    sequence: int = -1
    asked_s: float = float("-inf")

    @property
    def place(self) -> str:
        return f"{self.group}/{self.name}"


class Sparkplug:
    """Takes messages; `batch()` gives the readings, `turns()` births and deaths, `rebirths()` whom to ask anew."""

    def __init__(
        self,
        rules: tuple[SparkplugRule, ...],
        variables: Mapping[str, str],
        targets: Targets,
        tally: Tally,
        *,
        rebirth_s: float = 5.0,
    ) -> None:
        self._rules = rules
        self._variables = dict(variables)
        self._targets = targets
        self._tally = tally
        self._rebirth_s = rebirth_s
        self._nodes: dict[tuple[str, str], EdgeNode] = {}
        self._handles: list[int] = []
        self._values: list[float] = []
        self._times: list[int] = []
        self._codes: list[int] = []
        self._texts: list[TextReading] = []
        self._turns: list[Turn] = []
        self._asks: dict[str, EdgeNode] = {}

    def take(self, topic: str, payload: bytes, received_ns: int) -> None:
        """One message of the namespace. Raises Poison when it is none that the specification knows."""
        levels = topic.split("/")
        if levels[0] != NAMESPACE or len(levels) < 4 or levels[2] not in _KINDS:
            return  # STATE of other hosts, and commands
        kind, device = levels[2], levels[4] if len(levels) == 5 else ""
        if (kind[0] == "D") != bool(device) or len(levels) > 5:
            raise Poison("bad_topic", f"{topic[:200]!r} is no Sparkplug topic")
        message = Payload()
        try:
            message.ParseFromString(payload)
        except DecodeError as error:
            raise Poison("not_decodable", f"the payload is no Sparkplug B: {error}") from error
        node = self._nodes.get((levels[1], levels[3]))
        if node is None:
            if len(self._nodes) >= 100_000:
                raise Poison("too_many_nodes", "more than 100000 edge nodes")
            node = self._nodes[levels[1], levels[3]] = EdgeNode(levels[1], levels[3])
        match kind[1:]:
            case "BIRTH":
                self._born(node, device, message, received_ns)
            case "DEATH":
                self._dead(node, device, message, received_ns)
            case _:
                self._data(node, device, message, received_ns)

    def lost(self, reason: str, now_ns: int) -> None:
        """The broker is away: what nodes say meanwhile, deaths included, is not heard."""
        for node in self._nodes.values():
            for device, part in node.parts.items():
                self._die(node, device, part, reason, now_ns)
            self._asks[node.place] = node

    def batch(self, received_ns: int) -> ReadingBatch | None:
        """Everything taken since the last call; None when nothing of it has a place."""
        columns = (self._handles, self._values, self._times, self._codes)
        handles, values, times, codes = (
            np.array(column, kind)
            for column, kind in zip(columns, (np.int32, np.float64, np.int64, np.uint32), strict=True)
        )
        texts = tuple(self._texts)
        self._handles, self._values, self._times, self._codes, self._texts = [], [], [], [], []
        return self._targets.batch(handles, values, times, codes, received_ns, texts)

    def turns(self) -> list[Turn]:
        turns, self._turns = self._turns, []
        return turns

    def rebirths(self, now_s: float) -> Iterator[tuple[str, bytes]]:
        """(topic, payload) of the requests that are due: one a node in `rebirth_s`."""
        for place, node in list(self._asks.items()):
            if now_s - node.asked_s < self._rebirth_s:
                continue
            node.asked_s = now_s
            del self._asks[place]
            self._tally.add("rebirth_requests")
            ask = Payload()
            ask.metrics.add(name=REBIRTH, datatype=BOOLEAN, boolean_value=True)
            yield f"{NAMESPACE}/{node.group}/NCMD/{node.name}", ask.SerializeToString()

    # ---- messages --------------------------------------------------------------------------------------------------

    def _born(self, node: EdgeNode, device: str, message: Any, received_ns: int) -> None:
        if not device:
            self._asks.pop(node.place, None)
            # A node's birth ends every earlier promise: aliases, devices and the sequence begin anew.
            for name, part in node.parts.items():
                self._die(node, name, part, "the node was born again", received_ns)
                part.metrics.clear()
            node.aliases.clear()
            node.sequence = int(message.seq)
            node.birth = next((int(metric.long_value) for metric in message.metrics if metric.name == "bdSeq"), None)
        elif not self._alive(node) or not self._in_sequence(node, message):
            return
        part = node.parts.setdefault(device, Part())
        for metric in message.metrics:
            key = MetricKey(self._handle(node, device, metric), metric.datatype, metric.name)
            part.metrics[metric.name] = key
            if metric.HasField("alias"):
                node.aliases[metric.alias] = key
        first_ns = self._read(node, part, message, received_ns)
        since_ns, part.died_ns, part.alive = part.died_ns, 0, True
        name = f"{node.place}/{device}" if device else node.place
        self._turns.append(Turn(name, True, "", since_ns, first_ns, self._twins(part)))
        self._tally.add("births")

    def _dead(self, node: EdgeNode, device: str, message: Any, received_ns: int) -> None:
        if not device:
            birth = next((int(metric.long_value) for metric in message.metrics if metric.name == "bdSeq"), None)
            if birth != node.birth:
                self._tally.reject("old_death", node.place, f"{node.place}: a death of another session is ignored")
                return
            gone = list(node.parts.items())
        else:
            self._in_sequence(node, message)
            gone = [(device, node.parts[device])] if device in node.parts else []
        self._tally.add("deaths")
        for name, part in gone:
            self._die(node, name, part, "the node died" if not device else "the device died", received_ns)

    def _die(self, node: EdgeNode, device: str, part: Part, reason: str, now_ns: int) -> None:
        if part.alive:
            part.alive = False
            part.died_ns = part.last_ns or now_ns
            name = f"{node.place}/{device}" if device else node.place
            self._turns.append(Turn(name, False, reason, part.died_ns, now_ns, self._twins(part)))

    def _data(self, node: EdgeNode, device: str, message: Any, received_ns: int) -> None:
        if not self._alive(node):
            return
        self._in_sequence(node, message)
        part = node.parts.get(device)
        if part is None or not part.alive:
            self._tally.reject("data_before_birth", node.place, f"{node.place}: data of {device!r} before its birth")
            self._asks[node.place] = node
            return
        self._read(node, part, message, received_ns)

    def _alive(self, node: EdgeNode) -> bool:
        part = node.parts.get("")
        if part is not None and part.alive:
            return True
        self._tally.reject("data_before_birth", node.place, f"{node.place} sends before its birth; asking for one")
        self._asks[node.place] = node
        return False

    def _in_sequence(self, node: EdgeNode, message: Any) -> bool:
        """Counts what is missing between two messages and asks for a rebirth; values are still taken."""
        expected = (node.sequence + 1) % 256
        node.sequence = int(message.seq)
        if message.seq != expected:
            missing = (int(message.seq) - expected) % 256
            self._tally.reject("missed_messages", node.place, f"{node.place}: {missing} messages are missing", missing)
            self._asks[node.place] = node
        return True

    # ---- metrics ---------------------------------------------------------------------------------------------------

    def _read(self, node: EdgeNode, part: Part, message: Any, received_ns: int) -> int:
        """Takes the values of a message; returns the earliest source time of them."""
        first = received_ns
        common = message.timestamp * _MILLISECOND
        for metric in message.metrics:
            key = node.aliases.get(metric.alias) if metric.HasField("alias") else part.metrics.get(metric.name)
            if key is None:
                self._tally.reject("unknown_metric", node.place, f"{node.place}: a metric that no birth named")
                self._asks[node.place] = node
                continue
            if self._targets.kinds[key.handle] == UNMAPPED:
                self._tally.add("unmapped")
                continue
            time_ns = metric.timestamp * _MILLISECOND if metric.HasField("timestamp") else common or received_ns
            if not 0 < time_ns < 2**63:
                self._tally.reject("bad_time", node.place, f"{node.place}: {key.name[:80]!r} has no time after 1970")
                continue
            try:
                value = value_of(metric, key.datatype)
            except ValueError as error:
                self._tally.reject(
                    "unread_type", f"{node.place} {key.name}", f"{node.place}: {key.name[:80]!r} {error}"
                )
                continue
            quality = _quality(metric) if value is not None else BAD_NO_DATA
            self._keep(key, value, time_ns, quality)
            first = min(first, time_ns)
            if not metric.is_historical:
                part.last_ns = max(part.last_ns, min(time_ns, received_ns))
        return first

    def _keep(self, key: MetricKey, value: Any, time_ns: int, quality: int) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self._targets.kinds[key.handle] == TEXT or not (number or value is None):
            text = self._targets.text(key.handle, value, time_ns, quality)
            if text is not None:
                self._texts.append(text)
            return
        self._handles.append(key.handle)
        self._values.append(float("nan") if value is None else float(value))
        self._times.append(time_ns)
        self._codes.append(quality)

    def _handle(self, node: EdgeNode, device: str, metric: Any) -> int:
        if metric.name in ("bdSeq", REBIRTH) or metric.name.startswith("Node Control/"):
            return NOWHERE
        unit = _property(metric, "engUnit") or ""
        for rule in self._rules:
            names = _matched(rule, node, device)
            if names is None:
                continue
            for member in rule.members:
                match = member.pattern.fullmatch(metric.name)
                if match is None:
                    continue
                values = {**self._variables, **names, **match.groupdict()}
                try:
                    twin, path = filled(member.twin, values), filled(member.property, values)
                except BadRequest as error:
                    self._tally.reject("no_target", rule.place, f"{rule.place}: {error}")
                    return NOWHERE
                return self._targets.handle(twin, path, member.unit or str(unit))
        self._tally.reject("unmapped_metrics", node.place, f"{node.place}: no rule has the metric {metric.name[:80]!r}")
        return NOWHERE

    def _twins(self, part: Part) -> tuple[TwinId, ...]:
        handles = {key.handle for key in part.metrics.values()} - {NOWHERE}
        return tuple(dict.fromkeys(self._targets.name(handle)[0] for handle in sorted(handles)))


def _matched(rule: SparkplugRule, node: EdgeNode, device: str) -> dict[str, str] | None:
    if (rule.device is None) != (not device):
        return None
    matches = [rule.group.fullmatch(node.group), rule.node.fullmatch(node.name)]
    if rule.device is not None:
        matches.append(rule.device.fullmatch(device))
    found: dict[str, str] = {}
    for match in matches:
        if match is None:
            return None
        found.update(match.groupdict())
    return found


def _property(metric: Any, name: str) -> Any:
    for key, value in zip(metric.properties.keys, metric.properties.values, strict=False):
        if key == name and (kind := value.WhichOneof("value")) is not None:
            return getattr(value, kind)
    return None


def _quality(metric: Any) -> int:
    if not metric.HasField("properties"):
        return GOOD
    code = _property(metric, "Quality")
    return GOOD if code is None else _QUALITY.get(code, BAD)
