"""`@context`: the version of DTDL and the extensions of an element (specification, section "Context")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from twinloom.twin.dtdl.metamodel import VERSIONS, Version
from twinloom.twin.dtdl.vocabulary import PREVIEWS, Vocabulary, core, extensions, merged
from twinloom.twin.instance import Json

CORE = "dtmi:dtdl:context"
_SPECIFIER = re.compile(
    r"(dtmi:[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?(?::[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?)*)"
    r"(?:;([1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,5})?))?(?:#(.*))?",
    re.DOTALL,
)
_LIMITS = "dtmi:dtdl:limits:"

# An extension that implies a version of DTDL where no context names one.
_IMPLIES: dict[str, Version] = {"dtmi:iotcentral:context;2": 2}


@dataclass(frozen=True, slots=True)
class Context:
    """An active context. `incomplete`: it names an extension that is not known here (allowed in DTDL v2 only)."""

    version: Version
    extensions: tuple[tuple[str, str], ...]
    vocabulary: Vocabulary
    incomplete: bool = False

    @property
    def reserved_prefixes(self) -> tuple[str, ...]:
        """What ids of documents must not start with."""
        spaces = ("dtmi:dtdl:", "dtmi:standard:")
        known = dict(self.extensions)
        return (*spaces, "dtmi:iotcentral:") if "dtmi:iotcentral:context" in known else spaces


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    message: str
    remedy: str


@cache
def _context(version: Version, named: tuple[tuple[str, str], ...]) -> Context:
    known = extensions()
    specifiers = [f"{base};{number}" for base, number in named]
    vocabulary = merged([core(version), *(known[name] for name in specifiers if name in known)])
    return Context(version, named, vocabulary, incomplete=any(name not in known for name in specifiers))


def resolve(value: Json, parent: Context | None) -> tuple[Context | None, list[Problem]]:
    """The active context of an element with that @context inside `parent` (None: a top-level element).

    The context is None when nothing tells the version; it is the best guess when there are problems.
    """
    items = value if isinstance(value, list) else [value]
    found: list[Problem] = []
    if not items and parent is None:
        return None, [Problem("emptyContext", "the @context is empty", _NAME_A_VERSION)]
    version: Version | None = parent.version if parent else None
    named: dict[str, str] = dict(parent.extensions) if parent else {}
    seen_other = names_core = False
    previous = ""
    names_version = parent is not None
    for item in items:
        if isinstance(item, dict):
            message = "a @context defines terms of its own"
            found.append(Problem("disallowedLocalContext", message, "use only DTMIs of contexts"))
            continue
        if not isinstance(item, str):
            found.append(Problem("invalidContext", f"{item!r} is no context", "write a DTMI or an array of DTMIs"))
            continue
        parts = _SPECIFIER.fullmatch(item)
        if parts is None:
            code = "invalidContextSpecifier" if item.startswith("dtmi:") else "nonDtmiContextSpecifier"
            found.append(Problem(code, f"{item[:80]!r} is no DTMI of a context", _NAME_A_VERSION))
        elif parts[1] == CORE:
            names_version = names_core = True
            problem = _core_problem(parts[2], parts[3], previous, items, item)
            if seen_other and problem is None:
                problem = Problem(
                    "dtdlContextFollowsAffiliate", f"{item} follows an extension", "put the DTDL context first"
                )
            if problem:
                found.append(problem)
            # a minor version is read over, as the reference parser does
            number = int(parts[2].partition(".")[0]) if parts[2] else 0
            if number in VERSIONS:
                version = number
        else:
            implied = _IMPLIES.get(item)
            seen_other = seen_other or implied is None or names_core
            if implied and version is None:
                version = implied
            problem = _extension_problem(item, parts[2], parts[3], previous, version)
            if problem:
                found.append(problem)
            elif parts[2]:
                named[parts[1]] = parts[2]
        previous = item
    if previous.startswith(f"{CORE};4#limitless"):
        message = f"{previous} is not followed by limits"
        found.append(Problem("missingLimitContext", message, f"put {CORE};4 or {CORE};4#limits after it"))
    if not names_version or version is None:
        if not found:
            found.append(Problem("missingDtdlContext", "the @context names no version of DTDL", _NAME_A_VERSION))
        return None, found
    return _context(version, tuple(named.items())), found


_NAME_A_VERSION = 'name a version of DTDL first, such as "@context": "dtmi:dtdl:context;3"'


def _core_problem(
    number: str | None, fragment: str | None, previous: str, items: list[Json], item: str
) -> Problem | None:
    if number is None:
        return Problem("missingContextVersion", f"{item} names no version", _NAME_A_VERSION)
    number = number.partition(".")[0]
    if number not in ("2", "3", "4"):
        return Problem("unrecognizedContextVersion", f"DTDL has no version {number}", "use version 2, 3 or 4")
    if fragment is not None:
        if number != "4":
            message = f"DTDL v{number} has no context fragments"
            return Problem("disallowedContextFragment", message, f"write {CORE};{number}")
        if fragment not in ("limitless", "limits"):
            return Problem("invalidContextFragment", f"#{fragment[:40]} is no fragment", "write #limitless or #limits")
        if fragment == "limits" and previous != f"{CORE};4#limitless":
            message = f"{item} does not follow {CORE};4#limitless"
            return Problem("misplacedLimitContext", message, f"put {CORE};4#limitless right before it")
    if previous == f"{CORE};4#limitless" and item not in (f"{CORE};4", f"{CORE};4#limits"):
        return Problem("missingLimitContext", f"{previous} is not followed by limits", f"put {CORE};4 after it")
    return None


def _extension_problem(
    item: str, number: str | None, fragment: str | None, previous: str, version: Version | None
) -> Problem | None:
    if fragment is not None:
        return Problem("invalidContextSpecifier", f"{item} has a fragment", "leave out what follows #")
    if item.startswith(_LIMITS):
        message = f"the limits of {item} are not accepted here"
        return Problem("disallowedLimitContext", message, f"use {CORE};4#limits or {CORE};4")
    if previous == f"{CORE};4#limitless":
        return Problem("missingLimitContext", f"{previous} is not followed by limits", f"put {CORE};4 after it")
    if number is None or (version == 2 and "." in number):
        message = f"{item} has no whole version number"
        return Problem("invalidContextSpecifierForVersion", message, f"add one, such as {item.partition(';')[0]};1")
    if version != 2 and (item not in extensions() or version not in PREVIEWS.get(item, VERSIONS)):
        base = item.partition(";")[0]
        known = sorted(name for name in extensions() if name.startswith(base + ";"))
        if known:
            message = f"version {number} of the extension {base} is not known"
            return Problem("unresolvableContextVersion", message, f"use {' or '.join(known)}")
        remedy = "remove it, or use an extension from the list in docs/dtdl.md"
        return Problem("unresolvableContextSpecifier", f"the extension {item} is not known", remedy)
    return None
