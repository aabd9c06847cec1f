"""An ensemble as one ONNX file: native LSTM nodes, the input scaling inside, the contract in its metadata.

Opset 17, IR 9. Input `window` float32 (B, W, F) in the features' own units; output `rul` float32 (B, 4): mean and the
5, 50 and 95 % quantiles, in target units, not clipped.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from twinloom.prognostics.contract import METADATA_KEY, ModelContract
from twinloom.prognostics.train.nets import LOG_FLOOR, Trained


def to_onnx(trained: Trained, contract: ModelContract) -> bytes:
    """The file's bytes, checked by onnx.checker."""
    nodes: list[Any] = []
    weights: list[Any] = []

    def constant(name: str, value: Any) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        outputs = ["", output] if kind == "LSTM" else [output]
        nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return output

    f32 = np.float32
    axis = constant("axis", np.array([0], np.int64))
    scaling, source = trained.scaling, "window"
    if scaling.log.any():
        positive = node("Max", ["window", constant("floor", np.array(LOG_FLOOR, f32))], "positive")
        logged = node("Mul", [node("Log", [positive], "logs"), constant("log", scaling.log)], "logged")
        plain = node("Mul", ["window", constant("plain_mask", 1 - scaling.log)], "plain")
        source = node("Add", [plain, logged], "mixed")
    centred = node("Sub", [source, constant("mean", scaling.mean)], "centred")
    scaled = node("Div", [centred, constant("std", scaling.std)], "scaled")
    steps = node("Transpose", [scaled], "steps", perm=[1, 0, 2])
    outs = []
    for k, net in enumerate(trained.nets):
        hidden = net["r"].shape[1]
        inputs = [
            steps,
            constant(f"w{k}", net["w"][None].astype(f32)),
            constant(f"r{k}", net["r"][None].astype(f32)),
            constant(f"b{k}", np.concatenate([net["b"], np.zeros_like(net["b"])])[None].astype(f32)),
        ]
        last = node("LSTM", inputs, f"last{k}", hidden_size=hidden)
        state = node("Squeeze", [last, axis], f"state{k}")
        head = [state, constant(f"v{k}", net["v"].astype(f32)), constant(f"c{k}", net["c"].astype(f32))]
        outs.append(node("Gemm", head, f"out{k}"))
    total = node("Sum", outs, "total")
    node("Mul", [total, constant("scale", np.array(trained.cap / len(outs), f32))], "rul")

    layout = contract.layout
    shape_in = ["B", layout.window, len(layout.features)]
    graph = helper.make_graph(
        nodes,
        "twinloom_rul",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("rul", TensorProto.FLOAT, ["B", 4])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="twinloom", ir_version=9
    )
    helper.set_model_props(model, {METADATA_KEY: contract.dump()})
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def digest_of(data: bytes) -> str:
    """The first 12 hex digits of SHA-256: the model's version."""
    return hashlib.sha256(data).hexdigest()[:12]
