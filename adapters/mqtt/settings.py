"""What one MQTT broker needs to be reached, read once from the mapping file. Secrets are only named there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """One broker. `variables` are the names that rules may use besides their captures, `name` included.

    `session_expiry_s` > 0 keeps the session on the broker, so that QoS 1 messages wait for us; it needs a `client_id`.
    `queue` messages may wait here; above it the oldest go, counted as lost. `host_id` makes this server a
    Sparkplug host application that tells its state. `rebirth_s`: the least pause between rebirth requests to a node.
    """

    name: str
    host: str
    port: int = 1883
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    user: str = ""
    password_env: str = ""
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_id: str = ""
    qos: int = 1
    session_expiry_s: int = 0
    keep_alive_s: int = 5
    timeout_s: float = 5.0
    retry_max_s: float = 2.0
    queue: int = 20_000
    message_bytes: int = 1 << 20
    host_id: str = ""
    rebirth_s: float = 5.0
