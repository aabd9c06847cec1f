"""Bad input: a typed error within a second, naming every defect and its place."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinloom.twin.dtdl import Document, DtdlError, Models, parse

CONTEXT = "dtmi:dtdl:context;3"


def interface(id: str = "dtmi:com:example:Pump;1", **members: Any) -> dict[str, Any]:
    return {"@context": CONTEXT, "@id": id, "@type": "Interface", **members}


def prop(name: str, schema: Any = "double", **members: Any) -> dict[str, Any]:
    return {"@type": "Property", "name": name, "schema": schema, **members}


def refused(*documents: Any) -> DtdlError:
    with pytest.raises(DtdlError) as caught:
        parse(documents)
    return caught.value


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


def cyclic() -> Any:
    document = interface()
    document["extends"] = document
    return document


def exploding() -> Any:
    value: Any = 1
    for _ in range(60):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("[" * 10_000 + "]" * 10_000, "tooDeep"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "tooDeep"),
        ("[" * 1_000_000, "tooDeep"),
        (nested(10_000, lambda value: {"extends": value}), "tooDeep"),
        (nested(10_000, lambda value: [value]), "tooDeep"),
        (cyclic(), "tooDeep"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "duplicateKey"),
        (b'{"a": "\xff"}', "invalidUtf8"),
        ('{"a": "\\ud800"}', "loneSurrogate"),
        ('{"\\udfff": 1}', "loneSurrogate"),
        ({"a": "\ud800"}, "loneSurrogate"),
        ("\ud800", "notJson"),
        ("1e999", "notJson"),
        ("9" * 100_000, "notJson"),
        ("[NaN]", "notJson"),
        ("[-Infinity]", "notJson"),
        ({"a": float("nan")}, "notJson"),
        ({"a": float("inf")}, "notJson"),
        ({1: 2}, "notJson"),
        ({"a": object()}, "notJson"),
        ("", "notJson"),
        ("{", "notJson"),
        ("626", "notJsonObject"),
        (None, "notJsonObject"),
        ([1], "notJsonObject"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_what_json_cannot_bear_is_a_typed_error_at_once(document: Any, code: str) -> None:
    before = time.process_time()
    error = refused(document)
    assert time.process_time() - before < 1.0
    assert code in [defect.code for defect in error.errors]
    assert all(defect.remedy for defect in error.errors)


def test_parsed_json_that_shares_subtrees_without_end_is_refused() -> None:
    assert [defect.code for defect in refused(exploding()).errors] == ["tooLarge"]


def test_every_duplicate_key_is_reported_with_its_line() -> None:
    text = '{"a": 1,\n "a": 2,\n "b": [{"c": 1,\n "c": 2}]}'
    defects = refused(Document(text, "pump.json")).errors
    assert [(defect.path, defect.line, defect.file) for defect in defects] == [
        ("/a", 2, "pump.json"),
        ("/b/0/c", 4, "pump.json"),
    ]


def test_every_defect_of_every_document_is_reported_with_file_line_and_pointer() -> None:
    first = json.dumps(interface(contents=[prop("ok"), prop("1bad"), prop("two", "duble")]), indent=2)
    second = json.dumps(interface("dtmi:com:example:Other", extends="dtmi:com:example:Nowhere;1", bogus=1), indent=2)
    defects = refused(Document(first, "a.json"), Document(second, "b.json")).errors
    found = {(defect.file, defect.code, defect.path) for defect in defects}
    assert found == {
        ("a.json", "stringInvalid", "/contents/1/name"),
        ("a.json", "badDtmiOrTerm", "/contents/2/schema"),
        ("b.json", "unresolvedReference", "/extends"),
        ("b.json", "propertyUndefinedTerm", "/bogus"),
    }
    lines = {defect.path: defect.line for defect in defects}
    assert '"1bad"' in first.splitlines()[lines["/contents/1/name"] - 1]
    assert "Nowhere" in second.splitlines()[lines["/extends"] - 1]


def test_a_byte_order_mark_is_no_defect() -> None:
    text = json.dumps(interface())
    assert len(parse(["\ufeff" + text])) == 1
    assert len(parse([b"\xef\xbb\xbf" + text.encode()])) == 1


def test_an_interface_over_one_mebibyte_is_refused() -> None:
    contents = [prop(f"property_{number}", comment="x" * 500) for number in range(2_500)]
    assert "interfaceTooLarge" in [defect.code for defect in refused(interface(contents=contents)).errors]


def chain(length: int, *, closed: bool) -> list[dict[str, Any]]:
    last = length - 1
    return [
        interface(
            f"dtmi:a:i{number};1",
            **({} if number == last and not closed else {"extends": f"dtmi:a:i{(number + 1) % length};1"}),
        )
        for number in range(length)
    ]


@pytest.mark.parametrize("closed", [False, True], ids=["chain", "circle"])
def test_ten_thousand_interfaces_that_extend_one_another_are_judged_in_bounded_time(closed: bool) -> None:
    before = time.process_time()
    error = refused(*chain(10_000, closed=closed))
    assert time.process_time() - before < 10.0
    codes = {defect.code for defect in error.errors}
    assert "excessiveDepth" in codes and ("recursiveStructure" in codes) == closed


def test_ten_thousand_interfaces_parse_in_bounded_time() -> None:
    documents = [interface(f"dtmi:a:i{number};1", contents=[prop("p"), prop("q")]) for number in range(10_000)]
    before = time.process_time()
    assert len(parse(documents)) == 10_000
    assert time.process_time() - before < 10.0


WORDS = st.sampled_from(
    [
        "@context", "@id", "@type", "@value", "@language", "Interface", "Property", "Telemetry", "Component", "Command",
        "Relationship", "Object", "Array", "Map", "Enum", "Temperature", "Historized", "contents", "schema", "name",
        "extends", "schemas", "fields", "unit", "double", "string", "degreeCelsius", "target", "displayName", "comment",
        "enumValues", "valueSchema", "enumValue", "mapKey", "mapValue", "elementSchema", "request", "response",
        "dtmi:dtdl:context;2", "dtmi:dtdl:context;3", "dtmi:dtdl:context;4", "dtmi:dtdl:extension:quantitativeTypes;1",
        "dtmi:dtdl:extension:annotation;2", "annotates", "dtmi:a:b;1", "dtmi:a:c;1", "x", "y",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=6),
    max_leaves=40,
)
INTERFACES = st.builds(
    lambda members, version: {
        "@context": f"dtmi:dtdl:context;{version}", "@id": "dtmi:a:b;1", "@type": "Interface", **members
    },
    st.dictionaries(WORDS, JSON, max_size=5),
    st.sampled_from([2, 3, 4]),
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(JSON | INTERFACES, max_size=4))
def test_any_json_whatsoever_gives_models_or_a_dtdl_error(documents: list[Any]) -> None:
    before = time.process_time()
    try:
        models = parse(documents)
    except DtdlError as error:
        assert error.errors
        assert all(defect.code and defect.message and defect.remedy for defect in error.errors)
    else:
        assert isinstance(models, Models)
        again = parse([found.document for found in models.interfaces.values()])
        assert again.interfaces.keys() == models.interfaces.keys()
    assert time.process_time() - before < 1.0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_text_whatsoever_gives_models_or_a_dtdl_error(text: str | bytes) -> None:
    try:
        parse([text])
    except DtdlError as error:
        assert error.errors
