"""Which nodes of a server the mapping wants: a browse that follows only what a rule can still match."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from twinloom.adapters.opcua.mapping import BrowseName, OpcUaMapping, Target
from twinloom.adapters.opcua.session import Session

_log = logging.getLogger(__name__)
_NODES_PER_CALL = 200
_UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"
_DESCRIPTIONS = ("EngineeringUnits", "EURange")
_HISTORY_READ = 0x04
_WRITE = 0x02


@dataclass(slots=True)
class MappedNode:
    """A variable that feeds a twin. `low`/`high`: its EURange in its own unit, infinite when it has none.

    `owner` is the object it was found in; None for a node that a rule names.
    """

    node: ua.NodeId
    place: str
    target: Target
    unit: str = ""
    low: float = float("-inf")
    high: float = float("inf")
    has_history: bool = False
    writable: bool = False
    data_type: ua.NodeId | None = None
    owner: ua.NodeId | None = None


@dataclass(frozen=True, slots=True)
class MappedMethod:
    """A method that carries out a twin's command: `target.path` is the command's name, `owner` the object it is of."""

    node: ua.NodeId
    owner: ua.NodeId
    place: str
    target: Target


async def discover(session: Session, mapping: OpcUaMapping) -> tuple[list[MappedNode], list[MappedMethod]]:
    """Every mapped variable of the server, with unit, range and access, and every mapped method.

    Raises UaError, BadFile, TimeoutError.
    """
    variables = session.settings.variables
    found: dict[ua.NodeId, MappedNode] = {}
    methods: list[MappedMethod] = []
    for node, owner, names, is_method in await _walk(session, mapping):
        target = mapping.target(names, expanded(node, session.namespaces), variables)
        if target is None or node in found:
            continue
        place = "/".join(name for _, name in names)
        if is_method:
            methods.append(MappedMethod(node, owner, place, target))
        else:
            found[node] = MappedNode(node, place, target, owner=owner)
    for rule in mapping.nodes:
        named = parseexpanded(rule.node, session.namespaces)
        target = mapping.target((), rule.node, variables)
        if named is not None and target is not None:
            found[named] = MappedNode(named, rule.node, target)
    nodes = list(found.values())
    await _describe(session, nodes)
    return nodes, methods


_Found = tuple[ua.NodeId, ua.NodeId, tuple[BrowseName, ...], bool]


async def _walk(session: Session, mapping: OpcUaMapping) -> list[_Found]:
    """(node, owner, browse path, is it a method) of every variable and method that a path rule may match."""
    level: list[tuple[ua.NodeId, tuple[BrowseName, ...]]] = [(ua.NodeId(ua.ObjectIds.ObjectsFolder), ())]
    found: list[_Found] = []
    while level:
        below: list[tuple[ua.NodeId, tuple[BrowseName, ...]]] = []
        children = await browse(session, [node for node, _ in level])
        for (owner, names), references in zip(level, children, strict=True):
            for reference in references:
                index = reference.BrowseName.NamespaceIndex
                uri = session.namespaces[index] if index < len(session.namespaces) else ""
                path = (*names, (uri, reference.BrowseName.Name or ""))
                if reference.NodeClass != ua.NodeClass.Object:
                    is_method = reference.NodeClass == ua.NodeClass.Method
                    found.append((local(reference.NodeId), owner, path, is_method))
                if mapping.leads_on(path):
                    below.append((local(reference.NodeId), path))
        level = below
    return found


async def browse(
    session: Session, nodes: Sequence[ua.NodeId], *, reference: int = ua.ObjectIds.HierarchicalReferences
) -> list[list[ua.ReferenceDescription]]:
    """Forward references of each node, continuation points followed; [] when it cannot be browsed."""
    found: list[list[ua.ReferenceDescription]] = []
    for start in range(0, len(nodes), _NODES_PER_CALL):
        part = nodes[start : start + _NODES_PER_CALL]
        results = await session.client.uaclient.browse(
            ua.BrowseParameters(
                View=ua.ViewDescription(),
                RequestedMaxReferencesPerNode=0,
                NodesToBrowse=[
                    ua.BrowseDescription(
                        NodeId=node,
                        BrowseDirection=ua.BrowseDirection.Forward,
                        ReferenceTypeId=ua.NodeId(reference),
                        IncludeSubtypes=True,
                        NodeClassMask=ua.NodeClass.Object | ua.NodeClass.Variable | ua.NodeClass.Method,
                        ResultMask=ua.BrowseResultMask.All,
                    )
                    for node in part
                ],
            )
        )
        for result in results:
            references = list(result.References or ())
            while result.ContinuationPoint:
                parameters = ua.BrowseNextParameters(
                    ReleaseContinuationPoints=False, ContinuationPoints=[result.ContinuationPoint]
                )
                (result,) = await session.client.uaclient.browse_next(parameters)
                references += result.References or ()
            found.append(references)
    return found


async def read(session: Session, wanted: Sequence[tuple[ua.NodeId, ua.AttributeIds]]) -> list[ua.DataValue]:
    """Attributes of many nodes, in calls of at most 200."""
    values: list[ua.DataValue] = []
    for start in range(0, len(wanted), _NODES_PER_CALL):
        part = wanted[start : start + _NODES_PER_CALL]
        parameters = ua.ReadParameters(
            MaxAge=0,
            TimestampsToReturn=ua.TimestampsToReturn.Neither,
            NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=attribute) for node, attribute in part],
        )
        values += await session.client.uaclient.read(parameters)
    return values


async def _describe(session: Session, nodes: Sequence[MappedNode]) -> None:
    properties = await browse(session, [node.node for node in nodes], reference=ua.ObjectIds.HasProperty)
    wanted: list[tuple[MappedNode, str, ua.NodeId, ua.AttributeIds]] = []
    for node, references in zip(nodes, properties, strict=True):
        wanted.append((node, "access", node.node, ua.AttributeIds.UserAccessLevel))
        wanted.append((node, "type", node.node, ua.AttributeIds.DataType))
        wanted += [
            (node, reference.BrowseName.Name, local(reference.NodeId), ua.AttributeIds.Value)
            for reference in references
            if reference.BrowseName.NamespaceIndex == 0 and reference.BrowseName.Name in _DESCRIPTIONS
        ]
    answers = await read(session, [(node, attribute) for _, _, node, attribute in wanted])
    for (node, what, _, _), answer in zip(wanted, answers, strict=True):
        value = answer.Value.Value if answer.Value is not None else None
        if value is None:
            continue
        if what == "access":
            node.has_history, node.writable = bool(int(value) & _HISTORY_READ), bool(int(value) & _WRITE)
        elif what == "type":
            node.data_type = value
        elif what == "EngineeringUnits":
            node.unit = unit_of(value)
        elif isinstance(value, ua.Range) and value.Low < value.High:
            node.low, node.high = float(value.Low), float(value.High)


def unit_of(information: Any) -> str:
    """The UNECE code of an EUInformation (Part 8, 5.6.4.3), else its display name, else ''."""
    if not isinstance(information, ua.EUInformation):
        return ""
    number = int(information.UnitId)
    if information.NamespaceUri == _UNECE and number > 0:
        code = number.to_bytes(4, "big").lstrip(b"\0").decode("ascii", "replace")
        if code.isalnum():
            return code
    return (information.DisplayName.Text or "") if information.DisplayName else ""


def parseexpanded(text: str, namespaces: Sequence[str]) -> ua.NodeId | None:
    """`nsu=<uri>;s=<id>` as a node id of this server; None when it does not have the namespace."""
    uri, _, identifier = text.removeprefix("nsu=").partition(";")
    if uri not in namespaces:
        return None
    return ua.NodeId.from_string(f"ns={namespaces.index(uri)};{identifier}")


def local(node: ua.NodeId) -> ua.NodeId:
    """An ExpandedNodeId of the same server as a plain NodeId, so that both are one key."""
    return ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType)


def expanded(node: ua.NodeId, namespaces: Sequence[str]) -> str:
    """`nsu=<uri>;s=<id>`: a node id that survives a changed namespace index."""
    uri = namespaces[node.NamespaceIndex] if node.NamespaceIndex < len(namespaces) else ""
    if isinstance(node.Identifier, str):
        return f"nsu={uri};s={node.Identifier}"  # it may hold semicolons
    return f"nsu={uri};{node.to_string().rpartition(';')[2]}"
