"""Pixels by VTK: the only file that imports pyvista.

One merged mesh a level of detail; colours are one table (part x material) taken by face into a cell array that VTK
reads in place. Alpha is no transparency here but the pattern: 251 hatched, 247 dotted, 127 see-through by stipple, 0
left out; a fragment shader reads it, so nothing depends on the order of drawing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkFloatArray, vtkUnsignedCharArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkRenderingCore import (
    vtkActor,
    vtkCellPicker,
    vtkLight,
    vtkPolyDataMapper,
    vtkPolyDataMapper2D,
    vtkTexture,
    vtkTexturedActor2D,
)
from vtkmodules.vtkRenderingOpenGL2 import vtkRenderStepsPass, vtkSSAAPass

from twinloom.viewer.camera import Camera
from twinloom.viewer.occlusion import eye_depth, shade
from twinloom.viewer.palettes import CHROME, Theme
from twinloom.viewer.scene import BOX, FULL, MIDDLE, Scene

Quality = Literal["live", "report"]
LIVE_TRIANGLES = 250_000
"""Above this the live view starts at the coarser levels: software rendering then stays near 20 frames a second."""

_PATTERN = """//VTK::Color::Impl
  float twinloomScale = {scale};
  vec2 twinloomAt = gl_FragCoord.xy / twinloomScale;
  if (opacity < 0.005) discard;
  if (opacity < 0.6) {{
    if (mod(floor(gl_FragCoord.x) + floor(gl_FragCoord.y), 2.0) < 0.5) discard;
  }} else if (opacity < 0.975) {{
    vec2 cell = mod(twinloomAt, 5.0) - 2.5;
    if (dot(cell, cell) < 1.7) {{ ambientColor *= 0.45; diffuseColor *= 0.45; }}
  }} else if (opacity < 0.995) {{
    if (mod(twinloomAt.x + twinloomAt.y, 7.0) < 2.4) {{ ambientColor *= 0.4; diffuseColor *= 0.4; }}
  }}
  opacity = 1.0;
