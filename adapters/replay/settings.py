"""What one recording is and how it is played, read once from the mapping file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """One file. `layout`: `wide` (a row is a moment, a column a value) or `long` (a row is one value).

    `speed` 1 plays as it was recorded, 10 ten times as fast, 0 as fast as the core takes it. Source times are the
    file's; with `shift_to_now` they are moved so that the first row is now (and stretched by nothing). `time` is the
    column of times; in `long`, `name`, `value` and `quality` are columns, too.
    """

    name: str
    file: Path
    format: str = "csv"
    layout: str = "wide"
    time: str = "time"
    time_unit: str = "auto"
    label: str = "name"
    value: str = "value"
    quality: str = ""
    separator: str = ","
    speed: float = 1.0
    shift_to_now: bool = False
    rows: int = 4096
