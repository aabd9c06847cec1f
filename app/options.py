"""Options that several commands share, and how a command runs its coroutine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from twinloom.app.settings import Settings, read_settings

T = TypeVar("T")

Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8000")]
Data = Annotated[Path | None, typer.Option(help="Folder of the databases.", show_default="twinloom-data")]
Config = Annotated[Path | None, typer.Option(help="TOML file of settings (see docs/guides/settings.md).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Url = Annotated[str, typer.Option(help="Address of a running server.")]
Token = Annotated[str | None, typer.Option(envvar="TWINLOOM_TOKEN", help="Bearer token of that server.")]
ColorBy = Annotated[str, typer.Option(help="`rul`, `health` or a numeric property.")]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on uvloop where it is installed."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def settings_of(config: Path | None = None, **given: Any) -> Settings:
    return read_settings(given, config=config)
