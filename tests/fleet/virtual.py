"""A fleet in virtual time, from packets to routes: probes, trunk counters, reports, control. No socket, no clock.

The edges' telemetry and control's registry and planner are the product's own. Of the packet path there is only what
telemetry reads from it, the counters of `core/mesh/hop.rs`; a leaf's media follows control's primary route, so that
whatever moves here has been moved by control.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from control.fleet.planner import Planner
from control.fleet.registry import FleetRegistry
from control.fleet.reports import check_report
from edge.mesh.port import DataplaneSample, StreamSample, TrunkSample
from edge.mesh.probing import PeerProbe
from edge.mesh.telemetry import REPORT_EVERY_S, Telemetry
from edge.mesh.view import EdgeLoad
from tradewind.v1 import edge_pb2

MEDIA_PPS = 240
HEARTBEATS_PPS = 10
SAMPLE_EVERY_S = 0.25
DECIDE_EVERY_S = 1.0
URGENT_SETTLE_S = 0.05


@dataclass
class Link:
    """Both directions alike. Loss comes in bursts of `burst` packets (Gilbert-Elliott with certain loss while bad)."""

    rtt_ms: float
    loss_ratio: float = 0.0
    burst: float = 3.0
    dark_until: float = 0.0
    lose_next: int = 0
    bad: bool = False

    def loses(self, now: float, rng: random.Random) -> bool:
        """Whether the next packet is lost."""
        if now < self.dark_until:
            return True
        if self.lose_next:
            self.lose_next -= 1
            return True
        leave = 1 / self.burst
        enter = self.loss_ratio * leave / (1 - self.loss_ratio)
        self.bad = rng.random() >= leave if self.bad else rng.random() < enter
        return self.bad


@dataclass
class TrunkCounters:
    """The receiving end of a trunk, as `core/mesh/hop.rs` keeps it for telemetry."""

    rtt_ms: float = 0.0
    received: int = 0
    lost: int = 0
    missing: int = 0
    loss_30s: float = 0.0
    bursts: int = 0
    window: deque[tuple[float, bool]] = field(default_factory=deque)
    smoothed_at: float = 0.0

    def handle_packet(self, lost: bool, now: float) -> None:
        """A packet was sent; what is missing shows when the next one comes."""
        if lost:
            self.missing += 1
            return
        self.lost += self.missing
        self.bursts += self.missing > 0
        self.window.extend([(now, True)] * self.missing)
        self.missing = 0
        self.received += 1
        self.window.append((now, False))

    def loss_2s(self, now: float) -> float:
        """Of the last two seconds."""
        while self.window and now - self.window[0][0] > 2.0:
            self.window.popleft()
        return sum(lost for _, lost in self.window) / len(self.window) if self.window else 0.0

    def handle_tick(self, now: float) -> None:
        """Once a second: the 30 s mean of the fresh ratio."""
        if now - self.smoothed_at >= 1.0:
            self.loss_30s += (1 - math.exp(-1 / 30)) * (self.loss_2s(now) - self.loss_30s)
            self.smoothed_at = now

    def sample(self, peer: str, now: float) -> TrunkSample:
        """What the packet path's snapshot would say."""
        burst = self.lost / self.bursts if self.bursts else 0.0
        return TrunkSample(
            peer, True, self.rtt_ms, 0.5, self.loss_2s(now), self.loss_30s, burst, self.received, self.lost, 0.1
        )


