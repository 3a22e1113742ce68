"""What an edge knows of the fleet: the slice it works with, as plain values for the rest of the edge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another edge. `status` is up, suspect or down."""

    edge_id: str
    region: str
    latitude_degrees: float
    longitude_degrees: float
    status: str
    trunk_address: str
    probe_address: str
    http_url: str
    viewers: int


@dataclass(frozen=True, slots=True)
class Route:
    """How this edge reaches a room's source; paths begin here and end there. `codecs` is empty when unknown."""

    room: str
    incarnation: int
    source_edge: str
    primary: tuple[str, ...]
    backup: tuple[str, ...]
    reason: str
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FleetView:
    """The last good slice. `token_keys` maps key ids to raw Ed25519 public keys."""

    leader_epoch: int
    version: int
    neighbours: tuple[Neighbour, ...]
    routes: tuple[Route, ...]
    token_keys: tuple[tuple[str, bytes], ...]

    def route(self, room: str) -> Route | None:
        """The route to the newest incarnation of `room`, if it is live somewhere else."""
        found = [route for route in self.routes if route.room == room]
        return max(found, key=lambda route: route.incarnation, default=None)

    def neighbour(self, edge_id: str) -> Neighbour | None:
        """The edge of that id."""
        return next((peer for peer in self.neighbours if peer.edge_id == edge_id), None)


EMPTY_VIEW = FleetView(0, 0, (), (), ())


@dataclass(frozen=True, slots=True)
class EdgeLoad:
    """How busy this edge is; ratios 0-1."""

    hosts: int = 0
    viewers: int = 0
    cpu_ratio: float = 0.0
    egress_utilisation: float = 0.0
    draining: bool = False
