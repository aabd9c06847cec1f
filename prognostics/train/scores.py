"""Figures of merit on machines that no net has seen, each with what it is compared to.

Truth and prediction are capped alike. Confidence intervals are bootstrapped over machines (engines), since windows of
one machine are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from twinloom.twin.instance import Json

Floats = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]


def rmse(predicted: Floats, truth: Floats) -> float:
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def nasa_score(predicted: Floats, truth: Floats) -> float:
    """The PHM08 score: late predictions (too long a life) cost more than early ones; 0 is perfect. Sum over rows."""
    error = predicted - truth
    return float(np.where(error < 0, np.expm1(-error / 13), np.expm1(error / 10)).sum())


def bootstrap_rmse(
    predicted: Floats, truth: Floats, groups: Groups, seed: int = 0, repeats: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of the RMSE, resampling whole groups."""
    names, where = np.unique(groups, return_inverse=True)
    squares = np.bincount(where, (predicted - truth) ** 2)
    counts = np.bincount(where)
    drawn = np.random.default_rng(seed).integers(0, len(names), (repeats, len(names)))
    values = np.sqrt(squares[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def skill(predicted: Floats, truth: Floats, reference: Floats) -> float:
    """1 - MSE / MSE of a reference: 1 is perfect, 0 no better than the reference."""
    return float(1 - np.mean((predicted - truth) ** 2) / np.mean((reference - truth) ** 2))


def interval_figures(truth: Floats, low: Floats, high: Floats) -> Mapping[str, float]:
    inside = (truth >= low) & (truth <= high)
    return {"coverage": float(inside.mean()), "mean_width": float((high - low).mean())}


def by_truth(predicted: Floats, truth: Floats, edges: tuple[float, ...]) -> list[Json]:
    """RMSE and bias per span of true remaining life; the last span has no upper end."""
    rows: list[Json] = []
    for low, high in zip(edges, (*edges[1:], np.inf), strict=True):
        inside = (truth >= low) & (truth < high)
        if inside.any():
            error = predicted[inside] - truth[inside]
            rows.append(
                {
                    "from": low,
                    "windows": int(inside.sum()),
                    "rmse": round(float(np.sqrt((error**2).mean())), 2),
                    "bias": round(float(error.mean()), 2),
                }
            )
    return rows


def rounded(value: Json, digits: int = 4) -> Json:
    """Floats of a JSON value at `digits` decimals, for metadata that people read."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {key: rounded(entry, digits) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry, digits) for entry in value]
    return value
