"""A YAML file read strictly: every defect is a BadFile with the file, a JSON pointer and a remedy."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from twinloom.twin.errors import BadFile


class YamlFile:
    """`example` names a file or guide to compare with."""

    def __init__(self, file: str | Path, *, example: str) -> None:
        self.file = str(file)
        self._example = example

    def bad(self, place: str, message: str, remedy: str = "") -> BadFile:
        return BadFile(self.file, message, place=place, remedy=remedy or f"compare with {self._example}")

    def document(self) -> dict[str, Any]:
        """The whole file, which must be a mapping."""
        try:
            text = Path(self.file).read_text(encoding="utf-8")
        except OSError as error:
            raise self.bad("", f"cannot be read ({error.strerror})", "give the path of a mapping file") from error
        except UnicodeDecodeError as error:
            raise self.bad("", "is not UTF-8 text", "save the file as UTF-8") from error
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise self.bad(
                place, f"is not YAML ({getattr(error, 'problem', error)})", "correct the indentation or quoting there"
            ) from error
        return self.mapping(document, "/")

    def mapping(self, value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self.bad(place, "must be a mapping of names to values")
        return value

    def entries(self, parent: Mapping[str, Any], key: str, place: str) -> list[dict[str, Any]]:
        """A list of mappings with at least one entry."""
        value = parent.get(key)
        if not isinstance(value, list) or not value:
            raise self.bad(f"{place}/{key}", "must be a list with at least one entry")
        return [self.mapping(entry, f"{place}/{key}/{i}") for i, entry in enumerate(value)]

    def known(self, value: Mapping[str, Any], keys: Sequence[str], place: str) -> None:
        """Refuses a key that means nothing here."""
        for key in value:
            if key not in keys:
                raise self.bad(f"{place}/{key}", "is no key of this place", self._nearest(key, keys))

    def text(self, value: Mapping[str, Any], key: str, place: str, default: str | None = None) -> str:
        text = value.get(key, default)
        if not isinstance(text, str) or (not text and default is None):
            raise self.bad(f"{place}/{key}", "must be a text", f"add {key}: ... there")
        return text

    def texts(self, value: Mapping[str, Any], key: str, place: str) -> dict[str, str]:
        """A mapping of names to texts; empty when absent."""
        found = self.mapping(value.get(key, {}), f"{place}/{key}")
        for name, text in found.items():
            if not isinstance(text, str):
                raise self.bad(f"{place}/{key}/{name}", "must be a text")
        return found

    def number(self, value: Mapping[str, Any], key: str, default: float, place: str, *, least: float = 0.0) -> float:
        number = value.get(key, default)
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number < 1e12:
            raise self.bad(
                f"{place}/{key}", f"must be a number of at least {least:g}", f"write for example {default:g}"
            )
        return float(number)

    def whole(self, value: Mapping[str, Any], key: str, default: int, place: str, *, least: int = 0) -> int:
        number = self.number(value, key, default, place, least=least)
        if number != int(number):
            raise self.bad(f"{place}/{key}", "must be a whole number", f"write for example {default}")
        return int(number)

    def flag(self, value: Mapping[str, Any], key: str, default: bool, place: str) -> bool:
        flag = value.get(key, default)
        if not isinstance(flag, bool):
            raise self.bad(f"{place}/{key}", "must be true or false")
        return flag

    def choice(self, value: Mapping[str, Any], key: str, default: str, choices: Sequence[str], place: str) -> str:
        chosen = value.get(key, default)
        if chosen not in choices:
            raise self.bad(f"{place}/{key}", f"{str(chosen)[:80]!r} is not known", self._nearest(str(chosen), choices))
        return str(chosen)

    def existing(self, value: Mapping[str, Any], key: str, place: str) -> Path | None:
        """A file beside this one, or None when the key is absent."""
        name = self.text(value, key, place, "")
        if not name:
            return None
        path = Path(self.file).parent / name
        if not path.is_file():
            raise self.bad(f"{place}/{key}", f"there is no file {name}", "give a path relative to the mapping file")
        return path

    def secret(self, value: Mapping[str, Any], key: str, place: str) -> str:
        """The name of an environment variable that holds a secret; it must be set. The secret is read when used."""
        name = self.text(value, key, place, "")
        if name and name not in os.environ:
            raise self.bad(f"{place}/{key}", f"the environment has no {name}", f"set {name} before the start")
        return name

    def _nearest(self, word: str, words: Sequence[str]) -> str:
        close = difflib.get_close_matches(word, words, 1)
        return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(words)}"
