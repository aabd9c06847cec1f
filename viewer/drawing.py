"""Badges, leader lines, legend, title and banner: drawn by Pillow over the scene, the same in pictures and in the window.

Places are found so that nothing covers anything: badges keep off each other, off the panels and off sick parts.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from twinloom.viewer.palettes import CHROME, LOOKS, RAMPS, Pattern, State, Theme, rgb
from twinloom.viewer.state import Badge, Legend, quantity

Rect: TypeAlias = tuple[float, float, float, float]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_SMOOTH = 3


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> Font:
    """DejaVu Sans, which matplotlib brings (and pyvista brings matplotlib); Pillow's own font without it."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


@dataclass(frozen=True, slots=True)
class Tag:
    """A faint name on the ground: a site's, a line's or a machine's. `at` in pixels: the middle of its top edge."""

    text: str
    at: tuple[float, float]
    size: int
    bold: bool = False
    anchor: str = "la"


@dataclass(frozen=True, slots=True)
class Placed:
    """A badge with its place: `anchor` is the part's pixel, `box` the badge's rectangle."""

    badge: Badge
    anchor: tuple[float, float]
    box: Rect


@dataclass(slots=True)
class Canvas:
    """One overlay of `size` pixels. Shapes are drawn smoothly, text crisply on top; `image()` is RGBA."""

    size: tuple[int, int]
    theme: Theme
    unit: float = 1.0
    taken: list[Rect] = field(default_factory=list)
    _layer: Image.Image = field(init=False)
    _texts: list[tuple[tuple[float, float], str, Font, str, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._layer = Image.new("RGBA", self.size, (0, 0, 0, 0))

    def px(self, length: float) -> float:
        """A length given for a picture 900 pixels high."""
        return length * self.unit

    def font(self, size: float, bold: bool = False) -> Font:
        return font(max(7, round(self.px(size))), bold)

    def image(self) -> Image.Image:
        self.flush()
        return self._layer

    def flush(self) -> None:
        """Draws the text so far, so that later shapes cover it."""
        draw = ImageDraw.Draw(self._layer)
        for at, text, face, colour, anchor in self._texts:
            draw.text(at, text, font=face, fill=colour, anchor=anchor)
        self._texts.clear()

    def text(self, at: tuple[float, float], text: str, face: Font, colour: str, anchor: str = "la") -> None:
        self._texts.append(((round(at[0]), round(at[1])), text, face, colour, anchor))

    def panel(self, box: Rect, fill: str, edge: str = "", *, radius: float = 5.0, alpha: int = 255, shadow: bool = True) -> None:
        """A rounded rectangle with a soft edge below it."""
        x0, y0, x1, y1 = box
        pad = 6
        size = int(x1 - x0) + 2 * pad, int(y1 - y0) + 2 * pad
        big = Image.new("RGBA", (size[0] * _SMOOTH, size[1] * _SMOOTH), (*rgb(edge or fill).tolist(), 0))
        draw = ImageDraw.Draw(big)
        inner = [pad * _SMOOTH, pad * _SMOOTH, (size[0] - pad) * _SMOOTH, (size[1] - pad) * _SMOOTH]
        r = self.px(radius) * _SMOOTH
        if shadow:
            for i in range(5, 0, -1):
                grown = [inner[0] - i * _SMOOTH, inner[1] + (1 - i) * _SMOOTH, inner[2] + i * _SMOOTH, inner[3] + (1 + i) * _SMOOTH]
                draw.rounded_rectangle(grown, r + i * _SMOOTH, fill=(0, 0, 0, 9 + 4 * (5 - i)))
        draw.rounded_rectangle(inner, r, fill=(*rgb(fill).tolist(), alpha), outline=edge or None, width=_SMOOTH)
        self._over(big.resize(size, Image.Resampling.BOX), (int(x0) - pad, int(y0) - pad))

    def line(self, a: tuple[float, float], b: tuple[float, float], colour: str, width: float, *, dot: float = 0.0) -> None:
        """A smooth line from `a` to `b` with a round end of radius `dot` at `b`."""
        pad = int(dot + width + 3)
        x0, y0 = int(min(a[0], b[0])) - pad, int(min(a[1], b[1])) - pad
        size = int(max(a[0], b[0])) + pad - x0 + 1, int(max(a[1], b[1])) + pad - y0 + 1
        big = Image.new("RGBA", (size[0] * _SMOOTH, size[1] * _SMOOTH), (*rgb(colour).tolist(), 0))
        draw = ImageDraw.Draw(big)
        ends = [((x - x0 + 0.5) * _SMOOTH, (y - y0 + 0.5) * _SMOOTH) for x, y in (a, b)]
        draw.line(ends, fill=colour, width=max(1, round(width * _SMOOTH)))
        if dot:
            x, y = ends[1]
            r = dot * _SMOOTH
            draw.ellipse([x - r, y - r, x + r, y + r], fill=colour, outline="#ffffff", width=round(1.2 * _SMOOTH))
        self._over(big.resize(size, Image.Resampling.BOX), (x0, y0))

    def swatch(self, box: Rect, colour: str, pattern: Pattern, edge: str) -> None:
        """A legend's sample in the pattern that the scene shows."""
        x0, y0, x1, y1 = (int(v) for v in box)
        size = ((x1 - x0) * _SMOOTH, (y1 - y0) * _SMOOTH)
        tile = Image.new("RGBA", size, colour)
        rows, columns = np.mgrid[0 : size[1], 0 : size[0]] / _SMOOTH
        if pattern == "hatch":
            dark = np.mod(columns - rows, 7.0) < 2.4
        elif pattern == "dots":
            dark = (np.mod(columns, 5.0) - 2.5) ** 2 + (np.mod(rows, 5.0) - 2.5) ** 2 < 1.7
        else:
            dark = np.zeros(rows.shape, bool)
        pixels = np.asarray(tile).copy()
        pixels[dark, :3] = (pixels[dark, :3] * 0.42).astype(np.uint8)
        tile = Image.fromarray(pixels)
        ImageDraw.Draw(tile).rectangle([0, 0, size[0] - 1, size[1] - 1], outline=edge, width=_SMOOTH)
        self._over(tile.resize((x1 - x0, y1 - y0), Image.Resampling.BOX), (x0, y0))

    def ramp(self, box: Rect, ends: tuple[str, str]) -> None:
        x0, y0, x1, y1 = (int(v) for v in box)
        share = np.linspace(0, 1, x1 - x0)[:, None]
        row = rgb(ends[0]) + (rgb(ends[1]).astype(float) - rgb(ends[0])) * share
        pixels = np.broadcast_to(np.c_[row, np.full(len(row), 255)].astype(np.uint8)[None], (y1 - y0, x1 - x0, 4))
        self._over(Image.fromarray(np.ascontiguousarray(pixels)), (x0, y0))

    def _over(self, tile: Image.Image, at: tuple[int, int]) -> None:
        x, y = at
        left, top = max(0, -x), max(0, -y)
        right, bottom = min(tile.width, self.size[0] - x), min(tile.height, self.size[1] - y)
        if right > left and bottom > top:
            self._layer.alpha_composite(tile.crop((left, top, right, bottom)), (x + left, y + top))


def draw_title(canvas: Canvas, title: str, subtitle: str, *, top: float = 0.0) -> Rect:
    chrome = CHROME[canvas.theme]
    x, y = canvas.px(28), top + canvas.px(22)
    canvas.text((x, y), title, canvas.font(25, True), chrome.text)
    canvas.text((x, y + canvas.px(36)), subtitle, canvas.font(13.5), chrome.faint)
    width = max(canvas.font(25, True).getlength(title), canvas.font(13.5).getlength(subtitle))
    box = (x, y, x + width, y + canvas.px(56))
    canvas.taken.append(box)
    return box


def draw_legend(canvas: Canvas, legend: Legend, busy: Sequence[Rect] = ()) -> Rect:
    """In the emptiest corner, bottom left first; its title is own text above its samples."""
    chrome, looks = CHROME[canvas.theme], LOOKS[canvas.theme]
    title = legend.title + (f"  [{legend.unit}]" if legend.unit else "")
    small, big = canvas.font(13.5), canvas.font(14.5, True)
    rows = [(entry, f"{entry.label}", f"{entry.count:,}") for entry in legend.entries]
    ramp = legend.ramp is not None
    width = max(
        [big.getlength(title), canvas.px(180) if ramp else 0.0]
        + [canvas.px(34) + small.getlength(label) + canvas.px(26) + small.getlength(count) for _, label, count in rows]
    )
    step, pad = canvas.px(24), canvas.px(14)
    height = canvas.px(26) + step * len(rows) + (canvas.px(44) if ramp else 0)
    size = (width + 2 * pad, height + 2 * pad)
    box = roomiest(canvas, size, busy, corners=True) or (canvas.px(28), canvas.px(90), canvas.px(28) + size[0], canvas.px(90) + size[1])
    canvas.panel(box, chrome.panel, chrome.edge)
    x, y = box[0] + pad, box[1] + pad
    canvas.text((x, y), title, big, chrome.text)
    y += canvas.px(30)
    if ramp and legend.ramp is not None:
        canvas.ramp((x, y, x + width, y + canvas.px(14)), RAMPS[canvas.theme])
        canvas.text((x, y + canvas.px(18)), quantity(legend.ramp[0], ""), small, chrome.text)
        canvas.text((x + width, y + canvas.px(18)), quantity(legend.ramp[1], ""), small, chrome.text, "ra")
        y += canvas.px(44)
    neutral = {"light": "#e4e7ea", "dark": "#858d97"}[canvas.theme]
    for entry, label, count in rows:
        look = looks[entry.state]
        canvas.swatch((x, y, x + canvas.px(24), y + canvas.px(15)), look.colour or neutral, look.pattern, chrome.edge)
        middle = y + canvas.px(7.5)
        canvas.text((x + canvas.px(34), middle), label, small, chrome.text, "lm")
        canvas.text((x + width, middle), count, small, chrome.faint, "rm")
        y += step
    canvas.taken.append(box)
    return box


def roomiest(
    canvas: Canvas, size: tuple[float, float], busy: Sequence[Rect], *, corners: bool = False
) -> Rect | None:
    """A place along the picture's edge that covers least of `busy`, bottom left first; None when all would cover much."""
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


def pin(
    canvas: Canvas, picture: NDArray[np.uint8], small: NDArray[np.uint8], box: Rect, lines: Sequence[str], state: State
) -> NDArray[np.uint8]:
    """A card: `small` on top, `lines` below, edged in the state's colour. Returns the picture with it."""
    chrome, colour = CHROME[canvas.theme], LOOKS[canvas.theme][state].colour
    canvas.panel(box, chrome.panel, colour, radius=3)
    x, y = round(box[0]) + 1, round(box[1]) + 1
    h, w = min(small.shape[0], round(box[3] - box[1]) - 2), min(small.shape[1], round(box[2] - box[0]) - 2)
    canvas._over(Image.fromarray(small[:h, :w]).convert("RGBA"), (x, y))
    at = y + h + canvas.px(8)
    for i, line in enumerate(lines):
        face = canvas.font(12.5, i == 0)
        canvas.text((x + canvas.px(10), at), _cut(line, face, w - canvas.px(20)), face, chrome.text if i == 0 else chrome.faint)
        at += canvas.px(19)
    canvas.taken.append(box)
    return picture


def _cut(text: str, face: Font, width: float) -> str:
    """`text`, with an ellipsis where it is wider than `width`."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def draw_banner(canvas: Canvas, text: str, colour: str) -> Rect:
    """Across the top: HISTORICAL or STALE cannot be missed."""
    height = canvas.px(40)
    face = canvas.font(17, True)
    canvas.panel((-10, -10, canvas.size[0] + 10, height), colour, shadow=False, radius=0)
    canvas.text((canvas.size[0] / 2, height / 2), text, face, "#ffffff" if int(rgb(colour).astype(int).sum()) < 420 else "#1d242b", "mm")
    for box in ((0.0, height, canvas.size[0], height + canvas.px(4)), (0.0, canvas.size[1] - canvas.px(5), canvas.size[0], canvas.size[1])):
        canvas.panel((box[0] - 10, box[1], box[2] + 10, box[3]), colour, shadow=False, radius=0)
    box = (0.0, 0.0, float(canvas.size[0]), height)
    canvas.taken.append(box)
    return box


def place_badges(
    canvas: Canvas, badges: Sequence[tuple[Badge, tuple[float, float]]], busy: Sequence[Rect] = ()
) -> list[Placed]:
    """A place for each badge near its part: no overlap with each other, panels or sick parts, inside the picture."""
    placed: list[Placed] = []
    keep = canvas.px(10)
    spots: list[Rect] = [(x - keep, y - keep, x + keep, y + keep) for _, (x, y) in badges]
    for i, (badge, anchor) in enumerate(badges):
        width, height = badge_size(canvas, badge)
        best: tuple[float, Rect] | None = None
        for rise in (46, 64, 86, 112, 142, 180, 224, -54, -90):
            for slide in (0.0, 0.28, -0.28, 0.5, -0.5, 0.85, -0.85, 1.2, -1.2):
                x = anchor[0] + slide * width
                y = anchor[1] - canvas.px(rise)
                box = (x - width / 2, y - height, x + width / 2, y)
                cost = abs(rise - 46) + 60 * abs(slide)
                cost += 40 * _overlap(box, canvas.taken) / height + 60 * _outside(box, canvas.size, canvas.px(10))
                cost += 40 * _overlap(box, [p.box for p in placed], canvas.px(7)) / height
                cost += 3 * _overlap(box, busy, 0.0) / height
                cost += 20 * _overlap(box, spots[:i] + spots[i + 1 :]) / height
                foot = (min(max(anchor[0], box[0] + 8), box[2] - 8), y)
                cost += 300 * sum(_crosses(foot, anchor, _foot(p), p.anchor) for p in placed)
                cost += 400 * sum(_through(foot, anchor, p.box) for p in placed)
                cost += 400 * sum(_through(_foot(p), p.anchor, box) for p in placed)
                if best is None or cost < best[0]:
                    best = cost, box
        assert best is not None
        placed.append(Placed(badge, anchor, best[1]))
    return placed


def badge_size(canvas: Canvas, badge: Badge) -> tuple[float, float]:
    return canvas.font(15, True).getlength(badge.text) + canvas.px(44), canvas.px(31)


def draw_badges(canvas: Canvas, placed: Sequence[Placed], *, lit: bool = True) -> None:
    """Leader lines first, then the badges; warnings are quieter than critical ones."""
    looks, chrome = LOOKS[canvas.theme], CHROME[canvas.theme]
    for item in placed:
        colour = looks[item.badge.state].colour
        canvas.line(_foot(item), item.anchor, colour, canvas.px(2.0), dot=canvas.px(4.5))
    for item in placed:
        colour = looks[item.badge.state].colour
        critical = item.badge.state == State.CRITICAL
        x0, y0, x1, y1 = item.box
        if critical:
            canvas.panel(item.box, colour, alpha=255 if lit else 120)
        else:
            canvas.panel(item.box, chrome.panel, colour, alpha=255)
        ink = "#ffffff" if critical else chrome.text
        middle = (y0 + y1) / 2
        _sign(canvas, (x0 + canvas.px(19), middle), item.badge.state, colour, critical)
        canvas.text((x0 + canvas.px(34), middle), item.badge.text, canvas.font(15, True), ink, "lm")
        canvas.taken.append(item.box)


def _sign(canvas: Canvas, at: tuple[float, float], state: State, colour: str, filled: bool) -> None:
    """A triangle (critical, warning) or a disc with a mark, so that shape tells as well as colour."""
    r = canvas.px(9)
    size = int(2 * r) + 4
    big = Image.new("RGBA", (size * 4, size * 4), (0, 0, 0, 0))
    draw = ImageDraw.Draw(big)
    c = size * 2
    fill, ink = ("#ffffff", colour) if filled else (colour, "#ffffff" if state == State.NOTICE else "#1d242b")
    if state == State.NOTICE:
        draw.ellipse([c - 4 * r * 0.85, c - 4 * r * 0.85, c + 4 * r * 0.85, c + 4 * r * 0.85], fill=fill)
    else:
        draw.polygon([(c, c - 4 * r * 0.95), (c + 4 * r, c + 4 * r * 0.8), (c - 4 * r, c + 4 * r * 0.8)], fill=fill)
    draw.rounded_rectangle([c - r * 0.5, c - 4 * r * 0.38, c + r * 0.5, c + 4 * r * 0.28], r * 0.4, fill=ink)
    draw.ellipse([c - r * 0.55, c + 4 * r * 0.4, c + r * 0.55, c + 4 * r * 0.4 + r * 1.1], fill=ink)
    canvas._over(big.resize((size, size), Image.Resampling.BOX), (round(at[0] - size / 2), round(at[1] - size / 2)))


def draw_tags(canvas: Canvas, tags: Sequence[Tag]) -> None:
    chrome = CHROME[canvas.theme]
    for tag in tags:
        face = canvas.font(tag.size, tag.bold)
        canvas.text(tag.at, tag.text, face, chrome.text if tag.bold else chrome.faint, tag.anchor)
        if tag.bold:
            x, y = tag.at
            canvas.taken.append((x, y, x + face.getlength(tag.text), y + canvas.px(tag.size * 1.3)))
    canvas.flush()


def over(picture: NDArray[np.uint8], layer: Image.Image) -> NDArray[np.uint8]:
    """`picture` (h, w, 3) below an RGBA layer of the same size."""
    base = Image.fromarray(picture).convert("RGBA")
    base.alpha_composite(layer)
    return np.asarray(base.convert("RGB"))


def _foot(item: Placed) -> tuple[float, float]:
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


Point: TypeAlias = tuple[float, float]


def _crosses(a: Point, b: Point, c: Point, d: Point) -> bool:
    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def _through(a: Point, b: Point, box: Rect) -> bool:
    x0, y0, x1, y1 = box
    ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    return any(_crosses(a, b, ring[i], ring[(i + 1) % 4]) for i in range(4))
