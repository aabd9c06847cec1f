"""Shapes by model type, for twins that bring no geometry: a machining centre and its parts, and a plain block.

Local frames: z up, the operator stands at -y. The numbers are metres of a small vertical machining centre; a
component's origin is where `placement` of the example plant puts it inside the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from twinloom.viewer.geometry import (
    Material as M,
)
from twinloom.viewer.geometry import (
    Mesh,
    box,
    chamfered,
    cylinder,
    frame,
    frustum,
    hexahedron,
    join,
    prism,
)

Lods = tuple[Mesh, Mesh, Mesh]
"""Full, about a tenth of the triangles, a box."""


def shape_of(kinds: Iterable[str]) -> str:
    """The first of `kinds` (a model's type name, then its ancestors') that has a shape of its own; else `Block`.

    >>> shape_of(("HighSpeedSpindle", "Spindle", "MachineComponent"))
    'Spindle'
    """
    return next((kind for kind in kinds if kind in SHAPES), "Block")


def lods_of(shape: str) -> Lods:
    """The three levels of detail of a shape's name."""
    return SHAPES.get(shape, _block)()


def _slope(x0: float, x1: float, low: float, high: float, material: int, *, lift: float = 0.0) -> Mesh:
    """A slab on the machine's leaning front, between shares `low` and `high` of its height, `lift` metres proud."""
    foot, top = np.array([-0.98, 1.0]), np.array([-0.58, 2.05])
    out = np.array([-(top - foot)[1], (top - foot)[0]]) / np.linalg.norm(top - foot)
    a, b = foot + (top - foot) * low, foot + (top - foot) * high
    front = [a + out * lift, b + out * lift]
    back = [a - out * 0.06, b - out * 0.06]
    corners = []
    for level in (0, 1):
        (yf, zf), (yb, zb) = front[level], back[level]
        corners += [(x0, yf, zf), (x1, yf, zf), (x1, yb, zb), (x0, yb, zb)]
    return hexahedron(corners, material)


def _machine() -> Lods:
    side = [(-0.98, 0.12), (1.0, 0.12), (1.0, 2.05), (-0.58, 2.05), (-0.98, 1.0)]
    full = [
        box((-1.1, -0.8, 0.02), (1.1, 1.1, 0.14), M.DARK),  # plinth in the shade: the machine stands off
        box((-0.95, -0.6, 0.14), (0.95, 0.95, 0.62), M.TRIM),  # the casting, seen through the open roof
        prism(side, -1.25, -1.17, M.BODY, "x"),
        prism(side, 1.17, 1.25, M.BODY, "x"),
        box((-1.17, 0.94, 0.12), (1.17, 1.0, 2.05), M.BODY),
        box((-1.17, -0.98, 0.12), (1.17, -0.92, 1.0), M.BODY),
        _slope(-1.17, 1.17, 0.0, 0.12, M.BODY),
        _slope(-1.17, 1.17, 0.88, 1.0, M.BODY),
        _slope(-1.17, -0.92, 0.12, 0.88, M.BODY),
        _slope(0.72, 1.17, 0.12, 0.88, M.BODY),
        _slope(-0.92, -0.12, 0.12, 0.88, M.GLASS, lift=-0.02),
        _slope(-0.08, 0.72, 0.12, 0.88, M.GLASS, lift=-0.02),
        _slope(-0.12, -0.08, 0.05, 0.95, M.TRIM, lift=0.02),
        _slope(-0.2, -0.16, 0.3, 0.62, M.METAL, lift=0.06),
        _slope(-0.04, 0.0, 0.3, 0.62, M.METAL, lift=0.06),
        box((-1.26, -0.995, 0.84), (1.26, -0.97, 0.92), M.ACCENT),
        box((-1.262, -0.98, 0.84), (-1.24, 1.0, 0.92), M.ACCENT),
        box((1.24, -0.98, 0.84), (1.262, 1.0, 0.92), M.ACCENT),
        box((-1.25, -0.6, 2.05), (-1.17, 1.0, 2.1), M.TRIM),
        box((1.17, -0.6, 2.05), (1.25, 1.0, 2.1), M.TRIM),
        box((-1.17, -0.62, 2.05), (1.17, -0.54, 2.1), M.TRIM),
        box((-0.95, 1.0, 0.2), (0.55, 1.42, 1.95), M.BODY),  # electrical cabinet behind
        box((-0.75, 1.415, 1.3), (0.35, 1.43, 1.7), M.TRIM),
        box((0.86, -1.16, 1.5), (0.94, -0.74, 1.58), M.TRIM),  # arm of the panel
        hexahedron(_panel(0.0), M.DARK),
        hexahedron(_panel(0.012), M.SCREEN),
        cylinder((1.05, 0.85, 2.1), 0.025, 0.28, M.METAL, sides=4),
        cylinder((1.05, 0.85, 2.38), 0.075, 0.3, M.BEACON, sides=8),
        cylinder((1.05, 0.85, 2.68), 0.06, 0.03, M.DARK, sides=6),
        frame((-2.0, -1.6), (2.0, 1.9), 0.2, 0.035, M.HALO),
    ]
    middle = [
        prism(side, -1.25, -1.17, M.BODY, "x"),
        prism(side, 1.17, 1.25, M.BODY, "x"),
        box((-1.17, 0.6, 0.12), (1.17, 1.0, 2.05), M.BODY),
        box((-1.17, -0.98, 0.12), (1.17, -0.6, 1.0), M.BODY),
        frame((-2.0, -1.6), (2.0, 1.9), 0.2, 0.035, M.HALO),
    ]
    return join(full), join(middle), box((-1.25, -0.98, 0.0), (1.25, 1.42, 2.1), M.BODY)


