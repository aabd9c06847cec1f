"""A real Mosquitto broker on loopback. It ends with the test that started it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from servers.ports import free_port

START_TIMEOUT_S = 15.0


class Mosquitto:
    """`start`, `kill`, `freeze` and `start` again on the same port. `extra` are further lines of its configuration."""

    def __init__(self, folder: Path, extra: str = "allow_anonymous true\n") -> None:
        self.folder = folder
        self.port = free_port()
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it takes connections. Raises RuntimeError with the broker's own words."""
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/sbin")
        if program is None:
            raise RuntimeError("mosquitto is missing: install it (Debian: apt-get install mosquitto)")
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(f"listener {self.port} 127.0.0.1\nuser root\npersistence false\n{self._extra}")
        log = self.folder / "mosquitto.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [program, "-c", str(configuration)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Mosquitto did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
