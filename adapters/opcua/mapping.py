"""Which OPC UA node feeds which twin property: the mapping file, read into rules and servers.

A rule's path is browse names from the Objects folder, `prefix:Name` each, where `{word}` stands for any text of one
name and becomes a variable of the rule's twin and property. Prefixes are namespace URIs, so that nothing depends on a
server's namespace indices. The first rule that matches a node decides. A rule may name one node instead of a path
(`node: nsu=<uri>;s=<id>`, Part 6, 5.1.13). Every defect is a BadFile with file, place and remedy.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import urlsplit

import yaml

from twinloom.adapters.opcua.settings import OpcUaSettings, Sampling, Security
from twinloom.twin.errors import BadFile, BadRequest
from twinloom.twin.ids import TwinId, twin_id

BrowseName = tuple[str, str]
"""(namespace URI, name)."""

_BASE = "http://opcfoundation.org/UA/"
_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_POLICIES = ("None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
_MODES = ("None", "Sign", "SignAndEncrypt")
_SAMPLING_KEYS = (
    "sampling_interval_ms", "publishing_interval_ms", "queue_size", "deadband", "deadband_percent", "report",
)  # fmt: skip
_TIMES = {
    "timeout_s": 4.0, "connect_timeout_s": 8.0, "retry_max_s": 2.0, "keep_alive_s": 0.5, "give_up_s": 3.0,
    "backfill_s": 3.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """Where a node's values go, and how they are asked for. `unit` overrides the node's EngineeringUnits.

    `rule` is the place of the rule in the mapping file that said so.
    """

    twin: TwinId
    path: str
    sampling: Sampling
    unit: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class _Step:
    namespace: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table. `node` = a single node by its expanded id, else `steps` match browse names."""

    place: str
    steps: tuple[_Step, ...]
    node: str
    twin: str
    property: str
    sampling: Sampling
    unit: str

    def match(self, names: Sequence[BrowseName]) -> dict[str, str] | None:
        """The captures when `names` is exactly this path, else None."""
        return _captures(self.steps, names) if len(names) == len(self.steps) else None

    def leads_on(self, names: Sequence[BrowseName]) -> bool:
        """True when something below `names` could still match."""
        return len(names) < len(self.steps) and _captures(self.steps[: len(names)], names) is not None

    def target(self, captures: Mapping[str, str]) -> Target:
        """Raises BadRequest when the captured names make no twin id."""
        return Target(
            twin=twin_id(_CAPTURE.sub(lambda found: captures[found[1]], self.twin)),
            path=_CAPTURE.sub(lambda found: captures[found[1]], self.property),
            sampling=self.sampling,
            unit=self.unit,
            rule=self.place,
        )


@dataclass(frozen=True, slots=True)
class OpcUaMapping:
    """A mapping file: one source a server, the same rules for all."""

    file: str
    namespaces: Mapping[str, str]
    servers: tuple[OpcUaSettings, ...]
    rules: tuple[Rule, ...]

    @property
    def nodes(self) -> tuple[Rule, ...]:
        """The rules that name one node."""
        return tuple(rule for rule in self.rules if rule.node)

    def leads_on(self, names: Sequence[BrowseName]) -> bool:
        """True when browsing below `names` can find a mapped node."""
        return any(rule.leads_on(names) for rule in self.rules)

    def target(self, names: Sequence[BrowseName], node: str, variables: Mapping[str, str]) -> Target | None:
        """Where the node at the browse path `names` with expanded id `node` goes; None when no rule matches.

        Raises BadFile when a rule matches but its names make no twin id.
        """
        for rule in self.rules:
            captures = {} if rule.node and rule.node == node else rule.match(names) if rule.steps else None
            if captures is None:
                continue
            try:
                return rule.target({**variables, **captures})
            except BadRequest as error:
                place = "/".join(name for _, name in names)
                raise BadFile(
                    self.file,
                    f"node {place} makes no twin id: {error.message}",
                    place=rule.place,
                    remedy=error.remedy,
                ) from error
        return None


