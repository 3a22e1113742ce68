"""Slices as they cross the wire: whole, or what has changed since one that the edge has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from control.brain.world import EdgeVerdict, Route
from control.fleet.planner import ProbeTarget, Slice
from control.fleet.registry import EdgeRecord
from tradewind.v1 import edge_pb2, routes_pb2

_STATUS = {
    "up": edge_pb2.EDGE_STATUS_UP,
    "suspect": edge_pb2.EDGE_STATUS_SUSPECT,
    "down": edge_pb2.EDGE_STATUS_DOWN,
}


class Keys(Protocol):
    """What `Authority` knows."""

    def pair_key(self, one: str, other: str) -> bytes: ...

    def token_public_keys(self) -> Sequence[tuple[str, bytes]]: ...


def encode_slice(edge_id: str, slice_: Slice, leader_epoch: int, keys: Keys) -> routes_pb2.RouteSlice:
    """Everything the edge needs."""
    return routes_pb2.RouteSlice(
        leader_epoch=leader_epoch,
        version=slice_.version,
        neighbours=[_neighbour(*neighbour) for neighbour in slice_.neighbours],
        probe_targets=[_probe_target(edge_id, target, keys) for target in slice_.probe_targets],
        routes=[_route(route) for route in slice_.routes],
        token_keys=[routes_pb2.TokenKey(key_id=key_id, public_key=raw) for key_id, raw in keys.token_public_keys()],
    )


def encode_delta(edge_id: str, base: Slice, slice_: Slice, leader_epoch: int, keys: Keys) -> routes_pb2.RouteDelta:
    """What turns `base` into `slice_`; both are the edge's and of this leader."""
    neighbours = {record.edge_id: (record, verdict) for record, verdict in base.neighbours}
    targets = {target.edge_id: target for target in base.probe_targets}
    routes = {route.room: route for route in base.routes}
    return routes_pb2.RouteDelta(
        leader_epoch=leader_epoch,
        base_version=base.version,
        version=slice_.version,
        neighbours=[
            _neighbour(record, verdict)
            for record, verdict in slice_.neighbours
            if neighbours.get(record.edge_id) != (record, verdict)
        ],
        gone_neighbours=sorted(set(neighbours) - {record.edge_id for record, _ in slice_.neighbours}),
        probe_targets=[
            _probe_target(edge_id, target, keys)
            for target in slice_.probe_targets
            if targets.get(target.edge_id) != target
        ],
        gone_probe_targets=sorted(set(targets) - {target.edge_id for target in slice_.probe_targets}),
        routes=[
            _route(route)
            for route in slice_.routes
            if route.room not in routes or routes[route.room].essence != route.essence
        ],
        gone_rooms=sorted(set(routes) - {route.room for route in slice_.routes}),
    )


def _neighbour(record: EdgeRecord, verdict: EdgeVerdict) -> routes_pb2.Neighbour:
    return routes_pb2.Neighbour(
        edge_id=record.edge_id,
        region=record.region,
        latitude_degrees=record.latitude_degrees,
        longitude_degrees=record.longitude_degrees,
        status=_STATUS[verdict],
        trunk_address=record.trunk_address,
        probe_address=record.probe_address,
        http_url=record.http_url,
    )


def _probe_target(edge_id: str, target: ProbeTarget, keys: Keys) -> routes_pb2.ProbeTarget:
    return routes_pb2.ProbeTarget(
        edge_id=target.edge_id,
        pace=routes_pb2.PROBE_PACE_BACKUP if target.warm else routes_pb2.PROBE_PACE_CANDIDATE,
        key=keys.pair_key(edge_id, target.edge_id),
    )


def _route(route: Route) -> routes_pb2.StreamRoute:
    return routes_pb2.StreamRoute(
        room=route.room,
        incarnation=route.incarnation,
        source_edge=route.source_edge,
        primary=route.primary,
        backup=route.backup,
        reason=route.reason,
        cost_ms=route.cost_ms,
        delay_ms=route.delay_ms,
        codecs=route.codecs,
    )
