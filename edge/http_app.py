"""The edge's two HTTP surfaces as Starlette applications: the public one, and the one for operators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from edge.metrics import EdgeMetrics
from edge.readiness import Readiness
from edge.rooms.socket import SUBPROTOCOL, RoomContext, RoomSocket
from edge.signaling.access import check_room
from edge.signaling.endpoints import SessionEndpoint
from edge.signaling.http import EdgeHeaders
from edge.signaling.pages import Pages
from tradewind.common.problem import Problem, install_problems


@dataclass(frozen=True, slots=True)
class Surface:
    """What the public application is made of."""

    whip: SessionEndpoint
    whep: SessionEndpoint
    pages: Pages
    rooms: RoomContext
    metrics: EdgeMetrics
    readiness: Readiness
    is_draining: Callable[[], bool]


def create_public_app(surface: Surface) -> Starlette:
    """WHIP, WHEP, rooms, join reply and pages, on one port."""

    async def room_socket(websocket: WebSocket) -> None:
        try:
            room = check_room(websocket.path_params["room"])
            if surface.is_draining():
                raise Problem(503, "draining", "This edge is leaving. Go on with the next one of the join reply.")
            offered = websocket.scope.get("subprotocols", [])
            if offered and SUBPROTOCOL not in offered:
                raise Problem(400, "subprotocol", f"Offer the WebSocket subprotocol {SUBPROTOCOL}.")
        except Problem as problem:
            surface.metrics.count_refusal("rooms", problem.reason)
            await websocket.send_denial_response(problem.response())
            return
        await websocket.accept(subprotocol=SUBPROTOCOL if offered else None)
        await RoomSocket(websocket, room, surface.rooms).run()

    async def no_socket(websocket: WebSocket) -> None:
        problem = Problem(404, "not_found", "There is no socket at this address; a room's is /v1/rooms/ROOM/socket.")
        surface.metrics.count_problem(websocket.url.path, problem.reason)
        await websocket.send_denial_response(problem.response())

    sessions = ["GET", "POST", "OPTIONS"]
    resources = ["GET", "PATCH", "DELETE", "OPTIONS"]
    app = Starlette(
        routes=[
            Route("/whip/{room}", surface.whip.endpoint, methods=sessions),
            Route("/whip/{room}/{resource}", surface.whip.session, methods=resources),
            Route("/whep/{room}", surface.whep.endpoint, methods=sessions),
            Route("/whep/{room}/{resource}", surface.whep.session, methods=resources),
            Route("/v1/rooms/{room}/join", surface.pages.join, methods=["GET", "OPTIONS"]),
            WebSocketRoute("/v1/rooms/{room}/socket", room_socket),
            WebSocketRoute("/{path:path}", no_socket),
            Route("/watch/{room}", surface.pages.page),
            Route("/studio/{room}", surface.pages.page),
            Route("/assets/{path:path}", surface.pages.asset),
            Route("/livez", surface.readiness.livez),
            Route("/readyz", surface.readiness.readyz),
        ],
    )

    def count(request: Request, problem: Problem) -> None:
        surface.metrics.count_problem(request.url.path, problem.reason)

    install_problems(app, count)
    # Outside everything, so that a page of another origin may read a 500 as well.
    app.middleware_stack = EdgeHeaders(app.build_middleware_stack())
    return app


def create_metrics_app(metrics: EdgeMetrics, readiness: Readiness, render_dataplane: Callable[[], str]) -> Starlette:
    """/metrics, /livez and /readyz on a port of their own."""

    async def expose(_request: Request) -> Response:
        metrics.ready.set(0 if readiness.missing() else 1)
        # Rendering thousands of series takes milliseconds that the loop has better uses for.
        text = await asyncio.to_thread(lambda: metrics.render() + render_dataplane().encode())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    app = Starlette(
        routes=[
            Route("/metrics", expose),
            Route("/livez", readiness.livez),
            Route("/readyz", readiness.readyz),
        ]
    )
    install_problems(app)
    return app
