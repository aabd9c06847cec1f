"""The data folder: one process at a time, and the example plant that comes along."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from twinloom.twin.errors import BadFile, BadSetting


def example(name: str = "cnc") -> Path:
    """The folder of an example plant, in a checkout and in an installed wheel alike."""
    return Path(str(files("twinloom.examples"))) / name


@contextlib.contextmanager
def claimed(data: Path) -> Iterator[Path]:
    """Makes the folder if need be and holds it for this process. Raises BadSetting when another process has it."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "twinloom.lock").open("a+")
    except OSError as error:
        raise BadSetting(
            str(data), f"cannot be used ({error.strerror})", remedy="name a folder you may write"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise BadSetting(
                str(data), f"is in use by process {owner}", remedy="stop it, or name another folder with --data"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield data


def existing(path: Path, what: str) -> Path:
    """`path`, or BadFile saying that the `what` is not there."""
    if not path.is_file():
        raise BadFile(str(path), f"there is no such {what}", remedy="check the name; relative names start here")
    return path
