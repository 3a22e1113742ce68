"""The HTTP/1.1 protocol under our servers: what is refused before an application sees it is a problem document too.

uvicorn answers what is no HTTP, what opens no WebSocket, and connections above its limit, in plain text that nobody
counts; it waits for the rest of a request's head for ever, and gives no answer at all to an opening of a WebSocket with
too long a line. Here each of these has a reason (`REASONS`) and says what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.http11 import Request as Opening
from websockets.server import ServerProtocol

from tradewind.common.problem import Problem

REASONS: Final = ("http_malformed", "websocket_malformed", "head_timeout", "connections_full")
HEAD_TIMEOUT_S: Final = 10.0
"""A head that has begun is complete within a round trip or two; who drips it byte by byte holds a connection."""
RETRY_AFTER_S: Final = 2

CountRefusal = Callable[[str], None]


class RefusingConfig(uvicorn.Config):
    """uvicorn's settings, and those of `RefusingHttp`. Connections above `connections_max` get 503 from `full`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        connections_max: int | None = None,
        head_timeout_s: float = HEAD_TIMEOUT_S,
        count_refusal: CountRefusal = lambda _reason: None,
        wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
        **options: Any,
    ) -> None:
        super().__init__(app, http=RefusingHttp, **options)
        self.connections_max = connections_max
        self.head_timeout_s = head_timeout_s
        self.count_refusal = count_refusal
        self.full = wrap(self._say_full)

    async def _say_full(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.count_refusal("connections_full")
        await connections_full().response()(scope, receive, send)


class RefusingHttp(H11Protocol):
    """One connection."""

    _head_timer: asyncio.TimerHandle | None = None
    _is_full = False

    @property
    def _own(self) -> RefusingConfig:
        return cast(RefusingConfig, self.config)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Above the bound a connection is for one refusal only."""
        super().connection_made(transport)
        # One on which nothing is ever asked takes a place as well: it is kept no longer than one that has gone quiet.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        limit = self._own.connections_max
        if limit is not None and len(self.connections) > limit:
            self._is_full = True
            self.app = self._own.full

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves no timer behind."""
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Watches how long a head takes."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop_head_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._own.head_timeout_s, self._end_head)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """A socket takes a place as well."""
        self._stop_head_timer()
        if self._is_full:
            self._own.count_refusal("connections_full")
            self._refuse(connections_full())
            return
        if not opens_websocket(event):
            self._own.count_refusal("websocket_malformed")
            self._refuse(websocket_malformed())
            return
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP/1.1."""
        self._own.count_refusal("http_malformed")
        detail = "What came is no HTTP/1.1 request, or its head is too long. Use https only where TLS is served."
        self._refuse(Problem(400, "http_malformed", detail))

    def _end_head(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._own.count_refusal("head_timeout")
            detail = f"The request's head did not arrive in {self._own.head_timeout_s:g} s. Send it at once."
            self._refuse(Problem(408, "head_timeout", detail))

    def _refuse(self, problem: Problem) -> None:
        # When an answer has begun, there is no place for another.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = problem.response()
            headers = {**{name.title(): value for name, value in response.raw_headers}, b"Connection": b"close"}
            reason = HTTPStatus(problem.status).phrase.encode()
            # RFC 9110 §9.3.2: an answer to HEAD has no content.
            is_head = self.conn.our_state is h11.SEND_RESPONSE and self.scope["method"] == "HEAD"
            events: list[h11.Event] = [
                h11.Response(status_code=problem.status, headers=list(headers.items()), reason=reason),
                *([] if is_head else [h11.Data(data=bytes(response.body))]),
                h11.EndOfMessage(),
            ]
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def connections_full() -> Problem:
    """Every place is taken."""
    detail = "No connection is left here: close some, go to another edge, or try again soon."
    headers = {"Retry-After": str(RETRY_AFTER_S), "Connection": "close"}
    return Problem(503, "connections_full", detail, headers=headers)


def opens_websocket(event: h11.Request) -> bool:
    """Whether the library that serves WebSockets will take this request, limits of its own included."""
    lines = [b"%s %s HTTP/1.1" % (event.method, event.target), *(b"%s: %s" % header for header in event.headers)]
    server = ServerProtocol()
    server.receive_data(b"\r\n".join((*lines, b"", b"")))
    openings = [each for each in server.events_received() if isinstance(each, Opening)]
    return len(openings) == 1 and server.accept(openings[0]).status_code == HTTPStatus.SWITCHING_PROTOCOLS


def websocket_malformed() -> Problem:
    """An `Upgrade: websocket` that RFC 6455 §4.2.1 does not know."""
    detail = (
        "This opens no WebSocket: send GET with a Sec-WebSocket-Key and Sec-WebSocket-Version: 13, in at most 128 "
        "header lines of 8 KiB each."
    )
    return Problem(400, "websocket_malformed", detail, headers={"Sec-WebSocket-Version": "13"})
