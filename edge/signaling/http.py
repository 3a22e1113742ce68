"""HTTP manners that every address of an edge shares: types of bodies, cross-origin headers, header case."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tradewind.common.problem import Problem

EXPOSED = "Location, ETag, Link, Accept-Patch, Accept-Post, Allow, Retry-After, WWW-Authenticate, Tradewind-Incarnation"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    # Chromium keeps a preflight for at most two hours.
    "Access-Control-Max-Age": "7200",
}
_CASED = {b"etag": b"ETag", b"www-authenticate": b"WWW-Authenticate"}


def check_content_type(request: Request, wanted: str, accept_header: str) -> None:
    """Raises Problem(415) naming the type that is taken here (RFC 9110 §15.5.16)."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        detail = f"Send Content-Type: {wanted}" + (f", not {given}." if given else ".")
        raise Problem(415, "content_type", detail[:200], headers={accept_header: wanted})


class EdgeHeaders:
    """Answers any page's cross-origin requests, and writes header names the way old clients look for them.

    Pages of any origin may use an edge: access is by token in a header, never by cookie, so there is no ambient
    authority to protect. Some WHIP clients search for `Location:` with that very case.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(_cased(name), value) for name, value in message.get("headers", [])]
                headers.append((b"Access-Control-Allow-Origin", b"*"))
                headers.append((b"Access-Control-Expose-Headers", EXPOSED.encode()))
                headers.append((b"X-Content-Type-Options", b"nosniff"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _cased(name: bytes) -> bytes:
    return _CASED.get(name) or b"-".join(part.capitalize() for part in name.split(b"-"))
