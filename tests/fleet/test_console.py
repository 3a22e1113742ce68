"""Control over HTTP: what the console reads, bad links on demand, health, and refusals as problem+json."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from control.api.app import console_app
from control.api.demo import DemoLinks, LinkChange, parse_change
from control.fleet.hub import FleetHub
from tests.fleet.harness import running_control, running_edges, trusting_nobody
from tests.waiting import until
from tradewind.common.problem import Problem
from tradewind.common.process import PortTaken


class FakeEmulator:
    """The admin surface of `tradewind wan` for one link."""

    def __init__(self) -> None:
        own = {"delay_ms": 80.0, "loss_ratio": 0.002, "burst_packets": 3.0, "blackout": False}
        self.links: dict[tuple[str, str], dict[str, Any]] = {("sg", "fra"): dict(own), ("fra", "sg"): dict(own)}
        self.app = Starlette(
            routes=[
                Route("/links", self._get),
                Route("/links/{a}/{b}", self._put, methods=["PUT"]),
            ]
        )

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://wan")

    async def _get(self, _request: Request) -> Response:
        return JSONResponse({"links": [{"from": a, "to": b, **row} for (a, b), row in self.links.items()]})

    async def _put(self, request: Request) -> Response:
        self.links[request.path_params["a"], request.path_params["b"]].update(await request.json())
        return JSONResponse({})


async def test_a_link_is_made_bad_in_both_directions_and_good_again() -> None:
    emulator = FakeEmulator()
    demo = DemoLinks("http://wan", emulator.client())
    (row,) = await demo.links()
    assert row["own_delay_ms"] == 80.0
    (bad,) = await demo.apply(LinkChange("fra", "sg", loss_ratio=0.1, delay_ms=280.0, blackout=True))
    assert (bad["loss_ratio"], bad["delay_ms"], bad["blackout"]) == (0.1, 280.0, True)
    assert emulator.links["sg", "fra"] == emulator.links["fra", "sg"]
    (good,) = await demo.apply(LinkChange("sg", "fra", clear=True))
    assert (good["loss_ratio"], good["delay_ms"], good["blackout"]) == (0.002, 80.0, False)
    await demo.close()


async def test_an_unknown_link_is_a_problem() -> None:
    demo = DemoLinks("http://wan", FakeEmulator().client())
    with pytest.raises(Problem) as problem:
        await demo.apply(LinkChange("sg", "atlantis", delay_ms=1.0))
    assert (problem.value.status, problem.value.reason) == (404, "unknown_link")
    assert "there are fra–sg." in problem.value.detail


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"a": "sg"},
        {"a": "sg", "b": "sg"},
        {"a": "sg", "b": "fra", "loss_ratio": 1.5},
        {"a": "sg", "b": "fra", "loss_ratio": "much"},
        {"a": "sg", "b": "fra", "delay_ms": -1},
        {"a": "sg", "b": "fra", "delay_ms": float("nan")},
        {"a": "sg", "b": "fra", "blackout": 1},
        {"a": "sg", "b": "fra", "colour": "red"},
    ],
)
def test_bad_changes_are_refused(body: object) -> None:
    with pytest.raises(Problem) as problem:
        parse_change(body)
    assert problem.value.status == 400


async def test_snapshot_has_the_fields_the_console_draws(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg", "fra") as edges:
        edges["sg"].port.publish("demo")
        edges["fra"].port.watch("demo", ("sg", "fra"))
        await until(lambda: edges["fra"].route())

        async def complete() -> bool:
            picture = await control.snapshot()
            routes = [route for stream in picture["streams"] for route in stream["routes"]]
            return len(picture["links"]) == 2 and any(route["active_path"] for route in routes)

        await until(complete)
        picture = await control.snapshot()
        assert picture["demo"] is None
        assert {
            "edge_id",
            "region",
            "latitude",
            "longitude",
            "status",
            "http_url",
            "hosts",
            "viewers",
            "cpu_ratio",
        } <= set(picture["edges"][0])
        assert {
            "from_edge",
            "to_edge",
            "rtt_ms",
            "one_way_ms",
            "p95_ms",
            "loss_ratio",
            "jitter_ms",
            "utilisation",
        } <= set(picture["links"][0])
        (stream,) = picture["streams"]
        assert stream["viewers"] == 1
        (route,) = stream["routes"]
        assert route["active_path"] == ["sg", "fra"]
        assert route["phase"] == "primary"
        assert route["reason"]


async def test_events_bring_a_snapshot_each_second_and_end_with_control(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, asyncio.timeout(60):
        async with _stream(control.http_url, "/v1/console/events") as lines:
            seen = 0
            async for line in lines:
                if line.startswith("data: "):
                    assert json.loads(line.removeprefix("data: "))["leader_epoch"] == 1
                    seen += 1
                    if seen == 2:
                        control.stop.set()
        assert seen >= 2


async def test_health_and_metrics(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        assert await control.get("/livez") == "ok\n"

        async def ready() -> bool:
            async with httpx.AsyncClient(base_url=control.http_url, trust_env=False) as client:
                return (await client.get("/readyz")).status_code == 200

        await until(ready)
        assert await control.metric("tradewind_control_leader_epoch") == 1
        assert await control.metric('tradewind_control_report_violations_total{reason="not_finite"}') == 0
        assert await control.metric('tradewind_control_slices_rejected_total{reason="route_loop"}') == 0


async def test_readiness_waits_for_the_fleet_after_a_restart(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_edges(control, tmp_path, "sg") as edges:
        await until(lambda: edges["sg"].agent.view.leader_epoch)
    async with (
        running_control(tmp_path / "control") as control,
        httpx.AsyncClient(base_url=control.http_url, trust_env=False) as client,
    ):
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "/nowhere", b"", 404, "not_found"),
        ("DELETE", "/v1/console/snapshot", b"", 405, "method_not_allowed"),
        ("POST", "/v1/demo/links", b'{"a":"sg","b":"fra"}', 404, "no_demo"),
    ],
)
async def test_refusals_are_problems(
    tmp_path: Path, method: str, path: str, body: bytes, status: int, reason: str
) -> None:
    async with running_control(tmp_path / "control") as control:
        async with httpx.AsyncClient(base_url=control.http_url, trust_env=False) as client:
            response = await client.request(method, path, content=body)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["reason"] == reason
        assert await control.metric(f'tradewind_control_http_refused_total{{reason="{reason}"}}') == 1


async def test_what_is_no_http_is_a_counted_problem(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(control.ready["http"]))
        writer.write(b"\x16\x03\x01\x02\x00\r\n\r\n")
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"application/problem+json" in answer
        assert await control.metric('tradewind_control_http_refused_total{reason="http_malformed"}') == 1


async def test_a_body_that_drips_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control.api.app.BODY_TIMEOUT_S", 0.05)
    async with running_control(tmp_path / "control", demo={"wan_url": "http://127.0.0.1:9"}) as control:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(control.ready["http"]))
        writer.write(b"POST /v1/demo/links HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"body_timeout" in answer
        assert await control.metric('tradewind_control_http_refused_total{reason="body_timeout"}') == 1


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"not json", 400, "bad_request"),
        (b"[]", 400, "bad_request"),
        (b'{"edge_id": 5}', 400, "bad_request"),
        (b'{"edge_id":"sg","join_token":"tw1.a.b","csr_pem":"\\ud83d"}', 400, "bad_request"),
        (b"x" * 100_000, 413, "too_large"),
        (b'{"edge_id":"sg","join_token":"tw1.a.b","csr_pem":""}', 403, "bad_join_token"),
    ],
)
async def test_bad_enrolments_are_problems(tmp_path: Path, body: bytes, status: int, reason: str) -> None:
    async with running_control(tmp_path / "control") as control:
        async with httpx.AsyncClient(base_url=control.enroll_url, verify=trusting_nobody(), trust_env=False) as client:
            response = await client.post("/enroll", content=body)
        assert (response.status_code, response.json()["reason"]) == (status, reason)
        assert await control.metric(f'tradewind_control_enrolments_total{{result="{reason}"}}') == 1
        assert (await control.snapshot())["edges"] == []


async def test_a_request_that_is_no_csr_gets_no_certificate(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        body = {"edge_id": "sg", "join_token": control.join_token, "csr_pem": "-----BEGIN CERTIFICATE REQUEST-----"}
        async with httpx.AsyncClient(base_url=control.enroll_url, verify=trusting_nobody(), trust_env=False) as client:
            response = await client.post("/enroll", json=body)
        assert (response.status_code, response.json()["reason"]) == (400, "bad_csr")


async def test_the_console_asks_nobody_else_and_is_safe_to_upgrade(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "console.html").write_text("<title>Console</title>")
    (tmp_path / "assets" / "console-1a2b3c4d.js").write_text("0")
    app = console_app(Mock(spec=FleetHub), None, asyncio.Event(), static=tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://control") as client:
        page = await client.get("/console")
        asset = await client.get("/assets/console-1a2b3c4d.js")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert page.headers["cache-control"] == "no-cache"
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("name", ["grpc", "http", "enroll", "metrics"])
async def test_a_taken_port_is_one_line_with_port_owner_and_setting(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = owner.getsockname()[1]
        with pytest.raises(ExceptionGroup) as failure:
            async with running_control(tmp_path / "control", **{name: {"port": port}}):
                pass
    taken = next(leaf for leaf in _leaves(failure.value) if isinstance(leaf, PortTaken))
    line = str(taken)
    assert "\n" not in line
    assert f"port {port} on 127.0.0.1 is taken" in line
    assert f"process {os.getpid()}" in line
    assert f"set {name}.port" in line
    assert not (tmp_path / "control" / "ready.json").exists()


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


@asynccontextmanager
async def _stream(url: str, path: str) -> AsyncIterator[AsyncIterator[str]]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client, client.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield response.aiter_lines()
