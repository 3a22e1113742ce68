"""What an edge reports: probes and trunk counters merged per link, streams, load; whole, or what has changed.

Pure but for the messages it builds. A delta is taken against what was really sent last, so a report that waits is
simply replaced by a newer one: the queue holds one place and the newest wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from edge.mesh.estimators import LONG_MEMORY_S, DecayingRatio, WindowMinimum, WindowQuantiles
from edge.mesh.port import DataplaneSample, TrunkSample
from edge.mesh.probing import Measurement
from tradewind.v1 import edge_pb2, telemetry_pb2

FULL_EVERY_S = 60.0
REPORT_EVERY_S = 1.0
# Media flows when the trunk has brought so many packets within the fresh window; heartbeats alone are 20.
MEDIA_MIN_PACKETS_2S = 60
TRUNK_WINDOW_S = 2.0
# Of an edge's own loads, as of the links' utilisation.
LOAD_WINDOW_S = 5.0
# Heartbeats come ten times a second while a stream crosses the trunk; a blackout of 200 ms is no silence.
TRUNK_HEARD_S = 0.5
# A number travels when it has moved so far since it was last sent; all travel with the full report.
CHANGE_RATIO = 0.05
CHANGE_MS = 1.0
CHANGE_LOSS = 0.001
# What does not wait for its turn (DESIGN section 6).
URGENT_LOSS_RATIO = 0.02
URGENT_P95_RATIO = 1.5
URGENT_UTILISATION = 0.8
# The packet path's word for a stream that flows over its backup (`core/mesh/node.rs`).
COMMITTED = "committed"


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

    def is_heard(self, *, now: float) -> bool:
        """Whether anything has arrived lately, or since the reading before when readings are far apart."""
        if not self._counters:
            return False
        base = next((entry for entry in reversed(self._counters) if now - entry[0] >= TRUNK_HEARD_S), self._counters[0])
        return self._counters[-1][1] > base[1]

    def lost_together(self) -> float:
        """How many packets go missing together, as a lost packet sees it, over 30 s: the mean of the losses of single
        readings, weighted by themselves. One blackout among many small bursts is then one event and not a dozen."""
        losses = [later[2] - former[2] for former, later in pairwise(self._counters)]
        lost = sum(losses)
        return sum(each * each for each in losses) / lost if lost else 0.0

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
            mean_burst_packets=max(trunk.mean_burst_packets, self.lost_together()),
        )


_NOTHING = Measurement(True, 0.0, 0.0, 0.0, 0.0, 0.0, None, None, 0.0, 0.0, 0, 0.0, 0, 0.0, 0, 0.0)


class EgressHistory:
    """Share of the uplink in use: what goes to trunks, and each stream's bytes once per viewer."""

    def __init__(self, capacity_bytes_per_s: float) -> None:
        self._capacity = capacity_bytes_per_s
        self._streams: dict[tuple[str, int], int] = {}
        self._trunks: int | None = None
        self._sent: deque[tuple[float, int]] = deque()

    def utilisation(self, sample: DataplaneSample, *, now: float) -> float:
        """Takes a reading; the ratio over 5 s, 0 when the capacity is unknown."""
        sent = max(0, sample.trunk_bytes_sent - (sample.trunk_bytes_sent if self._trunks is None else self._trunks))
        streams = {(stream.room, stream.incarnation): stream.bytes_received for stream in sample.streams}
        for stream in sample.streams:
            before = self._streams.get((stream.room, stream.incarnation), stream.bytes_received)
            sent += max(0, stream.bytes_received - before) * stream.viewers
        self._streams, self._trunks = streams, sample.trunk_bytes_sent
        self._sent.append((now, sent))
        while len(self._sent) > 2 and now - self._sent[1][0] >= LOAD_WINDOW_S:
            self._sent.popleft()
        seconds = now - self._sent[0][0]
        # The first reading only says where the window begins.
        carried = sum(count for _, count in self._sent) - self._sent[0][1]
        return carried / seconds / self._capacity if self._capacity > 0 and seconds > 0 else 0.0


