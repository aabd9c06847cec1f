"""Values -> colours, badges and legend: one judgement for the window, the pictures and the web page.

The thresholds are the service's alert rules, so that what is red has an alert and the other way round. Knows no
renderer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinloom.twin.ids import label_of
from twinloom.twin.instance import Json
from twinloom.viewer.geometry import Material
from twinloom.viewer.palettes import CHROME, LOOKS, RAMPS, State, Theme, rgb
from twinloom.viewer.plant import Alert, Plant, Rule, TwinView
from twinloom.viewer.scene import Scene, base_colours
from twinloom.viewer.wording import SEVERITY, life_left, quantity, threshold_labels, unit_symbol

RUL, HEALTH = "rul", "health"
RUL_PATH = "rul_days"
ZONES = {"A": State.HEALTHY, "B": State.HEALTHY, "C": State.WARNING, "D": State.CRITICAL, "UNKNOWN": State.UNKNOWN}
PATTERN_ALPHA = {"solid": 255, "hatch": 251, "dots": 247}
GHOST_ALPHA, HIDDEN_ALPHA = 127, 0
"""The renderer reads the pattern from alpha: no blending, so no order of drawing matters."""


@dataclass(frozen=True, slots=True)
class Badge:
    """What is written beside the part in `row`: `text` names it and its worst value, `detail` says more."""

    row: int
    text: str
    detail: str
    state: State


@dataclass(frozen=True, slots=True)
class LegendEntry:
    state: State
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Legend:
    """`ramp` (low, high) in `unit` for a property that no rule watches; else entries by threshold."""

    title: str
    unit: str
    entries: tuple[LegendEntry, ...]
    ramp: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The judgement of one instant. `states`, `numbers` by row; `worst` is the worst exception at or below a row."""

    states: NDArray[np.uint8]
    hatched: NDArray[np.bool_]
    numbers: NDArray[np.float64]
    worst: NDArray[np.uint8]
    badges: tuple[Badge, ...]
    legend: Legend
    problems: tuple[str, ...]


