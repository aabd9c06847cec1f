"""kill -9 of the service at random instants: nothing acknowledged or published is ever lost or half there."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

WORKER = Path(__file__).with_name("crash_worker.py")
KILLS = 21
READY_S = 30.0


@dataclass
class Witness:
    """What the dead processes said, and what must therefore be true of the state that the next one finds."""

    counts: dict[str, int] = field(default_factory=dict)
    created: set[str] = field(default_factory=set)
    joined: dict[str, str] = field(default_factory=dict)
    delete_asked: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    models: list[list[str]] = field(default_factory=list)
    raised: set[str] = field(default_factory=set)
    cleared: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    last_seq: int = 0
    acks: int = 0

    def hear(self, line: dict[str, Any]) -> None:
        if "seq" in line and "published" in line:
            assert line["seq"] > self.last_seq, "the feed only grows, also over restarts"
            self.last_seq = line["seq"]
        self.acks += "ack" in line
        match line:
            case {"ack": "count", "twin": twin, "value": value}:
                self.counts[twin] = value
            case {"ack": "create", "twin": twin}:
                self.created.add(twin)
            case {"ack": "join", "twin": twin, "target": target}:
                self.joined[twin] = target
            case {"asked": "delete", "twin": twin}:
                self.delete_asked.add(twin)
            case {"ack": "delete", "twin": twin}:
                self.deleted.add(twin)
            case {"ack": "models", "ids": ids}:
                self.models.append(ids)
            case {"ack": "acknowledge", "alert": alert}:
                self.acknowledged.add(alert)
            case {"ack": "close", "order": order}:
                self.closed.add(order)
            case {"published": "raised", "alert": alert}:
                self.raised.add(alert)
            case {"published": "cleared", "alert": alert}:
                self.cleared.add(alert)
            case {"published": "opened", "order": order}:
                self.opened.add(order)

    def check(self, state: dict[str, Any]) -> None:
        twins, alerts, orders = state["twins"], state["alerts"], state["work_orders"]
        assert state["seq"] > self.last_seq, "no seq is given twice"
        for pump, acknowledged in self.counts.items():
            assert twins[pump]["properties"]["count"] in (acknowledged, acknowledged + 1), (
                "no acknowledged update is lost"
            )
            self.counts[pump] = twins[pump]["properties"]["count"]
        for twin in twins.values():
            assert twin["properties"]["twice"] == 2 * twin["properties"]["count"], "no update is half there"
        assert self.deleted.isdisjoint(twins), "what was deleted stays so"
        standing = self.created - self.delete_asked
        assert standing <= twins.keys(), "no acknowledged twin is lost"
        for twin in standing & self.joined.keys():
            assert twins[twin]["feeds"] == [self.joined[twin]], "no acknowledged relationship is lost"
        models = set(state["models"])
        assert {id for pair in self.models for id in pair} <= models, "no acknowledged model is lost"
        for id in models:
            assert id.replace("Base", "Derived") in models, "no upload is half there"
            assert id.replace("Derived", "Base") in models, "no upload is half there"
        assert self.raised <= alerts.keys(), "no published alert is lost"
        assert all(alerts[id][2] == "cleared" for id in self.cleared), "a cleared alert stays cleared"
        assert all(alerts[id][3] == "ann" for id in self.acknowledged), "no acknowledgement is lost"
        assert self.opened <= orders.keys(), "no published work order is lost"
        assert all(orders[id][2] == "closed" for id in self.closed), "a closed work order stays closed"
        assert all(alert in alerts for _, _, _, alert in orders.values()), "no work order without its alert"
        now_standing = [(rule, twin) for rule, twin, state, _ in alerts.values() if state != "cleared"]
        assert len(now_standing) == len(set(now_standing)), "no alert is raised twice"
        now_open = [(rule, twin) for rule, twin, state, _ in orders.values() if state != "closed"]
        assert len(now_open) == len(set(now_open)), "no work order is opened twice"


def lines(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Complete lines only: what the kill cut off was never said."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith(b"\n"):
            yield orjson.loads(line)


def test_nothing_acknowledged_is_lost_or_half_there_after_kill_9(tmp_path: Path) -> None:
    chance = random.Random(20_260)
    witness = Witness()
    slowest_s = 0.0
    for run in range(KILLS + 1):
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, str(WORKER), str(tmp_path), str(run)], stdout=subprocess.PIPE)
        guard = threading.Timer(READY_S, process.kill)
        guard.start()
        try:
            said = lines(process)
            first = next(said, None)
            assert first is not None, "the service starts over what the kill left"
            slowest_s = max(slowest_s, time.monotonic() - started)
            guard.cancel()
            witness.check(first["state"])
            if run == KILLS:
                break
            guard = threading.Timer(chance.uniform(0.0, 0.6), process.kill)
            guard.start()
            for line in said:
                witness.hear(line)
        finally:
            guard.cancel()
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    assert witness.acks > 100, "the kills hit a service at work"
    assert witness.raised
    assert witness.opened
    assert slowest_s < READY_S
