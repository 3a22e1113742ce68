"""What an edge reports: probes and trunk counters merged per link, streams, load; whole, or what has changed.

Pure but for the messages it builds. A delta is taken against what was really sent last, so a report that waits is
simply replaced by a newer one: the queue holds one place and the newest wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edge.mesh.estimators import LONG_MEMORY_S, DecayingRatio, WindowMinimum, WindowQuantiles
from edge.mesh.port import DataplaneSample, TrunkSample
from edge.mesh.probing import Measurement
from tradewind.v1 import edge_pb2, telemetry_pb2

FULL_EVERY_S = 60.0
REPORT_EVERY_S = 1.0
# Media flows when the trunk has brought so many packets within the fresh window; heartbeats alone are 20.
MEDIA_MIN_PACKETS_2S = 60
TRUNK_WINDOW_S = 2.0
# Heartbeats come ten times a second while a stream crosses the trunk.
TRUNK_HEARD_S = 0.5
# A number travels when it has moved so far since it was last sent; all travel with the full report.
CHANGE_RATIO = 0.05
CHANGE_MS = 1.0
CHANGE_LOSS = 0.001
# What does not wait for its turn (DESIGN section 6).
URGENT_LOSS_RATIO = 0.02
URGENT_P95_RATIO = 1.5
URGENT_UTILISATION = 0.8


@dataclass(frozen=True, slots=True)
class LinkReport:
    """One direction peer -> us, as it goes into a report."""

    peer: str
    by_trunk: bool
    measured: Measurement
    utilisation: float


class TrunkHistory:
    """Turns one trunk's running counters into windows."""

    def __init__(self) -> None:
        self._counters: deque[tuple[float, int, int]] = deque()
        self._steady: deque[tuple[float, int]] = deque()
        self._long = DecayingRatio(LONG_MEMORY_S)
        self._rtt_minimum = WindowMinimum()
        self._rtt_recent = WindowQuantiles()

    def handle_sample(self, trunk: TrunkSample, *, now: float) -> None:
        """One reading, about each second."""
        last = self._counters[-1] if self._counters else None
        if last is not None and (trunk.packets_received < last[1] or trunk.packets_lost < last[2]):
            # The connection is a new one and counts from the beginning.
            self._counters.clear()
            last = None
        if last is not None:
            received, lost = trunk.packets_received - last[1], trunk.packets_lost - last[2]
            self._long.handle_counts(lost, received + lost, now=now)
        self._counters.append((now, trunk.packets_received, trunk.packets_lost))
        while len(self._counters) > 2 and now - self._counters[1][0] >= 30.0:
            self._counters.popleft()
        if trunk.connected and trunk.rtt_ms > 0:
            self._rtt_minimum.handle_value(trunk.rtt_ms, now=now)
            self._rtt_recent.handle_value(trunk.rtt_ms, now=now)

    def packets(self, window_s: float, *, now: float) -> int:
        """Packets that arrived or were lost within the window."""
        if not self._counters:
            return 0
        _, received, lost = self._counters[-1]
        base = next((entry for entry in self._counters if now - entry[0] <= window_s + 0.5), self._counters[-1])
        return received + lost - base[1] - base[2]

    def measure(self, trunk: TrunkSample, probed: Measurement | None, *, now: float) -> Measurement:
        """The trunk's word on loss and round trip; one-way delay stays with the probes, whose clock is one for all
        links."""
        long_loss, long_packets = self._long.value(now=now)
        base = probed or _NOTHING
        median = self._rtt_recent.quantile(0.5, now=now)
        minimum = self._rtt_minimum.minimum(now=now)
        probed_rtt = probed is not None and probed.rtt_ms > 0
        return replace(
            base,
            reachable=True,
            age_ms=0.0,
            rtt_ms=trunk.rtt_ms,
            rtt_variance_ms=base.rtt_variance_ms,
            rtt_min_ms=base.rtt_min_ms if probed_rtt else minimum or trunk.rtt_ms,
            rtt_p50_ms=base.rtt_p50_ms if probed_rtt else median or trunk.rtt_ms,
            jitter_ms=trunk.jitter_ms,
            loss_2s_ratio=trunk.loss_2s_ratio,
            packets_2s=self.packets(TRUNK_WINDOW_S, now=now),
            loss_30s_ratio=trunk.loss_30s_ratio,
            packets_30s=self.packets(30.0, now=now),
            loss_10min_ratio=long_loss,
            packets_10min=long_packets,
            mean_burst_packets=trunk.mean_burst_packets,
        )


