"""WHIP and WHEP: one pair of handlers, since the two protocols differ only in who sends.

| request | answer |
|---|---|
| POST endpoint, application/sdp | 201, Location, ETag, Link; 400 or 406 with the reason the offer cannot be used |
| PATCH session, application/trickle-ice-sdpfrag | 204; 428 without If-Match, 412 for another ETag, 422 for a restart |
| DELETE session | 200, once; an entity tag is not looked at |
| GET, HEAD | 204: there is nothing to read |
| OPTIONS | 200 with what is taken here |
| anything else | 405 with Allow |

Trickled candidates are checked and not used: an ICE-lite agent learns its peer's address from connectivity checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from edge.settings import EdgeSettings
from edge.signaling.access import EVERYBODY, HOSTS, AccessGate, check_room
from edge.signaling.codecs import lacking_codec
from edge.signaling.http import PREFLIGHT, check_content_type
from edge.signaling.port import Answer, OfferRefused, SessionPort
from edge.signaling.sessions import SessionResource, SessionRole, SessionTable
from tradewind.common.bodies import read_body
from tradewind.common.logging import get_logger
from tradewind.common.problem import Problem

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
FRAGMENT_MAX_BYTES = 16_384
"""A fragment of twenty candidates has about 3 KiB."""
RETRY_AFTER_S = 2
"""Full or leaving: the client's next edge is the better try, but this one may have room again."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignalingClocks:
    """Time and chance, given from outside."""

    monotonic_s: Callable[[], float]
    new_id: Callable[[], str]


