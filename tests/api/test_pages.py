"""What is served beside GraphQL: the page, the scene, the IDE, health and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx


async def test_health_and_metrics_need_no_token(api: Any) -> None:
    async with httpx.AsyncClient(base_url=api.url) as client:
        assert (await client.get("/health/live")).status_code == 200
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["state"]) == (200, "ok")
        metrics = await client.get("/metrics")
        assert "values_received_total" in metrics.text
        assert "websocket_connections" in metrics.text


async def test_without_a_built_page_the_root_says_how_to_get_it(api: Any) -> None:
    page = await api.http.get("/")
    assert "npm run build" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]


async def test_the_built_page_is_served_and_nothing_outside_its_folder(start: Any, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>plant</title>")
    (folder / "assets" / "app.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    api = await start(page=folder)
    assert "plant" in (await api.http.get("/")).text
    assert (await api.http.get("/assets/app.js")).text == "1"
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/nothing"):
        answer = await api.http.get(path)
        assert answer.status_code == 404
        assert "secret" not in answer.text


async def test_the_scene_needs_a_token_and_is_made_once(start: Any) -> None:
    made = []

    def scene() -> bytes:
        made.append(1)
        return b"glTF" + bytes(8)

    api = await start(scene=scene)
    first = await api.http.get("/scene.glb")
    assert (first.status_code, first.headers["content-type"]) == (200, "model/gltf-binary")
    again = await api.http.get("/scene.glb", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert len(made) == 1
    async with httpx.AsyncClient(base_url=api.url) as stranger:
        assert (await stranger.get("/scene.glb")).status_code == 401


HTML = {"accept": "text/html"}


async def test_the_ide_comes_from_the_package_in_development(start: Any) -> None:
    api = await start(development=True)
    page = await api.http.get("/graphql", headers=HTML)
    assert page.status_code == 200
    assert "://" not in page.text
    for name in ("ide.js", "graphiql.min.js", "graphiql.min.css", "react.production.min.js"):
        assert (await api.http.get(f"/graphql/ide/{name}")).status_code == 200
    assert (await api.http.get("/graphql/ide/NOTICE.md")).status_code == 404


async def test_the_ide_is_not_there_otherwise(api: Any) -> None:
    assert (await api.http.get("/graphql", headers=HTML)).status_code == 406
    assert (await api.http.get("/graphql/ide/ide.js")).status_code == 404


async def test_assets_travel_packed_and_are_kept_for_good(start: Any, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets" / "index-1a2b.js").write_text("let twin = 1;\n" * 100)
    api = await start(page=tmp_path)
    packed = await api.http.get("/assets/index-1a2b.js", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
    plain = await api.http.get("/assets/index-1a2b.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == packed.text
