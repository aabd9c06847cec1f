"""`python -m twinloom.prognostics.train.cmapss --data DIR`: a model for NASA C-MAPSS FD001 (turbofan engines).

Protocol, fixed before the published numbers were seen:
- Training: the 100 engines of train_FD001, every full window of 30 cycles. Target: cycles until failure, capped at 125
  on truth and prediction. Test: the last window of each of the 100 engines of test_FD001, against RUL_FD001.
- Inputs: 14 sensors (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21), each as its value, its exponentially weighted
  mean (alpha 0.1) and its running mean since installation, and the age in cycles: 43 channels. The three forms of a
  sensor are scaled alike, by the mean and deviation of its values.
- Five folds by engine, one LSTM(32) each, all five in one ONNX file; the recipe of `nets` unchanged. Choices are made
  on out-of-fold error only. Intervals: Mondrian conformal on out-of-fold predictions of windows with a true life of at
  most 145 cycles, the range of the test set.
- Test error with its 95 % interval from a bootstrap over engines; the NASA score is the sum over engines.
- Not blind in full: the recipe (channels, net, loss) comes from earlier trials on this data set during which test
  figures could be seen. The scaling, the one choice made here, was chosen by out-of-fold error; the test was run once.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.conformal import calibrate
from twinloom.prognostics.contract import ModelContract, Range
from twinloom.prognostics.layout import Channel, Feature, Layout
from twinloom.prognostics.onnx_estimator import MODELS, OnnxEstimator
from twinloom.prognostics.train import scores
from twinloom.prognostics.train.windows import Windows, join, windows_of
from twinloom.twin.errors import BadFile
from twinloom.twin.instance import Json

MODEL = MODELS / "cmapss-fd001.onnx"
SEED = 20262
CAP_CYCLES = 125.0
EDGES = (0.0, 30.0, 60.0, 90.0, 110.0, 125.0)
_LONGEST_TEST_LIFE = 145.0
_ALPHA = 0.1
# Number in the file, symbol, unit (degrees Rankine, pounds per square inch, ... as NASA gives them).
_SENSORS = (
    (2, "T24", "degR"), (3, "T30", "degR"), (4, "T50", "degR"), (7, "P30", "psi"), (8, "Nf", "rpm"), (9, "Nc", "rpm"),
    (11, "Ps30", "psi"), (12, "phi", "pps/psi"), (13, "NRf", "rpm"), (14, "NRc", "rpm"), (15, "BPR", "1"),
    (17, "htBleed", "1"), (20, "W31", "lbm/s"), (21, "W32", "lbm/s"),
)  # fmt: skip

FD001 = Layout(
    channels=(
        *(Channel(name, unit, live=False) for _, name, unit in _SENSORS),
        Channel("cycle", "cycle", 0.0, 100_000.0, live=False),
    ),
    features=(
        *(Feature(name, name) for _, name, _ in _SENSORS),
        *(Feature(f"{name}_ewma", name, "ewma", _ALPHA) for _, name, _ in _SENSORS),
        *(Feature(f"{name}_mean", name, "mean") for _, name, _ in _SENSORS),
        Feature("age", "cycle", "age"),
    ),
    window=30,
    stride=1.0,
    clock="cycle",
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Engines:
    """daily: sensors of each engine (T, 15), cycle last; life: cycles until failure counted from the first one."""

    daily: tuple[npt.NDArray[np.float64], ...]
    life: tuple[float, ...]
    sha256: str


def read_engines(folder: Path, part: str) -> Engines:
    """`part` "train" or "test" from `{part}_FD001.txt` or `.txt.gz` in `folder`. Raises BadFile."""
    table, digest = _table(folder, f"{part}_FD001.txt", 26)
    columns = [4 + number for number, _, _ in _SENSORS]
    daily, life = [], []
    left = _table(folder, "RUL_FD001.txt", 1)[0][:, 0] if part == "test" else None
    units = np.unique(table[:, 0])
    if left is not None and len(left) != len(units):
        raise BadFile(str(folder / "RUL_FD001.txt"), f"{len(left)} lives for {len(units)} engines")
    for i, unit in enumerate(units):
        rows = table[table[:, 0] == unit]
        daily.append(np.column_stack([rows[:, columns], rows[:, 1]]))
        life.append(float(rows[-1, 1] + (0.0 if left is None else left[i])))
    return Engines(tuple(daily), tuple(life), digest)


def _table(folder: Path, name: str, columns: int) -> tuple[npt.NDArray[np.float64], str]:
    for path in (folder / f"{name}.gz", folder / name):
        try:
            data = path.read_bytes()
        except OSError:
            continue
        try:
            text = gzip.decompress(data) if path.suffix == ".gz" else data
            table = np.array([line.split() for line in text.decode().splitlines() if line.strip()], np.float64)
        except (OSError, EOFError, ValueError) as error:
            raise BadFile(str(path), "this is no table of numbers", remedy="unpack the data set again") from error
        if table.ndim != 2 or table.shape[1] != columns:
            raise BadFile(str(path), f"{columns} columns are expected", remedy="use the FD001 files as NASA gives them")
        return table, hashlib.sha256(text).hexdigest()
    raise BadFile(str(folder / name), "there is no such file", remedy="name the folder with the FD001 files")


def windows(engines: Engines) -> Windows:
    """Every full window of every engine."""
    pairs = zip(engines.daily, engines.life, strict=True)
    return join([windows_of(daily, life, FD001, i) for i, (daily, life) in enumerate(pairs)])


def last_windows(engines: Engines) -> Windows:
    """The last window of each engine."""
    found = windows(engines)
    last = np.flatnonzero(np.r_[found.group[1:] != found.group[:-1], True])
    return found.take(last)


def train_cmapss(
    data: Path,
    out: Path = MODEL,
    *,
    seed: int = SEED,
    docs: Path | None = None,
    created: str = "",
    commit: str = "",
    say: Say = lambda text: None,
) -> Mapping[str, Json]:
    """Trains on `data` (a folder), writes the model and, when `docs` is a folder, its card. Returns the figures."""
    from twinloom.prognostics.train.cards import write_cmapss_card
    from twinloom.prognostics.train.export import to_onnx
    from twinloom.prognostics.train.nets import Recipe, train_folds

    train, test = read_engines(data, "train"), read_engines(data, "test")
    found, unseen = windows(train), last_windows(test)
    say(f"{len(found)} windows of {len(train.life)} engines, {len(unseen)} test engines")
    recipe = Recipe()
    n = len(_SENSORS)
    trained = train_folds(
        found,
        CAP_CYCLES,
        recipe,
        seed,
        scale_as=[*range(n), *range(n), *range(n), 3 * n],
        progress=lambda k, of: say(f"fold {k} of {of} trained"),
    )
    truth = np.minimum(found.y, CAP_CYCLES)
    near = found.y <= _LONGEST_TEST_LIFE
    out_of_fold = trained.out_of_fold[:, 0]
    flat = found.x.reshape(-1, found.x.shape[2]).astype(np.float64)
    contract = ModelContract(
        layout=FD001,
        target_unit="cycle",
        cap=CAP_CYCLES,
        clock_per_target=1.0,
        history="install",
        ranges=tuple(
            Range(*(float(round(value, 6)) for value in (c.mean(), max(c.std(), 1e-6), c.min(), c.max())))
            for c in flat.T
        ),
        interval=calibrate(out_of_fold[near], truth[near], EDGES),
        training={
            "trained_on": "NASA C-MAPSS FD001",
            "data": "train_FD001.txt, 100 engines",
            "sha256": train.sha256,
            "test_sha256": test.sha256,
            "seed": seed,
            "recipe": {name: getattr(recipe, name) for name in recipe.__slots__},
            "out_of_fold_rmse_cycles": round(scores.rmse(out_of_fold[near], truth[near]), 4),
        },
        created=created,
        commit=commit,
    )
    metrics = figures(OnnxEstimator(to_onnx(trained, contract), trusted=True), unseen)
    rounded = scores.rounded(metrics)
    assert isinstance(rounded, dict)
    contract = replace(contract, metrics=rounded)
    file = to_onnx(trained, contract)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(file)
    say(f"wrote {out} ({len(file)} bytes)")
    if docs is not None:
        write_cmapss_card(docs, OnnxEstimator(file, trusted=True), unseen, found, trained.out_of_fold)
        say(f"wrote the model card to {docs}")
    return {"model": str(out), "seed": seed, **contract.metrics}


def figures(model: OnnxEstimator, unseen: Windows) -> dict[str, Json]:
    """The model's figures on the last windows of the test engines."""
    raw = model.predict(unseen.x)[:, 0].astype(np.float64)
    predicted, truth = np.clip(raw, 0.0, CAP_CYCLES), np.minimum(unseen.y, CAP_CYCLES)
    low, high = model.interval(predicted)
    mean = np.full(len(truth), truth.mean())
    return {
        "rmse_cycles": scores.rmse(predicted, truth),
        "rmse_ci95": list(scores.bootstrap_rmse(predicted, truth, unseen.group)),
        "rmse_against_uncapped_truth": scores.rmse(predicted, unseen.y),
        "nasa_score": scores.nasa_score(predicted, truth),
        "skill_vs_mean": scores.skill(predicted, truth, mean),
        "by_truth": scores.by_truth(predicted, truth, EDGES[:-1]),
        "engines": len(unseen),
        **scores.interval_figures(truth, low, high),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the RUL model for NASA C-MAPSS FD001.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the FD001 files, .txt or .txt.gz")
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--docs", type=Path, default=None, help="folder for the model card and its plots")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--created", default=time.strftime("%Y-%m-%d", time.gmtime()))
    parser.add_argument("--commit", default="")
    chosen = parser.parse_args()
    try:
        found = train_cmapss(
            chosen.data,
            chosen.out,
            seed=chosen.seed,
            docs=chosen.docs,
            created=chosen.created,
            commit=chosen.commit,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    except BadFile as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
