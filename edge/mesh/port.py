"""The mesh's view of the packet path: a small protocol, and the adapter to the native module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.mesh.errors import SliceRefused
from edge.mesh.view import EdgeLoad, Route

if TYPE_CHECKING:
    from edge.dataplane import Dataplane


@dataclass(frozen=True, slots=True)
class TrunkSample:
    """One trunk's counters and estimates, peer -> us; ratios 0-1."""

    peer: str
    connected: bool
    rtt_ms: float
    jitter_ms: float
    loss_2s_ratio: float
    loss_30s_ratio: float
    mean_burst_packets: float
    packets_received: int
    packets_lost: int
    utilisation: float


@dataclass(frozen=True, slots=True)
class StreamSample:
    """One source as this edge sees it; the path leads from the source to here."""

    room: str
    incarnation: int
    local: bool
    codecs: tuple[str, ...]
    viewers: int
    active_path: tuple[str, ...]
    phase: str
    # Media bytes that have arrived since the source appeared here.
    bytes_received: int = 0


@dataclass(frozen=True, slots=True)
class DataplaneSample:
    """One reading of the packet path's counters."""

    trunks: tuple[TrunkSample, ...]
    streams: tuple[StreamSample, ...]
    load: EdgeLoad
    # CPU seconds of the packet path's threads since their start, by thread.
    cpu_seconds: Mapping[str, float]
    # Bytes to all trunks since the start.
    trunk_bytes_sent: int = 0


class MeshPort(Protocol):
    """What the mesh asks of the packet path."""

    def apply_peers(self, addresses: Mapping[str, str]) -> None:
        """Edge id -> `host:port` of its trunk."""

    def apply_routes(self, routes: Sequence[Route]) -> None:
        """The whole table. Raises SliceRefused and keeps the old one when it loops or names an unknown edge. Waits for
        the packet path's verdict, and may be called in another thread."""

    def sample(self) -> DataplaneSample: ...


class NativePort:
    """`MeshPort` over `edge.dataplane`."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane

    def apply_peers(self, addresses: Mapping[str, str]) -> None:
        """See MeshPort."""
        from edge.dataplane import PeerConfig

        peers = [PeerConfig(edge_id=edge_id, address=address) for edge_id, address in addresses.items()]
        self._dataplane.set_peers(peers)

    def apply_routes(self, routes: Sequence[Route]) -> None:
        """See MeshPort."""
        from edge.dataplane import CommandRejected, StreamRoute

        table = [
            StreamRoute(
                room=route.room,
                incarnation=route.incarnation,
                source_edge=route.source_edge,
                primary=list(route.primary),
                backup=list(route.backup),
                reason=route.reason,
            )
            for route in routes
        ]
        try:
            self._dataplane.set_routes(table)
        except CommandRejected as error:
            reason, detail = (*map(str, error.args), "", "")[:2]
            raise SliceRefused(reason or "rejected", detail) from error

    def sample(self) -> DataplaneSample:
        """See MeshPort."""
        snapshot = self._dataplane.snapshot()
        trunks = tuple(
            TrunkSample(
                peer=trunk.peer,
                connected=trunk.connected,
                rtt_ms=trunk.rtt_ms,
                jitter_ms=trunk.jitter_ms,
                loss_2s_ratio=trunk.loss_ratio,
                loss_30s_ratio=trunk.loss_ratio_30s,
                mean_burst_packets=trunk.mean_burst_packets,
                packets_received=trunk.packets_received,
                packets_lost=trunk.packets_lost,
                utilisation=trunk.utilisation,
            )
            for trunk in snapshot.trunks
        )
        streams = tuple(
            StreamSample(
                room=stream.room,
                incarnation=stream.incarnation,
                local=stream.local,
                # A shard and the trunk write them differently, and in the order of their tracks.
                codecs=tuple(sorted({codec.lower() for codec in stream.codecs})),
                viewers=stream.viewers,
                active_path=tuple(stream.path),
                phase=stream.phase,
                bytes_received=stream.bytes,
            )
            for stream in snapshot.streams
        )
        trunk_bytes_sent = sum(trunk.bytes_sent for trunk in snapshot.trunks)
        load = EdgeLoad(hosts=snapshot.hosts, viewers=snapshot.viewers)
        return DataplaneSample(trunks, streams, load, dict(snapshot.cpu_seconds), trunk_bytes_sent)
