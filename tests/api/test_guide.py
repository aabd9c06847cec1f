"""The guide's examples, each executed as it stands; and the generated pages are what the schema says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from twinloom.api.schema import build, reference

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guides" / "graphql.md").read_text()
PEERS = ROOT / "benchmarks" / "peers" / "graphql"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```(?:\n```json\n(.*?)```)?", GUIDE, re.DOTALL)
SPINDLE = "toulouse/line-1/cnc-01/spindle"


def blocks(language: str) -> list[tuple[str, str]]:
    found = [(text, variables) for kind, text, variables in BLOCKS if kind == language]
    assert found, language
    return found


async def run(api: Any, *command: str, text: str | None = None, cwd: Path | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env={**os.environ, "URL": api.url, "TOKEN": api.token},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    feeding = asyncio.create_task(_measure(api))
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate(text.encode() if text else None)
    finally:
        feeding.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-1500:]
    return out.decode()


async def _measure(api: Any) -> None:
    """Values for the subscription of the guide, until it has seen one."""
    for at in range(10_000):
        await api.measure({(SPINDLE, "temperature"): float(at)})
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("at", range(len(blocks("graphql"))))
async def test_the_documents_of_the_guide_are_answered(api: Any, at: int) -> None:
    text, variables = blocks("graphql")[at]
    await api.measure({(SPINDLE, "temperature"): 71.0, (SPINDLE, "vibration_x"): 2.0})
    await api.data(text, json.loads(variables) if variables else None)


@pytest.mark.parametrize("at", range(len(blocks("bash"))))
async def test_the_curl_examples_give_data(api: Any, at: int) -> None:
    out = await run(api, "bash", "-e", text=blocks("bash")[at][0])
    assert '"data":' in out
    assert '"errors"' not in out


async def test_the_python_example_writes_and_reads_back(api: Any) -> None:
    out = await run(api, sys.executable, "-", text=blocks("python")[0][0])
    assert "CNC 01 (overhauled)" in out


async def test_the_javascript_example_gets_an_event(api: Any, node: str) -> None:
    out = await run(api, node, "--input-type=module", text=blocks("javascript")[0][0], cwd=PEERS)
    event = json.loads(out.strip().splitlines()[-1])
    assert event["changes"][0]["dtId"] == SPINDLE


def test_the_reference_page_is_generated_from_the_schema() -> None:
    page = (ROOT / "docs" / "guides" / "graphql-reference.md").read_text()
    assert page == reference.page(build.base_schema()), "run: python -m twinloom.api.schema.reference"


def test_curl_is_there() -> None:
    assert shutil.which("curl"), "curl is needed for the guide's examples"
