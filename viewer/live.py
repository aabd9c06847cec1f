"""A plant that is kept true: subscribe, buffer, snapshot, apply by seq; on any loss back off and start again.

While the service is gone the last picture stays, with the time since when it is stale (issue 8).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import websockets

from twinloom.twin.errors import LimitExceeded, TwinloomError, Unavailable
from twinloom.twin.instance import Json
from twinloom.viewer import queries
from twinloom.viewer.client import HOW_TO_START, Client
from twinloom.viewer.plant import Alert, Plant, Rul, Rule, TwinView, Value

SHAPE_PATHS = ("placement", "mesh", "letter")
"""Properties that the scene reads, where a model has them."""
RESNAPSHOT_S = 0.3
"""Structural changes come in bursts: one snapshot for all of a burst."""
BUFFER_EVENTS = 20_000
TWINS_PAGE, PAGE = 500, 100


async def fetch_plant(client: Client, paths: tuple[str, ...] = ()) -> Plant:
    """The whole plant now: models, rules, standing alerts and every twin with the values at `paths`."""
    about = await client.query(queries.ABOUT)
    plant = Plant(service=about["serviceInfo"]["name"], seq=int(about["serviceInfo"]["seq"]), time=_now())
    plant.rules = tuple(Rule.of(node) for node in about["alertRules"])
    parents: dict[str, list[str]] = {}
    async for node in pages(client, queries.MODELS, "models"):
        parents[node["modelId"]] = [base["modelId"] for base in node["extends"]]
        plant.fields[node["modelId"]] = {f["path"]: f["unit"] for f in node["fields"]}
    ancestors = {model: _ancestors(model, parents) for model in parents}
    shape = [path for path in SHAPE_PATHS if any(path in fields for fields in plant.fields.values())]
    async for node in pages(client, queries.TWINS, "twins", {"paths": list(paths), "shape": shape}):
        twin = twin_of(node, ancestors)
        plant.twins[twin.id] = twin
    async for node in pages(client, queries.ALERTS, "alerts"):
        alert = Alert.of(node)
        plant.alerts[alert.id] = alert
    return plant


def _ancestors(model: str, parents: Mapping[str, list[str]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    queue = list(parents.get(model, ()))
    while queue:
        above = queue.pop(0)
        if above not in found:
            found[above] = None
            queue += parents.get(above, ())
    return tuple(found)


def twin_of(node: Mapping[str, Any], ancestors: Mapping[str, tuple[str, ...]]) -> TwinView:
    """A TwinView of a node of the twins query."""
    model = str(node["modelId"])
    parent = node.get("parent")
    rul = node.get("rul")
    values = [Value.of(value) for value in node.get("values") or ()]
    return TwinView(
        id=str(node["dtId"]),
        model=model,
        ancestors=ancestors.get(model, ()),
        name=str(node.get("name") or ""),
        parent=str(parent["dtId"]) if parent else None,
        properties=dict(node.get("properties") or {}),
        values={value.path: value for value in values},
        rul=Rul.of(rul) if rul else None,
        health=str(node.get("health") or "UNKNOWN"),
        stale=bool(node.get("stale")),
        stale_since=str(node.get("staleSince") or ""),
        seq=int(node.get("seq") or 0),
    )


async def pages(
    client: Client, document: str, root: str, variables: Mapping[str, Json] | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Every node of a connection; the page shrinks when the service finds it too dear."""
    after: str | None = None
    first = TWINS_PAGE if root == "twins" else PAGE
    while True:
        try:
            data = await client.query(document, {**(variables or {}), "first": first, "after": after})
        except LimitExceeded:
            if first <= 5:
                raise
            first = max(5, first // 2)
            continue
        page = data[root]
        for node in page["nodes"]:
            yield node
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]


Phase = Literal["connecting", "live", "lost"]


