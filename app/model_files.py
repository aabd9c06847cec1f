"""DTDL files (*.json) to import: one, or a folder of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from twinloom.app.loading import Item, ModelItem, Report
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import BadFile


class ModelFiles:
    """Models of which the store keeps those that it does not have yet: all of them or none."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        self._path = path

    def items(self, models: Callable[[], Models], report: Report) -> Iterator[Item]:
        files = sorted(self._path.glob("*.json")) if self._path.is_dir() else [self._path]
        if not files:
            raise BadFile(self.file, "holds no .json file", remedy="name DTDL files or a folder of them")
        for file in files:
            yield ModelItem(1, bytes_of(file), str(file))


def bytes_of(path: Path) -> bytes:
    """The file's content. Raises BadFile."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(str(path), f"cannot be read ({error.strerror})", remedy="check the name") from error
