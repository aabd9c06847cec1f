"""What `twinloom import` and `twinloom export` print, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from twinloom.app.loading import ImportRefused
from twinloom.app.settings import Settings
from twinloom.app.transfer import export_file, import_file

SHOWN = 50
"""Defects shown to people; `--json` has up to a thousand."""


async def import_and_report(
    file: Path, settings: Settings, mapping: Path | None, *, dry_run: bool, as_json: bool
) -> int:
    """0 when the file was imported (or could be), 2 when it has defects, which are printed. Raises TwinloomErrors."""
    try:
        report = await import_file(file, settings, mapping=mapping, dry_run=dry_run, quiet=as_json)
    except ImportRefused as refused:
        _print_defects(refused, as_json=as_json)
        return 2
    if as_json:
        print(json.dumps(report))
    else:
        print(("would import " if dry_run else "imported ") + ", ".join(_counted(report)))
    return 0


def _counted(report: Mapping[str, Any]) -> list[str]:
    """`339 twins`, or `339 twins (300 new, 9 changed, 30 as they were)`."""
    words = []
    for kind in ("models", "twins", "relationships"):
        found = report[kind]
        if isinstance(found, int):
            words.append(f"{found} {kind}")
            continue
        parts = [(found["created"], "new"), (found["updated"], "changed"), (found["unchanged"], "as they were")]
        said = ", ".join(f"{count} {word}" for count, word in parts if count)
        words.append(f"{sum(found.values())} {kind}" + (f" ({said})" if said else ""))
    return words


def _print_defects(refused: ImportRefused, *, as_json: bool) -> None:
    if as_json:
        defects = [asdict(defect) for defect in refused.errors]
        print(json.dumps({"valid": False, "file": refused.file, "count": refused.count, "defects": defects}))
        return
    console = Console(highlight=False, soft_wrap=True)
    for defect in refused.errors[:SHOWN]:
        place = f"{defect.file}:{defect.line}" if defect.line else defect.file
        console.print(f"[bold]{escape(place)}[/] {escape(defect.path)} [red]{escape(defect.code)}[/]")
        console.print(f"    {escape(defect.message)}")
        if defect.remedy:
            console.print(f"    [green]{escape(defect.remedy)}[/]")
    hidden = f", {refused.count - SHOWN} not shown" if refused.count > SHOWN else ""
    console.print(f"[red]{refused.count} defects{hidden}[/]; nothing was written")


async def export_and_report(
    file: Path, settings: Settings, author: str, organization: str, *, telemetry: bool, as_json: bool
) -> None:
    report = await export_file(
        file, settings, author=author, organization=organization, telemetry=telemetry, quiet=as_json
    )
    if as_json:
        print(json.dumps(report))
    else:
        counts = "{models} models, {twins} twins, {relationships} relationships, {bytes} bytes".format(**report)
        print(f"wrote {file}: {counts}")
