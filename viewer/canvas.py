"""A transparent sheet over the scene, by Pillow: smooth shapes, crisp text, one size for all pictures."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from twinloom.viewer.palettes import Pattern, Theme, rgb

Rect: TypeAlias = tuple[float, float, float, float]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_SMOOTH, _PAD = 3, 6


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


@lru_cache(maxsize=256)
def _panel(inner: tuple[int, int], fill: str, edge: str, radius: float, alpha: int, shadow: bool) -> Image.Image:
    """A panel's tile with its shadow. Kept: a window draws the same ones again and again."""
    size = inner[0] + 2 * _PAD, inner[1] + 2 * _PAD
    big = Image.new("RGBA", (size[0] * _SMOOTH, size[1] * _SMOOTH), (*rgb(edge or fill).tolist(), 0))
    draw = ImageDraw.Draw(big)
    box = [_PAD * _SMOOTH, _PAD * _SMOOTH, (size[0] - _PAD) * _SMOOTH, (size[1] - _PAD) * _SMOOTH]
    r = radius * _SMOOTH
    if shadow:
        for i in range(5, 0, -1):
            s = i * _SMOOTH
            grown = [box[0] - s, box[1] + _SMOOTH - s, box[2] + s, box[3] + _SMOOTH + s]
            draw.rounded_rectangle(grown, r + s, fill=(0, 0, 0, 9 + 4 * (5 - i)))
    draw.rounded_rectangle(box, r, fill=(*rgb(fill).tolist(), alpha), outline=edge or None, width=_SMOOTH)
    return big.resize(size, Image.Resampling.BOX)


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

    def panel(
        self, box: Rect, fill: str, edge: str = "", *, radius: float = 5.0, alpha: int = 255, shadow: bool = True
    ) -> None:
        """A rounded rectangle with a soft edge below it."""
        x0, y0, x1, y1 = box
        tile = _panel((int(x1 - x0), int(y1 - y0)), fill, edge, self.px(radius), alpha, shadow)
        self.put(tile, (int(x0) - _PAD, int(y0) - _PAD))

    def line(
        self, a: tuple[float, float], b: tuple[float, float], colour: str, width: float, *, dot: float = 0.0
    ) -> None:
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
        self.put(big.resize(size, Image.Resampling.BOX), (x0, y0))

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
        self.put(tile.resize((x1 - x0, y1 - y0), Image.Resampling.BOX), (x0, y0))

    def ramp(self, box: Rect, ends: tuple[str, str]) -> None:
        x0, y0, x1, y1 = (int(v) for v in box)
        share = np.linspace(0, 1, x1 - x0)[:, None]
        row = rgb(ends[0]) + (rgb(ends[1]).astype(float) - rgb(ends[0])) * share
        pixels = np.broadcast_to(np.c_[row, np.full(len(row), 255)].astype(np.uint8)[None], (y1 - y0, x1 - x0, 4))
        self.put(Image.fromarray(np.ascontiguousarray(pixels)), (x0, y0))

    def put(self, tile: Image.Image, at: tuple[int, int]) -> None:
        x, y = at
        left, top = max(0, -x), max(0, -y)
        right, bottom = min(tile.width, self.size[0] - x), min(tile.height, self.size[1] - y)
        if right > left and bottom > top:
            self._layer.alpha_composite(tile.crop((left, top, right, bottom)), (x + left, y + top))
