"""Files that are no good model: each is refused by name before it can do harm, and other scores go on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from twinloom.prognostics.contract import METADATA_KEY
from twinloom.prognostics.defaults import open_chain
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.layout import CNC_SPINDLE
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, OnnxEstimator
from twinloom.twin.errors import BadFile

MakeModel = Callable[..., bytes]


def with_contract(make_contract: Callable[..., Any], **changes: Any) -> str:
    """The good contract with top-level fields replaced, or left out where the value is None."""
    document = json.loads(make_contract().dump())
    document.update(changes)
    return json.dumps({key: value for key, value in document.items() if value is not None})


def test_a_good_file_of_any_maker_is_tried_and_opened(make_model: MakeModel) -> None:
    estimator = OnnxEstimator(make_model(33.0), "good.onnx")
    assert estimator.predict(np.ones((3, 14, 10), np.float32)).tolist() == [[33.0] * 4] * 3


CONTRACTS: dict[str, tuple[dict[str, Any], str]] = {
    "another schema": ({"schema_version": 9}, "/schema_version"),
    "another task": ({"task": "classify"}, "/task"),
    "no features": ({"features": []}, "/features"),
    "no channels": ({"channels": None}, "/channels"),
    "no interval": ({"interval": None}, "/interval"),
    "an unknown interval method": ({"interval": {"method": "guess"}}, "/interval/method"),
    "edges that fall": (
        {"interval": {"method": "mondrian", "level": 0.9, "edges": [9, 1], "half_widths": [1]}},
        "/interval",
    ),
    "a cap that is no number": ({"target": {"unit": "day", "cap": "high", "clock_per_unit": 24}}, "/target/cap"),
    "a clock that is no channel": ({"clock": "sundial"}, "/clock"),
    "a window of zero": ({"window": 0}, "/window"),
    "half a stride of window": ({"window": 2.5}, "/window"),
    "other outputs": ({"outputs": ["median"]}, "/outputs"),
    "an unknown history": ({"history_required": "all of it"}, "/history_required"),
    "a window that is not the graph's": ({"window": 15}, "input"),
}


@pytest.mark.parametrize("kind", sorted(CONTRACTS))
def test_a_contract_that_does_not_fit_is_refused_at_its_place(
    kind: str, make_model: MakeModel, make_contract: Callable[..., Any]
) -> None:
    changes, place = CONTRACTS[kind]
    data = make_model(contract=with_contract(make_contract, **changes))
    with pytest.raises(BadFile) as caught:
        OnnxEstimator(data, "m.onnx", trusted=True)
    assert caught.value.place.endswith(place)
    assert caught.value.file == "m.onnx"


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "[" * 100_000, '{"schema_version": NaN}'])
def test_text_that_is_no_contract_is_refused(text: str, make_onnx: Callable[..., bytes], make_model: MakeModel) -> None:
    with pytest.raises(BadFile, match=r"contract|schema"):
        OnnxEstimator(make_model(contract=text), "m.onnx", trusted=True)


def test_a_feature_in_another_unit_than_its_channel_is_refused(
    make_model: MakeModel, make_contract: Callable[..., Any]
) -> None:
    document = json.loads(make_contract().dump())
    document["features"][0]["unit"] = "in/s"
    with pytest.raises(BadFile) as caught:
        OnnxEstimator(make_model(contract=json.dumps(document)), "m.onnx", trusted=True)
    assert caught.value.place == f"{METADATA_KEY}/features/0/unit"


def test_a_model_whose_channel_has_another_unit_than_the_plant_is_not_asked(
    make_model: MakeModel, make_contract: Callable[..., Any], windows: list[ComponentWindow]
) -> None:
    document = json.loads(make_contract().dump())
    document["channels"][0]["unit"] = document["features"][0]["unit"] = document["features"][5]["unit"] = "in/s"
    estimator = OnnxEstimator(make_model(contract=json.dumps(document)), "m.onnx", trusted=True)
    reasons = {answer.reason for answer in estimator.estimate(windows)}
    assert reasons == {"layout: vibration_x is in mm/s, the model wants in/s"}


def external(path: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=path)
    return tensor


def hostile_files(make: Callable[..., bytes], secret: Path) -> dict[str, bytes]:
    """Thirty-odd files, each bad in one way."""
    node, f32 = helper.make_node, TensorProto.FLOAT
    out = [node("ReduceMean", ["window"], ["m"], axes=[1, 2], keepdims=0)]
    float_of = numpy_helper.from_array
    four = float_of(np.zeros((1, 4), np.float32), "four")

    def with_node(*nodes: Any, weights: tuple[Any, ...] = (four,), **options: Any) -> bytes:
        return make([*nodes, node("MatMul", ["m1", "four"], ["rul"])], weights, **options)

    body = helper.make_graph(
        [node("Identity", ["a"], ["b"])], "body", [], [helper.make_tensor_value_info("b", f32, [])]
    )
    good = make([node("ReduceMean", ["window"], ["m1"], axes=[2], keepdims=0), node("Slice", ["m1"], ["rul"])])
    files = {
        f"external data {path!r}": with_node(weights=(external(path),))
        for path in (
            str(secret),
            "../secret",
            "secret",
            "/proc/self/environ",
            "C:\\secret",
            "file:///etc/passwd",
        )
    }
    for kind in ("Loop", "If", "Scan", "Range", "NonZero", "SequenceMap", "StringSplit", "Unique", "Optional"):
        files[f"operator {kind}"] = with_node(node(kind, ["window"], ["m1"]))
    for domain in ("com.evil", "ai.onnx.contrib", "com.microsoft", "ai.onnx.preview.training", "ai.onnx.ml"):
        files[f"custom operator of {domain}"] = with_node(
            node("Gelu2", ["window"], ["m1"], domain=domain), opsets=(("", 17), (domain, 1))
        )
    files["subgraph in an allowed node"] = with_node(node("Identity", ["window"], ["m1"], body=body))
    files["external data in an attribute"] = with_node(node("Constant", [], ["m1"], value=external("x")))
    huge = TensorProto(name="w", data_type=f32, dims=[2**20, 2**20])
    files["a tensor of 10^12 elements"] = with_node(weights=(huge,))
    files["dims that overflow"] = with_node(weights=(TensorProto(name="w", data_type=f32, dims=[2**62, 8]),))
    files["negative dims"] = with_node(weights=(TensorProto(name="w", data_type=f32, dims=[-5]),))
    files["20,000 nodes"] = with_node(*[node("Identity", ["window"], [f"i{i}"]) for i in range(20_000)])
    files["a cycle"] = with_node(node("Identity", ["m1"], ["m1"]))
    files["a dangling input"] = with_node(node("Identity", ["nowhere"], ["m1"]))
    files["no graph"] = onnx.ModelProto(ir_version=9).SerializeToString()
    files["empty"] = b""
    files["text"] = b"this is no model\n" * 20
    files["zip"] = b"PK\x03\x04" + bytes(200)
    files["half a file"] = good[: len(good) // 2]
    files["random bytes"] = np.random.default_rng(1).bytes(4096)
    files["an endless varint"] = b"\x3a" + b"\xff" * 40
    files["a length beyond the end"] = b"\x3a\xff\xff\xff\xff\x07"
    files["a fixed batch"] = make(out, (), shape=[1, 14, 10])
    files["another rank"] = make(out, (), shape=["B", 140])
    files["no contract"] = make(out, (), contract="")
    return files


def test_hostile_files_are_refused_without_reading_anything_else(
    make_onnx: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(np.ones(4, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    files = hostile_files(make_onnx, secret)
    assert len(files) >= 30
    opened = []
    for kind, data in files.items():
        try:
            OnnxEstimator(data, "hostile.onnx", trusted=True)
        except BadFile as error:
            assert error.remedy, kind
        else:
            opened.append(kind)
    assert opened == []


def test_a_small_file_that_asks_for_gigabytes_dies_in_its_own_process(make_onnx: Callable[..., bytes]) -> None:
    node = helper.make_node
    shape = numpy_helper.from_array(np.array([60_000, 60_000], np.int64), "shape")
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    four = numpy_helper.from_array(np.zeros((1, 4), np.float32), "four")
    data = make_onnx(
        [
            node("ReduceMean", ["window"], ["m"], axes=[1, 2], keepdims=0),
            node("Unsqueeze", ["m", "axis"], ["m1"]),
            node("ConstantOfShape", ["shape"], ["big"]),
            node("ReduceMean", ["big"], ["b"], keepdims=0),
            node("Add", ["m1", "b"], ["s"]),
            node("MatMul", ["s", "four"], ["rul"]),
        ],
        [shape, axis, four],
    )
    assert len(data) < 10_000
    with pytest.raises(BadFile, match="trial run"):
        OnnxEstimator(data, "bomb.onnx")


def test_a_model_that_answers_in_another_shape_is_refused(make_onnx: Callable[..., bytes]) -> None:
    data = make_onnx([helper.make_node("ReduceMean", ["window"], ["rul"], axes=[2], keepdims=0)], out_shape=["B", 14])
    with pytest.raises(BadFile, match="shapes"):
        OnnxEstimator(data, "m.onnx")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e6, 1e9])
def test_nonsense_from_a_model_becomes_a_degraded_estimate_with_the_reason(
    value: float, make_model: MakeModel, windows: list[ComponentWindow], tmp_path: Path
) -> None:
    path = tmp_path / "nonsense.onnx"
    path.write_bytes(make_model(value))
    chain = open_chain(path, None, deadline_s=30.0)
    estimates = chain.estimate(windows)
    chain.close()
    assert {estimate.method for estimate in estimates} == {"baseline"}
    assert {estimate.reason.partition(":")[0] for estimate in estimates} <= {"nan", "out_of_bounds"}
    assert {estimate.model_health.value for estimate in estimates} == {"degraded"}


@pytest.mark.parametrize(("content", "code"), [(None, "missing"), (b"broken", "broken")])
def test_a_missing_or_broken_model_leaves_the_rule_in_charge(
    content: bytes | None, code: str, windows: list[ComponentWindow], tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    chain = open_chain(path, None, deadline_s=30.0)
    estimates = chain.estimate(windows)
    chain.close()
    assert {estimate.method for estimate in estimates} == {"baseline"}
    assert all(estimate.reason.startswith(code) for estimate in estimates)


def test_bytes_flipped_anywhere_in_a_good_file_never_crash(windows: list[ComponentWindow]) -> None:
    good = DEFAULT_MODEL.read_bytes()
    rng = np.random.default_rng(3)
    opened = 0
    for _ in range(300):
        data = bytearray(good)
        for at in rng.integers(0, len(data), int(rng.integers(1, 4))):
            data[at] = int(rng.integers(256))
        try:
            estimator = OnnxEstimator(bytes(data), "flipped.onnx", trusted=True)
        except BadFile:
            continue
        opened += 1
        assert len(estimator.estimate(windows[:1])) == 1
    assert opened > 0


def test_the_packaged_layout_is_the_models_own() -> None:
    assert OnnxEstimator.open(DEFAULT_MODEL, trusted=True).contract.layout == CNC_SPINDLE
