"""What control knows about the fleet: edges, their claims about links, and the directory of streams."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from control.brain.world import EdgeState, LinkClaim, Snapshot, StreamState
from control.fleet.authority import write_private
from control.fleet.reports import to_claim
from tradewind.v1 import telemetry_pb2


@dataclass(frozen=True, slots=True)
class EdgeRecord:
    """An enrolled edge; what it told about itself survives a restart of control."""

    edge_id: str
    region: str = ""
    latitude_degrees: float = 0.0
    longitude_degrees: float = 0.0
    trunk_address: str = ""
    probe_address: str = ""
    http_url: str = ""

    @property
    def described(self) -> bool:
        """Whether neighbours can reach it."""
        return bool(self.trunk_address or self.probe_address)


@dataclass(frozen=True, slots=True)
class EdgeFacts:
    """What the operator says about an edge; it counts more than what the edge says."""

    latitude_degrees: float | None = None
    longitude_degrees: float | None = None
    provider: str = ""
    continent: str = ""


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One stream as one edge sees it."""

    room: str
    incarnation: int
    local: bool
    codecs: tuple[str, ...]
    viewers: int
    active_path: tuple[str, ...]
    phase: str


@dataclass(slots=True)
class EdgeLive:
    """What an edge has reported since control started."""

    heard_at: float
    hosts: int = 0
    viewers: int = 0
    cpu_ratio: float = 0.0
    egress_utilisation: float = 0.0
    draining: bool = False
    claims: dict[str, LinkClaim] = field(default_factory=dict)
    streams: dict[tuple[str, int], StreamRecord] = field(default_factory=dict)


