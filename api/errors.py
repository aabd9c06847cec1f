"""What goes wrong, as a client sees it: a sentence, a stable `extensions.code`, a remedy, never an internal.

Request errors (syntax, validation, limits, authentication) end a request before execution and carry an HTTP status;
field errors stand beside partial data. Whatever is no TwinloomError is logged with a correlation id, and the client
gets the id only.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError

from twinloom.twin.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    LimitExceeded,
    ModelViolation,
    NotFound,
    TwinloomError,
    Unauthenticated,
    Unavailable,
)

log = logging.getLogger("twinloom.api")

_STATUS: tuple[tuple[type[TwinloomError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (LimitExceeded, 400),
    (ModelViolation, 400),
    (BadRequest, 400),
    (Unavailable, 503),
)


class RequestRefused(Exception):
    """A request that is not executed. `errors` are formatted; `status` and `headers` are those of the HTTP answer."""

    def __init__(self, errors: list[dict[str, Any]], status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors
        self.status = status
        self.headers = headers or {}


class TooManyRequests(LimitExceeded):
    code = "RATE_LIMITED"


class CostLimit(LimitExceeded):
    code = "COST_LIMIT"


class Stale(Unavailable):
    """The state that `minSeq` asks for was not reached in time."""

    code = "SEQ_NOT_REACHED"


def refuse(
    message: str, code: str, status: int, *, remedy: str = "", headers: dict[str, str] | None = None, **more: Any
) -> RequestRefused:
    """A refusal with one error."""
    extensions: dict[str, Any] = {"code": code, **more}
    if remedy:
        extensions["remedy"] = remedy
    return RequestRefused([{"message": message, "extensions": extensions}], status, headers)


def refusal_of(error: TwinloomError) -> RequestRefused:
    """The refusal that says what `error` says, with the status of its class."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    headers = {}
    if isinstance(error, LimitExceeded) and error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        if isinstance(error, TooManyRequests):
            status = 429
    return RequestRefused([{"message": error.message, "extensions": extensions_of(error)}], status, headers)


def extensions_of(error: TwinloomError) -> dict[str, Any]:
    """`code`, and `remedy`, `path` and `retryAfterMs` where the error has them."""
    extensions: dict[str, Any] = {"code": error.code}
    if error.remedy:
        extensions["remedy"] = error.remedy
    if isinstance(error, ModelViolation) and error.path:
        extensions["pointer"] = error.path
    if isinstance(error, LimitExceeded) and error.retry_after_s is not None:
        extensions["retryAfterMs"] = int(error.retry_after_s * 1000)
    return extensions


def document_errors(errors: Sequence[GraphQLError], code: str) -> list[dict[str, Any]]:
    """Syntax, validation or variable errors as the client gets them."""
    return [_located(error, error.message, {"code": code}) for error in errors]


def field_error(error: GraphQLError) -> dict[str, Any]:
    """One execution error. Internals are masked: the log has them, under the correlation id that the client gets."""
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if cause is None or isinstance(cause, GraphQLError):
        return _located(error, error.message, {"code": "BAD_USER_INPUT", **(error.extensions or {})})
    if isinstance(cause, TwinloomError) and type(cause).code != "INTERNAL":
        return _located(error, cause.message, extensions_of(cause))
    message, extensions = masked(cause)
    return _located(error, message, extensions)


def masked(cause: BaseException) -> tuple[str, dict[str, Any]]:
    """Logs `cause` and returns what may be told of it."""
    correlation = uuid.uuid4().hex[:16]
    log.error("unexpected failure %s", correlation, exc_info=cause)
    return f"internal error, see the server's log for {correlation}", {"code": "INTERNAL", "correlationId": correlation}


def _located(error: GraphQLError, message: str, extensions: dict[str, Any]) -> dict[str, Any]:
    formatted: dict[str, Any] = {"message": message}
    if error.locations:
        formatted["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        formatted["path"] = list(error.path)
    formatted["extensions"] = extensions
    return formatted
