"""Two ends of a pair in virtual time; every way to cheat has a name."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.mesh.probe_wire import DATAGRAM_MAX_BYTES, Kind, Probe, ProbeDrop, decode, encode, read_sender
from edge.mesh.probing import VERDICT_PACKETS, Measurement, PeerProbe

KEY = bytes(range(32))
NONCE_KEY = b"this process only"


@dataclass
class Pair:
    """sg and fra, each with a clock of its own, over links with a delay."""

    delay_ms: float = 80.0
    clock_ms: dict[str, float] = field(default_factory=lambda: {"sg": 0.0, "fra": 0.0})
    loss: float = 0.0
    now: float = 100.0

    def __post_init__(self) -> None:
        self.rng = random.Random(5)
        self.ends = {
            "sg": PeerProbe("sg", "fra", KEY, nonce_key=NONCE_KEY, instance=1, now=self.now),
            "fra": PeerProbe("fra", "sg", KEY, nonce_key=NONCE_KEY, instance=1, now=self.now),
        }

    def clock_us(self, end: str, now: float) -> int:
        return round(now * 1e6 + self.clock_ms[end] * 1000)

    def exchange(self, sender: str) -> None:
        other = "fra" if sender == "sg" else "sg"
        probe = self.ends[sender].make_probe(now=self.now, clock_us=self.clock_us(sender, self.now))
        there = self.now + self.delay_ms / 1000
        if self.rng.random() < self.loss:
            return
        echo = self.ends[other].handle_datagram(probe, now=there, clock_us=self.clock_us(other, there))
        assert isinstance(echo, bytes)
        back = there + self.delay_ms / 1000
        if self.rng.random() >= self.loss:
            assert self.ends[sender].handle_datagram(echo, now=back, clock_us=self.clock_us(sender, back)) is None

    def measured(self, end: str, *, after_s: float = 0.0, excuse_s: float = 0.0) -> Measurement:
        """What an end makes of it, so long after the last round."""
        found = self.ends[end].measure(now=self.now + after_s, excuse_s=excuse_s)
        assert found is not None
        return found

    def run(self, rounds: int) -> None:
        for _ in range(rounds):
            self.now += 0.1
            self.exchange("sg")
            self.exchange("fra")


def test_both_ends_find_delay_and_round_trip() -> None:
    pair = Pair()
    pair.run(50)
    for end in pair.ends:
        measured = pair.measured(end, after_s=0.2)
        assert measured.rtt_ms == pytest.approx(160.0)
        assert measured.one_way_p50_raw_ms == pytest.approx(80.0, abs=0.01)
        assert measured.reachable
        assert measured.loss_30s_ratio == 0.0


def test_clock_offset_shows_only_in_raw_delays_and_cancels_in_their_sum() -> None:
    pair = Pair(clock_ms={"sg": 0.0, "fra": 5000.0})
    pair.run(50)
    sg, fra = (pair.measured(end, after_s=0.2) for end in ("sg", "fra"))
    assert fra.one_way_p50_raw_ms == pytest.approx(5080.0, abs=0.01)
    assert sg.one_way_p50_raw_ms == pytest.approx(-4920.0, abs=0.01)
    assert sg.rtt_ms == fra.rtt_ms == pytest.approx(160.0)


def test_loss_is_counted_where_it_arrives() -> None:
    pair = Pair(loss=0.1)
    pair.run(600)
    measured = pair.measured("fra")
    assert measured.loss_10min_ratio == pytest.approx(0.1, rel=0.35), "seed 5"


def test_missing_echoes_tell_of_both_ways() -> None:
    pair = Pair(loss=0.1)
    pair.run(600)
    measured = pair.measured("fra")
    assert measured.echo_loss_30s_ratio == pytest.approx(0.19, abs=0.08), "seed 5"
    # One echo in 0.1 s, remembered for 30 s.
    assert 150 <= measured.echo_packets_30s <= 310


def test_bursts_are_long_until_there_is_a_verdict() -> None:
    pair = Pair()
    assert pair.ends["sg"].burst_packets == 10
    assert pair.ends["sg"].measure(now=pair.now + 1.0) is None
    pair.run(VERDICT_PACKETS)
    assert pair.ends["sg"].burst_packets == 2
    pair.ends["sg"].warm = True
    assert pair.ends["sg"].burst_interval_s == pytest.approx(0.2)


def test_silence_makes_unreachable_and_speech_reachable_again() -> None:
    pair = Pair()
    for end in pair.ends.values():
        end.warm = True
    pair.run(50)
    quiet = pair.measured("sg", after_s=1.5)
    assert not quiet.reachable
    assert quiet.age_ms > 1000
    pair.now += 2.0
    pair.run(1)
    assert pair.measured("sg", after_s=0.2).reachable


def test_a_process_that_stood_still_does_not_blame_its_peers() -> None:
    pair = Pair()
    for end in pair.ends.values():
        end.warm = True
    pair.run(50)
    assert pair.measured("sg", after_s=1.5, excuse_s=1.3).reachable


def test_a_peer_that_never_answers_is_reported_unreachable() -> None:
    lonely = PeerProbe("sg", "fra", KEY, nonce_key=NONCE_KEY, instance=1, now=0.0)
    assert lonely.measure(now=1.0) is None
    measured = lonely.measure(now=10.0)
    assert measured is not None
    assert not measured.reachable


def _probe(**fields: object) -> Probe:
    values: dict[str, object] = {
        "kind": Kind.PROBE,
        "instance": 1,
        "number": 1,
        "clock_us": 0,
        "echoed_number": 0,
        "nonce": 0,
        "sender": "sg",
    }
    return Probe(**{**values, **fields})  # type: ignore[arg-type]


def test_replayed_probes_get_no_second_answer() -> None:
    fra = PeerProbe("fra", "sg", KEY, nonce_key=NONCE_KEY, instance=1, now=0.0)
    datagram = encode(_probe(), "fra", KEY)
    assert isinstance(fra.handle_datagram(datagram, now=0.0, clock_us=0), bytes)
    assert fra.handle_datagram(datagram, now=0.1, clock_us=0) is ProbeDrop.REPLAYED


def test_recordings_of_an_earlier_process_are_replays() -> None:
    fra = PeerProbe("fra", "sg", KEY, nonce_key=NONCE_KEY, instance=1, now=0.0)
    assert isinstance(fra.handle_datagram(encode(_probe(instance=9), "fra", KEY), now=0.0, clock_us=0), bytes)
    old = encode(_probe(instance=8, number=5), "fra", KEY)
    assert fra.handle_datagram(old, now=0.1, clock_us=0) is ProbeDrop.REPLAYED
    assert isinstance(fra.handle_datagram(old, now=60.0, clock_us=0), bytes), "its clock was set back"


def test_a_peer_that_starts_anew_is_noticed_and_not_blamed_for_what_its_predecessor_missed() -> None:
    pair = Pair()
    pair.run(100)
    assert pair.ends["sg"].peer_instance == 1
    for _ in range(50):
        pair.ends["sg"].make_probe(now=pair.now, clock_us=0)
    pair.ends["fra"] = PeerProbe("fra", "sg", KEY, nonce_key=NONCE_KEY, instance=2, now=pair.now)
    pair.run(100)
    assert pair.ends["sg"].peer_instance == 2
    for end in pair.ends:
        measured = pair.measured(end, after_s=0.2)
        assert (measured.loss_30s_ratio, measured.echo_loss_30s_ratio) == (0.0, 0.0)


def test_an_echo_to_nothing_is_unsolicited() -> None:
    sg = PeerProbe("sg", "fra", KEY, nonce_key=NONCE_KEY, instance=1, now=0.0)
    asked = decode(sg.make_probe(now=0.0, clock_us=0), "fra", KEY)
    assert isinstance(asked, Probe)
    answers = [
        encode(_probe(kind=Kind.ECHO, sender="fra", number=number, echoed_number=1, nonce=asked.nonce), "sg", KEY)
        for number in (1, 2)
    ]
    assert sg.handle_datagram(answers[0], now=0.16, clock_us=0) is None
    assert sg.handle_datagram(answers[1], now=0.16, clock_us=0) is ProbeDrop.UNSOLICITED


def test_an_answer_ahead_of_its_question_is_noticed() -> None:
    sg = PeerProbe("sg", "fra", KEY, nonce_key=NONCE_KEY, instance=1, now=0.0)
    seen = decode(sg.make_probe(now=0.0, clock_us=0), "fra", KEY)
    assert isinstance(seen, Probe)
    sg.make_probe(now=1.0, clock_us=0)
    # The liar knows that probe 2 is on its way, but has not received it.
    early = encode(_probe(kind=Kind.ECHO, sender="fra", echoed_number=2, nonce=seen.nonce), "sg", KEY)
    assert sg.handle_datagram(early, now=1.001, clock_us=0) is ProbeDrop.WRONG_NONCE
    assert sg.measure(now=1.2) is None


def test_a_probe_reflected_to_its_sender_is_no_probe() -> None:
    sg = PeerProbe("sg", "fra", KEY, nonce_key=NONCE_KEY, instance=1, now=0.0)
    mirrored = sg.make_probe(now=0.0, clock_us=0)
    assert sg.handle_datagram(mirrored, now=0.1, clock_us=0) is ProbeDrop.BAD_MAC


def test_nonces_of_other_probes_pairs_and_processes_differ() -> None:
    def nonce(peer: str, nonce_key: bytes, number: int) -> int:
        sg = PeerProbe("sg", peer, KEY, nonce_key=nonce_key, instance=1, now=0.0)
        sent = [decode(sg.make_probe(now=0.0, clock_us=0), peer, KEY) for _ in range(number)][-1]
        assert isinstance(sent, Probe)
        return sent.nonce

    assert len({nonce("fra", b"a", 1), nonce("fra", b"a", 2), nonce("iad", b"a", 1), nonce("fra", b"b", 1)}) == 4


def test_wire_round_trip() -> None:
    probe = _probe(kind=Kind.ECHO, clock_us=-5, echoed_number=2**40, nonce=7, sender="fra")
    datagram = encode(probe, "sg", KEY)
    assert len(datagram) <= DATAGRAM_MAX_BYTES
    assert read_sender(datagram) == "fra"
    assert decode(datagram, "sg", KEY) == probe
    assert decode(datagram, "sg", bytes(32)) is ProbeDrop.BAD_MAC
    assert decode(datagram, "iad", KEY) is ProbeDrop.BAD_MAC


@given(st.binary(max_size=200))
def test_garbage_is_malformed_or_a_bad_mac(datagram: bytes) -> None:
    assert decode(datagram, "sg", KEY) in (ProbeDrop.MALFORMED, ProbeDrop.BAD_MAC)


@given(st.integers(0, 500))
def test_any_flipped_bit_is_noticed(position: int) -> None:
    datagram = bytearray(encode(_probe(), "fra", KEY))
    datagram[position // 8 % len(datagram)] ^= 1 << position % 8
    assert isinstance(decode(bytes(datagram), "fra", KEY), ProbeDrop)