_NOTHING = Measurement(True, 0.0, 0.0, 0.0, 0.0, 0.0, None, None, 0.0, 0.0, 0, 0.0, 0, 0.0, 0, 0.0)


class Telemetry:
    """Holds what was sent, says what is new and whether it is urgent."""

    def __init__(self, description: edge_pb2.EdgeDescription) -> None:
        self._description = description
        self._trunks: dict[str, TrunkHistory] = {}
        self._links: dict[str, LinkReport] = {}
        self._streams: dict[tuple[str, int], telemetry_pb2.StreamReport] = {}
        self._load = edge_pb2.EdgeLoad()
        self._cpu: tuple[float, Mapping[str, float]] | None = None
        self._sent_links: dict[str, LinkReport] = {}
        self._sent_streams: dict[tuple[str, int], telemetry_pb2.StreamReport] = {}
        self._sequence = 0
        self._full_at = float("-inf")
        # Links that the last sample found lost (False) or found again (True).
        self.turned: tuple[tuple[str, bool], ...] = ()

    def handle_sample(
        self, sample: DataplaneSample, probes: Mapping[str, Measurement], *, draining: bool, now: float
    ) -> None:
        """Takes one reading of the packet path and of the prober."""
        trunks = {trunk.peer: trunk for trunk in sample.trunks}
        links: dict[str, LinkReport] = {}
        for peer in sorted({*trunks, *probes}):
            link = self._merge(peer, trunks.get(peer), probes.get(peer), now)
            if link is not None:
                links[peer] = link
        for peer in set(self._trunks) - set(trunks):
            del self._trunks[peer]
        self.turned = tuple(
            (peer, link.measured.reachable)
            for peer, link in links.items()
            if peer in self._links and self._links[peer].measured.reachable != link.measured.reachable
        )
        self._links = links
        self._streams = {
            (stream.room, stream.incarnation): telemetry_pb2.StreamReport(
                room=stream.room,
                incarnation=stream.incarnation,
                local=stream.local,
                codecs=stream.codecs,
                viewers=stream.viewers,
                active_path=stream.active_path,
                phase=stream.phase,
            )
            for stream in sample.streams
        }
        self._load = edge_pb2.EdgeLoad(
            hosts=sample.load.hosts,
            viewers=sample.load.viewers,
            cpu_ratio=self._cpu_ratio(sample.cpu_seconds, now),
            egress_utilisation=sample.load.egress_utilisation,
            draining=draining,
        )

    @property
    def is_urgent(self) -> bool:
        """Whether something has happened that control should hear of before the next second."""
        local = {key for key, stream in self._streams.items() if stream.local}
        if local != {key for key, stream in self._sent_streams.items() if stream.local}:
            return True
        return any(_is_urgent(link, self._sent_links.get(peer)) for peer, link in self._links.items())

    def handle_reconnected(self) -> None:
        """A new stream begins: the next report is full."""
        self._sequence = 0
        self._full_at = float("-inf")

    def make_report(self, *, now: float) -> telemetry_pb2.ReportRequest:
        """The next report; from here on it counts as sent."""
        full = now - self._full_at >= FULL_EVERY_S
        if full:
            self._full_at = now
            self._sent_links, self._sent_streams = {}, {}
        links = [link for peer, link in self._links.items() if _has_changed(link, self._sent_links.get(peer))]
        streams = [stream for key, stream in self._streams.items() if stream != self._sent_streams.get(key)]
        report = telemetry_pb2.ReportRequest(
            sequence_number=self._sequence,
            full=full,
            description=self._description if full else None,
            load=self._load,
            links=[_encode(link) for link in links],
            streams=streams,
            gone_links=sorted(set(self._sent_links) - set(self._links)),
            gone_streams=_keys(set(self._sent_streams) - set(self._streams)),
        )
        self._sequence += 1
        self._sent_links = {peer: link for peer, link in self._sent_links.items() if peer in self._links}
        self._sent_links.update({link.peer: link for link in links})
        self._sent_streams = dict(self._streams)
        return report

    def _merge(self, peer: str, trunk: TrunkSample | None, probed: Measurement | None, now: float) -> LinkReport | None:
        if trunk is None:
            return None if probed is None else LinkReport(peer, False, probed, 0.0)
        history = self._trunks.setdefault(peer, TrunkHistory())
        history.handle_sample(trunk, now=now)
        flows = trunk.connected and history.packets(TRUNK_WINDOW_S, now=now) >= MEDIA_MIN_PACKETS_2S
        if flows:
            return LinkReport(peer, True, history.measure(trunk, probed, now=now), trunk.utilisation)
        if probed is None:
            return None
        if not probed.reachable and trunk.connected and history.packets(TRUNK_HEARD_S, now=now) > 0:
            # The prober's word is not the last one: heartbeats and acknowledged packets cross this link right now.
            probed = replace(probed, reachable=True)
            if probed.rtt_ms <= 0:
                probed = history.measure(trunk, probed, now=now)
        return LinkReport(peer, False, probed, trunk.utilisation)

    def _cpu_ratio(self, seconds: Mapping[str, float], now: float) -> float:
        """The busiest thread's share of a core: one shard that is full refuses, whatever the others do."""
        before, self._cpu = self._cpu, (now, seconds)
        if before is None or now <= before[0]:
            return 0.0
        spent = [value - before[1].get(thread, value) for thread, value in seconds.items()]
        return max(0.0, max(spent, default=0.0)) / (now - before[0])


