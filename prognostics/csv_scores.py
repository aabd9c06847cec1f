"""`twinloom score --csv`: a user's own file of readings, scored.

One row a reading of a component: a column `component`, the model's clock and its other channels by name (in the
contract's units); empty cells are missing values. Rows of a component follow its clock, and a row tells what was seen
until its clock reading: cycle 1 ends the first stride of one cycle. A last stride that is still open is scored too.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from twinloom.prognostics.chain import FallbackChain
from twinloom.prognostics.estimator import ComponentWindow
from twinloom.prognostics.features import FeatureBank
from twinloom.prognostics.layout import Layout
from twinloom.twin.assessments import RulEstimate
from twinloom.twin.errors import BadFile, BadRequest
from twinloom.twin.ids import TwinId, twin_id
from twinloom.twin.instance import Json

MAX_BYTES = 512 * 2**20
_TOGETHER = 256  # windows a run, so that the chain's deadline holds for a file of any size


def score_csv(path: Path, chain: FallbackChain, layout: Layout) -> list[RulEstimate]:
    """One estimate a component, in the order of the file. Raises BadFile with file, line and remedy."""
    windows = read_windows(path, layout)
    return [e for i in range(0, len(windows), _TOGETHER) for e in chain.estimate(windows[i : i + _TOGETHER])]


def read_windows(path: Path, layout: Layout) -> list[ComponentWindow]:
    """The last window of each component of the file. Raises BadFile."""
    bank = FeatureBank(layout)
    names = [channel.name for channel in layout.channels]
    clock = layout.clock_index
    rows_of: dict[TwinId, list[list[float]]] = {}
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadFile(str(path), f"the file is larger than {MAX_BYTES >> 20} MiB", remedy="split it by component")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            missing = [name for name in ("component", layout.clock) if name not in header]
            if missing:
                raise BadFile(str(path), f"there is no column {missing[0]!r}", place="line 1", remedy=_columns(names))
            places = [header.index(name) if name in header else -1 for name in names]
            who = header.index("component")
            for row in rows:
                if not row:
                    continue
                place = f"line {rows.line_num}"
                values = [_value(path, row, at, place) for at in places]
                if len(row) <= who or math.isnan(values[clock]):
                    raise BadFile(str(path), f"no component or no {layout.clock}", place=place, remedy=_columns(names))
                try:
                    twin = twin_id(row[who].strip())
                except BadRequest as error:
                    raise BadFile(str(path), error.message, place=place, remedy=error.remedy) from error
                rows_of.setdefault(twin, []).append(values)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(str(path), f"the file cannot be read ({error})", remedy="give a UTF-8 CSV file") from error
    _feed(bank, {bank.add(twin): np.array(values) for twin, values in rows_of.items()})
    return bank.windows(rows_of)


def as_json(estimate: RulEstimate) -> dict[str, Json]:
    """What `--json` prints of one component."""
    return {
        "component": estimate.twin,
        "rul_days": round(estimate.rul_days, 3),
        "low": round(estimate.low, 3),
        "high": round(estimate.high, 3),
        "health": estimate.health.value,
        "recommendation": estimate.recommendation,
        "method": estimate.method,
        "model": estimate.model_version,
        "model_health": estimate.model_health.value,
        "reason": estimate.reason,
    }


def _feed(bank: FeatureBank, tables: dict[int, npt.NDArray[np.float64]]) -> None:
    """Rows of each component in their order: the first of all components together, then the second, and so on."""
    clock, stride = bank.layout.clock_index, bank.layout.stride
    channels = np.array(
        [*(i for i in range(len(bank.layout.channels)) if i != clock), clock]
    )  # a row ends at its clock
    starts = {row: math.nextafter(table[0, clock], 0.0) for row, table in tables.items()}
    _observe(bank, np.array(list(starts)), np.array([[reading] for reading in starts.values()]), np.array([clock]))
    for k in range(max((len(table) for table in tables.values()), default=0)):
        present = [row for row, table in tables.items() if k < len(table)]
        values = np.array([tables[row][k, channels] for row in present])
        _observe(bank, np.array(present), values, channels)
    ends = {row: table[-1, clock] for row, table in tables.items() if table[-1, clock] % stride}
    readings = np.array([[(reading // stride + 1) * stride] for reading in ends.values()])
    _observe(bank, np.array(list(ends)), readings, np.array([clock]))


def _observe(
    bank: FeatureBank, rows: npt.NDArray[np.int64], values: npt.NDArray[np.float64], channels: npt.NDArray[np.int64]
) -> None:
    """values (rows, channels), NaN where the cell was empty."""
    if not len(rows):
        return
    given = ~np.isnan(values)
    bank.observe(
        np.broadcast_to(rows[:, None], values.shape)[given],
        np.broadcast_to(channels, values.shape)[given],
        values[given],
        np.zeros(int(given.sum()), np.uint32),
        np.zeros(int(given.sum()), np.int64),
    )


def _value(path: Path, row: list[str], at: int, place: str) -> float:
    text = row[at].strip() if 0 <= at < len(row) else ""
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise BadFile(str(path), f"{text[:40]!r} is no number", place=place, remedy="use a decimal point") from error


def _columns(names: list[str]) -> str:
    return f"the columns are component, {', '.join(names)}"
