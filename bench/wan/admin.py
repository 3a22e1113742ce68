"""The emulator's HTTP surface: change a link, say where an edge listens, read what happened.

PUT /links/{a}/{b}[?both=1]   some of the conditions' fields, for direction a→b (or both)
GET /links                    conditions of every direction
PUT /targets/{edge}           {"trunk": "127.0.0.1:7701", "probe": "127.0.0.1:7702"}
GET /stats                    counters, delays and the emulator's own lateness
GET /livez
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bench.wan.relay import KINDS, UnknownLinkError
from bench.wan.settings import ConditionsChange

if TYPE_CHECKING:
    from starlette.requests import Request

    from bench.wan.model import DelayHistogram
    from bench.wan.relay import DirectionState, Kind, Relay


class TargetChange(BaseModel):
    """Addresses of one edge; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trunk: str | None = None
    probe: str | None = None


def application(relay: Relay) -> Starlette:
    """The admin surface of one relay."""

    async def put_link(request: Request) -> Response:
        origin, destination = request.path_params["a"], request.path_params["b"]
        change = ConditionsChange.model_validate_json(await request.body())
        directions = [relay.direction(origin, destination)]
        if request.query_params.get("both", "0") not in ("0", "false", ""):
            directions.append(relay.direction(destination, origin))
        applied = [direction.model.apply_changes(**change.changes()) for direction in directions]
        for direction in directions if change.lose_next is not None else ():
            direction.model.lose_next(change.lose_next or 0)
        for direction in directions if change.blackout_ms is not None else ():
            direction.model.go_dark(change.blackout_ms or 0.0, now=time.monotonic())
        return JSONResponse({"links": [_conditions(d) for d in directions], "changed": len(applied)})

    async def get_links(_request: Request) -> Response:
        return JSONResponse({"links": [_conditions(direction) for direction in relay.directions.values()]})

    async def put_target(request: Request) -> Response:
        change = TargetChange.model_validate_json(await request.body())
        given: list[tuple[Kind, str | None]] = [("trunk", change.trunk), ("probe", change.probe)]
        for kind, address in given:
            if address is not None:
                relay.apply_target(request.path_params["edge"], kind, parse_address(address))
        return JSONResponse(
            {
                "edge": request.path_params["edge"],
                **{
                    kind: f"{host}:{port}"
                    for (edge, kind), (host, port) in relay.targets.items()
                    if edge == request.path_params["edge"]
                },
            }
        )

    async def get_stats(_request: Request) -> Response:
        return JSONResponse(stats(relay))

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route("/links/{a}/{b}", put_link, methods=["PUT"]),
            Route("/links", get_links),
            Route("/targets/{edge}", put_target, methods=["PUT"]),
            Route("/stats", get_stats),
            Route("/livez", livez),
        ],
        exception_handlers={
            ValidationError: _bad_request,
            ValueError: _bad_request,
            UnknownLinkError: _not_found,
        },
    )


def stats(relay: Relay) -> dict[str, Any]:
    """What the emulator did, and how punctually it did it."""
    return {
        "lateness_ms": _histogram(relay.lateness),
        "kernel_drops": relay.kernel_drops(),
        "scheduled_packets": relay.scheduled_packets,
        "links": [_direction_stats(direction) for direction in relay.directions.values()],
    }


def sockets(relay: Relay) -> list[dict[str, Any]]:
    """The addresses of every link's sides, as `ready.json` lists them."""
    pairs = [(a, b) for (a, b, kind) in relay.sides if kind == KINDS[0]]
    seen: set[frozenset[str]] = set()
    rows = []
    for a, b in pairs:
        if frozenset((a, b)) in seen:
            continue
        seen.add(frozenset((a, b)))
        rows.append({"a": a, "b": b, "a_side": _side(relay, a, b), "b_side": _side(relay, b, a)})
    return rows


def parse_address(text: str) -> tuple[str, int]:
    """`host:port` or `[host]:port`. Raises ValueError."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) <= 65535:
        raise ValueError(f"an address is host:port, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _side(relay: Relay, near: str, far: str) -> dict[str, str]:
    return {kind: "{}:{}".format(*relay.sides[near, far, kind].address) for kind in KINDS}


def _conditions(direction: DirectionState) -> dict[str, Any]:
    return {"from": direction.origin, "to": direction.destination, **asdict(direction.model.conditions)}


def _direction_stats(direction: DirectionState) -> dict[str, Any]:
    counters = asdict(direction.model.counters)
    lost, bursts = counters["drops"]["loss"], counters["loss_bursts"]
    return {
        "from": direction.origin,
        "to": direction.destination,
        **counters,
        "delivered_bytes_by_kind": dict(direction.delivered_bytes),
        "mean_burst_packets": lost / bursts if bursts else 0.0,
        "delay_ms": _histogram(direction.delay),
        "conditions": asdict(direction.model.conditions),
    }


def _histogram(histogram: DelayHistogram) -> dict[str, float]:
    count = histogram.count
    return {
        "count": count,
        "mean": histogram.sum_ms / count if count else 0.0,
        "p50": histogram.quantile_ms(0.5),
        "p95": histogram.quantile_ms(0.95),
        "p99": histogram.quantile_ms(0.99),
        "maximum": histogram.maximum_ms,
    }


def _bad_request(_request: Request, error: Exception) -> Response:
    return _problem(400, "bad_request", str(error))


def _not_found(_request: Request, error: Exception) -> Response:
    return _problem(404, "unknown_link", str(error))


def _problem(status: int, reason: str, detail: str) -> Response:
    body = {
        "type": "about:blank",
        "title": reason.replace("_", " "),
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    return JSONResponse(body, status, media_type="application/problem+json")