def _encode(link: LinkReport) -> telemetry_pb2.LinkMeasurement:
    measured = link.measured
    return telemetry_pb2.LinkMeasurement(
        peer_edge_id=link.peer,
        measured_by=telemetry_pb2.MEASURED_BY_TRUNK if link.by_trunk else telemetry_pb2.MEASURED_BY_PROBE,
        reachable=measured.reachable,
        age_ms=measured.age_ms,
        rtt_ms=measured.rtt_ms,
        rtt_variance_ms=measured.rtt_variance_ms,
        rtt_min_ms=measured.rtt_min_ms,
        rtt_p50_ms=measured.rtt_p50_ms,
        one_way_p50_raw_ms=measured.one_way_p50_raw_ms,
        one_way_p95_raw_ms=measured.one_way_p95_raw_ms,
        jitter_ms=measured.jitter_ms,
        loss_2s_ratio=measured.loss_2s_ratio,
        packets_2s=measured.packets_2s,
        loss_30s_ratio=measured.loss_30s_ratio,
        packets_30s=measured.packets_30s,
        loss_10min_ratio=measured.loss_10min_ratio,
        packets_10min=measured.packets_10min,
        mean_burst_packets=measured.mean_burst_packets,
        utilisation=link.utilisation,
    )


def _keys(keys: Iterable[tuple[str, int]]) -> list[telemetry_pb2.StreamKey]:
    return [telemetry_pb2.StreamKey(room=room, incarnation=incarnation) for room, incarnation in sorted(keys)]


def _has_changed(link: LinkReport, sent: LinkReport | None) -> bool:
    if sent is None or link.by_trunk != sent.by_trunk or link.measured.reachable != sent.measured.reachable:
        return True
    new, old = link.measured, sent.measured
    if (new.one_way_p50_raw_ms is None) != (old.one_way_p50_raw_ms is None):
        return True
    delays = (
        (new.rtt_ms, old.rtt_ms),
        (new.rtt_p50_ms, old.rtt_p50_ms),
        (new.rtt_min_ms, old.rtt_min_ms),
        (new.one_way_p50_raw_ms or 0.0, old.one_way_p50_raw_ms or 0.0),
        (new.one_way_p95_raw_ms or 0.0, old.one_way_p95_raw_ms or 0.0),
    )
    losses = (
        (new.loss_2s_ratio, old.loss_2s_ratio),
        (new.loss_30s_ratio, old.loss_30s_ratio),
        (new.loss_10min_ratio, old.loss_10min_ratio),
    )
    # Raw delays may be huge by their clocks: what counts is the round trip's scale.
    scale = max(CHANGE_MS, CHANGE_RATIO * old.rtt_ms)
    grown = new.packets_30s >= 2 * old.packets_30s or new.packets_10min >= 2 * old.packets_10min
    return (
        any(abs(one - other) >= scale for one, other in delays)
        or any(abs(one - other) >= CHANGE_LOSS for one, other in losses)
        or abs(link.utilisation - sent.utilisation) >= CHANGE_RATIO
        or (grown and new.packets_30s > 0)
    )


def _is_urgent(link: LinkReport, sent: LinkReport | None) -> bool:
    if sent is None:
        return False
    new, old = link.measured, sent.measured
    if old.reachable and not new.reachable:
        return True
    if new.loss_2s_ratio > URGENT_LOSS_RATIO >= old.loss_2s_ratio:
        return True
    if link.utilisation > URGENT_UTILISATION >= sent.utilisation:
        return True
    return old.rtt_ms > 0 and new.rtt_ms > URGENT_P95_RATIO * old.rtt_ms + CHANGE_MS
