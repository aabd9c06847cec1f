"""Jars from Maven Central, once per machine: `mvn dependency:copy-dependencies` into the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 900


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twinloom"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock between processes; it goes with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def jars(pom: Path, name: str) -> Path:
    """The folder with the jars that `pom` asks for. Raises RuntimeError with what Maven said."""
    folder = cache_folder() / name
    with locked(cache_folder() / f"{name}.lock"):
        if folder.is_dir() and (folder / ".complete").exists():
            return folder
        if shutil.which("mvn") is None:
            raise RuntimeError("mvn is missing: install maven and a JDK (Debian: maven openjdk-17-jdk-headless)")
        half = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache_folder()))
        done = subprocess.run(
            ["mvn", "-B", "-q", "-ntp", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime",
             f"-DoutputDirectory={half}"],
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(half, ignore_errors=True)
            raise RuntimeError(f"mvn could not bring the jars of {name}:\n{(done.stdout + done.stderr)[-3000:]}")
        (half / ".complete").touch()
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)
    return folder
