"""Which JSON values a primitive schema admits (DTDL v4 "Primitive schemas", "Geospatial schemas").

Each test is a predicate on one value, fast because every write runs it. Numbers: JSON does not tell `1.0` from `1`, so
an integral float is an integer. No NaN, no infinity, no lone surrogate anywhere.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from twinloom.twin.instance import Json

Fits: TypeAlias = Callable[[Json], bool]

_FLOAT32_MAX = 3.4028235677973366e38
_DURATION = re.compile(
    r"-?P(?!\Z)(?:\d+(?:\.\d+)?Y)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?W)?(?:\d+(?:\.\d+)?D)?"
    r"(?:T(?!\Z)(?:\d+(?:\.\d+)?H)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?S)?)?",
    re.ASCII,
)
_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_TIME = re.compile(r"(\d\d:\d\d:\d\d)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _boolean(value: Json) -> bool:
    return value is True or value is False


def _double(value: Json) -> bool:
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    return kind is int and -(2**1023) <= value <= 2**1023


def _float(value: Json) -> bool:
    kind = type(value)
    return (kind is float or kind is int) and -_FLOAT32_MAX <= value <= _FLOAT32_MAX


def _integer(lowest: int, highest: int) -> Fits:
    def fits(value: Json) -> bool:
        kind = type(value)
        if kind is int:
            return bool(lowest <= value <= highest)
        return kind is float and value.is_integer() and lowest <= value <= highest

    return fits


def _string(value: Json) -> bool:
    return type(value) is str and (value.isascii() or _encodable(value))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes(value: Json) -> bool:
    if type(value) is not str or not value.isascii():
        return False
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        return False
    return True


def _decimal(value: Json) -> bool:
    if type(value) is str:
        try:
            return len(value) <= 100 and Decimal(value).is_finite()
        except InvalidOperation:
            return False
    return _double(value)


def _date(value: Json) -> bool:
    # Python also reads 20260131 and 2026-W05-6, which RFC 3339 has not
    if type(value) is not str or len(value) != 10 or not value[4] == value[7] == "-" or not value.isascii():
        return False
    return _parses(date.fromisoformat, value)


def _date_time(value: Json) -> bool:
    found = _DATE_TIME.fullmatch(value) if type(value) is str else None
    return found is not None and _parses(datetime.fromisoformat, f"{found[1]}T{_whole_second(found[2])}")


def _time(value: Json) -> bool:
    found = _TIME.fullmatch(value) if type(value) is str else None
    return found is not None and _parses(time.fromisoformat, _whole_second(found[1]))


def _whole_second(text: str) -> str:
    """RFC 3339 has a leap second :60, Python has none."""
    return text[:-2] + "59" if text.endswith(":60") else text


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _duration(value: Json) -> bool:
    return type(value) is str and _DURATION.fullmatch(value) is not None


def _uuid(value: Json) -> bool:
    return type(value) is str and _UUID.fullmatch(value) is not None


def _scaled_decimal(value: Json) -> bool:
    """`{"scale": integer, "value": decimal as text}` (DTDL v4)."""
    return (
        type(value) is dict
        and value.keys() == {"scale", "value"}
        and _INT32(value["scale"])
        and _decimal(value["value"])
    )


_INT32 = _integer(-(2**31), 2**31 - 1)


def _position(value: Json) -> bool:
    return type(value) is list and 2 <= len(value) <= 4 and all(_double(number) for number in value)


def _positions(lowest: int) -> Fits:
    def fits(value: Json) -> bool:
        return type(value) is list and len(value) >= lowest and all(_position(item) for item in value)

    return fits


def _ring(value: Json) -> bool:
    return _positions(4)(value) and value[0] == value[-1]


def _list_of(fits: Fits) -> Fits:
    return lambda value: type(value) is list and all(fits(item) for item in value)


def _geometry(kind: str, coordinates: Fits) -> Fits:
    def fits(value: Json) -> bool:
        return type(value) is dict and value.get("type") == kind and coordinates(value.get("coordinates"))

    return fits


PRIMITIVES: dict[str, Fits] = {
    "boolean": _boolean,
    "double": _double,
    "float": _float,
    "byte": _integer(-(2**7), 2**7 - 1),
    "short": _integer(-(2**15), 2**15 - 1),
    "integer": _INT32,
    "long": _integer(-(2**63), 2**63 - 1),
    "unsignedByte": _integer(0, 2**8 - 1),
    "unsignedShort": _integer(0, 2**16 - 1),
    "unsignedInteger": _integer(0, 2**32 - 1),
    "unsignedLong": _integer(0, 2**64 - 1),
    "string": _string,
    "bytes": _bytes,
    "decimal": _decimal,
    "scaledDecimal": _scaled_decimal,
    "uuid": _uuid,
    "date": _date,
    "dateTime": _date_time,
    "time": _time,
    "duration": _duration,
    "point": _geometry("Point", _position),
    "multiPoint": _geometry("MultiPoint", _positions(0)),
    "lineString": _geometry("LineString", _positions(2)),
    "multiLineString": _geometry("MultiLineString", _list_of(_positions(2))),
    "polygon": _geometry("Polygon", _list_of(_ring)),
    "multiPolygon": _geometry("MultiPolygon", _list_of(_list_of(_ring))),
}

EXAMPLES: dict[str, str] = {
    "boolean": "true or false",
    "double": "a finite number",
    "float": "a finite number in single precision's range",
    "byte": "a whole number from -128 to 127",
    "short": "a whole number from -32768 to 32767",
    "integer": "a whole number of 32 bits",
    "long": "a whole number of 64 bits",
    "unsignedByte": "a whole number from 0 to 255",
    "unsignedShort": "a whole number from 0 to 65535",
    "unsignedInteger": "a whole number from 0 to 4294967295",
    "unsignedLong": "a whole number from 0 to 2^64-1",
    "string": "a text without lone surrogates",
    "bytes": "bytes as Base64 text",
    "decimal": "a decimal number, as text or number",
    "scaledDecimal": 'an object such as {"scale": 2, "value": "1.5"}',
    "uuid": "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
    "date": "an RFC 3339 date such as 2026-01-31",
    "dateTime": "an RFC 3339 date and time with its zone, such as 2026-01-31T12:00:00Z",
    "time": "an RFC 3339 time such as 12:00:00Z",
    "duration": "an ISO 8601 duration such as PT1H30M",
    **{
        name: f"a GeoJSON {name[0].upper() + name[1:]} with its coordinates"
        for name in ("point", "multiPoint", "lineString", "multiLineString", "polygon", "multiPolygon")
    },
}
"""What to write, for remedies."""
