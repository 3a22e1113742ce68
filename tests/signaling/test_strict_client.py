"""What a client written from RFC 9725 and the WHEP draft, and from nothing else, asks of an edge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.edge_harness import RunningEdge, client, edge_settings, running_edge
from tradewind.common.tokens import Role

SDP = {"Content-Type": "application/sdp"}
PROTOCOLS = pytest.mark.parametrize(("protocol", "role"), [("whip", Role.HOST), ("whep", Role.VIEWER)])


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    """Rooms are closed and ICE servers are set."""
    settings = edge_settings(tmp_path, rooms={}, http={"ice_servers": ["stun:stun.example"]})
    async with running_edge(settings) as edge:
        yield edge


@PROTOCOLS
async def test_a_whole_session(edge: RunningEdge, protocol: str, role: Role) -> None:
    token = edge.bearer(role)
    async with client(edge, Origin="https://shop.example") as http:
        # §4.2: CORS comes first in a browser, without a token.
        preflight = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        options = await http.options(f"/{protocol}/demo", headers=preflight)
        assert options.status_code == 200
        assert options.headers["accept-post"] == "application/sdp"
        assert options.headers["access-control-allow-origin"] == "*"
        created = await http.post(f"/{protocol}/demo", content=b"offer", headers={**SDP, **token})
        assert created.status_code == 201
        assert created.headers["content-type"] == "application/sdp"
        # §4.2: Location may be relative to the URL that was asked; §4.3.1: the tag is a strong one.
        session = urljoin(f"{edge.url}/{protocol}/demo", created.headers["location"])
        assert urlsplit(session).netloc == urlsplit(edge.url).netloc
        etag = created.headers["etag"]
        assert etag[0] == etag[-1] == '"'
        # §4.6
        assert created.headers["link"] == '<stun:stun.example>; rel="ice-server"'
        readable = {name.lower() for name in created.headers["access-control-expose-headers"].split(", ")}
        assert {"location", "etag", "link", "accept-patch", "retry-after"} <= readable
        # §4.3: PATCH is announced, and asked about before a browser may send it.
        patchable = await http.options(session, headers={"Access-Control-Request-Method": "PATCH"})
        assert patchable.status_code == 200
        assert patchable.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
        assert "PATCH" in patchable.headers["access-control-allow-methods"].split(", ")
        fragment = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": etag, **token}
        trickled = await http.patch(session, content=b"a=ice-ufrag:x", headers=fragment)
        assert (trickled.status_code, trickled.content) == (204, b"")
        assert "etag" not in trickled.headers
        # §4.3.1: DELETE does not look at an entity tag.
        deleted = await http.delete(session, headers={**token, "If-Match": '"of another session"'})
        assert deleted.status_code == 200
    assert edge.path.closed == [(1, "deleted")]
    assert len(edge.parts.sessions) == 0


@PROTOCOLS
async def test_get_succeeds_with_nothing_to_read(edge: RunningEdge, protocol: str, role: Role) -> None:
    token = edge.bearer(role)
    async with client(edge) as http:
        location = (await http.post(f"/{protocol}/demo", content=b"x", headers={**SDP, **token})).headers["location"]
        for method in ("GET", "HEAD"):
            for path in (f"/{protocol}/demo", location):
                response = await http.request(method, path, headers=token)
                assert (response.status_code, response.content) == (204, b"")
        assert (await http.get(f"/{protocol}/demo/unknown", headers=token)).status_code == 404
        assert (await http.get(f"/{protocol}/bad%20room")).status_code == 400
    assert len(edge.parts.sessions) == 1, "reading changes nothing"


@PROTOCOLS
async def test_every_other_method_is_not_allowed(edge: RunningEdge, protocol: str, role: Role) -> None:
    token = edge.bearer(role)
    async with client(edge) as http:
        location = (await http.post(f"/{protocol}/demo", content=b"x", headers={**SDP, **token})).headers["location"]
        cases = [(f"/{protocol}/demo", ("PUT", "PATCH", "DELETE"), "POST"), (location, ("PUT", "POST"), "PATCH")]
        for path, methods, allowed in cases:
            for method in methods:
                response = await http.request(method, path, headers={**SDP, **token}, content=b"x")
                assert response.status_code == 405
                assert allowed in response.headers["allow"].split(", ")
                assert response.headers["content-type"] == "application/problem+json"
    assert len(edge.parts.sessions) == 1


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, 'Bearer realm="tradewind"'),
        ({"Authorization": "Bearer x.y.z"}, 'Bearer realm="tradewind", error="invalid_token"'),
        ({"Authorization": "bearer VIEWER"}, 'Bearer realm="tradewind", error="insufficient_scope"'),
    ],
)
async def test_refusals_challenge_as_bearer_tokens_do(
    edge: RunningEdge, headers: dict[str, str], challenge: str
) -> None:
    """RFC 6750 §3. The scheme's case does not matter (RFC 9110 §11.1)."""
    sent = {name: value.replace("VIEWER", edge.token(Role.VIEWER)) for name, value in headers.items()}
    async with client(edge) as http:
        response = await http.post("/whip/demo", content=b"x", headers={**SDP, **sent})
    assert response.status_code in (401, 403)
    assert response.headers["www-authenticate"] == challenge
    assert "WWW-Authenticate" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_do_what_it_is_for(edge: RunningEdge, role: Role) -> None:
    async with client(edge) as http:
        statuses = [
            (await http.post(f"/{protocol}/demo", content=b"x", headers={**SDP, **edge.bearer(role)})).status_code
            for protocol in ("whip", "whep")
        ]
    assert statuses == [201 if role is Role.HOST else 403, 201]


async def test_a_redirect_keeps_method_and_body(edge: RunningEdge) -> None:
    """RFC 9725 §4.5: never 301 or 302, which turn POST into GET."""
    async with httpx.AsyncClient(base_url=edge.url, follow_redirects=True) as http:
        created = await http.post("/whep/demo/", content=b"x", headers={**SDP, **edge.bearer(Role.VIEWER)})
    assert created.status_code == 201
    assert [response.status_code for response in created.history] == [307]


SPOILED = ["http://x", "stun:a>b", 'turn:a"b', "stun: a", "stun:", "", "turn:a user", 'turn:a us"er x', "turn:a u c x"]


@pytest.mark.parametrize("server", SPOILED)
def test_an_ice_server_that_would_break_the_header_is_no_setting(tmp_path: Path, server: str) -> None:
    with pytest.raises(ValueError, match="write stun:host:port"):
        edge_settings(tmp_path, http={"ice_servers": [server]})