class Overlay:
    """Judges a plant on a scene: `color_by` is "rul", "health" or a property path such as `temperature`."""

    def __init__(self, scene: Scene, rules: Sequence[Rule], color_by: str = RUL, *, max_badges: int = 12) -> None:
        self.scene, self.color_by, self.max_badges = scene, color_by, max_badges
        self.path = RUL_PATH if color_by == RUL else "" if color_by == HEALTH else color_by
        self.rules = tuple(rule for rule in rules if self.path and rule.value == self.path)
        parts = scene.parts
        self._parents = np.array([part.parent for part in parts], np.int64)
        self._generations = _generations(self._parents)
        self._judged = np.zeros(len(parts), np.uint8), np.full(len(parts), np.nan), np.zeros(len(parts), bool)

    def frame(self, plant: Plant, changed: Iterable[str] | None = None) -> Frame:
        """The judgement of `plant`. With `changed` (twin ids) only these are judged anew; the rest is as it was."""
        own, values, old = self._judged
        rows = (
            range(len(own))
            if changed is None
            else [r for id in changed if (r := self.scene.row_of.get(id)) is not None]
        )
        for row in rows:
            twin = plant.twins.get(self.scene.parts[row].twin)
            own[row], values[row], old[row] = (
                self._judge(twin) if twin is not None else (State.CONTEXT, math.nan, False)
            )
        states, numbers, hatched = own.copy(), values.copy(), old & (own <= State.CRITICAL)
        alerts = self._alerts(plant)
        raised: set[State] = set()
        for row, alert in alerts.items():
            severity = SEVERITY.get(alert.severity, State.NOTICE)
            if states[row] > State.CRITICAL or severity > states[row]:
                raised.add(severity)
                hatched[row] |= states[row] == State.STALE
                states[row] = severity
        if plant.lost_since:
            exceptional = (states >= State.NOTICE) & (states <= State.CRITICAL)
            hatched |= exceptional
            states[~exceptional & (states != State.CONTEXT)] = State.STALE
        worst = self._roll_up(states)
        ramp = None
        if self.path and not self.rules and np.isfinite(numbers).any():
            ramp = float(np.nanmin(numbers)), float(np.nanmax(numbers))
        legend = self._legend(plant, states, raised, ramp)
        badges = self._badges(plant, states, numbers, alerts, legend.unit)
        return Frame(states, hatched, numbers, worst, badges, legend, tuple(self._problems(plant)))

    def colours(self, frame: Frame, theme: Theme, selected: Iterable[int] = ()) -> NDArray[np.uint32]:
        """(parts, materials): RGBA as one little-endian number a face takes. Alpha is the pattern."""
        base = np.concatenate([base_colours(theme), _themed(self.scene.palette, theme)]).astype(np.float64)
        luminance = base @ [0.2126, 0.7152, 0.0722]
        shade = np.clip(0.62 + 0.38 * luminance / 236.0, 0.55, 1.0)
        looks = LOOKS[theme]
        parts = len(self.scene.parts)
        rgba = np.empty((parts, len(base), 4), np.uint8)
        rgba[:, :, :3] = np.round(base)
        rgba[:, :, 3] = 255
        for state, look in looks.items():
            rows = frame.states == state
            if rows.any():
                if look.colour:
                    rgba[rows, :, :3] = np.round(rgb(look.colour)[None, :] * shade[:, None])
                rgba[rows, :, 3] = PATTERN_ALPHA[look.pattern]
        rgba[frame.hatched, :, 3] = PATTERN_ALPHA["hatch"]
        if frame.legend.ramp is not None:
            low, high = (rgb(c).astype(float) for c in RAMPS[theme])
            share = ramp_share(frame.numbers, frame.legend.ramp)
            rows = frame.states == State.RAMP
            tint = low + (high - low) * share[rows, None]
            rgba[rows, :, :3] = np.round(tint[:, None, :] * shade[None, :, None])
        rgba[:, Material.HALO, :3] = np.round(base[Material.HALO])
        rgba[:, Material.BEACON, :3] = np.round(base[Material.BEACON])
        rgba[:, [Material.HALO, Material.BEACON], 3] = 255
        for state in (State.NOTICE, State.WARNING, State.CRITICAL):
            rows = frame.worst == state
            rgba[rows, Material.HALO, :3] = rgba[rows, Material.BEACON, :3] = rgb(looks[state].colour)
        for row in selected:
            if not frame.worst[row]:
                rgba[row, Material.HALO, :3] = rgb(CHROME[theme].select)
        return rgba.view(np.uint32)[:, :, 0]

    def _judge(self, twin: TwinView) -> tuple[State, float, bool]:
        """The state and number of one twin's own value, alerts aside, and whether it is an old one.

        What was bad when it was last heard of stays bad, hatched; a healthy value that is old is just stale.
        """
        state, number, stale = self._fresh(twin)
        if stale and state in (State.HEALTHY, State.DEGRADED, State.RAMP, State.UNKNOWN):
            return State.STALE, number, True
        return state, number, stale

    def _fresh(self, twin: TwinView) -> tuple[State, float, bool]:
        if self.color_by == HEALTH:
            if twin.rul is None and twin.health == "UNKNOWN":
                return State.CONTEXT, math.nan, False
            zone = twin.rul.health if twin.rul is not None else twin.health
            return ZONES.get(zone, State.UNKNOWN), math.nan, twin.stale
        if self.color_by == RUL:
            if twin.rul is None:
                expected = any(twin.is_a(rule.model) for rule in self.rules)
                return State.UNKNOWN if expected else State.CONTEXT, math.nan, twin.stale
            state = self._severity(twin, twin.rul.days)
            if twin.rul.model_health == "DEGRADED" and state == State.HEALTHY:
                state = State.DEGRADED
            return state, twin.rul.days, twin.stale
        value = twin.values.get(self.path)
        if value is None:
            return State.CONTEXT, math.nan, False
        if value.number is None or not math.isfinite(value.number):
            return State.UNKNOWN, math.nan, value.stale or twin.stale
        if value.quality == "BAD":
            return State.BAD_QUALITY, value.number, False
        state = State.RAMP if not self.rules else self._severity(twin, value.number)
        return state, value.number, value.stale or twin.stale

    def _severity(self, twin: TwinView, number: float) -> State:
        worst = State.HEALTHY
        for rule in self.rules:
            if twin.is_a(rule.model) and rule.broken_by(number):
                worst = max(worst, SEVERITY.get(rule.severity, State.NOTICE))
        return worst

    def _alerts(self, plant: Plant) -> dict[int, Alert]:
        """The worst standing alert of each row that this overlay speaks of."""
        found: dict[int, Alert] = {}
        for alert in plant.standing():
            row = self.scene.row_of.get(alert.twin)
            if row is not None and row not in found and (self.color_by in (RUL, HEALTH) or alert.path == self.path):
                found[row] = alert
        return found

    def _roll_up(self, states: NDArray[np.uint8]) -> NDArray[np.uint8]:
        worst = np.where((states >= State.NOTICE) & (states <= State.CRITICAL), states, 0).astype(np.uint8)
        for rows in self._generations:
            np.maximum.at(worst, self._parents[rows], worst[rows])
        return worst

    def _badges(
        self, plant: Plant, states: NDArray[np.uint8], numbers: NDArray[np.float64], alerts: dict[int, Alert], unit: str
    ) -> tuple[Badge, ...]:
        marked = np.flatnonzero((states >= State.NOTICE) & (states <= State.CRITICAL)).tolist()
        marked.sort(key=lambda row: (-int(states[row]), numbers[row] if np.isfinite(numbers[row]) else math.inf, row))
        badges = [
            self._badge(row, plant, State(int(states[row])), alerts.get(row), unit) for row in marked[: self.max_badges]
        ]
        return tuple(badges)

    def _badge(self, row: int, plant: Plant, state: State, alert: Alert | None, unit: str) -> Badge:
        twin = plant.twins[self.scene.parts[row].twin]
        label = self.scene.label_of(row)
        own, number, symbol = self._own(twin, unit)
        other = alert is not None and alert.path != self.path and SEVERITY.get(alert.severity, State.NOTICE) > own
        if alert is not None and (other or not number):
            symbol = twin.values[alert.path].symbol if alert.path in twin.values else unit_symbol(alert.unit)
            number = quantity(alert.value, symbol)
            if other and self.color_by in (RUL, HEALTH):
                number = f"{alert.path.rpartition('.')[2].replace('_', ' ')} {number}"
        detail = alert.message.removeprefix(f"{alert.twin}: ") if alert is not None else ""
        if not other and twin.rul is not None and self.color_by in (RUL, HEALTH):
            detail = twin.rul.recommendation
        stale = " (stale)" if twin.stale or plant.lost_since else ""
        return Badge(row, f"{label} · {number or f'zone {twin.health}'}{stale}", detail, state)

    def _own(self, twin: TwinView, unit: str) -> tuple[State, str, str]:
        """How bad the coloured value itself is, and its text and symbol."""
        if self.color_by in (RUL, HEALTH):
            if twin.rul is None:
                return State.CONTEXT, "", "d"
            worst = (
                ZONES.get(twin.rul.health, State.UNKNOWN)
                if self.color_by == HEALTH
                else self._severity(twin, twin.rul.days)
            )
            return worst, life_left(twin.rul.days), "d"
        value = twin.values.get(self.path)
        if value is None or value.number is None:
            return State.CONTEXT, "", unit
        return self._severity(twin, value.number), quantity(value.number, value.symbol or unit), value.symbol or unit

    def _legend(
        self, plant: Plant, states: NDArray[np.uint8], raised: set[State], ramp: tuple[float, float] | None
    ) -> Legend:
        counts = np.bincount(states, minlength=len(State))
        looks = LOOKS["light"]
        if self.color_by == HEALTH:
            title, unit = "Health zone", "ISO 13374 zones"
            labels = {State.HEALTHY: "A, B  fit", State.WARNING: "C  limited time", State.CRITICAL: "D  damage likely"}
        elif self.color_by == RUL:
            title, unit = "Remaining useful life", "days"
            labels = threshold_labels(self.rules, "d")
        else:
            title = self.path.replace("_", " ").replace(".", " ").capitalize()
            symbols = [t.values[self.path].symbol for t in plant.twins.values() if self.path in t.values]
            unit = max(set(symbols), key=symbols.count) if symbols else ""
            labels = threshold_labels(self.rules, unit)
        for state in (State.CRITICAL, State.WARNING):
            if state in raised and state in labels:
                labels[state] += f" or a {looks[state].label} alert"
        entries = [
            LegendEntry(state, labels.get(state, looks[state].label), int(counts[state]))
            for state in (State.CRITICAL, State.WARNING, State.NOTICE, State.HEALTHY)
            if state in labels or counts[state]
        ]
        for state in (State.DEGRADED, State.STALE, State.BAD_QUALITY, State.UNKNOWN):
            label = looks[state].label
            if self.color_by == RUL and state == State.UNKNOWN:
                label = "no estimate yet"
            if counts[state]:
                entries.append(LegendEntry(state, label, int(counts[state])))
        return Legend(title, unit, tuple(entries), ramp)

    def _problems(self, plant: Plant) -> Iterable[str]:
        if self.path and self.path != RUL_PATH:
            known = {path for fields in plant.fields.values() for path in fields}
            if known and self.path not in known:
                yield f"no model has a property {self.path}; everything is drawn without it"
        for rule in plant.rules:
            if rule.value == RUL_PATH or not plant.fields:
                continue
            fields = plant.fields.get(rule.model)
            if fields is None:
                yield f"rule {rule.name} watches the model {rule.model}, which does not exist"
            elif rule.value not in fields:
                yield f"rule {rule.name} watches {rule.value}, which {label_of(rule.model)} does not have"


