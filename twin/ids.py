"""Names of twins and of models.

A twin id is chosen by whoever creates the twin: 1 to 256 printable characters, a path by convention
(`toulouse/line-1/cnc-01/spindle`). A model id is a DTMI (DTDL v3, "Digital Twin Model Identifier").
"""

from __future__ import annotations

import re
from typing import NewType

from twinloom.twin.errors import BadRequest

TwinId = NewType("TwinId", str)
ModelId = NewType("ModelId", str)

_TWIN_ID = re.compile(r"[A-Za-z0-9_.:@+~/-]{1,256}")
_DTMI = re.compile(
    r"dtmi:(?:_+[A-Za-z0-9]|[A-Za-z])(?:[A-Za-z0-9_]*[A-Za-z0-9])?"
    r"(?::(?:_+[A-Za-z0-9]|[A-Za-z])(?:[A-Za-z0-9_]*[A-Za-z0-9])?)*"
    r"(?:;[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,5})?)?"
)


def twin_id(text: str) -> TwinId:
    """`text` as a twin id. Raises BadRequest when it is empty, too long or has a character that ids do not have.

    >>> twin_id("toulouse/line-1/cnc-01")
    'toulouse/line-1/cnc-01'
    """
    if not _TWIN_ID.fullmatch(text):
        raise BadRequest(
            f"{text[:80]!r} is not a twin id",
            remedy="use 1 to 256 of the characters A-Z a-z 0-9 _ . : @ + ~ / -",
        )
    return TwinId(text)


def model_id(text: str) -> ModelId:
    """`text` as a DTMI. Raises BadRequest when it is none.

    >>> model_id("dtmi:com:example:Pump;1")
    'dtmi:com:example:Pump;1'
    """
    if len(text) > 2048 or not _DTMI.fullmatch(text):
        raise BadRequest(f"{text[:80]!r} is not a model id", remedy="use a DTMI such as dtmi:com:example:Pump;1")
    return ModelId(text)


def label_of(model: str) -> str:
    """The last segment of a DTMI, as a graph label or type name: `dtmi:com:example:Pump;1` -> `Pump`."""
    return model.partition(";")[0].rpartition(":")[2]
