"""OPC UA values of the slow lane as plain JSON."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from asyncua import ua

from twinloom.adapters.opcua.plain import plain


class Mode(enum.IntEnum):
    IDLE = 0
    CUTTING = 1


@dataclass
class Tool:
    Number: int
    Name: ua.LocalizedText
    Offsets: list[float]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        (float("nan"), None),
        (float("inf"), None),
        ("Übergang", "Übergang"),
        (b"\x00\xff", "AP8="),
        (Mode.CUTTING, 1),
        (ua.LocalizedText("Leerlauf", "de"), "Leerlauf"),
        (ua.QualifiedName("Speed", 2), "Speed"),
        (ua.NodeId("a", 2), "ns=2;s=a"),
        (ua.StatusCode(0x80310000), 0x80310000),
        (datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), "2024-05-06T07:08:09+00:00"),
        (datetime(2024, 5, 6, 7, 8, 9), "2024-05-06T07:08:09+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([1, [2.0, "x"]], [1, [2.0, "x"]]),
        (ua.Variant([1, 2], ua.VariantType.Int32), [1, 2]),
        (Tool(3, ua.LocalizedText("Fräser"), [0.1, 0.2]), {"Number": 3, "Name": "Fräser", "Offsets": [0.1, 0.2]}),
    ],
)
def test_a_value_becomes_json_that_can_be_encoded(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    orjson.dumps(plain(value))


def test_what_nests_too_deep_ends() -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]
    assert orjson.dumps(plain(value)).count(b"[") == 8
