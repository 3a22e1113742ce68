"""Refusals as a whole: each has a counter from the start, is counted once, and leaves nothing behind."""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from edge.dataplane._native import OFFER_REASONS as NATIVE_REASONS
from edge.metrics import REFUSALS, EdgeMetrics
from edge.signaling.events import CLOSE_REASONS
from edge.signaling.port import OFFER_REASONS, OfferRefused
from tests.edge_harness import RunningEdge, client, edge_settings, running_edge
from tests.edge_process import ROOT
from tradewind.common.tokens import Role

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
REFUSED = "tradewind_http_refused_total"


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    http = {"connections_max": 16, "head_timeout_s": 0.05}
    async with running_edge(edge_settings(tmp_path, rooms={}, http=http)) as edge:
        yield edge


def counted(edge: RunningEdge) -> dict[tuple[str, str], float]:
    """Refusals so far that are not 0."""
    metrics = edge.parts.metrics.registry.collect()
    samples = (sample for metric in metrics for sample in metric.samples if sample.name == REFUSED)
    return {(s.labels["surface"], s.labels["reason"]): s.value for s in samples if s.value}


def test_every_reason_has_a_counter_from_the_start() -> None:
    registry = EdgeMetrics().registry
    for surface, reasons in REFUSALS.items():
        for reason in reasons:
            assert registry.get_sample_value(REFUSED, {"surface": surface, "reason": reason}) == 0
    for role in ("host", "viewer"):
        for reason in CLOSE_REASONS:
            assert registry.get_sample_value("tradewind_sessions_closed_total", {"role": role, "reason": reason}) == 0


def test_the_packet_path_gives_no_other_reasons() -> None:
    assert OFFER_REASONS == NATIVE_REASONS
    shards = "".join(path.read_text() for path in (ROOT / "edge/dataplane/io/src/shard").glob("*.rs"))
    said = set(re.findall(r'\bclose(?:_all)?\(\w+, "(\w+)"', shards))
    said |= set(re.findall(r'DropReason::Dtls\w+, "(\w+)"\)', shards)) | set(re.findall(r'close_all\("(\w+)"', shards))
    assert said | {"deleted"} == set(CLOSE_REASONS)


def test_signalling_gives_no_other_reasons() -> None:
    """Reads the sources: a reason without a counter would appear only with its first refusal."""
    reasons = set()
    for file in [ROOT / "edge/http_app.py", *(ROOT / "edge/signaling").glob("*.py")]:
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        for call in calls:
            if getattr(call.func, "id", "") in ("Problem", "_unavailable"):
                literals = [part.value for part in call.args[:2] if isinstance(part, ast.Constant)]
                reasons |= {str(value) for value in literals if re.fullmatch(r"[a-z_]+", str(value))}
    assert {"etag_mismatch", "room_name", "draining"} <= reasons
    assert reasons <= {reason for known in REFUSALS.values() for reason in known}


async def test_each_refusal_is_counted_once_and_leaves_nothing_behind(edge: RunningEdge) -> None:
    host, viewer = edge.bearer(Role.HOST), edge.bearer(Role.VIEWER)
    async with client(edge) as http:
        session = (await http.post("/whep/demo", content=b"x", headers={**SDP, **viewer})).headers["location"]
        etag = {"If-Match": '"other"'}
        cases = [
            ("whip", "token_missing", "POST", "/whip/demo", SDP),
            ("whip", "token_algorithm", "POST", "/whip/demo", {**SDP, "Authorization": f"Bearer {unsigned()}"}),
            ("whip", "token_expired", "POST", "/whip/demo", {**SDP, **edge.bearer(Role.HOST, valid_s=-60)}),
            ("whip", "token_wrong_room", "POST", "/whip/demo", {**SDP, **edge.bearer(Role.HOST, room="x")}),
            ("whip", "token_wrong_role", "POST", "/whip/demo", {**SDP, **viewer}),
            ("whip", "content_type", "POST", "/whip/demo", {**host, "Content-Type": "text/plain"}),
            ("whip", "room_name", "POST", "/whip/-", {**SDP, **host}),
            ("whip", "method_not_allowed", "PUT", "/whip/demo", host),
            ("whip", "session_unknown", "DELETE", "/whip/demo/x", host),
            ("whep", "not_yours", "DELETE", session, edge.bearer(person="jo")),
            ("whep", "if_match_missing", "PATCH", session, {**FRAGMENT, **viewer}),
            ("whep", "etag_mismatch", "PATCH", session, {**FRAGMENT, **viewer, **etag}),
            ("pages", "not_found", "GET", "/nothing", {}),
            ("rooms", "room_name", "GET", "/v1/rooms/-/join", {}),
            ("rooms", "not_found", "GET", "/v1/nothing", {}),
        ]
        await http.get("/livez")
        tasks = len(asyncio.all_tasks())
        for surface, reason, method, path, headers in cases:
            before = counted(edge)
            response = await http.request(method, path, headers=headers, content=b"x" if method == "POST" else None)
            body = response.json()
            assert (response.headers["content-type"], body["reason"]) == ("application/problem+json", reason)
            assert len(body["detail"]) > 15, "it says what to do"
            assert {key: n - before.get(key, 0) for key, n in counted(edge).items() if n != before.get(key)} == {
                (surface, reason): 1
            }
        await http.get("/livez")
        assert len(asyncio.all_tasks()) == tasks
    assert len(edge.parts.sessions) == 1
    assert (edge.path.open, len(edge.path.offers)) == ({1}, 1)
    assert edge.parts.hub.sockets == 0


