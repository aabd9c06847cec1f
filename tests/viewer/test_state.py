"""State overlay: values, estimates and alerts become colours, badges and a legend; no renderer."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloom.viewer.geometry import Material
from twinloom.viewer.palettes import LOOKS, RAMPS, State, Theme, difference, rgb
from twinloom.viewer.plant import Alert, Plant, Rule, Value
from twinloom.viewer.scene import Scene, SceneTwin, base_colours, build_scene
from twinloom.viewer.state import PATTERN_ALPHA, Overlay, overlay_spec
from twinloom.viewer.wording import life_left, quantity, threshold_labels

HOT = Rule("hot", "dtmi:com:twinloom:cnc:Spindle;1", "temperature", 75.0, None, "WARNING")


@pytest.fixture
def scene(twins: list[SceneTwin]) -> Scene:
    return build_scene(twins)


def state_of(scene: Scene, plant: Plant, twin: str, color_by: str = "rul") -> State:
    frame = Overlay(scene, plant.rules, color_by).frame(plant)
    return State(int(frame.states[scene.row_of[twin]]))


def put(plant: Plant, twin: str, number: float, *, quality: str = "GOOD", stale: bool = False) -> None:
    plant.twins[twin].values["temperature"] = Value("temperature", number, number, "°C", quality, stale, "", 1)


def test_only_exceptions_have_a_colour(scene: Scene, plant: Plant, sick: str) -> None:
    overlay = Overlay(scene, plant.rules)
    frame = overlay.frame(plant)
    table = overlay.colours(frame, "light").view(np.uint8).reshape(len(scene.parts), -1, 4)
    base = base_colours("light")
    touched = {
        row for row in range(len(scene.parts)) if (table[row, : Material.HALO, :3] != base[: Material.HALO]).any()
    }
    assert touched == {scene.row_of[sick], scene.row_of["hamburg/line-2/cnc-30/spindle"]}


def test_the_sick_spindle_comes_first_and_says_what_and_how_long(scene: Scene, plant: Plant) -> None:
    badges = Overlay(scene, plant.rules).frame(plant).badges
    assert [(badge.text, badge.state) for badge in badges] == [
        ("CNC 12 spindle · 9 d left", State.CRITICAL),
        ("CNC 30 spindle · 24 d left", State.WARNING),
    ]


def test_every_coloured_part_has_a_badge_and_every_badge_a_coloured_part(scene: Scene, plant: Plant) -> None:
    frame = Overlay(scene, plant.rules, max_badges=100).frame(plant)
    coloured = {row for row, state in enumerate(frame.states) if State.NOTICE <= state <= State.CRITICAL}
    assert coloured == {badge.row for badge in frame.badges}


def test_the_machine_of_a_sick_part_shows_it_on_its_beacon_and_ring_and_keeps_its_body(
    scene: Scene, plant: Plant, sick: str
) -> None:
    overlay = Overlay(scene, plant.rules)
    table = overlay.colours(overlay.frame(plant), "dark").view(np.uint8).reshape(len(scene.parts), -1, 4)
    machine = scene.row_of[sick.rpartition("/")[0]]
    red = rgb(LOOKS["dark"][State.CRITICAL].colour)
    assert (table[machine, Material.HALO, :3] == red).all() and (table[machine, Material.BEACON, :3] == red).all()
    assert (table[machine, Material.BODY, :3] == base_colours("dark")[Material.BODY]).all()


@pytest.mark.parametrize(
    ("days", "state"), [(13.9, State.CRITICAL), (14.0, State.WARNING), (29.9, State.WARNING), (30.0, State.HEALTHY)]
)
def test_colours_change_exactly_at_the_thresholds_of_the_alert_rules(
    scene: Scene, plant: Plant, sick: str, days: float, state: State
) -> None:
    plant.alerts.clear()
    twin = plant.twins[sick]
    assert twin.rul is not None
    twin.rul = replace(twin.rul, days=days)
    assert state_of(scene, plant, sick) == state


@given(days=st.floats(0, 1000))
def test_red_means_that_the_rule_of_the_alert_is_broken_whatever_the_value(days: float) -> None:
    rule = Rule("r", "dtmi:m;1", "rul_days", None, 14.0, "CRITICAL")
    assert rule.broken_by(days) == (days < 14.0)


def test_a_standing_alert_colours_its_part_even_where_the_value_has_come_back(
    scene: Scene, plant: Plant, sick: str
) -> None:
    twin = plant.twins[sick]
    assert twin.rul is not None
    twin.rul = replace(twin.rul, days=15.0)  # hysteresis: raised below 14, cleared above 21
    assert state_of(scene, plant, sick) == State.CRITICAL


def test_a_cleared_alert_colours_nothing(scene: Scene, plant: Plant) -> None:
    other = "derby/line-1/cnc-34/spindle"
    plant.alerts["2"] = Alert("2", "r", other, "CRITICAL", "CLEARED", "m", "vibration_x", 5.0, 4.5, "mm/s", "", 1)
    assert state_of(scene, plant, other) == State.HEALTHY


def test_an_alert_of_another_value_names_it_in_its_badge(scene: Scene, plant: Plant) -> None:
    other = "derby/line-1/cnc-34/spindle"
    plant.alerts["2"] = Alert("2", "r", other, "WARNING", "RAISED", "m", "vibration_x", 5.0678, 4.5, "mm/s", "", 1)
    badges = {badge.text for badge in Overlay(scene, plant.rules).frame(plant).badges}
    assert "CNC 34 spindle · vibration x 5.07 mm/s" in badges


def test_a_badge_speaks_of_the_worst_cause(scene: Scene, plant: Plant, sick: str) -> None:
    plant.alerts["1"] = Alert("1", "v", sick, "WARNING", "RAISED", "m", "vibration_x", 5.0, 4.5, "mm/s", "", 1)
    assert Overlay(scene, plant.rules).frame(plant).badges[0].text == "CNC 12 spindle · 9 d left"


def test_stale_bad_degraded_and_missing_values_look_different_from_healthy_and_from_each_other(
    scene: Scene, plant: Plant, sick: str
) -> None:
    spindles = [row for row, part in enumerate(scene.parts) if part.kind == "Spindle"][:4]
    ids = [scene.parts[row].twin for row in spindles]
    for id, (quality, stale) in zip(
        ids, [("GOOD", False), ("GOOD", True), ("BAD", False), ("GOOD", False)], strict=True
    ):
        put(plant, id, 40.0, quality=quality, stale=stale)
    plant.twins[ids[3]].values["temperature"] = Value("temperature", None, None, "°C", "GOOD", False, "", 1)
    plant.rules = (HOT,)
    plant.alerts.clear()
    overlay = Overlay(scene, plant.rules, "temperature")
    frame = overlay.frame(plant)
    assert [State(int(frame.states[row])) for row in spindles] == [
        State.HEALTHY,
        State.STALE,
        State.BAD_QUALITY,
        State.UNKNOWN,
    ]
    table = overlay.colours(frame, "light")[spindles]
    assert len({tuple(row) for row in table.tolist()}) == 4


def test_what_was_bad_when_last_heard_of_stays_bad_and_is_hatched_and_called_stale(
    scene: Scene, plant: Plant, sick: str
) -> None:
    plant.alerts.clear()
    plant.twins[sick].stale = plant.twins["derby/line-1/cnc-34/spindle"].stale = True
    overlay = Overlay(scene, plant.rules)
    frame = overlay.frame(plant)
    assert frame.badges[0].text == "CNC 12 spindle · 9 d left (stale)"
    row = scene.row_of[sick]
    assert frame.states[row] == State.CRITICAL and frame.hatched[row]
    assert frame.states[scene.row_of["derby/line-1/cnc-34/spindle"]] == State.STALE


def test_judging_only_what_changed_gives_what_judging_everything_gives(scene: Scene, plant: Plant, sick: str) -> None:
    overlay = Overlay(scene, plant.rules)
    overlay.frame(plant)
    other = plant.twins["derby/line-1/cnc-34/spindle"]
    assert other.rul is not None
    other.rul = replace(other.rul, days=3.0)
    plant.twins[sick].stale = True
    partly, whole = overlay.frame(plant, {other.id, sick}), Overlay(scene, plant.rules).frame(plant)
    assert partly.badges == whole.badges and np.array_equal(partly.states, whole.states)
    assert np.array_equal(partly.worst, whole.worst) and np.array_equal(partly.hatched, whole.hatched)


def test_the_web_page_paints_in_the_same_colours() -> None:
    file = Path(__file__).resolve().parents[2] / "viewer" / "web" / "src" / "palette.json"
    page = json.loads(file.read_text())
    for theme, looks in LOOKS.items():
        for name, state in (("notice", State.NOTICE), ("warning", State.WARNING), ("critical", State.CRITICAL)):
            assert page[theme][name] == looks[state].colour
        assert (page[theme]["low"], page[theme]["high"]) == RAMPS[theme]


def test_a_degraded_estimate_is_dotted_and_a_bad_one_stays_red(scene: Scene, plant: Plant, sick: str) -> None:
    for id in (sick, "derby/line-1/cnc-34/spindle"):
        twin = plant.twins[id]
        assert twin.rul is not None
        twin.rul = replace(twin.rul, model_health="DEGRADED")
    assert state_of(scene, plant, sick) == State.CRITICAL
    assert state_of(scene, plant, "derby/line-1/cnc-34/spindle") == State.DEGRADED


def test_when_the_service_is_lost_everything_is_hatched_and_alerts_keep_their_colour(
    scene: Scene, plant: Plant, sick: str
) -> None:
    plant.lost_since = "2026-11-23T18:41:00.000Z"
    overlay = Overlay(scene, plant.rules)
    frame = overlay.frame(plant)
    table = overlay.colours(frame, "light")
    row, other = scene.row_of[sick], scene.row_of["derby/line-1/cnc-34/spindle"]
    assert frame.states[row] == State.CRITICAL and frame.states[other] == State.STALE
    assert set((table[[row, other]] >> 24)[:, : Material.HALO].ravel().tolist()) == {PATTERN_ALPHA["hatch"]}


def test_a_property_with_rules_is_coloured_by_them_and_one_without_by_a_ramp_with_unit(
    scene: Scene, plant: Plant
) -> None:
    for i, part in enumerate(scene.parts):
        if part.kind == "Spindle":
            put(plant, part.twin, 20.0 + i)
    plant.rules = ()
    frame = Overlay(scene, plant.rules, "temperature").frame(plant)
    assert frame.legend.ramp == (np.nanmin(frame.numbers), np.nanmax(frame.numbers))
    assert (frame.legend.title, frame.legend.unit) == ("Temperature", "°C")
    assert frame.badges == ()
    plant.rules = (HOT,)
    frame = Overlay(scene, plant.rules, "temperature").frame(plant)
    assert frame.legend.ramp is None
    assert next(badge.text for badge in frame.badges).endswith("°C")


def test_a_rule_on_a_value_that_no_model_has_is_reported_and_the_rest_is_drawn(scene: Scene, plant: Plant) -> None:
    plant.fields = {"dtmi:com:twinloom:cnc:Spindle;1": {"temperature": "degreeCelsius"}}
    plant.rules = (*plant.rules, Rule("odd", "dtmi:com:twinloom:cnc:Spindle;1", "colour", 1.0, None, "INFO"),
                   Rule("lost", "dtmi:nowhere;1", "x", 1.0, None, "INFO"))  # fmt: skip
    frame = Overlay(scene, plant.rules).frame(plant)
    assert any("rule odd watches colour, which Spindle does not have" in problem for problem in frame.problems)
    assert any(
        "rule lost watches the model dtmi:nowhere;1, which does not exist" in problem for problem in frame.problems
    )
    assert frame.badges


def test_the_legend_counts_what_is_shown(scene: Scene, plant: Plant) -> None:
    legend = Overlay(scene, plant.rules).frame(plant).legend
    assert [(entry.label, entry.count) for entry in legend.entries] == [
        ("< 14 d", 1),
        ("14 to 30 d", 1),
        ("≥ 30 d", 45),
    ]


def test_health_zones_colour_only_c_and_d(scene: Scene, plant: Plant, sick: str) -> None:
    plant.alerts.clear()
    frame = Overlay(scene, plant.rules, "health").frame(plant)
    counted = np.bincount(frame.states, minlength=len(State))
    assert counted[State.CRITICAL] == 1 and counted[State.WARNING] == 1 and counted[State.HEALTHY] == 45


def test_at_most_a_dozen_badges_the_worst_first(scene: Scene, plant: Plant) -> None:
    for index, twin in enumerate(plant.twins.values()):
        if twin.rul is not None:
            twin.rul = replace(twin.rul, days=index % 29)
    badges = Overlay(scene, plant.rules).frame(plant).badges
    assert len(badges) == 12 and all(badge.state == State.CRITICAL for badge in badges)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", ["normal", "protan", "deutan", "tritan"])
def test_states_are_told_apart_by_people_with_any_colour_vision(theme: Theme, vision: str) -> None:
    looks = LOOKS[theme]
    body = "#" + bytes(base_colours(theme)[Material.BODY]).hex()
    coloured = [
        (look.colour or body, look.pattern) for state, look in looks.items() if state not in (State.CONTEXT, State.RAMP)
    ]
    for (a, pattern), (b, other) in itertools.combinations(set(coloured), 2):
        if pattern == other == "solid":
            assert difference(a, b, vision) >= 15, (a, b)  # type: ignore[arg-type]
        elif pattern == other and a != b:
            assert difference(a, b, "normal") >= 12, (a, b)


def test_the_description_for_other_renderers_is_json_and_has_the_same_colours_and_thresholds(plant: Plant) -> None:
    spec = json.loads(json.dumps(overlay_spec(plant.rules)))
    assert spec["states"]["critical"]["light"] == LOOKS["light"][State.CRITICAL].colour
    assert spec["states"]["stale"]["pattern"] == "hatch"
    assert {(t["rule"], t["below"]) for t in spec["thresholds"] if t["path"] == "rul_days"} == {
        ("spindle-rul-critical", 14.0), ("spindle-rul-low", 30.0),
    }  # fmt: skip
    assert spec["labels"] == {"critical": "< 14 d", "warning": "14 to 30 d", "healthy": "≥ 30 d"}


def test_labels_read_like_a_scale() -> None:
    rules = [Rule("a", "m", "v", 4.5, None, "WARNING"), Rule("b", "m", "v", 7.1, None, "CRITICAL")]
    assert threshold_labels(rules, "mm/s") == {
        State.CRITICAL: "> 7.1 mm/s", State.WARNING: "4.5 to 7.1 mm/s", State.HEALTHY: "≤ 4.5 mm/s",
    }  # fmt: skip


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_a_quantity_keeps_three_digits_and_never_a_float_tail(value: float) -> None:
    assert len(quantity(value, "")) <= 10
    assert float(quantity(value, "")) == pytest.approx(value, rel=0.006, abs=1e-4)


def test_life_is_told_in_days_and_close_to_the_end_in_hours() -> None:
    assert [life_left(days) for days in (123.4, 9.4, 1.5, -1.0)] == ["123 d left", "9 d left", "36 h left", "due now"]