class SessionEndpoint:
    """WHIP when `role` is host, WHEP when it is viewer."""

    def __init__(
        self,
        role: SessionRole,
        *,
        settings: EdgeSettings,
        gate: AccessGate,
        port: SessionPort,
        table: SessionTable,
        clocks: SignalingClocks,
        count_answer: Callable[[str], None],
        next_incarnation: Callable[[str], int],
        handle_published: Callable[[str, int], None],
        codecs_elsewhere: Callable[[str], tuple[str, ...]],
        is_draining: Callable[[], bool],
    ) -> None:
        self.role: SessionRole = role
        self.protocol = "whip" if role == "host" else "whep"
        self._settings = settings
        self._gate = gate
        self._port = port
        self._table = table
        self._clocks = clocks
        self._count_answer = count_answer
        self._next_incarnation = next_incarnation
        self._handle_published = handle_published
        self._codecs_elsewhere = codecs_elsewhere
        self._is_draining = is_draining

    async def endpoint(self, request: Request) -> Response:
        """`/whip/{room}` or `/whep/{room}`."""
        if request.method == "OPTIONS":
            return _options({"Allow": "GET, HEAD, POST, OPTIONS", "Accept-Post": SDP}, self._ice_servers(public=True))
        room = check_room(request.path_params["room"])
        if request.method in ("GET", "HEAD"):
            return _nothing_to_read()
        if self._is_draining():
            raise _unavailable("draining", "This edge is leaving. Go on with the next one of the join reply.")
        claims = self._gate.check_request(request, room, HOSTS if self.role == "host" else EVERYBODY)
        check_content_type(request, SDP, "Accept-Post")
        offer = await self._body(request, self._settings.http.sdp_max_bytes)
        if not offer:
            raise Problem(400, "offer_empty", "Send an SDP offer as the body.")
        return self._answer(room, offer, claims.person if claims else "")

    async def session(self, request: Request) -> Response:
        """`/whip/{room}/{resource}` or `/whep/{room}/{resource}`."""
        if request.method == "OPTIONS":
            return _options({"Allow": "GET, HEAD, PATCH, DELETE, OPTIONS", "Accept-Patch": FRAGMENT}, "")
        room = check_room(request.path_params["room"])
        resource = self._table.find(room, self.role, request.path_params["resource"])
        if resource is None:
            detail = "There is no such session: it has ended, or the address is wrong. POST a new offer to go on."
            raise Problem(404, "session_unknown", detail)
        self._gate.check_owner(request, room, resource.person)
        if request.method in ("GET", "HEAD"):
            return _nothing_to_read()
        if request.method == "DELETE":
            return self._delete(resource)
        return await self._patch(request, resource)

    def _answer(self, room: str, offer: bytes, person: str) -> Response:
        incarnation = self._next_incarnation(room) if self.role == "host" else 0
        try:
            answer = self._port.publish(room, offer, incarnation) if self.role == "host" else self._view(room, offer)
        except OfferRefused as error:
            raise _problem(error) from None
        if self.role == "host":
            self._handle_published(room, incarnation)
        resource = SessionResource(
            resource_id=self._clocks.new_id(),
            session_id=answer.session_id,
            room=room,
            role=self.role,
            person=person,
            etag=f'"{self._clocks.new_id()}"',
            posted_at=self._clocks.monotonic_s(),
        )
        self._table.add(resource)
        self._count_answer(self.role)
        log.info("session_answered", room=room, role=self.role, session_id=answer.session_id)
        headers = {
            "Location": f"/{self.protocol}/{room}/{resource.resource_id}",
            "ETag": resource.etag,
            "Accept-Patch": FRAGMENT,
            "Cache-Control": "no-store",
        }
        if self.role == "host":
            # The room names the incarnation it shows; a host who knows its own can tell a takeover from a lost edge.
            headers["Tradewind-Incarnation"] = str(incarnation)
        if links := self._ice_servers(public=False):
            headers["Link"] = links
        return Response(answer.sdp, status_code=201, headers=headers, media_type=SDP)

    def _view(self, room: str, offer: bytes) -> Answer:
        """The packet path knows the codecs of what flows here; of a room that nobody watches here yet the fleet does.

        Raises OfferRefused.
        """
        answer = self._port.view(room, offer)
        lacking = lacking_codec(answer.sdp, answer.left_out, self._codecs_elsewhere(room))
        if lacking:
            self._port.close_session(answer.session_id, "deleted")
            detail = f"The room is sent in {lacking.upper()} and the offer has no payload type for it; offer it."
            raise OfferRefused(406, "no_common_codec", detail)
        return answer

    async def _patch(self, request: Request, resource: SessionResource) -> Response:
        check_content_type(request, FRAGMENT, "Accept-Patch")
        match = request.headers.get("if-match")
        # RFC 9725 §4.3.1: a session that sent an ETag wants it back (RFC 6585 §3).
        if match is None:
            raise Problem(428, "if_match_missing", f"Send If-Match: {resource.etag}.")
        if match.strip() in ("*", '"*"'):
            # RFC 9725 §4.3.3: "*" asks for an ICE restart, which this session does not do. The RFC's example quotes it.
            detail = "ICE restart is not supported: DELETE this session and POST a new offer."
            raise Problem(422, "ice_restart_unsupported", detail)
        if not _matches(match, resource.etag):
            raise Problem(412, "etag_mismatch", f"The ETag is of another ICE session. Send If-Match: {resource.etag}.")
        fragment = await self._body(request, FRAGMENT_MAX_BYTES)
        try:
            self._port.check_candidates(resource.session_id, fragment)
        except OfferRefused as error:
            raise _problem(error) from None
        # RFC 9725 §4.3.2: without an ETag, for the ICE session is the same.
        return Response(status_code=204)

    def _delete(self, resource: SessionResource) -> Response:
        self._table.remove(resource.session_id)
        if not self._port.close_session(resource.session_id, "deleted"):
            raise Problem(404, "session_unknown", "The session has ended already. There is nothing left to do.")
        return Response(status_code=200)

    async def _body(self, request: Request, max_bytes: int) -> bytes:
        return await read_body(request, max_bytes=max_bytes, timeout_s=self._settings.http.body_timeout_s)

    def _ice_servers(self, *, public: bool) -> str:
        """RFC 9725 §4.6. `public`: for a request without a token, which learns no credentials."""
        links = []
        for server in self._settings.http.ice_servers:
            url, *credential = server.split(" ")
            link = f'<{url}>; rel="ice-server"'
            if credential:
                user, secret = credential
                link += f'; username="{user}"; credential="{secret}"; credential-type="password"'
            if not (public and credential):
                links.append(link)
        return ", ".join(links)


def _options(headers: dict[str, str], links: str) -> Response:
    # RFC 9725 §4.2 answers OPTIONS with 200; §4.6: ice-server links may be asked for before the offer is made.
    return Response(status_code=200, headers={**PREFLIGHT, **headers, **({"Link": links} if links else {})})


def _nothing_to_read() -> Response:
    # RFC 9725 §4.1: neither endpoints nor sessions have a representation; GET succeeds with no content.
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


def _matches(header: str, etag: str) -> bool:
    """RFC 9110 §13.1.1: a list of entity tags; If-Match compares strongly, so W/ never matches."""
    return etag in re.findall(r'(?:W/)?"[^"]*"', header)


def _problem(error: OfferRefused) -> Problem:
    if error.status == 503:
        return _unavailable(error.reason, error.detail)
    return Problem(error.status, error.reason, error.detail)


def _unavailable(reason: str, detail: str) -> Problem:
    return Problem(503, reason, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
