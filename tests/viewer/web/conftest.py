"""The built page: made once a session from the sources, with npm, where it is missing or older than they are."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[3] / "viewer" / "web"
NPM_S = 300.0


def _newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=NPM_S)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed in viewer/web:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`viewer/web`, with `node_modules` and a `dist` that is not older than the sources."""
    if shutil.which("npm") is None:
        pytest.fail("npm is missing; install Node 20.19 or newer")
    lock = tmp_path_factory.getbasetemp().parent / "twinloom-page.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # parallel workers build once
        installed = WEB / "node_modules" / ".package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < (WEB / "package-lock.json").stat().st_mtime:
            _run("npm", "ci")
        built = WEB / "dist" / "index.html"
        sources = max(
            _newest(WEB / "src"), *((WEB / name).stat().st_mtime for name in ("index.html", "vite.config.ts"))
        )
        if not built.exists() or built.stat().st_mtime < sources:
            _run("npm", "run", "build")
    return WEB
