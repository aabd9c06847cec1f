"""The commands of prognostics, as a user calls them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from twinloom.app.cli import app
from twinloom.prognostics.onnx_estimator import DEFAULT_MODEL
from twinloom.twin.errors import BadFile

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUNNER = CliRunner()


def said(*arguments: str) -> str:
    result = RUNNER.invoke(app, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture
def readings(tmp_path: Path) -> Path:
    """Two spindles over 20 days: one fit, one that wears."""
    path = tmp_path / "spindles.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["component", "power_on_hours", "vibration_x", "vibration_y", "temperature", "load", "speed"])
        for day in range(100, 121):
            rows.writerow(["fit", 24 * day, 1.1 + day / 1000, 1.0 + day / 900, 40 + day / 100, 55, 8000])
            rows.writerow(["worn", 24 * day, 4.0 + day / 100, 3.8 + day / 90, 50 + day / 50, 55, 8000])
    return path


def test_score_answers_for_each_component_of_a_users_file(readings: Path) -> None:
    fit, worn = json.loads(said("score", "--csv", str(readings), "--json"))
    assert (fit["component"], worn["component"]) == ("fit", "worn")
    assert (fit["method"], fit["model_health"], fit["unit"]) == ("onnx", "ok", "day")
    assert worn["rul_days"] < fit["rul_days"]
    text = said("score", "--csv", str(readings), "--model", str(DEFAULT_MODEL))
    assert "worn" in text
    assert "days" in text
    broken = readings.with_name("broken.csv")
    broken.write_text("component,power_on_hours\na,not a number\n")
    result = RUNNER.invoke(app, ["score", "--csv", str(broken)])
    assert isinstance(result.exception, BadFile)
    assert "line 2" in str(result.exception)


def test_a_model_file_is_inspected_checked_and_has_a_card(tmp_path: Path) -> None:
    found = json.loads(said("model", "inspect", str(DEFAULT_MODEL), "--json"))
    assert "LSTM" in found["operators"]
    assert found["contract"]["target"]["unit"] == "day"
    assert json.loads(said("model", "check", str(DEFAULT_MODEL), "--json")) == {
        "fits": True, "file": str(DEFAULT_MODEL), "digest": found["digest"],
    }  # fmt: skip
    card = tmp_path / "card.md"
    said("model", "card", str(DEFAULT_MODEL), "--out", str(card))
    assert found["digest"] in card.read_text()
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nothing")
    result = RUNNER.invoke(app, ["model", "check", str(bad), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["fits"] is False


def test_the_report_prints_value_and_assumptions_from_the_plants_cost_table(tmp_path: Path) -> None:
    few = ["--machines", "3", "--years", "1", "--parts", "20"]
    costs = str(EXAMPLES / "cnc" / "costs.yaml")
    found = json.loads(said("report", "--costs", costs, *few, "--json"))
    assert {outcome["policy"] for outcome in found["outcomes"]} == {"run to failure", "fixed interval", "predictive"}
    text = said("report", "--costs", costs, *few)
    for word in ("downtime avoided", "MTBF", "ROI", "payback", "Assumptions:"):
        assert word in text
    wrong = tmp_path / "costs.yaml"
    wrong.write_text("downtime_per_hour: -3\n")
    result = RUNNER.invoke(app, ["report", "--costs", str(wrong), *few])
    assert isinstance(result.exception, BadFile)
    assert "downtime_per_hour" in str(result.exception)


def test_training_on_a_folder_without_the_data_says_which_file_is_missing(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["train", "cmapss", "--data", str(tmp_path), "--out", str(tmp_path / "x.onnx")])
    assert isinstance(result.exception, BadFile)
    assert "FD001" in str(result.exception)
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
    "command", [["score"], ["report"], ["model", "inspect"], ["model", "card"], ["train", "cmapss"]]
)
def test_every_command_shows_an_example(command: list[str]) -> None:
    assert "Example" in said(*command, "--help")
