"""DTDL: parsing 700 Interfaces of real ontologies, the check of one twin, and the agreement with the reference parser.

The 700 are copies, under other ids, of the published models below tests/twin/data/dtdl. Agreement is the share of the
reference parser's test cases there with the same verdict; `--disagreements` lists the others.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twinloom.twin.dtdl import Document, DtdlError, Models, parse

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "twin" / "data" / "dtdl"
INTERFACES = 700
REPEATS = 5
MACHINE = "dtmi:com:twinloom:cnc:CncMachine;1"
TWIN = {
    "name": "CNC 01",
    "serial_number": "EMT-2101",
    "manufacturer": "Example Machine Tools",
    "installed_on": "2019-02-15",
    "placement": {"x": 0.0, "y": 0.0, "z": 0.0, "heading": 0.0},
    "controller": {"operating_mode": "automatic", "program_name": "RIB-7", "feed_override": 100.0},
    "temperature": 31.5,
    "feed_rate": 1200.0,
}


def run() -> Iterator[dict[str, Any]]:
    """One line a figure: a budget is the peer where the issue names one (the ratio then is time over budget)."""
    texts = [Document(json.dumps(document), document["@id"]) for document in ontology(INTERFACES)]
    assert len(parse(texts)) == INTERFACES
    yield figure("dtdl: parse 700 interfaces", "s", seconds(lambda: parse(texts), 1), "budget", 1.0)
    models = example()
    models.check_twin(MACHINE, TWIN)
    each = seconds(lambda: models.check_twin(MACHINE, TWIN), 20_000) * 1e6
    yield figure("dtdl: check one twin of 8 properties", "us", each, "budget", 20.0)
    for name, extended, budget in (("core", False, 99.5), ("with extensions", True, 95.0)):
        judged = [verdict(case) for case in cases() if bool(case["ext"]) == extended]
        share = 100.0 * sum(judged) / len(judged)
        label = f"dtdl: verdicts as the reference parser's, {name} ({len(judged)} cases)"
        yield figure(label, "%", share, "budget", budget, repeats=1)


def figure(name: str, unit: str, ours: float, peer: str, value: float, repeats: int = REPEATS) -> dict[str, Any]:
    return {
        "figure": name,
        "unit": unit,
        "ours": round(ours, 4),
        "peer": peer,
        "peer_value": value,
        "ratio": round(ours / value, 4),
        "repeats": repeats,
    }


def seconds(call: Callable[[], object], number: int) -> float:
    """CPU seconds of one call: the median of REPEATS runs of `number` calls each."""
    found = []
    for _ in range(REPEATS):
        start = time.process_time()
        for _ in range(number):
            call()
        found.append((time.process_time() - start) / number)
    return statistics.median(found)


def ontology(count: int) -> list[dict[str, Any]]:
    """`count` Interfaces: whole copies of RealEstateCore and CIM bundles, the last one cut to what it extends."""
    names = ("rec-building", "rec-airhandlingunit", "rec-pump", "grid-breaker")
    bundle = {
        item["@id"]: item for name in names for item in json.loads((DATA / "models" / f"{name}.json").read_text())
    }
    text = json.dumps(list(bundle.values()))
    found: list[dict[str, Any]] = []
    while len(found) < count:
        found += json.loads(text.replace("dtmi:digitaltwins:", f"dtmi:copy{len(found)}:"))
    return found[:count]


def example() -> Models:
    folder = ROOT / "examples" / "cnc" / "models"
    return parse(Document(path.read_bytes(), path.name) for path in sorted(folder.glob("*.json")))


def cases() -> list[dict[str, Any]]:
    with gzip.open(DATA / "cases-dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def verdict(case: dict[str, Any]) -> bool:
    """True when ours is the reference parser's."""
    try:
        parse(case["input"])
    except DtdlError:
        return case["verdict"] != "valid"
    return bool(case["verdict"] == "valid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disagreements", action="store_true", help="list the cases with another verdict")
    if not parser.parse_args().disagreements:
        for line in run():
            print(json.dumps(line))
        return
    counts: dict[tuple[str, str], list[int]] = {}
    for case in cases():
        versions = "v" + ", v".join(map(str, case["dtdl"])) if case["dtdl"] else "no DTDL context"
        same = verdict(case)
        held = counts.setdefault((versions, "with extensions" if case["ext"] else "core"), [0, 0])
        held[0] += same
        held[1] += 1
        if not same:
            print(f"disagrees: {case['id']} ({case['verdict']})")
    print("| versions | cases | same verdict |\n| --- | --- | --- |")
    for (versions, kind), (same, every) in sorted(counts.items()):
        print(f"| {versions} | {every} {kind} | {same} |")


if __name__ == "__main__":
    main()