class FleetRegistry:
    """Kept current by reports; asked for snapshots. Knows no clock."""

    def __init__(
        self,
        path: Path | None = None,
        tariffs_usd_per_gb: Mapping[tuple[str, str], float] | None = None,
        facts: Mapping[str, EdgeFacts] | None = None,
    ) -> None:
        """`path` keeps known edges over restarts; None keeps them in memory only."""
        self._path = path
        self._facts = dict(facts or {})
        self._tariffs = dict(tariffs_usd_per_gb or {})
        self.edges: dict[str, EdgeRecord] = {}
        self.live: dict[str, EdgeLive] = {}
        if path is not None and path.exists():
            for record in json.loads(path.read_text()):
                self.edges[record["edge_id"]] = EdgeRecord(**record)
        self.known_at_start = frozenset(self.edges)

    def handle_enrolled(self, edge_id: str) -> None:
        """An edge has got its certificate, or shows one that we signed."""
        if edge_id not in self.edges:
            self.edges[edge_id] = EdgeRecord(edge_id)
            self._save()

    def handle_report(self, edge_id: str, report: telemetry_pb2.ReportRequest, now: float) -> bool:
        """Takes a checked report; true when a decision should not wait for its turn."""
        live = self.live.get(edge_id)
        first = live is None
        if live is None:
            live = self.live[edge_id] = EdgeLive(now)
        live.heard_at = now
        if report.HasField("description"):
            self._describe(edge_id, report)
        if report.HasField("load"):
            load = report.load
            live.hosts, live.viewers, live.draining = load.hosts, load.viewers, load.draining
            live.cpu_ratio, live.egress_utilisation = load.cpu_ratio, load.egress_utilisation
        before = {key for key, stream in live.streams.items() if stream.local}
        reachable = {peer for peer, claim in live.claims.items() if claim.reachable}
        if report.full:
            live.claims.clear()
            live.streams.clear()
        for peer in report.gone_links:
            live.claims.pop(peer, None)
        for key in report.gone_streams:
            live.streams.pop((key.room, key.incarnation), None)
        for link in report.links:
            live.claims[link.peer_edge_id] = to_claim(link, edge_id, now)
        # A delta leaves out what has not changed: the report confirms those claims too.
        for peer, claim in live.claims.items():
            if claim.received_at != now:
                live.claims[peer] = replace(claim, received_at=now)
        for stream in report.streams:
            live.streams[stream.room, stream.incarnation] = StreamRecord(
                stream.room,
                stream.incarnation,
                stream.local,
                tuple(stream.codecs),
                stream.viewers,
                tuple(stream.active_path),
                stream.phase,
            )
        sources = {key for key, stream in live.streams.items() if stream.local}
        lost = {peer for peer in reachable if peer in live.claims and not live.claims[peer].reachable}
        return first or sources != before or bool(lost)

    def directory(self, down: Collection[str] = ()) -> dict[str, tuple[str, StreamRecord]]:
        """Room -> (source edge, its record): the highest incarnation wins, at equal ones the first edge by name.

        A source that this leader has not heard yet is known by those to whom its stream flows: a table without it would
        end what works.
        """
        found: dict[str, tuple[str, StreamRecord]] = {}
        for edge_id in sorted(self.live):
            if edge_id in down:
                continue
            for stream in self.live[edge_id].streams.values():
                held = found.get(stream.room)
                source = edge_id if stream.local else self._unheard_source(stream, down)
                if source and (held is None or stream.incarnation > held[1].incarnation):
                    found[stream.room] = (source, stream)
        return found

    def _unheard_source(self, stream: StreamRecord, down: Collection[str]) -> str:
        source = stream.active_path[0] if stream.active_path else ""
        return source if source in self.edges and source not in self.live and source not in down else ""

    def snapshot(self, down: Collection[str] = ()) -> Snapshot:
        """The fleet for the brain; streams of edges in `down` are over."""
        edges = []
        for edge_id, record in sorted(self.edges.items()):
            live = self.live.get(edge_id)
            if not record.described:
                continue
            # Null island means that nobody has set the coordinates.
            placed = (record.latitude_degrees, record.longitude_degrees) != (0.0, 0.0)
            own = (record.latitude_degrees, record.longitude_degrees) if placed else (None, None)
            facts = self._facts.get(edge_id, EdgeFacts())
            latitude, longitude = own if facts.latitude_degrees is None else _place(facts)
            edges.append(
                EdgeState(
                    edge_id=edge_id,
                    region=record.region,
                    latitude_degrees=latitude,
                    longitude_degrees=longitude,
                    provider=facts.provider,
                    continent=facts.continent,
                    viewers=live.viewers if live else 0,
                    cpu_ratio=live.cpu_ratio if live else 0.0,
                    egress_utilisation=live.egress_utilisation if live else 0.0,
                    draining=live.draining if live else False,
                    last_report_at=live.heard_at if live else float("-inf"),
                )
            )
        claims = tuple(claim for live in self.live.values() for claim in live.claims.values())
        streams = tuple(
            StreamState(room, stream.incarnation, source, self.active_paths(room, stream.incarnation), stream.codecs)
            for room, (source, stream) in sorted(self.directory(down).items())
        )
        return Snapshot(tuple(edges), claims, streams, self._tariffs)

    def active_paths(self, room: str, incarnation: int) -> dict[str, tuple[str, ...]]:
        """Which edges have the stream now, and over which path."""
        found = {}
        for edge_id, live in self.live.items():
            stream = live.streams.get((room, incarnation))
            if stream is not None and not stream.local and stream.active_path:
                found[edge_id] = stream.active_path
        return found

    def heard_ratio(self) -> float:
        """Share of the edges known at start that have reported since; 1 when none were known."""
        if not self.known_at_start:
            return 1.0
        return len(self.known_at_start & self.live.keys()) / len(self.known_at_start)

    def _describe(self, edge_id: str, report: telemetry_pb2.ReportRequest) -> None:
        description = report.description
        record = EdgeRecord(
            edge_id,
            description.region,
            description.latitude_degrees,
            description.longitude_degrees,
            description.trunk_address,
            description.probe_address,
            description.http_url,
        )
        if self.edges.get(edge_id) != record:
            self.edges[edge_id] = record
            self._save()

    def _save(self) -> None:
        if self._path is not None:
            records = [asdict(record) for _, record in sorted(self.edges.items())]
            write_private(self._path, json.dumps(records, indent=1).encode())


def _place(facts: EdgeFacts) -> tuple[float | None, float | None]:
    return facts.latitude_degrees, facts.longitude_degrees
