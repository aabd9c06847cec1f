"""The committed models say the truth of themselves: their figures come out again on machines made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twinloom.prognostics.layout import Layout
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, WITHOUT_HISTORY, OnnxEstimator
from twinloom.prognostics.train import scores
from twinloom.prognostics.train.cnc import CAP_DAYS, evaluate, figures, unseen_lives, whole_lives
from twinloom.prognostics.train.fleet import Life, digest


@pytest.fixture(scope="module")
def unseen() -> list[Life]:
    model = OnnxEstimator.open(DEFAULT_MODEL, trusted=True)
    return unseen_lives(int(model.contract.training["seed"]))


@pytest.mark.parametrize("path", [DEFAULT_MODEL, WITHOUT_HISTORY], ids=["with history", "without"])
def test_the_figures_in_the_metadata_come_out_again_on_the_unseen_machines(path: Path, unseen: list[Life]) -> None:
    model = OnnxEstimator.open(path, trusted=True)
    training, claimed = model.contract.training, model.contract.metrics
    assert digest(unseen) == training["test_sha256"]
    test = whole_lives(unseen, layout_of(model))
    predicted, low, high = evaluate(model, test)
    again = figures(test, predicted, float(training["mean_life_days"]), float(training["median_end_mm_s"]))
    again |= scores.interval_figures(np.minimum(test.y, CAP_DAYS), low, high)
    for name in ("rmse_days", "skill_vs_mean", "skill_vs_linear_to_limit", "coverage", "mean_width"):
        assert again[name] == pytest.approx(claimed[name], abs=2e-3), name


def layout_of(model: OnnxEstimator) -> Layout:
    return model.contract.layout


def test_the_default_model_keeps_the_honest_band() -> None:
    claimed = OnnxEstimator.open(DEFAULT_MODEL, trusted=True).contract.metrics
    assert 8 < claimed["rmse_days"] <= 14
    assert claimed["skill_vs_mean"] >= 0.7
    assert claimed["skill_vs_linear_to_limit"] >= 0.35
    assert 0.85 <= claimed["coverage"] <= 0.95
    assert claimed["machines"] == 47


def test_the_default_models_are_small_enough_to_commit() -> None:
    assert DEFAULT_MODEL.stat().st_size < 1_000_000
    assert WITHOUT_HISTORY.stat().st_size < 1_000_000


def test_the_model_card_says_what_the_metadata_says() -> None:
    card = (Path(__file__).parents[2] / "docs/prognostics/cnc-model-card.md").read_text()
    claimed = OnnxEstimator.open(DEFAULT_MODEL, trusted=True).contract.metrics
    assert f"**{claimed['rmse_days']:.2f} days**" in card
    assert f"{claimed['coverage']:.3f}, {claimed['mean_width']:.1f} days" in card
