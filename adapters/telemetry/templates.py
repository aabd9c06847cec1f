"""Names with captures: `plants/{plant}/{machine}` matches texts and makes others.

`{word}` matches any text of one segment (no separator in it) and becomes a variable. `{/a/b}` is a JSON pointer
(RFC 6901) into the message and `{.a}` a member of one reading; both make texts and match none.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from twinloom.twin.errors import BadRequest

_FIELD = re.compile(r"\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def captures(template: str) -> tuple[str, ...]:
    """The names in braces, in order. Raises BadRequest for braces that hold no name.

    >>> captures("{plant}/{/machine}")
    ('plant', '/machine')
    """
    names = tuple(_FIELD.findall(template))
    for name in names:
        if not name.startswith(("/", ".")) and not _WORD.fullmatch(name):
            raise BadRequest(f"{{{name}}} is no name", remedy="write {word}, or {/pointer} into the message")
    if "{" in _FIELD.sub("", template) or "}" in _FIELD.sub("", template):
        raise BadRequest(f"the braces of {template!r} do not pair", remedy="write {word}")
    return names


def pattern(template: str, separators: str, *, open_end: bool = False) -> re.Pattern[str]:
    """A pattern for the texts that `template` stands for; a capture has none of `separators` in it.

    `open_end` lets the last capture take everything.

    >>> pattern("{a}/x/{b}", "/").fullmatch("1/x/2").groupdict()
    {'a': '1', 'b': '2'}
    """
    names = captures(template)
    parts: list[str] = []
    seen: set[str] = set()
    at = 0
    for number, found in enumerate(_FIELD.finditer(template), 1):
        parts.append(re.escape(template[at : found.start()]))
        name = found[1]
        if name.startswith(("/", ".")):
            raise BadRequest(f"{{{name}}} cannot match a name", remedy="use pointers only in twin and property")
        taking = ".+" if open_end and number == len(names) else f"[^{re.escape(separators)}]+"
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{taking})")
        seen.add(name)
        at = found.end()
    parts.append(re.escape(template[at:]))
    return re.compile("".join(parts))


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its names replaced. Raises BadRequest for a name that has no value.

    >>> filled("{a}/{b}", {"a": "1", "b": "2"})
    '1/2'
    """
    try:
        return _FIELD.sub(lambda found: values[found[1]], template)
    except KeyError as error:
        raise BadRequest(
            f"{{{error.args[0]}}} has no value", remedy="capture it in the topic or name a member"
        ) from None


def pointed(document: object, pointer: str) -> object:
    """The value at a JSON pointer; KeyError when there is none.

    >>> pointed({"a": [1, {"b": 2}]}, "/a/1/b")
    2
    """
    value = document
    for step in steps(pointer):
        if isinstance(value, dict):
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise KeyError(pointer)
    return value


@functools.lru_cache(maxsize=1024)
def steps(pointer: str) -> tuple[str, ...]:
    """The member names of a JSON pointer."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
