"""One pair of edges under probe, without sockets: makes probes, answers the peer's, and keeps the estimators."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass

from edge.mesh.estimators import LossEstimator, OneWayEstimator, RttEstimator
from edge.mesh.probe_wire import Kind, Probe, ProbeDrop, decode, encode

# A verdict needs so many packets from the peer; until then bursts are long.
VERDICT_PACKETS = 50
# A path that loses nearly everything never gets there; then what there is must do.
VERDICT_WAIT_S = 10.0
BURST_UNJUDGED = 10
BURST_JUDGED = 2
WARM_BURSTS_PER_S = 5.0
CANDIDATE_BURSTS_PER_S = 1.0
# Nothing for as long as three bursts should have taken; a fast pace still gives a late scheduler its second.
SILENT_BURSTS = 3
SILENT_MIN_S = 1.0
# Probes whose echo may still come: 20 s at the fastest pace.
OUTSTANDING_MAX = 512
# Numbers remembered against replay, as a window behind the highest.
REPLAY_WINDOW = 1024
OLDER_INSTANCE_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """The state of the direction peer -> us at one moment; ratios 0-1."""

    reachable: bool
    age_ms: float
    rtt_ms: float
    rtt_variance_ms: float
    rtt_min_ms: float
    rtt_p50_ms: float
    one_way_p50_raw_ms: float | None
    one_way_p95_raw_ms: float | None
    jitter_ms: float
    loss_2s_ratio: float
    packets_2s: int
    loss_30s_ratio: float
    packets_30s: int
    loss_10min_ratio: float
    packets_10min: int
    mean_burst_packets: float
    # Of our own probes: what the peer's echoes prove lost on either way.
    echo_loss_30s_ratio: float = 0.0
    echo_packets_30s: int = 0
    echo_mean_burst_packets: float = 0.0


class PeerProbe:
    """Both directions of one pair. `now` is monotonic seconds, `clock_us` this edge's wall clock in microseconds."""

    def __init__(self, own_id: str, peer_id: str, key: bytes, *, nonce_key: bytes, instance: int, now: float) -> None:
        """`key` is the pair's; `nonce_key` is this process's own secret, from which its nonces come."""
        self.peer_id = peer_id
        self.key = key
        self.warm = False
        self._own_id = own_id
        self._nonce_key = nonce_key
        self._instance = instance
        self._number = 0
        # Number -> (when it was sent, the count of probes so far: echoes share the numbers).
        self._outstanding: OrderedDict[int, tuple[float, int]] = OrderedDict()
        self._probes = 0
        self._echoes = LossEstimator()
        self._rtt = RttEstimator()
        self._one_way = OneWayEstimator()
        self._loss = LossEstimator()
        self._peer_instance: int | None = None
        self._seen_highest = -1
        self._seen: set[int] = set()
        self._received = 0
        self._heard_at: float | None = None
        self._started_at = now

    @property
    def burst_interval_s(self) -> float:
        """Time between bursts."""
        return 1.0 / (WARM_BURSTS_PER_S if self.warm else CANDIDATE_BURSTS_PER_S)

    @property
    def burst_packets(self) -> int:
        """Long bursts until there is a verdict."""
        return BURST_JUDGED if self._received >= VERDICT_PACKETS else BURST_UNJUDGED

    @property
    def peer_instance(self) -> int | None:
        """The process that answers; None before it has spoken. Another one means that the peer has started anew."""
        return self._peer_instance

    def make_probe(self, *, now: float, clock_us: int) -> bytes:
        """The next probe, ready to send."""
        self._number += 1
        self._probes += 1
        self._outstanding[self._number] = (now, self._probes)
        while len(self._outstanding) > OUTSTANDING_MAX:
            self._outstanding.popitem(last=False)
        nonce = self._nonce(self._number)
        probe = Probe(Kind.PROBE, self._instance, self._number, clock_us, 0, nonce, self._own_id)
        return encode(probe, self.peer_id, self.key)

    def handle_datagram(self, datagram: bytes, *, now: float, clock_us: int) -> bytes | ProbeDrop | None:
        """An echo to send back, nothing, or why the datagram was dropped."""
        probe = decode(datagram, self._own_id, self.key)
        if isinstance(probe, ProbeDrop):
            return probe
        if self._is_replay(probe, now):
            return ProbeDrop.REPLAYED
        if probe.kind is Kind.ECHO:
            if probe.nonce != self._nonce(probe.echoed_number):
                return ProbeDrop.WRONG_NONCE
            asked = self._outstanding.pop(probe.echoed_number, None)
            if asked is None:
                return ProbeDrop.UNSOLICITED
            sent_at, probes = asked
            self._echoes.handle_packet(probes, now=now)
            # What the peer needs to answer counts as its path: a time it may subtract would be a time to lie about.
            self._rtt.handle_sample((now - sent_at) * 1000, now=now)
        self._received += 1
        self._heard_at = now
        self._loss.handle_packet(probe.number, now=now)
        self._one_way.handle_sample((clock_us - probe.clock_us) / 1000, self._rtt, now=now)
        if probe.kind is Kind.ECHO:
            return None
        self._number += 1
        echo = Probe(Kind.ECHO, self._instance, self._number, clock_us, probe.number, probe.nonce, self._own_id)
        return encode(echo, self.peer_id, self.key)

    def measure(self, *, now: float, excuse_s: float = 0.0) -> Measurement | None:
        """What is known; None while it is too early to say anything. `excuse_s`: this process stood still for so
        long."""
        self._loss.settle(now=now)
        silent_after = max(SILENT_MIN_S, SILENT_BURSTS * self.burst_interval_s)
        if self._heard_at is None or self._rtt.latest_ms is None:
            # Connections take a moment; a peer that has never answered is reported after two such spans.
            return None if now - self._started_at < 2 * silent_after else _UNREACHED
        if self._received < VERDICT_PACKETS and now - self._started_at < VERDICT_WAIT_S:
            return None
        loss_2s, packets_2s = self._loss.fresh(now=now)
        loss_30s, packets_30s = self._loss.steady(now=now)
        loss_10min, packets_10min = self._loss.long(now=now)
        self._echoes.settle(now=now)
        echo_loss, echo_packets = self._echoes.steady(now=now)
        return Measurement(
            reachable=now - self._heard_at < silent_after + excuse_s,
            age_ms=max(0.0, (now - self._heard_at) * 1000),
            rtt_ms=self._rtt.smoothed_ms,
            rtt_variance_ms=self._rtt.variance_ms,
            rtt_min_ms=self._rtt.minimum_ms(now=now),
            rtt_p50_ms=self._rtt.median_ms(now=now),
            one_way_p50_raw_ms=self._one_way.quantile_ms(0.5, now=now),
            one_way_p95_raw_ms=self._one_way.quantile_ms(0.95, now=now),
            jitter_ms=self._one_way.jitter_ms,
            loss_2s_ratio=loss_2s,
            packets_2s=packets_2s,
            loss_30s_ratio=loss_30s,
            packets_30s=packets_30s,
            loss_10min_ratio=loss_10min,
            packets_10min=packets_10min,
            mean_burst_packets=self._loss.burst_packets(now=now),
            echo_loss_30s_ratio=echo_loss,
            echo_packets_30s=echo_packets,
            echo_mean_burst_packets=self._echoes.burst_packets(now=now),
        )

    def _nonce(self, number: int) -> int:
        message = self.peer_id.encode() + number.to_bytes(8, "big")
        return int.from_bytes(hmac.digest(self._nonce_key, message, hashlib.sha256)[:8], "big")

    def _is_replay(self, probe: Probe, now: float) -> bool:
        if probe.instance != self._peer_instance:
            # Instances are start times: an older one is a recording, a newer one is a restarted peer. A peer that came
            # back with its clock set back is believed once the newer one has been silent for a while.
            recent = self._heard_at is not None and now - self._heard_at < OLDER_INSTANCE_AFTER_S
            if self._peer_instance is not None and probe.instance < self._peer_instance and recent:
                return True
            self._peer_instance = probe.instance
            self._seen.clear()
            self._seen_highest = -1
            self._loss.handle_restart()
            self._echoes.handle_restart()
        if probe.number in self._seen or probe.number <= self._seen_highest - REPLAY_WINDOW:
            return True
        self._seen.add(probe.number)
        if probe.number > self._seen_highest:
            self._seen_highest = probe.number
            if len(self._seen) > 2 * REPLAY_WINDOW:
                self._seen = {number for number in self._seen if number > self._seen_highest - REPLAY_WINDOW}
        return False


_UNREACHED = Measurement(False, 0.0, 0.0, 0.0, 0.0, 0.0, None, None, 0.0, 0.0, 0, 0.0, 0, 0.0, 0, 0.0)
