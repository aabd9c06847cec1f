"""The payload of Sparkplug B (Eclipse Sparkplug 3.0, chapter 6.4) as protobuf messages, described here in Python.

Field numbers and types are the specification's. What is not read (metadata, data sets, templates) is left out: protobuf
keeps fields that it does not know.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPE = descriptor_pb2.FieldDescriptorProto
_U32, _U64, _BOOL = _TYPE.TYPE_UINT32, _TYPE.TYPE_UINT64, _TYPE.TYPE_BOOL
_TEXT, _BYTES, _FLOAT, _DOUBLE = _TYPE.TYPE_STRING, _TYPE.TYPE_BYTES, _TYPE.TYPE_FLOAT, _TYPE.TYPE_DOUBLE

INT8, INT16, INT32, INT64 = 1, 2, 3, 4
UINT8, UINT16, UINT32, UINT64 = 5, 6, 7, 8
FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME, TEXT, UUID = 9, 10, 11, 12, 13, 14, 15
SIGNED_BITS = {INT8: 8, INT16: 16, INT32: 32, INT64: 64}

# (name, number, type, repeated, in the oneof `value`)
_FIELDS: dict[str, list[tuple[str, int, Any, bool, bool]]] = {
    "Payload": [
        ("timestamp", 1, _U64, False, False), ("metrics", 2, "Metric", True, False), ("seq", 3, _U64, False, False),
        ("uuid", 4, _TEXT, False, False), ("body", 5, _BYTES, False, False),
    ],
    "Metric": [
        ("name", 1, _TEXT, False, False), ("alias", 2, _U64, False, False), ("timestamp", 3, _U64, False, False),
        ("datatype", 4, _U32, False, False), ("is_historical", 5, _BOOL, False, False),
        ("is_transient", 6, _BOOL, False, False), ("is_null", 7, _BOOL, False, False),
        ("properties", 9, "PropertySet", False, False), ("int_value", 10, _U32, False, True),
        ("long_value", 11, _U64, False, True), ("float_value", 12, _FLOAT, False, True),
        ("double_value", 13, _DOUBLE, False, True), ("boolean_value", 14, _BOOL, False, True),
        ("string_value", 15, _TEXT, False, True), ("bytes_value", 16, _BYTES, False, True),
    ],
    "PropertySet": [("keys", 1, _TEXT, True, False), ("values", 2, "PropertyValue", True, False)],
    "PropertyValue": [
        ("type", 1, _U32, False, False), ("is_null", 2, _BOOL, False, False), ("int_value", 3, _U32, False, True),
        ("long_value", 4, _U64, False, True), ("float_value", 5, _FLOAT, False, True),
        ("double_value", 6, _DOUBLE, False, True), ("boolean_value", 7, _BOOL, False, True),
        ("string_value", 8, _TEXT, False, True),
    ],
}  # fmt: skip
_PACKAGE = "twinloom.sparkplug"


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="twinloom/sparkplug.proto", package=_PACKAGE, syntax="proto2")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        if any(field[4] for field in fields):
            described.oneof_decl.add(name="value")
        for name, number, kind, repeated, chosen in fields:
            field = described.field.add(name=name, number=number)
            field.label = _TYPE.LABEL_REPEATED if repeated else _TYPE.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _TYPE.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
            if chosen:
                field.oneof_index = 0
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())
Payload: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


def value_of(metric: Any, datatype: int) -> float | int | str | bool | None:
    """The value of a metric as `datatype` says; None when it is null. Raises ValueError for a type that is not read.

    Signed integers travel as unsigned ones of two's complement.
    """
    if metric.is_null:
        return None
    kind = metric.WhichOneof("value")
    if kind is None:
        raise ValueError("has no value of a type that is read")
    value: Any = getattr(metric, kind)
    if kind in ("int_value", "long_value"):
        bits = SIGNED_BITS.get(datatype, 0)
        value &= (1 << bits) - 1 if bits else (1 << 64) - 1
        return int(value - (1 << bits)) if bits and value >> (bits - 1) else int(value)
    if kind in ("float_value", "double_value"):
        return float(value)
    if kind == "boolean_value":
        return bool(value)
    if kind == "string_value":
        return str(value)
    raise ValueError("is of a type that is not read (bytes, file, data set or template)")
