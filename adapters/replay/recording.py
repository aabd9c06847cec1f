"""A CSV or Parquet file as chunks of columns, read with pyarrow: never the whole file at once.

Rows are played in the order of the file; a row whose time cannot be understood is counted as `bad_time` and dropped.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from twinloom.adapters.replay.settings import ReplaySettings
from twinloom.adapters.telemetry.times import to_ns
from twinloom.twin.errors import BadFile
from twinloom.twin.readings import Times

_FACTOR = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_LAST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """n rows: `times_ns` (0 = not understood), and the other columns by name. `share`: how far the file is, 0 to 1."""

    times_ns: Times
    columns: Mapping[str, pa.Array]
    share: float

    def __len__(self) -> int:
        return len(self.times_ns)


def chunks(settings: ReplaySettings, ragged: Callable[[str], None]) -> Iterator[Chunk]:
    """The recording in chunks of `settings.rows` rows at most. `ragged` hears of rows with too few or too many cells.

    Raises BadFile for a file that is none.
    """
    try:
        for batch, share in _batches(settings, ragged):
            if settings.time not in batch.schema.names:
                raise BadFile(
                    str(settings.file),
                    f"there is no column {settings.time!r}",
                    remedy=f"name the column of times; there are {', '.join(batch.schema.names[:20])}",
                )
            for start in range(0, batch.num_rows, settings.rows):
                part = batch.slice(start, settings.rows)
                columns = {name: part.column(name) for name in part.schema.names if name != settings.time}
                yield Chunk(times_of(part.column(settings.time), settings.time_unit), columns, share)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadFile(
            str(settings.file),
            f"cannot be read as {settings.format} ({str(error).splitlines()[0][:200]})",
            remedy="check the format, the separator and that the file is whole",
        ) from error


def _batches(settings: ReplaySettings, ragged: Callable[[str], None]) -> Iterator[tuple[Any, float]]:
    if settings.format == "parquet":
        with pa.parquet.ParquetFile(settings.file) as file:
            total, seen = max(1, file.metadata.num_rows), 0
            for batch in file.iter_batches(batch_size=settings.rows, use_threads=False):
                seen += batch.num_rows
                yield batch, seen / total
        return
    size = max(1, settings.file.stat().st_size)
    with settings.file.open(encoding="utf-8", newline="") as text:
        header = next(csv.reader(text, delimiter=settings.separator), [])

    def skip(row: Any) -> str:
        ragged(str(row.text))
        return "skip"

    with settings.file.open("rb") as raw:
        reader = pa.csv.open_csv(
            raw,
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=1 << 20),
            parse_options=pa.csv.ParseOptions(delimiter=settings.separator, invalid_row_handler=skip),
            # All as text: with guessed types one odd cell far down would end the whole file.
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
        for batch in reader:
            yield batch, min(1.0, raw.tell() / size)


def times_of(column: Any, unit: str) -> Times:
    """A column of times as ns; 0 where there is none or none that can be understood."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        factor = _FACTOR[kind.unit]
        raw = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return _scaled(raw, factor)
    if pa.types.is_integer(kind) and unit in _FACTOR:
        return _scaled(column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), _FACTOR[unit])
    known: dict[Any, int] = {}
    out = np.zeros(len(column), np.int64)
    for row, value in enumerate(column.to_pylist()):
        time = known.get(value)
        if time is None:
            time = known[value] = _one(value, unit)
        out[row] = time
    return out


def _scaled(raw: Times, factor: int) -> Times:
    inside = (raw > 0) & (raw <= _LAST_NS // factor)
    return np.where(inside, raw, 0) * factor


def _one(value: Any, unit: str) -> int:
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text) if "." in text else int(text)
        except ValueError:
            value = text
    try:
        return to_ns(value, unit if not isinstance(value, str) else "iso")
    except ValueError:
        return 0
