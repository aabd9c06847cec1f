"""A real Kafka broker (KRaft, one node) on loopback. It ends with this process, however that ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from servers.maven import jars, locked
from servers.ports import free_port

VERSION = "4.1.0"
START_TIMEOUT_S = 90.0
CLUSTER = "dHdpbmxvb20ga2Fma2EhIQ"
_HERE = Path(__file__).parent / "kafka"
_LEFT_RUNNING: list[KafkaServer] = []


class KafkaServer:
    """`start`, `kill` (as a power cut of the process), `start` again on the same data and port."""

    def __init__(self, folder: Path, *, watched_pid: int | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._controller = free_port()
        self._watched_pid = watched_pid or os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when the broker takes connections. Raises RuntimeError with the broker's own words."""
        java = shutil.which("java")
        if java is None:
            raise RuntimeError("java is missing: install a JDK (Debian: openjdk-17-jdk-headless)")
        classes = jars(_HERE / "pom.xml", f"kafka-{VERSION}")
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(self._properties())
        command = [java, "-Xmx192m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}/*"]
        log = self.folder / "console.log"
        with log.open("ab") as out:
            if not (self.folder / "data" / "meta.properties").exists():
                subprocess.run(
                    [*command, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(properties)],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True, timeout=START_TIMEOUT_S,
                )  # fmt: skip
            self._process = subprocess.Popen(
                [*command, "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self._guard = _ends_with(self._watched_pid, self._process.pid)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Kafka did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)

    def freeze(self) -> None:
        """Stops the process without ending it: connections stay open, nothing answers."""
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
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _properties(self) -> str:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "data",
            "num.partitions": 2,
            # A killed broker's registration must not outlive it, or its next start waits for that.
            "broker.session.timeout.ms": 1000,
            "broker.heartbeat.interval.ms": 200,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 2,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "group.initial.rebalance.delay.ms": 0,
            "log.cleaner.enable": "false",
            "num.network.threads": 1,
            "num.io.threads": 2,
            "background.threads": 2,
            "log.retention.check.interval.ms": 1000,
            "log.segment.delete.delay.ms": 100,
        }
        return "".join(f"{key}={value}\n" for key, value in settings.items())


def _ends_with(watched: int, process: int) -> subprocess.Popen[bytes]:
    """A shell that kills `process` once `watched` is gone, or that ends with `process`."""
    script = (
        f"while kill -0 {watched} && kill -0 {process}; do sleep 1; done 2>/dev/null; kill -9 {process} 2>/dev/null"
    )
    return subprocess.Popen(
        ["sh", "-c", script],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def shared_bootstrap(folder: Path, watched_pid: int) -> str:
    """The one broker of a test run: started by whoever asks first, living until `watched_pid` ends."""
    told = folder / "bootstrap"
    with locked(folder / "lock"):
        if told.exists():
            return told.read_text()
        failed = folder / "failed"
        if failed.exists():
            raise RuntimeError(failed.read_text())
        server = KafkaServer(folder / "server", watched_pid=watched_pid)
        try:
            server.start()
        except Exception as error:
            failed.write_text(str(error))
            raise
        _LEFT_RUNNING.append(server)
        told.write_text(server.bootstrap)
        return server.bootstrap
