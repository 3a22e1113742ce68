"""Edges and control over real gRPC with mutual TLS."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from control.fleet.hub import FleetHub
from control.fleet.planner import Slice
from edge.mesh.agent import CONTROL_NAME
from edge.mesh.errors import EnrolmentError, SliceRefused
from edge.mesh.identity import EdgeIdentity, ensure_identity
from edge.mesh.port import DataplaneSample
from edge.mesh.view import Route
from tests.fleet.harness import Control, Edge, edge_settings, running, running_control, running_edges
from tests.waiting import until
from tradewind.common.tokens import key_id
from tradewind.v1 import edge_pb2, fleet_pb2, fleet_pb2_grpc, routes_pb2, telemetry_pb2


async def test_edges_measure_each_other_and_get_routes_to_a_new_stream(tmp_path: Path) -> None:
    async with (
        running_control(tmp_path / "control") as control,
        running_edges(control, tmp_path, "sg", "fra", "iad") as edges,
    ):
        edges["sg"].port.publish("demo")
        edges["sg"].agent.handle_event("source_started")
        await until(lambda: edges["fra"].route() == ("fra", "sg"))

        def ways() -> set[tuple[str, ...]]:
            route = edges["fra"].port.route("demo")
            return {route.primary, route.backup} if route else set()

        await until(lambda: ways() == {("fra", "sg"), ("fra", "iad", "sg")}, 45.0, ways)
        assert set(edges["fra"].port.peers) == {"sg", "iad"}
        asked = edges["iad"].agent.view.route("demo")
        assert asked is not None
        assert asked.codecs == ("h264", "opus"), "known where nobody watches"
        assert edges["sg"].route() is None, "a source's edge needs no route to itself"
        picture = await control.snapshot()
        assert {edge["edge_id"]: edge["status"] for edge in picture["edges"]} == dict.fromkeys(
            ("sg", "fra", "iad"), "up"
        )
        assert len(picture["links"]) == 6
        assert picture["streams"][0]["source_edge"] == "sg"
        assert await control.metric("tradewind_control_slices_applied_total") >= 3
        assert await control.metric('tradewind_control_slices_pushed_total{kind="whole"}') == 3
        assert await control.metric('tradewind_control_slices_pushed_total{kind="delta"}') >= 3


async def test_a_source_that_stops_takes_its_routes_away(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg", "fra") as edges:
        edges["sg"].port.publish("demo")
        await until(lambda: edges["fra"].route())
        edges["sg"].port.streams.clear()
        edges["sg"].agent.handle_event("source_stopped")
        await until(lambda: edges["fra"].route() is None)


async def test_the_higher_incarnation_wins_wherever_it_is(tmp_path: Path) -> None:
    async with (
        running_control(tmp_path / "control") as control,
        running_edges(control, tmp_path, "sg", "fra", "iad") as edges,
    ):
        edges["sg"].port.publish("demo", incarnation=5)
        await until(lambda: edges["iad"].route() == ("iad", "sg"))
        edges["fra"].port.publish("demo", incarnation=6)
        await until(lambda: edges["iad"].route() == ("iad", "fra"))
        await until(lambda: edges["sg"].route() == ("sg", "fra"))


async def test_token_keys_reach_the_edges(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg") as edges:
        await until(lambda: edges["sg"].agent.view.token_keys)
        ((name, raw),) = edges["sg"].agent.view.token_keys
        assert name == key_id(Ed25519PublicKey.from_public_bytes(raw))


async def test_a_wrong_join_token_is_refused_and_counted(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        prefix, _, digest = control.join_token.split(".")
        settings = edge_settings("sg", tmp_path / "sg", control, join_token=f"{prefix}.guess.{digest}")
        with pytest.raises(EnrolmentError) as refusal:
            await ensure_identity(settings)
        assert refusal.value.reason == "bad_join_token"
        assert not refusal.value.retry
        assert not (tmp_path / "sg" / "identity").exists()
        assert await control.metric('tradewind_control_enrolments_total{result="bad_join_token"}') == 1


async def test_an_impostor_never_sees_the_secret(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_control(tmp_path / "other") as impostor:
        settings = edge_settings("sg", tmp_path / "sg", control, control_http_url=impostor.enroll_url)
        with pytest.raises(EnrolmentError) as refusal:
            await ensure_identity(settings)
        assert refusal.value.reason == "wrong_certificate"
        assert await impostor.metric('tradewind_control_enrolments_total{result="bad_join_token"}') == 0


async def test_a_control_that_is_not_there_may_be_tried_again(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        settings = edge_settings("sg", tmp_path / "sg", control)
    with pytest.raises(EnrolmentError) as refusal:
        await ensure_identity(settings)
    assert (refusal.value.reason, refusal.value.retry) == ("unreachable", True)


@pytest.mark.parametrize("edge_id", ["", "SG", "-sg", "a" * 33, "sg.fra", "control.tradewind"])
async def test_bad_edge_ids_get_no_certificate(tmp_path: Path, edge_id: str) -> None:
    async with running_control(tmp_path / "control") as control:
        settings = edge_settings(edge_id, tmp_path / "edge", control)
        with pytest.raises((EnrolmentError, ValueError)):
            await ensure_identity(settings)


def link(peer: str = "fra", **fields: object) -> telemetry_pb2.LinkMeasurement:
    return telemetry_pb2.LinkMeasurement(
        **{"peer_edge_id": peer, "measured_by": telemetry_pb2.MEASURED_BY_PROBE, "reachable": True, **fields}
    )


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        (link(rtt_ms=math.nan), "links[0].rtt_ms", "not_finite"),
        (link(rtt_ms=math.inf), "links[0].rtt_ms", "not_finite"),
        (link(rtt_ms=-1.0), "links[0].rtt_ms", "negative"),
        (link(loss_30s_ratio=1.5), "links[0].loss_30s_ratio", "out_of_range"),
        (link(one_way_p50_raw_ms=math.nan), "links[0].one_way_p50_raw_ms", "not_finite"),
        (link(peer="atlantis"), "links[0].peer_edge_id", "unknown_edge"),
        (link(peer="sg"), "links[0].peer_edge_id", "own_edge"),
        (link(measured_by=telemetry_pb2.MEASURED_BY_UNSPECIFIED), "links[0].measured_by", "unspecified"),
    ],
)
async def test_bad_telemetry_is_refused_with_details_and_changes_nothing(
    tmp_path: Path, bad: telemetry_pb2.LinkMeasurement, field: str, reason: str
) -> None:
    async with running_control(tmp_path / "control") as control:
        sg = await ensure_identity(edge_settings("sg", tmp_path / "sg", control))
        await ensure_identity(edge_settings("fra", tmp_path / "fra", control))
        report = telemetry_pb2.ReportRequest(
            full=True, description=edge_pb2.EdgeDescription(trunk_address="127.0.0.1:1"), links=[bad]
        )
        error = await _refusal(control, sg, report)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        assert status is not None
        details = error_details_pb2.BadRequest()
        assert status.details[0].Unpack(details)
        assert details.field_violations[0].field == field
        assert details.field_violations[0].description.startswith(reason)
        assert await control.metric(f'tradewind_control_report_violations_total{{reason="{reason}"}}') == 1
        assert (await control.snapshot())["links"] == []


async def test_the_first_report_must_be_full(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        sg = await ensure_identity(edge_settings("sg", tmp_path / "sg", control))
        error = await _refusal(control, sg, telemetry_pb2.ReportRequest())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_slice_the_packet_path_refuses_is_rejected_with_its_reason(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg", "fra") as edges:
        await until(lambda: edges["fra"].agent.view.neighbours)
        edges["fra"].port.refuse = SliceRefused("route_loop", "sg passes twice")
        before = edges["fra"].agent.view
        edges["sg"].port.publish("demo")
        edges["sg"].agent.handle_event("source_started")

        async def rejected() -> bool:
            return await control.metric('tradewind_control_slices_rejected_total{reason="route_loop"}') >= 1

        await until(rejected)
        assert edges["fra"].agent.view is before
        row = next(edge for edge in (await control.snapshot())["edges"] if edge["edge_id"] == "fra")
        assert row["slice_rejected"] == {"reason": "route_loop", "detail": "sg passes twice"}
        assert row["slice_applied"] == {"leader_epoch": before.leader_epoch, "version": before.version}
        assert await control.metric("tradewind_control_edges_refusing") == 1
        edges["fra"].port.refuse = None
        edges["sg"].port.publish("second")
        await until(lambda: edges["fra"].route("second") == ("fra", "sg"))
        assert edges["fra"].route("demo") == ("fra", "sg")

        async def agreed() -> bool:
            rows = (await control.snapshot())["edges"]
            row = next(edge for edge in rows if edge["edge_id"] == "fra")
            return row["slice_rejected"] is None and row["slice_applied"]["version"] > before.version

        await until(agreed)
        assert await control.metric("tradewind_control_edges_refusing") == 0


async def test_the_loop_goes_on_while_the_packet_path_looks_at_routes(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg", "fra") as edges:
        port = edges["fra"].port
        asked, answer, waits, apply_routes = threading.Event(), threading.Event(), list[bool](), port.apply_routes

        def look_long(routes: Sequence[Route]) -> None:
            asked.set()
            waits.append(answer.wait(10))
            apply_routes(routes)

        port.apply_routes = look_long  # type: ignore[method-assign]
        edges["sg"].port.publish("demo")
        edges["sg"].agent.handle_event("source_started")
        await until(asked.is_set)
        answer.set()
        await until(lambda: edges["fra"].route() == ("fra", "sg"))
        assert all(waits), "only this loop can answer, and it stood still"


@pytest.mark.parametrize(
    ("path", "reason"),
    [(("fra", "sg", "fra", "sg"), "route_loop"), (("fra", "atlantis", "sg"), "unknown_edge")],
)
async def test_a_table_that_makes_no_sense_is_refused_and_the_last_good_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...], reason: str
) -> None:
    encode, encode_delta, bad = FleetHub.encode, FleetHub.encode_delta, [False]

    def encode_badly(hub: FleetHub, edge_id: str, slice_: Slice) -> routes_pb2.RouteSlice:
        message = encode(hub, edge_id, slice_)
        if bad[0] and edge_id == "fra":
            message.routes.add(room="broken", incarnation=1, source_edge="sg", primary=path)
        return message

    def encode_delta_badly(hub: FleetHub, edge_id: str, base: Slice, slice_: Slice) -> routes_pb2.RouteDelta | None:
        message = encode_delta(hub, edge_id, base, slice_)
        if message is not None and bad[0] and edge_id == "fra":
            message.routes.add(room="broken", incarnation=1, source_edge="sg", primary=path)
        return message

    monkeypatch.setattr(FleetHub, "encode", encode_badly)
    monkeypatch.setattr(FleetHub, "encode_delta", encode_delta_badly)
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg", "fra") as edges:
        fra = edges["fra"]
        edges["sg"].port.publish("demo")
        edges["sg"].agent.handle_event("source_started")
        await until(lambda: fra.route() == ("fra", "sg"))

        async def refused() -> bool:
            return await control.metric(f'tradewind_control_slices_rejected_total{{reason="{reason}"}}') >= 1

        bad[0] = True
        edges["sg"].port.publish("second")
        edges["sg"].agent.handle_event("source_started")
        await until(refused)
        view, kept = fra.agent.view, (tmp_path / "fra" / "routes.bin").read_bytes()
        assert fra.route() == ("fra", "sg")
        assert fra.route("broken") is None
        assert fra.route("second") is None, "a table is taken whole or not at all"
        assert f'tradewind_mesh_slices_total{{result="{reason}"}} 0.0' not in fra.agent.metrics.render()
        row = next(edge for edge in (await control.snapshot())["edges"] if edge["edge_id"] == "fra")
        assert row["slice_rejected"]["reason"] == reason
        assert (view, kept) == (fra.agent.view, (tmp_path / "fra" / "routes.bin").read_bytes())
        bad[0] = False
        edges["sg"].port.publish("third")
        edges["sg"].agent.handle_event("source_started")
        await until(lambda: fra.route("third") == ("fra", "sg"))


async def test_a_certificate_that_is_no_edges_is_refused_with_advice(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        keys = tmp_path / "control" / "keys"
        ca, own, key = ((keys / name).read_bytes() for name in ("ca.pem", "control.pem", "control.key"))
        async with _channel(control, grpc.ssl_channel_credentials(ca, key, own)) as channel:
            report = telemetry_pb2.ReportRequest(full=True)
            error = await _failure(fleet_pb2_grpc.FleetServiceStub(channel).Report(_once(report)))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "enrol" in (error.details() or "")
        assert await control.metric('tradewind_control_report_streams_ended_total{reason="no_identity"}') == 1
        assert (await control.snapshot())["edges"] == []


async def test_control_restarts_and_nobody_loses_a_route(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as first:
        port = int(first.ready["grpc"])
        stack = running_edges(first, tmp_path, "sg", "fra")
        edges = await stack.__aenter__()
        edges["sg"].port.publish("demo")
        await until(lambda: edges["fra"].route() == ("fra", "sg"))
        epoch = edges["fra"].agent.view.leader_epoch
    try:
        assert edges["fra"].route() == ("fra", "sg"), "routes stay while control is away"
        async with running_control(tmp_path / "control", grpc_port=port) as second:
            await until(lambda: edges["fra"].agent.view.leader_epoch == epoch + 1)
            assert edges["fra"].route() == ("fra", "sg")

            async def streams() -> bool:
                picture = await second.snapshot()
                return bool(picture["streams"]) and {edge["status"] for edge in picture["edges"]} == {"up"}

            await until(streams)
    finally:
        await stack.__aexit__(None, None, None)


async def test_a_report_that_cannot_be_made_does_not_end_reporting(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg", "fra") as edges:
        await until(lambda: edges["fra"].agent.view.neighbours)
        sample, failures = edges["sg"].port.sample, 0

        def fail_once() -> DataplaneSample:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise RuntimeError("the packet path is busy")
            return sample()

        edges["sg"].port.sample = fail_once  # type: ignore[method-assign]
        await until(lambda: failures)
        edges["sg"].port.publish("demo")
        await until(lambda: edges["fra"].route() == ("fra", "sg"))


async def test_an_edge_that_starts_without_control_uses_its_last_good_routes(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        async with running_edges(control, tmp_path, "sg", "fra") as edges:
            edges["sg"].port.publish("demo")
            await until(lambda: edges["fra"].route() == ("fra", "sg"))
        settings = edge_settings("fra", tmp_path / "fra", control)
    again = Edge(settings, await ensure_identity(settings))
    async with running(again):
        await until(lambda: again.route() == ("fra", "sg"))
        assert again.port.peers
        assert again.agent.view.token_keys


async def test_an_edge_told_to_keep_nothing_forgets_its_routes_and_keys_with_control(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        stack = running_edges(control, tmp_path, "sg", "fra", changes={"fra": {"keep_last_good": False}})
        edges = await stack.__aenter__()
        edges["sg"].port.publish("demo")
        await until(lambda: edges["fra"].route() == ("fra", "sg"))
        assert edges["fra"].agent.view.token_keys
    try:
        await until(lambda: edges["fra"].route() is None)
        assert not edges["fra"].agent.view.token_keys
        assert not edges["fra"].port.peers
        assert edges["sg"].agent.view.token_keys, "its neighbour keeps what it had"
    finally:
        await stack.__aexit__(None, None, None)
    again = Edge(edge_settings("fra", tmp_path / "fra", control, keep_last_good=False), edges["fra"].identity)
    async with running(again):
        # Stored routes would be applied in its first step, in a thread; with one thread only they come before this.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)
        assert again.route() is None


async def test_probes_authenticate_both_ways_and_strangers_get_silence(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg", "fra") as edges:

        async def measured() -> bool:
            return len((await control.snapshot())["links"]) == 2

        await until(measured)
        drops = edges["sg"].agent.metrics.render()
        for reason in ("malformed", "bad_mac", "unknown_peer", "replayed", "unsolicited", "wrong_nonce"):
            assert f'tradewind_mesh_probe_drops_total{{reason="{reason}"}} 0.0' in drops


async def test_a_clock_five_seconds_ahead_changes_neither_routes_nor_delays(tmp_path: Path) -> None:
    async with (
        running_control(tmp_path / "control") as control,
        running_edges(control, tmp_path, "sg", "fra", "iad", changes={"fra": {"clock_offset_ms": 5000.0}}) as edges,
    ):
        edges["sg"].port.publish("demo")
        await until(lambda: edges["fra"].route() == ("fra", "sg"))

        async def settled() -> bool:
            # All edges share this test's event loop, so that their first round trips are slow; five seconds they are
            # not.
            links = (await control.snapshot())["links"]
            assert all(row["one_way_ms"] < 1000 for row in links), links
            return len(links) == 6 and all(row["one_way_ms"] < 100 for row in links)

        await until(settled)
        assert edges["fra"].route() == ("fra", "sg")


async def _refusal(
    control: Control, identity: EdgeIdentity, report: telemetry_pb2.ReportRequest
) -> grpc.aio.AioRpcError:
    credentials = grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)
    async with _channel(control, credentials) as channel:
        call = fleet_pb2_grpc.FleetServiceStub(channel).Report(_once(report))
        return await _failure(call)


async def _failure(call: AsyncIterable[telemetry_pb2.ReportResponse]) -> grpc.aio.AioRpcError:
    try:
        async with asyncio.timeout(30):
            async for _ in call:
                pass
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("control took it")


def _channel(control: Control, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    options = [("grpc.ssl_target_name_override", CONTROL_NAME), ("grpc.enable_http_proxy", 0)]
    return grpc.aio.secure_channel(control.grpc_address, credentials, options)


async def _once(report: telemetry_pb2.ReportRequest) -> AsyncIterator[telemetry_pb2.ReportRequest]:
    yield report
    await asyncio.Event().wait()


def test_the_service_is_what_the_edges_were_built_for() -> None:
    service = fleet_pb2.DESCRIPTOR.services_by_name["FleetService"]
    assert [method.name for method in service.methods] == ["Report", "Follow"]
