"""Whether VTK can draw here, found out in another process: a missing library is a segfault, which nothing catches."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache

from twinloom.twin.errors import Unavailable

PROBE_TIMEOUT_S = 60.0
_DRAW = """
import importlib.util, sys
if importlib.util.find_spec("pyvista") is None:
    sys.exit("No module named 'pyvista'")
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow
window, ground = vtkRenderWindow(), vtkRenderer()
ground.SetBackground(1.0, 0.0, 0.0)
window.SetOffScreenRendering(1)
window.SetSize(16, 16)
window.AddRenderer(ground)
window.Render()
from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
pixels = vtkUnsignedCharArray()
window.GetPixelData(0, 0, 15, 15, 0, pixels, 0)
if pixels.GetValue(0) == 255:
    print("drawn")
"""
_OSMESA = "vtkOSOpenGLRenderWindow"


@lru_cache(maxsize=1)
def ready() -> str:
    """Makes sure that pictures can be drawn off screen; sets VTK_DEFAULT_OPENGL_WINDOW when needed.

    Returns the render window's class ("" for VTK's own choice). Raises Unavailable that names the missing package.
    """
    chosen = os.environ.get("VTK_DEFAULT_OPENGL_WINDOW")
    last = ""
    for window in [chosen] if chosen else [_OSMESA, "vtkEGLRenderWindow", ""]:
        environment = {**os.environ, "VTK_DEFAULT_OPENGL_WINDOW": window or ""}
        if not window:
            del environment["VTK_DEFAULT_OPENGL_WINDOW"]
        try:
            done = subprocess.run(
                [sys.executable, "-c", _DRAW],
                env=environment,
                capture_output=True,
                timeout=PROBE_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            last = f"it did not draw within {PROBE_TIMEOUT_S:.0f} s"
            continue
        if b"drawn" in done.stdout:
            if window:
                os.environ["VTK_DEFAULT_OPENGL_WINDOW"] = window
            return window or ""
        errors = done.stderr.decode(errors="replace")
        if "No module named 'pyvista'" in errors:
            raise Unavailable("pictures need pyvista", remedy="pip install 'twinloom[viewer]'")
        last = f"it ended with status {done.returncode}"
    raise Unavailable(
        f"VTK cannot draw without a display here ({last}): the Debian package libosmesa6 or libegl1 is missing",
        remedy="apt-get install --no-install-recommends libosmesa6 libegl1",
    )
