"""From whole lives to training windows, by the same features as the streaming ones (`features.FeatureBank`).

Written plainly, a life at a time: the property tests hold the streaming state to this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.layout import Layout

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Windows:
    """x float32 (N, W, F), y float64 (N,) true remaining life, not capped; group int (N,): whose life; stride int (N,):
    index of the window's last row in that life."""

    x: npt.NDArray[np.float32]
    y: Floats
    group: npt.NDArray[np.int64]
    stride: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Windows:
        return Windows(self.x[chosen], self.y[chosen], self.group[chosen], self.stride[chosen])


def join(parts: Sequence[Windows]) -> Windows:
    return Windows(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.stride for part in parts]),
    )


def feature_rows(daily: Floats, layout: Layout, first: int = 0) -> Floats:
    """Features (T - first, F) of one life watched from stride `first` on. daily (T, C): a mean per stride and channel,
    NaN where none; the clock's column is not used."""
    held = daily[first:].copy()
    for i in range(1, len(held)):
        gone = np.isnan(held[i])
        held[i, gone] = held[i - 1, gone]
    rows = np.full((len(held), len(layout.features)), np.nan)
    for j, feature in enumerate(layout.features):
        column = held[:, layout.channel_index(feature.channel)]
        if feature.transform == "value":
            rows[:, j] = column
        elif feature.transform == "age":
            rows[:, j] = (first + 1 + np.arange(len(held))) * layout.stride
        else:
            level, count = np.nan, 0
            for i, value in enumerate(column):
                if not np.isnan(value):
                    count += 1
                    weight = feature.alpha if feature.transform == "ewma" else 1 / count
                    level = value if np.isnan(level) else level + weight * (value - level)
                rows[i, j] = level
    return rows


def windows_of(
    daily: Floats, life: float, layout: Layout, group: int, *, first: int = 0, every: int = 1, offset: int = 0
) -> Windows:
    """All full windows of one life (every `every`-th, from `offset`). life: strides until failure, fractional."""
    w = layout.window
    rows = feature_rows(daily, layout, first)
    ends = np.arange(w - 1 + offset, len(rows), every)
    if not len(ends):
        empty = np.zeros(0, np.int64)
        return Windows(np.zeros((0, w, rows.shape[1]), np.float32), np.zeros(0), empty, empty)
    view = np.lib.stride_tricks.sliding_window_view(rows, w, axis=0).transpose(0, 2, 1)
    strides = first + ends
    return Windows(
        np.ascontiguousarray(view[ends - w + 1], np.float32),
        np.float64(life) - (strides + 1.0),
        np.full(len(ends), group),
        strides,
    )
