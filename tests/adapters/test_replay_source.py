"""Recordings played into the core: both layouts and formats, times kept, any speed, bad cells counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from servers.recording import RecordingSink, running

from twinloom.adapters.replay.mapping import read_mapping
from twinloom.adapters.replay.source import ReplaySource, replay, sources_of
from twinloom.twin.errors import BadFile

AT = 1_700_000_000_000_000_000
COLUMNS = [{"column": "{machine}.{property}", "twin": "plant/{machine}", "property": "{property}"}]


@pytest.fixture
def mapping_file(tmp_path: Path) -> Callable[..., Path]:
    """A function (text or table, columns, **file keys) -> a mapping file beside the recording."""

    def make(content: str | bytes | pa.Table, columns: list[dict[str, str]] = COLUMNS, **keys: Any) -> Path:
        name = "recording.parquet" if isinstance(content, pa.Table) else "recording.csv"
        if isinstance(content, pa.Table):
            pa.parquet.write_table(content, tmp_path / name)
        else:
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        file = tmp_path / "replay.yaml"
        file.write_bytes(orjson.dumps({"files": [{"file": name, "speed": 0, **keys}], "columns": columns}))
        return file

    return make


def wide_csv(rows: int, step_ns: int = 1_000_000) -> str:
    lines = [f"{AT + n * step_ns},{n},{n / 2},AUTO" for n in range(rows)]
    return "\n".join(["time,m-1.load,m-2.temperature,m-1.controller.operating_mode", *lines])


async def test_a_wide_csv_keeps_every_value_and_its_time(mapping_file: Callable[..., Path]) -> None:
    columns = [
        {"column": "{machine}.controller.{property}", "twin": "plant/{machine}", "property": "controller.{property}"},
        {"column": "m-2.temperature", "twin": "plant/m-2", "property": "temperature", "unit": "kelvin"},
        *COLUMNS,
    ]
    sink = RecordingSink(units={"temperature": "degreeCelsius"})
    shares: list[float] = []
    counters = await replay(
        mapping_file(wide_csv(10_000), columns, rows=1000), sink, progress=lambda share, values: shares.append(share)
    )
    assert sink.series("plant/m-1", "load") == [(AT + n * 1_000_000, float(n), 0) for n in range(10_000)]
    assert sink.series("plant/m-2", "temperature")[2][1] == pytest.approx(1 - 273.15)
    assert [text.source_time_ns for text in sink.texts] == [AT + n * 1_000_000 for n in range(10_000)]
    assert sink.texts[0].path == "controller.operating_mode" and sink.texts[0].value == "AUTO"
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) >= 10
    assert counters == {"recording": {"rows": 10_000, "received": 30_000}}
    assert sink.durable_batches == len(sink.batches)


async def test_a_long_parquet_names_twin_property_time_and_quality_in_columns(
    mapping_file: Callable[..., Path],
) -> None:
    rows = 1000
    table = pa.table({
        "at": pa.array(np.arange(rows) * 1000 + AT // 1000, pa.timestamp("us", "UTC")),
        "asset": [f"m-{n % 3}" for n in range(rows)],
        "tag": ["load" if n % 2 else "speed" for n in range(rows)],
        "v": pa.array([None if n == 5 else float(n) for n in range(rows)]),
        "q": ["good" if n % 10 else "bad" for n in range(rows)],
    })  # fmt: skip
    file = mapping_file(
        table, [{"column": "{property}", "twin": "plant/{/asset}", "property": "{property}"}],
        layout="long", time="at", label="tag", value="v", quality="q",
    )  # fmt: skip
    sink = RecordingSink()
    await replay(file, sink)
    assert sink.count == rows - 1  # an empty cell is no reading
    for machine in range(3):
        for odd, path in ((0, "speed"), (1, "load")):
            expected = [
                (AT + n * 1_000_000, float(n), 0 if n % 10 else 0x80000000)
                for n in range(rows)
                if n % 3 == machine and n % 2 == odd and n != 5
            ]
            assert sink.series(f"plant/m-{machine}", path) == expected


async def test_bad_cells_rows_and_times_are_counted_by_name_and_the_rest_goes_on(
    mapping_file: Callable[..., Path],
) -> None:
    text = """time;m-1.load;m-1.speed;note;m-2.temperature
