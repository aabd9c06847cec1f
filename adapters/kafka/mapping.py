"""The mapping file of Kafka: `brokers`, and `rules` as in `adapters/telemetry/rules.py`; topics are split at dots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from twinloom.adapters.kafka.settings import KafkaSettings, Security
from twinloom.adapters.telemetry.rules import Rule, read_rules
from twinloom.adapters.telemetry.yaml_file import YamlFile

EXAMPLE = "docs/guides/kafka.md"
_NUMBERS = {
    "timeout_s": 3.0, "probe_s": 0.5, "retry_max_s": 2.0, "session_timeout_s": 10.0, "commit_interval_s": 0.25,
}  # fmt: skip
_WHOLE = {"poll_records": 500, "message_bytes": 1 << 20, "undurable_values": 200_000}
_KEYS = ("name", "bootstrap", "group", "start", "dead_letter", "events", "security", *_NUMBERS, *_WHOLE)
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaMapping:
    """A mapping file: one source a broker entry, the same rules for all."""

    file: str
    brokers: tuple[KafkaSettings, ...]
    rules: tuple[Rule, ...]


def read_mapping(path: str | Path) -> KafkaMapping:
    """The mapping file at `path`. Raises BadFile (file, place, remedy) for the first defect."""
    file = YamlFile(path, example=EXAMPLE)
    root = file.document()
    file.known(root, ("brokers", "rules"), "")
    brokers: list[KafkaSettings] = []
    for i, entry in enumerate(file.entries(root, "brokers", "")):
        brokers.append(_broker(file, entry, f"/brokers/{i}"))
        if any(other.name == brokers[-1].name for other in brokers[:-1]):
            raise file.bad(f"/brokers/{i}/name", "names two brokers", "give each its own name")
    common = set.intersection(*(set(broker.variables) for broker in brokers))
    return KafkaMapping(str(path), tuple(brokers), read_rules(file, root, sorted(common), separators="."))


def _broker(file: YamlFile, entry: Mapping[str, Any], place: str) -> KafkaSettings:
    name = file.text(entry, "name", place)
    variables = {"name": name}
    for key, value in entry.items():
        if key in _KEYS:
            continue
        if not isinstance(value, str):
            raise file.bad(f"{place}/{key}", "must be a text that rules can use, or is no key of a broker")
        variables[key] = value
    numbers = {key: file.number(entry, key, default, place, least=0.01) for key, default in _NUMBERS.items()}
    whole = {key: file.whole(entry, key, default, place, least=1) for key, default in _WHOLE.items()}
    bootstrap = file.text(entry, "bootstrap", place)
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise file.bad(f"{place}/bootstrap", f"{address.strip()!r} is no host:port", "write for example kafka:9092")
    return KafkaSettings(
        name=name,
        bootstrap=bootstrap,
        group=file.text(entry, "group", place, "twinloom"),
        start=file.choice(entry, "start", "earliest", ("earliest", "latest"), place),
        dead_letter=file.text(entry, "dead_letter", place, ""),
        events=file.text(entry, "events", place, ""),
        variables=MappingProxyType(variables),
        security=_security(file, entry, place),
        timeout_s=numbers["timeout_s"],
        probe_s=numbers["probe_s"],
        retry_max_s=numbers["retry_max_s"],
        session_timeout_s=numbers["session_timeout_s"],
        commit_interval_s=numbers["commit_interval_s"],
        poll_records=whole["poll_records"],
        message_bytes=whole["message_bytes"],
        undurable_values=whole["undurable_values"],
    )


def _security(file: YamlFile, entry: Mapping[str, Any], place: str) -> Security:
    place = f"{place}/security"
    given = file.mapping(entry.get("security", {}), place)
    file.known(given, ("protocol", "mechanism", "user", "password_env", "ca", "certificate", "key"), place)
    security = Security(
        protocol=file.choice(given, "protocol", "PLAINTEXT", _PROTOCOLS, place),
        mechanism=file.choice(given, "mechanism", "SCRAM-SHA-512", _MECHANISMS, place),
        user=file.text(given, "user", place, ""),
        password_env=file.secret(given, "password_env", place),
        ca=file.existing(given, "ca", place),
        certificate=file.existing(given, "certificate", place),
        key=file.existing(given, "key", place),
    )
    if security.protocol.startswith("SASL") and not (security.user and security.password_env):
        raise file.bad(place, "SASL needs a user and a password", "add user and password_env")
    return security
