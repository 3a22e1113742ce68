"""uvicorn inside a process with other things to do: no signal handlers, sockets given, a short farewell."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tradewind.common.refusing import HEAD_TIMEOUT_S, CountRefusal, RefusingConfig

GRACEFUL_S = 1
"""Requests that run when the process leaves get this long; they take milliseconds."""
IDLE_TIMEOUT_S = 30.0
"""A connection on which nothing is asked, at its start or between requests, is closed after so long."""


class EmbeddedServer(uvicorn.Server):
    """A server whose owner decides when it ends (`should_exit`)."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process: uvicorn would raise SIGTERM again after its drain."""
        yield

    async def serve_on(self, listener: socket.socket) -> None:
        """Serves until `should_exit`."""
        await self.serve(sockets=[listener])


class AbortableWebSocket(WebSocketsSansIOProtocol):
    """Lets an endpoint cut a connection whose peer no longer reads: closing politely would wait for it."""

    def handle_connect(self, event: Any) -> None:
        """Puts the way to abort into the scope before the endpoint's task runs."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"]["tradewind.abort"] = self.transport.abort  # type: ignore[assignment]


def embedded_server(
    app: ASGIApp,
    *,
    ws_max_bytes: int = 65_536,
    connections_max: int | None = None,
    head_timeout_s: float = HEAD_TIMEOUT_S,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
    count_refusal: CountRefusal = lambda _reason: None,
    wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> EmbeddedServer:
    """A server for one ASGI application. Frames are not compressed per socket: rooms encode once for everybody.

    What is refused below the application is counted by `count_refusal`; `wrap` gives those answers the application's
    own headers.
    """
    return EmbeddedServer(
        RefusingConfig(
            app,
            connections_max=connections_max,
            head_timeout_s=head_timeout_s,
            count_refusal=count_refusal,
            wrap=wrap,
            ws=AbortableWebSocket,
            ws_max_size=ws_max_bytes,
            ws_ping_interval=20.0,
            ws_ping_timeout=20.0,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=idle_timeout_s,
            timeout_graceful_shutdown=GRACEFUL_S,
        )
    )
