"""A disk that takes no more: writes are refused by name, reads go on, and all is well when there is room again."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.history import HistoryRows
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.graph.store import PutTwin
from twinloom.twin.errors import BadFile, StoreUnavailable
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Twin

UNIT = ModelId("dtmi:test:Unit;1")


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes: what a full disk does to a write (EFBIG for ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_sqlite_refuses_writes_while_the_disk_is_full_and_goes_on_after(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "twins.db")
    await store.open()
    acknowledged: set[str] = set()
    seq = 0

    async def write() -> None:
        nonlocal seq
        seq += 1
        ids = [f"t{seq}.{n}" for n in range(50)]
        changes = [PutTwin(Twin(TwinId(id), UNIT, {"text": "x" * 200}), create=True) for id in ids]
        await store.commit(changes, seq=seq, time_ns=seq, cause="test")
        acknowledged.update(ids)

    with files_end_at(400_000):
        with pytest.raises(StoreUnavailable) as caught:
            for _ in range(1000):
                await write()
        assert caught.value.remedy
        with pytest.raises(StoreUnavailable):
            await write()
        assert {twin.id for twin in (await store.load()).twins} == acknowledged
    await write()
    await store.close()
    again = SqliteStore(tmp_path / "twins.db")
    await again.open()
    assert {twin.id for twin in (await again.load()).twins} == acknowledged
    await again.close()


async def test_duckdb_refuses_writes_while_the_disk_is_full_and_goes_on_after(tmp_path: Path) -> None:
    history = DuckdbHistory(tmp_path / "history.db")
    await history.open()
    series = history.series_of(TwinId("a"), "x")
    acknowledged: list[int] = []
    at = 0

    async def write() -> None:
        nonlocal at
        at += 1000
        times = np.arange(at, at + 1000)
        values = np.random.default_rng(at).random(1000)
        await history.append(HistoryRows(np.full(1000, series, np.int32), times, values, np.zeros(1000, np.uint32)))
        acknowledged.extend(times.tolist())

    await write()
    with files_end_at(300_000), pytest.raises(StoreUnavailable):
        for _ in range(1000):
            await write()
    await write()
    found = await history.read(TwinId("a"), "x", 0, 2**62, 10**7)
    assert found.source_time_ns.tolist() == acknowledged
    await history.close()


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_file_that_is_no_graph_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"other\.db"):
        await SqliteStore(path).open()
    assert path.read_bytes() == content


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE mine (x)")
    theirs.close()
    with pytest.raises(BadFile, match="another kind or version"):
        await SqliteStore(path).open()


@pytest.mark.parametrize("make", [SqliteStore, DuckdbHistory])
async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, make: type[SqliteStore | DuckdbHistory]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        await make(tmp_path / "file" / "data.db").open()
    with pytest.raises((StoreUnavailable, BadFile)):
        await make(tmp_path).open()
