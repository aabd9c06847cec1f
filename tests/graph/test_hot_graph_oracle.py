"""The hot graph held, step by step, to plain dictionaries that do the same in the most naive way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from twinloom.graph.hot import HotGraph
from twinloom.graph.store import (
    Change,
    DropRelationship,
    DropTwin,
    PutModels,
    PutRelationship,
    PutTwin,
    Snapshot,
    stamped,
)
from twinloom.twin.ids import ModelId, TwinId
from twinloom.twin.instance import Relationship, Twin
from twinloom.twin.readings import BAD, ReadingBatch, TextReading

CONTEXT = "dtmi:dtdl:context;3"
PART, ASSET, PUMP = (ModelId(f"dtmi:test:{name};1") for name in ("Part", "Asset", "Pump"))
HOUR_NS = 3_600_000_000_000
NOW = 10**18


def interface(id: str, contents: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"@context": CONTEXT, "@id": id, "@type": "Interface", "contents": contents, **more}


def prop(name: str, schema: str, kind: str = "Property") -> dict[str, Any]:
    return {"@type": kind, "name": name, "schema": schema}


def documents(extra: int) -> tuple[dict[str, Any], ...]:
    """The models; `extra` numeric fields more in Asset, which moves the slots of all its twins."""
    more = [prop(f"extra_{n}", "double", "Telemetry") for n in range(extra)]
    return (
        interface(PART, [prop("mode", "string"), prop("gain", "double")]),
        interface(
            ASSET,
            [
                *more,
                prop("label", "string"),
                prop("heat", "double", "Telemetry"),
                prop("count", "integer"),
                prop("note", "string", "Telemetry"),
                {"@type": "Component", "name": "part", "schema": PART},
                {"@type": "Relationship", "name": "contains"},
                {"@type": "Relationship", "name": "feeds"},
            ],
        ),
        interface(PUMP, [prop("flow", "double", "Telemetry")], extends=ASSET),
    )


NUMERIC = {ASSET: ("heat", "count", "part.gain"), PUMP: ("flow", "heat", "count", "part.gain")}
TEXT = ("label", "note", "part.mode")
TELEMETRY = {"heat", "note", "flow"}
IDS = tuple(f"t{n:02}" for n in range(12))
ids = st.sampled_from(IDS)
models = st.sampled_from([ASSET, PUMP])
numbers = st.integers(-5, 5)
texts = st.sampled_from(["a", "b", "c"])


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for path, value in flat.items():
        head, _, tail = path.partition(".")
        if tail:
            out.setdefault(head, {})[tail] = value
        else:
            out[head] = value
    return out


class HotGraphFollowsItsOracle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.hot = HotGraph()
        self.seq = 0
        self.extra = 0
        self.twins: dict[str, tuple[ModelId, dict[str, Any]]] = {}
        self.last_time: dict[tuple[str, str], int] = {}
        self.edges: dict[tuple[str, str], tuple[str, str, int]] = {}
        self.touched: dict[str, int] = {}
        self.ranges: dict[tuple[str, str], tuple[float, float]] = {}
        docs = documents(0)
        self.apply(PutModels(docs, tuple(ModelId(d["@id"]) for d in docs)))

    def apply(self, *changes: Change) -> None:
        self.seq += 1
        self.hot.apply(stamped(changes, seq=self.seq, time_ns=NOW + self.seq), self.seq)

    @rule(id=ids, model=models, data=st.data())
    def create(self, id: str, model: ModelId, data: st.DataObject) -> None:
        if id in self.twins:
            return
        flat = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(NUMERIC[model], numbers)))
        flat |= data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(TEXT, texts)))
        self.twins[id] = (model, flat)
        self.apply(PutTwin(Twin(TwinId(id), model, nested(flat)), create=True))
        self.touched[id] = self.seq

    @precondition(lambda self: self.twins)
    @rule(data=st.data(), number=numbers, text=texts, whole=st.booleans())
    def update(self, data: st.DataObject, number: int, text: str, whole: bool) -> None:
        id = data.draw(st.sampled_from(sorted(self.twins)))
        model, flat = self.twins[id]
        path = data.draw(st.sampled_from([*NUMERIC[model], *TEXT]))
        value = data.draw(st.sampled_from([None, text if path in TEXT else number]))
        wanted = {**flat, path: value}
        if value is None:
            del wanted[path]
        twin = Twin(TwinId(id), model, nested(wanted))
        held = path in TELEMETRY and (id, path) in self.last_time
        self.apply(PutTwin(twin, paths=None if whole else (path,)))
        if not (whole and held):
            self.twins[id] = (model, wanted)
        self.touched[id] = self.seq

    @precondition(lambda self: self.twins)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.twins)))
        self.apply(DropTwin(TwinId(id), detach=True))
        del self.twins[id]
        self.touched.pop(id)
        for key in [key for key in self.last_time if key[0] == id]:
            del self.last_time[key]
        for key in [key for key in self.ranges if key[0] == id]:
            del self.ranges[key]
        for (source, edge_id), (_, target, _) in list(self.edges.items()):
            if id in (source, target):
                del self.edges[source, edge_id]
                for end in {source, target} - {id}:
                    self.touched[end] = self.seq

    @precondition(lambda self: self.twins)
    @rule(data=st.data(), name=st.sampled_from(["contains", "feeds"]), number=numbers, own_id=st.booleans())
    def connect(self, data: st.DataObject, name: str, number: int, own_id: bool) -> None:
        source, target = (data.draw(st.sampled_from(sorted(self.twins))) for _ in range(2))
        id = f"r{number}" if own_id else f"{name}:{target}"
        before = self.edges.get((source, id))
        if before is not None:
            name, target = before[0], before[1]
        edge = Relationship(id, TwinId(source), name, TwinId(target), {"n": number})
        self.apply(PutRelationship(edge, create=before is None))
        self.edges[source, id] = (name, target, number)
        self.touched[source] = self.touched[target] = self.seq

    @precondition(lambda self: self.edges)
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        source, id = data.draw(st.sampled_from(sorted(self.edges)))
        _, target, _ = self.edges.pop((source, id))
        self.apply(DropRelationship(TwinId(source), id))
        self.touched[source] = self.touched[target] = self.seq

    @rule(extra=st.integers(0, 3))
    def change_the_model(self, extra: int) -> None:
        self.extra = extra
        docs = documents(extra)
        self.apply(PutModels(docs[1:2], (ASSET,)))

    @precondition(lambda self: self.twins)
    @rule(data=st.data(), low=numbers, width=st.integers(0, 5))
    def set_range(self, data: st.DataObject, low: int, width: int) -> None:
        id = data.draw(st.sampled_from(sorted(self.twins)))
        path = data.draw(st.sampled_from(NUMERIC[self.twins[id][0]]))
        row = self.hot.row(id)
        assert row is not None
        self.hot.set_range(self.hot.slot(row, path), low, low + width)
        self.ranges[id, path] = (low, low + width)

    @rule(data=st.data(), n=st.integers(0, 12))
    def fold(self, data: st.DataObject, n: int) -> None:
        slots, values, times, quality = [], [], [], []
        expected_dropped: dict[str, int] = {}
        expected: list[tuple[int, float, int, int]] = []
        self.seq += 1
        for _ in range(n):
            kind = data.draw(st.sampled_from(["good"] * 6 + ["dead", "nan", "inf", "bad nan", "future"]))
            alive = sorted(self.twins)
            if not alive:
                kind = "dead"
            value = float(data.draw(numbers))
            time = data.draw(st.integers(1, 8))
            code = 0
            if kind == "dead":
                slot = data.draw(st.sampled_from([-1, -7, 10**6]))
                reason = "unmapped"
            else:
                id = data.draw(st.sampled_from(alive))
                path = data.draw(st.sampled_from(NUMERIC[self.twins[id][0]]))
                row = self.hot.row(id)
                assert row is not None
                slot = self.hot.slot(row, path)
                reason = ""
                if kind in ("nan", "bad nan"):
                    value, code = float("nan"), 0 if kind == "nan" else BAD
                if kind == "inf":
                    value, code = float("inf"), BAD
                if kind == "future":
                    time = NOW + HOUR_NS + 1
                low, high = self.ranges.get((id, path), (float("-inf"), float("inf")))
                last = self.last_time.get((id, path), 0)
                if kind in ("nan", "inf"):
                    reason = "not_a_number"
                elif kind == "future":
                    reason = "future"
                elif value < low or value > high:
                    reason = "out_of_range"
                elif time < last:
                    reason = "stale"
                elif time == last:
                    reason = "duplicate"
                else:
                    self.last_time[id, path] = time
                    if value == value:
                        self.twins[id][1][path] = value
                    self.touched[id] = self.seq
                    expected.append((slot, value, time, code))
            if reason:
                expected_dropped[reason] = expected_dropped.get(reason, 0) + 1
            slots.append(slot)
            values.append(value)
            times.append(time)
            quality.append(code)
        batch = ReadingBatch(
            "test",
            np.array(slots, np.int32),
            np.array(values, np.float64),
            np.array(times, np.int64),
            np.array(quality, np.uint32),
            NOW,
        )
        folded = self.hot.fold(batch, self.seq)
        assert folded.dropped == expected_dropped
        columns = (folded.slots, folded.values, folded.source_times_ns, folded.quality)
        assert repr(list(zip(*(column.tolist() for column in columns), strict=True))) == repr(expected)

    @precondition(lambda self: self.twins)
    @rule(data=st.data(), text=texts, time=st.integers(1, 8))
    def fold_text(self, data: st.DataObject, text: str, time: int) -> None:
        id = data.draw(st.sampled_from(sorted(self.twins)))
        path = data.draw(st.sampled_from(TEXT))
        self.seq += 1
        empty = np.empty(0)
        reading = TextReading(TwinId(id), path, text, time)
        batch = ReadingBatch(
            "test", empty.astype(np.int32), empty, empty.astype(np.int64), empty.astype(np.uint32), NOW, (reading,)
        )
        folded = self.hot.fold(batch, self.seq)
        last = self.last_time.get((id, path), 0)
        if time > last:
            assert folded.texts == (reading,)
            self.last_time[id, path] = time
            self.twins[id][1][path] = text
            self.touched[id] = self.seq
        else:
            assert folded.texts == ()
            assert folded.dropped == {"stale" if time < last else "duplicate": 1}

    @rule()
    def start_again_from_a_snapshot(self) -> None:
        """What a load builds equals what grew, but for the metadata of readings, which last values bring back."""
        twins = [self.hot.twin(id) for id in sorted(self.twins)]
        edges = [edge.relationship() for row in self.hot.rows() for edge in self.hot.out(row)]
        other = HotGraph()
        other.load(Snapshot(documents(self.extra), [t for t in twins if t is not None], edges, seq=self.seq))
        assert [other.twin(id) for id in sorted(self.twins)] == twins
        assert [other.id_of(row) for row in other.rows_of()] == sorted(self.twins)
        assert other.relationship_count() == len(self.edges)

    @invariant()
    def every_twin_is_as_told(self) -> None:
        hot = self.hot
        assert len(hot) == len(self.twins)
        assert hot.seq == self.seq
        for id in IDS:
            twin = hot.twin(id)
            if id not in self.twins:
                assert twin is None
                assert id not in hot
                continue
            model, flat = self.twins[id]
            assert twin is not None
            assert (twin.model, twin.properties) == (model, nested(flat))
            row = hot.row(id)
            assert row is not None
            assert hot.twin_seq(row) == self.touched[id]
            for path in (*NUMERIC[model], *TEXT):
                assert hot.value(row, path) == flat.get(path)
                found = hot.get(row, path)
                if found is None:
                    assert path not in flat
                else:
                    assert found.value == flat.get(path)
                    if (id, path) in self.last_time:
                        assert found.source_time_ns == self.last_time[id, path]
                slot = hot.slot(row, path)
                assert (slot < 0) == (path in TEXT)
                if slot >= 0:
                    assert hot.owner[slot] == row
                    assert hot.field_of(slot).path == path

    @invariant()
    def slots_of_a_twin_are_its_own_and_consecutive(self) -> None:
        hot = self.hot
        owned = np.flatnonzero(hot.owner >= 0)
        assert len(owned) == sum(len(NUMERIC[model]) + self.extra for model, _ in self.twins.values())
        for row in hot.rows():
            mine = owned[hot.owner[owned] == row].tolist()
            assert mine == list(range(hot.base(row), hot.base(row) + len(mine)))

    @invariant()
    def models_list_their_twins_in_order(self) -> None:
        pumps = [id for id in sorted(self.twins) if self.twins[id][0] == PUMP]
        others = [id for id in sorted(self.twins) if self.twins[id][0] == ASSET]
        name = self.hot.id_of
        assert list(map(name, self.hot.rows_of(PUMP))) == pumps
        assert list(map(name, self.hot.rows_of(ASSET))) == sorted(self.twins)
        assert list(map(name, self.hot.rows_of(ASSET, subtypes=False))) == others
        assert list(map(name, self.hot.rows_of())) == sorted(self.twins)

    @invariant()
    def edges_are_as_told_in_both_directions(self) -> None:
        hot = self.hot
        out, into = set(), set()
        for row in hot.rows():
            for name in ("contains", "feeds"):
                for edge in hot.out(row, name):
                    assert edge.source == row
                    out.add((hot.id_of(row), edge.id, name, hot.id_of(edge.target), edge.properties["n"]))
                for edge in hot.into(row, name):
                    assert edge.target == row
                    into.add((hot.id_of(edge.source), edge.id, name, hot.id_of(row), edge.properties["n"]))
            assert len(hot.out(row)) == sum(source == hot.id_of(row) for source, _ in self.edges)
        told = {(source, id, name, target, n) for (source, id), (name, target, n) in self.edges.items()}
        assert out == into == told
        for (source, id), (name, target, number) in self.edges.items():
            found = hot.relationship(source, id)
            assert found is not None
            assert replace(found, etag="", seq=0) == Relationship(
                id, TwinId(source), name, TwinId(target), {"n": number}
            )

    @invariant()
    def subtrees_are_breadth_first(self) -> None:
        for id in self.twins:
            row = self.hot.row(id)
            assert row is not None
            level, seen, levels = {id}, {id}, [{id}]
            while level:
                level = {
                    target
                    for (source, _), (name, target, _) in self.edges.items()
                    if name == "contains" and source in level
                } - seen
                seen |= level
                levels.append(level)
            found = [self.hot.id_of(int(r)) for r in self.hot.subtree(row)]
            assert len(found) == len(seen)
            at = 0
            for level in levels:
                assert set(found[at : at + len(level)]) == level
                at += len(level)


TestHotGraph = HotGraphFollowsItsOracle.TestCase
TestHotGraph.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
