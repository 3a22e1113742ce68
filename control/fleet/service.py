"""FleetService behind mutual TLS: who calls is what the client certificate says, never what a message says.

TLS ends in `control/fleet/front.py`; the servers here listen on sockets in a directory that is control's alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from control.fleet.authority import CONTROL_NAME
from control.fleet.front import Callers, Front
from control.fleet.hub import FleetHub
from control.fleet.planner import Slice
from control.fleet.reports import Violation, check_report
from tradewind.common.logging import get_logger
from tradewind.common.process import listen_tcp
from tradewind.v1 import fleet_pb2, fleet_pb2_grpc, telemetry_pb2

log = get_logger(__name__)

# A full report of the largest edge we take; slices of an edge with 10,000 rooms stay below it too.
MESSAGE_MAX_BYTES = 8 * 1024 * 1024
SERVICE_NAME = fleet_pb2.DESCRIPTOR.services_by_name["FleetService"].full_name

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class FleetService(fleet_pb2_grpc.FleetServiceServicer):
    """Telemetry in, routes out."""

    def __init__(self, hub: FleetHub, callers: Callers) -> None:
        self._hub = hub
        self._callers = callers

    async def Report(  # noqa: N802 - generated name
        self, request_iterator: AsyncIterator[telemetry_pb2.ReportRequest], context: Context
    ) -> AsyncIterator[telemetry_pb2.ReportResponse]:
        """Takes reports until one is wrong or the edge goes."""
        hub = self._hub
        edge_id = await self._identify(context)
        hub.registry.handle_enrolled(edge_id)
        log.info("edge_connected", edge_id=edge_id)
        full_seen = False
        reason = "closed"
        try:
            async for report in request_iterator:
                live = hub.registry.live.get(edge_id)
                violations = check_report(report, edge_id, hub.registry.edges, live.streams if live else ())
                if not full_seen and not report.full:
                    violations = (*violations, Violation("full", "missing", "the first report of a stream is full"))
                if violations:
                    reason = "invalid_report"
                    await self._refuse_report(context, edge_id, violations)
                hub.handle_report(edge_id, report)
                if not full_seen:
                    full_seen = True
                    yield telemetry_pb2.ReportResponse(leader_epoch=hub.leader_epoch)
        finally:
            hub.metrics.report_streams.labels(reason).inc()
            log.info("edge_disconnected", edge_id=edge_id, reason=reason)

    # The stubs know handlers that yield; this one writes while it reads, which grpc.aio offers as well.
    async def Follow(  # type: ignore[override]  # noqa: N802 - generated name
        self, request_iterator: AsyncIterator[fleet_pb2.FollowRequest], context: Context
    ) -> None:
        """Sends the newest slice and every one after it; reads what the edge made of them."""
        hub = self._hub
        edge_id = await self._identify(context)
        hub.registry.handle_enrolled(edge_id)
        changed = hub.watch(edge_id)
        changed.set()
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(self._send_slices(edge_id, changed, context))
            async for request in request_iterator:
                self._handle_answer(edge_id, request)
            sender.cancel()

    async def _send_slices(self, edge_id: str, changed: asyncio.Event, context: Context) -> None:
        sent: Slice | None = None
        while True:
            await changed.wait()
            changed.clear()
            slice_ = self._hub.slice_for(edge_id)
            if slice_ is None or (sent is not None and slice_.version == sent.version):
                continue
            delta = None if sent is None else self._hub.encode_delta(edge_id, sent, slice_)
            if delta is None:
                response = fleet_pb2.FollowResponse(slice=self._hub.encode(edge_id, slice_))
            else:
                response = fleet_pb2.FollowResponse(delta=delta)
            sent = slice_
            self._hub.metrics.handle_pushed(whole=delta is None, size_bytes=response.ByteSize())
            await context.write(response)

    def _handle_answer(self, edge_id: str, request: fleet_pb2.FollowRequest) -> None:
        kind = request.WhichOneof("kind")
        if kind == "applied":
            self._hub.handle_applied(edge_id, request.applied.leader_epoch, request.applied.version)
        elif kind == "rejected":
            rejected = request.rejected
            self._hub.handle_rejected(edge_id, rejected.version, rejected.reason, rejected.detail)
        elif kind == "start":
            start = request.start
            self._hub.handle_following(edge_id, start.leader_epoch, start.version)
            log.info("edge_follows", edge_id=edge_id, leader_epoch=start.leader_epoch, version=start.version)

    async def _identify(self, context: Context) -> str:
        """The one name of the certificate. TLS has checked that our CA signed it."""
        caller = self._callers.find(context.peer())
        kind, name = caller.names[0] if len(caller.names) == 1 else ("", "")
        if caller.refusal is not None or kind != "DNS" or name == CONTROL_NAME:
            self._hub.metrics.report_streams.labels("no_identity").inc()
            detail = "the client certificate must carry one edge id as DNS name: enrol"
            await _refuse_caller(context, "no_identity", detail)
        return name

    async def _refuse_report(self, context: Context, edge_id: str, violations: Sequence[Violation]) -> NoReturn:
        for violation in violations:
            self._hub.metrics.report_violations.labels(violation.reason).inc()
        first = violations[0]
        log.warning("report_refused", edge_id=edge_id, field=first.field, reason=first.reason, count=len(violations))
        details = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(
                    field=violation.field, description=f"{violation.reason}: {violation.detail}"
                )
                for violation in violations[:32]
            ]
        )
        await _abort(context, code_pb2.INVALID_ARGUMENT, f"report refused: {first.field}: {first.detail}", details)


class _Refuser(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # takes none when it runs
    """Answers every call of a connection that the front refused."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def service(self, _call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Every method is the same here: no message is read."""

        async def refuse(_requests: AsyncIterator[bytes], context: Context) -> None:
            refusal = self._callers.find(context.peer()).refusal
            reason, detail = ("no_identity", "enrol") if refusal is None else (refusal.reason, refusal.detail)
            await _refuse_caller(context, reason, detail)

        return grpc.stream_stream_rpc_method_handler(refuse)