def _captures(steps: Sequence[_Step], names: Sequence[BrowseName]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for step, (namespace, name) in zip(steps, names, strict=True):
        if step.namespace != namespace or (match := step.pattern.fullmatch(name)) is None:
            return None
        for key, text in match.groupdict().items():
            if found.setdefault(key, text) != text:
                return None
    return found


def read_mapping(path: str | Path) -> OpcUaMapping:
    """The mapping file at `path`. Raises BadFile (file, place, remedy) for the first defect.

    >>> read_mapping("examples/cnc/opcua.yaml").servers[0].name  # doctest: +SKIP
    'toulouse'
    """
    return _Reader(str(path)).read()


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self._namespaces: dict[str, str] = {}

    def _bad(self, place: str, message: str, remedy: str) -> BadFile:
        return BadFile(self._file, message, place=place, remedy=remedy)

    def read(self) -> OpcUaMapping:
        root = self._document()
        self._known(root, ("namespaces", "servers", "rules", "security", "events", *_SAMPLING_KEYS, *_TIMES), "")
        namespaces = self._mapping(root.get("namespaces", {}), "/namespaces")
        for prefix, uri in namespaces.items():
            if not isinstance(prefix, str) or not isinstance(uri, str) or ":" in prefix:
                raise self._bad(
                    f"/namespaces/{prefix}", "not a prefix and a namespace URI", "write prefix: urn:vendor:namespace"
                )
        self._namespaces = {**namespaces, "": _BASE}
        defaults = self._sampling(root, Sampling(), "")
        servers = self._servers(root, defaults)
        rules = self._rules(root, defaults, servers)
        return OpcUaMapping(self._file, MappingProxyType(dict(namespaces)), servers, rules)

    def _document(self) -> dict[str, Any]:
        try:
            text = Path(self._file).read_text(encoding="utf-8")
        except OSError as error:
            raise self._bad(
                "", f"cannot be read ({error.strerror})", "give the path of a mapping file such as opcua.yaml"
            ) from error
        except UnicodeDecodeError as error:
            raise self._bad("", "is not UTF-8 text", "save the file as UTF-8") from error
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise self._bad(
                place, f"is not YAML ({getattr(error, 'problem', error)})", "correct the indentation or quoting there"
            ) from error
        return self._mapping(document, "/")

    def _mapping(self, value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._bad(place, "must be a mapping of keys to values", "compare with examples/cnc/opcua.yaml")
        return value

    def _list(self, root: Mapping[str, Any], key: str) -> list[Any]:
        value = root.get(key)
        if not isinstance(value, list) or not value:
            raise self._bad(f"/{key}", "must be a list with at least one entry", "compare with examples/cnc/opcua.yaml")
        return value

    def _known(self, value: Mapping[str, Any], keys: Sequence[str], place: str) -> None:
        for key in value:
            if key not in keys:
                close = difflib.get_close_matches(str(key), keys, 1)
                remedy = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(keys)}"
                raise self._bad(f"{place}/{key}", "is no key of this file", remedy)

    def _text(self, value: Mapping[str, Any], key: str, place: str) -> str:
        text = value.get(key)
        if not isinstance(text, str) or not text:
            raise self._bad(f"{place}/{key}", "must be a text", f"add {key}: ... there")
        return text

    def _number(self, value: Mapping[str, Any], key: str, default: float, place: str, *, least: float) -> float:
        number = value.get(key, default)
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number < 1e9:
            raise self._bad(
                f"{place}/{key}", f"must be a number of at least {least:g}", f"write for example {default:g}"
            )
        return float(number)

    def _choice(self, value: Mapping[str, Any], key: str, default: str, choices: Sequence[str], place: str) -> str:
        chosen = value.get(key, default)
        chosen = "None" if chosen is None else chosen
        if chosen not in choices:
            close = difflib.get_close_matches(str(chosen), choices, 1)
            remedy = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(choices)}"
            raise self._bad(f"{place}/{key}", f"{chosen!r} is not known", remedy)
        return cast(str, chosen)

    def _sampling(self, value: Mapping[str, Any], default: Sampling, place: str) -> Sampling:
        queue = self._number(value, "queue_size", default.queue_size, place, least=1)
        if queue != int(queue):
            raise self._bad(f"{place}/queue_size", "must be a whole number", "write for example 10")
        report = self._choice(value, "report", default.report, ("value", "timestamp"), place)
        return Sampling(
            sampling_interval_ms=self._number(
                value, "sampling_interval_ms", default.sampling_interval_ms, place, least=0
            ),
            publishing_interval_ms=self._number(
                value, "publishing_interval_ms", default.publishing_interval_ms, place, least=10
            ),
            queue_size=int(queue),
            deadband=self._number(value, "deadband", default.deadband, place, least=0),
            deadband_percent=self._number(value, "deadband_percent", default.deadband_percent, place, least=0),
            report="timestamp" if report == "timestamp" else "value",
        )

    def _servers(self, root: Mapping[str, Any], sampling: Sampling) -> tuple[OpcUaSettings, ...]:
        servers: list[OpcUaSettings] = []
        common = self._security(root.get("security", {}), Security(), "/security")
        for i, entry in enumerate(self._list(root, "servers")):
            place = f"/servers/{i}"
            server = self._mapping(entry, place)
            name, endpoint = self._text(server, "name", place), self._text(server, "endpoint", place)
            if any(other.name == name for other in servers):
                raise self._bad(f"{place}/name", f"{name!r} names two servers", "give each server its own name")
            self._check_endpoint(endpoint, f"{place}/endpoint")
            known = ("name", "endpoint", "security", "events", *_TIMES)
            variables = {key: value for key, value in server.items() if key not in known}
            for key, value in variables.items():
                if not isinstance(value, str | int):
                    raise self._bad(f"{place}/{key}", "must be a text that rules can use", f"write {key}: name")
            times = {
                key: self._number(server, key, self._number(root, key, _TIMES[key], "", least=0.05), place, least=0.05)
                for key in _TIMES
            }
            settings = OpcUaSettings(
                name=name,
                endpoint=endpoint,
                variables=MappingProxyType({"name": name, **{str(k): str(v) for k, v in variables.items()}}),
                security=self._security(server.get("security", {}), common, f"{place}/security"),
                sampling=sampling,
                timeout_s=times["timeout_s"],
                connect_timeout_s=times["connect_timeout_s"],
                retry_max_s=times["retry_max_s"],
                keep_alive_s=times["keep_alive_s"],
                give_up_s=times["give_up_s"],
                backfill_s=times["backfill_s"],
                events=bool(server.get("events", root.get("events", False))),
            )
            servers.append(settings)
        return tuple(servers)

    def _check_endpoint(self, endpoint: str, place: str) -> None:
        try:
            parts = urlsplit(endpoint)
            good = parts.scheme == "opc.tcp" and bool(parts.hostname) and (parts.port or 4840) > 0
        except ValueError:
            good = False
        if not good:
            raise self._bad(place, f"{endpoint!r} is no OPC UA endpoint", "write opc.tcp://host:4840")
        if parts.username or parts.password:
            raise self._bad(place, "carries a user name or password", "use security: {user: ..., password_env: ...}")

    def _security(self, value: Any, default: Security, place: str) -> Security:
        section = self._mapping(value, place)
        keys = ("policy", "mode", "user", "password_env", "user_certificate", "user_key", "store")
        self._known(section, keys, place)
        if not section:
            return default
        policy = self._choice(section, "policy", default.policy, _POLICIES, place)
        mode = self._choice(section, "mode", default.mode if policy != "None" else "None", _MODES, place)
        if (policy == "None") != (mode == "None"):
            raise self._bad(
                f"{place}/mode", f"policy {policy} does not go with mode {mode}", "set both to None, or neither"
            )
        texts = {key: self._optional_text(section, key, place) for key in keys[2:]}
        if bool(texts["user_certificate"]) != bool(texts["user_key"]):
            raise self._bad(place, "user_certificate and user_key go together", "name both files, or neither")
        if texts["user"] and not texts["password_env"]:
            raise self._bad(
                f"{place}/password_env", "is missing", "name the environment variable that holds the password"
            )
        here = Path(self._file).parent
        return replace(
            default,
            policy=cast(Any, policy),
            mode=cast(Any, mode),
            user=texts["user"] or default.user,
            password_env=texts["password_env"] or default.password_env,
            user_certificate=here / texts["user_certificate"]
            if texts["user_certificate"]
            else default.user_certificate,
            user_key=here / texts["user_key"] if texts["user_key"] else default.user_key,
            store=here / texts["store"] if texts["store"] else default.store or here / "pki",
        )

    def _optional_text(self, section: Mapping[str, Any], key: str, place: str) -> str:
        return self._text(section, key, place) if key in section else ""

    def _rules(self, root: Mapping[str, Any], sampling: Sampling, servers: Sequence[OpcUaSettings]) -> tuple[Rule, ...]:
        given = set.intersection(*(set(server.variables) for server in servers))
        rules: list[Rule] = []
        for i, entry in enumerate(self._list(root, "rules")):
            place = f"/rules/{i}"
            rule = self._mapping(entry, place)
            self._known(rule, ("path", "node", "twin", "property", "unit", *_SAMPLING_KEYS), place)
            if ("path" in rule) == ("node" in rule):
                raise self._bad(place, "needs a path or a node, and not both", "keep one of them")
            node = self._text(rule, "node", place) if "node" in rule else ""
            if node and not re.fullmatch(r"nsu=[^;]+;[isgb]=.+", node):
                raise self._bad(f"{place}/node", f"{node!r} is no expanded node id", "write nsu=<namespace URI>;s=<id>")
            steps = self._steps(self._text(rule, "path", place), f"{place}/path") if "path" in rule else ()
            captured = {key for step in steps for key in step.pattern.groupindex}
            for key in ("twin", "property"):
                for name in _CAPTURE.findall(self._text(rule, key, place)):
                    if name not in captured | given:
                        close = difflib.get_close_matches(name, sorted(captured | given), 1)
                        remedy = (
                            f"did you mean {{{close[0]}}}?"
                            if close
                            else "capture it in the path, or give it to every server"
                        )
                        raise self._bad(f"{place}/{key}", f"{{{name}}} is not known", remedy)
            rules.append(
                Rule(
                    place=place,
                    steps=steps,
                    node=node,
                    twin=rule["twin"],
                    property=rule["property"],
                    sampling=self._sampling(rule, sampling, place),
                    unit=self._optional_text(rule, "unit", place),
                )
            )
        return tuple(rules)

    def _steps(self, path: str, place: str) -> tuple[_Step, ...]:
        steps: list[_Step] = []
        for part in path.split("/"):
            prefix, _, name = part.rpartition(":")
            if not name:
                raise self._bad(place, f"{path!r} has an empty name", "write prefix:Name/prefix:{capture}")
            if prefix not in self._namespaces:
                close = difflib.get_close_matches(prefix, [key for key in self._namespaces if key], 1)
                remedy = f"did you mean {close[0]!r}?" if close else "add it to namespaces"
                raise self._bad(place, f"namespace prefix {prefix!r} is not known", remedy)
            pattern, end, seen = "", 0, set[str]()
            for found in _CAPTURE.finditer(name):
                word = found[1]
                pattern += re.escape(name[end : found.start()])
                pattern += f"(?P={word})" if word in seen else f"(?P<{word}>.+)"
                seen.add(word)
                end = found.end()
            steps.append(_Step(self._namespaces[prefix], re.compile(pattern + re.escape(name[end:]))))
        return tuple(steps)