class Feed:
    """Keeps a Plant true. `run` for ever in an asyncio task; `changed` is called after each event in that task.

    Keeps only the latest of each twin: a slow window skips states, it never queues them. `plant` is changed under
    `lock`.
    """

    def __init__(
        self,
        client: Client,
        *,
        paths: tuple[str, ...] = (),
        min_interval_ms: int = 100,
        changed: Callable[[Plant, set[str]], None] | None = None,
        first_delay_s: float = 0.25,
        longest_delay_s: float = 10.0,
    ) -> None:
        self.client, self.paths, self.min_interval_ms = client, paths, min_interval_ms
        self.plant = Plant()
        self.phase: Phase = "connecting"
        self.reason = ""
        self.snapshots = 0
        self.lock = threading.Lock()
        self._changed = changed or (lambda plant, ids: None)
        self._delays = first_delay_s, longest_delay_s

    async def run(self) -> None:
        """Connects, follows, and connects again. Ends only when cancelled or when the service refuses the token."""
        delay, longest = self._delays
        while True:
            came = self.snapshots
            try:
                await self._follow()
            except Unavailable as error:
                self.reason = error.message
            except LimitExceeded as error:
                self.reason = error.message
            if self.snapshots > came:
                delay = self._delays[0]
            self.phase = "lost"
            if not self.plant.lost_since:
                with self.lock:
                    self.plant.lost_since = _now()
                self._changed(self.plant, set(self.plant.twins))
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, longest)

    async def _follow(self) -> None:
        async with self.client.socket() as socket:
            watched = {"paths": list(self.paths)} if self.paths else None
            await socket.subscribe("twins", queries.TWINS_CHANGED, {"filter": watched, "every": self.min_interval_ms})
            await socket.subscribe("alerts", queries.ALERT_CHANGED)
            await socket.subscribe("ruls", queries.RUL_CHANGED)
            events: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue(BUFFER_EVENTS)

            async def listen() -> None:
                try:
                    async for event in socket.events():
                        if events.full():
                            raise Unavailable("more changes came than the snapshot took in", remedy=HOW_TO_START)
                        events.put_nowait(event)
                    raise Unavailable("the service closed the connection", remedy=HOW_TO_START)
                except websockets.ConnectionClosed as error:
                    raise Unavailable("the connection to the service was lost", remedy=HOW_TO_START) from error
                finally:
                    with contextlib.suppress(asyncio.QueueFull):
                        events.put_nowait(None)

            async def apply() -> None:
                await self._take_snapshot()
                while (event := await events.get()) is not None:
                    with self.lock:
                        touched = self.apply(*event)
                    if touched is None:  # structure or a gap: later events wait in the queue meanwhile
                        await asyncio.sleep(RESNAPSHOT_S)
                        await self._take_snapshot()
                    elif touched:
                        self._changed(self.plant, touched)

            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(listen())
                    group.create_task(apply())
            except* TwinloomError as errors:
                raise _first(errors) from errors

    async def _take_snapshot(self) -> None:
        plant = await fetch_plant(self.client, self.paths)
        self.plant, self.phase, self.reason = plant, "live", ""
        self.snapshots += 1
        self._changed(plant, set(plant.twins))

    def apply(self, name: str, data: Mapping[str, Any]) -> set[str] | None:
        """Takes one event in; the ids of twins that changed, or None when a new snapshot is needed (gap, structure)."""
        event = next(iter(data.values()))
        if event is None:
            return set()
        if event.get("gap") or event.get("missed"):
            return None
        seq = int(event.get("seq") or 0)
        self.plant.seq = max(self.plant.seq, seq)
        self.plant.time = str(event.get("time") or _now())
        if name == "twins":
            return self._twins(event["changes"])
        if name == "alerts":
            return self._alert(event["alert"])
        return self._rul(event["estimate"])

    def _twins(self, changes: list[dict[str, Any]]) -> set[str] | None:
        touched: set[str] = set()
        for change in changes:
            if (
                change.get("gap")
                or change.get("missed")
                or change["kind"] in ("CREATED", "DELETED", "RELATED", "GAP", "UPDATED")
            ):
                return None
            twin = self.plant.twins.get(str(change["dtId"]))
            if twin is None:
                continue
            seq = int(change["seq"])
            for node in change["values"]:
                known = twin.values.get(node["path"])
                if known is None or int(node["seq"]) >= known.seq:
                    twin.values[str(node["path"])] = Value.of(node)
                    touched.add(twin.id)
            state = change.get("twin")
            if state and seq >= twin.seq:
                twin.stale, twin.stale_since = bool(state["stale"]), str(state.get("staleSince") or "")
                touched.add(twin.id)
            twin.seq = max(twin.seq, seq)
        return touched

    def _alert(self, node: dict[str, Any] | None) -> set[str]:
        if node is None:
            return set()
        alert = Alert.of(node)
        known = self.plant.alerts.get(alert.id)
        if known is not None and known.seq > alert.seq:
            return set()
        if alert.stands:
            self.plant.alerts[alert.id] = alert
        else:
            self.plant.alerts.pop(alert.id, None)
        return {alert.twin}

    def _rul(self, node: dict[str, Any] | None) -> set[str]:
        twin = self.plant.twins.get(str(node["dtId"])) if node else None
        if twin is None or node is None:
            return set()
        rul = Rul.of(node)
        if twin.rul is not None and twin.rul.seq > rul.seq:
            return set()
        twin.rul, twin.health = rul, rul.health
        return {twin.id}


def _first(group: BaseExceptionGroup[TwinloomError]) -> TwinloomError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
