"""Where twins stand: their `placement` property down the `contains` tree, and a packing of whole sites.

`placement` is {x, y, z [m], heading [deg, counter-clockwise seen from above]} relative to the parent; z is up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from twinloom.twin.instance import Json
from twinloom.viewer.geometry import Floats


def matrix_of(placement: Json) -> tuple[Floats, str]:
    """The 4 x 4 matrix of a `placement` value and what is wrong with it ("" when nothing is).

    >>> matrix_of({"x": 1.0, "y": 0, "z": 0, "heading": 90})[0][:2, 3].tolist()
    [1.0, 0.0]
    """
    numbers = dict.fromkeys(("x", "y", "z", "heading"), 0.0)
    wrong = ""
    if placement is None:
        pass
    elif not isinstance(placement, Mapping):
        wrong = "placement is not an object of x, y, z and heading"
    else:
        for key in numbers:
            value = placement.get(key, 0.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                wrong = f"placement.{key} is not a finite number"
            elif abs(value) > 1e6:
                wrong = f"placement.{key} is more than 1,000 km away"
            else:
                numbers[key] = float(value)
    angle = math.radians(numbers["heading"])
    matrix = np.eye(4)
    matrix[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    matrix[:3, 3] = numbers["x"], numbers["y"], numbers["z"]
    return matrix, wrong


def pack(sizes: Sequence[tuple[float, float]], aspect: float, gap: float) -> list[tuple[float, float]]:
    """Lower-left corners that lay out rectangles (width, depth) so that the whole comes near `aspect` (width / depth).

    Tries every split into columns for up to 8 rectangles in their order and rows by a growing width beyond that;
    the arrangement that would be drawn largest wins. Columns end at the back, so that the room they leave is in front.
    """
    if not sizes:
        return []
    best: tuple[float, list[tuple[float, float]]] | None = None
    for columns in _splits(len(sizes)):
        spots: list[tuple[float, float]] = []
        depths = [sum(sizes[i][1] + gap for i in column) - gap for column in columns]
        depth = max(depths)
        x = 0.0
        for column, own in zip(columns, depths, strict=True):
            y, wide = depth - own, 0.0
            for i in column:
                spots.append((x, y))
                y += sizes[i][1] + gap
                wide = max(wide, sizes[i][0])
            x += wide + gap
        width = x - gap
        scale = min(aspect / max(width, 1e-9), 1.0 / max(depth, 1e-9))
        if best is None or scale > best[0] * (1 + 1e-9):
            best = scale, spots
    assert best is not None
    return best[1]


def _splits(count: int) -> list[list[range]]:
    """Ways to cut 0..count into consecutive columns."""
    if count <= 8:
        cuts = range(2 ** (count - 1))
        return [_cut(count, [i + 1 for i in range(count - 1) if mask >> i & 1]) for mask in cuts]
    return [_cut(count, list(range(height, count, height))) for height in range(1, count + 1)]


def _cut(count: int, cuts: list[int]) -> list[range]:
    edges = [0, *cuts, count]
    return [range(a, b) for a, b in itertools.pairwise(edges)]
