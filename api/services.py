"""What the API is given: the running service, and its own settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from twinloom.api.limits import Limits
from twinloom.api.tokens import Token

if TYPE_CHECKING:
    from twinloom.runtime.service import Service


@dataclass(frozen=True, slots=True)
class Services:
    """Everything `create_app` needs.

    `tokens`: who may come in; None lets everyone in (`demo`), an empty sequence nobody. `development` switches
    introspection and the IDE on. `page` is the built web page (a folder with `index.html`), `scene` makes the GLB of
    the plant. `allowed_origins` are the web origins, besides the server's own, whose pages may use the API.
    `trusted` maps sha256 -> document; with `trusted_only` no other document is executed (safelist).
    """

    service: Service
    tokens: Sequence[Token] | None = ()
    limits: Limits = field(default_factory=Limits)
    development: bool = False
    page: Path | None = None
    scene: Callable[[], bytes] | None = None
    allowed_origins: Sequence[str] = ()
    trusted: Mapping[str, str] = field(default_factory=dict)
    trusted_only: bool = False
    mode: str = "serve"
