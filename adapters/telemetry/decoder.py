"""Messages into columns: a batch of payloads is decoded by msgspec and leaves as one `ReadingBatch`.

What a message costs besides its values is paid once a *layout* (rule, topic, names of the values): its handles are then
one array. A message that cannot be understood raises `Poison` and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from twinloom.adapters.telemetry.cloudevents import events
from twinloom.adapters.telemetry.readings import ReadingsReader
from twinloom.adapters.telemetry.rules import Rule
from twinloom.adapters.telemetry.scalars import Poison, at, items, quality_of, text_at, time_ns_of, times_of
from twinloom.adapters.telemetry.tally import Tally
from twinloom.adapters.telemetry.targets import NOWHERE, NUMBER, TEXT, UNMAPPED, Handles, Targets
from twinloom.adapters.telemetry.templates import filled
from twinloom.twin.errors import BadRequest
from twinloom.twin.instance import Json
from twinloom.twin.ports import ReadingSink
from twinloom.twin.readings import GOOD, Codes, Floats, ReadingBatch, TextReading, Times

BAD_NO_DATA = 0x809B0000  # Part 4, 7.39.2
_MOST_LAYOUTS = 100_000
_DEEPEST = 8
_NUMBERS = frozenset((float, int))

Context = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came. `time_ns` is when the broker (or we) got it; `headers` are texts."""

    topic: str
    payload: bytes
    time_ns: int
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Layout:
    """`names` None: every member is a value. `plain`: no value belongs to the slow lane."""

    handles: Handles
    names: tuple[str, ...] | None
    plain: bool


@dataclass(frozen=True, slots=True)
class _Part:
    handles: Handles
    values: Floats
    times_ns: Times | int
    quality: Codes | int


