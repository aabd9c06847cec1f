"""`python -m twinloom.prognostics.train.cnc`: the default models for CNC spindles, trained on the synthetic fleet.

Protocol, fixed before the published numbers were seen:
- Training: the first lives of 300 machines (seeds `seed` + 1 and + 2: 200 read 10 times a day as the demo does, 100
  read 24 times); of each life, windows every third day, watched from installation and twice from a random day on,
  since a server may start beside a running plant. Test: 47 machines of another seed (`seed` + 3), every day of their
  lives from the first scorable one on, watched from installation. No machine is in both. Target: days until D = 1,
  capped at 90 on truth and prediction.
- Choices (window 14, logarithm of vibration, epochs, noise; and how noisy and varied the synthetic machines are) were
  made on machines of seeds that are neither trained on nor tested here; the test machines were scored once, after.
- Five folds by machine; intervals by Mondrian conformal on out-of-fold predictions; figures beside the mean predictor
  and two linear extrapolations of vibration (to 4.5 mm/s, and to the fleet's median vibration at failure).
- A second model without history takes only the last full day: the fallback while a window is not full.

Synthetic skill says nothing of real machines: the contract says "synthetic" where `model_health` can show it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.conformal import calibrate
from twinloom.prognostics.contract import ModelContract, Range
from twinloom.prognostics.layout import CNC_SPINDLE, CNC_SPINDLE_LITE, Layout
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL, WITHOUT_HISTORY, OnnxEstimator
from twinloom.prognostics.train import scores
from twinloom.prognostics.train.fleet import Life, digest, lives
from twinloom.prognostics.train.windows import Windows, join, windows_of
from twinloom.twin.instance import Json

SEED = 20261
CAP_DAYS = 90.0
EDGES = (0.0, 15.0, 30.0, 50.0, 70.0, 90.0)
LIMIT_MM_S = 4.5
TEST_MACHINES = 47
_LOGGED = ("vibration_x", "vibration_y", "vibration_x_ewma", "vibration_y_ewma")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """data: the ONNX file. test: windows of the unseen machines. predicted, low, high (N,): days."""

    data: bytes
    contract: ModelContract
    test: Windows
    predicted: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def training_lives(seed: int) -> list[Life]:
    return lives(200, seed + 1, CNC_SPINDLE, readings_per_day=10) + lives(
        100, seed + 2, CNC_SPINDLE, readings_per_day=24
    )


def unseen_lives(seed: int) -> list[Life]:
    """The 47 machines that no net has seen, made anew from their seed."""
    return lives(TEST_MACHINES, seed + 3, CNC_SPINDLE)


def training_windows(found: Sequence[Life], layout: Layout, seed: int) -> Windows:
    rng = np.random.default_rng(seed)
    parts = []
    for group, life in enumerate(found):
        for watched in range(3):
            first = 0 if watched == 0 else int(rng.uniform(0, 0.85) * len(life.daily))
            offset = int(rng.integers(3))
            parts.append(windows_of(life.daily, life.days, layout, group, first=first, every=3, offset=offset))
    return join(parts)


def whole_lives(found: Sequence[Life], layout: Layout) -> Windows:
    """Every scorable day of each life, watched from installation."""
    return join([windows_of(life.daily, life.days, layout, group) for group, life in enumerate(found)])


def figures(test: Windows, predicted: npt.NDArray[np.float64], mean_life: float, end: float) -> dict[str, Json]:
    """Errors on the test machines beside the references'. mean_life: mean capped RUL of training; end: the training
    fleet's median vibration on its last day [mm/s]."""
    truth = np.minimum(test.y, CAP_DAYS)
    short = truth <= 30
    mean = np.full(len(truth), mean_life)
    to_limit, to_end = _extrapolated(test.x, LIMIT_MM_S), _extrapolated(test.x, end)
    return {
        "rmse_days": scores.rmse(predicted, truth),
        "rmse_ci95": list(scores.bootstrap_rmse(predicted, truth, test.group)),
        "rmse_last_30_days": scores.rmse(predicted[short], truth[short]),
        "mae_days": float(np.abs(predicted - truth).mean()),
        "skill_vs_mean": scores.skill(predicted, truth, mean),
        "skill_vs_linear_to_limit": scores.skill(predicted, truth, to_limit),
        "skill_vs_linear_to_median_end": scores.skill(predicted, truth, to_end),
        "reference_rmse_days": {
            "mean": scores.rmse(mean, truth),
            "linear_to_limit": scores.rmse(to_limit, truth),
            "linear_to_median_end": scores.rmse(to_end, truth),
        },
        "by_truth": scores.by_truth(predicted, truth, EDGES),
        "machines": len(np.unique(test.group)),
        "windows": len(test),
    }


