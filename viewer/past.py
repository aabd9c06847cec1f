"""The plant as it was: last values and estimates before a time from history, alerts that stood then.

Structure (which twins there are and where) is today's: the API keeps no past of it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from twinloom.twin.errors import BadRequest
from twinloom.viewer import queries
from twinloom.viewer.client import Client
from twinloom.viewer.live import fetch_plant, pages
from twinloom.viewer.plant import STANDING, Alert, Plant, Rul, Value
from twinloom.viewer.state import RUL_PATH

LOOK_BACK = timedelta(minutes=10)
"""A value older than this at the chosen time counts as not known then."""
MAX_ALERTS = 5_000


async def fetch_past(client: Client, at: datetime, paths: tuple[str, ...] = (), *, today: Plant | None = None) -> Plant:
    """The plant at `at` (UTC; a time without a zone is taken as UTC). `today` spares asking for the structure again.

    Raises BadRequest for a time that is still to come.
    """
    when = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    if when > datetime.now(UTC) + timedelta(seconds=5):
        raise BadRequest(
            f"{when.isoformat()} has not come yet", remedy="give a past time, for example 2026-11-23T18:40:00Z"
        )
    now = today or await fetch_plant(client, paths)
    past = Plant(rules=now.rules, fields=now.fields, service=now.service, seq=now.seq, time=now.time)
    past.historical = iso(when)
    for id, twin in now.twins.items():
        past.twins[id] = replace(twin, values={}, rul=None, health="UNKNOWN", stale=False, stale_since="")
    for path in paths:
        for model in _declaring(now, path):
            for id, number in (await _last(client, model, path, when)).items():
                symbol = next((t.values[path].symbol for t in now.twins.values() if path in t.values), "")
                past.twins[id].values[path] = Value(path, number, number, symbol, "GOOD", False, past.historical, 0)
    await _estimates(client, past, when)
    await _alerts(client, past, when)
    return past


def iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _declaring(plant: Plant, path: str) -> list[str]:
    """Models of twins that have the path, each once and none that another one's query already covers."""
    used = {twin.model for twin in plant.twins.values()}
    return sorted(model for model in used if path in plant.fields.get(model, {}))


async def _last(client: Client, model: str, path: str, when: datetime) -> dict[str, float]:
    """The last value before `when` of every twin of exactly `model`."""
    window = int(LOOK_BACK.total_seconds() * 1000)
    variables = {"model": model, "path": path, "from": iso(when - LOOK_BACK), "to": iso(when), "bucket": window}
    found: dict[str, float] = {}
    async for node in pages(client, queries.PAST, "twins", variables):
        known = [b["last"] for b in node["history"]["buckets"] if b["last"] is not None]
        if known:
            found[str(node["dtId"])] = float(known[-1])
    return found


async def _estimates(client: Client, past: Plant, when: datetime) -> None:
    watched = {rule.model for rule in past.rules if rule.value == RUL_PATH}
    models = {t.model for t in past.twins.values() if any(t.is_a(model) for model in watched)}
    for model in sorted(models):
        days, low, high = [await _last(client, model, path, when) for path in (RUL_PATH, "rul_low", "rul_high")]
        for id, value in days.items():
            twin = past.twins.get(id)
            if twin is not None:
                twin.rul = Rul(value, low.get(id, value), high.get(id, value), "UNKNOWN", "", "OK", "", 0)


async def _alerts(client: Client, past: Plant, when: datetime) -> None:
    count = 0
    async for node in pages(client, queries.ALL_ALERTS, "alerts"):
        count += 1
        raised, cleared = _time(node["raisedAt"]), _time(node.get("clearedAt"))
        if raised is not None and raised <= when and (cleared is None or cleared > when):
            alert = Alert.of(node)
            past.alerts[alert.id] = alert if alert.state in STANDING else replace(alert, state="RAISED")
        if count >= MAX_ALERTS:
            return


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
