"""A small stand-in for the API that the page's tests can steer: the fixed GraphQL schema over the example plant.

It answers queries, mutations and subscriptions (graphql-transport-ws) and serves the built page with the strict policy.
`POST /control` changes values, raises alerts, hides a machine's data or forgets the log. Run as a program:

    python plant_server.py --port 8700 [--live] [--machines 1000] [--token secret] [--no-scene]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from inspect import isawaitable
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from graphql import ExecutionResult, build_schema, graphql, parse, subscribe
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

ROOT = Path(__file__).resolve().parents[3]
DIST = ROOT / "viewer" / "web" / "dist"
EXAMPLE = ROOT / "examples" / "cnc"
POLICY = "default-src 'self'"
SCHEMA = build_schema(Path(__file__).with_name("schema.graphql").read_text())
Json = Any

TELEMETRY: dict[str, list[tuple[str, str, str, float, float]]] = {
    # model: path, unit, symbol, mean, spread
    "CncMachine": [
        ("power_consumption", "kilowatt", "kW", 11.0, 2.0),
        ("temperature", "degreeCelsius", "°C", 34.0, 1.5),
        ("feed_rate", "mm/min", "mm/min", 1800.0, 300.0),
    ],
    "Spindle": [
        ("vibration_x", "mm/s", "mm/s", 1.6, 0.25),
        ("vibration_y", "mm/s", "mm/s", 1.4, 0.25),
        ("temperature", "degreeCelsius", "°C", 52.0, 2.0),
        ("speed", "revolutionPerMinute", "rpm", 8000.0, 700.0),
        ("load", "percent", "%", 55.0, 9.0),
        ("power_on_hours", "hour", "h", 4200.0, 900.0),
    ],
    "Axis": [("load", "percent", "%", 38.0, 6.0), ("position", "millimetre", "mm", 240.0, 120.0)],
    "CoolantPump": [
        ("pressure", "bar", "bar", 62.0, 2.0),
        ("flow", "litrePerMinute", "l/min", 28.0, 1.2),
        ("temperature", "degreeCelsius", "°C", 24.0, 1.0),
    ],
    "ToolChanger": [("change_time", "second", "s", 2.6, 0.2), ("cycle_count", "", "", 41000.0, 9000.0)],
}


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Plant:
    """Twins, alerts and the log of changes, all in memory."""

    def __init__(self, machines: int | None, history_hours: float = 26.0) -> None:
        self.random = random.Random(8)
        self.seq = int(time.time() * 1000)
        self.started = time.time()
        self.log: list[tuple[str, Json]] = []
        self.queues: set[asyncio.Queue[tuple[str, Json]]] = set()
        self.twins: dict[str, Json] = {}
        self.alerts: dict[str, Json] = {}
        self.orders: dict[str, Json] = {}
        self.history_hours = history_hours
        self.uniform = machines is not None  # every part has a temperature: benchmarks recolour them all at once
        self.rules = [
            {
                "name": rule["name"],
                "model": rule["model"],
                "value": rule["value"],
                "above": rule.get("above"),
                "below": rule.get("below"),
                "clear": rule["clear"],
                "forS": rule["for_s"],
                "message": rule["message"],
                "severity": rule["severity"].upper(),
                "workOrder": rule.get("work_order"),
                "unit": {"rul_days": "d", "vibration_x": "mm/s", "temperature": "°C"}[rule["value"]],
            }
            for rule in yaml.safe_load((EXAMPLE / "rules.yaml").read_text())["rules"]
        ]
        self.models = [json.loads(path.read_text()) for path in sorted((EXAMPLE / "models").glob("*.json"))]
        plant = yaml.safe_load((EXAMPLE / "plant.yaml").read_text())
        templates = plant["templates"]
        if machines is None:
            for node in plant["twins"]:
                self._add(node, None, templates)
        else:
            self._synthetic(machines, templates)

    def _synthetic(self, machines: int, templates: Json) -> None:
        wide = max(1, round(math.sqrt(machines / 2)))
        site = {"id": "site", "model": "dtmi:com:twinloom:cnc:Plant;1", "properties": {"name": "Site"}, "contains": []}
        for first in range(0, machines, wide):
            row = first // wide
            line: Json = {
                "id": f"line-{row + 1}",
                "model": "dtmi:com:twinloom:cnc:ProductionLine;1",
                "contains": [],
                "properties": {"name": f"Line {row + 1}", "placement": {"x": 0, "y": 8.0 * row, "z": 0, "heading": 0}},
            }
            for i in range(first, min(machines, first + wide)):
                place = {"x": 5.0 * (i - first), "y": 0.0, "z": 0.0, "heading": 0.0}
                line["contains"].append(
                    {
                        "id": f"cnc-{i + 1:05d}",
                        "template": "five_axis",
                        "properties": {"name": f"CNC {i + 1}", "placement": place},
                    }
                )
            site["contains"].append(line)
        self._add(site, None, templates)

    def _add(self, node: Json, parent: str | None, templates: Json) -> None:
        if "template" in node:
            base = templates[node["template"]]
            node = {**base, **node, "properties": {**base.get("properties", {}), **node.get("properties", {})}}
        id = f"{parent}/{node['id']}" if parent else node["id"]
        kind = node["model"].split(":")[-1].split(";")[0]
        properties = dict(node.get("properties", {}))
        if kind == "CncMachine":
            properties["controller"] = {"operating_mode": "automatic", "program_name": "O1207", "feed_override": 100.0}
        values: dict[str, Json] = {}
        telemetry = list(TELEMETRY.get(kind, []))
        if self.uniform and not any(path == "temperature" for path, *_ in telemetry) and "contains" not in node:
            telemetry.append(("temperature", "degreeCelsius", "°C", 40.0, 5.0))
        for path, unit, symbol, mean, spread in telemetry:
            number = self.random.gauss(mean, spread / 3)
            values[path] = self._value(path, number, unit, symbol)
        for path, text in (("name", properties.get("name")), ("serial_number", properties.get("serial_number"))):
            if text:
                values[path] = self._value(path, text, "", "")
        self.twins[id] = {
            "id": f"T{id}",
            "dtId": id,
            "modelId": node["model"],
            "name": properties.get("name"),
            "etag": "1",
            "seq": self.seq,
            "static": properties,
            "values": values,
            "parent": parent,
            "health": "UNKNOWN",
            "stale": False,
            "staleSince": None,
            "rul": None,
        }
        if kind == "Spindle":
            self.twins[id]["rul"] = self._rul(id, self.random.uniform(70, 340))
            self.twins[id]["health"] = self.twins[id]["rul"]["health"]
        for child in node.get("contains", []):
            self._add(child, id, templates)

    def _value(
        self, path: str, value: Json, unit: str, symbol: str, quality: str = "GOOD", stale: bool = False
    ) -> Json:
        now = iso(time.time())
        return {
            "path": path,
            "value": value,
            "number": value if isinstance(value, float) else None,
            "unit": unit,
            "symbol": symbol,
            "quality": quality,
            "statusCode": 0,
            "sourceTime": now,
            "receivedTime": now,
            "seq": self.seq,
            "stale": stale,
        }

    def _rul(self, id: str, days: float) -> Json:
        zone = "D" if days < 14 else "C" if days < 30 else "B" if days < 120 else "A"
        advice = {"D": "Replace the spindle bearings now.", "C": "Plan a bearing change within two weeks."}.get(
            zone, "No action."
        )
        return {
            "dtId": id,
            "rulDays": days,
            "low": max(0.0, days * 0.7 - 1),
            "high": days * 1.25 + 3,
            "health": zone,
            "recommendation": advice,
            "modelHealth": "OK",
            "modelVersion": "2026.1",
            "method": "lstm ensemble",
            "reason": "Vibration rises faster than the load explains." if zone in "CD" else "",
            "sourceTime": iso(time.time()),
            "qualityShare": 0.98,
            "seq": self.seq,
        }

    # ---- changes

    def publish(self, kind: str, event: Json) -> None:
        self.log.append((kind, event))
        del self.log[:-20_000]
        for queue in self.queues:
            queue.put_nowait((kind, event))

    def set_values(self, changes: dict[str, dict[str, float]], quality: str = "GOOD") -> int:
        self.seq += 1
        out = []
        for id, values in changes.items():
            twin = self.twins[id]
            changed = []
            for path, number in values.items():
                old = twin["values"][path]
                fresh = self._value(path, float(number), old["unit"], old["symbol"], quality)
                twin["values"][path] = fresh
                changed.append(fresh)
            twin["seq"] = self.seq
            out.append(self._change("VALUES", id, changed))
        self.publish("twins", {"seq": self.seq, "time": iso(time.time()), "changes": out, "missed": 0, "gap": None})
        return self.seq

    def _change(self, kind: str, id: str, values: list[Json]) -> Json:
        time_ = iso(time.time())
        return {"seq": self.seq, "time": time_, "kind": kind, "dtId": id, "values": values, "missed": 0, "gap": None}

    def set_stale(self, id: str, stale: bool) -> None:
        self.seq += 1
        changes = []
        for one, twin in self.twins.items():
            if one == id or one.startswith(f"{id}/"):
                twin.update(stale=stale, staleSince=iso(time.time()) if stale else None, seq=self.seq)
                for value in twin["values"].values():
                    value["stale"] = stale
                changes.append(self._change("STATE", one, []))
        self.publish("twins", {"seq": self.seq, "time": iso(time.time()), "changes": changes, "missed": 0, "gap": None})

    def set_rul(self, id: str, days: float) -> None:
        self.seq += 1
        estimate = self._rul(id, days)
        self.twins[id].update(rul=estimate, health=estimate["health"], seq=self.seq)
        self.publish("rul", {"seq": self.seq, "estimate": estimate, "missed": 0, "gap": None})

    def raise_alert(self, id: str, rule_name: str, value: float, ago_s: float = 0.0) -> Json:
        self.seq += 1
        rule = next(rule for rule in self.rules if rule["name"] == rule_name)
        threshold = rule["above"] if rule["above"] is not None else rule["below"]
        number = f"A-{len(self.alerts) + 1:04d}"
        alert = {
            "id": f"alert:{number}",
            "alertId": number,
            "rule": rule_name,
            "dtId": id,
            "severity": rule["severity"],
            "state": "RAISED",
            "message": rule["message"].format(twin=id, value=value, threshold=threshold, unit=rule["unit"]),
            "path": rule["value"],
            "value": value,
            "threshold": threshold,
            "unit": rule["unit"],
            "raisedAt": iso(time.time() - ago_s),
            "acknowledgedAt": None,
            "acknowledgedBy": None,
            "clearedAt": None,
            "seq": self.seq,
        }
        self.alerts[number] = alert
        self.publish("alert", {"seq": self.seq, "kind": "RAISED", "alert": alert, "missed": 0, "gap": None})
        if rule["workOrder"]:
            order = {
                "id": f"order:WO-{number}",
                "orderId": f"WO-{number}",
                "dtId": id,
                "rule": rule_name,
                "title": rule["workOrder"],
                "recommendation": "Replace the spindle bearings now.",
                "priority": rule["severity"],
                "state": "OPEN",
                "openedAt": alert["raisedAt"],
                "closedAt": None,
                "externalId": "4711",
                "seq": self.seq,
            }
            self.orders[order["orderId"]] = order
            self.publish("order", {"seq": self.seq, "kind": "OPENED", "workOrder": order, "missed": 0, "gap": None})
        return alert

    def change_alert(self, number: str, **fields: Json) -> Json:
        self.seq += 1
        alert = {**self.alerts[number], **fields, "seq": self.seq}
        self.alerts[number] = alert
        self.publish("alert", {"seq": self.seq, "kind": fields["state"], "alert": alert, "missed": 0, "gap": None})
        return alert

    def buckets(self, id: str, path: str, start: float, end: float, bucket_ms: int) -> list[Json]:
        """A made-up past that ends at the present value: noise, and a rise over the last hours where a part is sick."""
        twin = self.twins[id]
        days = twin["rul"]["rulDays"] if twin["rul"] else 200.0
        present = days if path == "rul_days" else (twin["values"].get(path) or {}).get("value")
        if not isinstance(present, float):
            return []
        sick = (
            twin["rul"] is not None and days < 30 and path in ("vibration_x", "vibration_y", "temperature", "rul_days")
        )
        now = time.time()
        step = bucket_ms / 1000
        out = []
        at = max(start, now - self.history_hours * 3600)
        at -= at % step
        while at < min(end, now):
            back = now - at
            wave = math.sin(at / 97.0 + len(id)) * 0.5 + math.sin(at / 31.0) * 0.3 + math.sin(at * 7.7) * 0.3
            value = present * (1 + 0.03 * wave)
            if sick:
                fade = 1 - math.exp(-back / 5400)
                value = present + back / 900 if path == "rul_days" else value * (1 - 0.62 * fade)
            if path == "power_on_hours":
                value = present - back / 3600
            width = abs(present) * 0.012 * (1.5 + wave)
            edges = {"min": value - width, "max": value + width, "avg": value, "last": value}
            out.append({"start": iso(at), "count": max(1, int(step * 10)), **edges})
            at += step
        return out


class Resolvers:
    """Root resolvers; everything below is plain dictionaries."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    def view(self, twin: Json) -> Json:
        plant = self.plant
        parent = plant.twins.get(twin["parent"] or "")
        return {
            **twin,
            "properties": lambda _info, paths=None: (
                {**twin["static"], **{p: v["value"] for p, v in twin["values"].items()}}
                if paths is None
                else {path: twin["static"][path] for path in paths if path in twin["static"]}
            ),
            "values": lambda _info, paths=None: [v for p, v in twin["values"].items() if paths is None or p in paths],
            "parent": {"dtId": parent["dtId"]} if parent else None,
        }

    def page(self, rows: list[Json], first: int, after: str | None) -> Json:
        start = int(after) if after else 0
        some = rows[start : start + first]
        more = start + first < len(rows)
        info = {
            "hasNextPage": more,
            "endCursor": str(start + len(some)),
            "hasPreviousPage": start > 0,
            "startCursor": str(start),
        }
        return {"nodes": some, "pageInfo": info, "totalCount": len(rows)}

    def twin(self, _info: Json, id: str, **_: Json) -> Json:
        return self.view(self.plant.twins[id]) if id in self.plant.twins else None

    def twins(self, _info: Json, first: int, after: str | None = None, **_: Json) -> Json:
        rows = sorted(self.plant.twins.values(), key=lambda twin: twin["dtId"])
        page = self.page(rows, first, after)
        return {**page, "nodes": [self.view(twin) for twin in page["nodes"]]}

    def models(self, _info: Json, first: int, after: str | None = None) -> Json:
        rows = []
        for document in self.plant.models:
            kind = document["@id"].split(":")[-1].split(";")[0]
            extends = document.get("extends", [])
            extends = [extends] if isinstance(extends, str) else extends
            fields = [
                {"path": path, "kind": "telemetry", "schema": "double", "unit": unit, "writable": False}
                for path, unit, *_ in TELEMETRY.get(kind, [])
            ]
            rows.append(
                {
                    "id": document["@id"],
                    "modelId": document["@id"],
                    "displayName": document["displayName"],
                    "document": document,
                    "extends": [{"modelId": base} for base in extends],
                    "fields": fields,
                }
            )
        return self.page(rows, first, after)

    def history(self, _info: Json, twin: str, path: str, bucketMs: int, first: int = 0, **times: str) -> Json:
        start, end = (datetime.fromisoformat(times[name]).timestamp() for name in ("from", "to"))
        return {
            "twin": twin,
            "path": path,
            "unit": "",
            "points": [],
            "buckets": self.plant.buckets(twin, path, start, end, bucketMs),
        }

    def alerts(self, _info: Json, first: int, after: str | None = None, filter: Json = None) -> Json:
        return self.page(in_state(self.plant.alerts, filter), first, after)

    def workOrders(self, _info: Json, first: int, after: str | None = None, filter: Json = None) -> Json:
        return self.page(in_state(self.plant.orders, filter), first, after)

    def alertRules(self, _info: Json) -> Json:
        return self.plant.rules

    def serviceInfo(self, _info: Json) -> Json:
        sources = [
            {
                "name": f"opcua:{name}",
                "state": "connected",
                "since": iso(self.plant.started),
                "reason": None,
                "counters": {},
            }
            for name, twin in self.plant.twins.items()
            if twin["parent"] is None
        ]
        return {
            "name": "twinloom",
            "version": "0.1.0",
            "seq": self.plant.seq,
            "startedAt": iso(self.plant.started),
            "mode": "demo",
            "twins": len(self.plant.twins),
            "sources": sources,
        }

    def acknowledgeAlert(self, _info: Json, input: Json) -> Json:
        number = input["id"].removeprefix("alert:")
        if number not in self.plant.alerts:
            error = {"code": "NOT_FOUND", "message": f"There is no alert {number}.", "remedy": "Read the alerts again."}
            return {"alert": None, "seq": self.plant.seq, "userErrors": [error]}
        fields = {"state": "ACKNOWLEDGED", "acknowledgedAt": iso(time.time()), "acknowledgedBy": "engineer"}
        return {"alert": self.plant.change_alert(number, **fields), "seq": self.plant.seq, "userErrors": []}

    def twinsChanged(
        self, _info: Json, after: int | None = None, filter: Json = None, **_: Json
    ) -> AsyncIterator[Json]:
        return self.stream("twins", "twinsChanged", after, filter or {})

    def alertChanged(self, _info: Json, after: int | None = None) -> AsyncIterator[Json]:
        return self.stream("alert", "alertChanged", after, {})

    def rulChanged(self, _info: Json, after: int | None = None, **_: Json) -> AsyncIterator[Json]:
        return self.stream("rul", "rulChanged", after, {})

    def workOrderChanged(self, _info: Json, after: int | None = None) -> AsyncIterator[Json]:
        return self.stream("order", "workOrderChanged", after, {})

    async def stream(self, kind: str, field: str, after: int | None, filter: Json) -> AsyncIterator[Json]:
        queue: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
        for one, event in self.plant.log:
            if after is not None and event["seq"] > after:
                queue.put_nowait((one, event))
        self.plant.queues.add(queue)
        ids, paths = filter.get("ids"), filter.get("paths")
        try:
            while True:
                one, event = await queue.get()
                if one != kind:
                    continue
                if ids is not None or paths is not None:
                    changes = [
                        {**change, "values": [v for v in change["values"] if paths is None or v["path"] in paths]}
                        for change in event["changes"]
                        if ids is None or change["dtId"] in ids
                    ]
                    event = {**event, "changes": [c for c in changes if c["values"] or c["kind"] != "VALUES"]}
                yield {field: event}
        finally:
            self.plant.queues.discard(queue)


