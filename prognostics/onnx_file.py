"""What an ONNX file contains, read without running or importing anything of it: protobuf's wire format, bounded.

onnxruntime trusts a file to be a model; this looks first. `inspect` refuses files that are too large, no ONNX, reach
outside of themselves (external data), bring operators of their own or subgraphs, or declare tensors beyond the limits.
Field numbers are those of onnx.proto (ModelProto 2 producer, 7 graph, 8 opset_import, 14 metadata_props, 25 functions;
GraphProto 1 node, 5 initializer, 15 sparse_initializer; NodeProto 4 op_type, 5 attribute, 7 domain; TensorProto 1 dims,
13 external_data, 14 data_location; AttributeProto 5 t, 6 g, 10 tensors, 11 graphs, 22 and 23 sparse tensors).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from twinloom.twin.errors import BadFile

MAX_BYTES = 64 * 2**20
MAX_NODES = 10_000
MAX_ELEMENTS = 32 * 2**20

# Operators that compute a fixed amount from their inputs. Loop, Scan, If, Range, NonZero and the like are left out:
# what they cost cannot be told from the file.
_ONNX = """Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv Div
Dropout Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual HardSigmoid HardSwish Identity LSTM LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max MaxPool
Mean Min Mul Neg Not Or PRelu Pad Pow RNN Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Round Selu
Shape Sigmoid Sign Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where"""
_ONNX_ML = """ArrayFeatureExtractor FeatureVectorizer Imputer LinearRegressor Normalizer SVMRegressor Scaler
TreeEnsemble TreeEnsembleRegressor"""
ALLOWED: dict[str, frozenset[str]] = {"": frozenset(_ONNX.split()), "ai.onnx.ml": frozenset(_ONNX_ML.split())}


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """operators: (domain, name) in use; metadata: metadata_props; nodes, elements: counted over the whole file."""

    operators: frozenset[tuple[str, str]]
    metadata: dict[str, str]
    nodes: int
    elements: int
    producer: str


def inspect(data: bytes, file: str) -> OnnxFile:
    """What is in the file. Raises BadFile with a remedy for everything that must not reach onnxruntime."""
    if len(data) > MAX_BYTES:
        raise BadFile(file, f"the model has {len(data)} bytes", remedy=f"keep it below {MAX_BYTES}")
    reader = _Reader(file)
    try:
        return reader.model(data)
    except (IndexError, ValueError, OverflowError) as error:
        raise BadFile(file, "this is no ONNX file, or a broken one", remedy="export the model again") from error


def with_metadata(data: bytes, key: str, value: str) -> bytes:
    """The file with one more entry of metadata_props: a message appended to a message is merged by protobuf. For models
    of other toolkits, which have no contract yet."""
    entry = _field(1, key.encode()) + _field(2, value.encode())
    return data + _field(14, entry)


def _field(number: int, content: bytes) -> bytes:
    size, head = len(content), bytearray([number << 3 | 2])
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size]) + content


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self._operators: set[tuple[str, str]] = set()
        self._nodes = 0
        self._elements = 0

    def _refuse(self, message: str, remedy: str) -> BadFile:
        return BadFile(self._file, message, remedy=remedy)

    def model(self, data: bytes) -> OnnxFile:
        metadata: dict[str, str] = {}
        graphs, producer, opsets = 0, "", 0
        for number, value in _fields(data):
            if number == 7 and isinstance(value, bytes):
                graphs += 1
                self._graph(value)
            elif number == 8:
                opsets += 1
            elif number == 2 and isinstance(value, bytes):
                producer = value.decode(errors="replace")
            elif number == 14 and isinstance(value, bytes):
                entry = dict(_fields(value))
                metadata[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
            elif number == 25:
                raise self._refuse("the model brings functions of its own", "inline them before export")
        if graphs != 1 or not opsets:
            raise ValueError("no graph")
        return OnnxFile(frozenset(self._operators), metadata, self._nodes, self._elements, producer)

    def _graph(self, data: bytes) -> None:
        for number, value in _fields(data):
            if not isinstance(value, bytes):
                continue
            if number == 1:
                self._node(value)
            elif number == 5:
                self._tensor(value)
            elif number == 15:
                raise self._refuse("the model has sparse tensors", "store them dense")

    def _node(self, data: bytes) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._refuse(f"the model has more than {MAX_NODES} nodes", "use a smaller model")
        kind, domain, attributes = "", "", []
        for number, value in _fields(data):
            if not isinstance(value, bytes):
                continue
            if number == 4:
                kind = _text(value)
            elif number == 7:
                domain = _text(value)
            elif number == 5:
                attributes.append(value)
        domain = "" if domain == "ai.onnx" else domain
        if kind not in ALLOWED.get(domain, frozenset()):
            raise self._refuse(
                f"operator {domain + '.' if domain else ''}{kind} is not allowed",
                "use a net of the operators in docs/prognostics/own-model.md",
            )
        self._operators.add((domain, kind))
        for attribute in attributes:
            self._attribute(attribute)

    def _attribute(self, data: bytes) -> None:
        for number, value in _fields(data):
            if number in (6, 11, 22, 23):
                raise self._refuse("a node has a subgraph or sparse attribute", "use a net without control flow")
            if number in (5, 10) and isinstance(value, bytes):
                self._tensor(value)

    def _tensor(self, data: bytes) -> None:
        dims: list[int] = []
        for number, value in _fields(data):
            if number == 1:
                dims.extend([value] if isinstance(value, int) else _packed(value))
            elif number == 13 or (number == 14 and value != 0):
                raise self._refuse("the model keeps weights in another file", "save it as one file")
        self._elements += math.prod(dims)
        if self._elements > MAX_ELEMENTS or any(dim > MAX_ELEMENTS for dim in dims):
            raise self._refuse(f"the model's tensors have more than {MAX_ELEMENTS} elements", "use a smaller model")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of one message: ints for varints, bytes for everything else."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("wire type")
        if at + size > end:
            raise ValueError("truncated")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint")


def _packed(data: bytes) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _text(value: int | bytes) -> str:
    if not isinstance(value, bytes):
        raise ValueError("text")
    return value.decode()
