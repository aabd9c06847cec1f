"""The hot graph where the oracle's small worlds do not reach: size, hubs, metadata, freed places."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from twinloom.graph import adjacency, columns
from twinloom.graph.hot import HotGraph
from twinloom.graph.store import (
    Change,
    DropRelationship,
    DropTwin,
    LastValue,
    PutRelationship,
    PutTwin,
    Snapshot,
    stamped,
)
from twinloom.twin.dtdl import Models
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import PropertyValue, Relationship, Twin
from twinloom.twin.ports import SlotRef
from twinloom.twin.readings import BAD, ReadingBatch, TextReading

MACHINE, SPINDLE, LINE, ASSET = (
    ModelId(f"dtmi:com:twinloom:cnc:{name};1") for name in ("CncMachine", "Spindle", "ProductionLine", "Asset")
)
NOW = 10**18


def put(hot: HotGraph, seq: int, *changes: Change) -> None:
    hot.apply(stamped(changes, seq=seq, time_ns=NOW + seq), seq)


def twin(id: str, model: ModelId = SPINDLE, **properties: object) -> PutTwin:
    return PutTwin(Twin(TwinId(id), model, properties), create=True)


def edge(source: str, target: str) -> PutRelationship:
    return PutRelationship(Relationship(f"contains:{target}", TwinId(source), "contains", TwinId(target)))


def batch(
    slots: Sequence[int], values: Sequence[float], times: Sequence[int], quality: Sequence[int] | None = None,
    texts: tuple[TextReading, ...] = (),
) -> ReadingBatch:  # fmt: skip
    codes = np.array(quality if quality is not None else [0] * len(slots), np.uint32)
    return ReadingBatch(
        "s", np.array(slots, np.int32), np.array(values, float), np.array(times, np.int64), codes, NOW, texts
    )


def slot(hot: HotGraph, id: str, path: str) -> int:
    found = hot.resolve(TwinId(id), path)
    assert found is not None
    return found.slot


def test_resolve_tells_slot_unit_and_range(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    put(hot, 1, twin("s"), twin("m", MACHINE))
    x = slot(hot, "s", "vibration_x")
    hot.set_range(x, 0.0, 50.0)
    assert hot.resolve(TwinId("s"), "vibration_x") == SlotRef(x, "mm/s", 0.0, 50.0)
    assert hot.resolve(TwinId("m"), "controller.operating_mode") == SlotRef(-1, "")
    assert hot.resolve(TwinId("m"), "controller") is None
    assert hot.resolve(TwinId("nobody"), "vibration_x") is None


def test_metadata_of_readings_and_writes_is_told_apart(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    put(hot, 1, twin("m", MACHINE, name="M", controller={"feed_override": 90.0, "operating_mode": "idle"}))
    row = hot.row("m")
    assert row is not None
    assert hot.get(row, "temperature") is None
    assert hot.get(row, "no such path") is None
    assert hot.get(row, "name") == PropertyValue("M", NOW + 1, NOW + 1, 0, 1)
    assert hot.get(row, "controller.feed_override") == PropertyValue(90.0, NOW + 1, NOW + 1, 0, 1)
    mode = TextReading(TwinId("m"), "controller.operating_mode", "automatic", 50)
    hot.fold(batch([slot(hot, "m", "temperature")], [31.5], [60], [BAD], (mode,)), 2)
    assert hot.get(row, "temperature") == PropertyValue(31.5, 60, NOW, BAD, 2)
    assert hot.get(row, "controller.operating_mode") == PropertyValue("automatic", 50, NOW, 0, 2)
    put(hot, 3, PutTwin(Twin(TwinId("m"), MACHINE, {"name": "N"}), paths=("name",)))
    assert hot.get(row, "name") == PropertyValue("N", NOW + 3, NOW + 3, 0, 3)
    assert hot.get(row, "controller.operating_mode") == PropertyValue("automatic", 50, NOW, 0, 2)
    assert hot.get(row, "controller.feed_override") == PropertyValue(90.0, NOW + 1, NOW + 1, 0, 1)
    assert (hot.etag(row), hot.twin_seq(row), hot.created_ns(row), hot.updated_ns(row)) == ("3", 3, NOW + 1, NOW + 3)


def test_a_bad_reading_without_value_shows_its_quality_and_keeps_the_last_value(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    put(hot, 1, twin("s"))
    row, x, y = hot.row("s"), slot(hot, "s", "vibration_x"), slot(hot, "s", "vibration_y")
    assert row is not None
    hot.fold(batch([x], [2.0], [10]), 2)
    hot.fold(batch([x, y], [float("nan")] * 2, [20, 20], [BAD, BAD]), 3)
    assert hot.get(row, "vibration_x") == PropertyValue(2.0, 20, NOW, BAD, 3)
    assert hot.get(row, "vibration_y") == PropertyValue(None, 20, NOW, BAD, 3)


def test_an_update_does_not_take_back_what_a_source_wrote_meanwhile(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    put(hot, 1, twin("m", MACHINE, name="M"))
    before = hot.twin("m")
    assert before is not None
    mode = TextReading(TwinId("m"), "controller.operating_mode", "automatic", 50)
    hot.fold(batch([slot(hot, "m", "temperature")], [31.5], [60], None, (mode,)), 2)
    put(hot, 3, PutTwin(Twin(before.id, MACHINE, {**before.properties, "name": "N"}), paths=("name",)))
    after = hot.twin("m")
    assert after is not None
    assert after.properties == {"name": "N", "temperature": 31.5, "controller": {"operating_mode": "automatic"}}


def test_texts_that_do_not_fit_are_dropped_by_reason(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    put(hot, 1, twin("m", MACHINE))
    mode = "controller.operating_mode"
    texts = (
        TextReading(TwinId("m"), mode, "automatic", 10),
        TextReading(TwinId("m"), mode, "dancing", 11),
        TextReading(TwinId("m"), mode, "idle", 10),
        TextReading(TwinId("m"), mode, "idle", 9),
        TextReading(TwinId("m"), mode, "idle", NOW + columns.FUTURE_NS + 1),
        TextReading(TwinId("m"), "no_such", "x", 12),
        TextReading(TwinId("m"), "temperature", "x", 12),
        TextReading(TwinId("gone"), mode, "idle", 12),
        TextReading(TwinId("m"), mode, None, 13),
        TextReading(TwinId("m"), mode, None, 14, BAD),
    )
    folded = hot.fold(batch([], [], [], None, texts), 2)
    assert folded.texts == (texts[0], texts[-1])
    assert folded.dropped == {"model_violation": 2, "duplicate": 1, "stale": 1, "future": 1, "unmapped": 3}
    row = hot.row("m")
    assert row is not None
    assert hot.get(row, mode) == PropertyValue("automatic", 14, NOW, BAD, 2)


def test_the_layout_version_grows_when_twins_or_models_come_and_go_only(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    seen = [hot.layout_version]
    for changes in ([twin("a"), twin("b")], [DropTwin(TwinId("a"))]):
        put(hot, len(seen), *changes)
        seen.append(hot.layout_version)
    assert seen == sorted(set(seen))
    put(hot, 9, PutTwin(Twin(TwinId("b"), SPINDLE, {"name": "B"})), twin("c"), DropTwin(TwinId("c")))
    last = hot.layout_version
    put(hot, 10, PutTwin(Twin(TwinId("b"), SPINDLE, {"name": "C"})), edge("b", "b"))
    hot.fold(batch([slot(hot, "b", "load")], [1.0], [1]), 11)
    assert hot.layout_version == last


def test_a_freed_slot_is_dead_to_readings_under_way_and_used_again_later(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    put(hot, 1, twin("old"))
    freed = slot(hot, "old", "load")
    hot.set_range(freed, 0.0, 1.0)
    put(hot, 2, DropTwin(TwinId("old")))
    put(hot, 3, twin("new"))
    assert slot(hot, "new", "load") != freed
    assert hot.fold(batch([freed], [0.5], [5]), 4).dropped == {"unmapped": 1}
    for n in range(columns.QUARANTINE_FOLDS):
        hot.fold(batch([], [], []), 5 + n)
    put(hot, 10**6, twin("newest"))
    assert slot(hot, "newest", "load") == freed
    row = hot.row("newest")
    assert row is not None
    assert hot.get(row, "load") is None
    assert hot.fold(batch([freed], [50.0], [5]), 10**6 + 1).dropped == {}
    assert hot.value(row, "load") == 50.0


def test_a_hub_finds_each_of_its_many_edges(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    n = adjacency.HUB * 4
    put(hot, 1, twin("hub", LINE), *(twin(f"t{k:04}") for k in range(n)), *(edge("hub", f"t{k:04}") for k in range(n)))
    for k in range(0, n, 3):
        assert hot.relationship("hub", f"contains:t{k:04}") is not None
        put(hot, 2 + k, DropRelationship(TwinId("hub"), f"contains:t{k:04}"))
        assert hot.relationship("hub", f"contains:t{k:04}") is None
    row = hot.row("hub")
    assert row is not None
    put(hot, 10**4, edge("hub", "t0000"))
    assert hot.relationship("hub", "contains:t0000") is not None
    assert [hot.id_of(e.target) for e in hot.out(row)] == [f"t{k:04}" for k in range(n) if k % 3] + ["t0000"]


@pytest.mark.parametrize("rebuild", [0, 5, 10**9])
def test_subtrees_stay_right_while_the_tree_changes(
    cnc_models: Models, monkeypatch: pytest.MonkeyPatch, rebuild: int
) -> None:
    monkeypatch.setattr(adjacency, "REBUILD", rebuild)
    chance, hot = random.Random(rebuild), HotGraph(cnc_models)
    children: dict[str, list[str]] = {"t0": []}
    put(hot, 1, twin("t0"))
    for seq in range(2, 300):
        if chance.random() < 0.7:
            parent, child = chance.choice(list(children)), f"t{seq}"
            children[parent].append(child)
            children[child] = []
            put(hot, seq, twin(child), edge(parent, child))
        else:
            parent = chance.choice(list(children))
            if children[parent]:
                child = children[parent].pop(chance.randrange(len(children[parent])))
                put(hot, seq, DropRelationship(TwinId(parent), f"contains:{child}"))
        top = chance.choice(list(children))
        expected, level = [], [top]
        while level:
            expected.append(sorted(level))
            level = [child for parent in level for child in children[parent]]
        row = hot.row(top)
        assert row is not None
        found = [hot.id_of(int(r)) for r in hot.subtree(row)]
        for wanted in expected:
            part, found = found[: len(wanted)], found[len(wanted) :]
            assert sorted(part) == wanted
        assert found == []


def test_last_values_of_a_snapshot_come_back_with_their_metadata(cnc_models: Models) -> None:
    documents = tuple(cnc_models.interfaces[id].document for id in cnc_models)
    hot = HotGraph()
    hot.load(
        Snapshot(
            documents,
            [Twin(TwinId("m"), MACHINE, {"name": "M", "temperature": 1.0}, "5", 5, 10, 20)],
            [Relationship("x", TwinId("m"), "contains", TwinId("nobody"))],
            [],
            [
                LastValue(TwinId("m"), "temperature", 31.5, 100, BAD, 7),
                LastValue(TwinId("m"), "controller.program_name", "P", 90, 0, 8),
                LastValue(TwinId("m"), "no_such_path", 1, 1, 0, 1),
                LastValue(TwinId("nobody"), "temperature", 1.0, 1, 0, 1),
            ],
            9,
        )
    )
    row = hot.row("m")
    assert row is not None
    assert hot.get(row, "temperature") == PropertyValue(31.5, 100, 100, BAD, 7)
    assert hot.get(row, "controller.program_name") == PropertyValue("P", 90, 90, 0, 8)
    assert (hot.seq, hot.twin_seq(row), hot.relationship_count()) == (9, 8, 0)
    redelivered = batch([slot(hot, "m", "temperature")] * 2, [0.0, 32.0], [100, 101])
    assert hot.fold(redelivered, 10).dropped == {"duplicate": 1}


def test_twins_of_unknown_models_are_kept_with_what_they_have() -> None:
    hot = HotGraph()
    properties = {"a": {"b": 1}, "c": [1, 2]}
    hot.load(Snapshot((), [Twin(TwinId("x"), ModelId("dtmi:gone:Model;1"), properties, "1", 1)]))
    found = hot.twin("x")
    assert found is not None
    assert found.properties == properties
    row = hot.row("x")
    assert row is not None
    assert hot.value(row, "a.b") == 1


def test_a_path_may_lead_into_an_object(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    put(hot, 1, twin("s", SPINDLE, placement={"x": 1.5, "y": 0.0, "z": 0.0, "heading": 0.0}))
    row = hot.row("s")
    assert row is not None
    assert hot.value(row, "placement.x") == 1.5
    assert hot.value(row, "placement.w") is None
    assert hot.value(row, "vibration_x.w") is None


def test_rows_of_an_asset_hold_all_that_extend_it_by_id(cnc_models: Models) -> None:
    hot = HotGraph(cnc_models)
    put(hot, 1, twin("b"), twin("a", LINE))
    assert [hot.id_of(row) for row in hot.rows_of(ASSET)] == ["a", "b"]
    put(hot, 2, twin("aa", MACHINE), twin("0"), DropTwin(TwinId("b")))
    assert [hot.id_of(row) for row in hot.rows_of(ASSET)] == ["0", "a", "aa"]
    assert [hot.id_of(row) for row in hot.rows_of(SPINDLE)] == ["0"]
    assert list(hot.rows_of(ASSET, subtypes=False)) == []
    assert list(hot.rows_of(ModelId("dtmi:unknown:Model;1"))) == []
