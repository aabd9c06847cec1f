"""Every setting, read once into a frozen object: command line over environment (`TWINLOOM_*`) over one TOML file.

The TOML file is the one named by `--config` or `TWINLOOM_CONFIG`; its keys are the field names below. A wrong or
unknown key is a BadSetting that names it, and nothing starts. Secrets have no default and never appear in a message.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from twinloom.api.limits import Limits
from twinloom.runtime.limits import Limits as Bounds
from twinloom.twin.errors import BadSetting

PREFIX = "TWINLOOM_"
_MAY_BE_ZERO = {"aliases", "directives"}
_GROUPS = {"limits": Limits, "bounds": Bounds}


class Settings(BaseModel):
    """`data` is the folder that relative database paths live in; `limits` bound the API, `bounds` the runtime."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Path("twinloom-data")
    graph: str = "sqlite:///twins.db"
    graph_user: str = "neo4j"
    graph_password: SecretStr | None = None
    graph_database: str = "neo4j"
    history: str = "duckdb:///history.db"
    sources: tuple[str, ...] = ()
    rules: Path | None = None
    rul_model: Path | None = None
    models: Path | None = None
    fmu: Path | None = None
    fmu_allowed: tuple[str, ...] = ()
    rul_twins: str = "dtmi:com:twinloom:cnc:Spindle;1"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    tokens: tuple[SecretStr, ...] = ()
    authentication: bool = True
    development: bool = False
    allowed_origins: tuple[str, ...] = ()
    limits: Limits = Limits()
    bounds: Bounds = Bounds()

    @field_validator("sources", "tokens", "allowed_origins", "fmu_allowed", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("limits", "bounds")
    @classmethod
    def _positive(cls, value: Limits | Bounds) -> Limits | Bounds:
        for name, number in asdict(value).items():
            if number < 0 or (number == 0 and name not in _MAY_BE_ZERO):
                raise ValueError(f"{name} must be above zero")
        return value

    @field_validator("graph")
    @classmethod
    def _known_graph(cls, value: str) -> str:
        if urlsplit(value).scheme not in {"sqlite", "neo4j", "neo4j+s", "bolt", "bolt+s"}:
            raise ValueError("use sqlite:///FILE or neo4j://HOST:PORT")
        if urlsplit(value).password:
            raise ValueError("keep the password out of the address: set TWINLOOM_GRAPH_PASSWORD")
        return value

    @field_validator("history")
    @classmethod
    def _known_history(cls, value: str) -> str:
        if urlsplit(value).scheme != "duckdb":
            raise ValueError("use duckdb:///FILE")
        return value

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for source in value:
            kind, _, file = source.partition(":")
            if not kind.isidentifier() or not file:
                raise ValueError(f"{source!r} is not KIND:FILE, for example opcua:plant/opcua.yaml")
        return value

    def database_file(self, url: str) -> Path:
        """The file of a `sqlite:///` or `duckdb:///` address; a relative one lives in `data`.

        >>> Settings(data=Path("/srv/plant")).database_file("sqlite:///twins.db")
        PosixPath('/srv/plant/twins.db')
        """
        return (
            self.data / urlsplit(url).path.removeprefix("/") if not url.count("////") else Path(urlsplit(url).path[1:])
        )


def read_settings(
    overrides: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this start. Raises BadSetting naming the first wrong key and where it came from."""
    environ = os.environ if environ is None else environ
    if config is None and environ.get(PREFIX + "CONFIG"):
        config = Path(environ[PREFIX + "CONFIG"])
    from_file = _read_toml(config) if config else {}
    from_environment = _read_environment(environ)
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    origin = {
        **dict.fromkeys(from_file, str(config)),
        **dict.fromkeys(from_environment, "environment"),
        **dict.fromkeys(given, "command line"),
    }
    merged = {**from_file, **from_environment, **given}
    try:
        return Settings(**merged)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        top = str(first["loc"][0]) if first["loc"] else key
        where = origin.get(top, "settings")
        name = PREFIX + top.upper() if where == "environment" else key
        if first["type"] == "extra_forbidden":
            raise BadSetting(where, "there is no such setting", place=name, remedy=_suggestion(key)) from None
        message = first["msg"].removeprefix("Value error, ")
        raise BadSetting(where, message, place=name, remedy="correct it and run twinloom check") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(
            str(path), f"cannot be read ({error.strerror})", remedy="name an existing file with --config"
        ) from None
    except UnicodeDecodeError:
        raise BadSetting(str(path), "is not UTF-8 text", remedy="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(str(path), f"is not TOML: {error}", remedy="correct that line") from None


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable == PREFIX + "CONFIG":
            continue
        name = variable.removeprefix(PREFIX).lower()
        group, _, member = name.partition("_")
        if group in _GROUPS and member in _members(group):
            found.setdefault(group, {})[member] = value
        elif name in Settings.model_fields:
            found[name] = value
        else:
            raise BadSetting(
                "environment", "there is no such setting", place=variable, remedy=_suggestion(name, upper=True)
            )
    return found


def _suggestion(name: str, *, upper: bool = False) -> str:
    known = [*Settings.model_fields, *(f"{group}.{member}" for group in _GROUPS for member in _members(group))]
    near = difflib.get_close_matches(name, known, n=1)
    if not near:
        return "the settings are listed in docs/guides/settings.md"
    return f"did you mean {PREFIX + near[0].upper().replace('.', '_') if upper else near[0]}?"


def _members(group: str) -> list[str]:
    return [field.name for field in fields(_GROUPS[group])]
