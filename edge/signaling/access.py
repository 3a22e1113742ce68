"""Who may enter: room names, bearer tokens, and the open rooms of a loopback demo."""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.requests import HTTPConnection

from edge.settings import EdgeSettings
from tradewind.common.problem import Problem
from tradewind.common.tokens import Claims, Role, TokenRefused, TokenVerifier

ROOM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
HOSTS = frozenset({Role.HOST})
EVERYBODY = frozenset(Role)


class AccessGate:
    """Checks a request's token against a room. `unix_s` is the wall clock that expiry is judged by."""

    def __init__(
        self, settings: EdgeSettings, verifier: Callable[[], TokenVerifier], unix_s: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._verifier = verifier
        self._unix_s = unix_s

    def token_required(self, room: str) -> bool:
        """Whether the room is closed to those without a token."""
        return not self._settings.room_is_open(room)

    def check_token(self, token: str | None, room: str, roles: frozenset[Role]) -> Claims | None:
        """The claims; None for a guest of an open room. A token that was sent must be good even there.

        Raises TokenRefused.
        """
        if token is None and not self.token_required(room):
            return None
        return self._verifier().verify(token or "", room=room, roles=roles, unix_s=self._unix_s())

    def check_request(self, request: HTTPConnection, room: str, roles: frozenset[Role]) -> Claims | None:
        """`check_token` for the Authorization header. Raises Problem (401 with WWW-Authenticate, or 403)."""
        try:
            return self.check_token(bearer(request), room, roles)
        except TokenRefused as error:
            raise refusal(error) from None

    def check_owner(self, request: HTTPConnection, room: str, person: str) -> None:
        """A request to a session must come from whoever opened it, or from a moderator.

        RFC 9725 §4.5: clients send their token with every request, so an address that got into a log is of no use to
        others. For a guest's session, opened without a token, the unguessable address is enough. An owner whose token
        has expired may still end the session, so expiry is not looked at. Raises Problem.
        """
        token = bearer(request)
        if token is None and not person:
            return
        try:
            claims = self._verifier().verify(token or "", room=room, roles=EVERYBODY, unix_s=None)
        except TokenRefused as error:
            raise refusal(error) from None
        if claims.person != person and claims.role is not Role.MODERATOR:
            detail = "This session belongs to somebody else. Send the token it was opened with, or a moderator's."
            raise Problem(403, "not_yours", detail)


def check_room(room: str) -> str:
    """The name, or Problem(400)."""
    if not ROOM_NAME.fullmatch(room):
        raise Problem(400, "room_name", "A room's name is 1-64 of A-Z, a-z, 0-9, '.', '_' and '-'.")
    return room


def bearer(request: HTTPConnection) -> str | None:
    """The token of `Authorization: Bearer …` (RFC 6750 §2.1); None without the header. Never from a URL."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    # An unusable header is not the same as none: the caller meant to identify itself.
    return token.strip() if scheme.lower() == "bearer" else ""


def refusal(error: TokenRefused) -> Problem:
    """RFC 6750 §3: a challenge, with an error code when a token was sent."""
    code = ', error="invalid_token"' if error.status == 401 else ', error="insufficient_scope"'
    if error.reason == "token_missing":
        code = ""
    headers = {"WWW-Authenticate": f'Bearer realm="tradewind"{code}'}
    return Problem(error.status, error.reason, error.detail, headers=headers)
