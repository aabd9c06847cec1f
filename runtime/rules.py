"""Alert rules as data: read from YAML, checked against the models before anything starts.

A rule watches one value of every twin of a model (subtypes included). `above` or `below` raises, `clear` is where the
alert ends (hysteresis), `for_s` how long the condition must hold (duration). `rul_days` is the remaining useful life.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from twinloom.twin.assessments import Severity
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import BadFile, BadRequest
from twinloom.twin.ids import ModelId, model_id
from twinloom.twin.units import converter, symbol

RUL_DAYS = "rul_days"
MAX_BYTES = 1 << 20
_KEYS = ("name", "model", "value", "above", "below", "clear", "for_s", "severity", "message", "work_order", "unit")
_REQUIRED = ("name", "model", "value", "severity", "message")
_FIELDS = ("twin", "rule", "value", "threshold", "unit")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `threshold` and `clear` are in `unit` ('' = the model's own); `above`: which side raises."""

    name: str
    model: ModelId
    value: str
    above: bool
    threshold: float
    clear: float
    for_s: float
    severity: Severity
    message: str
    work_order: str = ""
    unit: str = ""
    file: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A rule in the unit of the model: what the judge compares. `unit` is its DTDL name, `symbol` what people read."""

    rule: Rule
    threshold: float
    clear: float
    unit: str
    symbol: str

    def text(self, twin: str, value: float) -> str:
        """The message about one twin."""
        return self.rule.message.format(
            twin=twin, rule=self.rule.name, value=value, threshold=self.threshold, unit=self.symbol
        )


def read_rules(path: str | Path) -> tuple[Rule, ...]:
    """The rules of a YAML file. Raises BadFile naming the place in it and the remedy."""
    file = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadFile(
            file, f"cannot be read ({error.strerror})", remedy="check the path and its permissions"
        ) from error
    if len(data) > MAX_BYTES:
        raise BadFile(file, "is larger than 1 MiB", remedy="split the rules")
    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "is no UTF-8 text"
        raise BadFile(file, f"is no YAML: {what}", place=place, remedy="correct the syntax there") from error
    if not isinstance(content, dict) or not isinstance(content.get("rules"), list):
        raise BadFile(file, "has no list of rules", place="/", remedy="write `rules:` and a list below it")
    for key in content:
        if key != "rules":
            raise BadFile(file, f"unknown key {key!r}", place=f"/{key}", remedy="only `rules` is known here")
    rules = tuple(_rule(file, f"/rules/{n}", item) for n, item in enumerate(content["rules"]))
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.name in seen:
            raise BadFile(
                file,
                f"the name {rule.name!r} is taken by {seen[rule.name]}",
                place=f"{rule.place}/name",
                remedy="give every rule a name of its own",
            )
        seen[rule.name] = rule.place
    return rules


def bind(rules: Iterable[Rule], models: Models) -> list[BoundRule]:
    """The rules against the models. Raises BadFile when a model, path or unit does not exist, with what is near it."""
    bound = []
    for rule in rules:
        if rule.model not in models:
            raise _unknown(rule, "model", rule.model, models)
        unit = _unit_of_value(rule, models)
        factor, offset = 1.0, 0.0
        if rule.unit and rule.unit != unit:
            try:
                factor, offset = converter(rule.unit, unit)
            except BadRequest as error:
                raise BadFile(rule.file, error.message, place=f"{rule.place}/unit", remedy=error.remedy) from error
        shown = "d" if rule.value == RUL_DAYS and unit == "day" else symbol(unit) if unit else ""
        bound.append(BoundRule(rule, rule.threshold * factor + offset, rule.clear * factor + offset, unit, shown))
    return bound


def _unit_of_value(rule: Rule, models: Models) -> str:
    fields = models.fields(rule.model)
    if rule.value == RUL_DAYS and RUL_DAYS not in fields:
        return "day"
    found = fields.get(rule.value)
    if found is None:
        raise _unknown(rule, "value", rule.value, [*fields, RUL_DAYS])
    if not found.numeric:
        numeric = ", ".join(path for path, f in fields.items() if f.numeric)
        raise BadFile(
            rule.file,
            f"{rule.value!r} of {rule.model} is not a number",
            place=f"{rule.place}/value",
            remedy=f"watch one of {numeric or 'no value: the model has no number'}",
        )
    return found.unit


def _unknown(rule: Rule, key: str, name: str, known: Iterable[str]) -> BadFile:
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(names[:20]) or 'none'}"
    of = f" of {rule.model}" if key == "value" else ""
    return BadFile(rule.file, f"unknown {key} {name!r}{of}", place=f"{rule.place}/{key}", remedy=remedy)


def _rule(file: str, place: str, item: Any) -> Rule:
    def bad(key: str, message: str, remedy: str) -> BadFile:
        return BadFile(file, message, place=f"{place}/{key}" if key else place, remedy=remedy)

    if not isinstance(item, Mapping):
        raise bad("", "a rule must be a mapping", f"write the keys {', '.join(_REQUIRED)}")
    for key in item:
        if key not in _KEYS:
            near = get_close_matches(str(key), _KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}"
            raise bad(str(key), f"unknown key {key!r}", hint)
    for key in _REQUIRED:
        if key not in item:
            raise bad("", f"the key {key!r} is missing", f"add `{key}:`")
    for key in ("name", "model", "value", "message", "work_order", "unit"):
        if key in item and (not isinstance(item[key], str) or not item[key].strip()):
            raise bad(key, f"{key} must be text", "write it in quotes")

    def number(key: str, default: float | None = None) -> float:
        value = item.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
            raise bad(key, f"{key} must be a finite number", "write a number such as 4.5")
        return float(value)

    if ("above" in item) == ("below" in item):
        raise bad("", "a rule needs `above` or `below`, and not both", "give the threshold that raises the alert")
    above = "above" in item
    threshold = number("above" if above else "below")
    clear = number("clear", threshold)
    if (clear > threshold) if above else (clear < threshold):
        side = "at or below" if above else "at or above"
        raise bad("clear", f"clear {clear:g} lies beyond the threshold {threshold:g}", f"put it {side} the threshold")
    for_s = number("for_s", 0.0)
    if not 0.0 <= for_s <= 86_400.0 * 366:
        raise bad("for_s", f"for_s {for_s:g} is out of range", "give seconds, from 0 up to a year")
    try:
        model = model_id(item["model"])
    except BadRequest as error:
        raise bad("model", error.message, error.remedy) from error
    severities = [s.value for s in Severity]
    if item["severity"] not in severities:
        near = get_close_matches(str(item["severity"]), severities, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(severities)}"
        raise bad("severity", f"unknown severity {item['severity']!r}", hint)
    severity = Severity(item["severity"])
    work_order = item.get("work_order", "")
    if work_order and severity is not Severity.CRITICAL:
        raise bad("work_order", "only a critical rule opens work orders", "make it critical, or leave work_order out")
    _check_message(item["message"], bad)
    return Rule(
        item["name"],
        model,
        item["value"],
        above,
        threshold,
        clear,
        for_s,
        severity,
        item["message"],
        work_order,
        item.get("unit", ""),
        file,
        place,
    )


def _check_message(message: str, bad: Any) -> None:
    """Only the known names, without attributes or items: a rule file must not reach into the process."""
    try:
        names: Sequence[str | None] = [name for _, name, _, _ in Formatter().parse(message)]
        for name in names:
            if name is not None and name not in _FIELDS:
                known = ", ".join("{" + n + "}" for n in _FIELDS)
                raise bad("message", f"unknown placeholder {{{name}}}", f"known are {known}")
        message.format(twin="t", rule="r", value=1.0, threshold=1.0, unit="u")
    except (ValueError, IndexError, KeyError) as error:
        raise bad(
            "message", f"is no message format: {error}", "write {value:.1f}, or double a brace to show it"
        ) from error
