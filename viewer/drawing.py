"""Badges, leader lines, legend, title and banner over the scene, the same in pictures and in the window.

Where badges and panels go is found by `labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from twinloom.viewer.canvas import Canvas, Rect
from twinloom.viewer.labels import Placed, foot_of, roomiest, text_size
from twinloom.viewer.palettes import CHROME, LOOKS, RAMPS, State, rgb
from twinloom.viewer.state import Legend
from twinloom.viewer.wording import quantity


@dataclass(frozen=True, slots=True)
class Tag:
    """A faint name on the ground: a site's, a line's or a machine's. `at` in pixels: the middle of its top edge."""

    text: str
    at: tuple[float, float]
    size: int
    bold: bool = False
    anchor: str = "la"


def draw_title(canvas: Canvas, title: str, subtitle: str, *, top: float = 0.0, busy: Sequence[Rect] = ()) -> Rect:
    """Top left; on a panel of its own where machines stand behind it."""
    chrome = CHROME[canvas.theme]
    x, y = canvas.px(28), top + canvas.px(22)
    width = max(canvas.font(25, True).getlength(title), canvas.font(13.5).getlength(subtitle))
    box = (x, y, x + width, y + canvas.px(56))
    if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in busy):
        pad = canvas.px(12)
        canvas.panel((x - pad, y - pad * 0.6, box[2] + pad, box[3] + pad * 0.6), chrome.panel, chrome.edge, alpha=225)
    canvas.text((x, y), title, canvas.font(25, True), chrome.text)
    canvas.text((x, y + canvas.px(36)), subtitle, canvas.font(13.5), chrome.faint)
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
        [big.getlength(title), canvas.px(220) if ramp else 0.0]
        + [canvas.px(34) + small.getlength(label) + canvas.px(26) + small.getlength(count) for _, label, count in rows]
    )
    step, pad = canvas.px(24), canvas.px(14)
    height = canvas.px(26) + step * len(rows) + (canvas.px(44) if ramp else 0)
    size = (width + 2 * pad, height + 2 * pad)
    box = roomiest(canvas, size, busy, corners=True) or (
        canvas.px(28),
        canvas.px(90),
        canvas.px(28) + size[0],
        canvas.px(90) + size[1],
    )
    canvas.panel(box, chrome.panel, chrome.edge)
    x, y = box[0] + pad, box[1] + pad
    canvas.text((x, y), title, big, chrome.text)
    y += canvas.px(30)
    if ramp and legend.ramp is not None:
        canvas.ramp((x, y, x + width, y + canvas.px(14)), RAMPS[canvas.theme])
        canvas.text((x, y + canvas.px(18)), quantity(legend.ramp[0], legend.unit), small, chrome.text)
        canvas.text((x + width, y + canvas.px(18)), quantity(legend.ramp[1], legend.unit), small, chrome.text, "ra")
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


def pin(
    canvas: Canvas, picture: NDArray[np.uint8], small: NDArray[np.uint8], box: Rect, lines: Sequence[str], state: State
) -> NDArray[np.uint8]:
    """A card: `small` on top, `lines` below, edged in the state's colour. Returns the picture with it."""
    chrome, colour = CHROME[canvas.theme], LOOKS[canvas.theme][state].colour
    canvas.panel(box, chrome.panel, colour, radius=3)
    x, y = round(box[0]) + 1, round(box[1]) + 1
    h, w = min(small.shape[0], round(box[3] - box[1]) - 2), min(small.shape[1], round(box[2] - box[0]) - 2)
    canvas.put(Image.fromarray(small[:h, :w]).convert("RGBA"), (x, y))
    at = y + h + canvas.px(8)
    for i, line in enumerate(lines):
        face = canvas.font(12.5, i == 0)
        canvas.text((x + canvas.px(10), at), line, face, chrome.text if i == 0 else chrome.faint)
        at += canvas.px(19)
    canvas.taken.append(box)
    return picture


def wrapped(canvas: Canvas, text: str, size: float, width: float, lines: int = 2) -> list[str]:
    """`text` in at most `lines` lines of `width` pixels; the last one ends with an ellipsis where text is left."""
    face = canvas.font(size)
    found: list[str] = []
    words = text.split()
    while words and len(found) < lines:
        line = words.pop(0)
        while words and face.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        found.append(line)
    if found:
        rest = " ".join([found[-1], *words])
        found[-1] = shortened(canvas, rest, size, width)
    return found


def shortened(canvas: Canvas, text: str, size: float, width: float) -> str:
    """`text`, with an ellipsis where it is wider than `width` pixels."""
    face = canvas.font(size)
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
    canvas.text(
        (canvas.size[0] / 2, height / 2),
        text,
        face,
        "#ffffff" if int(rgb(colour).astype(int).sum()) < 420 else "#1d242b",
        "mm",
    )
    wide = float(canvas.size[0])
    foot = float(canvas.size[1])
    for low, high in ((height, height + canvas.px(4)), (foot - canvas.px(5), foot)):
        canvas.panel((-10.0, low, wide + 10.0, high), colour, shadow=False, radius=0)
    box = (0.0, 0.0, float(canvas.size[0]), height)
    canvas.taken.append(box)
    return box


def draw_badges(canvas: Canvas, placed: Sequence[Placed], *, lit: bool = True) -> None:
    """Leader lines first, then the badges; warnings are quieter than critical ones."""
    looks, chrome = LOOKS[canvas.theme], CHROME[canvas.theme]
    for item in placed:
        colour = looks[item.badge.state].colour
        canvas.line(foot_of(item), item.anchor, colour, canvas.px(2.0), dot=canvas.px(4.5))
    for item in placed:
        colour = looks[item.badge.state].colour
        critical = item.badge.state == State.CRITICAL
        x0, y0, _x1, y1 = item.box
        if critical:
            canvas.panel(item.box, colour, alpha=255 if lit else 200)
        else:
            canvas.panel(item.box, chrome.panel, colour, alpha=255)
        ink = "#ffffff" if critical else chrome.text
        middle = (y0 + y1) / 2
        _sign(canvas, (x0 + canvas.px(19), middle), item.badge.state, colour, critical)
        canvas.text((x0 + canvas.px(34), middle), item.badge.text, canvas.font(text_size(item.badge), True), ink, "lm")
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
    canvas.put(big.resize((size, size), Image.Resampling.BOX), (round(at[0] - size / 2), round(at[1] - size / 2)))


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
