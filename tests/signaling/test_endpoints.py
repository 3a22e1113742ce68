"""WHIP (RFC 9725) and WHEP over real HTTP, around a packet path that only remembers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from edge.mesh.view import EMPTY_VIEW, FleetView, Neighbour, Route
from edge.signaling.port import OfferRefused
from tests.edge_harness import RunningEdge, client, edge_settings, running_edge
from tradewind.common.tokens import Role

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with running_edge(edge_settings(tmp_path)) as edge:
        yield edge


@pytest.fixture
async def closed_edge(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with running_edge(edge_settings(tmp_path, rooms={"open_rooms": []})) as edge:
        yield edge


def problem(response: httpx.Response, status: int, reason: str) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = json.loads(response.text)
    assert set(body) == {"type", "title", "status", "detail", "reason"}
    assert (body["status"], body["reason"]) == (status, reason)
    assert body["detail"]
    return body


@pytest.mark.parametrize(("protocol", "role"), [("whip", "host"), ("whep", "viewer")])
async def test_post_is_answered_with_a_session(edge: RunningEdge, protocol: str, role: str) -> None:
    async with client(edge) as http:
        response = await http.post(f"/{protocol}/demo", content=b"offer", headers=SDP)
    assert response.status_code == 201
    assert response.text == "v=0\r\n"
    assert response.headers["content-type"] == "application/sdp"
    assert response.headers["location"].startswith(f"/{protocol}/demo/")
    assert response.headers["etag"].startswith('"')
    assert edge.path.offers[0][:3] == (role, "demo", b"offer")
    assert edge.metric("tradewind_sessions_answered_total", role=role) == 1


async def test_a_host_learns_the_number_of_its_publication(edge: RunningEdge) -> None:
    async with client(edge) as http:
        host = await http.post("/whip/demo", content=b"offer", headers=SDP)
        viewer = await http.post("/whep/demo", content=b"offer", headers=SDP)
    assert host.headers["tradewind-incarnation"] == str(edge.path.offers[0][3])
    assert "tradewind-incarnation" not in viewer.headers
    assert "Tradewind-Incarnation" in host.headers["access-control-expose-headers"].split(", ")


async def test_header_names_have_the_case_that_old_clients_look_for(edge: RunningEdge) -> None:
    host, port = edge.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /whip/demo HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 1\r\n\r\nx")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert b"\r\nLocation: /whip/demo/" in head
    assert b'\r\nETag: "' in head
    assert b"\r\nContent-Type: application/sdp\r\n" in head


async def test_ice_servers_are_linked_from_answer_and_options(tmp_path: Path) -> None:
    settings = edge_settings(tmp_path, http={"ice_servers": ["stun:stun.example:3478", "turn:turn.example"]})
    async with running_edge(settings) as edge, client(edge) as http:
        for response in (
            await http.post("/whep/demo", content=b"offer", headers=SDP),
            await http.options("/whep/demo"),
        ):
            links = response.headers["link"]
            assert links == '<stun:stun.example:3478>; rel="ice-server", <turn:turn.example>; rel="ice-server"'


async def test_credentials_of_a_turn_server_are_for_those_who_have_a_session(tmp_path: Path) -> None:
    servers = ["stun:stun.example", "turn:turn.example?transport=udp anna s3cret/=="]
    async with running_edge(edge_settings(tmp_path, http={"ice_servers": servers})) as edge, client(edge) as http:
        answered = await http.post("/whip/demo", content=b"offer", headers=SDP)
        stun, turn = answered.headers["link"].split(", ")
        assert stun == '<stun:stun.example>; rel="ice-server"'
        address = '<turn:turn.example?transport=udp>; rel="ice-server"'
        assert turn == f'{address}; username="anna"; credential="s3cret/=="; credential-type="password"'
        assert (await http.options("/whip/demo")).headers["link"] == stun


async def test_any_page_may_use_the_edge_and_read_the_headers_it_needs(edge: RunningEdge) -> None:
    async with client(edge, Origin="https://shop.example") as http:
        for path in ("/whip/demo", "/whip/demo/x", "/whep/demo", "/whep/demo/x", "/v1/rooms/demo/join"):
            response = await http.options(
                path,
                headers={
                    "Access-Control-Request-Method": "PATCH",
                    "Access-Control-Request-Headers": "authorization,if-match,content-type",
                },
            )
            assert response.is_success
            assert response.headers["access-control-allow-origin"] == "*"
            assert {"PATCH", "DELETE", "POST"} <= set(response.headers["access-control-allow-methods"].split(", "))
            allowed = response.headers["access-control-allow-headers"].lower()
            assert all(name in allowed for name in ("authorization", "if-match", "content-type"))
        refused = await http.post("/whip/demo", content=b"", headers=SDP)
        assert refused.headers["access-control-allow-origin"] == "*"
        assert {"Location", "ETag", "Link"} <= set(refused.headers["access-control-expose-headers"].split(", "))


async def test_incarnations_rise_even_when_the_clock_goes_back(edge: RunningEdge) -> None:
    async with client(edge) as http:
        await http.post("/whip/demo", content=b"offer", headers=SDP)
        edge.unix_s -= 3600
        await http.post("/whip/demo", content=b"offer", headers=SDP)
        edge.event("source_seen", room="demo", incarnation=edge.path.offers[-1][3] + 5000, peer="fra")
        await http.post("/whip/demo", content=b"offer", headers=SDP)
    incarnations = [offer[3] for offer in edge.path.offers]
    assert incarnations == sorted(set(incarnations))
    assert incarnations[2] - incarnations[1] > 5000


async def test_a_host_takes_over_from_an_edge_whose_clock_is_an_hour_ahead(edge: RunningEdge) -> None:
    there = int(edge.unix_s * 1000) + 3_600_000
    edge.view = FleetView(1, 1, (), (Route("demo", there, "fra", ("sg", "fra"), (), "direct"),), ())
    async with client(edge) as http:
        await http.post("/whip/demo", content=b"offer", headers=SDP)
        await http.post("/whip/other", content=b"offer", headers=SDP)
    assert edge.path.offers[0][3] > there
    assert edge.path.offers[1][3] < there, "another room's number is none of its business"


async def test_delete_works_once(edge: RunningEdge) -> None:
    async with client(edge) as http:
        location = (await http.post("/whep/demo", content=b"offer", headers=SDP)).headers["location"]
        assert (await http.delete(location)).status_code == 200
        problem(await http.delete(location), 404, "session_unknown")
    assert edge.path.closed == [(1, "deleted")]
    assert len(edge.parts.sessions) == 0


async def test_session_that_ended_by_itself_is_gone(edge: RunningEdge) -> None:
    async with client(edge) as http:
        location = (await http.post("/whip/demo", content=b"offer", headers=SDP)).headers["location"]
        edge.event("session_closed", room="demo", session_id=1, role="host", reason="ice_timeout")
        problem(await http.delete(location), 404, "session_unknown")
    assert len(edge.parts.sessions) == 0
    assert edge.metric("tradewind_sessions_closed_total", role="host", reason="ice_timeout") == 1


async def test_resource_is_found_under_its_own_address_only(edge: RunningEdge) -> None:
    async with client(edge) as http:
        location = (await http.post("/whip/demo", content=b"offer", headers=SDP)).headers["location"]
        resource = location.rsplit("/", 1)[1]
        assert len(resource) >= 22, "128 bits in base64url"
        for wrong in (
            f"/whep/demo/{resource}",
            f"/whip/other/{resource}",
            f"/whip/demo/{resource[:-1]}",
            "/whip/demo/1",
        ):
            problem(await http.delete(wrong), 404, "session_unknown")
    assert edge.path.closed == []


async def test_trickled_candidates_are_checked(edge: RunningEdge) -> None:
    async with client(edge) as http:
        created = await http.post("/whep/demo", content=b"offer", headers=SDP)
        location, etag = created.headers["location"], created.headers["etag"]
        accepted = await http.patch(location, content=b"a=candidate", headers={**FRAGMENT, "If-Match": etag})
        assert accepted.status_code == 204
        assert "etag" not in accepted.headers, "RFC 9725 §4.3.2: the ICE session is the same"
        assert edge.path.fragments == [(1, b"a=candidate")]
        problem(await http.patch(location, content=b"a", headers=FRAGMENT), 428, "if_match_missing")
        for other in ('"other"', f"W/{etag}", etag.strip('"')):
            problem(
                await http.patch(location, content=b"a", headers={**FRAGMENT, "If-Match": other}), 412, "etag_mismatch"
            )
        for restart in ("*", '"*"'):
            refused = await http.patch(location, content=b"a", headers={**FRAGMENT, "If-Match": restart})
            problem(refused, 422, "ice_restart_unsupported")
        wrong_type = await http.patch(location, content=b"a", headers={**SDP, "If-Match": etag})
        problem(wrong_type, 415, "content_type")
        assert wrong_type.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
        edge.path.refuse = OfferRefused(400, "bad_fragment", "No such line.")
        bad = await http.patch(location, content=b"a", headers={**FRAGMENT, "If-Match": etag})
        problem(bad, 400, "bad_fragment")
        long = await http.patch(location, content=b"a" * 20_000, headers={**FRAGMENT, "If-Match": etag})
        problem(long, 413, "body_too_large")
    assert len(edge.path.fragments) == 1


@pytest.mark.parametrize("status", [400, 406])
async def test_offer_that_cannot_be_answered_is_a_problem_with_its_reason(edge: RunningEdge, status: int) -> None:
    edge.path.refuse = OfferRefused(status, "no_common_codec", "Offer H.264 or VP8.")
    async with client(edge) as http:
        response = await http.post("/whep/demo", content=b"offer", headers=SDP)
    assert problem(response, status, "no_common_codec")["detail"] == "Offer H.264 or VP8."
    assert edge.metric("tradewind_http_refused_total", surface="whep", reason="no_common_codec") == 1
    assert len(edge.parts.sessions) == 0


async def test_full_and_leaving_edges_say_when_to_try_again(edge: RunningEdge) -> None:
    async with client(edge) as http:
        edge.path.refuse = OfferRefused(503, "full", "Try another edge.")
        full = await http.post("/whep/demo", content=b"offer", headers=SDP)
        problem(full, 503, "full")
        edge.parts.draining.set()
        leaving = await http.post("/whep/demo", content=b"offer", headers=SDP)
        problem(leaving, 503, "draining")
        assert int(full.headers["retry-after"]) > 0
        assert int(leaving.headers["retry-after"]) > 0
        assert (await http.get("/readyz")).json()["missing"] == {"draining": "the edge is leaving"}
        assert (await http.get("/livez")).status_code == 200


async def test_megabyte_is_refused_while_it_arrives(edge: RunningEdge) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 16_384
            yield b"a" * 16_384

    async with client(edge) as http:
        problem(await http.post("/whip/demo", content=b"a" * 1_000_000, headers=SDP), 413, "body_too_large")
        try:
            problem(await http.post("/whip/demo", content=endless(), headers=SDP), 413, "body_too_large")
        except (httpx.WriteError, httpx.ReadError):
            pass  # the edge had hung up before this side looked for its answer
    assert sent < 20_000_000, "an endless body is cut off"
    assert edge.path.offers == []


async def test_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    settings = edge_settings(tmp_path, http={"body_timeout_s": 0.05})
    async with running_edge(settings) as edge:
        host, port = edge.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /whip/demo HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\n"
        )
        async with asyncio.timeout(30):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()


@pytest.mark.parametrize(
    ("headers", "body", "status", "reason"),
    [
        ({}, b"v=0", 415, "content_type"),
        ({"Content-Type": "application/json"}, b"v=0", 415, "content_type"),
        (SDP, b"", 400, "offer_empty"),
        ({"Content-Type": "Application/SDP; charset=utf-8"}, b"", 400, "offer_empty"),
    ],
)
async def test_request_of_the_wrong_kind_says_what_to_send(
    edge: RunningEdge, headers: dict[str, str], body: bytes, status: int, reason: str
) -> None:
    async with client(edge) as http:
        problem(await http.post("/whip/demo", content=body, headers=headers), status, reason)


async def test_other_methods_and_addresses_are_problems_too(edge: RunningEdge) -> None:
    async with client(edge) as http:
        for method in ("PUT", "PATCH", "DELETE"):
            response = await http.request(method, "/whip/demo")
            problem(response, 405, "method_not_allowed")
            assert {"POST", "OPTIONS"} <= set(response.headers["allow"].split(", "))
        problem(await http.get("/nothing"), 404, "not_found")
        problem(await http.post("/whip/bad%20room", content=b"x", headers=SDP), 400, "room_name")
        problem(await http.post(f"/whip/{'a' * 65}", content=b"x", headers=SDP), 400, "room_name")


async def test_closed_room_wants_the_right_token(closed_edge: RunningEdge) -> None:
    edge = closed_edge
    async with client(edge) as http:
        none = await http.post("/whip/demo", content=b"x", headers=SDP)
        problem(none, 401, "token_missing")
        assert none.headers["www-authenticate"] == 'Bearer realm="tradewind"'
        cases = [
            (edge.bearer(Role.VIEWER), 403, "token_wrong_role"),
            (edge.bearer(Role.HOST, room="other"), 403, "token_wrong_room"),
            (edge.bearer(Role.HOST, valid_s=-60), 401, "token_expired"),
            ({"Authorization": "Bearer x.y.z"}, 401, "token_malformed"),
            ({"Authorization": "Basic eDp5"}, 401, "token_missing"),
        ]
        for headers, status, reason in cases:
            response = await http.post("/whip/demo", content=b"x", headers={**SDP, **headers})
            problem(response, status, reason)
        for role in Role:
            answer = await http.post("/whep/demo", content=b"x", headers={**SDP, **edge.bearer(role)})
            assert answer.status_code == 201
        assert (
            await http.post("/whip/demo", content=b"x", headers={**SDP, **edge.bearer(Role.HOST)})
        ).status_code == 201
    assert edge.metric("tradewind_http_refused_total", surface="whip", reason="token_expired") == 1
    assert edge.metric("tradewind_http_refused_total", surface="whip", reason="token_missing") == 2


async def test_token_in_the_address_opens_nothing(closed_edge: RunningEdge) -> None:
    async with client(closed_edge) as http:
        token = closed_edge.token()
        response = await http.post(f"/whep/demo?token={token}&access_token={token}", content=b"x", headers=SDP)
        problem(response, 401, "token_missing")


async def test_bad_token_is_refused_in_an_open_room_too(edge: RunningEdge) -> None:
    async with client(edge) as http:
        response = await http.post("/whep/demo", content=b"x", headers={**SDP, **edge.bearer(valid_s=-60)})
        problem(response, 401, "token_expired")


async def test_rooms_are_open_on_loopback_only(tmp_path: Path) -> None:
    settings = edge_settings(tmp_path, http={"host": "0.0.0.0", "public_url": "https://sg.example.net"})
    async with running_edge(settings) as edge, client(edge) as http:
        problem(await http.post("/whep/demo", content=b"x", headers=SDP), 401, "token_missing")
        assert (await http.get("/v1/rooms/demo/join")).json()["token_required"] is True


async def test_session_of_another_person_is_not_touched(closed_edge: RunningEdge) -> None:
    edge = closed_edge
    async with client(edge) as http:
        created = await http.post("/whep/demo", content=b"x", headers={**SDP, **edge.bearer(person="mei")})
        location = created.headers["location"]
        problem(await http.delete(location, headers=edge.bearer(person="jo")), 403, "not_yours")
        problem(await http.delete(location), 401, "token_missing")
        problem(await http.patch(location, content=b"a", headers=FRAGMENT), 401, "token_missing")
        assert edge.path.closed == []
        edge.unix_s += 3600
        expired = edge.issuer.issue(room="demo", role=Role.VIEWER, person="mei", unix_s=edge.unix_s - 600, valid_s=60)
        ended = await http.delete(location, headers={"Authorization": f"Bearer {expired}"})
        assert ended.status_code == 200, "whose token has expired may still leave"
        created = await http.post("/whep/demo", content=b"x", headers={**SDP, **edge.bearer(person="mei")})
        moderated = await http.delete(created.headers["location"], headers=edge.bearer(Role.MODERATOR, person="jo"))
        assert moderated.status_code == 200


async def test_join_reply_names_three_edges_nearest_first(tmp_path: Path) -> None:
    settings = edge_settings(tmp_path, latitude=1.3, longitude=103.8)

    def peer(edge_id: str, latitude: float, longitude: float, status: str = "up") -> Neighbour:
        return Neighbour(edge_id, edge_id, latitude, longitude, status, "", "", f"http://{edge_id}.example/", 0)

    async with running_edge(settings) as edge, client(edge) as http:
        peers = (
            peer("iad", 38.9, -77.4),
            peer("fra", 50.1, 8.7),
            peer("bom", 19.1, 72.9),
            peer("nrt", 35.8, 140.4, "down"),
            peer("sin-2", 1.3, 103.8, "suspect"),
        )
        edge.view = FleetView(1, 1, peers, (), ())
        reply = (await http.get("/v1/rooms/demo/join")).json()
        assert [entry["edge_id"] for entry in reply["edges"]] == ["sg", "bom", "fra"]
        assert reply["edges"][0]["url"] == edge.url
        assert reply["edges"][1]["url"] == "http://bom.example"
        assert reply | {"edges": None} == {
            "room": "demo",
            "edge_id": "sg",
            "live": False,
            "edges": None,
            "token_required": False,
        }


async def test_room_is_live_when_its_source_or_its_route_is_known(edge: RunningEdge) -> None:
    async def live(http: httpx.AsyncClient) -> bool:
        reply: dict[str, bool] = (await http.get("/v1/rooms/demo/join")).json()
        return reply["live"]

    async with client(edge) as http:
        assert not await live(http)
        edge.event("source_started", room="demo", incarnation=5)
        assert await live(http)
        edge.event("source_stopped", room="demo", incarnation=5)
        assert not await live(http)
        route = Route("demo", 6, "fra", ("sg", "fra"), (), "direct")
        edge.view = FleetView(1, 1, (), (route,), ())
        assert await live(http)
        edge.view = EMPTY_VIEW


async def test_keys_that_control_pushes_open_rooms(closed_edge: RunningEdge) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from tradewind.common.tokens import TokenIssuer

    key = Ed25519PrivateKey.generate()
    token = TokenIssuer(key).issue(room="demo", role=Role.VIEWER, person="a", unix_s=closed_edge.unix_s, valid_s=60)
    headers = {**SDP, "Authorization": f"Bearer {token}"}
    async with client(closed_edge) as http:
        problem(await http.post("/whep/demo", content=b"x", headers=headers), 401, "token_unknown_key")
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        closed_edge.view = FleetView(1, 1, (), (), (("k1", raw),))
        assert (await http.post("/whep/demo", content=b"x", headers=headers)).status_code == 201


async def test_first_media_is_timed_from_the_post(edge: RunningEdge) -> None:
    async with client(edge) as http:
        await http.post("/whep/demo", content=b"x", headers=SDP)
    edge.event("session_connected", room="demo", session_id=1, role="viewer", srtp_profile="AEAD_AES_128_GCM")
    edge.event("session_first_media", room="demo", session_id=1, role="viewer")
    assert edge.metric("tradewind_session_first_media_seconds_count", role="viewer") == 1
    assert edge.metric("tradewind_sessions_connected_total", role="viewer") == 1
