"""A real Neo4j Community on loopback. Its process watches this one and ends with it, however that ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from servers.maven import jars, locked

VERSION = "5.26.12"
START_TIMEOUT_S = 180.0
_HERE = Path(__file__).parent / "neo4j"
_OPENS = ("java.base/java.nio", "java.base/java.lang", "java.base/java.io", "java.base/sun.nio.ch")


_LEFT_RUNNING: list[Neo4jServer] = []
"""Servers that outlive the function that started them: they end with the process that they watch."""


class Neo4jServer:
    """`start`, `kill` (as a power cut of the process), `start` again on the same data and port."""

    def __init__(self, folder: Path, *, watched_pid: int | None = None) -> None:
        self.folder = folder
        self.port = 0
        self._watched_pid = watched_pid or os.getpid()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when Bolt answers. Raises RuntimeError, with the server's own words, when it does not start."""
        java = shutil.which("java")
        if java is None:
            raise RuntimeError("java is missing: install a JDK (Debian: openjdk-17-jdk-headless)")
        classes = jars(_HERE / "pom.xml", f"neo4j-{VERSION}")
        self.folder.mkdir(parents=True, exist_ok=True)
        told = self.folder / "port"
        told.unlink(missing_ok=True)
        log = self.folder / "console.log"
        opens = [option for package in _OPENS for option in ("--add-opens", f"{package}=ALL-UNNAMED")]
        arguments = [str(self.folder), str(self.port), str(self._watched_pid)]
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [java, "-Xmx512m", "-XX:+UseSerialGC", *opens, "-cp", f"{classes}/*", str(_HERE / "Neo4jServer.java"),
                 *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while not told.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Neo4j did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        self.port = int(told.read_text())

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGKILL)
        if process is not None:
            process.wait()


def shared_uri(folder: Path, watched_pid: int) -> str:
    """The one server of a test run: started by whoever asks first, living until `watched_pid` ends."""
    told = folder / "uri"
    with locked(folder / "lock"):
        if told.exists():
            return told.read_text()
        failed = folder / "failed"
        if failed.exists():
            raise RuntimeError(failed.read_text())
        server = Neo4jServer(folder / "server", watched_pid=watched_pid)
        try:
            server.start()
        except Exception as error:
            failed.write_text(str(error))
            raise
        _LEFT_RUNNING.append(server)
        told.write_text(server.uri)
        return server.uri
