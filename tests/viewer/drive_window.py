"""Run by test_window.py in a process of its own, on a display: opens the live window and plays an engineer.

argv: url, token, folder for pictures. Prints one JSON object of what was seen.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from PIL import Image

from twinloom.viewer.client import Client
from twinloom.viewer.live import fetch_plant
from twinloom.viewer.window import Follower, Session, Window


def main(url: str, token: str, folder: Path) -> None:
    client = Client(url, token)
    plant = asyncio.run(fetch_plant(client))
    seen: dict[str, object] = {}
    with Follower(client, ()) as follower:
        follower.feed.plant = plant
        window = Window(follower, Session.of(plant, "rul", "dark", (1200, 700)))
        begun = time.monotonic()
        steps = iter(("live", "a", "pick", "Escape", "slash", "p", "u", "m", "p", "Return", "space", "space", "end"))
        due = begun

        def stop() -> bool:
            nonlocal due
            now = time.monotonic()
            if now - begun > 60:
                raise TimeoutError("the window did not get through its steps")
            if now < due or follower.feed.phase != "live":
                return False
            step = next(steps)
            due = now + 0.25
            raw = window.renderer.plotter.iren.interactor
            if step == "live":
                Image.fromarray(window.renderer.image()).save(folder / "live.png")
            elif step == "pick":
                x, y = window.session.desk.view[0] // 2, 330
                raw.SetEventInformation(x, 700 - 1 - y, 0, 0, "\0", 0, None)
                raw.InvokeEvent("LeftButtonPressEvent")
                raw.InvokeEvent("LeftButtonReleaseEvent")
                row = window.session.desk.selected
                seen["picked"] = window.session.scene.parts[row].twin if row is not None else None
                due = now + 1.5
            elif step == "end":
                seen["back_live"] = window.session.desk.past is None
                return True
            else:
                raw.SetKeySym(step)
                raw.InvokeEvent("KeyPressEvent")
                row = window.session.desk.selected
                seen[f"after_{step}"] = window.session.scene.parts[row].twin if row is not None else None
                if step == "space" and "past" not in seen:
                    seen["past"] = window.session.desk.past is not None
                    due = now + 1.0
                    Image.fromarray(window.renderer.image()).save(folder / "past.png")
            return False

        window.run(stop)
        seen["updates"] = window.updates
        seen["seconds"] = time.monotonic() - begun
        seen["class"] = window.renderer.plotter.render_window.GetClassName()
        window.close()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
