"""The HTTP applications of control: console and API, enrolment over TLS, metrics."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from control.api.console import console_snapshot
from control.api.demo import DemoLinks, parse_change
from control.fleet.authority import Authority, EnrolmentRefused
from control.fleet.hub import FleetHub
from control.metrics import ControlMetrics
from tradewind.common.logging import get_logger
from tradewind.common.problem import Problem, install_problems

log = get_logger(__name__)

STATIC = Path(__file__).parent.parent / "static"
BODY_MAX_BYTES = 64 * 1024
# A body of a few kilobytes comes with its head or a round trip later; who drips it holds a connection.
BODY_TIMEOUT_S = 5.0
# The console asks nobody but control, and stands in nobody's frame: a click in it changes links.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Pages that follow the fleet; each costs one JSON rendering a second.
FOLLOWERS_MAX = 64


def console_app(hub: FleetHub, demo: DemoLinks | None, stopping: asyncio.Event, *, static: Path = STATIC) -> Starlette:
    """`/console`, its snapshot and events, `/v1/demo/links`, `/livez`, `/readyz`. `stopping` ends open event
    streams. Refusals are counted by `hub.metrics`."""
    followers = _Followers()

    async def snapshot_json() -> bytes:
        links = None if demo is None else await demo.links()
        picture = console_snapshot(hub, unix_ms=int(time.time() * 1000), demo_links=links)
        return json.dumps(picture, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()

    async def snapshot(_request: Request) -> Response:
        return Response(await snapshot_json(), media_type="application/json", headers={"Cache-Control": "no-store"})

    async def events(_request: Request) -> Response:
        if followers.count >= FOLLOWERS_MAX:
            raise Problem(503, "too_many_followers", "Too many consoles are open; close one, or read the snapshot.")
        return StreamingResponse(
            _events(snapshot_json, hub, followers, stopping),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def demo_links(request: Request) -> Response:
        if demo is None:
            raise Problem(404, "no_demo", "Links are real here: demo.wan_url is not set.")
        links = await demo.apply(parse_change(await _read_json(request)))
        return Response(json.dumps({"links": links}).encode(), media_type="application/json")

    async def console(_request: Request) -> Response:
        page = static / "console.html"
        if not page.exists():
            raise Problem(404, "no_bundle", "The pages are not built: run make setup.")
        # Asked for anew each time: it names the assets of the version that runs now.
        headers = {
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(page.read_bytes(), media_type="text/html", headers=headers)

    async def root(_request: Request) -> Response:
        return RedirectResponse("/console")

    routes: list[Route | Mount] = [
        Route("/", root),
        Route("/console", console),
        Route("/v1/console/snapshot", snapshot),
        Route("/v1/console/events", events),
        Route("/v1/demo/links", demo_links, methods=["POST"]),
        *health_routes(lambda: hub.planner.pushing),
    ]
    if (static / "assets").is_dir():
        routes.append(Mount("/assets", _HashedFiles(directory=static / "assets")))

    def count(_request: Request, problem: Problem) -> None:
        hub.metrics.console_refusals.labels(problem.reason).inc()

    app = Starlette(routes=routes)
    install_problems(app, count)
    return app


def enrolment_app(
    authority: Authority,
    hub: FleetHub,
    metrics: ControlMetrics,
    *,
    grpc_address: Callable[[], str],
    utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> Starlette:
    """`POST /enroll` {edge_id, join_token, csr_pem} -> 201 {certificate_pem, ca_pem, grpc_address}."""

    async def enroll(request: Request) -> Response:
        body = await _read_json(request)
        fields = [body.get(name) if isinstance(body, dict) else None for name in ("edge_id", "join_token", "csr_pem")]
        if not all(isinstance(value, str) and _is_unicode(value) for value in fields):
            raise Problem(400, "bad_request", "Send edge_id, join_token and csr_pem as JSON strings.")
        edge_id, join_token, csr_pem = map(str, fields)
        try:
            certificate = authority.enrol(edge_id, join_token, csr_pem.encode(), utc_now())
        except EnrolmentRefused as refusal:
            log.warning("enrolment_refused", edge_id=edge_id[:64], reason=refusal.reason)
            raise Problem(refusal.status, refusal.reason, refusal.detail) from refusal
        hub.registry.handle_enrolled(edge_id)
        metrics.enrolments.labels("issued").inc()
        log.info("edge_enrolled", edge_id=edge_id)
        answer = {
            "certificate_pem": certificate.decode(),
            "ca_pem": authority.ca_pem.decode(),
            "grpc_address": grpc_address(),
        }
        return Response(
            json.dumps(answer).encode(),
            status_code=201,
            media_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    def count(_request: Request, problem: Problem) -> None:
        metrics.enrolments.labels(problem.reason).inc()

    app = Starlette(routes=[Route("/enroll", enroll, methods=["POST"])])
    install_problems(app, count)
    return app


def metrics_app(metrics: ControlMetrics, ready: Callable[[], bool]) -> Starlette:
    """`/metrics`, `/livez`, `/readyz`."""

    async def render(_request: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app = Starlette(routes=[Route("/metrics", render), *health_routes(ready)])
    install_problems(app)
    return app


def health_routes(ready: Callable[[], bool]) -> list[Route]:
    """`/livez` looks at the process only; `/readyz` says whether routes are being pushed."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        return PlainTextResponse("ok\n") if ready() else PlainTextResponse("waiting for the fleet\n", 503)

    return [Route("/livez", livez), Route("/readyz", readyz)]


class _HashedFiles(StaticFiles):
    """Files named by their content: kept for good, so that only the page itself is asked for after an upgrade."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


class _Followers:
    def __init__(self) -> None:
        self.count = 0


async def _events(
    snapshot_json: Callable[[], Any], hub: FleetHub, followers: _Followers, stopping: asyncio.Event
) -> AsyncIterator[bytes]:
    """One snapshot at once and one with each decision, until the page goes or control stops."""
    followers.count += 1
    try:
        while not stopping.is_set():
            yield b"event: snapshot\ndata: " + await snapshot_json() + b"\n\n"
            await hub.wait_decided()
    finally:
        followers.count -= 1


def _is_unicode(text: str) -> bool:
    """JSON can write half a surrogate pair, which no encoding has."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


async def _read_json(request: Request) -> object:
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                received += chunk
                if len(received) > BODY_MAX_BYTES:
                    raise Problem(413, "too_large", f"The body may have {BODY_MAX_BYTES} bytes.")
    except TimeoutError:
        detail = f"The body did not arrive in {BODY_TIMEOUT_S:g} s. Send it at once."
        raise Problem(408, "body_timeout", detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "client_gone", "The connection closed before the body was complete.") from None
    try:
        return json.loads(received)
    except (ValueError, RecursionError):
        raise Problem(400, "bad_request", "The body is not JSON.") from None
