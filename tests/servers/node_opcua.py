"""npm node-opcua as a server process: an OPC UA implementation that the project did not write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers.maven import cache_folder, locked

PEER = Path(__file__).resolve().parents[2] / "benchmarks" / "peers" / "opcua"


def install() -> None:
    """`npm ci` of the locked packages, once for all test workers."""
    assert shutil.which("npm"), "Node.js 20 with npm must be installed to test against node-opcua"
    with locked(cache_folder() / "node-opcua.lock"):
        if not (PEER / "node_modules" / "node-opcua").exists():
            subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--omit=optional"], cwd=PEER, check=True, capture_output=True
            )


@dataclass
class NodeOpcUa:
    """`server.mjs` on `port` with `options`, see there."""

    port: int
    options: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens."""
        install()
        self.process = subprocess.Popen(
            ["node", "server.mjs", json.dumps({"port": self.port, **self.options})],
            cwd=PEER,
            env={**os.environ, "XDG_CONFIG_HOME": self.options.get("home", os.environ.get("HOME", "/tmp"))},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("listening"):
                return
        raise AssertionError("node-opcua did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None
