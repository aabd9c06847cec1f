"""Windows of wearing spindles, and ONNX files of every kind, made by script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from twinloom.prognostics.contract import METADATA_KEY, Interval, ModelContract, Range
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import CNC_SPINDLE, Layout
from twinloom.twin.ids import TwinId
from twinloom.twin.readings import GOOD
from twinloom.twin.wear import Fleet


@pytest.fixture
def windows() -> list[ComponentWindow]:
    """Windows of six spindles after 20 watched days."""
    return watched(6, days=20)[1].windows([TwinId(f"m{i}/spindle") for i in range(6)])


@pytest.fixture
def watch() -> Callable[..., tuple[Fleet, FeatureBank]]:
    return watched


def watched(machines: int, *, days: int, seed: int = 5, quality: int = GOOD) -> tuple[Fleet, FeatureBank]:
    """A mixed fleet and the bank that watched it for some days, ten readings a day."""
    fleet, bank = Fleet(machines, seed, start_ages="mixed"), FeatureBank(CNC_SPINDLE)
    for i in range(machines):
        bank.add(TwinId(f"m{i}/spindle"))
    for tick in range(10 * days + 1):
        fleet.advance(2.4)
        feed(bank, fleet, tick, quality)
    return fleet, bank


def feed(bank: FeatureBank, fleet: Fleet, tick: int, quality: int = GOOD) -> None:
    shown, names, n = fleet.spindle(), [channel.name for channel in bank.layout.channels], len(fleet)
    values = np.stack([shown[name] for name in names], axis=1).ravel()
    bank.observe(
        np.repeat(np.arange(n), len(names)),
        np.tile(np.arange(len(names)), n),
        values,
        np.full(len(values), quality, np.uint32),
        np.full(len(values), tick * 100_000_000),
    )


def contract_of(layout: Layout = CNC_SPINDLE, **changes: Any) -> ModelContract:
    contract = ModelContract(
        layout=layout,
        target_unit="day",
        cap=90.0,
        clock_per_target=24.0,
        history="window",
        ranges=tuple(Range(0.0, 1e6, -1e6, 1e6) for _ in layout.features),
        interval=Interval(0.9, (0.0, 45.0, 90.0), (10.0, 20.0)),
        training={"trained_on": "nothing"},
    )
    return replace(contract, **changes)


Nodes = Sequence[Any]


def onnx_bytes(
    nodes: Nodes,
    weights: Sequence[Any] = (),
    *,
    layout: Layout = CNC_SPINDLE,
    contract: str | None = None,
    shape: Sequence[Any] | None = None,
    opsets: Sequence[tuple[str, int]] = (("", 17),),
    out_shape: Sequence[Any] = ("B", 4),
) -> bytes:
    """A model from `window` (B, W, F) to `rul`, with a good contract unless one is given ("" for none)."""
    graph = helper.make_graph(
        list(nodes),
        "made_for_a_test",
        [
            helper.make_tensor_value_info(
                "window", TensorProto.FLOAT, shape or ["B", layout.window, len(layout.features)]
            )
        ],
        [helper.make_tensor_value_info("rul", TensorProto.FLOAT, list(out_shape))],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in opsets], ir_version=9)
    text = contract_of(layout).dump() if contract is None else contract
    if text:
        helper.set_model_props(model, {METADATA_KEY: text})
    data: bytes = model.SerializeToString()
    return data


def array(name: str, values: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def constant_model(value: float = 40.0, **options: Any) -> bytes:
    """A model that says `value` of every window."""
    nodes = [
        helper.make_node("ReduceMean", ["window"], ["one"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["one", "zero"], ["none"]),
        helper.make_node("Unsqueeze", ["none", "axis"], ["column"]),
        helper.make_node("Add", ["column", "answer"], ["rul"]),
    ]
    weights = [array("zero", 0.0), array("axis", [1], np.int64), array("answer", [[value] * 4])]
    return onnx_bytes(nodes, weights, **options)


@pytest.fixture
def make_model() -> Callable[..., bytes]:
    return constant_model


@pytest.fixture
def make_onnx() -> Callable[..., bytes]:
    return onnx_bytes


@pytest.fixture
def make_contract() -> Callable[..., ModelContract]:
    return contract_of