class Server:
    def __init__(self, plant: Plant, token: str, scene: bytes | None) -> None:
        self.plant, self.token, self.scene = plant, token, scene
        self.root = Resolvers(plant)
        self.queries: list[str] = []

    def app(self) -> Starlette:
        app = Starlette(
            routes=[
                Route("/", self.page),
                Route("/graphql", self.post, methods=["POST"]),
                WebSocketRoute("/graphql", self.socket),
                Route("/scene.glb", self.glb),
                Route("/control", self.control, methods=["POST"]),
                Mount("/assets", StaticFiles(directory=DIST / "assets")),
            ]
        )
        return app

    async def page(self, _request: Request) -> Response:
        headers = {
            "content-security-policy": POLICY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        return Response((DIST / "index.html").read_bytes(), media_type="text/html", headers=headers)

    async def glb(self, _request: Request) -> Response:
        return Response(self.scene, media_type="model/gltf-binary") if self.scene else Response(status_code=404)

    async def post(self, request: Request) -> Response:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            error = {"message": "A token is needed.", "extensions": {"code": "UNAUTHENTICATED"}}
            return JSONResponse({"errors": [error]}, status_code=401)
        body = await request.json()
        result = await graphql(SCHEMA, body["query"], self.root, variable_values=body.get("variables"))
        return JSONResponse(answer(result))

    async def control(self, request: Request) -> Response:
        body = await request.json()
        match body["do"]:
            case "values":
                self.plant.set_values(body["values"], body.get("quality", "GOOD"))
            case "all":
                parts = [id for id, twin in self.plant.twins.items() if "temperature" in twin["values"]]
                self.plant.set_values(
                    {id: {"temperature": 20.0 + (i * 7 + body["step"] * 13) % 50} for i, id in enumerate(parts)}
                )
            case "rul":
                self.plant.set_rul(body["twin"], body["days"])
            case "alert":
                return JSONResponse(
                    self.plant.raise_alert(body["twin"], body["rule"], body["value"], body.get("ago", 0))
                )
            case "clear":
                self.plant.change_alert(body["alert"], state="CLEARED", clearedAt=iso(time.time()))
            case "stale":
                self.plant.set_stale(body["twin"], body["stale"])
            case "silent":
                for twin, values in body["values"].items():
                    self.plant.seq += 1
                    for path, number in values.items():
                        old = self.plant.twins[twin]["values"][path]
                        old.update(value=float(number), number=float(number), seq=self.plant.seq)
                    self.plant.twins[twin]["seq"] = self.plant.seq
            case "missed":
                event = {"seq": self.plant.seq, "time": iso(time.time()), "changes": [], "missed": 3, "gap": None}
                self.plant.publish("twins", event)
        return JSONResponse({"seq": self.plant.seq})

    async def socket(self, socket: WebSocket) -> None:
        await socket.accept(subprotocol="graphql-transport-ws")
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            async for message in socket.iter_json():
                match message["type"]:
                    case "connection_init":
                        if self.token and (message.get("payload") or {}).get("authorization") != f"Bearer {self.token}":
                            await socket.close(4403, "A token is needed.")
                            return
                        await socket.send_json({"type": "connection_ack"})
                    case "ping":
                        await socket.send_json({"type": "pong"})
                    case "subscribe":
                        tasks[message["id"]] = asyncio.create_task(self.run(socket, message["id"], message["payload"]))
                    case "complete":
                        if task := tasks.pop(message["id"], None):
                            task.cancel()
        except WebSocketDisconnect:
            pass
        finally:
            for task in tasks.values():
                task.cancel()

    async def run(self, socket: WebSocket, id: str, payload: Json) -> None:
        started = subscribe(SCHEMA, parse(payload["query"]), self.root, variable_values=payload.get("variables"))
        stream = await started if isawaitable(started) else started
        if isinstance(stream, ExecutionResult):
            await socket.send_json({"type": "error", "id": id, "payload": answer(stream)["errors"]})
            return
        async for result in stream:
            await socket.send_json({"type": "next", "id": id, "payload": answer(result)})


def in_state(rows: dict[str, Json], filter: Json) -> list[Json]:
    states = (filter or {}).get("state")
    return [row for row in reversed(rows.values()) if states is None or row["state"] in states]


def answer(result: ExecutionResult) -> Json:
    out: Json = {"data": result.data}
    if result.errors:
        out["errors"] = [error.formatted for error in result.errors]
    return out


def sicken(plant: Plant) -> None:
    """What the pictures show: a failing spindle, a worn one, a hot one, a pump with a bad sensor, a lost machine."""
    if "toulouse/line-2/cnc-12/spindle" not in plant.twins:
        return
    plant.set_rul("toulouse/line-2/cnc-12/spindle", 8.6)
    plant.set_values({"toulouse/line-2/cnc-12/spindle": {"vibration_x": 6.2, "vibration_y": 5.4, "temperature": 71.0}})
    plant.set_rul("hamburg/line-1/cnc-23/spindle", 24.0)
    plant.set_values({"derby/line-2/cnc-44/spindle": {"temperature": 78.4}})
    plant.set_values({"hamburg/line-2/cnc-30/coolant-pump": {"pressure": 3.0}}, "BAD")
    plant.set_stale("derby/line-1/cnc-37", True)
    plant.raise_alert("hamburg/line-1/cnc-23/spindle", "spindle-rul-low", 24.0, 2900)
    plant.raise_alert("toulouse/line-2/cnc-12/spindle", "spindle-vibration-high", 6.2, 1500)
    plant.raise_alert("toulouse/line-2/cnc-12/spindle", "spindle-rul-critical", 8.6, 540)
    plant.raise_alert("derby/line-2/cnc-44/spindle", "spindle-hot", 78.4, 260)


async def simulate(plant: Plant) -> None:
    means = {
        (id, path): value["value"]
        for id, twin in plant.twins.items()
        for path, value in twin["values"].items()
        if isinstance(value["value"], float)
    }
    while True:
        changes: dict[str, dict[str, float]] = {}
        for (id, path), mean in means.items():
            if not plant.twins[id]["stale"] and plant.twins[id]["values"][path]["quality"] == "GOOD":
                changes.setdefault(id, {})[path] = mean * (1 + plant.random.gauss(0, 0.006))
        plant.set_values(changes)
        await asyncio.sleep(0.1)


def scene_of(plant: Plant) -> bytes | None:
    from twinloom.viewer.scene import build_glb, scene_twin

    twins = [scene_twin(t["dtId"], t["modelId"], t["static"], t["parent"]) for t in plant.twins.values()]
    return build_glb(twins)


async def serve(args: argparse.Namespace) -> None:
    plant = Plant(args.machines)
    if args.sick:
        sicken(plant)
    scene = None if args.no_scene else scene_of(plant)
    server = uvicorn.Server(
        uvicorn.Config(
            Server(plant, args.token, scene).app(), port=args.port, log_level="warning", ws="websockets-sansio"
        )
    )
    task = asyncio.create_task(simulate(plant)) if args.live else None
    await server.serve()
    if task:
        task.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--machines", type=int, default=None)
    parser.add_argument("--token", default="")
    parser.add_argument("--no-scene", action="store_true")
    parser.add_argument("--live", action="store_true", help="ten changes of every value a second")
    parser.add_argument("--sick", action="store_true", help="with the faults that the pictures show")
    asyncio.run(serve(parser.parse_args()))
