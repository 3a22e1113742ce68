"""An edge process from its first line to its last.

Start, in this order, so that nothing half-started is visible to others: data directory lock, ports probed, identity
(enrolment waits for control), packet path, HTTP and metrics, mesh, ready.json. Stop, in the order of what people
notice: refuse new sessions, send everybody on to the next edge, end HTTP, the mesh and the packet path.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Final

import uvloop

from edge.assembly import Assembly, Clocks, assemble
from edge.events import EventPump
from edge.mesh.errors import EnrolmentError, MeshError
from edge.mesh.identity import EdgeIdentity, ensure_identity
from edge.mesh.port import NativePort
from edge.mesh.settings import MeshSettings, PeerAddress, StaticRoute
from edge.rooms.port import NativeRooms
from edge.settings import EdgeSettings
from edge.signaling.http import EdgeHeaders
from edge.signaling.port import NativeSessions
from tradewind.common.logging import configure_logging, get_logger
from tradewind.common.process import DataDirectory, StartError, listen_tcp, probe_port, watch_stop
from tradewind.common.serving import EmbeddedServer, embedded_server
from tradewind.common.settings import Loaded

if TYPE_CHECKING:
    from edge.dataplane import Dataplane
    from edge.mesh.agent import MeshAgent

ENROL_RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Control may start after its edges; the last wait repeats."""
FAREWELL_S: Final = 0.3
"""Goodbyes to sockets and BYEs to viewers leave within a round trip or two; the whole stop stays below 4 s."""
STOP_S: Final = 3.0
"""After this the process ends as it is."""

log = get_logger(__name__)


def run(loaded: Loaded[EdgeSettings], *, exit_with_parent: bool = False) -> None:
    """Runs until SIGTERM or SIGINT. Raises StartError (one line) when the edge cannot start."""
    settings = loaded.settings
    configure_logging(level=settings.log_level, process="edge", edge_id=settings.edge_id)
    if settings.rooms.open_rooms and not settings.http_is_loopback:
        log.warning("open_rooms_ignored", detail="http.host is not a loopback address: every room needs a token")
    for warning in loaded.warnings:
        log.warning("setting_unused", detail=warning)
    directory = DataDirectory(settings.data_dir)
    try:
        _probe_ports(settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, directory, exit_with_parent))
    finally:
        directory.close()


async def _serve(settings: EdgeSettings, directory: DataDirectory, exit_with_parent: bool) -> None:
    stop = asyncio.Event()
    undo = watch_stop(stop, exit_with_parent=exit_with_parent)
    try:
        identity = await _identity(settings, stop)
        if identity is not None:
            await _run_edge(settings, identity, directory, stop)
    finally:
        undo()


async def _run_edge(
    settings: EdgeSettings, identity: EdgeIdentity, directory: DataDirectory, stop: asyncio.Event
) -> None:
    from edge.mesh.agent import MeshAgent

    dataplane = _start_dataplane(settings, identity)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(dataplane.close)
        listener = listen_tcp(settings.http.host, settings.http.port, "http.port")
        metrics_listener = listen_tcp(settings.metrics.host, settings.metrics.port, "metrics.port")
        http_url = settings.http.public_url or f"http://{_host_port(listener)}"
        agent = MeshAgent(_mesh_settings(settings, dataplane, http_url), identity, NativePort(dataplane))
        parts = assemble(
            settings,
            session_port=NativeSessions(dataplane),
            room_port=NativeRooms(dataplane),
            render_dataplane=lambda: dataplane.render_metrics() + agent.metrics.render(),
            fleet=lambda: agent.view,
            http_url=lambda: http_url,
            clocks=Clocks(unix_s=lambda: time.time() + settings.mesh.clock_offset_ms / 1000),
        )
        cleanup.callback(parts.hub.close)
        if settings.control.grpc_address or settings.control.http_url:
            parts.readiness.add("routes", lambda: "" if agent.view.version else "control has sent no routes yet")
        handlers = (*parts.handlers, lambda event: agent.handle_event(event.kind))
        pump = EventPump(dataplane, handlers, parts.metrics.count_handler_failure)
        servers = (
            embedded_server(
                parts.public_app,
                ws_max_bytes=4 * settings.rooms.frame_max_bytes,
                connections_max=settings.http.connections_max,
                head_timeout_s=settings.http.head_timeout_s,
                count_refusal=lambda reason: parts.metrics.count_refusal("connection", reason),
                wrap=EdgeHeaders,
            ),
            embedded_server(parts.metrics_app),
        )
        async with asyncio.TaskGroup() as tasks:
            serving = [
                tasks.create_task(servers[0].serve_on(listener), name="http"),
                tasks.create_task(servers[1].serve_on(metrics_listener), name="metrics"),
            ]
            mesh = tasks.create_task(agent.run(), name="mesh")
            pump.start()
            cleanup.callback(pump.stop)
            directory.write_ready(_ready(settings, dataplane, agent, listener, metrics_listener))
            log.info("edge_serving", http=http_url, media=dataplane.media_addresses, trunk=dataplane.trunk_address)
            await stop.wait()
            log.info("edge_leaving")
            asyncio.get_running_loop().call_later(STOP_S, os._exit, 1)
            agent.draining = True
            await _leave(parts, dataplane, servers)
            mesh.cancel()
            await asyncio.wait([*serving, mesh])