async def test_a_socket_at_no_address_is_a_problem_too(edge: RunningEdge) -> None:
    with pytest.raises(InvalidStatus) as raised:
        async with connect(edge.url.replace("http", "ws", 1) + "/v1/rooms/demo/sockets"):
            pass
    response = raised.value.response
    assert (response.status_code, json.loads(response.body)["reason"]) == (404, "not_found")
    assert counted(edge) == {("rooms", "not_found"): 1}


async def test_a_fault_of_ours_is_a_problem_that_pages_can_read(edge: RunningEdge) -> None:
    def fail(room: str, offer: bytes) -> None:
        raise RuntimeError("broken")

    edge.path.view = fail  # type: ignore[assignment, method-assign]
    async with client(edge, Origin="https://shop.example") as http:
        response = await http.post("/whep/demo", content=b"x", headers={**SDP, **edge.bearer(Role.VIEWER)})
    assert (response.status_code, response.json()["reason"]) == (500, "internal_error")
    assert response.headers["access-control-allow-origin"] == "*"
    assert "broken" not in response.text
    assert counted(edge) == {("whep", "internal_error"): 1}
    assert len(edge.parts.sessions) == 0


@pytest.mark.parametrize("reason", ["full", "overloaded", "draining"])
async def test_a_full_edge_gives_every_refusal_a_time(edge: RunningEdge, reason: str) -> None:
    edge.path.refuse = OfferRefused(503, reason, "Ask another edge.")
    async with client(edge) as http:
        response = await http.post("/whep/demo", content=b"x", headers={**SDP, **edge.bearer(Role.VIEWER)})
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert counted(edge) == {("whep", reason): 1}


MALFORMED = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    "garbage": b"\x00\xff\r\n\r\n",
    "no_version": b"POST /whip/demo\r\n\r\n",
    "header": b"POST /whip/demo HTTP/1.1\r\nHost x\r\n\r\n",
    "length": b"POST /whip/demo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "long_head": b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_http_is_a_counted_problem(edge: RunningEdge, data: bytes) -> None:
    assert await exchange(edge, data) == (400, "http_malformed")
    assert counted(edge) == {("connection", "http_malformed"): 1}


UPGRADE = b"GET /v1/rooms/demo/socket HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
OPENINGS = {
    "no_key": UPGRADE + VERSION,
    "short_key": UPGRADE + b"Sec-WebSocket-Key: c2hvcnQ=\r\n" + VERSION,
    "old_version": UPGRADE + KEY + b"Sec-WebSocket-Version: 8\r\n",
    "post": UPGRADE.replace(b"GET", b"POST") + KEY + VERSION,
    # These two would get no answer at all, and keep their place.
    "long_line": UPGRADE + KEY + VERSION + b"Cookie: " + b"a" * 9_000 + b"\r\n",
    "many_lines": UPGRADE + KEY + VERSION + b"X: x\r\n" * 130,
}


@pytest.mark.parametrize("head", OPENINGS.values(), ids=OPENINGS.keys())
async def test_what_opens_no_websocket_is_a_counted_problem(edge: RunningEdge, head: bytes) -> None:
    assert await exchange(edge, head + b"\r\n") == (400, "websocket_malformed")
    assert counted(edge) == {("connection", "websocket_malformed"): 1}


async def test_an_answer_to_head_has_no_body(edge: RunningEdge) -> None:
    answer = await send(edge, UPGRADE.replace(b"GET", b"HEAD") + KEY + VERSION + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), answer
    assert body == b""
    assert counted(edge) == {("connection", "websocket_malformed"): 1}


async def test_a_head_that_drips_is_not_waited_for(edge: RunningEdge) -> None:
    assert await exchange(edge, b"POST /whip/demo HTTP/1.1\r\nHost: x\r\n") == (408, "head_timeout")
    assert counted(edge) == {("connection", "head_timeout"): 1}


async def test_connections_above_the_bound_get_one_answer_and_those_below_go_on(edge: RunningEdge) -> None:
    host, port = edge.url.removeprefix("http://").split(":")
    others = [await asyncio.open_connection(host, int(port)) for _ in range(15)]
    async with client(edge) as first, client(edge) as second:
        assert (await first.get("/livez")).status_code == 200
        refused = await second.get("/livez")
        assert (refused.status_code, refused.json()["reason"]) == (503, "connections_full")
        assert refused.headers["access-control-allow-origin"] == "*"
        assert "retry-after" in refused.headers
        upgrade = b"GET /v1/rooms/demo/socket HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        assert await exchange(edge, upgrade) == (503, "connections_full")
        assert (await first.get("/livez")).status_code == 200
        assert counted(edge) == {("connection", "connections_full"): 2}
        for _, writer in others:
            writer.close()
        # A request is the only way to see from outside that the edge has noticed.
        await until_served(second)


async def until_served(http: httpx.AsyncClient) -> None:
    for _ in range(500):
        if (await http.get("/livez")).status_code == 200:
            return
    raise AssertionError("places that became free are not given again")


async def send(edge: RunningEdge, data: bytes) -> bytes:
    """Everything that comes back before the connection closes."""
    host, port = edge.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


async def exchange(edge: RunningEdge, data: bytes) -> tuple[int, str]:
    """Sends bytes; the status and reason of the problem that comes back before the connection closes."""
    answer = await send(edge, data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/problem+json" in head, answer
    return int(head.split()[1]), str(json.loads(body)["reason"])


def unsigned() -> str:
    """`alg: none` with claims that would open the room."""
    claims = {"room": "demo", "role": "host", "sub": "mei", "exp": 4_000_000_000}
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
