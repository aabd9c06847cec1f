"""`twinloom snapshot`: one picture of the plant as it is now, or was, without a display.

Asks the API for everything, judges it (`state`), draws the scene (`render`) and the overlay (`drawing`).
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from twinloom.twin.errors import BadFile, BadRequest
from twinloom.twin.instance import Json
from twinloom.viewer import probe
from twinloom.viewer.camera import PRESETS, Camera, corners, fitted
from twinloom.viewer.client import Client
from twinloom.viewer.framing import about, anchor_of, camera_on, clock, screen_boxes, tags, titles
from twinloom.viewer.live import fetch_plant
from twinloom.viewer.palettes import CHROME, State, Theme
from twinloom.viewer.plant import Plant
from twinloom.viewer.scene import Problem, Scene, build_scene, scene_glb
from twinloom.viewer.state import HEALTH, RUL, Badge, Frame, Overlay

if TYPE_CHECKING:
    from twinloom.viewer.canvas import Canvas, Rect
    from twinloom.viewer.labels import Placed
    from twinloom.viewer.render import Renderer

FILMS = (".gif", ".mp4")
FLOOR_ASPECT = 1.75
"""Sites are packed to width : depth = this at 16:9; the view from above shortens depth."""


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """What a picture shows and what it could not. `counts` by state's name (critical, warning, stale, ...)."""

    out: Path
    size: tuple[int, int]
    seq: int
    time: str
    twins: int
    parts: int
    counts: dict[str, int]
    badges: tuple[str, ...]
    problems: tuple[str, ...]
    historical: bool = False

    def as_json(self) -> dict[str, Json]:
        return {
            "out": str(self.out), "size": list(self.size), "seq": self.seq, "time": self.time, "twins": self.twins,
            "parts": self.parts, "counts": self.counts, "badges": list(self.badges), "problems": list(self.problems),
            "historical": self.historical,
        }  # fmt: skip

    def __str__(self) -> str:
        states = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.counts.items())
        lines = [
            f"{self.out}: {self.twins} twins at seq {self.seq}, {clock(self.time)}" + (f" ({states})" if states else "")
        ]
        lines += [f"  {badge}" for badge in self.badges]
        lines += [f"  note: {problem}" for problem in self.problems[:10]]
        if len(self.problems) > 10:
            lines.append(f"  note: and {len(self.problems) - 10} more of these")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Shot:
    """How a picture is taken. `camera`: a preset, a twin id to go close to, or a Camera."""

    size: tuple[int, int] = (1600, 900)
    theme: Theme = "light"
    camera: str | Camera = "overview"
    close_up: bool = True
    meshes: tuple[Path, ...] = ()
    mesh_folder: Path | None = None
    up: Literal["y", "z"] = "y"
    unit_m: float = 1.0


def snapshot(
    url: str,
    token: str | None,
    out: Path,
    *,
    color_by: str = RUL,
    theme: Theme = "light",
    size: tuple[int, int] = (1600, 900),
    camera: str | Camera = "overview",
    at: datetime | None = None,
    span: timedelta = timedelta(minutes=5),
    frames: int = 24,
    close_up: bool = True,
    meshes: Sequence[Path] = (),
    mesh_folder: Path | None = None,
    up: Literal["y", "z"] = "y",
    unit_m: float = 1.0,
) -> SnapshotReport:
    """Draws the plant behind `url` into `out` (PNG, GLB, GIF or MP4) and says what is on it. Blocks.

    `color_by`: "rul", "health" or a numeric property such as "temperature"; `at`: a past time instead of now.
    A GIF or MP4 replays the `span` before that in `frames` pictures.
    Raises Unavailable (service or renderer), Unauthenticated, BadRequest, BadFile.
    """
    out = Path(out)
    if out.suffix.lower() not in (".png", ".glb", *FILMS):
        raise BadRequest(f"{out.name} is no picture that can be made", remedy="name it .png, .glb, .gif or .mp4")
    if not (160 <= size[0] <= 8192 and 120 <= size[1] <= 8192):
        raise BadRequest(f"{size[0]} x {size[1]} pixels is no size", remedy="use 160 x 120 to 8192 x 8192")
    if out.parent != Path() and not out.parent.is_dir():
        raise BadFile(str(out), f"the folder {out.parent} does not exist", remedy="make it, or give another name")
    if theme not in ("light", "dark"):
        raise BadRequest(f"{theme!r} is no theme", remedy="use light or dark")
    shot = Shot(size, theme, camera, close_up, tuple(meshes), mesh_folder, up, unit_m)
    if out.suffix.lower() in FILMS:
        from twinloom.viewer.film import film

        return film(Client(url, token or ""), out, shot, color_by=color_by, until=at, span=span, frames=frames)
    plant = asyncio.run(_plant(url, token, color_by, at))
    return draw_plant(plant, out, color_by=color_by, shot=shot)


