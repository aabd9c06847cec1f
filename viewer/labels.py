"""Where badges and panels go, so that nothing covers anything: no overlap with each other, sick parts or the panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from twinloom.viewer.canvas import Canvas, Rect
from twinloom.viewer.palettes import State
from twinloom.viewer.state import Badge

Point: TypeAlias = tuple[float, float]
FAR_COST = 420.0
"""Above this a near place covers something that must not be covered."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A badge with its place: `anchor` is the part's pixel, `box` the badge's rectangle."""

    badge: Badge
    anchor: tuple[float, float]
    box: Rect


def place_badges(
    canvas: Canvas, badges: Sequence[tuple[Badge, tuple[float, float]]], busy: Sequence[Rect] = ()
) -> list[Placed]:
    """A place for each badge near its part: no overlap with each other, panels or sick parts, inside the picture."""
    placed: list[Placed] = []
    keep = canvas.px(10)
    spots: list[Rect] = [(x - keep, y - keep, x + keep, y + keep) for _, (x, y) in badges]
    for i, (badge, anchor) in enumerate(badges):
        width, height = badge_size(canvas, badge)
        others = spots[:i] + spots[i + 1 :]

        def cost(
            x: float, y: float, at: Point = anchor, w: float = width, h: float = height, rest: list[Rect] = others
        ) -> float:
            box = (x - w / 2, y - h, x + w / 2, y)
            foot = (min(max(at[0], box[0] + 8), box[2] - 8), y)
            total = abs(at[1] - y - canvas.px(46)) / max(canvas.unit, 0.1) + 60 * abs(x - at[0]) / w
            total += 150 * _overlap(box, canvas.taken) / h + 60 * _outside(box, canvas.size, canvas.px(10))
            total += 400 * _overlap(box, [p.box for p in placed], canvas.px(7)) / h
            total += 22 * _overlap(box, busy, 0.0) / h + 20 * _overlap(box, rest) / h
            total += 300 * sum(_crosses(foot, at, foot_of(p), p.anchor) for p in placed)
            total += 400 * sum(_through(foot, at, p.box) for p in placed)
            total += 150 * sum(_through(foot, at, spot) for spot in rest)
            return total + 400 * sum(_through(foot_of(p), p.anchor, box) for p in placed)

        near = [
            (anchor[0] + slide * width, anchor[1] - canvas.px(rise))
            for rise in (46, 64, 86, 112, 142, 180, 224, 270, -54, -84)
            for slide in (0.0, 0.28, -0.28, 0.5, -0.5, 0.85, -0.85, 1.2, -1.2)
        ]
        best = min((cost(x, y), x, y) for x, y in near)
        if best[0] > FAR_COST:  # crowded: look everywhere
            step = canvas.px(44)
            across = np.arange(width / 2 + canvas.px(12), canvas.size[0] - width / 2, step).tolist()
            down = np.arange(height + canvas.px(12), canvas.size[1] - canvas.px(12), step).tolist()
            best = min([best, *((cost(x, y), x, y) for x in across for y in down)])
        _, x, y = best
        placed.append(Placed(badge, anchor, (x - width / 2, y - height, x + width / 2, y)))
    return placed


def badge_size(canvas: Canvas, badge: Badge) -> tuple[float, float]:
    size = text_size(badge)
    return canvas.font(size, True).getlength(badge.text) + canvas.px(44), canvas.px(16 + size)


def text_size(badge: Badge) -> float:
    """What is critical is written larger."""
    return 15.0 if badge.state == State.CRITICAL else 13.0


def roomiest(canvas: Canvas, size: tuple[float, float], busy: Sequence[Rect], *, corners: bool = False) -> Rect | None:
    """A place along the picture's edge that covers least of `busy`, bottom left first; None when all cover much."""
    width, height = canvas.size
    edge = canvas.px(26)
    left, top, right, bottom = edge, edge, width - edge - size[0], height - edge - size[1]
    if right < left or bottom < top:
        return None
    places = [(left, bottom), (right, bottom), (right, top), (left, top)]
    if not corners:
        step = canvas.px(20)
        places += [(x, y) for x in np.arange(left, right, step) for y in (bottom, top)]
        places += [(x, y) for y in np.arange(bottom, top, -step) for x in (left, right)]
    best: tuple[float, Rect] | None = None
    for order, (x, y) in enumerate(places):
        box = (float(x), float(y), float(x) + size[0], float(y) + size[1])
        cost = 50.0 * _overlap(box, canvas.taken, canvas.px(14)) + _overlap(box, busy, canvas.px(6)) + 1e-3 * order
        if best is None or cost < best[0]:
            best = cost, box
    assert best is not None
    return best[1] if corners or best[0] < canvas.px(160) else None


def foot_of(item: Placed) -> tuple[float, float]:
    """Where the leader line leaves the badge."""
    x0, y0, x1, y1 = item.box
    x = min(max(item.anchor[0], x0 + 8), x1 - 8)
    return (x, y1 - 1) if item.anchor[1] > (y0 + y1) / 2 else (x, y0 + 1)


def _overlap(box: Rect, others: Sequence[Rect], gap: float = 4.0) -> float:
    """How deep `box` lies in `others`, in pixels of the shorter side, summed."""
    total = 0.0
    for other in others:
        w = min(box[2], other[2]) - max(box[0], other[0]) + gap
        h = min(box[3], other[3]) - max(box[1], other[1]) + gap
        if w > 0 and h > 0:
            total += min(w, h) + 20
    return total


def _outside(box: Rect, size: tuple[int, int], margin: float) -> float:
    return (
        max(0.0, margin - box[0])
        + max(0.0, margin - box[1])
        + max(0.0, box[2] + margin - size[0])
        + max(0.0, box[3] + margin - size[1])
    )


def _crosses(a: Point, b: Point, c: Point, d: Point) -> bool:
    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def _through(a: Point, b: Point, box: Rect) -> bool:
    x0, y0, x1, y1 = box
    ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    return any(_crosses(a, b, ring[i], ring[(i + 1) % 4]) for i in range(4))