def _panel(lift: float) -> list[tuple[float, float, float]]:
    """The control panel leans back; `lift` > 0 is the screen on its face."""
    x0, x1 = (0.72, 1.12) if not lift else (0.76, 1.08)
    z0, z1 = (1.16, 1.78) if not lift else (1.36, 1.72)
    front = [(-1.32 + (z - 1.16) * 0.22 - lift, z) for z in (z0, z1)]
    corners = []
    for y, z in front:
        corners += [(x0, y, z), (x1, y, z), (x1, y + 0.1 - lift, z), (x0, y + 0.1 - lift, z)]
    return corners


def _spindle() -> Lods:
    head = [
        chamfered((-0.34, -0.42, 0.0), (0.34, 0.36, 0.95), 0.09, M.METAL),
        chamfered((-0.25, -0.33, 0.95), (0.25, 0.27, 1.04), 0.09, M.TRIM),
        cylinder((0.0, -0.04, 1.04), 0.21, 0.36, M.METAL, sides=10),
        cylinder((0.0, -0.04, 1.16), 0.225, 0.05, M.TRIM, sides=10),
        cylinder((0.0, -0.04, 1.4), 0.16, 0.05, M.TRIM, sides=8),
        cylinder((0.0, -0.04, -0.22), 0.19, 0.22, M.METAL, sides=10),
        frustum((0.0, -0.04, -0.34), 0.08, 0.16, 0.12, M.TRIM, sides=10),
        cylinder((0.0, -0.04, -0.56), 0.035, 0.22, M.METAL, sides=6),
    ]
    middle = [
        box((-0.34, -0.42, 0.0), (0.34, 0.36, 1.0), M.METAL),
        cylinder((0, -0.04, 1.0), 0.21, 0.4, M.METAL, sides=4),
    ]
    return join(head), join(middle), box((-0.34, -0.42, -0.3), (0.34, 0.36, 1.4), M.METAL)


def _axis() -> Lods:
    """A slide: rails, ball screw and table along local x, a servo motor at the end."""
    parts = [
        box((-0.62, -0.26, -0.14), (0.62, 0.26, -0.06), M.TRIM),
        box((-0.6, -0.22, -0.06), (0.6, -0.16, -0.01), M.METAL),
        box((-0.6, 0.16, -0.06), (0.6, 0.22, -0.01), M.METAL),
        cylinder((-0.6, 0.0, -0.04), 0.03, 1.2, M.METAL, sides=4, axis="x"),
        box((-0.4, -0.28, -0.01), (0.4, 0.28, 0.09), M.METAL),
        box((-0.4, -0.12, 0.088), (0.4, 0.12, 0.094), M.DARK),
        box((0.62, -0.1, -0.12), (0.84, 0.1, 0.06), M.DARK),
    ]
    middle = [box((-0.62, -0.28, -0.14), (0.84, 0.28, 0.09), M.METAL)]
    return join(parts), join(middle), middle[0]