def _generations(parents: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows that have a parent, by generation, the youngest first."""
    depth = np.zeros(len(parents), np.int64)
    for row, parent in enumerate(parents.tolist()):  # parents come before children
        if parent >= 0:
            depth[row] = depth[parent] + 1
    return [np.flatnonzero(depth == generation) for generation in range(int(depth.max(initial=0)), 0, -1)]


def _themed(palette: NDArray[np.uint8], theme: Theme) -> NDArray[np.float64]:
    """A file's own colours, greyed by half so that no vendor's red machine passes for an alarm."""
    colours = palette.astype(np.float64).reshape(-1, 3)
    grey = colours @ np.array([[0.2126], [0.7152], [0.0722]])
    muted = grey + (colours - grey) * 0.25
    themed: NDArray[np.float64] = muted if theme == "light" else muted * 0.6
    return themed


def ramp_share(numbers: NDArray[np.float64], ramp: tuple[float, float]) -> NDArray[np.float64]:
    """Where `numbers` lie in `ramp`, 0 to 1; 0 for NaN."""
    low, high = ramp
    share: NDArray[np.float64] = np.nan_to_num((numbers - low) / (high - low) if high > low else numbers * 0.0)
    clipped: NDArray[np.float64] = np.clip(share, 0.0, 1.0)
    return clipped


def overlay_spec(rules: Sequence[Rule], color_by: str = RUL, *, unit: str = "") -> dict[str, Json]:
    """The same judgement as data, for renderers in other languages: states, looks of both themes, thresholds, ramp.

    A value's state is the worst severity among `thresholds` of its path that it breaks; alpha never carries meaning
    there.
    """
    path = RUL_PATH if color_by == RUL else color_by
    used = [rule for rule in rules if rule.value == path]
    return {
        "version": 1,
        "colorBy": color_by,
        "states": {
            state.name.lower(): {
                "rank": int(state),
                "label": LOOKS["light"][state].label,
                "pattern": LOOKS["light"][state].pattern,
                "light": LOOKS["light"][state].colour or None,
                "dark": LOOKS["dark"][state].colour or None,
            }
            for state in State
        },
        "severities": {name: state.name.lower() for name, state in SEVERITY.items()},
        "zones": {name: state.name.lower() for name, state in ZONES.items()},
        "thresholds": [
            {
                "rule": r.name,
                "model": r.model,
                "path": r.value,
                "above": r.above,
                "below": r.below,
                "severity": r.severity,
            }
            for r in rules
        ],
        "labels": {
            state.name.lower(): label
            for state, label in threshold_labels(used, unit or ("d" if color_by == RUL else "")).items()
        },
        "ramp": {theme: list(ends) for theme, ends in RAMPS.items()},
        "materials": {
            theme: ["#" + bytes(colour).hex() for colour in base_colours(theme)] for theme in ("light", "dark")
        },
        "chrome": {
            theme: {
                name: getattr(CHROME[theme], name)
                for name in ("ground", "text", "faint", "panel", "edge", "banner", "select")
            }
            for theme in ("light", "dark")
        },
    }
