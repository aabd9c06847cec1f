"""From a server's address space to a first mapping: what is there, which DTDL models it looks like, and what to write.

`survey` walks the server, `propose` matches its objects to models (by type name and by the names of their variables;
exact overrides win) and writes the mapping and plant files, `check` says what an existing mapping no longer finds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml
from asyncua import ua

from twinloom.adapters.opcua.discover import browse, discover, expanded, local, read, unit_of
from twinloom.adapters.opcua.mapping import BrowseName, OpcUaMapping
from twinloom.adapters.opcua.session import Session, connect
from twinloom.adapters.opcua.settings import OpcUaSettings
from twinloom.twin.dtdl import Models
from twinloom.twin.errors import BadRequest
from twinloom.twin.ids import ModelId, TwinId, label_of
from twinloom.twin.ports import SlotRef
from twinloom.twin.units import converter

Progress = Callable[[int, int], None]
"""Called with (nodes seen, nodes known so far)."""

_MOST_NODES = 200_000
_DEEPEST = 12
_GOOD_ENOUGH = 0.5
_SERVER = ua.NodeId(ua.ObjectIds.Server)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


@dataclass(slots=True)
class SurveyNode:
    """One object, variable or method. `names` is its browse path from Objects; `unit` a UNECE code or a symbol."""

    names: tuple[BrowseName, ...]
    node: str
    kind: str
    type_name: str = ""
    unit: str = ""
    low: float = float("-inf")
    high: float = float("inf")
    children: list[SurveyNode] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.names[-1][1]


@dataclass(frozen=True, slots=True)
class Survey:
    """A server's address space below Objects, without the standard Server object."""

    server: str
    endpoint: str
    roots: tuple[SurveyNode, ...]
    count: int


async def survey(settings: OpcUaSettings, *, progress: Progress = lambda seen, known: None) -> Survey:
    """Everything below Objects, breadth first, each node once, at most 200,000. Raises SourceUnavailable."""
    async with connect(settings) as session:
        root = SurveyNode((), "", "object")
        level: list[tuple[ua.NodeId, SurveyNode]] = [(ua.NodeId(ua.ObjectIds.ObjectsFolder), root)]
        seen: set[ua.NodeId] = {level[0][0], _SERVER}
        variables: list[tuple[ua.NodeId, SurveyNode]] = []
        types: dict[ua.NodeId, list[SurveyNode]] = {}
        while level and len(seen) < _MOST_NODES:
            below: list[tuple[ua.NodeId, SurveyNode]] = []
            for start in range(0, len(level), 100):
                part = level[start : start + 100]
                for (_, parent), references in zip(part, await browse(session, [n for n, _ in part]), strict=True):
                    for reference in references:
                        node = local(reference.NodeId)
                        if node in seen or len(parent.names) >= _DEEPEST:
                            continue
                        seen.add(node)
                        child = _node(reference, node, parent, session.namespaces)
                        parent.children.append(child)
                        if child.kind == "variable":
                            variables.append((node, child))
                        elif child.kind == "object":
                            types.setdefault(local(reference.TypeDefinition), []).append(child)
                        if child.kind != "method":
                            below.append((node, child))
                progress(len(seen) - len(level) + start + len(part), len(seen))
            level = below
        await _describe(session, variables, types)
        return Survey(settings.name, settings.endpoint, tuple(root.children), len(seen) - 2)


def _node(
    reference: ua.ReferenceDescription, node: ua.NodeId, parent: SurveyNode, namespaces: Sequence[str]
) -> SurveyNode:
    index = reference.BrowseName.NamespaceIndex
    uri = namespaces[index] if index < len(namespaces) else ""
    kind = {ua.NodeClass.Variable: "variable", ua.NodeClass.Method: "method"}.get(reference.NodeClass, "object")
    return SurveyNode((*parent.names, (uri, reference.BrowseName.Name or "")), expanded(node, namespaces), kind)


async def _describe(
    session: Session, variables: Sequence[tuple[ua.NodeId, SurveyNode]], types: Mapping[ua.NodeId, list[SurveyNode]]
) -> None:
    """Type names of objects; units and ranges, which are variables of their own below a variable."""
    names = await read(session, [(node, ua.AttributeIds.BrowseName) for node in types])
    for answer, nodes in zip(names, types.values(), strict=True):
        if answer.Value is not None and answer.Value.Value is not None:
            for node in nodes:
                node.type_name = answer.Value.Value.Name or ""
    described = [(node, entry) for node, entry in variables if entry.name in ("EngineeringUnits", "EURange")]
    values = await read(session, [(node, ua.AttributeIds.Value) for node, _ in described])
    by_path = {entry.names: entry for _, entry in variables}
    for (_, entry), answer in zip(described, values, strict=True):
        owner, value = by_path.get(entry.names[:-1]), answer.Value.Value if answer.Value is not None else None
        if owner is None or value is None:
            continue
        if entry.name == "EngineeringUnits":
            owner.unit = unit_of(value)
        elif isinstance(value, ua.Range):
            owner.low, owner.high = float(value.Low), float(value.High)


