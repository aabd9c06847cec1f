"""A recording as a `Source`: columns go straight to the core, paced by their own times.

Between two chunks the source waits until their time has come (at `speed`); the core's back-pressure holds it, too. At
the end the source stays live and sends no more. `replay` plays once and returns, for a command line.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from twinloom.adapters.replay.mapping import ReplayMapping, read_mapping
from twinloom.adapters.replay.recording import Chunk, chunks
from twinloom.adapters.replay.settings import ReplaySettings
from twinloom.adapters.telemetry.life import Life
from twinloom.adapters.telemetry.tally import Tally
from twinloom.adapters.telemetry.targets import NOWHERE, TEXT, Handles, Targets
from twinloom.adapters.telemetry.templates import filled
from twinloom.twin.errors import BadFile, BadRequest
from twinloom.twin.ports import Clock, ReadingSink, SourceStatus, SystemClock
from twinloom.twin.readings import BAD, GOOD, UNCERTAIN, Codes, Floats, ReadingBatch, TextReading, Times

_log = logging.getLogger(__name__)
_SLICE_S = 0.1  # what lies so close together is handed over at once when a speed is kept
_QUALITY = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}

Progress = Callable[[float, int], None]
"""(share of the file 0 to 1, values so far)."""


class ReplaySource:
    """Plays the recording of `settings` by the columns of `mapping`, once."""

    def __init__(
        self,
        settings: ReplaySettings,
        mapping: ReplayMapping,
        *,
        clock: Clock | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._settings = settings
        self._mapping = mapping
        self._clock = clock or SystemClock()
        self._progress = progress
        self._tally = Tally(settings.name, _log)
        self._targets = Targets(self._tally)
        self._life = Life(self._tally, self._clock, lambda: self._targets.twins, _log)
        self._known: dict[tuple[str, tuple[str, ...]], int] = {}
        self._values = 0

    @property
    def name(self) -> str:
        return self._settings.name

    def status(self) -> SourceStatus:
        return self._life.status()

    async def run(self, sink: ReadingSink) -> None:
        await self.play(sink)
        await asyncio.get_running_loop().create_future()

    async def play(self, sink: ReadingSink) -> int:
        """Plays the file to its end; returns the number of values handed over. Raises BadFile."""
        settings = self._settings
        pace = _Pace(settings.speed, self._clock)
        shift: int | None = None
        reading = chunks(settings, self._ragged)
        while (chunk := await asyncio.to_thread(next, reading, None)) is not None:
            chunk = self._without_bad_times(chunk)
            if len(chunk) and shift is None:
                shift = self._clock.now_ns() - int(chunk.times_ns[0]) if settings.shift_to_now else 0
            for part in pace.parts(chunk):
                await pace.wait(int(part.times_ns[0]))
                self._targets.follow(sink)
                batch = self._batch(part, shift or 0)
                if batch is not None:
                    await self._life.deliver(batch, sink)
                    self._values += len(batch)
            self._tally.add("rows", len(chunk))
            if self._progress is not None:
                self._progress(chunk.share, self._values)
        await self._life.enter("live", "the recording has ended", sink)
        return self._values

    def _ragged(self, row: str) -> None:
        self._tally.reject("ragged_row", "", f"a row has another number of cells than the header: {row[:80]!r}")

    def _without_bad_times(self, chunk: Chunk) -> Chunk:
        good = chunk.times_ns > 0
        bad = int(len(good) - np.count_nonzero(good))
        if not bad:
            return chunk
        self._tally.reject("bad_time", "", f"{bad} rows have no time that can be understood", bad)
        mask = pa.array(good)
        return Chunk(chunk.times_ns[good], {name: c.filter(mask) for name, c in chunk.columns.items()}, chunk.share)

    def _batch(self, chunk: Chunk, shift: int) -> ReadingBatch | None:
        times = chunk.times_ns + shift
        quality = self._quality(chunk)
        parts: list[tuple[Handles, Floats, Times, Codes]] = []
        texts: list[TextReading] = []
        if self._settings.layout == "long":
            self._long(chunk, times, quality, parts, texts)
        else:
            for name, column in chunk.columns.items():
                if name != self._settings.quality:
                    self._wide(name, column, chunk, times, quality, parts, texts)
        if not parts and not texts:
            return None
        handles, values, source_times, codes = (
            (np.concatenate(columns) for columns in zip(*parts, strict=True))
            if parts
            else (np.empty(0, np.int32), np.empty(0), np.empty(0, np.int64), np.empty(0, np.uint32))
        )
        return self._targets.batch(handles, values, source_times, codes, self._clock.now_ns(), tuple(texts))

    def _wide(
        self,
        name: str,
        column: Any,
        chunk: Chunk,
        times: Times,
        quality: Codes,
        parts: list[tuple[Handles, Floats, Times, Codes]],
        texts: list[TextReading],
    ) -> None:
        chosen_by = next((c.chosen_by for c in self._mapping.columns if c.pattern.fullmatch(name)), None)
        if chosen_by is None:
            self._tally.add("unmapped_columns")
            return
        if not chosen_by:
            handles = np.full(len(chunk), self._handle(name, ()), np.int32)
        else:
            handles = self._chosen([name] * len(chunk), chosen_by, chunk)
        self._split(name, column, handles, times, quality, parts, texts)

    def _long(
        self,
        chunk: Chunk,
        times: Times,
        quality: Codes,
        parts: list[tuple[Handles, Floats, Times, Codes]],
        texts: list[TextReading],
    ) -> None:
        settings = self._settings
        labels = self._column(chunk, settings.label).to_pylist()
        used = dict.fromkeys(name for column in self._mapping.columns for name in column.chosen_by)
        handles = self._chosen(labels, tuple(used), chunk)
        self._split(settings.value, self._column(chunk, settings.value), handles, times, quality, parts, texts)

    def _column(self, chunk: Chunk, name: str) -> Any:
        if name not in chunk.columns:
            raise BadFile(
                str(self._settings.file),
                f"there is no column {name!r}",
                remedy=f"there are {', '.join(list(chunk.columns)[:20])}",
            )
        return chunk.columns[name]

    def _chosen(self, names: list[Any], chosen_by: tuple[str, ...], chunk: Chunk) -> Handles:
        others = [self._column(chunk, name).to_pylist() for name in chosen_by]
        rows = zip(*others, strict=True) if others else iter([()] * len(names))
        found = np.zeros(len(names), np.int32)
        for row, (name, values) in enumerate(zip(names, rows, strict=True)):
            found[row] = self._handle(str(name), tuple(map(str, values)), chosen_by)
        return found

    def _handle(self, name: str, values: tuple[str, ...], chosen_by: tuple[str, ...] = ()) -> int:
        handle = self._known.get((name, values))
        if handle is None:
            others = {f"/{key}": value for key, value in zip(chosen_by, values, strict=True)}
            handle = self._known[name, values] = self._named(name, others)
        return handle

    def _named(self, name: str, others: dict[str, str]) -> int:
        for column in self._mapping.columns:
            match = column.pattern.fullmatch(name)
            if match is not None:
                names = {**others, **match.groupdict()}
                with suppress(BadRequest):
                    twin, path = filled(column.twin, names), filled(column.property, names)
                    return self._targets.handle(twin, path, column.unit)
        self._tally.reject("unmapped_columns", name, f"nothing is mapped to the name {name[:80]!r}")
        return NOWHERE

    def _split(
        self,
        name: str,
        column: Any,
        handles: Handles,
        times: Times,
        quality: Codes,
        parts: list[tuple[Handles, Floats, Times, Codes]],
        texts: list[TextReading],
    ) -> None:
        """Numbers to columns, texts to the slow lane; empty cells are no readings."""
        kinds = np.array([self._targets.kinds[handle] for handle in np.unique(handles)])
        kind = column.type
        castable = not pa.types.is_boolean(kind) and not (kinds == TEXT).any()
        numeric = _as_numbers(column) if castable else None
        if numeric is not None:
            present = column.is_valid().to_numpy(zero_copy_only=False)
            values = numeric.to_numpy(zero_copy_only=False)
            parts.append((handles[present], values[present], times[present], quality[present]))
            return
        rows: list[int] = []
        numbers: list[float] = []
        for row, value in enumerate(column.to_pylist()):
            if value is None:
                continue
            handle = int(handles[row])
            if self._targets.kinds[handle] != TEXT and not isinstance(value, bool):
                with suppress(ValueError, TypeError):
                    numbers.append(float(value))
                    rows.append(row)
                    continue
            text = self._targets.text(handle, value, int(times[row]), int(quality[row]))
            if text is not None:
                texts.append(text)
        if rows:
            at = np.array(rows)
            parts.append((handles[at], np.array(numbers), times[at], quality[at]))

    def _quality(self, chunk: Chunk) -> Codes:
        if not self._settings.quality:
            return np.zeros(len(chunk), np.uint32)
        codes = np.zeros(len(chunk), np.uint32)
        for row, value in enumerate(self._column(chunk, self._settings.quality).to_pylist()):
            if isinstance(value, int) and 0 <= value < 2**32:
                codes[row] = value
            elif isinstance(value, str) and value.lower() in _QUALITY:
                codes[row] = _QUALITY[value.lower()]
            else:
                self._tally.reject("bad_quality", "", f"{str(value)[:80]!r} is no quality; the value counts as Bad")
                codes[row] = BAD
        return codes


def _as_numbers(column: Any) -> Any | None:
    """The whole column as float64, or None when one cell is no number."""
    try:
        return column.cast(pa.float64())
    except pa.ArrowException:
        return None


class _Pace:
    """When a row's turn is, by the recording's own times and a speed (0 = at once)."""

    def __init__(self, speed: float, clock: Clock) -> None:
        self._speed = speed
        self._clock = clock
        self._start: tuple[int, float] | None = None

    def parts(self, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk in pieces that are due together."""
        if not len(chunk):
            return
        if not self._speed:
            yield chunk
            return
        slices = (chunk.times_ns - chunk.times_ns[0]) // max(1, int(_SLICE_S * 1e9 * self._speed))
        bounds = [0, *(np.flatnonzero(np.diff(slices)) + 1).tolist(), len(chunk)]
        for first, last in itertools.pairwise(bounds):
            columns = {name: column.slice(first, last - first) for name, column in chunk.columns.items()}
            yield Chunk(chunk.times_ns[first:last], columns, chunk.share)

    async def wait(self, time_ns: int) -> None:
        if not self._speed:
            await asyncio.sleep(0)
            return
        now_s = self._clock.monotonic_s()
        if self._start is None:
            self._start = time_ns, now_s
        due_s = self._start[1] + (time_ns - self._start[0]) / 1e9 / self._speed
        # A time that steps back is due at once; a long pause stays one.
        await asyncio.sleep(max(0.0, due_s - now_s) if math.isfinite(due_s) else 0.0)


async def replay(
    file: Path, sink: ReadingSink, *, speed: float | None = None, progress: Progress | None = None
) -> dict[str, dict[str, int]]:
    """Plays every recording of the mapping file once, one after the other: what `twinloom replay FILE` does.

    Returns the counters of each by name, once everything is durable. `speed` overrides the file's. Raises BadFile.
    """
    mapping = read_mapping(file)
    found: dict[str, dict[str, int]] = {}
    for number, settings in enumerate(mapping.recordings):
        chosen = settings if speed is None else replace(settings, speed=speed)

        def overall(share: float, values: int, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(mapping.recordings), values)

        source = ReplaySource(chosen, mapping, progress=overall)
        await source.play(sink)
        found[source.name] = dict(source.status().counters)
    await sink.durable()
    return found


def sources_of(file: Path) -> list[ReplaySource]:
    """One source a recording of the mapping file: the entry point `replay` of `twinloom.sources`. Raises BadFile."""
    mapping = read_mapping(file)
    return [ReplaySource(settings, mapping) for settings in mapping.recordings]