"""


class Layer:
    """One level of detail in VTK: an actor and the cell array that its colours are written into."""

    def __init__(self, scene: Scene, level: int, materials: int, quality: Quality) -> None:
        merged = scene.merged(level)
        self.spans, self.owner = merged.spans, merged.owner
        self.materials = merged.materials.astype(np.intp)
        self._codes = merged.owner.astype(np.intp) * materials + self.materials
        self._rgba = np.full(len(self._codes), 0xFFFFFFFF, np.uint32)
        self._array: vtkUnsignedCharArray = numpy_to_vtk(self._rgba.view(np.uint8).reshape(-1, 4), deep=False)
        self._array.SetName("rgba")
        self._points = np.ascontiguousarray(merged.vertices, np.float32)
        data = vtkPolyData()
        points = pv.vtk_points(self._points, deep=False)
        data.SetPoints(points)
        cells = vtkCellArray()
        self._offsets = np.arange(0, 3 * len(merged.faces) + 1, 3, dtype=np.int64)
        self._corners = np.ascontiguousarray(merged.faces.ravel(), np.int64)
        cells.SetData(numpy_to_vtkIdTypeArray(self._offsets), numpy_to_vtkIdTypeArray(self._corners))
        data.SetPolys(cells)
        data.GetCellData().SetScalars(self._array)
        self.data = data
        mapper = vtkPolyDataMapper()
        mapper.SetInputData(data)
        mapper.SetColorModeToDirectScalars()
        self.actor = vtkActor()
        self.actor.SetMapper(mapper)
        self.actor.ForceOpaqueOn()
        surface = self.actor.GetProperty()
        surface.SetInterpolationToFlat()
        surface.SetAmbient(0.3)
        surface.SetDiffuse(0.78)
        surface.SetSpecular(0.0)
        surface.SetBackfaceCulling(quality == "live")
        shader = self.actor.GetShaderProperty()
        shader.AddFragmentShaderReplacement(
            "//VTK::Color::Impl", False, _PATTERN.format(scale="2.0" if quality == "report" else "1.0"), False
        )

    @property
    def triangles(self) -> int:
        return len(self._codes)

    def paint(self, table: NDArray[np.uint32], rows: Iterable[int] | None = None) -> None:
        """Writes colours in place: all, or only the faces of `rows`."""
        if rows is None:
            np.take(table.ravel(), self._codes, out=self._rgba, mode="clip")
        else:
            for row in rows:
                start, stop = self.spans[row]
                self._rgba[start:stop] = table[row, self.materials[start:stop]]
        self._array.Modified()


class Renderer:
    """Draws a scene. Not thread-safe: make it, use it and close it in one thread (VTK's rule).

    `quality` "report": supersampled with ambient occlusion; "live": fast. Without `off_screen` it opens a window.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        size: tuple[int, int] = (1600, 900),
        theme: Theme = "light",
        quality: Quality = "report",
        off_screen: bool = True,
        plotter: Any = None,
    ) -> None:
        self.scene, self.size, self.theme, self.quality = scene, size, theme, quality
        self.plotter = plotter or pv.Plotter(off_screen=off_screen, window_size=list(size), lighting="none")
        self.plotter.render_window.SetMultiSamples(0)
        chrome = CHROME[theme]
        self.plotter.set_background(chrome.ground_far, top=chrome.ground)
        materials = 11 + len(scene.palette)
        self._layers: dict[int, Layer] = {}
        self._materials = materials
        self._picker = vtkCellPicker()
        self._picker.SetTolerance(0.0)
        self._table: NDArray[np.uint32] | None = None
        self._shown = False
        self._light()
        self._smooth = vtkSSAAPass()
        self._smooth.SetDelegatePass(vtkRenderStepsPass())
        self.level = FULL
        self.show_level(FULL if quality == "report" else self.level_for_speed())

    def level_for_speed(self) -> int:
        """The finest level that a machine without a graphics card can move."""
        counts = [0, 0, 0]
        for part in self.scene.parts:
            for level in (FULL, MIDDLE):
                counts[level] += len(self.scene.geometries[part.geometry][level].faces)
        return FULL if counts[FULL] <= LIVE_TRIANGLES else MIDDLE if counts[MIDDLE] <= LIVE_TRIANGLES else BOX

    def use(self, scene: Scene) -> None:
        """Draws another scene in the same window; paint it next."""
        for layer in self._layers.values():
            self.plotter.renderer.RemoveActor(layer.actor)
        self.scene, self._layers, self._table = scene, {}, None
        self._materials = 11 + len(scene.palette)
        self.show_level(FULL if self.quality == "report" else self.level_for_speed())

    def show_level(self, level: int) -> None:
        """Switches the level of detail; a level is built when it is first shown."""
        if level not in self._layers:
            self._layers[level] = layer = Layer(self.scene, level, self._materials, self.quality)
            self.plotter.renderer.AddActor(layer.actor)
            if self._table is not None:
                layer.paint(self._table)
        for number, layer in self._layers.items():
            layer.actor.SetVisibility(number == level)
        self.level = level
        if self._table is not None:
            self._layers[level].paint(self._table)

    @property
    def layer(self) -> Layer:
        return self._layers[self.level]

    def paint(self, table: NDArray[np.uint32]) -> int:
        """Takes a colour table (parts, materials); writes only the faces of rows that changed, and counts them."""
        if self._table is None or self._table.shape != table.shape:
            self.layer.paint(table)
            changed = len(table)
        else:
            rows = np.flatnonzero((self._table != table).any(axis=1))
            changed = len(rows)
            if changed > 256:
                self.layer.paint(table)
            elif changed:
                self.layer.paint(table, rows.tolist())
        self._table = table.copy()
        return changed

    def look(self, camera: Camera) -> None:
        view = self.plotter.camera
        view.position, view.focal_point, view.up = camera.position, camera.focus, (0.0, 0.0, 1.0)
        if abs(np.dot(camera.basis()[2], [0.0, 0.0, 1.0])) > 0.999:
            view.up = (0.0, 1.0, 0.0)
        view.view_angle = camera.angle
        self.plotter.renderer.ResetCameraClippingRange()

    def camera(self) -> Camera:
        """Where the camera is now (a user may have moved it)."""
        view = self.plotter.camera
        return Camera(tuple(view.position), tuple(view.focal_point), float(view.view_angle))

    def image(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """(height, width, 3): the scene as drawn now, without the overlay; in another `size` for this once.

        In a report it is supersampled and shaded by ambient occlusion.
        """
        width, height = size or self.size
        if size is not None:
            self.plotter.render_window.SetSize(*size)
        if self.quality == "live":
            self.draw()
            picture = self._pixels(width, height)
        else:
            self.plotter.renderer.SetPass(None)
            self.draw()
            shades = self._shades(width, height)
            self.plotter.renderer.SetPass(self._smooth)
            self.draw()
            picture = np.round(self._pixels(width, height) * shades[:, :, None]).astype(np.uint8)
        if size is not None:
            self.plotter.render_window.SetSize(*self.size)
        return picture

    def _pixels(self, width: int, height: int) -> NDArray[np.uint8]:
        pixels = vtkUnsignedCharArray()
        self.plotter.render_window.GetPixelData(0, 0, width - 1, height - 1, 1, pixels, 0)
        return np.ascontiguousarray(vtk_to_numpy(pixels).reshape(height, width, 3)[::-1])

    def _shades(self, width: int, height: int) -> NDArray[np.float32]:
        """Ambient occlusion of the frame just drawn."""
        buffer = vtkFloatArray()
        self.plotter.render_window.GetZbufferData(0, 0, width - 1, height - 1, buffer)
        near, far = self.plotter.camera.clipping_range
        depth = eye_depth(vtk_to_numpy(buffer).reshape(height, width)[::-1], near, far)
        pixel = 2 * math.tan(math.radians(self.plotter.camera.view_angle) / 2) / height
        seen = depth[np.isfinite(depth)]
        radius_m = 1.0 if not len(seen) else max(0.35, float(np.median(seen)) * pixel * 14)
        return shade(depth, pixel, min(radius_m, 1.2))

    def draw(self) -> None:
        """Draws the frame; the first time it makes the window."""
        if self._shown:
            self.plotter.render_window.Render()
        else:
            self._shown = True
            self.plotter.show(auto_close=False, interactive=False)

    def pick(self, x: float, y: float) -> int | None:
        """The row of the part at a pixel (y down), or None for the ground."""
        if not self._picker.Pick(x, self.size[1] - 1 - y, 0.0, self.plotter.renderer):
            return None
        cell = self._picker.GetCellId()
        return int(self.layer.owner[cell]) if cell >= 0 else None

    def close(self) -> None:
        self.plotter.close()

    def _light(self) -> None:
        low, high = self.scene.bounds
        middle, reach = (low + high) / 2, float(np.linalg.norm(high - low)) or 1.0
        key = vtkLight()
        key.SetLightTypeToSceneLight()
        key.SetPosition(*(middle + reach * np.array([-0.5, -0.75, 1.15])))
        key.SetFocalPoint(*middle)
        key.SetIntensity(0.82)
        head = vtkLight()
        head.SetLightTypeToHeadlight()
        head.SetIntensity(0.34)
        for light in (key, head) if self.quality == "report" else (head, key):
            self.plotter.renderer.AddLight(light)


class Sheet:
    """An RGBA picture over the whole window: the overlay that Pillow draws."""

    def __init__(self, renderer: Renderer) -> None:
        width, height = renderer.size
        self._pixels = np.zeros((height, width, 4), np.uint8)
        self._array = numpy_to_vtk(self._pixels.reshape(-1, 4), deep=False)
        self._image = vtkImageData()
        self._image.SetDimensions(width, height, 1)
        self._image.GetPointData().SetScalars(self._array)
        self._texture = vtkTexture()
        self._texture.SetInputData(self._image)
        self._texture.InterpolateOff()
        quad = vtkPolyData()
        quad.SetPoints(
            pv.vtk_points(np.array([(0, 0, 0), (width, 0, 0), (width, height, 0), (0, height, 0)], np.float32))
        )
        cells = vtkCellArray()
        cells.InsertNextCell(4)
        for i in range(4):
            cells.InsertCellPoint(i)
        quad.SetPolys(cells)
        corners = numpy_to_vtk(np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32), deep=True)
        quad.GetPointData().SetTCoords(corners)
        mapper = vtkPolyDataMapper2D()
        mapper.SetInputData(quad)
        self._actor = vtkTexturedActor2D()
        self._actor.SetMapper(mapper)
        self._actor.SetTexture(self._texture)
        renderer.plotter.renderer.AddViewProp(self._actor)

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Takes (height, width, 4), top row first."""
        self._pixels[:] = picture[::-1]
        self._array.Modified()
        self._image.Modified()
