from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from twinloom.api.limits import Limits
from twinloom.app.settings import Settings, read_settings
from twinloom.runtime.limits import Limits as Bounds
from twinloom.twin.errors import BadSetting

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "plant.toml"
    config.write_text('host = "file"\nport = 1\ndata = "file"\n')
    settings = read_settings(
        {"host": "line"}, config=config, environ={"TWINLOOM_HOST": "environment", "TWINLOOM_PORT": "2"}
    )
    assert (settings.host, settings.port, settings.data) == ("line", 2, Path("file"))


def test_an_argument_that_was_not_given_hides_nothing() -> None:
    assert read_settings({"port": None}, environ={"TWINLOOM_PORT": "9000"}).port == 9000


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TWINLOOM_PROT": "1"}, "did you mean TWINLOOM_PORT?"),
        ({"TWINLOOM_PORT": "many"}, "TWINLOOM_PORT"),
        ({"TWINLOOM_PORT": "70000"}, "TWINLOOM_PORT"),
        ({"TWINLOOM_GRAPH": "mysql://x"}, "neo4j://HOST:PORT"),
        ({"TWINLOOM_GRAPH": "neo4j://neo4j:secret@host"}, "TWINLOOM_GRAPH_PASSWORD"),
        ({"TWINLOOM_HISTORY": "csv:///x"}, "duckdb:///FILE"),
        ({"TWINLOOM_SOURCES": "plant.yaml"}, "KIND:FILE"),
        ({"TWINLOOM_LIMITS_PAGE": "0"}, "TWINLOOM_LIMITS"),
        ({"TWINLOOM_LIMITS_PAGES": "5"}, "TWINLOOM_LIMITS_PAGE?"),
        ({"TWINLOOM_CONFIG": "/nowhere.toml"}, "/nowhere.toml"),
    ],
)
def test_a_wrong_setting_is_named_with_a_remedy(environment: dict[str, str], named: str) -> None:
    with pytest.raises(BadSetting) as caught:
        read_settings(environ=environment)
    assert named in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["port = ", "\xff", "colour = 1", "[limits]\ndepth = 'deep'"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "plant.toml"
    config.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadSetting) as caught:
        read_settings(config=config, environ={})
    assert str(config) in str(caught.value)


def test_no_secret_shows_in_the_settings_or_in_an_error() -> None:
    environment = {"TWINLOOM_TOKENS": "canary-token-0123456789", "TWINLOOM_GRAPH_PASSWORD": "canary-password"}
    assert "canary" not in repr(read_settings(environ=environment))
    with pytest.raises(BadSetting) as caught:
        read_settings(environ={**environment, "TWINLOOM_PORT": "x"})
    assert "canary" not in str(caught.value)


def test_the_guide_names_every_setting() -> None:
    guide = (ROOT / "docs" / "guides" / "settings.md").read_text()
    missing = [name for name in Settings.model_fields if name not in ("limits", "bounds") and f"`{name}`" not in guide]
    missing += [name for name in (f"limits.{field.name}" for field in fields(Limits)) if f"`{name}`" not in guide]
    missing += [name for name in (f"bounds.{field.name}" for field in fields(Bounds)) if f"`{name}`" not in guide]
    assert missing == []
