"""Small worlds for the brain's tests: edges on a round-trip matrix, and a fleet driven through virtual time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from control.brain import decide, start
from control.brain.world import BrainState, Decision, EdgeState, LinkClaim, Route, Snapshot, StreamState

PLACES = {
    "sg": (1.35, 103.82),
    "fra": (50.11, 8.68),
    "iad": (38.95, -77.45),
    "dxb": (25.25, 55.36),
    "bom": (19.08, 72.88),
}
THREE = {("sg", "fra"): 160.0, ("fra", "iad"): 90.0, ("sg", "iad"): 230.0}
FIVE = {
    **THREE,
    ("sg", "bom"): 60.0,
    ("bom", "fra"): 120.0,
    ("sg", "dxb"): 80.0,
    ("dxb", "fra"): 110.0,
    ("bom", "dxb"): 40.0,
    ("bom", "iad"): 200.0,
    ("dxb", "iad"): 190.0,
}


def claim(
    from_edge: str, to_edge: str, rtt_ms: float, *, loss: float = 0.0, now: float = 0.0, raw_offset_ms: float = 0.0
) -> LinkClaim:
    """A settled measurement: ten minutes of history, one-way delay half the round trip plus a clock offset."""
    return LinkClaim(
        from_edge=from_edge,
        to_edge=to_edge,
        rtt_ms=rtt_ms,
        rtt_variance_ms=1.0,
        rtt_min_ms=rtt_ms,
        rtt_p50_ms=rtt_ms,
        one_way_p50_raw_ms=rtt_ms / 2 + raw_offset_ms,
        one_way_p95_raw_ms=rtt_ms / 2 + 1.0 + raw_offset_ms,
        jitter_ms=0.5,
        loss_2s_ratio=loss,
        packets_2s=480,
        loss_30s_ratio=loss,
        packets_30s=7200,
        loss_10min_ratio=loss,
        packets_10min=144_000,
        mean_burst_packets=3.0,
        received_at=now,
    )


class Fleet:
    """Edges and links that a test bends while virtual seconds pass."""

    def __init__(self, rtts: Mapping[tuple[str, str], float] = THREE, *, clocks: Mapping[str, float] | None = None):
        self.edges = sorted({edge for pair in rtts for edge in pair})
        self.clocks = dict(clocks or {})
        self.now = 1000.0
        self.claims: dict[tuple[str, str], LinkClaim] = {}
        for (a, b), rtt in rtts.items():
            self.set_link(a, b, rtt)
        self.silent: set[str] = set()
        self.last_report = dict.fromkeys(self.edges, self.now)
        self.cpu: dict[str, float] = {}
        self.viewers: dict[str, int] = {}
        self.places = dict(PLACES)
        self.streams: dict[str, StreamState] = {}
        self.watched: dict[str, set[str]] = {}
        self.state: BrainState = start(self.now)
        self.decision: Decision | None = None

    def set_link(self, a: str, b: str, rtt_ms: float, loss: float = 0.0) -> None:
        """Settled numbers in both directions."""
        offset = self.clocks.get(b, 0.0) - self.clocks.get(a, 0.0)
        self.claims[a, b] = claim(a, b, rtt_ms, loss=loss, now=self.now, raw_offset_ms=offset)
        self.claims[b, a] = claim(b, a, rtt_ms, loss=loss, now=self.now, raw_offset_ms=-offset)

    def degrade(self, a: str, b: str, extra_rtt_ms: float, loss: float = 0.0) -> None:
        """The link turns bad now: smoothed values follow at once, medians and minima have not heard of it yet."""
        for pair in ((a, b), (b, a)):
            before = self.claims[pair]
            self.claims[pair] = replace(before, rtt_ms=before.rtt_ms + extra_rtt_ms, loss_2s_ratio=loss)

    def cut(self, a: str, b: str) -> None:
        """Nothing arrives any more."""
        for pair in ((a, b), (b, a)):
            self.claims[pair] = replace(self.claims[pair], reachable=False)

    def publish(self, room: str, source: str, watched_at: Iterable[str] = ()) -> None:
        """A live stream, and edges that take it over whatever route they are given."""
        self.streams[room] = StreamState(room, 1, source)
        self.watched[room] = set(watched_at)

    def restart_control(self) -> None:
        """A new leader: nothing is remembered, media flows on."""
        self.state = start(self.now)

    def tick(self, seconds: float = 1.0) -> Decision:
        """Time passes, everyone reports, the brain decides."""
        self.now += seconds
        for edge in self.edges:
            if edge not in self.silent:
                self.last_report[edge] = self.now
        self.claims = {
            pair: each if pair[1] in self.silent else replace(each, received_at=self.now)
            for pair, each in self.claims.items()
        }
        edges = tuple(
            EdgeState(
                edge_id=edge,
                region=edge,
                latitude_degrees=self.places[edge][0] if edge in self.places else None,
                longitude_degrees=self.places[edge][1] if edge in self.places else None,
                cpu_ratio=self.cpu.get(edge, 0.0),
                viewers=self.viewers.get(edge, 0),
                last_report_at=self.last_report[edge],
            )
            for edge in self.edges
        )
        snapshot = Snapshot(edges, tuple(self.claims.values()), tuple(self.streams.values()))
        self.decision = decide(snapshot, self.state, self.now)
        self.state = self.decision.state
        self._flow()
        return self.decision

    def _flow(self) -> None:
        """Media follows the routes: the next report says so."""
        assert self.decision is not None
        paths: dict[str, dict[str, tuple[str, ...]]] = {room: {} for room in self.streams}
        for route in self.decision.table.routes:
            if route.edge_id in self.watched[route.room]:
                paths[route.room][route.edge_id] = route.primary[::-1]
        self.streams = {room: replace(each, active_paths=paths[room]) for room, each in self.streams.items()}

    def run(self, seconds: int) -> None:
        """As many reports, one a second."""
        for _ in range(seconds):
            self.tick()

    def route(self, leaf: str, room: str = "demo") -> Route:
        """The newest route of `leaf`."""
        assert self.decision is not None, "tick first"
        return next(each for each in self.decision.table.routes if (each.edge_id, each.room) == (leaf, room))

    def seconds_until(self, leaf: str, primary: tuple[str, ...], limit: int = 200) -> int:
        """How many reports pass until `leaf` takes this primary."""
        for passed in range(1, limit + 1):
            self.tick()
            if self.route(leaf).primary == primary:
                return passed
        raise AssertionError(f"{leaf} still goes {self.route(leaf).primary} after {limit} s: {self.route(leaf).reason}")