def _extrapolated(x: npt.NDArray[np.float32], limit: float) -> npt.NDArray[np.float64]:
    """Days until a straight line through the window's larger vibration reaches `limit`, capped."""
    level = x[:, :, :2].max(axis=2).astype(np.float64)
    days = np.arange(level.shape[1]) - (level.shape[1] - 1) / 2
    slope = level @ days / max(float(days @ days), 1.0)
    last = level.mean(axis=1) + slope * days[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(slope > 1e-6, (limit - last) / slope, CAP_DAYS)
    return np.clip(np.where(last >= limit, 0.0, left), 0.0, CAP_DAYS)


def evaluate(model: OnnxEstimator, test: Windows) -> tuple[npt.NDArray[np.float64], ...]:
    """Predictions and interval ends (N,) in days, as the service would give them."""
    predicted = np.clip(model.predict(test.x)[:, 0].astype(np.float64), 0.0, CAP_DAYS)
    return (predicted, *model.interval(predicted))


def train(layout: Layout, seed: int, found: Sequence[Life], unseen: Sequence[Life], say: Say, **extra: str) -> Result:
    """One model of one layout, with its figures on the unseen machines."""
    from twinloom.prognostics.train.export import to_onnx
    from twinloom.prognostics.train.nets import Recipe, train_folds

    data, test = training_windows(found, layout, seed), whole_lives(unseen, layout)
    say(f"{len(data)} windows of {len(found)} machines, {len(test)} of {len(unseen)} unseen ones")
    recipe = Recipe(epochs=8, noise=0.1)
    logged = [i for i, feature in enumerate(layout.features) if feature.name in _LOGGED]
    trained = train_folds(
        data, CAP_DAYS, recipe, seed, log_columns=logged, progress=lambda k, n: say(f"fold {k} of {n} trained")
    )
    truth = np.minimum(data.y, CAP_DAYS)
    out_of_fold = trained.out_of_fold[:, 0]
    flat = data.x.reshape(-1, data.x.shape[2]).astype(np.float64)
    end = float(np.median([life.daily[-1, :2].max() for life in found]))
    contract = ModelContract(
        layout=layout,
        target_unit="day",
        cap=CAP_DAYS,
        clock_per_target=24.0,
        history="window",
        ranges=tuple(
            Range(*(float(round(value, 6)) for value in (c.mean(), c.std(), c.min(), c.max()))) for c in flat.T
        ),
        interval=calibrate(out_of_fold, truth, EDGES),
        training={
            "trained_on": "synthetic",
            "data": "twinloom.twin.wear.Fleet, 300 machines",
            "sha256": digest(found),
            "test_sha256": digest(unseen),
            "seed": seed,
            "recipe": {name: getattr(recipe, name) for name in recipe.__slots__},
            "out_of_fold_rmse_days": round(scores.rmse(out_of_fold, truth), 4),
            "mean_life_days": round(float(truth.mean()), 6),
            "median_end_mm_s": round(end, 6),
        },
        created=extra.get("created", ""),
        commit=extra.get("commit", ""),
    )
    model = OnnxEstimator(to_onnx(trained, contract), trusted=True)
    predicted, low, high = evaluate(model, test)
    found_figures = figures(test, predicted, float(truth.mean()), end)
    found_figures |= scores.interval_figures(np.minimum(test.y, CAP_DAYS), low, high)
    contract = _with_metrics(contract, found_figures)
    return Result(to_onnx(trained, contract), contract, test, predicted, low, high)


def _with_metrics(contract: ModelContract, metrics: Mapping[str, Json]) -> ModelContract:
    rounded = scores.rounded(dict(metrics))
    assert isinstance(rounded, dict)
    return replace(contract, metrics=rounded)


def train_cnc(
    out: Path = DEFAULT_MODEL,
    lite: Path | None = WITHOUT_HISTORY,
    *,
    seed: int = SEED,
    docs: Path | None = None,
    created: str = "",
    commit: str = "",
    say: Say = lambda text: None,
) -> Mapping[str, Json]:
    """Trains both models, writes them and, when `docs` is a folder, the model card and its plots. Returns the figures.

    `created`, `commit`: for the contract; the same arguments on the same machine give the same bytes.
    """
    from twinloom.prognostics.train.cards import write_cnc_card

    say("simulating whole lives")
    found, unseen = training_lives(seed), unseen_lives(seed)
    result = train(CNC_SPINDLE, seed, found, unseen, say, created=created, commit=commit)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(result.data)
    say(f"wrote {out} ({len(result.data)} bytes)")
    without: Result | None = None
    if lite is not None:
        without = train(CNC_SPINDLE_LITE, seed, found, unseen, say, created=created, commit=commit)
        lite.write_bytes(without.data)
        say(f"wrote {lite} ({len(without.data)} bytes)")
    if docs is not None:
        write_cnc_card(docs, result, without)
        say(f"wrote the model card to {docs}")
    return {"model": str(out), "seed": seed, **result.contract.metrics}


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the default RUL models for CNC spindles (synthetic fleet).")
    parser.add_argument("--out", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--lite", type=Path, default=WITHOUT_HISTORY)
    parser.add_argument("--docs", type=Path, default=None, help="folder for the model card and its plots")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--created", default=time.strftime("%Y-%m-%d", time.gmtime()))
    parser.add_argument("--commit", default="")
    chosen = parser.parse_args()
    found = train_cnc(
        chosen.out,
        chosen.lite,
        seed=chosen.seed,
        docs=chosen.docs,
        created=chosen.created,
        commit=chosen.commit,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