class VirtualFleet:
    """One room, published at the source and watched at one leaf; all of it a function of the seed."""

    def __init__(self, rtts: Mapping[tuple[str, str], float], source: str, leaf: str, *, seed: int) -> None:
        self.rng = random.Random(seed)
        self.links = {frozenset(pair): Link(rtt) for pair, rtt in rtts.items()}
        self.edges = sorted({edge for pair in rtts for edge in pair})
        self.source, self.leaf = source, leaf
        self.now = 0.0
        self.registry = FleetRegistry()
        self.planner = Planner(self.registry, now=0.0)
        self.routes: list[tuple[float, tuple[str, ...]]] = []
        self._events: list[tuple[float, int, str, tuple[object, ...]]] = []
        self._order = 0
        self._telemetry = {
            edge: Telemetry(edge_pb2.EdgeDescription(region=edge, trunk_address=f"{edge}:1")) for edge in self.edges
        }
        self._probes = {
            (own, peer): PeerProbe(own, peer, bytes(32), nonce_key=bytes(16), instance=1, now=0.0)
            for own in self.edges
            for peer in self.edges
            if own != peer
        }
        self._trunks: dict[tuple[str, str], TrunkCounters] = {}
        self._reported_at = dict.fromkeys(self.edges, float("-inf"))
        self._decide_at = 0.0
        for position, edge in enumerate(self.edges):
            self.registry.handle_enrolled(edge)
            # Edges do not report in the same moment.
            self._at(position * 0.07, "sample", edge)
        for own, peer in self._probes:
            self._at(self.rng.random(), "probe", own, peer)
        self._at(0.0, "media", "")
        self._at(0.5, "decide", "")

    @property
    def path(self) -> tuple[str, ...]:
        """From the source to the leaf, as routed now; empty before the first route."""
        return self.routes[-1][1] if self.routes else ()

    def link(self, one: str, other: str) -> Link:
        """The link between two edges, to be made bad."""
        return self.links[frozenset((one, other))]

    def run(self, seconds: float) -> None:
        """Lets time pass."""
        until = self.now + seconds
        while self._events[0][0] <= until:
            self.now, _, kind, args = heapq.heappop(self._events)
            getattr(self, f"_on_{kind}")(*args)
        self.now = until

    def _at(self, when: float, kind: str, *args: object) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, kind, args))

    def _on_media(self, _: str) -> None:
        for own, peer in pairwise(self.path):
            self._cross(own, peer)
        self._at(self.now + 1 / MEDIA_PPS, "media", "")

    def _cross(self, sender: str, receiver: str) -> None:
        link = self.link(sender, receiver)
        for pair in ((sender, receiver), (receiver, sender)):
            if pair not in self._trunks:
                self._trunks[pair] = TrunkCounters(rtt_ms=link.rtt_ms)
        lost = link.loses(self.now, self.rng)
        self._trunks[sender, receiver].handle_packet(lost, self.now)
        # Heartbeats go both ways and bring the round trip (RFC 9002 section 5.3).
        if self.rng.random() < HEARTBEATS_PPS / MEDIA_PPS:
            back = self._trunks[receiver, sender]
            back_lost = link.loses(self.now, self.rng)
            back.handle_packet(back_lost, self.now)
            if not back_lost and not lost:
                for trunk in (back, self._trunks[sender, receiver]):
                    trunk.rtt_ms += (link.rtt_ms - trunk.rtt_ms) / 8

    def _on_probe(self, own: str, peer: str) -> None:
        probe = self._probes[own, peer]
        for _ in range(probe.burst_packets):
            self._send(own, peer, probe.make_probe(now=self.now, clock_us=int(self.now * 1e6)))
        self._at(self.now + probe.burst_interval_s, "probe", own, peer)

    def _send(self, sender: str, receiver: str, datagram: bytes) -> None:
        link = self.link(sender, receiver)
        if not link.loses(self.now, self.rng):
            delay_s = (link.rtt_ms / 2 + self.rng.random()) / 1000
            self._at(self.now + delay_s, "datagram", receiver, sender, datagram)

    def _on_datagram(self, receiver: str, sender: str, datagram: bytes) -> None:
        probe = self._probes[receiver, sender]
        answer = probe.handle_datagram(datagram, now=self.now, clock_us=int(self.now * 1e6))
        if isinstance(answer, bytes):
            self._send(receiver, sender, answer)

    def _on_sample(self, edge: str) -> None:
        """What `edge.mesh.agent` does four times a second."""
        telemetry = self._telemetry[edge]
        trunks = []
        for (sender, receiver), trunk in self._trunks.items():
            if receiver == edge:
                trunk.handle_tick(self.now)
                trunks.append(trunk.sample(sender, self.now))
        streams: tuple[StreamSample, ...] = ()
        if edge == self.source:
            streams = (StreamSample("demo", 1, True, ("h264",), 0, (), "source"),)
        elif edge == self.leaf and self.path:
            streams = (StreamSample("demo", 1, False, ("h264",), 1, self.path, "steady"),)
        measured = {
            peer: each
            for (own, peer), probe in self._probes.items()
            if own == edge and (each := probe.measure(now=self.now)) is not None
        }
        sample = DataplaneSample(tuple(trunks), streams, EdgeLoad(), {})
        telemetry.handle_sample(sample, measured, draining=False, now=self.now)
        if self.now - self._reported_at[edge] >= REPORT_EVERY_S or telemetry.is_urgent:
            self._reported_at[edge] = self.now
            report = telemetry.make_report(now=self.now)
            assert check_report(report, edge, self.registry.edges) == ()
            if self.registry.handle_report(edge, report, self.now):
                self._at(self.now + URGENT_SETTLE_S, "decide", "urgent")
        self._at(self.now + SAMPLE_EVERY_S, "sample", edge)

    def _on_decide(self, why: str) -> None:
        if not why:
            self._at(self.now + DECIDE_EVERY_S, "decide", "")
        self.planner.step(self.now)
        for (own, peer), probe in self._probes.items():
            slice_ = self.planner.plan.slices.get(own)
            targets = slice_.probe_targets if slice_ else ()
            probe.warm = any(target.edge_id == peer and target.warm for target in targets)
        for route in self.planner.plan.table.routes:
            if route.edge_id == self.leaf and route.primary[::-1] != self.path:
                self.routes.append((self.now, route.primary[::-1]))
