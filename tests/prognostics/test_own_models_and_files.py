"""Other people's models and files: a contract on a scikit-learn model, an FMU, a CSV of readings."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinloom.prognostics.contract import METADATA_KEY, ModelContract
from twinloom.prognostics.csv_scores import as_json, score_csv
from twinloom.prognostics.defaults import layout_of, open_chain
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.fmu import FmuEstimator
from twinloom.prognostics.inspection import card, describe
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, OnnxEstimator
from twinloom.prognostics.onnx_file import with_metadata
from twinloom.prognostics.train import scores
from twinloom.prognostics.train.cmapss import CAP_CYCLES, FD001, MODEL, figures, last_windows, read_engines
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.errors import BadFile

CMAPSS = Path(__file__).parents[2] / "examples/cmapss"


@pytest.fixture
def forest(make_contract: Callable[..., ModelContract], windows: list[ComponentWindow]) -> tuple[bytes, Any, Any]:
    """A random forest by scikit-learn on flat windows, exported by skl2onnx, with a contract attached."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(1)
    x = np.stack([window.features for window in windows]).reshape(6, -1)
    x = np.concatenate([x * (1 + 0.1 * rng.standard_normal(x.shape)) for _ in range(20)]).astype(np.float32)
    model = RandomForestRegressor(n_estimators=10, max_depth=4, random_state=1).fit(x, np.linspace(1, 89, len(x)))
    data = convert_sklearn(
        model, initial_types=[("window", FloatTensorType([None, x.shape[1]]))], target_opset={"": 17, "ai.onnx.ml": 3}
    ).SerializeToString()
    contract = replace(make_contract(), outputs=("mean",))
    return with_metadata(data, METADATA_KEY, contract.dump()), model, x


def test_a_scikit_learn_model_works_once_it_carries_a_contract(
    forest: tuple[bytes, Any, Any], windows: list[ComponentWindow]
) -> None:
    data, model, _ = forest
    estimator = OnnxEstimator(data, "forest.onnx")
    answers = estimator.estimate(windows)
    x = np.stack([window.features for window in windows]).reshape(6, -1)
    for answer, expected in zip(answers, model.predict(x), strict=True):
        assert isinstance(answer, RulEstimate)
        assert answer.rul_days == pytest.approx(expected, abs=0.01)
        assert answer.high - answer.low > 5


def test_a_model_is_described_and_its_card_written_from_the_file_alone() -> None:
    told = describe(DEFAULT_MODEL)
    assert told["digest"] == hashlib.sha256(DEFAULT_MODEL.read_bytes()).hexdigest()[:12]
    assert "LSTM" in told["operators"]
    assert told["contract"]["training"]["trained_on"] == "synthetic"
    json.dumps(told)
    text = card(DEFAULT_MODEL)
    assert "Trained on: synthetic" in text and "vibration_x_ewma" in text


def test_the_cmapss_figures_in_the_metadata_come_out_again() -> None:
    model = OnnxEstimator.open(MODEL, trusted=True)
    test = read_engines(CMAPSS, "test")
    assert test.sha256 == model.contract.training["test_sha256"]
    again, claimed = figures(model, last_windows(test)), model.contract.metrics
    for name in ("rmse_cycles", "nasa_score", "coverage", "mean_width"):
        assert again[name] == pytest.approx(claimed[name], abs=2e-3 * max(1.0, abs(claimed[name]))), name
    assert claimed["rmse_cycles"] <= 11.5
    assert 0.87 <= claimed["coverage"] <= 0.93
    assert claimed["rmse_ci95"][0] < claimed["rmse_cycles"] < claimed["rmse_ci95"][1]


