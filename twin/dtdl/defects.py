"""What is wrong with a document, and the error that lists all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinloom.twin.errors import ModelViolation


@dataclass(frozen=True, slots=True)
class Defect:
    """One rule that a document breaks.

    `code` is stable and machine-readable (the names follow the validation ids of the .NET DTDLParser where it has one
    for the rule), `path` a JSON pointer (RFC 6901) into the document, `line` counts from 1 (0: unknown, because the
    document came as parsed JSON), `file` is the name given with the text or the number of the document ("#0").
    """

    code: str
    path: str
    message: str
    remedy: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place} {self.path or '/'}: {self.message} [{self.code}]" + (f"; {self.remedy}" if self.remedy else "")


class DtdlError(ModelViolation):
    """Documents that are no valid DTDL. `errors` lists every defect, in document order."""

    def __init__(self, errors: Sequence[Defect]) -> None:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        place = f"{first.file}:{first.line}" if first.line else first.file
        super().__init__(f"{place} {first.path or '/'}: {first.message}{more}", path=first.path, remedy=first.remedy)
        self.errors = tuple(errors)