def _column() -> Lods:
    """The Z axis: a column with vertical guides; its motor shows above."""
    parts = [
        chamfered((-0.46, -0.1, -0.75), (0.46, 0.24, 1.2), 0.06, M.BODY),
        box((-0.36, -0.16, -0.4), (-0.26, -0.1, 1.1), M.METAL),
        box((0.26, -0.16, -0.4), (0.36, -0.1, 1.1), M.METAL),
        cylinder((0.0, -0.13, -0.4), 0.03, 1.5, M.METAL, sides=6),
        chamfered((-0.12, -0.06, 1.2), (0.12, 0.18, 1.52), 0.03, M.DARK),
    ]
    middle = [box((-0.46, -0.16, -0.75), (0.46, 0.24, 1.2), M.BODY)]
    return join(parts), join(middle), middle[0]


def _coolant_pump() -> Lods:
    parts = [
        chamfered((-0.17, -0.7, 0.04), (0.43, 0.5, 0.46), 0.05, M.BODY),
        box((-0.14, -0.66, 0.46), (0.4, 0.46, 0.485), M.TRIM),
        cylinder((0.14, 0.18, 0.485), 0.15, 0.1, M.TRIM, sides=10),
        cylinder((0.14, 0.18, 0.585), 0.13, 0.36, M.METAL, sides=10),
        cylinder((0.14, 0.18, 0.945), 0.1, 0.05, M.DARK, sides=8),
        cylinder((0.14, -0.3, 0.485), 0.08, 0.2, M.METAL, sides=8),
        cylinder((0.14, -0.3, 0.685), 0.04, 0.7, M.METAL, sides=5),
        cylinder((-0.19, -0.3, 1.345), 0.04, 0.37, M.METAL, sides=5, axis="x"),
        box((0.43, -0.5, 0.2), (0.44, -0.3, 0.36), M.GLASS),
    ]
    middle = [
        box((-0.17, -0.7, 0.0), (0.43, 0.5, 0.48), M.BODY),
        cylinder((0.14, 0.18, 0.48), 0.14, 0.5, M.METAL, sides=4),
    ]
    return join(parts), join(middle), box((-0.17, -0.7, 0.0), (0.43, 0.5, 0.95), M.BODY)


def _tool_changer() -> Lods:
    """A disc magazine beside the machine with its tools around the rim."""
    parts = [
        cylinder((-0.16, 0.0, 0.55), 0.5, 0.1, M.METAL, sides=14, axis="x"),
        cylinder((-0.2, 0.0, 0.55), 0.16, 0.2, M.TRIM, sides=8, axis="x"),
        prism([(-0.3, -0.98), (0.3, -0.98), (0.16, 0.55), (-0.16, 0.55)], -0.06, 0.1, M.TRIM, "x"),
    ]
    for i in range(8):
        angle = 2 * np.pi * i / 8
        y, z = 0.46 * float(np.cos(angle)), 0.55 + 0.46 * float(np.sin(angle))
        parts.append(cylinder((-0.3, y, z), 0.055, 0.16, M.DARK if i % 2 else M.METAL, sides=4, axis="x"))
    middle = [cylinder((-0.28, 0.0, 0.55), 0.52, 0.2, M.METAL, sides=6, axis="x")]
    return join(parts), join(middle), box((-0.3, -0.5, -0.98), (0.1, 0.5, 1.05), M.METAL)


def _block() -> Lods:
    """A model type without a shape: a plain cabinet, so that nothing is missing from the picture."""
    full = join(
        [
            chamfered((-0.4, -0.4, 0.05), (0.4, 0.4, 1.0), 0.06, M.BODY),
            box((-0.36, -0.36, 0.0), (0.36, 0.36, 0.05), M.DARK),
        ]
    )
    low = box((-0.4, -0.4, 0.0), (0.4, 0.4, 1.0), M.BODY)
    return full, low, low


SHAPES: dict[str, Callable[[], Lods]] = {
    "CncMachine": _machine,
    "Spindle": _spindle,
    "Axis": _axis,
    "AxisColumn": _column,
    "CoolantPump": _coolant_pump,
    "ToolChanger": _tool_changer,
}
"""By type name. `AxisColumn` is an Axis whose `letter` is Z."""
