"""Puts the parts of an edge together around the packet path. No sockets, no tasks: `edge/main.py` has those."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.applications import Starlette

from edge.events import Handler
from edge.fleet_view import EdgeDirectory, FleetTokens
from edge.http_app import Surface, create_metrics_app, create_public_app
from edge.mesh.view import FleetView
from edge.metrics import EdgeMetrics
from edge.readiness import Readiness
from edge.rooms.commands import Moment
from edge.rooms.events import RoomEvents
from edge.rooms.hub import RoomHub
from edge.rooms.live import LiveRooms
from edge.rooms.media_clock import MediaClocks
from edge.rooms.port import RoomPort
from edge.rooms.socket import RoomContext
from edge.settings import EdgeSettings
from edge.signaling.access import AccessGate
from edge.signaling.endpoints import SessionEndpoint, SignalingClocks
from edge.signaling.events import SessionEvents
from edge.signaling.pages import Pages
from edge.signaling.port import SessionPort
from edge.signaling.sessions import SessionRole, SessionTable


def _resource_id() -> str:
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Time and chance of an edge; tests give their own."""

    monotonic_s: Callable[[], float] = time.monotonic
    unix_s: Callable[[], float] = time.time
    new_id: Callable[[], str] = _resource_id


@dataclass(slots=True)
class Assembly:
    """An edge's parts, put together."""

    public_app: Starlette
    metrics_app: Starlette
    metrics: EdgeMetrics
    readiness: Readiness
    sessions: SessionTable
    live: LiveRooms
    hub: RoomHub
    handlers: tuple[Handler, ...]
    draining: asyncio.Event = field(default_factory=asyncio.Event)


def assemble(
    settings: EdgeSettings,
    *,
    session_port: SessionPort,
    room_port: RoomPort,
    render_dataplane: Callable[[], str],
    fleet: Callable[[], FleetView],
    http_url: Callable[[], str],
    clocks: Clocks,
) -> Assembly:
    """Needs a running loop, for the rooms' timers."""
    loop = asyncio.get_running_loop()
    draining = asyncio.Event()
    metrics, readiness = EdgeMetrics(), Readiness()
    table, live, media_clocks = SessionTable(), LiveRooms(), MediaClocks()
    directory = EdgeDirectory(settings, fleet, http_url)
    gate = AccessGate(settings, FleetTokens(settings.tokens.public_keys, fleet).verifier, clocks.unix_s)

    def unix_ms() -> int:
        return int(clocks.unix_s() * 1000)

    def call_at(when: float, function: Callable[[], None]) -> Callable[[], None]:
        return loop.call_later(max(0.0, when - clocks.monotonic_s()), function).cancel

    def is_live(room: str) -> bool:
        return live.incarnation(room) != 0 or directory.incarnation(room) != 0

    def next_incarnation(room: str) -> int:
        # The clock of the edge where the host was before may be ahead of this one's; a takeover is higher all the same.
        return live.next_incarnation(room, unix_ms=unix_ms(), above=directory.incarnation(room))

    def at(room: str) -> Moment:
        now = clocks.monotonic_s()
        return Moment(now, unix_ms(), media_clocks.media_time_ms(room, now=now))

    hub = RoomHub(settings.rooms, room_port, live, metrics, at=at, call_at=call_at)
    metrics.watch(rooms=lambda: hub.rooms, sockets=lambda: hub.sockets)

    def endpoint(role: SessionRole) -> SessionEndpoint:
        return SessionEndpoint(
            role,
            settings=settings,
            gate=gate,
            port=session_port,
            table=table,
            clocks=SignalingClocks(clocks.monotonic_s, clocks.new_id),
            count_answer=metrics.count_answer,
            next_incarnation=next_incarnation,
            codecs_elsewhere=lambda room: () if live.incarnation(room) else directory.codecs(room),
            is_draining=draining.is_set,
        )

    surface = Surface(
        whip=endpoint("host"),
        whep=endpoint("viewer"),
        pages=Pages(edge_id=settings.edge_id, gate=gate, is_live=is_live, edges=directory.edges),
        rooms=RoomContext(
            edge_id=settings.edge_id,
            settings=settings.rooms,
            hub=hub,
            gate=gate,
            meter=metrics,
            edges=directory.edges,
            is_live=is_live,
            monotonic_s=clocks.monotonic_s,
            unix_s=clocks.unix_s,
        ),
        metrics=metrics,
        readiness=readiness,
        is_draining=draining.is_set,
    )
    readiness.add("draining", lambda: "the edge is leaving" if draining.is_set() else "")
    return Assembly(
        public_app=create_public_app(surface),
        metrics_app=create_metrics_app(metrics, readiness, render_dataplane),
        metrics=metrics,
        readiness=readiness,
        sessions=table,
        live=live,
        hub=hub,
        handlers=(
            SessionEvents(table, metrics, clocks.monotonic_s).handle_event,
            RoomEvents(hub, media_clocks, clocks.monotonic_s).handle_event,
        ),
        draining=draining,
    )
