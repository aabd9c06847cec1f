"""`twinloom view`: the live window. VTK draws in the main thread; the API is followed in a thread of its own.

At most ten updates a second reach the renderer, whatever the plant sends: the feed keeps the latest of each twin and a
timer of the window takes what changed. While the camera moves a coarser level of detail is drawn.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from twinloom.twin.errors import TwinloomError, Unavailable
from twinloom.viewer import queries
from twinloom.viewer.client import Client
from twinloom.viewer.live import Feed, fetch_plant
from twinloom.viewer.palettes import Theme
from twinloom.viewer.past import fetch_past, iso
from twinloom.viewer.plant import Plant
from twinloom.viewer.scene import MIDDLE, Scene, build_scene
from twinloom.viewer.snapshot import FLOOR_ASPECT
from twinloom.viewer.state import HEALTH, RUL, Frame, Overlay

if TYPE_CHECKING:
    from twinloom.viewer.desk import Desk

UPDATE_S = 0.1
BLINK_S = 1.0
DETAILS_S = 2.0
SPARK_POINTS = 60


class Follower:
    """The feed in its own thread and event loop, and questions to the API from the window's thread."""

    def __init__(self, client: Client, paths: tuple[str, ...]) -> None:
        self.client, self.paths = client, paths
        self.feed = Feed(client, paths=(), changed=self._changed)
        self.feed.paths = paths
        self.dirty = threading.Event()
        self._touched: set[str] | None = set()
        self.error: TwinloomError | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="twinloom-feed", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(timeout=10)

    def ask(self, question: Callable[[], Any], answer: Callable[[Any], None]) -> None:
        """Runs a coroutine function over there; `answer` gets its result in that thread. A refusal is dropped."""

        async def run() -> None:
            try:
                answer(await question())
                self.dirty.set()
            except TwinloomError as error:
                self.error = error

        asyncio.run_coroutine_threadsafe(run(), self._loop)

    def take_touched(self) -> set[str] | None:
        """Twins that changed since the last call; None when that may be any. Call it with the feed's lock held."""
        touched, self._touched = self._touched, set()
        return touched

    def _changed(self, plant: Plant, ids: set[str]) -> None:
        with self.feed.lock:
            if len(ids) == len(plant.twins):
                self._touched = None
            elif self._touched is not None:
                self._touched |= ids
        self.dirty.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self.feed.run())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except TwinloomError as error:
            self.error = error
            self.dirty.set()
        finally:
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _stop(self) -> None:
        self._task.cancel()


@dataclass(slots=True)
class Session:
    """Scene, overlay and desk of one window; rebuilt scene when twins come or go."""

    color_by: str
    theme: Theme
    size: tuple[int, int]
    scene: Scene
    overlay: Overlay
    desk: Desk
    frame: Frame | None = None
    past: Plant | None = None
    asked: datetime | None = None
    structure: frozenset[str] = field(default_factory=frozenset)

    def rebuild(self, plant: Plant) -> None:
        """A new scene after twins came or went; what is selected stays so where it still is."""
        fresh = Session.of(plant, self.color_by, self.theme, self.size)
        selected = self.scene.parts[self.desk.selected].twin if self.desk.selected is not None else None
        self.scene, self.overlay, self.structure = fresh.scene, fresh.overlay, fresh.structure
        self.desk.scene = fresh.scene
        self.desk.selected = fresh.scene.row_of.get(selected) if selected is not None else None

    @classmethod
    def of(cls, plant: Plant, color_by: str, theme: Theme, size: tuple[int, int]) -> Session:
        from twinloom.viewer.desk import Desk

        aspect = FLOOR_ASPECT * (size[0] * 0.78 / size[1]) / (16 / 9)
        scene = build_scene((twin.scene_twin() for twin in plant.twins.values()), floor_aspect=aspect)
        overlay = Overlay(scene, plant.rules, color_by)
        return cls(color_by, theme, size, scene, overlay, Desk(scene, size, theme), structure=frozenset(plant.twins))


