"""What one OPC UA server needs to be reached, read once from the mapping file. Secrets are only named there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

SecurityPolicy = Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"]
SecurityMode = Literal["None", "Sign", "SignAndEncrypt"]


@dataclass(frozen=True, slots=True)
class Security:
    """The least that a connection must have; a server that offers less is refused, never used.

    `user` with `password_env` (the name of an environment variable) or with `user_certificate` and `user_key` (files);
    none of them = anonymous. `store` is the certificate folder (own certificate, trusted, rejected, issuers, CRLs).
    """

    policy: SecurityPolicy = "None"
    mode: SecurityMode = "None"
    user: str = ""
    password_env: str = ""
    user_certificate: Path | None = None
    user_key: Path | None = None
    store: Path | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How values are asked for. `report`: `value` = when value or status changes, `timestamp` = every new sample.

    `deadband` is absolute in the node's unit (0 = none), `deadband_percent` of its EURange. `queue_size` is how many
    samples the server keeps per node between two publishes.
    """

    sampling_interval_ms: float = 100.0
    publishing_interval_ms: float = 100.0
    queue_size: int = 10
    deadband: float = 0.0
    deadband_percent: float = 0.0
    report: Literal["value", "timestamp"] = "value"


@dataclass(frozen=True, slots=True)
class OpcUaSettings:
    """One server. `variables` are the names that rules may use besides their captures (`plant`, ...), `name` included.

    Times in seconds: `timeout_s` per request, `connect_timeout_s` for a whole connect, `retry_max_s` caps the pause
    between two attempts. A server is stale after three keep-alives without a word and given up `give_up_s` later.
    `resume`: take over the session of a lost connection where the server still holds it.
    """

    name: str
    endpoint: str
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    security: Security = Security()
    sampling: Sampling = Sampling()
    timeout_s: float = 4.0
    connect_timeout_s: float = 8.0
    retry_max_s: float = 2.0
    keep_alive_s: float = 0.5
    give_up_s: float = 3.0
    backfill_s: float = 3.0
    events: bool = False
    resume: bool = True