def words(name: str) -> str:
    """A name without its way of writing.

    >>> words("VibrationX") == words("vibration_x") == words("Vibration-X")
    True
    """
    return "".join(_WORDS.findall(name)).lower()


@dataclass(frozen=True, slots=True)
class Match:
    """An object that looks like a model. `score` 0 to 1; `properties`: browse name -> model path."""

    node: SurveyNode
    twin: TwinId
    model: ModelId
    score: float
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two files to look over, and what found no place: browse paths of variables that no rule of the mapping reads."""

    mapping: str
    plant: str
    matches: tuple[Match, ...]
    unmatched: tuple[str, ...]


def propose(found: Survey, models: Models, *, overrides: Mapping[str, ModelId] | None = None) -> Proposal:
    """The mapping and plant files for a survey.

    `overrides` settles objects by browse path (`line-1/cnc-01`) or by type name, before any guess.
    Raises BadRequest when one names no model.
    """
    chosen = dict(overrides or {})
    for name, model in chosen.items():
        if model not in models:
            raise BadRequest(f"override {name}: there is no model {model}", remedy="upload it, or correct its id")
    matches: list[Match] = []
    unmatched: list[str] = []
    for root in found.roots:
        _match(root, found.server, models, chosen, matches, unmatched)
    return Proposal(_mapping_file(found, matches), _plant_file(found, matches), tuple(matches), tuple(unmatched))


def _match(
    node: SurveyNode,
    server: str,
    models: Models,
    overrides: Mapping[str, ModelId],
    matches: list[Match],
    unmatched: list[str],
) -> None:
    if node.kind != "object":
        if node.kind == "variable":
            unmatched.append(_path(node))
        return
    wanted = overrides.get(_path(node)) or overrides.get(node.type_name)
    rated = [_rate(node, model, models) for model in ([wanted] if wanted else list(models))]
    score, model, properties = max(rated, key=lambda entry: (entry[0], -len(models.fields(entry[1]))))
    taken: set[str] = set()
    if wanted or score >= _GOOD_ENOUGH:
        matches.append(Match(node, _twin_of(server, node), model, 1.0 if wanted else score, properties))
        taken = set(properties)
    for child in node.children:
        if child.name in taken and child.kind == "variable":
            continue
        if any(key.startswith(f"{child.name}/") for key in taken):
            unmatched += [_path(leaf) for leaf in child.children if f"{child.name}/{leaf.name}" not in taken]
            continue
        _match(child, server, models, overrides, matches, unmatched)


def _rate(node: SurveyNode, model: ModelId, models: Models) -> tuple[float, ModelId, dict[str, str]]:
    """How well the node fits the model: the share of its variables that the model knows, and the likeness of names."""
    fields = {words(path): path for path in models.fields(model)}
    leaves = {child.name: child for child in node.children if child.kind == "variable"}
    for child in node.children:  # a DTDL component is an object inside
        if child.kind == "object":
            leaves |= {f"{child.name}/{leaf.name}": leaf for leaf in child.children if leaf.kind == "variable"}
    properties = {name: fields[words(name)] for name in leaves if words(name) in fields}
    label, own = words(label_of(model)), words(node.type_name)
    alike = (
        1.0 if own == label or own == f"{label}type" else 0.8 if words(node.name).rstrip("0123456789") == label else 0.0
    )
    direct = [name for name in leaves if "/" not in name]
    known = sum(1 for name in direct if name in properties)
    share = known / len(direct) if direct else 0.0
    kept = properties if share or alike else {}
    return max(share, alike) * 0.9 + 0.1 * min(share, alike) if kept or alike else 0.0, model, kept


def _path(node: SurveyNode) -> str:
    return "/".join(name for _, name in node.names)


def _twin_of(server: str, node: SurveyNode) -> TwinId:
    return TwinId("/".join([server, *(re.sub(r"[^A-Za-z0-9_.:@+~-]", "-", name) for _, name in node.names)]))


def _mapping_file(found: Survey, matches: Sequence[Match]) -> str:
    prefixes: dict[str, str] = {}
    exact: Counter[tuple[str, str, str]] = Counter()
    general: Counter[tuple[str, str, str]] = Counter()
    for match in matches:
        uris = [uri for uri, _ in match.node.names]
        for uri in uris:
            prefixes.setdefault(uri, f"n{len(prefixes) + 1}")
        container = "/".join(f"{prefixes[uri]}:{{level{i + 1}}}" for i, uri in enumerate(uris))
        twin = "/".join(["{name}", *(f"{{level{i + 1}}}" for i in range(len(uris)))])
        literal = any(not re.fullmatch(r"[A-Za-z0-9_.:@+~-]+", name) for _, name in match.node.names)
        if literal:
            container = "/".join(f"{prefixes[uri]}:{name}" for uri, name in match.node.names)
            twin = match.twin
        for name, path in match.properties.items():
            inside = "/".join(f"{prefixes[uris[-1]]}:{part}" for part in name.split("/"))
            if name.replace("/", ".") == path and not literal:
                *above, _ = inside.split("/")
                prefix = ".".join(name.split("/")[:-1])
                kept = f"{prefix}.{{property}}" if prefix else "{property}"
                general["/".join([container, *above, f"{prefixes[uris[-1]]}:{{property}}"]), twin, kept] += 1
            else:
                exact[f"{container}/{inside}", twin, path] += 1
    rules = [*sorted(exact), *sorted(general, key=lambda rule: ("." not in rule[2], rule))]
    document = {
        "namespaces": {prefix: uri for uri, prefix in prefixes.items()},
        "servers": [{"name": found.server, "endpoint": found.endpoint}],
        "publishing_interval_ms": 100,
        "sampling_interval_ms": 100,
        "queue_size": 100,
        "rules": [{"path": path, "twin": twin, "property": property_} for path, twin, property_ in rules],
    }
    head = "# Proposed by `twinloom opcua browse`: look it over, correct it, then run it with --check.\n"
    return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _plant_file(found: Survey, matches: Sequence[Match]) -> str:
    twins: dict[tuple[str, ...], dict[str, object]] = {}
    roots: list[dict[str, object]] = []
    for match in matches:
        names = tuple(name for _, name in match.node.names)
        above = next((twins[names[:n]] for n in range(len(names) - 1, 0, -1) if names[:n] in twins), None)
        entry: dict[str, object] = {"id": str(match.twin), "model": str(match.model)}
        if above is None:
            roots.append(entry)
        else:
            entry["id"] = str(match.twin).removeprefix(f"{above['full']}/")
            inside = above.setdefault("contains", [])
            assert isinstance(inside, list)
            inside.append(entry)
        entry["full"] = str(match.twin)
        twins[names] = entry
    for entry in twins.values():
        del entry["full"]
    head = "# Proposed by `twinloom opcua browse`. A nested twin is related to the one around it by `contains`.\n"
    return head + yaml.safe_dump({"models": "models", "twins": roots}, sort_keys=False, allow_unicode=True, width=120)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a mapping and a server do not agree on."""

    kind: str
    place: str
    message: str


