"""`twinloom serve` as an operator meets it: started, asked, stopped, started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

TOKEN = "a-test-token-of-24-chars"


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    command = [sys.executable, "-m", "twinloom.app.cli", "import", "cnc", "--data", str(tmp_path / "plant")]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "plant"


@contextlib.contextmanager
def served(data: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "TWINLOOM_TOKENS": TOKEN}
    command = [sys.executable, "-m", "twinloom.app.cli", "serve", "--data", str(data), "--port", str(port)]
    with (data / "serve.log").open("ab") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).close()
                    break
                assert process.poll() is None, (data / "serve.log").read_text()
                assert time.monotonic() < deadline
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ask(port: int, query: str, token: str | None = TOKEN) -> dict[str, object]:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        answered: dict[str, object] = json.loads(answer.read())
        return answered


CREATE = """mutation { createTwin(input: {id: "derby/spare", model: "dtmi:com:twinloom:cnc:CoolantPump;1",
  properties: {name: "Spare"}}) { seq userErrors { code } } }"""


def test_a_mutation_outlives_the_process_and_sigterm_ends_it_in_order(
    plant: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with served(plant, port) as process:
        created = ask(port, CREATE)["data"]["createTwin"]  # type: ignore[index]
        assert created["userErrors"] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    with served(plant, port):
        answer = ask(port, '{ twin(id: "derby/spare") { properties } serviceInfo { seq twins } }')["data"]
        assert answer["twin"] == {"properties": {"name": "Spare"}}  # type: ignore[index]
        assert answer["serviceInfo"]["twins"] == 340  # type: ignore[index]
        assert answer["serviceInfo"]["seq"] > created["seq"]  # type: ignore[index]
    log = (plant / "serve.log").read_text()
    assert TOKEN not in log
    assert f"twinloom serves 339 twins at http://127.0.0.1:{port}" in log


def test_nobody_comes_in_without_the_token(plant: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    with served(plant, port):
        for token in (None, "wrong", TOKEN[:-1], TOKEN + "x"):
            with pytest.raises(HTTPError) as refused:
                ask(port, "{ serviceInfo { seq } }", token)
            assert refused.value.code == 401
            assert json.loads(refused.value.read())["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
            refused.value.close()
