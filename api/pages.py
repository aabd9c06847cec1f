"""The web page, the scene and the answers that are no GraphQL, with headers that leave a page nothing but its own."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from twinloom.api.engine import internal
from twinloom.api.errors import RequestRefused
from twinloom.api.http import Gate
from twinloom.api.services import Services
from twinloom.api.tokens import bearer

SECURITY = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self' ws: wss: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

NO_PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>twinloom</title>
<h1>twinloom is running</h1>
<p>The web page is not built in this installation. Build it with <code>npm ci &amp;&amp; npm run build</code> in
<code>viewer/web</code>, then start again.</p>
<p>GraphQL answers at <code>/graphql</code>, health at <code>/health/ready</code>, metrics at <code>/metrics</code>.</p>
</html>
"""

NO_IDE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>twinloom GraphiQL</title>
<p>GraphiQL is not built in this installation. Build it with <code>npm ci &amp;&amp; npm run build</code> in
<code>api/ide</code>, then start again.</p>
</html>
"""

PACKED = {".js": "text/javascript", ".css": "text/css"}

IDE_FILES = {
    "ide.js": "ide.js",
    "ide.css": "ide.css",
    "graphiql.min.js": "dist/graphiql.min.js.gz",
    "graphiql.min.css": "dist/graphiql.min.css.gz",
    "react.production.min.js": "dist/react.production.min.js.gz",
    "react-dom.production.min.js": "dist/react-dom.production.min.js.gz",
}


class Pages:
    """`/`, the files of the built page, and `/scene.glb`."""

    def __init__(self, services: Services, gate: Gate) -> None:
        self._page = services.page
        self._make_scene = services.scene
        self._gate = gate
        self._scene: tuple[int, bytes, str] | None = None
        self._hot = services.service.hot
        self._lock = asyncio.Lock()
        self._assets: dict[Path, bytes] = {}

    async def index(self, request: Request) -> Response:
        if self._page is None:
            return Response(NO_PAGE, media_type="text/html", headers=SECURITY)
        return FileResponse(self._page / "index.html", headers={**SECURITY, "Cache-Control": "no-cache"})

    async def file(self, request: Request) -> Response:
        """A file of the built page; nothing outside its folder, whatever the path says."""
        if self._page is None:
            return Response(b"not found", status_code=404, media_type="text/plain")
        folder = self._page.resolve()
        path = (folder / request.path_params["path"]).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            return Response(b"not found", status_code=404, media_type="text/plain", headers=SECURITY)
        if path.parent.name != "assets":
            return FileResponse(path, headers=SECURITY)
        # The build names these files by their content, so a browser may keep them for good.
        headers = {**SECURITY, "Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        if path.suffix not in PACKED or "gzip" not in request.headers.get("accept-encoding", ""):
            return FileResponse(path, headers=headers)
        if path not in self._assets:
            self._assets[path] = await asyncio.to_thread(lambda: gzip.compress(path.read_bytes(), 9, mtime=0))
        headers["Content-Encoding"] = "gzip"
        return Response(self._assets[path], media_type=PACKED[path.suffix], headers=headers)

    async def scene(self, request: Request) -> Response:
        """The plant as GLB; made anew when twins came or went. Needs a token where the API does."""
        client = request.client.host if request.client else ""
        try:
            self._gate.origin(request.headers.get("origin"), request.headers.get("host"))
            self._gate.admit(bearer(request.headers.get("authorization")), client)
        except RequestRefused as refusal:
            return Response(str(refusal), status_code=refusal.status, headers=refusal.headers, media_type="text/plain")
        if self._make_scene is None:
            return Response(b"no scene is configured", status_code=404, media_type="text/plain")
        async with self._lock:
            version = self._hot.layout_version
            if self._scene is None or self._scene[0] != version:
                try:
                    made = await asyncio.to_thread(self._make_scene)
                except Exception as error:
                    return Response(str(internal(error)), status_code=500, media_type="text/plain")
                self._scene = (version, made, f'"{hashlib.sha256(made).hexdigest()[:16]}"')
        _, body, etag = self._scene
        headers = {"ETag": etag, "Cache-Control": "no-cache", **SECURITY}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="model/gltf-binary", headers=headers)


class Ide:
    """GraphiQL for development, built into the package from npm: no file of it comes from anywhere else."""

    def __init__(self) -> None:
        self._folder = files("twinloom.api") / "ide"
        built = (self._folder / "dist" / "graphiql.min.js.gz").is_file()
        self.page = (self._folder / "index.html").read_bytes() if built else NO_IDE

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in IDE_FILES:
            return Response(b"not found", status_code=404, media_type="text/plain")
        if not (self._folder / IDE_FILES[name]).is_file():
            return Response(b"not built", status_code=404, media_type="text/plain")
        body, headers = (self._folder / IDE_FILES[name]).read_bytes(), {"X-Content-Type-Options": "nosniff"}
        if IDE_FILES[name].endswith(".gz"):
            if "gzip" in request.headers.get("accept-encoding", ""):
                headers["Content-Encoding"] = "gzip"
            else:
                body = await asyncio.to_thread(gzip.decompress, body)
        return Response(body, media_type="text/css" if name.endswith(".css") else "text/javascript", headers=headers)


class AsgiEndpoint:
    """Lets a route end in a plain ASGI callable."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