async def _refuse_caller(context: Context, reason: str, detail: str) -> NoReturn:
    await _abort(
        context, code_pb2.UNAUTHENTICATED, detail, error_details_pb2.ErrorInfo(reason=reason, domain=CONTROL_NAME)
    )


async def _abort(context: Context, code: int, text: str, details: Message) -> NoReturn:
    packed = any_pb2.Any()
    packed.Pack(details)
    trailing = rpc_status.to_status(status_pb2.Status(code=code, message=text, details=[packed]))
    await context.abort(trailing.code, trailing.details, trailing.trailing_metadata)
    raise AssertionError("abort raises")


class FleetServer:
    """The gRPC servers behind the front: FleetService, health and reflection for those with a good certificate, and a
    refusal for the others."""

    def __init__(self, hub: FleetHub, folder: Path, *, host: str, port: int) -> None:
        """Binds at once; `folder` is made for the inner sockets. Raises OSError when the address is taken."""
        callers = Callers()
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
                ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
                ("grpc.keepalive_time_ms", 10_000),
                ("grpc.keepalive_timeout_ms", 5_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        fleet_pb2_grpc.add_FleetServiceServicer_to_server(FleetService(hub, callers), self._server)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # missing in the stubs
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._refuser = grpc.aio.server(handlers=[_Refuser(callers)])
        self._listener = listen_tcp(host, port, "grpc.port")
        self.port: int = self._listener.getsockname()[1]
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        # A socket's path has room for 107 bytes, a data directory may be longer: its descriptor is not.
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        inside = f"/proc/self/fd/{self._folder}"
        for server, name in ((self._server, "fleet"), (self._refuser, "refusals")):
            try:
                server.add_insecure_port(f"unix:{inside}/{name}")
            except RuntimeError as error:
                raise OSError(f"cannot listen in {folder}: {error}") from error
        self._front = Front(
            hub.authority,
            callers,
            self._listener,
            serving=f"{inside}/fleet",
            refusing=f"{inside}/refusals",
            count=lambda reason: hub.metrics.grpc_refusals.labels(reason).inc(),
        )

    async def start(self) -> None:
        """Makes the inner servers ready."""
        await self._server.start()
        await self._refuser.start()
        for service in ("", SERVICE_NAME):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def serve(self) -> None:
        """Lets connections in, until cancelled."""
        await self._front.serve()

    async def stop(self, grace_s: float = 0.5) -> None:
        """Ends every stream; edges keep their last good table and come back."""
        await self._health.enter_graceful_shutdown()
        await self._refuser.stop(0)
        await self._server.stop(grace_s)

    def close(self) -> None:
        """Frees the port."""
        self._listener.close()
        os.close(self._folder)
