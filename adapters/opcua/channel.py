"""The socket of an OPC UA session, with a short way for publishing.

asyncua connects, secures and speaks every other service. Only PublishRequest and PublishResponse go past its object
model: a request is a few struct packs, and the body of a response is handed over as bytes. On an unsecured channel a
single-chunk MSG frame is also taken apart here, after the same checks (channel, token, sequence number; Part 6, 6.7);
everything else, secured frames included, takes asyncua's way.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from asyncua import ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import nodeid_to_binary

_FRAME = struct.Struct("<4sI")
_MSG = struct.Struct("<IIII")
_OUT = struct.Struct("<4sIIIII")
_FINAL = b"MSGF"
_PUBLISH_REQUEST = b"\x01\x00\x3a\x03"
_REQUEST_REST = struct.Struct("<qIIiI3s")
_TICKS_1970 = 116_444_736_000_000_000
_NO_EXTENSION = b"\0\0\0"


class PublishChannel(UASocketProtocol):  # type: ignore[misc]
    """asyncua's protocol; `on_publish` gets the body of every response to `send_publish`, from its TypeId on."""

    on_publish: Callable[[bytes], None]
    receive_buffer: bytes | None

    def __init__(self, timeout: float, security_policy: Any, limits: Any = None) -> None:
        super().__init__(timeout, security_policy, limits)
        self._publishing: set[int] = set()
        self._token: tuple[Any, bytes] = (None, b"")

    @property
    def outstanding(self) -> int:
        """PublishRequests that wait for their response."""
        return len(self._publishing)

    def send_publish(self, acknowledgements: Sequence[tuple[int, int]]) -> None:
        """Sends a PublishRequest that acknowledges (subscription, sequence number). Raises ConnectionError when closed.

        It may wait at the server as long as it likes (TimeoutHint 0): keep-alives end silence, not time-outs.
        """
        transport, connection = self.transport, self._connection
        if transport is None or transport.is_closing():
            raise ConnectionError("the connection is closed")
        if self._token[0] is not self.authentication_token:
            self._token = (self.authentication_token, nodeid_to_binary(self.authentication_token))
        self._request_id += 1
        self._request_handle += 1
        now = time.time_ns() // 100 + _TICKS_1970
        body = b"".join(
            (
                _PUBLISH_REQUEST,
                self._token[1],
                _REQUEST_REST.pack(now, self._request_handle & 0xFFFFFFFF, 0, -1, 0, _NO_EXTENSION),
                len(acknowledgements).to_bytes(4, "little"),
                *(number.to_bytes(4, "little") for pair in acknowledgements for number in pair),
            )
        )
        self.revolve_security_token()
        self._publishing.add(self._request_id)
        if type(connection.security_policy) is SecurityPolicyNone and len(body) < 8000:
            connection._sequence_number = (
                connection._sequence_number + 1 if connection._sequence_number < 0xFFFFFFFF else 1
            )
            token = connection.security_token
            transport.write(
                _OUT.pack(
                    _FINAL,
                    24 + len(body),
                    token.ChannelId,
                    token.TokenId,
                    connection._sequence_number,
                    self._request_id,
                )
                + body
            )
        else:
            transport.write(connection.message_to_binary(body, request_id=self._request_id))

    def data_received(self, data: bytes) -> None:
        if self.receive_buffer:
            data = self.receive_buffer + data
            self.receive_buffer = None
        at, end, limit = 0, len(data), self._connection._limits.max_recv_buffer
        while end - at >= 8:
            kind, size = _FRAME.unpack_from(data, at)
            if size < 8 or (limit and size > limit):
                self._process_received_data(data[at:])  # asyncua names the fault and closes
                return
            if end - at < size:
                break
            if kind != _FINAL or size < 24 or not self._take(data, at, size):
                self._process_received_data(data[at : at + size])
                if self.transport is None or self.transport.is_closing():
                    return
            at += size
        if at < end:
            self.receive_buffer = data[at:] if at else data

    def _take(self, data: bytes, at: int, size: int) -> bool:
        """True when the frame was a whole PublishResponse on an unsecured channel, and is dealt with."""
        channel, token, sequence, request = _MSG.unpack_from(data, at + 8)
        connection = self._connection
        current = connection.security_token
        if (
            request not in self._publishing
            or type(connection.security_policy) is not SecurityPolicyNone
            or channel != current.ChannelId
            or token != current.TokenId
            or connection._peer_sequence_number is None
            or sequence != connection._peer_sequence_number + 1
            or connection._incoming_parts
        ):
            return False
        connection._peer_sequence_number = sequence
        self._publishing.discard(request)
        self.on_publish(data[at + 24 : at + size])
        return True

    def _call_callback(self, request_id: int, body: Any) -> None:
        if request_id in self._publishing:
            self._publishing.discard(request_id)
            self.on_publish(bytes(body))
        else:
            super()._call_callback(request_id, body)


def is_service_fault(body: bytes) -> bool:
    """True when a response is a ServiceFault (Part 4, 7.35)."""
    return body[:4] == b"\x01\x00\x8d\x01"


def fault_code(body: bytes) -> int:
    """The StatusCode of a ServiceFault."""
    code: int = struct.unpack_from("<I", body, 16)[0]
    return code


SERVICE_RESULTS_THAT_END_A_SESSION = frozenset(
    int(code)
    for code in (
        ua.StatusCodes.BadSessionIdInvalid,
        ua.StatusCodes.BadSessionClosed,
        ua.StatusCodes.BadSessionNotActivated,
        ua.StatusCodes.BadNoSubscription,
        ua.StatusCodes.BadSubscriptionIdInvalid,
        ua.StatusCodes.BadSecureChannelClosed,
        ua.StatusCodes.BadSecureChannelIdInvalid,
        ua.StatusCodes.BadUserAccessDenied,
        ua.StatusCodes.BadServiceUnsupported,
    )
)
