"""The whole error tree. Each class carries a stable `code` (it reaches API clients) and each error a `remedy`.

    TwinloomError                INTERNAL
    ├── NotFound                 NOT_FOUND           no such twin, relationship, model, alert
    ├── Conflict                 CONFLICT            the etag given is not the current one, or the id is taken
    ├── ModelViolation           MODEL_VIOLATION     a value, twin or relationship that its DTDL model forbids
    ├── BadRequest               BAD_USER_INPUT      an argument that means nothing
    ├── LimitExceeded            LIMIT_EXCEEDED      a published limit; `retry_after_s` where waiting helps
    ├── Unauthenticated          UNAUTHENTICATED
    ├── Forbidden                FORBIDDEN
    ├── BadFile                  BAD_FILE            a plant, mapping, model, ONNX or mesh file; names the place in it
    │   └── BadSetting           BAD_SETTING         a setting; names the key
    ├── Unavailable              UNAVAILABLE
    │   ├── StoreUnavailable     STORE_UNAVAILABLE   graph store or history cannot be reached now
    │   └── SourceUnavailable    SOURCE_UNAVAILABLE  an OPC UA, MQTT or Kafka endpoint cannot be reached now
    └── CommandFailed            COMMAND_FAILED      the machine refused an order, or its echo did not come in time

`twinloom.twin.dtdl.DtdlError` derives from ModelViolation and lists every defect of the documents.
"""

from __future__ import annotations

from typing import ClassVar


class TwinloomError(Exception):
    """A failure with a sentence for people, a code for programs and a remedy for whoever can act."""

    code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class NotFound(TwinloomError):
    code = "NOT_FOUND"


class Conflict(TwinloomError):
    code = "CONFLICT"


class ModelViolation(TwinloomError):
    """A value, twin or relationship that its model forbids. `path` is a JSON pointer into what was written."""

    code = "MODEL_VIOLATION"

    def __init__(self, message: str, *, path: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.path = path


class BadRequest(TwinloomError):
    code = "BAD_USER_INPUT"


class LimitExceeded(TwinloomError):
    code = "LIMIT_EXCEEDED"

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class Unauthenticated(TwinloomError):
    code = "UNAUTHENTICATED"


class Forbidden(TwinloomError):
    code = "FORBIDDEN"


class BadFile(TwinloomError):
    """A file that cannot be used. `file` as the user named it, `place` inside it: a JSON pointer, key or line."""

    code = "BAD_FILE"

    def __init__(self, file: str, message: str, *, place: str = "", remedy: str = "") -> None:
        where = f"{file}{' ' + place if place else ''}"
        super().__init__(f"{where}: {message}", remedy=remedy)
        self.file = file
        self.place = place


class BadSetting(BadFile):
    code = "BAD_SETTING"


class Unavailable(TwinloomError):
    code = "UNAVAILABLE"


class StoreUnavailable(Unavailable):
    code = "STORE_UNAVAILABLE"


class SourceUnavailable(Unavailable):
    code = "SOURCE_UNAVAILABLE"


class CommandFailed(TwinloomError):
    code = "COMMAND_FAILED"
