"""The mapping file of MQTT: `brokers`, `rules` (as in `adapters/telemetry/rules.py`) and `sparkplug` rules.

    sparkplug:
      - {group: "{plant}", node: "{line}", device: "{machine}", twin: "{plant}/{line}/{machine}"}

A metric's name is the member; without `device` a rule is for the metrics of the node itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from twinloom.adapters.mqtt.settings import MqttSettings
from twinloom.adapters.telemetry.rules import Member, Rule, read_members, read_rules
from twinloom.adapters.telemetry.templates import captures, pattern
from twinloom.adapters.telemetry.yaml_file import YamlFile
from twinloom.twin.errors import BadRequest

EXAMPLE = "docs/guides/mqtt.md"
NAMESPACE = "spBv1.0"
_WHOLE = {"session_expiry_s": (0, 0), "keep_alive_s": (5, 1), "queue": (20_000, 1), "message_bytes": (1 << 20, 1)}
_NUMBERS = {"timeout_s": 5.0, "retry_max_s": 2.0, "rebirth_s": 5.0}
_KEYS = (
    "name", "host", "port", "user", "password_env", "tls", "ca", "certificate", "key", "client_id", "qos", "host_id",
    *_WHOLE, *_NUMBERS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SparkplugRule:
    """Metrics of the nodes (and devices) that match. `device` None: the node's own."""

    place: str
    group: re.Pattern[str]
    node: re.Pattern[str]
    device: re.Pattern[str] | None
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class MqttMapping:
    """A mapping file: one source a broker entry, the same rules for all."""

    file: str
    brokers: tuple[MqttSettings, ...]
    rules: tuple[Rule, ...]
    sparkplug: tuple[SparkplugRule, ...]

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters to subscribe to: a capture is one level."""
        plain = ("/".join("+" if captures(level) else level for level in _levels(rule.topic)) for rule in self.rules)
        sparkplug = (f"{NAMESPACE}/#",) if self.sparkplug else ()
        return tuple(dict.fromkeys((*plain, *sparkplug)))


def _levels(topic: str) -> list[str]:
    return topic.split("/")


def read_mapping(path: str | Path) -> MqttMapping:
    """The mapping file at `path`. Raises BadFile (file, place, remedy) for the first defect."""
    file = YamlFile(path, example=EXAMPLE)
    root = file.document()
    file.known(root, ("brokers", "rules", "sparkplug"), "")
    brokers = [_broker(file, entry, f"/brokers/{i}") for i, entry in enumerate(file.entries(root, "brokers", ""))]
    for i, broker in enumerate(brokers):
        if any(other.name == broker.name for other in brokers[:i]):
            raise file.bad(f"/brokers/{i}/name", f"{broker.name!r} names two brokers", "give each its own name")
    common = sorted(set.intersection(*(set(broker.variables) for broker in brokers)))
    if "rules" not in root and "sparkplug" not in root:
        raise file.bad("/rules", "there is no rule", "add rules: or sparkplug:")
    rules = read_rules(file, root, common, separators="/", formats=("json", "text")) if "rules" in root else ()
    for rule in rules:
        if "+" in rule.topic or "#" in rule.topic:
            raise file.bad(f"{rule.place}/topic", "wildcards name nothing", "write a {capture} for a level")
    sparkplug = file.entries(root, "sparkplug", "") if "sparkplug" in root else []
    return MqttMapping(
        str(path),
        tuple(brokers),
        rules,
        tuple(_sparkplug(file, entry, f"/sparkplug/{i}", common) for i, entry in enumerate(sparkplug)),
    )


def _broker(file: YamlFile, entry: Mapping[str, Any], place: str) -> MqttSettings:
    name = file.text(entry, "name", place)
    variables = {"name": name}
    for key, value in entry.items():
        if key in _KEYS:
            continue
        if not isinstance(value, str):
            raise file.bad(f"{place}/{key}", "must be a text that rules can use, or is no key of a broker")
        variables[key] = value
    whole = {key: file.whole(entry, key, default, place, least=least) for key, (default, least) in _WHOLE.items()}
    numbers = {key: file.number(entry, key, default, place, least=0.01) for key, default in _NUMBERS.items()}
    tls = file.flag(entry, "tls", False, place)
    port = file.whole(entry, "port", 8883 if tls else 1883, place, least=1)
    qos = file.whole(entry, "qos", 1, place)
    if port > 65535 or qos > 2:
        raise file.bad(place, "port is at most 65535 and qos at most 2", "write port: 1883 and qos: 1")
    client_id = file.text(entry, "client_id", place, "")
    if whole["session_expiry_s"] and not client_id:
        raise file.bad(f"{place}/client_id", "a session that is kept needs a name", "add client_id: ...")
    return MqttSettings(
        name=name,
        host=file.text(entry, "host", place),
        port=port,
        variables=MappingProxyType(variables),
        user=file.text(entry, "user", place, ""),
        password_env=file.secret(entry, "password_env", place),
        tls=tls,
        ca=file.existing(entry, "ca", place),
        certificate=file.existing(entry, "certificate", place),
        key=file.existing(entry, "key", place),
        client_id=client_id,
        qos=qos,
        session_expiry_s=whole["session_expiry_s"],
        keep_alive_s=whole["keep_alive_s"],
        timeout_s=numbers["timeout_s"],
        retry_max_s=numbers["retry_max_s"],
        queue=whole["queue"],
        message_bytes=whole["message_bytes"],
        host_id=file.text(entry, "host_id", place, ""),
        rebirth_s=numbers["rebirth_s"],
    )


def _sparkplug(file: YamlFile, entry: Mapping[str, Any], place: str, variables: Sequence[str]) -> SparkplugRule:
    file.known(entry, ("group", "node", "device", "twin", "property", "unit", "members"), place)
    group, node = file.text(entry, "group", place), file.text(entry, "node", place)
    device = file.text(entry, "device", place, "")
    try:
        named = [name for text in (group, node, device) for name in captures(text)]
        patterns = [pattern(text, "/") for text in (group, node, device)]
    except BadRequest as error:
        raise file.bad(place, error.message, error.remedy) from error
    known = {*variables, *named}
    members = read_members(file, entry, place, "values", known)
    return SparkplugRule(place, patterns[0], patterns[1], patterns[2] if device else None, members)