2023-11-14T22:13:20Z;1;2;a;3
yesterday;1;2;a;3
2023-11-14T22:13:21.5Z;x;2,5;a;
1601-01-01T00:00:00Z;1;1;a;1
1;2
2023-11-14T22:13:22+00:00;7;8;a;9
"""
    sink = RecordingSink(lambda twin, path: path != "temperature")
    (source,) = sources_of(mapping_file(text, separator=";"))
    async with running(source, sink):
        await sink.until(lambda: bool(sink.statuses) and sink.statuses[-1].reason == "the recording has ended")
        counters = source.status().counters
    assert sink.series("plant/m-1", "load") == [(AT, 1.0, 0), (AT + 2_000_000_000, 7.0, 0)]
    assert counters["bad_time"] == 2 and counters["ragged_row"] == 1 and counters["type_mismatch"] == 2
    assert counters["unmapped_columns"] >= 1 and counters["unmapped"] == 2 and counters["rows"] == 3


async def test_a_speed_is_kept_and_zero_is_as_fast_as_possible(mapping_file: Callable[..., Path]) -> None:
    file = mapping_file(wide_csv(11, step_ns=1_000_000_000), speed=20)
    loop, sink = asyncio.get_running_loop(), RecordingSink()
    began = loop.time()
    await replay(file, sink)
    paced = loop.time() - began
    began = loop.time()
    await replay(file, sink, speed=0)
    assert paced >= 0.4 and loop.time() - began < paced
    values = [row[1] for row in sink.series("plant/m-1", "load")]
    assert values == [float(n) for n in range(11)] * 2
    assert len(sink.batches) > 3  # one part a slice while paced


async def test_times_can_be_moved_to_now(mapping_file: Callable[..., Path], clock: Any) -> None:
    mapping = read_mapping(mapping_file(wide_csv(3), shift_to_now=True))
    sink = RecordingSink()
    clock.advance(3600)
    await ReplaySource(mapping.recordings[0], mapping, clock=clock).play(sink)
    assert [row[0] for row in sink.series("plant/m-1", "load")] == [clock.now_ns() + n * 1_000_000 for n in range(3)]


async def test_the_core_holds_a_replay_back(mapping_file: Callable[..., Path]) -> None:
    sink = RecordingSink()
    sink.gate.clear()
    (source,) = sources_of(mapping_file(wide_csv(5000), rows=100))
    async with running(source, sink):
        await sink.until(lambda: bool(sink.statuses))
        await asyncio.sleep(0.2)
        assert source.status().counters["received"] <= 300
        sink.gate.set()
        await sink.until(lambda: len(sink.batches) == 50)


@pytest.mark.parametrize(
    ("content", "keys", "named"),
    [
        (b"", {}, "recording.csv"),
        (b"\xff\xfe\x00", {}, "recording.csv"),
        ("at,m.load\n1,2\n", {}, "no column 'time'"),
        ("time,m.load\n1,2\n", {"format": "parquet"}, "cannot be read as parquet"),
        ("time,m.load\n1,2\n", {"layout": "long"}, "no column 'name'"),
        ("time,m.load\n1,2\n", {"file": "gone.csv"}, "no file gone.csv"),
        ("time,m.load\n1,2\n", {"speed": -1}, "/files/0/speed"),
        ("time,m.load\n1,2\n", {"layout": "tall"}, "/files/0/layout"),
        ("time,m.load\n1,2\n", {"sped": 1}, "did you mean 'speed'"),
    ],
)
async def test_a_file_that_cannot_be_played_is_refused_with_a_sentence(
    mapping_file: Callable[..., Path], content: str | bytes, keys: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadFile) as caught:
        await replay(mapping_file(content, **keys), RecordingSink())
    assert named in str(caught.value) and caught.value.remedy
