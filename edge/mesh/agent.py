"""The mesh's tasks: probe, report, follow, and go on with the last good routes while control is away."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from edge.mesh.errors import SliceRefused
from edge.mesh.identity import EdgeIdentity
from edge.mesh.metrics import MeshMetrics
from edge.mesh.port import MeshPort
from edge.mesh.prober import Prober
from edge.mesh.settings import MeshSettings
from edge.mesh.slices import CheckedSlice, check_slice, load_slice, merge_delta, save_slice
from edge.mesh.telemetry import REPORT_EVERY_S, Telemetry
from edge.mesh.view import EMPTY_VIEW, FleetView, Route
from tradewind.common.logging import get_logger
from tradewind.v1 import edge_pb2, fleet_pb2, fleet_pb2_grpc, routes_pb2, telemetry_pb2

log = get_logger(__name__)

# The name in control's certificate, whatever address it is reached at.
CONTROL_NAME = "control.tradewind"
# How often the packet path and the prober are read for something urgent; a link's silence takes a second to show.
SAMPLE_EVERY_S = 0.25
# All edges lose control in the same moment and must not come back in the same moment.
RECONNECT_MIN_S = 0.5
RECONNECT_MAX_S = 4.0
MESSAGE_MAX_BYTES = 8 * 1024 * 1024


class MeshAgent:
    """One edge in its fleet. Binds the probe port on construction; everything else happens in `run`."""

    def __init__(
        self,
        settings: MeshSettings,
        identity: EdgeIdentity,
        port: MeshPort,
        *,
        clock: Callable[[], float] = time.monotonic,
        unix_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        on_view: Callable[[FleetView], None] = lambda _view: None,
        metrics: MeshMetrics | None = None,
    ) -> None:
        """Raises OSError when the probe port is taken."""
        self._settings = settings
        self._identity = identity
        self._port = port
        self._clock = clock
        self._on_view = on_view
        self.metrics = metrics or MeshMetrics()
        self._prober = Prober(
            identity,
            host=settings.probe_host,
            port=settings.probe_port,
            clock=clock,
            clock_us=lambda: unix_us() + round(settings.clock_offset_ms * 1000),
            on_drop=self.metrics.handle_probe_drop,
        )
        self._telemetry = Telemetry(
            self._describe(unix_us() // 1000), egress_bytes_per_s=settings.egress_mbit_per_s * 1e6 / 8
        )
        self._changed = asyncio.Event()
        self._trunk_addresses: dict[str, str] = {}
        # The last good slice as it came; what changes is applied to it.
        self._slice: routes_pb2.RouteSlice | None = None
        self.draining = False
        self.view = EMPTY_VIEW

    @property
    def probe_port(self) -> int:
        """The bound UDP port of the prober."""
        return self._prober.port

    def handle_event(self, kind: str) -> None:
        """An event of the packet path; those that change the directory of streams are reported at once."""
        if kind in ("source_started", "source_stopped", "source_seen", "source_lost", "trunk_down"):
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled. Nothing that control or a peer does ends it."""
        await self._restore()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._prober.run())
            if self._settings.uses_control:
                async with self._open_channel() as channel:
                    # The constructor returns the asynchronous twin for an asynchronous channel.
                    stub = fleet_pb2_grpc.FleetServiceStub(channel)
                    async with asyncio.TaskGroup() as talking:
                        talking.create_task(self._keep(lambda: self._report(stub), "report"))
                        talking.create_task(self._keep(lambda: self._follow(stub), "follow"))

    async def _restore(self) -> None:
        """What is known before control speaks: the settings' routes, or the last good slice."""
        if not self._settings.uses_control:
            addresses = {edge: own.trunk for edge, own in self._settings.peer_addresses.items() if own.trunk}
            routes = tuple(
                Route(route.room, 0, route.source_edge, route.primary, route.backup, "from the settings")
                for route in self._settings.static_routes
            )
            self._port.apply_peers(addresses)
            await asyncio.to_thread(self._port.apply_routes, routes)
            self._show(replace(EMPTY_VIEW, routes=routes))
            return
        stored = load_slice(self._settings.data_dir) if self._settings.keep_last_good else None
        if stored is None:
            return
        try:
            await self._apply(check_slice(stored, self._settings, (0, 0)))
            self._slice = stored
            log.info("stored_routes_used", leader_epoch=stored.leader_epoch, version=stored.version)
        except SliceRefused as error:
            log.warning("stored_routes_refused", reason=error.reason, detail=error.detail)

    async def _keep(self, talk: Callable[[], Awaitable[None]], name: str) -> None:
        """Runs one conversation with control again and again."""
        wait_s = RECONNECT_MIN_S
        while True:
            started = self._clock()
            try:
                await talk()
            except grpc.aio.AioRpcError as error:
                self._log_end(name, error)
            except asyncio.CancelledError:
                # grpc.aio cancels a call whose requests have failed, and its reader too; only our own end is one.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self.metrics.handle_stream_end(name, "CANCELLED")
                log.warning("control_stream_ended", stream=name, code="CANCELLED", detail="sending failed")
            if self._clock() - started > 2 * RECONNECT_MAX_S:
                wait_s = RECONNECT_MIN_S
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, RECONNECT_MAX_S)

    def _log_end(self, name: str, error: grpc.aio.AioRpcError) -> None:
        self.metrics.handle_stream_end(name, error.code().name)
        fields: list[str] = []
        # The error carries all that is read of a call.
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        for detail in status.details if status is not None else ():
            bad = error_details_pb2.BadRequest()
            if detail.Unpack(bad):
                fields += [f"{each.field}: {each.description}" for each in bad.field_violations]
        log.warning("control_stream_ended", stream=name, code=error.code().name, detail=error.details(), fields=fields)

    async def _report(self, stub: fleet_pb2_grpc.FleetServiceAsyncStub) -> None:
        """Telemetry until the stream ends; control's answers only say that it is there."""
        try:
            async for response in stub.Report(self._reports(), wait_for_ready=True):
                self.metrics.control_connected.set(1)
                if response.send_full:
                    self._telemetry.handle_reconnected()
        finally:
            self.metrics.control_connected.set(0)

    async def _reports(self) -> AsyncIterator[telemetry_pb2.ReportRequest]:
        """A report each second, and at once when something urgent has happened; asked for as fast as the stream takes
        them."""
        self._telemetry.handle_reconnected()
        due = self._clock()
        while True:
            self._sample()
            now = self._clock()
            if now >= due or self._telemetry.is_urgent:
                due = now + REPORT_EVERY_S
                self.metrics.reports.inc()
                yield self._telemetry.make_report(now=now)
            self._changed.clear()
            try:
                async with asyncio.timeout(SAMPLE_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _sample(self) -> None:
        self._telemetry.handle_sample(
            self._port.sample(), self._prober.measurements(), draining=self.draining, now=self._clock()
        )
        for peer, reachable in self._telemetry.turned:
            log.info("link_found_again" if reachable else "link_lost", peer=peer)

    async def _follow(self, stub: fleet_pb2_grpc.FleetServiceAsyncStub) -> None:
        """Takes slices, applies them, and says so."""
        # One answer per slice, and control waits for none: the bound is the slices in flight.
        answers: asyncio.Queue[fleet_pb2.FollowRequest] = asyncio.Queue()
        start = fleet_pb2.FollowStart(leader_epoch=self.view.leader_epoch, version=self.view.version)
        answers.put_nowait(fleet_pb2.FollowRequest(start=start))

        async def outgoing() -> AsyncIterator[fleet_pb2.FollowRequest]:
            while True:
                yield await answers.get()

        try:
            async for response in stub.Follow(outgoing(), wait_for_ready=True):
                answers.put_nowait(await self.handle_response(response))
        finally:
            if not self._settings.keep_last_good:
                self._forget()

    def _forget(self) -> None:
        """No routes, no peers, no keys: as if control had never spoken."""
        self._trunk_addresses, self._slice = {}, None
        self._port.apply_routes(())
        self._port.apply_peers({})
        self._prober.apply_targets(())
        self._show(EMPTY_VIEW)
        log.warning("routes_forgotten", reason="mesh.keep_last_good is off")

    async def handle_response(self, response: fleet_pb2.FollowResponse) -> fleet_pb2.FollowRequest:
        """Applies a slice or a delta, or keeps what there is; returns the answer to control."""
        kind = response.WhichOneof("kind")
        news = response.delta if kind == "delta" else response.slice
        order = {"leader_epoch": news.leader_epoch, "version": news.version}
        try:
            message = merge_delta(self._slice, response.delta) if kind == "delta" else response.slice
            await self._apply(check_slice(message, self._settings, (self.view.leader_epoch, self.view.version)))
        except SliceRefused as error:
            self.metrics.handle_slice(error.reason)
            log.warning("slice_refused", reason=error.reason, detail=error.detail, **order)
            rejected = fleet_pb2.SliceRejected(reason=error.reason, detail=error.detail, **order)
            return fleet_pb2.FollowRequest(rejected=rejected)
        self._slice = message
        try:
            save_slice(message, self._settings.data_dir)
        except OSError as error:
            # Routes work without the file; only the next start without control will miss them.
            log.error("routes_not_saved", error=str(error))
        self.metrics.handle_slice("applied")
        log.info("slice_applied", routes=len(message.routes), neighbours=len(message.neighbours), **order)
        return fleet_pb2.FollowRequest(applied=fleet_pb2.SliceApplied(**order))

    async def _apply(self, checked: CheckedSlice) -> None:
        """Peers first, because routes name them; when the packet path refuses the routes, the old peers come back."""
        before, self._trunk_addresses = self._trunk_addresses, checked.trunk_addresses
        self._port.apply_peers(checked.trunk_addresses)
        try:
            # The packet path may take a second to answer, and this loop serves every socket of the edge. When we are
            # cancelled meanwhile, the view stays old, and control sends the whole slice again.
            await asyncio.to_thread(self._port.apply_routes, checked.view.routes)
        except SliceRefused:
            self._trunk_addresses = before
            self._port.apply_peers(before)
            raise
        self._prober.apply_targets(checked.probe_targets)
        self._show(checked.view)

    def _show(self, view: FleetView) -> None:
        self.view = view
        self.metrics.leader_epoch.set(view.leader_epoch)
        self.metrics.routes.set(len(view.routes))
        self._on_view(view)

    def _describe(self, started_unix_ms: int) -> edge_pb2.EdgeDescription:
        settings = self._settings
        host = settings.probe_host.strip("[]")
        bound = f"[{host}]:{self.probe_port}" if ":" in host else f"{host}:{self.probe_port}"
        return edge_pb2.EdgeDescription(
            region=settings.region,
            latitude_degrees=settings.latitude_degrees,
            longitude_degrees=settings.longitude_degrees,
            trunk_address=settings.trunk_address,
            probe_address=settings.probe_public_address or bound,
            http_url=settings.http_url,
            software_version=settings.software_version,
            started_unix_ms=started_unix_ms,
        )

    def _open_channel(self) -> grpc.aio.Channel:
        identity = self._identity
        address = self._settings.control_grpc_address or identity.grpc_address
        credentials = grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)
        return grpc.aio.secure_channel(
            address,
            credentials,
            options=[
                ("grpc.ssl_target_name_override", CONTROL_NAME),
                ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
                ("grpc.keepalive_time_ms", 5_000),
                ("grpc.keepalive_timeout_ms", 5_000),
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.initial_reconnect_backoff_ms", 500),
                ("grpc.min_reconnect_backoff_ms", 500),
                ("grpc.max_reconnect_backoff_ms", 2_000),
                # A control on this machine must be reached without a proxy of the environment.
                ("grpc.enable_http_proxy", 0),
            ],
        )
