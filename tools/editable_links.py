"""Build hook: an editable install sees folder X as twinloom.X.

Hatchling maps folders to packages only when it builds a wheel. For `pip install -e .` this hook makes
`.editable/twinloom/<room>` a symbolic link to `<room>`; `dev-mode-dirs` puts `.editable` on the path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EditableLinks(BuildHookInterface):  # type: ignore[type-arg]
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            return
        package = Path(self.root, ".editable", "twinloom")
        package.mkdir(parents=True, exist_ok=True)
        rooms = {Path(target).name: Path(source) for source, target in self.build_config.sources.items()}
        for link in package.iterdir():
            if link.is_symlink() and link.name not in rooms:
                link.unlink()
        for name, folder in rooms.items():
            link = package / name
            if not link.is_symlink():
                link.symlink_to(Path("..", "..") / folder, target_is_directory=True)
