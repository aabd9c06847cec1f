"""Bearer tokens: kept as SHA-256 digests, compared in constant time.

A token is a random secret of the operator's choice. Only its digest is stored, so that a stolen settings file opens
nothing; SHA-256 without salt is enough for secrets of 128 bits and more, which `Token.of` demands by length.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from twinloom.twin.errors import BadRequest, Forbidden, Unauthenticated

Access = Literal["read", "write", "command"]
MINIMUM_CHARACTERS = 16
ALL_ACCESS: frozenset[Access] = frozenset({"read", "write", "command"})


@dataclass(frozen=True, slots=True)
class Token:
    """Who it belongs to, the SHA-256 hex digest of the secret, and what it allows."""

    name: str
    digest: str
    access: frozenset[Access] = ALL_ACCESS

    @staticmethod
    def of(name: str, secret: str, access: frozenset[Access] = ALL_ACCESS) -> Token:
        """A token from its secret. Raises BadRequest when the secret is shorter than 16 characters.

        >>> Token.of("line", "a-long-enough-secret").name
        'line'
        """
        if len(secret) < MINIMUM_CHARACTERS:
            short = f"the token of {name!r} is shorter than {MINIMUM_CHARACTERS} characters"
            raise BadRequest(short, remedy="make a longer random one")
        return Token(name, hashlib.sha256(secret.encode()).hexdigest(), access)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what they may do. `scope` tells apart those who may see different things."""

    name: str
    access: frozenset[Access]
    scope: str = "all"

    def require(self, access: Access) -> None:
        """Raises Forbidden unless the principal has `access`."""
        if access not in self.access:
            raise Forbidden(f"{self.name!r} may not {access}", remedy=f"use a token with {access} access")


ANYONE = Principal("anyone", ALL_ACCESS)


class Doorkeeper:
    """Turns a bearer token into a principal."""

    def __init__(self, tokens: Sequence[Token] | None) -> None:
        self._tokens = None if tokens is None else [(bytes.fromhex(token.digest), token) for token in tokens]

    @property
    def open(self) -> bool:
        return self._tokens is None

    def admit(self, secret: str | None) -> Principal:
        """The principal of `secret`. Raises Unauthenticated when there is none; every token is compared, always."""
        if self._tokens is None:
            return ANYONE
        if not secret:
            raise Unauthenticated("no token was sent", remedy="send the header Authorization: Bearer <token>")
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        found: Token | None = None
        for expected, token in self._tokens:
            if hmac.compare_digest(expected, digest):
                found = token
        if found is None:
            raise Unauthenticated("the token is not known", remedy="send a token that this server was given")
        return Principal(found.name, found.access)


def bearer(header: str | None) -> str | None:
    """The token in an `Authorization` header, or None when it holds no bearer token.

    >>> bearer("Bearer abc")
    'abc'
    """
    if header is None:
        return None
    kind, _, secret = header.partition(" ")
    return secret.strip() if kind.lower() == "bearer" and secret.strip() else None