async def _plant(url: str, token: str | None, color_by: str, at: datetime | None) -> Plant:
    client = Client(url, token or "")
    paths = () if color_by in (RUL, HEALTH) else (color_by,)
    if at is not None:
        from twinloom.viewer.past import fetch_past

        return await fetch_past(client, at, paths)
    return await fetch_plant(client, paths)


def scene_of(plant: Plant, shot: Shot) -> Scene:
    """The plant's scene, its sites packed to the picture's shape."""
    aspect = FLOOR_ASPECT * (shot.size[0] / shot.size[1]) / (16 / 9)
    twins = (twin.scene_twin() for twin in plant.twins.values())
    return build_scene(
        twins, meshes=shot.meshes, mesh_folder=shot.mesh_folder, up=shot.up, unit_m=shot.unit_m, floor_aspect=aspect
    )


def draw_plant(plant: Plant, out: Path, *, color_by: str = RUL, shot: Shot | None = None) -> SnapshotReport:
    """The picture of a plant that is already known."""
    shot = shot or Shot()
    scene = scene_of(plant, shot)
    overlay = Overlay(scene, plant.rules, color_by)
    frame = overlay.frame(plant)
    if out.suffix.lower() == ".glb":
        write(out, scene_glb(scene))
    else:
        probe.ready()
        from PIL import Image

        with Studio(scene, shot) as studio:
            picture = studio.picture(plant, overlay, frame)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        write(out, buffer.getvalue())
    return report_of(plant, scene, frame, out, shot.size)


def inspect(
    url: str,
    token: str | None,
    *,
    meshes: Sequence[Path] = (),
    mesh_folder: Path | None = None,
    up: Literal["y", "z"] = "y",
    unit_m: float = 1.0,
) -> tuple[Problem, ...]:
    """`twinloom scene check`: what the scene of the plant behind `url` lacks or had to set right."""
    plant = asyncio.run(fetch_plant(Client(url, token or "")))
    return scene_of(plant, Shot(meshes=tuple(meshes), mesh_folder=mesh_folder, up=up, unit_m=unit_m)).problems


def report_of(plant: Plant, scene: Scene, frame: Frame, out: Path, size: tuple[int, int]) -> SnapshotReport:
    """What was drawn."""
    names = [State(i).name.lower() for i in range(len(State))]
    counted = np.bincount(frame.states, minlength=len(State))
    return SnapshotReport(
        out=out,
        size=size,
        seq=plant.seq,
        time=plant.historical or plant.time,
        twins=len(plant.twins),
        parts=len(scene.parts),
        counts={name: int(count) for name, count in zip(names, counted, strict=True) if count and name != "context"},
        badges=tuple(badge.text for badge in frame.badges),
        problems=(*_sentences(scene.problems), *frame.problems),
        historical=bool(plant.historical),
    )


def _sentences(problems: Sequence[Problem]) -> list[str]:
    return [problem.message for problem in problems]


def write(out: Path, data: bytes) -> None:
    """Writes a file. Raises BadFile when that is not possible."""
    try:
        out.write_bytes(data)
    except OSError as error:
        raise BadFile(
            str(out), f"cannot be written ({error.strerror})", remedy="give a folder that you may write to"
        ) from error