async def check(
    settings: OpcUaSettings, mapping: OpcUaMapping, resolve: Callable[[TwinId, str], SlotRef | None]
) -> list[Finding]:
    """What of the mapping no longer finds its node or its twin on this server; [] when all is well.

    Kinds: `rule_without_node`, `node_without_twin`, `unit_mismatch`, `two_nodes_one_property`.
    Raises SourceUnavailable.
    """
    async with connect(settings) as session:
        nodes, methods = await discover(session, mapping)
    findings: list[Finding] = []
    used = {node.target.rule for node in nodes} | {method.target.rule for method in methods}
    findings += [
        Finding("rule_without_node", rule.place, "matches no node of the server")
        for rule in mapping.rules
        if rule.place not in used
    ]
    fed: dict[tuple[TwinId, str], str] = {}
    for node in nodes:
        key = (node.target.twin, node.target.path)
        if key in fed:
            message = f"feeds {key[0]} {key[1]}, as {fed[key]} does already"
            findings.append(Finding("two_nodes_one_property", node.place, message))
        fed.setdefault(key, node.place)
        slot = resolve(*key)
        if slot is None:
            findings.append(Finding("node_without_twin", node.place, f"there is no {key[0]} {key[1]}"))
            continue
        unit = node.target.unit or node.unit
        if slot.slot >= 0 and unit and slot.unit:
            try:
                converter(unit, slot.unit)
            except BadRequest as error:
                findings.append(Finding("unit_mismatch", node.place, error.message))
    return findings
