"""The one place that knows every room: settings in, a service and its API out.

`check_settings` reads all that `build_service` would and opens nothing, so that a defect is one sentence before
anything starts.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from starlette.applications import Starlette

from twinloom.api.app import Services, Token, create_app
from twinloom.api.tokens import MINIMUM_CHARACTERS
from twinloom.app.folder import existing
from twinloom.app.scene import SceneMaker
from twinloom.app.settings import Settings
from twinloom.graph.duckdb_history import DuckdbHistory
from twinloom.graph.sqlite_store import SqliteStore
from twinloom.graph.store import Change, GraphStore
from twinloom.prognostics.onnx_estimator import OnnxEstimator
from twinloom.prognostics.served import Served
from twinloom.runtime.rules import Rule, read_rules
from twinloom.runtime.scoring import Assignment
from twinloom.runtime.service import Service
from twinloom.twin.errors import BadSetting
from twinloom.twin.ids import model_id
from twinloom.twin.ports import Actuator, Source

SOURCES = "twinloom.sources"
ACTUATORS = "twinloom.actuators"


def make_store(settings: Settings) -> GraphStore:
    """The graph store that `settings.graph` names, not yet open."""
    if settings.graph.startswith("sqlite:"):
        return SqliteStore(settings.database_file(settings.graph))
    from twinloom.graph.neo4j_store import Neo4jStore

    if settings.graph_password is None:
        raise BadSetting(
            "settings", "Neo4j needs a password", place="graph_password", remedy="set TWINLOOM_GRAPH_PASSWORD"
        )
    return Neo4jStore(
        settings.graph, settings.graph_user, settings.graph_password.get_secret_value(), settings.graph_database
    )


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[GraphStore]:
    store = make_store(settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def read_sources(settings: Settings) -> list[Source]:
    """One source a server of each mapping file. An adapter is found by the entry point of its kind."""
    found: list[Source] = []
    for source in settings.sources:
        kind, _, file = source.partition(":")
        kinds = {point.name: point for point in entry_points(group=SOURCES)}
        if kind not in kinds:
            raise BadSetting(
                "settings",
                f"there is no source kind {kind!r}",
                place="sources",
                remedy=f"choose of {', '.join(sorted(kinds))}",
            )
        found.extend(kinds[kind].load()(existing(Path(file), "mapping file")))
    names = [source.name for source in found]
    for name in names:
        if names.count(name) > 1:
            raise BadSetting("settings", f"two sources are named {name!r}", place="sources", remedy="rename one")
    return found


def find_actuators(sources: Sequence[Source]) -> list[Actuator]:
    """The way back to the machines, from each adapter that has one: entry points that take the sources."""
    return [
        actuator
        for point in entry_points(group=ACTUATORS)
        if any(type(source).__module__.startswith(point.module.rpartition(".")[0]) for source in sources)
        for actuator in point.load()(sources)
    ]


def make_estimator(settings: Settings) -> Served:
    """The configured model or the default ones, then the rules, which always answer.

    Raises BadFile for a configured model that does not fit; where the packaged one is missing, estimates are degraded.
    """
    if settings.rul_model is None:
        return Served.open()
    OnnxEstimator.open(existing(settings.rul_model, "ONNX model"))
    return Served.open(settings.rul_model, None)


def model_folder(settings: Settings) -> Path | None:
    """The one folder from which models may be loaded while the service runs. Raises BadSetting."""
    if settings.models is not None and not settings.models.is_dir():
        raise BadSetting("settings", f"there is no folder {settings.models}", place="models", remedy="create it")
    return settings.models


def make_rules(settings: Settings) -> tuple[Rule, ...]:
    return read_rules(existing(settings.rules, "rules file")) if settings.rules else ()


def build_service(settings: Settings, *, seed: Sequence[Change] = ()) -> Service:
    """The whole service, not yet started. Raises BadFile and BadSetting."""
    served = make_estimator(settings)
    sources = read_sources(settings)
    return Service(
        store=make_store(settings),
        history=DuckdbHistory(settings.database_file(settings.history)),
        estimator=served,
        assignments=[Assignment(model_id(settings.rul_twins), served.layout)],
        models=model_folder(settings),
        fmu=(existing(settings.fmu, "FMU"), settings.fmu_allowed) if settings.fmu else None,
        rules=make_rules(settings),
        sources=sources,
        actuators=find_actuators(sources),
        seed=seed,
        limits=settings.bounds,
    )


def build_app(settings: Settings, service: Service, *, mode: str = "serve") -> Starlette:
    """The HTTP application over a started service."""
    page = Path(__file__).parents[1] / "viewer" / "web" / "dist"
    return create_app(
        Services(
            service,
            tokens=read_tokens(settings) if settings.authentication else None,
            limits=settings.limits,
            development=settings.development,
            page=page if (page / "index.html").is_file() else None,
            scene=SceneMaker(service.hot).glb,
            allowed_origins=settings.allowed_origins,
            mode=mode,
        )
    )


def read_tokens(settings: Settings) -> list[Token]:
    """Raises BadSetting when nobody could come in, or a token is too short to be a secret."""
    if not settings.tokens:
        raise BadSetting(
            "settings",
            "nobody could come in: there is no token",
            place="tokens",
            remedy="set TWINLOOM_TOKENS=$(openssl rand -hex 24), or --no-authentication on a machine of your own",
        )
    for number, token in enumerate(settings.tokens, 1):
        if len(token.get_secret_value()) < MINIMUM_CHARACTERS:
            raise BadSetting(
                "settings",
                f"token {number} is shorter than {MINIMUM_CHARACTERS} characters",
                place="tokens",
                remedy="make one with openssl rand -hex 24",
            )
    return [Token.of(f"token-{number}", token.get_secret_value()) for number, token in enumerate(settings.tokens, 1)]


def check_settings(settings: Settings) -> dict[str, str]:
    """What `serve` would use, by part. Raises what `serve` would, and opens no database and no connection."""
    store = make_store(settings)
    served = make_estimator(settings)
    return {
        "graph": f"{settings.graph} ({type(store).__name__})",
        "history": settings.history,
        "sources": ", ".join(source.name for source in read_sources(settings)) or "none",
        "rules": ", ".join(rule.name for rule in make_rules(settings)) or "none",
        "rul": " > ".join(estimator.name for estimator in served.estimators),
        "models": str(model_folder(settings) or "none"),
        "tokens": f"{len(read_tokens(settings))}" if settings.authentication else "off",
        "address": f"http://{settings.host}:{settings.port}",
    }
