"""The pages as an edge serves them: what they may load, who may frame them, and how long a browser keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from edge.signaling.access import AccessGate
from edge.signaling.pages import Pages
from tests.edge_harness import edge_settings
from tradewind.common.problem import install_problems
from tradewind.common.tokens import TokenVerifier


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    for name in ("watch", "studio"):
        (static / f"{name}.html").write_text(f"<title>{name}</title>")
    (static / "assets" / "watch-1a2b3c4d.js").write_text("0")
    (tmp_path / "secret.js").write_text("1")
    gate = AccessGate(edge_settings(tmp_path), lambda: TokenVerifier(), lambda: 0.0)
    pages = Pages(edge_id="sg", gate=gate, is_live=lambda _: False, edges=tuple, static=static)
    app = Starlette(
        routes=[
            Route("/watch/{room}", pages.page),
            Route("/studio/{room}", pages.page),
            Route("/assets/{path:path}", pages.asset),
        ]
    )
    install_problems(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://sg") as client:
        yield client


def _policy(response: httpx.Response) -> dict[str, str]:
    """Directive -> sources (CSP level 3 §2.2)."""
    directives = response.headers["content-security-policy"].split(";")
    return {name: sources for name, _, sources in (directive.strip().partition(" ") for directive in directives)}


async def test_a_page_runs_only_its_own_code(http: httpx.AsyncClient) -> None:
    for page in ("watch", "studio"):
        policy = _policy(await http.get(f"/{page}/demo"))
        assert policy["default-src"] == "'self'"
        assert "script-src" not in policy
        assert "style-src" not in policy
        assert not any("unsafe" in sources for sources in policy.values())
        assert policy["object-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
        # The other edges of the join reply have names that this edge cannot know beforehand.
        assert {"https:", "wss:"} <= set(policy["connect-src"].split())


async def test_a_shop_may_frame_the_watch_page_and_nobody_the_studio(http: httpx.AsyncClient) -> None:
    assert "frame-ancestors" not in _policy(await http.get("/watch/demo"))
    assert _policy(await http.get("/studio/demo"))["frame-ancestors"] == "'none'"


async def test_after_an_upgrade_only_the_page_itself_is_asked_for(http: httpx.AsyncClient) -> None:
    assert (await http.get("/watch/demo")).headers["cache-control"] == "no-cache"
    asset = await http.get("/assets/watch-1a2b3c4d.js")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["content-type"].startswith("text/javascript")


STRANGE = (
    "../secret.js",
    "%2e%2e/secret.js",
    "..%2fsecret.js",
    "gone.js",
    "watch-1a2b3c4d",
    "%00.js",
    f"{'a' * 300}.js",
)


@pytest.mark.parametrize("path", STRANGE)
async def test_nothing_but_assets_is_served_as_one(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(f"/assets/{path}")).status_code == 404


def test_built_assets_are_named_by_their_content() -> None:
    config = (Path(__file__).resolve().parents[2] / "web" / "vite.config.ts").read_text()
    # Vite puts the hash into the name unless told otherwise; `immutable` above relies on it.
    assert not any(option in config for option in ("entryFileNames", "assetFileNames", "chunkFileNames"))
