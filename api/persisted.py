"""Which document a request means: its own text, one that it names by hash (APQ), or one of the safelist."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from twinloom.api.documents import variables_of
from twinloom.api.errors import refuse


class Persisted:
    """Automatic persisted queries (`extensions.persistedQuery`), bounded; and trusted documents by sha256.

    With `trusted_only` nothing but the safelist is executed; else the safelist saves sending known texts.
    """

    def __init__(self, trusted: Mapping[str, str], *, trusted_only: bool, capacity: int) -> None:
        self._trusted = {_digest(text): text for text in trusted.values()}
        self._trusted.update(trusted)
        self._only = trusted_only
        self._capacity = capacity
        self._seen: OrderedDict[str, str] = OrderedDict()

    def resolve(self, request: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], str | None]:
        """Text, variables and operation name of a request. Raises RequestRefused for what is malformed or unknown."""
        query = request.get("query")
        name = request.get("operationName")
        if name is not None and not isinstance(name, str):
            raise refuse("`operationName` must be a string", "BAD_REQUEST", 400, remedy="send the operation's name")
        variables = variables_of(request.get("variables"))
        extensions = request.get("extensions")
        if extensions is not None and not isinstance(extensions, dict):
            raise refuse("`extensions` must be an object", "BAD_REQUEST", 400, remedy="leave it out")
        if query is not None and not isinstance(query, str):
            raise refuse("`query` must be a string", "BAD_REQUEST", 400, remedy='send {"query": "..."}')
        digest = request.get("documentId")
        persisted = extensions.get("persistedQuery") if extensions else None
        if persisted is not None:
            if not isinstance(persisted, dict) or persisted.get("version") != 1:
                raise refuse("only persistedQuery version 1 is known", "PERSISTED_QUERY_NOT_SUPPORTED", 400)
            digest = persisted.get("sha256Hash")
        if digest is not None and not isinstance(digest, str):
            raise refuse("the hash of a document must be a string", "BAD_REQUEST", 400, remedy="send 64 hex digits")
        if digest is not None:
            digest = digest.lower().removeprefix("sha256:")
            query = self._by_digest(digest, query)
        if query is None:
            raise refuse("the request has no `query`", "BAD_REQUEST", 400, remedy='send {"query": "..."}')
        if self._only and _digest(query) not in self._trusted:
            raise refuse(
                "this server executes trusted documents only",
                "DOCUMENT_NOT_TRUSTED",
                403,
                remedy="register the document",
            )
        return query, variables, name or None

    def _by_digest(self, digest: str, query: str | None) -> str:
        if query is not None:
            if _digest(query) != digest:
                raise refuse(
                    "the hash is not that of the document", "BAD_REQUEST", 400, remedy="send its SHA-256 in hex"
                )
            if not self._only:
                self._seen[digest] = query
                if len(self._seen) > self._capacity:
                    self._seen.popitem(last=False)
            return query
        known = self._trusted.get(digest)
        if known is None:
            known = self._seen.get(digest)
            if known is not None:
                self._seen.move_to_end(digest)
        if known is None:
            raise refuse(
                "PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND", 404, remedy="send the document with its hash"
            )
        return known


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
