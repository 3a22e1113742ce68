"""The console's picture of the fleet, as JSON values. Numbers are rounded: the page shows them, nobody computes with
them."""

from __future__ import annotations

from typing import Any

from control.brain.world import Route
from control.fleet.hub import FleetHub
from control.fleet.registry import EdgeLive


def console_snapshot(hub: FleetHub, *, unix_ms: int, demo_links: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Edges, links, and streams with the reason of every route; `demo` is null when links cannot be made bad."""
    return {
        "leader_epoch": hub.leader_epoch,
        "version": hub.planner.plan.version,
        "unix_ms": unix_ms,
        "edges": _edges(hub),
        "links": _links(hub),
        "streams": _streams(hub),
        "demo": None if demo_links is None else {"links": demo_links},
    }


def _edges(hub: FleetHub) -> list[dict[str, Any]]:
    verdicts = hub.planner.plan.table.verdicts
    rows = []
    for edge_id, record in sorted(hub.registry.edges.items()):
        if not record.described:
            continue
        live = hub.registry.live.get(edge_id) or EdgeLive(0.0)
        rejection, applied = hub.rejection(edge_id), hub.applied(edge_id)
        rows.append(
            {
                "edge_id": edge_id,
                "region": record.region,
                "latitude": record.latitude_degrees,
                "longitude": record.longitude_degrees,
                "status": verdicts.get(edge_id, "suspect"),
                "http_url": record.http_url,
                "hosts": live.hosts,
                "viewers": live.viewers,
                "cpu_ratio": round(live.cpu_ratio, 3),
                "slice_applied": None if applied is None else {"leader_epoch": applied[0], "version": applied[1]},
                "slice_rejected": None if rejection is None else {"reason": rejection[0], "detail": rejection[1]},
            }
        )
    return rows


def _links(hub: FleetHub) -> list[dict[str, Any]]:
    now = hub.clock()
    rows = []
    for link in hub.planner.plan.table.links:
        receiver = hub.registry.live.get(link.to_edge)
        claim = receiver.claims.get(link.from_edge) if receiver else None
        if claim is None:
            continue
        rows.append(
            {
                "from_edge": link.from_edge,
                "to_edge": link.to_edge,
                "usable": link.usable,
                "rtt_ms": round(link.rtt_ms, 1),
                "one_way_ms": round(link.one_way_ms, 1),
                "p95_ms": round(link.p95_ms, 1),
                "loss_ratio": round(link.loss_ratio, 6),
                "jitter_ms": round(claim.jitter_ms, 2),
                "utilisation": round(link.utilisation, 3),
                "cost_ms": round(link.cost_ms, 1),
                "tariff_guessed": link.tariff_guessed,
                "measured_by": claim.measured_by,
                "age_ms": round(claim.age_ms + (now - claim.received_at) * 1000),
            }
        )
    return rows


def _streams(hub: FleetHub) -> list[dict[str, Any]]:
    registry = hub.registry
    routes: dict[tuple[str, int], list[Route]] = {}
    for route in hub.planner.plan.table.routes:
        routes.setdefault((route.room, route.incarnation), []).append(route)
    rows = []
    for room, (source, record) in sorted(registry.directory().items()):
        key = (room, record.incarnation)
        seen = [live.streams[key] for live in registry.live.values() if key in live.streams]
        rows.append(
            {
                "room": room,
                "incarnation": record.incarnation,
                "source_edge": source,
                "codecs": list(record.codecs),
                "viewers": sum(stream.viewers for stream in seen),
                "routes": [_route(hub, route) for route in routes.get(key, [])],
            }
        )
    return rows


def _route(hub: FleetHub, route: Route) -> dict[str, Any]:
    live = hub.registry.live.get(route.edge_id)
    stream = live.streams.get((route.room, route.incarnation)) if live else None
    return {
        "edge_id": route.edge_id,
        "primary": list(route.primary),
        "backup": list(route.backup),
        "active_path": list(stream.active_path) if stream else [],
        "phase": stream.phase if stream else "",
        "viewers": stream.viewers if stream else 0,
        "reason": route.reason,
        "cost_ms": round(route.cost_ms, 1),
        "delay_ms": round(route.delay_ms, 1),
    }
