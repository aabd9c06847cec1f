"""What the live window shows beside the scene and what a key or a click means: state and layout, no VTK.

A desk is told of keys and clicks in pixels and keeps: selection, search, layers, bookmarks, live or a past time. The
window draws `paint()` over the scene and reads the camera wish with `take_camera()`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from twinloom.viewer.camera import PRESETS, Camera, corners, fitted
from twinloom.viewer.canvas import Canvas, Rect
from twinloom.viewer.drawing import draw_badges, draw_banner, draw_legend, draw_tags, draw_title, shortened
from twinloom.viewer.framing import anchor_of, camera_on, clock, screen_boxes, tags, titles
from twinloom.viewer.labels import place_badges
from twinloom.viewer.palettes import CHROME, LOOKS, State, Theme
from twinloom.viewer.plant import Plant, Value
from twinloom.viewer.scene import Scene
from twinloom.viewer.state import Frame
from twinloom.viewer.wording import SEVERITY, life_left, quantity

PANEL_PX = 330
SLIDER_HOURS = 8.0
KEYS = "/ search · a next alert · o overview · 1-4 layers · F1-F4 bookmarks (shift stores) · space live/past · esc back"
LAYERS = ("components", "machines", "floors", "badges")


@dataclass(slots=True)
class Area:
    """A rectangle that can be clicked."""

    box: Rect
    act: Callable[[float, float], None]


@dataclass(slots=True)
class Desk:
    """The window's own state. `past` is the time looked at, None for live; `details` and `history`: the
    selected twin's values and sparkline points by path, as last asked for."""

    scene: Scene
    size: tuple[int, int]
    theme: Theme = "dark"
    selected: int | None = None
    search: str | None = None
    past: datetime | None = None
    hidden: set[str] = field(default_factory=set)
    details: dict[str, dict[str, Value]] = field(default_factory=dict)
    history: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    bookmarks: dict[int, Camera] = field(default_factory=dict)
    panel_open: bool = True
    scroll: int = 0
    _wish: Camera | None = None
    _areas: list[Area] = field(default_factory=list)
    _alert: int = -1
    _now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def view(self) -> tuple[int, int]:
        """The pixels left for the scene beside the panel."""
        return self.size[0] - (PANEL_PX if self.panel_open else 0), self.size[1]

    def take_camera(self) -> Camera | None:
        """The camera that a click or key asked for, once."""
        wish, self._wish = self._wish, None
        return wish

    def overview(self, preset: str = "overview") -> Camera:
        """Everything, in the part of the window that the panel leaves free."""
        free = self.view[0] / self.size[0]
        boxes = self.scene.bounds_of if len(self.scene.parts) else self.scene.bounds
        return fitted(corners(boxes), self.size, view=preset, margins=(0.03, 0.13, 1 - free + 0.02, 0.1))

    def select(self, row: int | None, *, zoom: bool = False) -> None:
        self.selected = row
        if row is not None and zoom:
            unit = self.scene.parts[row].unit
            self._wish = camera_on(self.scene, unit if unit >= 0 else row, self.size, margin=0.24)

    def click(self, x: float, y: float) -> bool:
        """True when the click was for the desk and not for the scene."""
        for area in reversed(self._areas):
            x0, y0, x1, y1 = area.box
            if x0 <= x <= x1 and y0 <= y <= y1:
                area.act(x, y)
                return True
        return self.panel_open and x > self.view[0]

    def key(self, name: str, plant: Plant, now: Callable[[], Camera], *, shift: bool = False) -> bool:
        """A key by its Tk/VTK name; True when it meant something."""
        if self.search is not None:
            return self._type(name)
        if name in ("slash", "/"):
            self.search = ""
        elif name == "Escape":
            self.search, self.selected, self._wish = None, None, self.overview()
        elif name in ("o", "Home"):
            self._wish = self.overview()
        elif name == "a":
            self._next_alert(plant)
        elif name == "Tab":
            self.panel_open = not self.panel_open
        elif name == "space":
            self.past = None if self.past is not None else datetime.now(UTC) - timedelta(minutes=1)
        elif name in ("Left", "Right") and self.past is not None:
            self.past = min(self.past + timedelta(seconds=-10 if name == "Left" else 10), datetime.now(UTC))
        elif name in ("1", "2", "3", "4"):
            self.hidden ^= {LAYERS[int(name) - 1]}
        elif name in ("F1", "F2", "F3", "F4"):
            number = int(name[1])
            if shift:
                self.bookmarks[number] = now()
            else:
                self._wish = self.bookmarks.get(number) or self.overview(PRESETS[number - 1])
        else:
            return False
        return True

    def matches(self) -> list[int]:
        """Rows whose label or twin id has the searched text, best first."""
        text = (self.search or "").lower().strip()
        if not text:
            return []
        found = []
        for row, part in enumerate(self.scene.parts):
            label = self.scene.label_of(row).lower()
            if text in label or text in part.twin.lower():
                found.append((not label.startswith(text), len(label), row))
        return [row for *_, row in sorted(found)[:12]]

    def left_out(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """(parts,) alpha limit by layer: 255 drawn, 127 see-through, 0 left out."""
        limit = np.full(len(self.scene.parts), 255, np.uint8)
        for row, part in enumerate(self.scene.parts):
            if part.role == "component" and "components" in self.hidden:
                limit[row] = 0
            elif part.role == "unit" and "machines" in self.hidden:
                limit[row] = 127  # glass machines: what is inside shows
            elif part.role in ("site", "line") and "floors" in self.hidden:
                limit[row] = 0
        return limit

    def paint(self, plant: Plant, frame: Frame, camera: Camera, *, phase: str = "live", lit: bool = True) -> Canvas:
        """The overlay for this instant."""
        self._areas.clear()
        self._now = datetime.now(UTC)
        canvas = Canvas(self.size, self.theme, unit=min(1.0, self.size[1] / 800))
        if self.panel_open:
            canvas.taken.append((self.view[0] - 8.0, 0.0, float(self.size[0]), float(self.size[1])))
        if plant.historical or self.past is not None:
            when = plant.historical or (self.past.isoformat() if self.past else "")
            draw_banner(canvas, f"HISTORICAL  ·  {clock(when)}  ·  space: back to live", CHROME[self.theme].banner)
        elif plant.lost_since:
            draw_banner(canvas, f"NOT LIVE  ·  stale since {clock(plant.lost_since)}  ·  reconnecting", "#a32020")
        offset = canvas.px(40) if canvas.taken and canvas.taken[-1][1] == 0 and canvas.taken[-1][0] == 0 else 0
        busy = screen_boxes(self.scene, camera, self.size)
        draw_tags(canvas, [t for t in tags(self.scene, camera, self.size, canvas.unit) if t.at[0] < self.view[0] - 60])
        title, subtitle = titles(plant, self.scene)
        if self.past is not None and not plant.historical:
            subtitle = "loading the past"
        draw_title(canvas, title, subtitle if phase != "connecting" else "connecting", top=offset, busy=busy)
        self._slider(canvas, plant)
        draw_legend(canvas, frame.legend, busy)
        if "badges" not in self.hidden:
            spots = [(badge, anchor_of(self.scene, badge.row, camera, self.size)) for badge in frame.badges]
            inside = [(badge, at) for badge, at in spots if at is not None and at[0] < self.view[0] - 8]
            placed = place_badges(canvas, inside, busy)
            draw_badges(canvas, placed, lit=lit)
            for item in placed:
                self._areas.append(Area(item.box, self._zoom_to(item.badge.row)))
        canvas.flush()
        if self.panel_open:
            self._panel(canvas, plant)
            canvas.flush()
        if self.search is not None:
            self._search(canvas)
        return canvas

    def _zoom_to(self, row: int) -> Callable[[float, float], None]:
        return lambda x, y: self.select(row, zoom=True)

    def _next_alert(self, plant: Plant) -> None:
        rows = [row for alert in plant.standing() if (row := self.scene.row_of.get(alert.twin)) is not None]
        if rows:
            self._alert = (self._alert + 1) % len(rows)
            self.select(rows[self._alert], zoom=True)

    def _type(self, name: str) -> bool:
        assert self.search is not None
        if name == "Escape":
            self.search = None
        elif name == "Return":
            found = self.matches()
            self.search = None
            if found:
                self.select(found[0], zoom=True)
        elif name == "BackSpace":
            self.search = self.search[:-1]
        elif name == "space":
            self.search += " "
        elif name in ("minus", "slash"):
            self.search += {"minus": "-", "slash": "/"}[name]
        elif len(name) == 1 and name.isprintable():
            self.search += name
        return True

    def _panel(self, canvas: Canvas, plant: Plant) -> None:
        chrome = CHROME[self.theme]
        x0 = float(self.view[0])
        canvas.panel((x0, -10, self.size[0] + 20.0, self.size[1] + 10.0), chrome.panel, chrome.edge, radius=0)
        x, y, right = x0 + 18, 20.0, self.size[0] - 16.0
        alerts = plant.standing()
        canvas.text((x, y), f"Alerts  {len(alerts)}", canvas.font(16, True), chrome.text)
        y += 32
        room = self.size[1] * (0.42 if self.selected is not None else 0.85)
        for alert in alerts:
            if y > room:
                canvas.text(
                    (x, y), f"and {len(alerts) - int((room - 52) // 46) - 1} more", canvas.font(12), chrome.faint
                )
                y += 20
                break
            row = self.scene.row_of.get(alert.twin)
            look = LOOKS[self.theme][SEVERITY.get(alert.severity, State.NOTICE)]
            box = (x0 + 8, y - 6, right + 8, y + 36)
            if row is not None and row == self.selected:
                canvas.panel(box, chrome.ground_far, chrome.edge, shadow=False)
            canvas.panel((x, y, x + 5, y + 30), look.colour, shadow=False, radius=2)
            name = self.scene.label_of(row) if row is not None else alert.twin
            canvas.text(
                (x + 14, y - 1), shortened(canvas, name, 13, right - x - 90), canvas.font(13, True), chrome.text
            )
            canvas.text((right, y), alert.raised_at[11:19], canvas.font(11), chrome.faint, "ra")
            message = alert.message.removeprefix(f"{alert.twin}: ")
            canvas.text(
                (x + 14, y + 16), shortened(canvas, message, 11.5, right - x - 14), canvas.font(11.5), chrome.faint
            )
            if row is not None:
                self._areas.append(Area(box, self._zoom_to(row)))
            y += 46
        if not alerts:
            canvas.text((x, y), "nothing is wrong", canvas.font(12.5), chrome.faint)
            y += 30
        if self.selected is not None:
            self._card(canvas, plant, max(y + 14, self.size[1] * 0.45))
        else:
            for i, line in enumerate(KEYS.split(" · ")):
                canvas.text((x, self.size[1] - 26 - 17 * (6 - i)), line, canvas.font(11), chrome.faint)

    def _card(self, canvas: Canvas, plant: Plant, y: float) -> None:
        """Properties of the selected twin, each with its recent course."""
        chrome = CHROME[self.theme]
        assert self.selected is not None
        part = self.scene.parts[self.selected]
        twin = plant.twins.get(part.twin)
        x, right = self.view[0] + 18.0, self.size[0] - 16.0
        canvas.panel((x - 10, y - 12, right + 10, y - 11), chrome.edge, shadow=False, radius=0)
        canvas.text((x, y), self.scene.label_of(self.selected), canvas.font(16, True), chrome.text)
        canvas.text((x, y + 22), shortened(canvas, part.twin, 11, right - x), canvas.font(11), chrome.faint)
        y += 46
        if twin is None:
            return
        if twin.stale:
            canvas.text((x, y), f"stale since {clock(twin.stale_since)}", canvas.font(12, True), chrome.banner)
            y += 20
        if twin.rul is not None:
            text = f"{life_left(twin.rul.days)}   (90 %: {twin.rul.low:.0f} to {twin.rul.high:.0f} d)"
            canvas.text((x, y), text, canvas.font(13, True), chrome.text)
            canvas.text(
                (x, y + 18),
                shortened(canvas, twin.rul.recommendation, 11.5, right - x),
                canvas.font(11.5),
                chrome.faint,
            )
            y += 44
        values = {**self.details.get(twin.id, {}), **twin.values} if self.past is None else twin.values
        if not values:
            canvas.text((x, y), "no values yet", canvas.font(12), chrome.faint)
        for path, value in sorted(values.items()):
            if y > self.size[1] - 40:
                break
            if isinstance(value.value, dict | list) or path == "name":
                continue
            shown = quantity(value.number, value.symbol) if value.number is not None else str(value.value)
            ink = chrome.text if value.quality == "GOOD" and not value.stale else chrome.banner
            canvas.text((x, y), shortened(canvas, path.replace("_", " "), 11.5, 98), canvas.font(11.5), chrome.faint)
            canvas.text((x + 196, y), shortened(canvas, shown, 12, 96), canvas.font(12, True), ink, "ra")
            points = self.history.get((twin.id, path), [])
            if len(points) > 1:
                self._sparkline(canvas, points, (x + 208, y - 2, right, y + 16))
            y += 24

    def _sparkline(self, canvas: Canvas, points: Sequence[float], box: Rect) -> None:
        values = np.asarray(points[-60:], float)
        low, high = float(values.min()), float(values.max())
        x = np.linspace(box[0], box[2], len(values))
        y = box[3] - (values - low) / (high - low or 1.0) * (box[3] - box[1])
        for i in range(len(values) - 1):
            canvas.line((x[i], y[i]), (x[i + 1], y[i + 1]), CHROME[self.theme].select, 1.3)

    def _search(self, canvas: Canvas) -> None:
        chrome = CHROME[self.theme]
        width, x = 420.0, (self.view[0] - 420) / 2
        rows = self.matches()
        canvas.panel((x, 60, x + width, 104 + 26 * len(rows)), chrome.panel, chrome.edge)
        canvas.text((x + 16, 72), f"Find: {self.search}▏", canvas.font(15, True), chrome.text)
        for i, row in enumerate(rows):
            y = 104.0 + 26 * i
            canvas.text((x + 16, y), self.scene.label_of(row), canvas.font(13), chrome.text)
            canvas.text(
                (x + width - 16, y + 1),
                shortened(canvas, self.scene.parts[row].twin, 11, 200),
                canvas.font(11),
                chrome.faint,
                "ra",
            )
            self._areas.append(Area((x, y - 4, x + width, y + 20), self._found(row)))

    def _found(self, row: int) -> Callable[[float, float], None]:
        def act(x: float, y: float) -> None:
            self.search = None
            self.select(row, zoom=True)

        return act

    def _slider(self, canvas: Canvas, plant: Plant) -> None:
        """The time line of the last hours; a click on it goes there, on its right end back to live."""
        chrome = CHROME[self.theme]
        x0, x1, y = self.view[0] * 0.36, self.view[0] - 118.0, self.size[1] - 34.0
        ago = (self._now - self.past).total_seconds() / 3600 if self.past else 0.0
        share = 1.0 - _share_of(ago)
        live = self.past is None
        canvas.panel((x0, y - 2, x1, y + 2), chrome.edge, shadow=False, radius=2)
        knob = x0 + share * (x1 - x0)
        colour = chrome.select if live else chrome.banner
        canvas.panel((x0, y - 2, knob, y + 2), colour, shadow=False, radius=2)
        canvas.panel((knob - 7, y - 7, knob + 7, y + 7), colour, shadow=False, radius=7)
        for hours in (8.0, 1.0, 0.25, 1 / 60):
            at = x0 + (1 - _share_of(hours)) * (x1 - x0)
            label = f"{hours:g} h" if hours >= 1 else f"{hours * 60:.0f} min"
            canvas.text((at, y + 10), label, canvas.font(10.5), chrome.faint, "ma")
        canvas.text((x1 + 14, y), "LIVE" if live else "back to live", canvas.font(12, True), colour, "lm")
        canvas.taken.append((x0 - 10, y - 14, x1 + 112, y + 30))
        self._areas.append(Area((x0 - 8, y - 12, x1, y + 12), lambda x, _: self._scrub((x - x0) / (x1 - x0))))
        self._areas.append(Area((x1 + 4, y - 14, x1 + 112, y + 14), lambda x, _: self._scrub(1.0)))

    def _scrub(self, share: float) -> None:
        hours = _hours_at(1.0 - min(max(share, 0.0), 1.0))
        self.past = None if hours * 3600 < 2 else datetime.now(UTC) - timedelta(hours=hours)


def _share_of(hours: float) -> float:
    """Where `hours` ago lies on the slider, 0 (now) to 1 (eight hours): logarithmic, so that minutes have room."""
    return min(1.0, math.log1p(hours * 240) / math.log1p(SLIDER_HOURS * 240))


def _hours_at(share: float) -> float:
    return math.expm1(share * math.log1p(SLIDER_HOURS * 240)) / 240
