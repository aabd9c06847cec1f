"""Verdicts against those of the reference parser (data/dtdl/README.md says where the cases are from)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from twinloom.twin.dtdl import Document, DtdlError, Models, parse

DATA = Path(__file__).parent / "data" / "dtdl"


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    with gzip.open(DATA / "cases-dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def accepts(case: dict[str, Any]) -> bool:
    try:
        parse(case["input"])
    except DtdlError as error:
        assert error.errors
        return False
    return True


def disagreements(cases: list[dict[str, Any]]) -> list[str]:
    return [case["id"] for case in cases if accepts(case) != (case["verdict"] == "valid")]


def test_core_verdicts_equal_those_of_the_reference_parser(cases: list[dict[str, Any]]) -> None:
    core = [case for case in cases if not case["ext"]]
    assert len(core) == 2630
    assert disagreements(core) == []


def test_verdicts_with_extensions_equal_those_of_the_reference_parser(cases: list[dict[str, Any]]) -> None:
    extended = [case for case in cases if case["ext"]]
    assert len(extended) == 393
    assert disagreements(extended) == []


def test_texts_get_the_verdict_that_parsed_json_gets(cases: list[dict[str, Any]]) -> None:
    for case in cases[::7]:
        texts = [json.dumps(document) for document in case["input"]]
        assert accepts({"input": texts}) == accepts(case), case["id"]


def test_every_defect_has_a_code_a_place_a_rule_and_a_remedy(cases: list[dict[str, Any]]) -> None:
    for case in cases:
        if case["verdict"] == "valid":
            continue
        text = json.dumps(case["input"], indent=1)
        with pytest.raises(DtdlError) as caught:
            parse([Document(text, "case.json")])
        for defect in caught.value.errors:
            assert defect.code and defect.message and defect.remedy, (case["id"], defect)
            assert defect.file == "case.json" and defect.line >= 1, (case["id"], defect)
            assert resolves(case["input"], defect.path), (case["id"], defect)


def test_reported_rules_are_mostly_those_of_the_reference_parser(cases: list[dict[str, Any]]) -> None:
    same = total = 0
    for case in cases:
        if case["ids"]:
            with pytest.raises(DtdlError) as caught:
                parse(case["input"])
            total += 1
            same += bool({defect.code for defect in caught.value.errors} & set(case["ids"]))
    assert same / total >= 0.85


@pytest.mark.parametrize("path", sorted((DATA / "models").glob("*.json")), ids=lambda path: path.stem)
def test_published_models_load_and_their_documents_load_again(path: Path) -> None:
    models = parse([Document(path.read_bytes(), path.name)])
    assert len(models) == len(json.loads(path.read_text()))
    again = parse([interface.document for interface in models.interfaces.values()])
    assert described(again) == described(models)


def described(models: Models) -> dict[str, Any]:
    return {
        id: (interface.extends, interface.ancestors, list(interface.contents), dict(models.fields(id)))
        for id, interface in models.interfaces.items()
    }


def resolves(document: Any, pointer: str) -> bool:
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list):
            if not name.isdigit() or int(name) >= len(document):
                return False
            document = document[int(name)]
        elif isinstance(document, dict):
            if name not in document:
                return False
            document = document[name]
        else:
            return False
    return True