class Decoder:
    """`take` messages, then `batch()` what they held. `variables` are names that every template may use."""

    def __init__(self, rules: Sequence[Rule], variables: Mapping[str, str], targets: Targets, tally: Tally) -> None:
        self._rules = tuple(rules)
        self._variables = dict(variables)
        self._targets = targets
        self._tally = tally
        self._of_topic: dict[str, tuple[int, dict[str, str]]] = {}
        self._layouts: dict[tuple[int, Context, tuple[str, ...]], _Layout] = {}
        self._handles: dict[tuple[int, Context, str], int] = {}
        self._tables: dict[tuple[int, Context], dict[Any, int]] = {}
        self._version = -1
        self._parts: list[_Part] = []
        self._texts: list[TextReading] = []
        self._readers = [ReadingsReader(rule) if rule.shape == "readings" else None for rule in self._rules]

    @property
    def waiting(self) -> int:
        """Values taken since the last `batch()`."""
        return sum(len(part.handles) for part in self._parts) + len(self._texts)

    def follow(self, sink: ReadingSink) -> None:
        """Looks targets up again when the core's layout changed. Call before a run of `take`."""
        self._targets.follow(sink)
        if self._version != self._targets.version:
            self._version = self._targets.version
            self._layouts.clear()

    def take(self, message: Message) -> int:
        """The number of values in the message. Raises Poison, and then none of them is kept."""
        parts, texts = len(self._parts), len(self._texts)
        try:
            number, names = self._rule_of(message.topic)
            rule = self._rules[number]
            if rule.format == "cloudevents":
                for payload, attributes in events(message.payload, message.headers):
                    time_ns = time_ns_of(attributes["ce_time"], "iso") if attributes.get("ce_time") else message.time_ns
                    self._payload(number, rule, payload, {**names, **attributes, "key": message.key}, time_ns)
            else:
                self._payload(number, rule, message.payload, {**names, "key": message.key}, message.time_ns)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            del self._parts[parts:], self._texts[texts:]
            raise Poison("not_decodable", f"the payload is not what the rule says: {error}") from error
        except Poison:
            del self._parts[parts:], self._texts[texts:]
            raise
        return sum(len(part.handles) for part in self._parts[parts:]) + len(self._texts) - texts

    def timed(self, topic: str) -> bool:
        """Whether messages of a topic carry their own time. Raises Poison when no rule has it."""
        return bool(self._rules[self._rule_of(topic)[0]].time)

    def batch(self, received_ns: int, lost: dict[str, int] | None = None) -> ReadingBatch | None:
        """Everything taken since the last call, in the order of arrival; None when nothing of it has a place."""
        parts, self._parts = self._parts, []
        texts, self._texts = tuple(self._texts), []
        if not parts:
            empty = np.empty(0, np.int32)
            return self._targets.batch(
                empty, np.empty(0), np.empty(0, np.int64), np.empty(0, np.uint32), received_ns, texts, lost
            )
        counts = [len(part.handles) for part in parts]
        return self._targets.batch(
            np.concatenate([part.handles for part in parts]),
            np.concatenate([part.values for part in parts]),
            _column([part.times_ns for part in parts], counts, np.int64),
            _column([part.quality for part in parts], counts, np.uint32),
            received_ns,
            texts,
            lost,
        )

    # ---- messages --------------------------------------------------------------------------------------------------

    def _rule_of(self, topic: str) -> tuple[int, dict[str, str]]:
        found = self._of_topic.get(topic)
        if found is None:
            for number, rule in enumerate(self._rules):
                match = rule.topic_pattern.fullmatch(topic)
                if match is not None:
                    found = number, {**self._variables, **match.groupdict(), "topic": topic}
                    break
            else:
                raise Poison("no_rule", f"no rule has the topic {topic[:200]!r}")
            if len(self._of_topic) >= _MOST_LAYOUTS:
                self._of_topic.clear()
            self._of_topic[topic] = found
        return found

    def _payload(self, number: int, rule: Rule, payload: bytes, names: Mapping[str, str], time_ns: int) -> None:
        context = tuple([names.get(name, "") for name in rule.names])
        reader = self._readers[number]
        if reader is not None:
            self._readings(number, rule, reader, payload, context, time_ns)
            return
        document = payload.decode() if rule.format == "text" else msgspec.json.decode(payload)
        if rule.shape == "value":
            self._value(number, rule, document, context, time_ns)
            return
        if (
            rule.shape == "values"
            and isinstance(document, list)
            and self._objects(number, rule, document, context, time_ns)
        ):
            return
        take = self._values if rule.shape == "values" else self._columns
        for one in document if isinstance(document, list) else (document,):
            if not isinstance(one, dict):
                raise Poison("wrong_shape", "the message is no JSON object")
            holder = one if not rule.at else at(one, rule.at)
            if not isinstance(holder, dict):
                raise Poison("wrong_shape", f"there is no JSON object at {rule.at}")
            pointers = tuple([text_at(one, pointer) for pointer in rule.context])
            take(number, rule, one, holder, context + pointers, time_ns)

    def _objects(self, number: int, rule: Rule, document: list[Any], context: Context, time_ns: int) -> bool:
        """Many objects of plain numbers at once; False, and nothing taken, when one of them is more than that."""
        flat: list[Any] = []
        layouts: list[Handles] = []
        times: list[int] = []
        codes: list[int] = []
        for one in document:
            holder = at(one, rule.at) if rule.at and isinstance(one, dict) else one
            if not isinstance(one, dict) or not isinstance(holder, dict):
                return False
            names = context + tuple([text_at(one, pointer) for pointer in rule.context])
            layout = self._layout(number, rule, names, tuple(holder))
            if not layout.plain:
                return False
            flat.extend(holder.values() if layout.names is None else [holder[name] for name in layout.names])
            layouts.append(layout.handles)
            times.append(time_ns_of(at(one, rule.time), rule.time_unit) if rule.time else time_ns)
            codes.append(quality_of(at(one, rule.quality)) if rule.quality else GOOD)
        if not flat or not _NUMBERS.issuperset(map(type, flat)):
            return False
        try:
            values = np.array(flat, np.float64)
        except OverflowError:
            return False
        counts = [len(handles) for handles in layouts]
        columns = np.repeat(np.array(times, np.int64), counts), np.repeat(np.array(codes, np.uint32), counts)
        self._parts.append(_Part(np.concatenate(layouts), values, *columns))
        return True

    def _values(
        self, number: int, rule: Rule, one: Any, holder: dict[str, Any], context: Context, time_ns: int
    ) -> None:
        if rule.time:
            time_ns = time_ns_of(at(one, rule.time), rule.time_unit)
        quality = quality_of(at(one, rule.quality)) if rule.quality else GOOD
        layout = self._layout(number, rule, context, tuple(holder))
        values = list(holder.values()) if layout.names is None else [holder[name] for name in layout.names]
        if layout.plain and _NUMBERS.issuperset(map(type, values)):
            try:
                self._parts.append(_Part(layout.handles, np.array(values, np.float64), time_ns, quality))
                return
            except OverflowError:
                pass  # an integer beyond float64: the slow lane names it
        names = layout.names if layout.names is not None else tuple(holder)
        for name, value in zip(names, values, strict=True):
            self._one(number, rule, context, name, value, time_ns, quality, 0)

    def _columns(
        self, number: int, rule: Rule, one: Any, holder: dict[str, Any], context: Context, time_ns: int
    ) -> None:
        layout = self._layout(number, rule, context, tuple(holder))
        names = layout.names if layout.names is not None else tuple(holder)
        if not rule.time:
            raise Poison("bad_time", "columns need a column of times")
        times = times_of(at(one, rule.time), rule.time_unit)
        quality: Codes | int = GOOD
        if rule.quality:
            quality = np.array([quality_of(code) for code in items(at(one, rule.quality))], np.uint32)
        for handle, name in zip(layout.handles.tolist(), names, strict=True):
            values = items(holder[name])
            if len(values) != len(times) or (not isinstance(quality, int) and len(quality) != len(times)):
                raise Poison("ragged_columns", f"{name[:80]!r} has {len(values)} values for {len(times)} times")
            if self._targets.kinds[handle] != TEXT and _NUMBERS.issuperset(map(type, values)):
                try:
                    column = np.array(values, np.float64)
                except OverflowError:
                    column = None
                if column is not None:
                    self._parts.append(_Part(np.full(len(times), handle, np.int32), column, times, quality))
                    continue
            codes = [quality] * len(times) if isinstance(quality, int) else quality.tolist()
            for value, time, code in zip(values, times.tolist(), codes, strict=True):
                self._one(number, rule, context, name, value, time, code, 0)

    def _value(self, number: int, rule: Rule, document: Any, context: Context, time_ns: int) -> None:
        if rule.time:
            time_ns = time_ns_of(at(document, rule.time), rule.time_unit)
        quality = quality_of(at(document, rule.quality)) if rule.quality else GOOD
        pointers = tuple([text_at(document, pointer) for pointer in rule.context])
        value = at(document, rule.at) if rule.at else document
        context += pointers
        if rule.format == "text" and self._targets.kinds[self._handle(number, rule, context, "value")] != TEXT:
            try:
                value = float(value)
            except ValueError:
                raise Poison("type_mismatch", f"{value[:80]!r} is no number") from None
        self._one(number, rule, context, "value", value, time_ns, quality, 0)

    def _readings(
        self, number: int, rule: Rule, reader: ReadingsReader, payload: bytes, context: Context, time_ns: int
    ) -> None:
        readings, numeric, message = reader.read(payload)
        context += tuple([text_at(message, pointer) for pointer in rule.context])
        names: list[Any] = reader.names(readings)
        if len(self._tables) >= _MOST_LAYOUTS:
            self._tables.clear()
        table = self._tables.setdefault((number, context), {})
        if len(table) >= 10 * _MOST_LAYOUTS:
            table.clear()
        try:
            handles = [table[name] for name in names]
        except KeyError:
            for name in set(names) - table.keys():
                own, last = reader.parts(name)
                table[name] = self._handle(number, rule, context + own, last)
            handles = [table[name] for name in names]
        if rule.time.startswith("."):
            times = times_of([reading.time for reading in readings], rule.time_unit)
        else:
            sent_ns = time_ns_of(at(message, rule.time), rule.time_unit) if rule.time else time_ns
            times = np.full(len(readings), sent_ns, np.int64)
        if rule.quality.startswith("."):
            quality = np.array([quality_of(reading.quality) for reading in readings], np.uint32)
        else:
            code = quality_of(at(message, rule.quality)) if rule.quality else GOOD
            quality = np.full(len(readings), code, np.uint32)
        if numeric:
            kinds = self._targets.kinds
            if not any(kinds[handle] == TEXT for handle in set(handles)):
                values = np.array([reading.value for reading in readings], np.float64)
                self._parts.append(_Part(np.array(handles, np.int32), values, times, quality))
                return
        for name, reading, time, code in zip(names, readings, times.tolist(), quality.tolist(), strict=True):
            own, last = reader.parts(name)
            self._one(number, rule, context + own, last, reading.value, time, code, 0)

    # ---- values ----------------------------------------------------------------------------------------------------

    def _one(
        self, number: int, rule: Rule, context: Context, name: str, value: Json, time_ns: int, quality: int, depth: int
    ) -> None:
        """One value by itself: numbers to the columns, everything else to the slow lane, objects by their members."""
        handle = self._handle(number, rule, context, name)
        kind = self._targets.kinds[handle]
        if isinstance(value, dict) and kind != TEXT and depth < _DEEPEST:
            for inner, part in value.items():
                self._one(number, rule, context, f"{name}.{inner}", part, time_ns, quality, depth + 1)
            return
        if value is None and quality >> 30 == 0:
            quality = BAD_NO_DATA
        if kind == TEXT:
            text = self._targets.text(handle, value, time_ns, quality)
            if text is not None:
                self._texts.append(text)
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            try:
                number_ = float("nan") if value is None else float(value)
            except OverflowError:
                number_ = float("inf")  # the fold counts it as not_a_number
            self._parts.append(_Part(np.array([handle], np.int32), np.array([number_], np.float64), time_ns, quality))
        else:
            self._targets.text(handle, value, time_ns, quality)

    def _layout(self, number: int, rule: Rule, context: Context, names: tuple[str, ...]) -> _Layout:
        key = (number, context, names)
        layout = self._layouts.get(key)
        if layout is None:
            reserved = rule.reserved
            kept = tuple(name for name in names if name not in reserved)
            handles = [self._handle(number, rule, context, name) for name in kept]
            plain = all(self._targets.kinds[handle] in (NUMBER, UNMAPPED) for handle in handles)
            layout = _Layout(np.array(handles, np.int32), None if len(kept) == len(names) else kept, plain)
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[key] = layout
        return layout

    def _handle(self, number: int, rule: Rule, context: Context, name: str) -> int:
        key = (number, context, name)
        handle = self._handles.get(key)
        if handle is None:
            if len(self._handles) >= 10 * _MOST_LAYOUTS:
                self._handles.clear()
            handle = self._handles[key] = self._named(rule, context, name)
        return handle

    def _named(self, rule: Rule, context: Context, name: str) -> int:
        fields = [f".{field}" for field in rule.fields]
        values = dict(zip((*rule.names, *rule.context, *fields), context, strict=True))
        for member in rule.members:
            match = member.pattern.fullmatch(name)
            if match is not None:
                values.update(match.groupdict())
                try:
                    return self._targets.handle(
                        filled(member.twin, values), filled(member.property, values), member.unit
                    )
                except BadRequest as error:
                    self._tally.reject("no_target", rule.place, f"{rule.place}: {error}")
                    return NOWHERE
        self._tally.reject("no_member", rule.place, f"{rule.place}: no member of the rule is named {name[:80]!r}")
        return NOWHERE


def _column(parts: Sequence[Any], counts: Sequence[int], dtype: Any) -> Any:
    """One column from parts that are an array, or one number for `count` rows."""
    if all(isinstance(part, int) for part in parts):
        return np.repeat(np.array(parts, dtype), counts)
    return np.concatenate(
        [
            np.full(count, part, dtype) if isinstance(part, int) else part
            for part, count in zip(parts, counts, strict=True)
        ]
    )