class Studio:
    """Takes pictures of one scene; keeps the renderer for the next one. Use it as a context."""

    def __init__(self, scene: Scene, shot: Shot) -> None:
        from twinloom.viewer.render import Renderer

        self.scene, self.shot = scene, shot
        self.renderer: Renderer = Renderer(scene, size=shot.size, theme=shot.theme, quality="report")

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *_: object) -> None:
        self.renderer.close()

    def picture(self, plant: Plant, overlay: Overlay, frame: Frame) -> NDArray[np.uint8]:
        """(height, width, 3) of the plant as judged."""
        from twinloom.viewer import drawing, labels
        from twinloom.viewer.canvas import Canvas

        shot, scene = self.shot, self.scene
        self.renderer.paint(overlay.colours(frame, shot.theme))
        canvas = Canvas(shot.size, shot.theme, unit=min(shot.size[1] / 900, shot.size[0] / 1200))
        if plant.historical:
            drawing.draw_banner(
                canvas, f"HISTORICAL  ·  the plant as it was at {clock(plant.historical)}", CHROME[shot.theme].banner
            )
        elif plant.lost_since:
            drawing.draw_banner(canvas, f"NOT LIVE  ·  no connection since {clock(plant.lost_since)}", "#7a1f1f")
        camera = self._camera()
        self.renderer.look(camera)
        picture = self.renderer.image()
        busy = screen_boxes(scene, camera, shot.size)
        drawing.draw_tags(canvas, tags(scene, camera, shot.size, canvas.unit))
        banner = canvas.px(40) if plant.historical or plant.lost_since else 0.0
        drawing.draw_title(canvas, *titles(plant, scene), top=banner, busy=busy)
        drawing.draw_legend(canvas, frame.legend, busy)
        if shot.close_up and shot.camera in ("overview", "all") and frame.badges and len(scene.parts) >= 12:
            picture = self._pin(canvas, picture, plant, frame.badges[0], busy)
        spots = [(badge, anchor_of(scene, badge.row, camera, shot.size)) for badge in frame.badges]
        seen = [(badge, at) for badge, at in spots if at is not None]
        placed: list[Placed] = labels.place_badges(canvas, seen, busy)
        drawing.draw_badges(canvas, placed)
        return drawing.over(picture, canvas.image())

    def _camera(self) -> Camera:
        camera, scene, size = self.shot.camera, self.scene, self.shot.size
        if isinstance(camera, Camera):
            return camera
        if camera in scene.row_of:
            return camera_on(scene, scene.row_of[camera], size)
        if camera not in (*PRESETS, "all"):
            raise BadRequest(
                f"{camera!r} is neither a view nor a twin of the scene", remedy=f"use {', '.join(PRESETS)} or a twin id"
            )
        margins = (0.03, 0.13, 0.03, 0.05)
        return fitted(
            corners(scene.bounds_of if len(scene.parts) else scene.bounds),
            size,
            view="overview" if camera == "all" else camera,
            margins=margins,
        )

    def _pin(
        self, canvas: Canvas, picture: NDArray[np.uint8], plant: Plant, badge: Badge, busy: list[Rect]
    ) -> NDArray[np.uint8]:
        """The machine of the worst badge, close, where the overview leaves room; what is known of it below."""
        from twinloom.viewer import drawing, labels

        w, h = round(canvas.px(300)), round(canvas.px(220))
        told = about(plant.twins[self.scene.parts[badge.row].twin], badge, self.scene.label_of(badge.row))
        lines = [line for text in told for line in drawing.wrapped(canvas, text, 12.5, w - canvas.px(24))]
        box = labels.roomiest(canvas, (w, h + canvas.px(14 + 19 * len(lines))), busy)
        if box is None:
            return picture
        unit = self.scene.parts[badge.row].unit
        self.renderer.look(camera_on(self.scene, unit if unit >= 0 else badge.row, (w, h), margin=0.08))
        small = self.renderer.image((w, h))
        return drawing.pin(canvas, picture, small, box, lines, badge.state)
