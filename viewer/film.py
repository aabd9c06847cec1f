"""GIF and MP4: the last minutes of a plant as a short film, each frame the plant as it was then."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinloom.twin.errors import BadFile, BadRequest
from twinloom.viewer import probe
from twinloom.viewer.client import Client
from twinloom.viewer.live import fetch_plant
from twinloom.viewer.past import fetch_past
from twinloom.viewer.plant import Plant
from twinloom.viewer.snapshot import Shot, SnapshotReport, Studio, report_of, scene_of, write
from twinloom.viewer.state import HEALTH, RUL, Overlay

FRAMES_PER_S = 6
MAX_FRAMES = 300


def film(
    client: Client,
    out: Path,
    shot: Shot,
    *,
    color_by: str = RUL,
    until: datetime | None = None,
    span: timedelta = timedelta(minutes=5),
    frames: int = 24,
) -> SnapshotReport:
    """Replays the `span` before `until` (now without it) into `out`; the report is of the last frame.

    Raises BadRequest for a span or number of frames that makes no film, Unavailable and BadFile as a picture does.
    """
    if not 2 <= frames <= MAX_FRAMES or span <= timedelta(0):
        raise BadRequest(f"{frames} frames over {span} make no film", remedy=f"use 2 to {MAX_FRAMES} frames and a span")
    end = until or datetime.now(UTC)
    plants = asyncio.run(_plants(client, color_by, end, span, frames))
    probe.ready()
    scene = scene_of(plants[-1], shot)
    overlay = Overlay(scene, plants[-1].rules, color_by)
    with Studio(scene, shot) as studio:
        pictures = (studio.picture(plant, overlay, overlay.frame(plant)) for plant in plants)
        write(out, _gif(pictures) if out.suffix.lower() == ".gif" else _mp4(out, pictures, shot.size))
    return report_of(plants[-1], scene, overlay.frame(plants[-1]), out, shot.size)


async def _plants(client: Client, color_by: str, end: datetime, span: timedelta, frames: int) -> list[Plant]:
    paths = () if color_by in (RUL, HEALTH) else (color_by,)
    today = await fetch_plant(client, paths)
    times = [end - span * (1 - i / (frames - 1)) for i in range(frames)]
    return [await fetch_past(client, time, paths, today=today) for time in times]


def _gif(pictures: Iterator[NDArray[np.uint8]]) -> bytes:
    from PIL import Image

    stills = [Image.fromarray(picture).quantize(128, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    stills[0].save(
        buffer, "GIF", save_all=True, append_images=stills[1:], duration=1000 // FRAMES_PER_S, loop=0, optimize=True
    )
    return buffer.getvalue()


def _mp4(out: Path, pictures: Iterator[NDArray[np.uint8]], size: tuple[int, int]) -> bytes:
    """H.264 by the ffmpeg that imageio-ffmpeg brings; odd sizes lose a row or column, as the codec wants."""
    try:
        import imageio_ffmpeg  # type: ignore[import-untyped]
    except ImportError as error:
        raise BadFile(str(out), "needs imageio-ffmpeg", remedy="pip install 'twinloom[viewer]'") from error
    width, height = size[0] // 2 * 2, size[1] // 2 * 2
    with tempfile.TemporaryDirectory(prefix="twinloom-film-") as folder:
        file = Path(folder, "film.mp4")
        writer = imageio_ffmpeg.write_frames(
            str(file), (width, height), fps=FRAMES_PER_S, quality=7, macro_block_size=2, ffmpeg_log_level="error"
        )
        writer.send(None)
        try:
            for picture in pictures:
                writer.send(np.ascontiguousarray(picture[:height, :width]).tobytes())
        finally:
            writer.close()
        return file.read_bytes()