class Window:
    """One VTK window on a session. Everything here runs in the thread that made it."""

    def __init__(self, follower: Follower, session: Session, *, off_screen: bool = False) -> None:
        from twinloom.viewer.render import Renderer, Sheet

        self.follower, self.session = follower, session
        self.renderer = Renderer(
            session.scene, size=session.size, theme=session.theme, quality="live", off_screen=off_screen
        )
        self.sheet = Sheet(self.renderer)
        self.renderer.look(session.desk.overview())
        self._judged_plant: Plant | None = None
        self.updates = 0
        self._last = 0.0
        self._blink = self._asked = 0.0
        self._moving = False
        self._pressed = (0.0, 0.0)
        self._lit = True

    def plant(self) -> Plant:
        session = self.session
        return session.past if session.desk.past is not None and session.past is not None else self.follower.feed.plant

    def tick(self, *, force: bool = False) -> bool:
        """Takes in what changed, at most every 0.1 s. True when a frame was drawn."""
        now = time.monotonic()
        if not force and now - self._last < UPDATE_S:
            return False
        blink = now - self._blink > BLINK_S / 2 and bool(self.session.frame and self.session.frame.badges)
        if self.session.desk.selected is not None and now - self._asked > DETAILS_S:
            self._ask_for_selected()
        if not (force or blink or self.follower.dirty.is_set()):
            return False
        self._last = now
        if blink:
            self._blink, self._lit = now, not self._lit
        if self.follower.dirty.is_set() or force:
            self.follower.dirty.clear()
            self._travel()
            with self.follower.feed.lock:
                self._judge()
        self.draw()
        return True

    def _judge(self) -> None:
        session, plant = self.session, self.plant()
        touched = self.follower.take_touched()
        if plant is self.follower.feed.plant and session.structure != plant.twins.keys():
            session.rebuild(plant)
            self.renderer.use(session.scene)
        if plant is not self._judged_plant:
            touched = None
        session.frame = session.overlay.frame(plant, touched)
        self._judged_plant = plant
        row = session.desk.selected
        unit = session.scene.parts[row].unit if row is not None else -1
        marked = [] if row is None else [unit if unit >= 0 else row]
        table = session.overlay.colours(session.frame, session.theme, marked)
        limit = session.desk.left_out()
        if (limit < 255).any():
            alpha = table >> 24
            table = (table & 0x00FFFFFF) | (np.minimum(alpha, limit[:, None].astype(np.uint32)) << 24)
        self.renderer.paint(table)
        self.updates += 1

    def draw(self) -> None:
        session = self.session
        if session.frame is None:
            return
        with self.follower.feed.lock:
            canvas = session.desk.paint(
                self.plant(), session.frame, self.renderer.camera(), phase=self.follower.feed.phase, lit=self._lit
            )
        self.sheet.show(np.asarray(canvas.image()))
        self.renderer.draw()

    def _travel(self) -> None:
        """Asks for the past that the slider stands on, once a position."""
        session, wanted = self.session, self.session.desk.past
        if wanted is None:
            session.past = session.asked = None
            return
        if wanted == session.asked:
            return
        session.asked = wanted
        today, client = self.follower.feed.plant, self.follower.client
        paths = self.follower.paths

        def answer(plant: Plant) -> None:
            if session.asked == wanted:
                session.past = plant

        self.follower.ask(lambda: fetch_past(client, wanted, paths, today=today), answer)

    def click(self, x: float, y: float) -> None:
        """A click without a drag, y down: the desk's, else it picks a part."""
        desk = self.session.desk
        if not desk.click(x, y):
            row = self.renderer.pick(x, y)
            desk.select(row)
        self._after_desk()

    def key(self, name: str, *, shift: bool = False) -> None:
        if self.session.desk.key(name, self.plant(), self.renderer.camera, shift=shift):
            self._after_desk()

    def _after_desk(self) -> None:
        wish = self.session.desk.take_camera()
        if wish is not None:
            self.renderer.look(wish)
        self._ask_for_selected()
        self.tick(force=True)

    def _ask_for_selected(self) -> None:
        """Values and recent courses of the selected twin."""
        desk = self.session.desk
        if desk.selected is None:
            return
        twin = self.session.scene.parts[desk.selected].twin
        client = self.follower.client
        self._asked = time.monotonic()

        async def question() -> None:
            from twinloom.viewer.plant import Value

            data = await client.query(queries.TWIN, {"id": twin})
            node = data["twin"]
            if node is None:
                return
            values = [Value.of(value) for value in node["values"]]
            desk.details[twin] = {value.path: value for value in values}
            end = datetime.fromisoformat(iso(desk.past or datetime.now().astimezone()).replace("Z", "+00:00"))
            for value in values:
                if value.number is None:
                    continue
                start = end.timestamp() - 300
                answer = await client.query(
                    queries.HISTORY,
                    {"twin": twin, "path": value.path, "from": iso(datetime.fromtimestamp(start).astimezone()),
                     "to": iso(end), "bucketMs": 6000, "first": SPARK_POINTS},
                )  # fmt: skip
                buckets = answer["history"]["buckets"]
                desk.history[twin, value.path] = [b["avg"] for b in buckets if b["avg"] is not None]

        self.follower.ask(question, lambda _: None)

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Blocks until the window is closed, or until `stop` says so."""
        plotter = self.renderer.plotter
        self.tick(force=True)
        interactor = plotter.iren
        interactor.add_observer("LeftButtonPressEvent", lambda *_: self._press(interactor))
        interactor.add_observer("EndInteractionEvent", lambda *_: self._rest())
        interactor.add_observer("InteractionEvent", lambda *_: self._move())
        interactor.add_observer("LeftButtonReleaseEvent", lambda *_: self._release(interactor))
        interactor.add_observer("KeyPressEvent", lambda *_: self._typed(interactor))
        style = interactor.interactor.GetInteractorStyle()
        style.RemoveObservers("CharEvent")  # VTK's own keys (w, s, q, ...) would fight with ours
        while not stop():
            interactor.interactor.ProcessEvents()
            if interactor.interactor.GetDone() or plotter.render_window is None:
                break
            if self.follower.error is not None and self.follower.feed.snapshots == 0:
                raise self.follower.error
            if not self.tick():
                time.sleep(0.01)

    def _press(self, interactor: Any) -> None:
        self._pressed = interactor.get_event_position()

    def _release(self, interactor: Any) -> None:
        x, y = interactor.get_event_position()
        if abs(x - self._pressed[0]) + abs(y - self._pressed[1]) <= 4:
            self.click(x, self.session.size[1] - 1 - y)

    def _move(self) -> None:
        if not self._moving and self.renderer.layer.triangles > 120_000:
            self.renderer.show_level(max(MIDDLE, self.renderer.level))
        self._moving = True

    def _rest(self) -> None:
        if self._moving:
            self._moving = False
            self.renderer.show_level(self.renderer.level_for_speed())
            self.draw()

    def _typed(self, interactor: Any) -> None:
        raw = interactor.interactor
        self.key(raw.GetKeySym() or "", shift=bool(raw.GetShiftKey()))

    def close(self) -> None:
        self.renderer.close()


def view(
    url: str,
    token: str | None = None,
    *,
    color_by: str = RUL,
    theme: Theme = "dark",
    size: tuple[int, int] = (1600, 900),
) -> None:
    """Opens the window on the plant behind `url` and returns when it is closed.

    Raises Unavailable where there is no display, Unavailable or Unauthenticated for the service.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and os.name == "posix":
        raise Unavailable("there is no display to open a window on", remedy="use `twinloom snapshot`, or set DISPLAY")
    if importlib.util.find_spec("pyvista") is None:
        raise Unavailable("the window needs pyvista", remedy="pip install 'twinloom[viewer]'")
    client = Client(url, token or "")
    paths = () if color_by in (RUL, HEALTH) else (color_by,)
    plant = asyncio.run(fetch_plant(client, paths))
    with Follower(client, paths) as follower:
        follower.feed.plant = plant
        window = Window(follower, Session.of(plant, color_by, theme, size))
        try:
            window.run()
        finally:
            window.close()