class Telemetry:
    """Holds what was sent, says what is new and whether it is urgent."""

    def __init__(self, description: edge_pb2.EdgeDescription, *, egress_bytes_per_s: float = 0.0) -> None:
        """`egress_bytes_per_s` is what the machine's uplink carries; 0: nobody has said."""
        self._description = description
        self._egress = EgressHistory(egress_bytes_per_s)
        self._trunks: dict[str, TrunkHistory] = {}
        self._links: dict[str, LinkReport] = {}
        self._streams: dict[tuple[str, int], telemetry_pb2.StreamReport] = {}
        self._load = edge_pb2.EdgeLoad()
        self._cpu: deque[tuple[float, Mapping[str, float]]] = deque()
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
            egress_utilisation=self._egress.utilisation(sample, now=now),
            draining=draining,
        )

    @property
    def is_urgent(self) -> bool:
        """Whether something has happened that control should hear of before the next second."""
        local = {key for key, stream in self._streams.items() if stream.local}
        if local != {key for key, stream in self._sent_streams.items() if stream.local}:
            return True
        # The edge has moved a stream by itself.
        if any(
            stream.phase == COMMITTED and (key not in self._sent_streams or self._sent_streams[key].phase != COMMITTED)
            for key, stream in self._streams.items()
        ):
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
        links = [link for peer, link in self._links.items() if _must_travel(link, self._sent_links.get(peer))]
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
        # Media of two seconds ago does not vouch for a link that is silent now: the prober says soon what became of it.
        if flows and (probed is None or history.is_heard(now=now)):
            return LinkReport(peer, True, history.measure(trunk, probed, now=now), trunk.utilisation)
        if probed is None:
            return None
        if not probed.reachable and trunk.connected and history.is_heard(now=now):
            # The prober's word is not the last one: heartbeats and acknowledged packets cross this link right now.
            probed = replace(probed, reachable=True)
            if probed.rtt_ms <= 0:
                probed = history.measure(trunk, probed, now=now)
        return LinkReport(peer, False, probed, trunk.utilisation)

    def _cpu_ratio(self, seconds: Mapping[str, float], now: float) -> float:
        """The busiest thread's share of a core over 5 s: one shard that is full refuses, whatever the others do; one
        key frame fills nothing."""
        if self._cpu and any(value < self._cpu[-1][1].get(thread, 0.0) for thread, value in seconds.items()):
            self._cpu.clear()
        self._cpu.append((now, seconds))
        while len(self._cpu) > 2 and now - self._cpu[1][0] >= LOAD_WINDOW_S:
            self._cpu.popleft()
        began, before = self._cpu[0]
        if now <= began:
            return 0.0
        spent = [value - before.get(thread, value) for thread, value in seconds.items()]
        return max(0.0, max(spent, default=0.0)) / (now - began)


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
        echo_loss_30s_ratio=measured.echo_loss_30s_ratio,
        echo_packets_30s=measured.echo_packets_30s,
        echo_mean_burst_packets=measured.echo_mean_burst_packets,
    )


def _keys(keys: Iterable[tuple[str, int]]) -> list[telemetry_pb2.StreamKey]:
    return [telemetry_pb2.StreamKey(room=room, incarnation=incarnation) for room, incarnation in sorted(keys)]


def _must_travel(link: LinkReport, sent: LinkReport | None) -> bool:
    # What is urgent by a hair would stay so until it has been said.
    return _has_changed(link, sent) or _is_urgent(link, sent)


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
        (new.echo_loss_30s_ratio, old.echo_loss_30s_ratio),
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
    if old.rtt_ms <= 0:
        return False
    # The window of the quantiles is a minute long: a path that has become slow shows in the smoothed round trip first.
    slower = new.rtt_ms > URGENT_P95_RATIO * old.rtt_ms + CHANGE_MS
    return slower or _p95_ms(new) > URGENT_P95_RATIO * _p95_ms(old) + CHANGE_MS


def _p95_ms(measured: Measurement) -> float:
    """The late packets' one-way delay without the clocks' offset."""
    if measured.one_way_p50_raw_ms is None or measured.one_way_p95_raw_ms is None:
        return measured.rtt_p50_ms / 2
    return measured.rtt_p50_ms / 2 + measured.one_way_p95_raw_ms - measured.one_way_p50_raw_ms
