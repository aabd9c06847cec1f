"""Model cards in Markdown, with plots by matplotlib: every number comes from the contract in the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.contract import ModelContract

if TYPE_CHECKING:
    from twinloom.prognostics.onnx_estimator import OnnxEstimator
    from twinloom.prognostics.train.cnc import Result
    from twinloom.prognostics.train.windows import Windows

Floats = npt.NDArray[np.float64]


def plots(
    folder: Path,
    stem: str,
    truth: Floats,
    predicted: Floats,
    low: Floats,
    high: Floats,
    group: npt.NDArray[np.int64],
    unit: str,
    *,
    trajectories: bool = True,
) -> list[str]:
    """Parity, coverage by predicted life and six trajectories; PNG files `stem`-*.png. Returns their names."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    names = []

    def save(figure: plt.Figure, what: str) -> None:
        names.append(f"{stem}-{what}.png")
        figure.tight_layout()
        figure.savefig(folder / names[-1], dpi=90, metadata={"Software": None})
        plt.close(figure)

    top = float(max(truth.max(), predicted.max()))
    figure, axes = plt.subplots(figsize=(4.6, 4.4))
    axes.scatter(truth, predicted, s=4, alpha=0.15 if len(truth) > 500 else 0.7, color="#1f4e79", linewidths=0)
    axes.plot([0, top], [0, top], color="black", linewidth=1)
    axes.set(xlabel=f"true RUL [{unit}s]", ylabel=f"predicted RUL [{unit}s]", title="Parity, unseen machines")
    save(figure, "parity")

    edges = np.linspace(0, top, 7)
    inside = (truth >= low) & (truth <= high)
    bins = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, len(edges) - 2)
    shares = [float(inside[bins == k].mean()) if (bins == k).any() else np.nan for k in range(len(edges) - 1)]
    figure, axes = plt.subplots(figsize=(5.2, 3.4))
    axes.bar((edges[:-1] + edges[1:]) / 2, shares, width=0.85 * (edges[1] - edges[0]), color="#6fa8dc")
    axes.axhline(0.9, color="black", linewidth=1)
    axes.set(
        xlabel=f"predicted RUL [{unit}s]", ylabel="share inside", ylim=(0, 1), title="Coverage of the 90 % interval"
    )
    save(figure, "coverage")

    if trajectories:
        members = np.unique(group)[:: max(1, len(np.unique(group)) // 6)][:6]
        figure, grid = plt.subplots(2, 3, figsize=(9.5, 5), sharey=True)
        for axes, member in zip(grid.flat, members, strict=False):
            rows = group == member
            x = np.arange(rows.sum())
            axes.fill_between(x, low[rows], high[rows], color="#cfe2f3", label="90 % interval")
            axes.plot(x, predicted[rows], color="#1f4e79", linewidth=1, label="predicted")
            axes.plot(x, truth[rows], color="black", linewidth=1, linestyle="--", label="true")
            axes.set(title=f"no. {int(member)}", xlabel=f"{unit}s scored")
        grid.flat[0].set_ylabel(f"RUL [{unit}s]")
        grid.flat[0].legend(fontsize=7)
        save(figure, "trajectories")
    return names


def write_cnc_card(folder: Path, result: Result, without: Result | None) -> None:
    """docs/prognostics/cnc-model-card.md and its plots."""
    contract, m, training = result.contract, result.contract.metrics, result.contract.training
    truth = np.minimum(result.test.y, contract.cap)
    images = plots(folder, "cnc", truth, result.predicted, result.low, result.high, result.test.group, "day")
    reference = m["reference_rmse_days"]
    lines = [
        "# Model card: remaining life of CNC spindles",
        "",
        "Written by `python -m twinloom.prognostics.train.cnc --docs docs/prognostics`; every number is also in the",
        "metadata of `prognostics/models/cnc-spindle.onnx`, and a test recomputes them from the committed file.",
        "",
        "**Trained on synthetic machines** (`twinloom.twin.wear`). Its skill says nothing of a real spindle: retrain",
        "it on your own lives before you trust it with one.",
        "",
        f"- Task: days until failure, 0 to {contract.cap:g} (longer lives are shown as {contract.cap:g}).",
        f"- Input: the last {contract.layout.window} days, one row a day of power-on time: "
        + ", ".join(f"`{feature.name}`" for feature in contract.layout.features)
        + ".",
        "- Net: five LSTMs (32), one a fold of the machines; one ONNX file, "
        f"{len(result.data):,} bytes; inputs scaled inside.",
        f"- Training data: {training['data']}, SHA-256 `{str(training['sha256'])[:16]}...`, seed {training['seed']}.",
        "",
        "## Protocol",
        "",
        *_protocol("twinloom.prognostics.train.cnc"),
        "",
        f"## On {m['machines']} machines that it has not seen ({m['windows']:,} days)",
        "",
        "| figure | value |",
        "|---|---|",
        f"| RMSE | **{m['rmse_days']:.2f} days** (95 % interval {m['rmse_ci95'][0]:.1f} to {m['rmse_ci95'][1]:.1f},"
        " bootstrap over machines) |",
        f"| RMSE in the last 30 days of life | {m['rmse_last_30_days']:.2f} days |",
        f"| mean absolute error | {m['mae_days']:.2f} days |",
        f"| skill against the mean ({reference['mean']:.1f} days) | {m['skill_vs_mean']:.2f} |",
        f"| skill against a line to 4.5 mm/s ({reference['linear_to_limit']:.1f} days) |"
        f" {m['skill_vs_linear_to_limit']:.2f} |",
        f"| skill against a line to the fleet's median last vibration ({reference['linear_to_median_end']:.1f} days) |"
        f" {m['skill_vs_linear_to_median_end']:.2f} |",
        f"| 90 % interval: coverage, mean width | {m['coverage']:.3f}, {m['mean_width']:.1f} days |",
        f"| out-of-fold RMSE in training | {training['out_of_fold_rmse_days']:.2f} days |",
        "",
        *_spans(contract),
        "",
        *[f"![{name}]({name})" for name in images],
    ]
    if without is not None:
        w = without.contract.metrics
        lines += [
            "",
            "## The model without history",
            "",
            f"`cnc-spindle-lite.onnx` sees only the last full day. RMSE {w['rmse_days']:.2f} days, skill against the"
            f" mean {w['skill_vs_mean']:.2f}, coverage {w['coverage']:.3f}, mean width {w['mean_width']:.1f} days."
            " It stands in, marked degraded, until two weeks have been watched.",
        ]
    (folder / "cnc-model-card.md").write_text("\n".join(lines) + "\n")


# Published on the same test set with the same cap, as their authors state; none was reproduced here.
_PUBLISHED = (
    ("deep LSTM (2017)", "16.14"),
    ("deep CNN (2018)", "12.61"),
    ("LSTM, arXiv 2604.27234", "14.93"),
    ("1D-CNN, arXiv 2604.27234", "16.97"),
    ("AMNL, mean of 5 seeds", "10.43 +- 1.94"),
    ("DKAMFormer", "10.68"),
)


def write_cmapss_card(folder: Path, model: OnnxEstimator, unseen: Windows, found: Windows, out_of_fold: Floats) -> None:
    """docs/prognostics/cmapss-model-card.md and its plots: parity and coverage on the test engines' last windows,
    trajectories of training engines by the nets that did not see them."""
    contract, m, training = model.contract, model.contract.metrics, model.contract.training
    cap = contract.cap
    predicted = np.clip(model.predict(unseen.x)[:, 0].astype(np.float64), 0.0, cap)
    low, high = model.interval(predicted)
    images = plots(
        folder, "cmapss", np.minimum(unseen.y, cap), predicted, low, high, unseen.group, "cycle", trajectories=False
    )
    low, high = model.interval(out_of_fold[:, 0])
    images += plots(
        folder, "cmapss-out-of-fold", np.minimum(found.y, cap), out_of_fold[:, 0], low, high, found.group, "cycle"
    )[2:]
    for name in ("parity", "coverage"):
        (folder / f"cmapss-out-of-fold-{name}.png").unlink()
    lines = [
        "# Model card: C-MAPSS FD001",
        "",
        "Written by `python -m twinloom.prognostics.train.cmapss --data examples/cmapss --docs docs/prognostics`;"
        " every",
        "number is also in the metadata of `prognostics/models/cmapss-fd001.onnx`, and a test recomputes them from it.",
        "",
        f"- Task: cycles until failure, 0 to {cap:g}.",
        f"- Input: {contract.layout.window} cycles of {len(contract.layout.features)} features, watched since"
        " installation: without its history an engine is not scored.",
        f"- Training data: {training['data']}, SHA-256 `{str(training['sha256'])[:16]}...`, seed {training['seed']}.",
        "",
        "## Protocol",
        "",
        *_protocol("twinloom.prognostics.train.cmapss"),
        "",
        f"## On the {m['engines']} test engines",
        "",
        "| figure | value |",
        "|---|---|",
        f"| RMSE, cap {cap:g} | **{m['rmse_cycles']:.2f} cycles** (95 % interval {m['rmse_ci95'][0]:.1f} to"
        f" {m['rmse_ci95'][1]:.1f}, bootstrap over engines) |",
        f"| RMSE against the uncapped truth | {m['rmse_against_uncapped_truth']:.2f} cycles |",
        f"| NASA score (sum) | {m['nasa_score']:.0f} |",
        f"| skill against the mean | {m['skill_vs_mean']:.3f} |",
        f"| 90 % interval: coverage, mean width | {m['coverage']:.2f}, {m['mean_width']:.1f} cycles |",
        f"| out-of-fold RMSE in training (lives up to 145) | {training['out_of_fold_rmse_cycles']:.2f} cycles |",
        "",
        "With 100 engines the interval is wide: figures that differ by a cycle or two cannot be told apart.",
        "",
        "| published, not reproduced here | RMSE |",
        "|---|---|",
        *[f"| {name} | {value} |" for name, value in _PUBLISHED],
        "",
        *_spans(contract),
        "",
        *[f"![{name}]({name})" for name in images],
    ]
    (folder / "cmapss-model-card.md").write_text("\n".join(lines) + "\n")


def _protocol(module: str) -> list[str]:
    import importlib

    text = importlib.import_module(module).__doc__ or ""
    start = text.index("\n- ")
    return text[start + 1 :].strip().splitlines()


def _spans(contract: ModelContract) -> list[str]:
    """Errors per span of true life, and the interval table."""
    unit = contract.target_unit
    rows = [f"| true RUL from [{unit}s] | windows | RMSE | bias |", "|---|---|---|---|"]
    rows += [f"| {r['from']:g} | {r['windows']} | {r['rmse']} | {r['bias']} |" for r in contract.metrics["by_truth"]]
    table = contract.interval
    rows += ["", f"Interval: predicted life +- half width ({table.method}, level {table.level:g})", ""]
    spans = [f"{a:g}-{b:g}" for a, b in zip(table.edges, table.edges[1:], strict=False)]
    rows += ["| predicted RUL | " + " | ".join(spans) + " |", "|---|" + "---|" * len(spans)]
    rows += ["| half width | " + " | ".join(f"{width:.1f}" for width in table.half_widths) + " |"]
    return rows
