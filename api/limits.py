"""Every bound of the API, as one frozen object: a setting each, all of them served by the query `serviceLimits`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server. Bytes, counts or seconds, as the name says.

    The first group is checked before a document is parsed, the second before it is executed, the third while it runs.
    """

    body_bytes: int = 1 << 20
    document_chars: int = 100_000
    requests_per_s: float = 5_000.0
    request_burst: int = 10_000
    refused_logins_per_s: float = 10.0

    tokens: int = 1_000
    depth: int = 12
    aliases: int = 30
    directives: int = 50
    root_fields: int = 20
    cost: int = 250_000
    page: int = 100
    twins_page: int = 1_000
    batch_items: int = 100
    errors: int = 50

    timeout_s: float = 10.0
    concurrent_operations: int = 64
    min_seq_wait_s: float = 2.0
    history_points: int = 10_000
    history_per_request: int = 200
    traversal_depth: int = 32
    connections: int = 5_000
    connection_init_s: float = 10.0
    subscriptions_per_connection: int = 100
    subscriptions: int = 20_000
    subscription_queue: int = 64
    message_bytes: int = 1 << 20
    persisted_documents: int = 1_000
