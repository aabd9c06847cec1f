"""Colours of states, and whether people with a colour vision deficiency can tell them apart.

Bodies are neutral; colour is for exceptions only. Colour never stands alone: each exception has a badge with text, and
stale and bad-quality parts are hatched and dotted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinloom.viewer.geometry import Material

Theme: TypeAlias = Literal["light", "dark"]
Vision: TypeAlias = Literal["normal", "protan", "deutan", "tritan"]
Pattern: TypeAlias = Literal["solid", "hatch", "dots"]


class State(IntEnum):
    """How a part is drawn, worst last among HEALTHY to CRITICAL."""

    CONTEXT = 0
    HEALTHY = 1
    NOTICE = 2
    WARNING = 3
    CRITICAL = 4
    STALE = 5
    BAD_QUALITY = 6
    UNKNOWN = 7
    RAMP = 8
    DEGRADED = 9


@dataclass(frozen=True, slots=True)
class Look:
    """`colour` "#rrggbb", or "" where a part keeps its own materials."""

    colour: str
    pattern: Pattern
    label: str


@dataclass(frozen=True, slots=True)
class Chrome:
    """Colours of everything around the parts: ground, text, panels."""

    ground: str
    ground_far: str
    text: str
    faint: str
    panel: str
    edge: str
    banner: str
    select: str


LOOKS: dict[Theme, dict[State, Look]] = {
    "light": {
        State.CONTEXT: Look("", "solid", ""),
        State.HEALTHY: Look("", "solid", "healthy"),
        State.NOTICE: Look("#2b7a9b", "solid", "notice"),
        State.WARNING: Look("#f2a81d", "solid", "warning"),
        State.CRITICAL: Look("#c4061f", "solid", "critical"),
        State.STALE: Look("#8b939c", "hatch", "stale"),
        State.BAD_QUALITY: Look("#9a86cf", "dots", "bad quality"),
        State.UNKNOWN: Look("#aab2bb", "dots", "no value"),
        State.RAMP: Look("", "solid", ""),
        State.DEGRADED: Look("", "dots", "degraded estimate"),
    },
    "dark": {
        State.CONTEXT: Look("", "solid", ""),
        State.HEALTHY: Look("", "solid", "healthy"),
        State.NOTICE: Look("#35b0e6", "solid", "notice"),
        State.WARNING: Look("#f2b134", "solid", "warning"),
        State.CRITICAL: Look("#f0383e", "solid", "critical"),
        State.STALE: Look("#6a727b", "hatch", "stale"),
        State.BAD_QUALITY: Look("#b29be8", "dots", "bad quality"),
        State.UNKNOWN: Look("#565e67", "dots", "no value"),
        State.RAMP: Look("", "solid", ""),
        State.DEGRADED: Look("", "dots", "degraded estimate"),
    },
}

CHROME: dict[Theme, Chrome] = {
    "light": Chrome("#ffffff", "#eef1f4", "#1d242b", "#5d6873", "#ffffff", "#c8ced5", "#7a3e00", "#0b6fb8"),
    "dark": Chrome("#14181c", "#1c2127", "#eef1f4", "#a3adb8", "#20262d", "#414a54", "#ffb74d", "#58b7ff"),
}

RAMPS: dict[Theme, tuple[str, str]] = {"light": ("#dfe5ea", "#1f5f8b"), "dark": ("#3a434c", "#6fc3f2")}
"""Low and high end for a property without a rule: one hue, so that it cannot be taken for a state."""

# Machado, Oliveira, Fernandes: "A physiologically-based model for simulation of color vision deficiency",
# IEEE TVCG 15(6), 2009, table 1, severity 1.0; applied to linear RGB.
_MACHADO: dict[Vision, list[list[float]]] = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def rgb(colour: str) -> NDArray[np.uint8]:
    """(3,) of "#rrggbb".

    >>> rgb("#ff8000").tolist()
    [255, 128, 0]
    """
    return np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8)


def difference(a: str, b: str, vision: Vision = "normal") -> float:
    """CIE76 colour difference (1 is just noticeable) between two colours as seen with `vision`."""
    return float(np.linalg.norm(_lab(rgb(a), vision) - _lab(rgb(b), vision)))


def _lab(colour: ArrayLike, vision: Vision) -> NDArray[np.float64]:
    c = np.asarray(colour, float) / 255.0
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    if vision != "normal":
        linear = np.clip(np.asarray(_MACHADO[vision]) @ linear, 0.0, 1.0)
    xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    white = np.array([0.95047, 1.0, 1.08883])
    t = (xyz @ linear) / white
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@cache
def base_colours(theme: Theme) -> NDArray[np.uint8]:
    """(Material.CUSTOM, 3) sRGB: what healthy things look like. All near grey: colour is kept for exceptions."""
    light = {
        Material.BODY: "eceef0", Material.TRIM: "7d858e", Material.GLASS: "51606e", Material.METAL: "b4bac1",
        Material.DARK: "474d55", Material.ACCENT: "8fa3b5", Material.FLOOR: "dfe3e7", Material.AISLE: "eceef0",
        Material.HALO: "eceef0", Material.BEACON: "c4c9ce", Material.SCREEN: "90a4b4",
    }  # fmt: skip
    dark = {
        Material.BODY: "858d97", Material.TRIM: "474e57", Material.GLASS: "26303a", Material.METAL: "68707a",
        Material.DARK: "23282e", Material.ACCENT: "546675", Material.FLOOR: "23282e", Material.AISLE: "2d333a",
        Material.HALO: "2d333a", Material.BEACON: "5b636c", Material.SCREEN: "4a6072",
    }  # fmt: skip
    table = light if theme == "light" else dark
    return np.array([list(bytes.fromhex(table[m])) for m in list(Material)[: Material.CUSTOM]], np.uint8)
