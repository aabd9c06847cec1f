"""The plant simulator as its own process, to be stopped, frozen, killed and started again at will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SMALL_PLANT = """\
twins:
  - id: toulouse
    contains:
      - id: line-1
        contains:
          - {id: cnc-01}
          - {id: cnc-02}
"""


@dataclass
class SimulatorProcess:
    """`python -m twinloom.adapters.opcua.simulator` on `port`; two machines unless `plant_file` says otherwise."""

    port: int
    folder: Path
    options: Sequence[str] = ()
    plant: str = "toulouse"
    plant_file: Path | None = None
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    @property
    def stats_file(self) -> Path:
        return self.folder / f"stats-{self.port}.json"

    def start(self) -> None:
        """Returns when it listens."""
        plant_file = self.plant_file
        if plant_file is None:
            plant_file = self.folder / "small.yaml"
            plant_file.write_text(SMALL_PLANT, encoding="utf-8")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "twinloom.adapters.opcua.simulator", "--plant", self.plant,
                "--port", str(self.port), "--seed", "7", "--speedup", "2000", "--plant-file", str(plant_file),
                "--stats-file", str(self.stats_file), *self.options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening"), f"the simulator did not start: {line!r}"

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and waits until the process is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: it writes its statistics."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def cpu_s(self) -> float:
        """CPU seconds that the process has used."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
