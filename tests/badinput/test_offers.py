"""Offers that cannot be used, tokens and addresses of others, sent to a running edge over HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Literal

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.badinput.conftest import Live, leaves_nothing
from tests.edge_process import EdgeProcess, edge_process
from tests.peer.client import HTTP, Host, Viewer
from tests.peer.dtls import Certificate
from tests.peer.sdp import OfferParameters
from tests.waiting import PATIENCE_S, wait_for
from tradewind.common.tokens import Role, TokenIssuer

SDP = {"Content-Type": "application/sdp"}
REFUSED = "tradewind_http_refused_total"
CERTIFICATE = Certificate()
HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"

Direction = Literal["sendonly", "recvonly"]


def offer(direction: Direction = "sendonly") -> str:
    return OfferParameters(CERTIFICATE, direction).sdp()


def without(prefix: str) -> Callable[[str], str]:
    return lambda sdp: re.sub(rf"^{prefix}[^\n]*\n", "", sdp, flags=re.MULTILINE)


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda sdp: sdp.replace(old, new)


def refused(edge: EdgeProcess, surface: str, reason: str) -> float:
    return edge.series(REFUSED)[f'{{reason="{reason}",surface="{surface}"}}']


def refuse(edge: EdgeProcess, surface: str, body: bytes, status: int, reason: str) -> None:
    """The offer gets this problem, is counted once, and the edge is as it was."""
    before, known = refused(edge, surface, reason), edge.belongings()
    response = HTTP.post(f"{edge.http}/{surface}/refused", content=body, headers=SDP)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["reason"] == reason
    assert len(problem["detail"]) > 20, "it says what to do"
    assert "location" not in response.headers
    assert refused(edge, surface, reason) == before + 1
    leaves_nothing(edge, known)


BROKEN: dict[str, tuple[Callable[[str], str], int, str]] = {
    "no_line": (lambda _: "hello", 400, "sdp_malformed"),
    "no_version": (replaced("v=0\r\n", ""), 400, "sdp_malformed"),
    "no_media": (lambda _: HEAD, 400, "sdp_no_media"),
    "no_text": (lambda sdp: sdp + "\0", 400, "sdp_not_text"),
    "two_lines_in_one": (replaced("a=mid:0", "a=mid:0\ra=evil"), 400, "sdp_malformed"),
    "same_mid": (replaced("a=mid:1", "a=mid:0"), 400, "sdp_malformed"),
    "payload_type": (replaced("SAVPF 96 97", "SAVPF 300"), 400, "sdp_malformed"),
    "fingerprint": (replaced("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 zz:"), 400, "sdp_malformed"),
    "no_fingerprint": (without("a=fingerprint"), 400, "no_fingerprint"),
    "weak_fingerprint": (replaced("sha-256", "sha-1"), 400, "no_fingerprint"),
    "no_bundle": (without("a=group"), 400, "no_bundle"),
    "half_a_bundle": (replaced("BUNDLE 0 1", "BUNDLE 0"), 400, "no_bundle"),
    "no_rtcp_mux": (without("a=rtcp-mux"), 400, "no_rtcp_mux"),
    "no_password": (without("a=ice-pwd"), 400, "no_ice_credentials"),
    "short_password": (replaced("a=ice-pwd:peer", "a=ice-pwd:"), 400, "no_ice_credentials"),
    "no_role": (replaced("actpass", "holdconn"), 400, "bad_setup"),
    "lite": (replaced("s=-\r\n", "s=-\r\na=ice-lite\r\n"), 400, "ice_lite_peer"),
    "no_codec": (lambda sdp: sdp.replace("VP8", "H265").replace("opus", "G722"), 406, "no_common_codec"),
}


@pytest.mark.parametrize(("spoil", "status", "reason"), BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize(("surface", "direction"), [("whip", "sendonly"), ("whep", "recvonly")])
def test_an_offer_that_cannot_be_used_is_refused_by_name(
    edge: EdgeProcess,
    surface: str,
    direction: Direction,
    spoil: Callable[[str], str],
    status: int,
    reason: str,
) -> None:
    refuse(edge, surface, spoil(offer(direction)).encode(), status, reason)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ((HEAD + "a=x:" + "y" * 1_000_000).encode(), 413, "body_too_large"),
        ((HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" * 10_000).encode(), 413, "body_too_large"),
        ((HEAD + "m=a 9 x 0\r\n" * 5_900).encode(), 400, "sdp_too_many_media"),
        ((HEAD + "m=audio 9 x 0\r\na=" + "y" * 60_000).encode(), 400, "sdp_line_too_long"),
        ((offer() + "".join(f"a=ssrc:{n} x\r\n" for n in range(100))).encode(), 400, "sdp_too_many_attributes"),
        (b"\xff\xfe" + offer().encode("utf-16-le"), 400, "sdp_not_text"),
        (bytes(range(256)) * 200, 400, "sdp_not_text"),
    ],
    ids=["megabyte", "ten_thousand_m_lines", "many_m_lines", "long_line", "many_attributes", "utf_16", "bytes"],
)  # fmt: skip
def test_a_huge_or_hostile_offer_is_refused_by_name(edge: EdgeProcess, body: bytes, status: int, reason: str) -> None:
    refuse(edge, "whip", body, status, reason)


def test_a_host_is_not_taken_by_halves(edge: EdgeProcess) -> None:
    refuse(edge, "whip", offer().replace("VP8", "H265").encode(), 406, "no_common_codec")
    second = offer().split("m=video")[1].replace("a=mid:1", "a=mid:2")
    two = offer().replace("BUNDLE 0 1", "BUNDLE 0 1 2") + "m=video" + second
    refuse(edge, "whip", two.encode(), 400, "too_many_tracks")
    refuse(edge, "whip", offer("recvonly").encode(), 400, "wrong_direction")


def test_a_viewer_without_the_rooms_codec_is_told_which_it_is(edge: EdgeProcess, live: Live) -> None:
    before = refused(edge, "whep", "no_common_codec")
    wrong = OfferParameters(CERTIFICATE, "recvonly", video="H264").sdp()
    response = HTTP.post(f"{edge.http}/whep/{live.room}", content=wrong, headers=SDP)
    assert (response.status_code, response.json()["reason"]) == (406, "no_common_codec")
    assert "Vp8" in response.json()["detail"]
    assert refused(edge, "whep", "no_common_codec") == before + 1
    live.survives()


def test_a_session_is_deleted_once_and_its_fragments_must_be_its_own(edge: EdgeProcess, live: Live, room: str) -> None:
    headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": ""}
    with httpx.Client(base_url=edge.http, timeout=PATIENCE_S) as http:
        created = http.post(f"/whip/{room}", content=offer(), headers=SDP)
        session, headers["If-Match"] = created.headers["location"], created.headers["etag"]
        own = "a=ice-ufrag:peer\r\na=ice-pwd:peerpeerpeerpeerpeerpeer\r\n"
        candidate = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
        assert http.patch(session, content=own + candidate, headers=headers).status_code == 204
        for fragment, status, reason in (
            (candidate, 400, "no_ice_credentials"),
            (own.replace("peer\r", "stranger\r", 1), 422, "ice_restart_unsupported"),
            (own.replace("peerpeer\r", "wrong\r"), 400, "trickle_mismatch"),
            (own + "a=candidate:nothing\r\n", 400, "sdp_malformed"),
            ("x" * 17_000, 413, "body_too_large"),
        ):
            before = refused(edge, "whip", reason)
            response = http.patch(session, content=fragment, headers=headers)
            assert (response.status_code, response.json()["reason"]) == (status, reason)
            assert refused(edge, "whip", reason) == before + 1
        assert http.delete(session).status_code == 200
        for again in (http.delete(session), http.patch(session, content=own, headers=headers)):
            assert (again.status_code, again.json()["reason"]) == (404, "session_unknown")
    live.survives()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeProcess, TokenIssuer]]:
    """An edge whose rooms want tokens, and which gives up on a silent peer after three seconds."""
    issuer = TokenIssuer(Ed25519PrivateKey.generate())
    settings = ("rooms.open_rooms=[]", f'tokens.public_keys=["{issuer.public_key}"]', "media.peer_timeout_s=3")
    with edge_process(tmp_path_factory.mktemp("closed"), *settings) as edge:
        yield edge, issuer


def token(issuer: TokenIssuer, role: Role, room: str, *, person: str = "mei", valid_s: float = 600) -> dict[str, str]:
    text = issuer.issue(room=room, role=role, person=person, unix_s=time.time(), valid_s=valid_s)
    return {"Authorization": f"Bearer {text}"}


def test_tokens_of_others_open_nothing(closed: tuple[EdgeProcess, TokenIssuer]) -> None:
    edge, issuer = closed
    stranger = TokenIssuer(Ed25519PrivateKey.generate())
    # {"alg":"none","typ":"JWT"} and {"room":"r","role":"host","sub":"mei","exp":4000000000}
    unsigned = (
        "Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0."
        "eyJyb29tIjoiciIsInJvbGUiOiJob3N0Iiwic3ViIjoibWVpIiwiZXhwIjo0MDAwMDAwMDAwfQ."
    )
    cases: list[tuple[dict[str, str], int, str]] = [
        ({}, 401, "token_missing"),
        ({"Authorization": unsigned}, 401, "token_algorithm"),
        (token(stranger, Role.HOST, "r"), 401, "token_unknown_key"),
        (token(issuer, Role.HOST, "r", valid_s=-60), 401, "token_expired"),
        (token(issuer, Role.HOST, "other"), 403, "token_wrong_room"),
        (token(issuer, Role.VIEWER, "r"), 403, "token_wrong_role"),
        (token(issuer, Role.MODERATOR, "r"), 403, "token_wrong_role"),
    ]
    known = edge.belongings()
    for headers, status, reason in cases:
        response = HTTP.post(f"{edge.http}/whip/r", content=offer(), headers={**SDP, **headers})
        assert (response.status_code, response.json()["reason"]) == (status, reason)
    reasons = [reason for *_, reason in cases]
    for reason in set(reasons):
        assert refused(edge, "whip", reason) == reasons.count(reason)
    leaves_nothing(edge, known)


def test_another_persons_session_is_not_touched(closed: tuple[EdgeProcess, TokenIssuer]) -> None:
    edge, issuer = closed
    mine = token(issuer, Role.VIEWER, "r")
    with httpx.Client(base_url=edge.http, timeout=PATIENCE_S) as http:
        created = http.post("/whep/r", content=offer("recvonly"), headers={**SDP, **mine})
        session = created.headers["location"]
        for headers, status, reason in (
            ({}, 401, "token_missing"),
            (token(issuer, Role.VIEWER, "r", person="jo"), 403, "not_yours"),
            (token(issuer, Role.VIEWER, "other"), 403, "token_wrong_room"),
        ):
            response = http.delete(session, headers=headers)
            assert (response.status_code, response.json()["reason"]) == (status, reason)
        assert edge.series("tradewind_dataplane_sessions")['{role="viewer"}'] == 1
        assert http.delete(session, headers=mine).status_code == 200


def test_who_vanishes_without_a_word_is_given_up_and_leaves_nothing(
    closed: tuple[EdgeProcess, TokenIssuer],
) -> None:
    """A host in the middle of its stream, a viewer who watches, and one who never came after its offer."""
    edge, issuer = closed
    known = edge.belongings()
    closed_before = edge.series("tradewind_sessions_closed_total")
    host = Host(edge, "gone", headers=token(issuer, Role.HOST, "gone"))
    viewer = Viewer(edge, "gone", headers=token(issuer, Role.VIEWER, "gone"))
    absent = Viewer(edge, "gone", headers=token(issuer, Role.VIEWER, "gone"))
    host.connect()
    viewer.connect()
    host.send_frame(key=True)
    host.send_frame(payload=b"the last")
    viewer.sees(b"the last")
    assert HTTP.get(f"{edge.http}/v1/rooms/gone/join").json()["live"] is True
    for peer in (host, viewer, absent):
        peer.socket.close()

    def ends(role: str) -> float:
        label = f'{{reason="ice_timeout",role="{role}"}}'
        return edge.series("tradewind_sessions_closed_total")[label] - closed_before[label]

    wait_for(lambda: (ends("host"), ends("viewer")) == (1, 2), "somebody is still waited for")
    assert HTTP.get(f"{edge.http}/v1/rooms/gone/join").json()["live"] is False
    gone = HTTP.delete(host.resource, headers=host.headers)
    assert (gone.status_code, gone.json()["reason"]) == (404, "session_unknown")
    leaves_nothing(edge, known)