def test_a_users_own_file_is_scored_as_the_training_scored_it(tmp_path: Path) -> None:
    test = read_engines(CMAPSS, "test")
    path = tmp_path / "engines.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["component", *(channel.name for channel in FD001.channels)])
        for i, daily in enumerate(test.daily):
            writer.writerows([f"engine-{i}", *row] for row in daily.tolist())
    chain = open_chain(MODEL, None, deadline_s=60.0)
    estimates = score_csv(path, chain, layout_of(chain))
    chain.close()
    left = np.array(test.life) - np.array([len(daily) for daily in test.daily])
    rul = np.array([estimate.rul_days for estimate in estimates])
    claimed = OnnxEstimator.open(MODEL, trusted=True).contract.metrics["rmse_cycles"]
    assert scores.rmse(rul, np.minimum(left, CAP_CYCLES)) == pytest.approx(claimed, abs=2e-3)
    assert as_json(estimates[0])["component"] == "engine-0"
    json.dumps([as_json(estimate) for estimate in estimates], allow_nan=False)


BAD_CSV = {
    "empty": (b"", "line 1"),
    "no component": (b"power_on_hours,load\n1,2\n", "line 1"),
    "no clock": (b"component,load\na,2\n", "line 1"),
    "text for a number": (b"component,power_on_hours,load\na,1,2\na,2,much\n", "line 3"),
    "no clock reading": (b"component,power_on_hours\na,1\na,\n", "line 3"),
    "a bad component id": (b"component,power_on_hours\n\xc3\xa4 b,1\n", "line 2"),
    "not UTF-8": (b"component,power_on_hours\n\xff\xfe,1\n", ""),
}


@pytest.mark.parametrize("kind", sorted(BAD_CSV))
def test_a_broken_file_of_readings_is_refused_at_its_line(kind: str, tmp_path: Path) -> None:
    content, place = BAD_CSV[kind]
    path = tmp_path / "readings.csv"
    path.write_bytes(content)
    chain = open_chain()
    with pytest.raises(BadFile) as caught:
        score_csv(path, chain, layout_of(chain))
    chain.close()
    assert caught.value.place == place
    assert caught.value.remedy


@pytest.mark.parametrize("content", [None, b"", b"1 2 3\n", b"one " * 26])
def test_a_broken_data_set_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "train_FD001.txt").write_bytes(content)
    with pytest.raises(BadFile, match="train_FD001"):
        read_engines(tmp_path, "train")


SPINDLE_FMU = """
from pythonfmu import Fmi2Causality, Fmi2Initial, Fmi2Slave, Real

class SpindleWear(Fmi2Slave):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.damage = 0.5
        self.rate = 0.001
        self.load = 0.5
        self.register_variable(Real("damage", causality=Fmi2Causality.output, initial=Fmi2Initial.exact))
        self.register_variable(Real("rate", causality=Fmi2Causality.input))
        self.register_variable(Real("load", causality=Fmi2Causality.input))

    def do_step(self, current_time, step_size):
        self.damage += self.rate * step_size
        return True
"""


@pytest.fixture
def fmu(tmp_path: Path) -> Path:
    source = tmp_path / "spindlewear.py"
    source.write_text(SPINDLE_FMU)
    subprocess.run(
        [sys.executable, "-m", "pythonfmu", "build", "-f", str(source), "-d", str(tmp_path), "--no-external-tool"],
        check=True, capture_output=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    (built,) = tmp_path.glob("*.fmu")
    return built


def test_an_fmu_off_the_allow_list_never_runs(tmp_path: Path) -> None:
    path = tmp_path / "evil.fmu"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(BadFile, match="not allowed"):
        FmuEstimator(path, set())


def test_an_allowed_fmu_is_simulated_in_its_own_process(fmu: Path, windows: list[ComponentWindow]) -> None:
    digest = hashlib.sha256(fmu.read_bytes()).hexdigest()
    estimator = FmuEstimator(fmu, {digest}, trajectories=3, particles=120)
    (answer,) = estimator.estimate(windows[:1])
    assert isinstance(answer, RulEstimate)
    assert answer.method == "fmu" and answer.model_version == digest[:12]
    assert 0 <= answer.low <= answer.rul_days <= answer.high <= 90
