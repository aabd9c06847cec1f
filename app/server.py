"""The HTTP server in this process: uvicorn beside the service, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette

from twinloom.app.bootstrap import build_app, build_service, read_tokens
from twinloom.app.folder import claimed
from twinloom.app.settings import Settings
from twinloom.runtime.service import Service
from twinloom.twin.errors import BadSetting

log = logging.getLogger(__name__)
GRACE_S = 3


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: whoever started the service decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises BadSetting naming address and remedy when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise BadSetting(
            "settings",
            f"cannot listen on {host}:{port} ({reason})",
            place="port",
            remedy="free it, or choose with --port",
        ) from None
    listener.listen(2048)
    return listener


def quieten_libraries() -> None:
    """asyncua tells each connect at INFO and what it renegotiates at WARNING; our sources say what matters of it.

    uvicorn tells each start and stop at INFO; `serve` says where it listens.
    """
    logging.getLogger("asyncua").setLevel(logging.ERROR)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def address_of(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextlib.asynccontextmanager
async def http_server(app: Starlette, listener: socket.socket) -> AsyncIterator[str]:
    """Serves `app` on `listener` until left; yields the URL."""
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    try:
        while not server.started:
            if running.done():
                running.result()
            await asyncio.sleep(0.01)
        yield address_of(listener)
    finally:
        server.should_exit = True
        await running


@contextlib.asynccontextmanager
async def serving(service: Service, settings: Settings, listener: socket.socket, *, mode: str) -> AsyncIterator[str]:
    """Starts `service` and its HTTP server; stops both in the right order."""
    async with service:
        # Told before the first request can be answered, so that the line is there and counts what was loaded.
        log.info("twinloom serves %d twins at %s", len(service.hot), address_of(listener))
        async with http_server(build_app(settings, service, mode=mode), listener) as url:
            yield url


async def serve(settings: Settings) -> None:
    """`twinloom serve`: runs until SIGINT or SIGTERM, or until the service fails."""
    # force: the command line's own handler, which drops everything, would else keep this one out.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    quieten_libraries()
    if settings.authentication:
        read_tokens(settings)
    service = build_service(settings)
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    with claimed(settings.data), listen(settings.host, settings.port) as listener:
        async with serving(service, settings, listener, mode="serve"):
            stopped = asyncio.create_task(stop.wait())
            failed = asyncio.create_task(service.wait())
            await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if failed.done():
                failed.result()
            failed.cancel()
