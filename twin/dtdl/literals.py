"""Literal values: representational strings, integers and booleans, and localisable strings (same-named sections).

Each reader returns the Python value, or None, and appends what is wrong to `report(code, step, message, remedy)`;
`step` is a JSON pointer relative to the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from twinloom.twin.dtdl.documents import escaped
from twinloom.twin.dtdl.metamodel import Prop, Version
from twinloom.twin.instance import Json

Report: TypeAlias = Callable[[str, str, str, str], None]

LANGUAGE = re.compile(r"[a-z]{2,4}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?")
_XSD = "http://www.w3.org/2001/XMLSchema#"
_INT32 = 2**31


def _is_integer(value: Json) -> bool:
    if type(value) is float:
        return value.is_integer() and -_INT32 <= value < _INT32
    return type(value) is int and -_INT32 <= value < _INT32


_IS: dict[str, Callable[[Json], bool]] = {
    "string": lambda value: type(value) is str,
    "integer": _is_integer,
    "boolean": lambda value: type(value) is bool,
}
_SHAPE = {"string": "a string", "integer": "a whole number of 32 bits", "boolean": "true or false"}


def length(content: str) -> int:
    """Characters as the reference parser counts them: UTF-16 code units, so that an emoji is two."""
    return len(content) if content.isascii() else len(content.encode("utf-16-le")) // 2


def values_of(value: Json) -> list[tuple[str, Json]]:
    """The values of a member with their steps: one, or those of an array. Arrays in arrays count as one array."""
    if not isinstance(value, list):
        return [("", value)]
    found = []
    stack: list[tuple[str, Json]] = [("", value)]
    while stack:
        step, item = stack.pop()
        if isinstance(item, list):
            stack.extend((f"{step}/{index}", item[index]) for index in range(len(item) - 1, -1, -1))
        else:
            found.append((step, item))
    return found


def literal(value: Json, prop: Prop, version: Version, report: Report) -> Json:
    """One literal of the kind that `prop` says, or None."""
    values = values_of(value)
    kinds = ("string", "integer") if prop.kind == "enum value" else (prop.kind,)
    if not values:
        if prop.required:
            report(f"{prop.kind}CountBelowMin", "", "the array is empty", "write one value")
        return None
    if len(values) > 1:
        report(f"{prop.kind}MultipleValues", "", f"there are {len(values)} values", "keep one")
        return None
    ((step, item),) = values
    found = _single(item, kinds, version, lambda code, at, *rest: report(code, step + at, *rest))
    if found is not None and not isinstance(found, bool):
        _check(found, prop, report)
    return found


def _single(value: Json, kinds: tuple[str, ...], version: Version, report: Report) -> Json:
    shape = " or ".join(_SHAPE[kind] for kind in kinds)
    if not isinstance(value, dict):
        if any(_IS[kind](value) for kind in kinds):
            return int(value) if type(value) is float else value
        report(f"{kinds[-1]}Not{kinds[-1].title()}", "", f"the value is not {shape}", f"write {shape}")
        return None
    sound = True
    for name in value:
        if name in ("@value", "@type"):
            continue
        if not name.startswith("@"):
            code = "valueObjectInvalidProp"
        elif name in ("@id", "@context", "@graph"):
            code = f"valueObject{name[1:].title()}"
        elif version == 2:
            continue
        else:
            code = "valueObjectLanguage" if name == "@language" else "valueObjectKeyword"
        report(code, f"/{escaped(name)}", f"a value object has no member {name}", "write @value and @type only")
        sound = False
    if "@value" not in value:
        report(f"{kinds[-1]}ObjectNoValue", "", "the value object has no @value", f"write {shape}")
        return None
    type_ = value.get("@type")
    if type_ is not None or "@type" in value:
        short = type_.removeprefix("xsd:").removeprefix(_XSD) if isinstance(type_, str) else ""
        named = isinstance(type_, str) and type_ != short
        if not named or short not in kinds:
            remedy = "write " + " or ".join(f"xsd:{kind}" for kind in kinds)
            report(f"{kinds[-1]}TypeNot{kinds[-1].title()}", "/@type", "the @type does not fit", remedy)
            return None
        kinds = (short,)
    if not any(_IS[kind](value["@value"]) for kind in kinds):
        report(f"{kinds[-1]}ValueNot{kinds[-1].title()}", "/@value", f"the @value is not {shape}", f"write {shape}")
        return None
    return value["@value"] if sound else None


def _check(value: Json, prop: Prop, report: Report) -> None:
    if isinstance(value, str):
        if prop.longest and length(value) > prop.longest:
            message = f"the text has {length(value)} characters, {prop.longest} are allowed"
            report("stringTooLong", "", message, "shorten it")
        if prop.pattern and not re.fullmatch(prop.pattern, value):
            report("stringInvalid", "", f"{value[:60]!r} does not match {prop.pattern}", "write it in that form")
    else:
        if prop.lowest is not None and prop.lowest == prop.highest and value != prop.lowest:
            report("valueNotExact", "", f"{value} is not {prop.lowest}", f"write {prop.lowest} or leave it out")
        elif prop.lowest is not None and value < prop.lowest:
            report("valueBelowMin", "", f"{value} is less than {prop.lowest}", f"write {prop.lowest} or more")
        elif prop.highest is not None and value > prop.highest:
            report("valueAboveRange", "", f"{value} is more than {prop.highest}", f"write {prop.highest} or less")


def text(value: Json, prop: Prop, version: Version, report: Report) -> dict[str, str]:
    """A localisable string as language -> text; a string without a language is `en`."""
    found: dict[str, str] = {}
    if isinstance(value, str):
        found["en"] = value
    elif isinstance(value, list):
        for step, item in values_of(value):
            _tagged(item, found, version, lambda code, at, *rest, step=step: report(code, step + at, *rest))
    elif isinstance(value, dict):
        for language, item in value.items():
            step = f"/{escaped(language)}"
            if language.startswith("@"):
                report("langMapObjKeyword", step, f"{language} is no language code", "write codes such as en or de-DE")
            elif not LANGUAGE.fullmatch(language):
                message = f"{language[:40]!r} is no language code"
                report("langStringInvalidCode", step, message, "write codes such as en or de-DE")
            elif not isinstance(item, str):
                report("langStringValueNotString", step, "the text is no string", "write a string")
            else:
                found[language] = item
    else:
        report("langStringElementNotStringOrObject", "", "the value is no text", "write a string or texts by language")
    for language, item in found.items():
        if prop.longest and length(item) > prop.longest:
            message = f"the text ({language}) has {length(item)} characters, {prop.longest} are allowed"
            report("langStringValueTooLong", "", message, "shorten it")
    return found


def _tagged(item: Json, found: dict[str, str], version: Version, report: Report) -> None:
    language, content = "en", item
    if isinstance(item, dict):
        for name in item:
            if name in ("@value", "@language"):
                continue
            if not name.startswith("@"):
                code = "langStringElementInvalidProp"
            elif name in ("@id", "@context", "@graph"):
                code = f"langStringElement{name[1:].title()}"
            elif version == 2:
                continue
            else:
                code = "langStringElementKeyword"
            report(code, f"/{escaped(name)}", f"a text has no member {name}", "write @value and @language only")
        if "@value" not in item:
            report("langStringElementNoValue", "", "the text has no @value", "add it")
            return
        content = item["@value"]
        if not isinstance(content, str):
            report("langStringElementValueNotString", "/@value", "the @value is no string", "write a string")
            return
        if "@language" in item:
            language = item["@language"]
            if not isinstance(language, str):
                report("langStringElementCodeNotString", "/@language", "the code is no string", "write en or de-DE")
                return
            if not LANGUAGE.fullmatch(language):
                message = f"{language[:40]!r} is no language code"
                report("langStringElementInvalidCode", "/@language", message, "write codes such as en or de-DE")
                return
    elif not isinstance(item, str):
        report("langStringElementNotStringOrObject", "", "the value is no text", "write a string or an object")
        return
    if language in found:
        report("langStringElementCodeNotUnique", "", f"there are two texts in {language}", "keep one a language")
    found.setdefault(language, content)
