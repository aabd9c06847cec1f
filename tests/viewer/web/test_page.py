"""The web page in a real headless Chromium, its pure parts under vitest, and what its build may contain."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from twinloom.viewer.palettes import LOOKS, RAMPS, State

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BROWSER_S = 150.0


def run(*command: str, folder: Path, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds)


def test_the_page_does_in_chromium_what_engineers_were_promised(page: Path, tmp_path: Path) -> None:
    done = run("node", str(HERE / "browser.mjs"), sys.executable, str(tmp_path), folder=HERE, seconds=BROWSER_S)
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    failed = "\n".join(f"- {result['name']}: {result['error']}" for result in results if not result["ok"])
    assert not failed, failed
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(results) >= 15


def test_the_pure_parts_of_the_page_pass_their_own_tests(page: Path) -> None:
    done = run("npx", "--no-install", "vitest", "run", folder=page)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_page_is_strictly_typed_and_linted(page: Path) -> None:
    done = run("npm", "run", "--silent", "check", folder=page)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_bundle_stays_below_400_kb_gzipped(page: Path) -> None:
    files = [path for path in (page / "dist").rglob("*") if path.is_file()]
    size = sum(len(gzip.compress(path.read_bytes())) for path in files)
    assert size <= 400_000, f"{size} bytes in {len(files)} files"


def test_the_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere(page: Path) -> None:
    html = (page / "dist" / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son\w+=", html)
    assert all(re.match(r"\./assets/|#", address) for address in re.findall(r'(?:src|href)="([^"]*)"', html))
    sheets = "".join(path.read_text() for path in (page / "dist" / "assets").glob("*.css"))
    assert not re.search(r"https?://|@import|data:", sheets)


def test_the_lock_of_the_page_carries_no_address(page: Path) -> None:
    lock = (page / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    wanted = json.loads((page / "package.json").read_text())
    versions = {**wanted["dependencies"], **wanted["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values()), versions


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_has_the_colours_of_the_desktop_viewer(page: Path, theme: str) -> None:
    colours = json.loads((page / "src" / "palette.json").read_text())[theme]
    looks = LOOKS[theme]  # type: ignore[index]
    states = {"notice": State.NOTICE, "warning": State.WARNING, "critical": State.CRITICAL, "bad": State.BAD_QUALITY}
    assert {name: colours[name] for name in states} == {name: looks[state].colour for name, state in states.items()}
    assert (colours["low"], colours["high"]) == RAMPS[theme]  # type: ignore[index]


def documents(page: Path, folder: Path) -> list[str]:
    """Every GraphQL document of the page, as the page itself makes them."""
    done = run(
        "npx",
        "--no-install",
        "tsc",
        "src/documents.ts",
        "--ignoreConfig",
        "--outDir",
        str(folder),
        "--module",
        "esnext",
        "--target",
        "es2022",
        "--lib",
        "es2022",
        folder=page,
    )
    assert done.returncode == 0, done.stdout
    (folder / "package.json").write_text('{"type": "module"}')
    script = (
        f"import * as all from {json.dumps(str(folder / 'documents.js'))};"
        "console.log(JSON.stringify(Object.values(all).map((one) => typeof one === 'string' ? one : one(16))))"
    )
    done = run("node", "--input-type=module", "--eval", script, folder=folder)
    assert done.returncode == 0, done.stderr
    texts: list[str] = json.loads(done.stdout)
    return texts


@pytest.mark.parametrize("schema", [HERE / "schema.graphql", ROOT / "docs" / "schema.graphql"], ids=["tests", "api"])
def test_every_document_of_the_page_is_valid_against_the_schema(page: Path, tmp_path: Path, schema: Path) -> None:
    built = build_schema(schema.read_text())
    texts = documents(page, tmp_path)
    assert len(texts) >= 13
    problems = [str(error) for text in texts for error in validate(built, parse(text))]
    assert not problems, "\n".join(problems)