async def _leave(parts: Assembly, dataplane: Dataplane, servers: tuple[EmbeddedServer, ...]) -> None:
    parts.draining.set()
    dataplane.drain()
    empty = asyncio.Event()
    parts.hub.end_all("shutting_down", empty.set)
    # Sockets end themselves; waiting for the last of them would let one slow phone decide.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await empty.wait()
    for server in servers:
        server.should_exit = True


async def _identity(settings: EdgeSettings, stop: asyncio.Event) -> EdgeIdentity | None:
    """From disk or by enrolment, which waits for a control that is not there yet. None when told to stop."""
    waits = iter(ENROL_RETRY_S)
    wait_s = ENROL_RETRY_S[0]
    while not stop.is_set():
        try:
            return await ensure_identity(_mesh_settings(settings, None, ""))
        except EnrolmentError as error:
            if not error.retry:
                raise StartError(str(error)) from error
            wait_s = next(waits, wait_s)
            log.warning("enrolment_waits", detail=str(error), retry_after_s=wait_s)
        except MeshError as error:
            raise StartError(str(error)) from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await stop.wait()
    return None


def _start_dataplane(settings: EdgeSettings, identity: EdgeIdentity) -> Dataplane:
    from edge.dataplane import Dataplane, DataplaneConfig

    media = settings.media
    config = DataplaneConfig(
        edge_id=settings.edge_id,
        media_bind=[_join(host, media.port) for host in media.host],
        announce=list(media.announce) or [host.strip("[]") for host in media.host],
        shards=media.shards,
        pin_cores=list(media.pin_cores),
        trunk_bind=_join(settings.trunk.host, settings.trunk.port),
        trunk_certificate_pem=identity.certificate_pem,
        trunk_key_pem=identity.key_pem,
        trunk_ca_pem=identity.ca_pem,
        trunk_window_bytes=settings.trunk.window_bytes,
        disabled_features=list(media.disabled_features),
        max_sessions=media.max_sessions,
        peer_timeout_s=media.peer_timeout_s,
        clock_offset_ms=settings.mesh.clock_offset_ms,
    )
    return Dataplane(config)


def _mesh_settings(settings: EdgeSettings, dataplane: Dataplane | None, http_url: str) -> MeshSettings:
    control, mesh = settings.control, settings.mesh
    return MeshSettings(
        edge_id=settings.edge_id,
        data_dir=settings.data_dir,
        region=settings.region or settings.edge_id,
        latitude_degrees=settings.latitude,
        longitude_degrees=settings.longitude,
        http_url=http_url,
        trunk_address=settings.trunk.public_address or (dataplane.trunk_address if dataplane else ""),
        probe_host=settings.probe.host,
        probe_port=settings.probe.port,
        probe_public_address=settings.probe.public_address,
        control_http_url=control.http_url,
        control_grpc_address=control.grpc_address,
        join_token=control.join_token.get_secret_value(),
        certificate_sha256=control.certificate_sha256,
        peer_addresses={edge: PeerAddress(peer.trunk, peer.probe) for edge, peer in mesh.peer_addresses.items()},
        static_routes=tuple(
            StaticRoute(route.room, route.source_edge, route.primary, route.backup) for route in mesh.static_routes
        ),
        keep_last_good=mesh.keep_last_good,
        egress_mbit_per_s=mesh.egress_mbit_per_s,
        clock_offset_ms=mesh.clock_offset_ms,
    )


def _ready(
    settings: EdgeSettings,
    dataplane: Dataplane,
    agent: MeshAgent,
    listener: socket.socket,
    metrics_listener: socket.socket,
) -> dict[str, object]:
    return {
        "edge_id": settings.edge_id,
        "pid": os.getpid(),
        "http": _port(listener),
        "media": [int(address.rpartition(":")[2]) for address in dataplane.media_addresses],
        "trunk": int(dataplane.trunk_address.rpartition(":")[2]),
        "probe": agent.probe_port,
        "metrics": _port(metrics_listener),
    }


def _probe_ports(settings: EdgeSettings) -> None:
    for host in settings.media.host:
        probe_port("udp", host, settings.media.port, "media.port")
    probe_port("udp", settings.trunk.host, settings.trunk.port, "trunk.port")
    probe_port("udp", settings.probe.host, settings.probe.port, "probe.port")
    probe_port("tcp", settings.http.host, settings.http.port, "http.port")
    probe_port("tcp", settings.metrics.host, settings.metrics.port, "metrics.port")


def _join(host: str, port: int) -> str:
    host = host.strip("[]")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_port(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return _join(host, port)


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
