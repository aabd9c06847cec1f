"""`twinloom bench`: runs the files of `benchmarks/`, one JSON object a figure.

Each file has `run() -> Iterator[dict]` whose rows carry: figure, unit, ours, peer, peer_value, ratio, repeats (null
where the design names none). Files run one after the other, each in its own process, so that none warms or
bloats the next.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from twinloom.twin.errors import BadRequest

COLUMNS = ("figure", "unit", "ours", "peer", "peer_value", "ratio", "repeats")


def run_benchmarks(names: list[str], *, as_json: bool) -> int:
    """Runs the named benchmarks (all when empty); 1 when one of them failed. Raises BadRequest for an unknown name."""
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    known = {file.stem: file for file in sorted(folder.glob("[!_]*.py"))}
    if not known:
        raise BadRequest("benchmarks/ is not part of the wheel", remedy="clone the repository and run make bench")
    for name in names:
        if name not in known:
            raise BadRequest(f"there is no benchmark {name!r}", remedy=f"choose of {', '.join(known)}")
    failed = False
    rows: list[dict[str, object]] = []
    for name in names or list(known):
        print(f"bench: {name}", file=sys.stderr, flush=True)
        process = subprocess.Popen([sys.executable, str(known[name])], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                if as_json:
                    print(line, end="", flush=True)
                rows.append(json.loads(line))
        if process.wait() != 0:
            print(f"bench: {name} failed with status {process.returncode}", file=sys.stderr)
            failed = True
    if not as_json:
        Console().print(_table(rows))
    return int(failed)


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table(title="figures (medians; ratio = ours / peer in the same run)")
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="left" if column in ("figure", "unit", "peer") else "right")
    for row in rows:
        table.add_row(
            *(_cell(row.get(column)) for column in ("figure", "unit", "ours", "peer", "peer_value", "ratio", "repeats"))
        )
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
