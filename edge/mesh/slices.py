"""Route slices from control: checked, ordered by (leader epoch, version), and kept on disk.

The file holds probe keys, so only its owner may read it. A damaged file is as good as none: the edge waits for control.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from edge.mesh.errors import SliceRefused
from edge.mesh.prober import ProbeTarget
from edge.mesh.settings import MeshSettings
from edge.mesh.view import FleetView, Neighbour, Route
from tradewind.common.logging import get_logger
from tradewind.v1 import edge_pb2, routes_pb2

log = get_logger(__name__)

FILE_NAME = "routes.bin"
# Two relays and both ends; a path that is longer did not come from our control.
PATH_MAX_EDGES = 8
KEY_BYTES = 32

_STATUS = {
    edge_pb2.EDGE_STATUS_UP: "up",
    edge_pb2.EDGE_STATUS_SUSPECT: "suspect",
    edge_pb2.EDGE_STATUS_DOWN: "down",
}


@dataclass(frozen=True, slots=True)
class CheckedSlice:
    """A slice that may be applied: the view for the edge, trunk addresses, probe targets."""

    view: FleetView
    trunk_addresses: dict[str, str]
    probe_targets: tuple[ProbeTarget, ...]


def check_slice(message: routes_pb2.RouteSlice, settings: MeshSettings, current: tuple[int, int]) -> CheckedSlice:
    """Judges a slice. `current` is the (leader epoch, version) in use. Raises SliceRefused."""
    order = (message.leader_epoch, message.version)
    if message.leader_epoch < current[0]:
        raise SliceRefused("stale_epoch", f"epoch {message.leader_epoch} is older than {current[0]}")
    if order < current:
        raise SliceRefused("stale_version", f"version {message.version} is older than {current[1]}")
    neighbours = tuple(_neighbour(each) for each in message.neighbours)
    known = {each.edge_id for each in neighbours} | {settings.edge_id}
    if len(known) != len(neighbours) + 1:
        raise SliceRefused("bad_slice", "an edge is named twice, or this one is its own neighbour")
    routes = tuple(_route(each, settings.edge_id, known) for each in message.routes)
    view = FleetView(
        message.leader_epoch,
        message.version,
        neighbours,
        routes,
        tuple((key.key_id, key.public_key) for key in message.token_keys if len(key.public_key) == KEY_BYTES),
    )
    by_id = {each.edge_id: each for each in neighbours}
    trunks = {}
    for each in neighbours:
        own = settings.peer_addresses.get(each.edge_id)
        address = (own.trunk if own else "") or each.trunk_address
        if address:
            trunks[each.edge_id] = address
    targets = []
    for target in message.probe_targets:
        peer = by_id.get(target.edge_id)
        if peer is None or len(target.key) != KEY_BYTES or target.pace not in _PACES:
            raise SliceRefused("bad_slice", f"probe target {target.edge_id[:40]!r} is unknown, or lacks key or pace")
        own = settings.peer_addresses.get(target.edge_id)
        address = (own.probe if own else "") or peer.probe_address
        targets.append(ProbeTarget(target.edge_id, address, target.key, target.pace == routes_pb2.PROBE_PACE_BACKUP))
    return CheckedSlice(view, trunks, tuple(targets))


def merge_delta(base: routes_pb2.RouteSlice | None, delta: routes_pb2.RouteDelta) -> routes_pb2.RouteSlice:
    """The whole slice that control means. Raises SliceRefused when `base`, with which this edge works, is another."""
    order = (delta.leader_epoch, delta.base_version)
    if base is None or (base.leader_epoch, base.version) != order:
        have = "nothing" if base is None else f"{base.leader_epoch}.{base.version}"
        raise SliceRefused("missing_base", f"changes to {order[0]}.{order[1]}, but this edge works with {have}")
    whole = routes_pb2.RouteSlice(leader_epoch=delta.leader_epoch, version=delta.version, token_keys=base.token_keys)
    gone = set(delta.gone_neighbours)
    neighbours = {each.edge_id: each for each in (*base.neighbours, *delta.neighbours) if each.edge_id not in gone}
    gone = set(delta.gone_probe_targets)
    targets = {each.edge_id: each for each in (*base.probe_targets, *delta.probe_targets) if each.edge_id not in gone}
    gone = set(delta.gone_rooms)
    routes = {each.room: each for each in (*base.routes, *delta.routes) if each.room not in gone}
    whole.neighbours.extend(neighbours[edge] for edge in sorted(neighbours))
    whole.probe_targets.extend(targets[edge] for edge in sorted(targets))
    whole.routes.extend(routes[room] for room in sorted(routes))
    return whole


def save_slice(message: routes_pb2.RouteSlice, data_dir: Path) -> None:
    """Keeps the slice for the next start; replaced in one step."""
    content = message.SerializeToString(deterministic=True)
    scratch = data_dir / f".{FILE_NAME}"
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(hashlib.sha256(content).digest() + content)
    scratch.replace(data_dir / FILE_NAME)


def load_slice(data_dir: Path) -> routes_pb2.RouteSlice | None:
    """The last good slice, or None when there is none that can be read."""
    path = data_dir / FILE_NAME
    try:
        stored = path.read_bytes()
        digest, content = stored[:32], stored[32:]
        if hashlib.sha256(content).digest() == digest:
            return routes_pb2.RouteSlice.FromString(content)
    except FileNotFoundError:
        return None
    except (OSError, DecodeError) as error:
        log.warning("stored_routes_unreadable", path=str(path), error=str(error))
        return None
    log.warning("stored_routes_damaged", path=str(path))
    return None


_PACES = (routes_pb2.PROBE_PACE_CANDIDATE, routes_pb2.PROBE_PACE_BACKUP)


def _neighbour(message: routes_pb2.Neighbour) -> Neighbour:
    status = _STATUS.get(message.status)
    if status is None:
        raise SliceRefused("bad_slice", f"edge {message.edge_id[:40]!r} has no known status")
    return Neighbour(
        message.edge_id,
        message.region,
        message.latitude_degrees,
        message.longitude_degrees,
        status,
        message.trunk_address,
        message.probe_address,
        message.http_url,
        message.viewers,
    )


def _route(message: routes_pb2.StreamRoute, own_id: str, known: set[str]) -> Route:
    for path in (message.primary, message.backup):
        if not path and len(message.primary):
            continue
        name = f"room {message.room[:40]!r}: {' '.join(path)[:200]}"
        if len(set(path)) != len(path):
            raise SliceRefused("route_loop", f"{name} passes an edge twice")
        if not set(path) <= known:
            raise SliceRefused("unknown_edge", f"{name} names an edge that is no neighbour")
        if not 2 <= len(path) <= PATH_MAX_EDGES or path[0] != own_id or path[-1] != message.source_edge:
            raise SliceRefused("bad_slice", f"{name} does not lead from {own_id} to {message.source_edge[:40]!r}")
    return Route(
        message.room,
        message.incarnation,
        message.source_edge,
        tuple(message.primary),
        tuple(message.backup),
        message.reason,
        tuple(message.codecs),
    )
