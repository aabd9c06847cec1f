"""What one Kafka cluster needs to be reached, read once from the mapping file. Secrets are only named there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Security:
    """`protocol` as Kafka's security.protocol. `password_env` names an environment variable; files are PEM."""

    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    user: str = ""
    password_env: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """One cluster. `variables` are the names that rules may use besides their captures, `name` included.

    `start` is where a group without offsets begins: `earliest` or `latest`. `dead_letter` is the topic for messages
    that no rule can read ('' = they are only counted). `undurable_values` may be accepted and not yet be in the
    history; above it the source pauses. `probe_s` without a record: the cluster is asked whether it is there.
    """

    name: str
    bootstrap: str
    group: str = "twinloom"
    start: str = "earliest"
    dead_letter: str = ""
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    security: Security = Security()
    poll_records: int = 500
    message_bytes: int = 1 << 20
    undurable_values: int = 200_000
    commit_interval_s: float = 0.25
    timeout_s: float = 3.0
    probe_s: float = 0.5
    retry_max_s: float = 2.0
    session_timeout_s: float = 10.0
    events: str = ""
