"""Messages that went missing inside a session are asked for again, and rules say how their values are sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers.node_opcua import NodeOpcUa
from servers.opcua_simulator import SimulatorProcess
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.ledger import read_record
from twinloom.adapters.opcua.mapping import OpcUaMapping, read_mapping
from twinloom.adapters.opcua.session import Session
from twinloom.adapters.opcua.source import OpcUaSource

SPINDLE = "toulouse/line-1/cnc-01/spindle"


async def test_messages_that_got_lost_on_the_way_are_republished_in_order(
    start_simulator: Callable[..., SimulatorProcess],
    read_from: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received = 0
    receive = Session.receive

    def lossy(self: Session, body: bytes) -> None:
        nonlocal received
        received += 1
        if received in (20, 21, 40):
            self._woken.set()
            return
        receive(self, body)

    monkeypatch.setattr(Session, "receive", lossy)
    simulator, sink = start_simulator(), RecordingSink()
    async with read_from(simulator, sink) as source:
        await sink.until(lambda: received > 60)
        assert source.status().counters["republished"] >= 2
        assert source.status().counters.get("missed_messages", 0) == 0
    simulator.stop()
    rows = sink.series(SPINDLE, "speed")
    times = [row[0] for row in rows]
    assert times == sorted(times) and sink.duplicates() == 0
    record = read_record(simulator.stats_file)
    assert record.between("line-1/cnc-01/spindle/speed", times[0], times[-1]) == len(times)


async def test_a_deadband_and_intervals_of_a_rule_apply_to_its_values_only(
    simulator: SimulatorProcess, examples: Path, tmp_path: Path
) -> None:
    text = (examples / "opcua.yaml").read_text(encoding="utf-8")
    quiet = (
        "rules:\n"
        '  - {path: "cnc:{line}/cnc:{machine}/cnc:spindle/cnc:load", twin: "{plant}/{line}/{machine}/spindle", '
        "property: load, deadband: 1000000}\n"
        '  - {path: "cnc:{line}/cnc:{machine}/cnc:spindle/cnc:speed", twin: "{plant}/{line}/{machine}/spindle", '
        "property: speed, publishing_interval_ms: 1000}\n"
    )
    file = tmp_path / "quiet.yaml"
    file.write_text(text.replace("rules:\n", quiet), encoding="utf-8")
    mapping = read_mapping(file)
    sink = RecordingSink()
    async with running(OpcUaSource(replace(mapping.servers[0], endpoint=simulator.endpoint), mapping), sink):
        await sink.until(lambda: len(sink.slots) == 42 and len(sink.series(SPINDLE, "speed")) > 12)
    assert len(sink.series(SPINDLE, "load")) == 1
    assert len(sink.series(SPINDLE, "temperature")) > 10
    with_speed = [batch for batch in sink.batches if (batch.slots == sink.slots[SPINDLE, "speed"]).any()]
    assert len(with_speed) <= 4 < len(sink.batches)


async def test_the_sources_of_two_servers_do_not_disturb_each_other(
    start_simulator: Callable[..., SimulatorProcess], cnc_mapping: OpcUaMapping
) -> None:
    one, other = start_simulator(), start_simulator()
    first, second = RecordingSink(), RecordingSink()
    settings = cnc_mapping.servers[0]
    async with (
        running(OpcUaSource(replace(settings, endpoint=one.endpoint), cnc_mapping), first),
        running(OpcUaSource(replace(settings, name="other", endpoint=other.endpoint), cnc_mapping), second),
    ):
        await first.until(lambda: first.count > 100)
        await second.until(lambda: second.count > 100)
        one.freeze()
        await first.until(lambda: first.states[-1] == "stale")
        before = second.count
        await second.until(lambda: second.count > before + 200)
        late = [batch.received_ns - int(batch.source_times_ns.max()) for batch in second.batches[-3:]]
        assert max(late) < 1_000_000_000
    assert second.states == ["live"] and second.gaps == []


async def test_a_server_that_refuses_a_deadband_is_read_without_it(
    node_opcua: NodeOpcUa, examples: Path, tmp_path: Path
) -> None:
    file = tmp_path / "percent.yaml"
    # feed_override of this server has no EURange: a percent deadband means nothing there, an absolute one is kept.
    text = (examples / "opcua.yaml").read_text(encoding="utf-8")
    text = text.replace(
        'property: "controller.{property}"', 'property: "controller.{property}"\n    deadband_percent: 5'
    )
    file.write_text(text.replace("report: timestamp", "report: value"), encoding="utf-8")
    mapping = read_mapping(file)
    sink = RecordingSink()
    source = OpcUaSource(replace(mapping.servers[0], endpoint=node_opcua.endpoint), mapping)
    async with running(source, sink):
        await sink.until(lambda: ("toulouse/line-1/cnc-01", "controller.feed_override") in sink.slots)
        await sink.until(lambda: len(sink.series("toulouse/line-1/cnc-01", "controller.feed_override")) > 0)
        assert source.status().counters.get("refused_nodes", 0) == 0


async def test_a_filter_that_the_server_refuses_is_left_out(
    node_opcua: NodeOpcUa, examples: Path, tmp_path: Path
) -> None:
    file = tmp_path / "beyond.yaml"
    text = (
        (examples / "opcua.yaml")
        .read_text(encoding="utf-8")
        .replace("queue_size: 100", "queue_size: 100\ndeadband_percent: 500")
    )
    file.write_text(text, encoding="utf-8")
    mapping = read_mapping(file)
    sink = RecordingSink()
    source = OpcUaSource(replace(mapping.servers[0], endpoint=node_opcua.endpoint), mapping)
    async with running(source, sink):
        await sink.until(lambda: (SPINDLE, "speed") in sink.slots and len(sink.series(SPINDLE, "speed")) > 3)
        assert source.status().counters["filters_refused"] > 0
        assert source.status().counters.get("refused_nodes", 0) == 0
