"""Reports carry what has changed, the trunk's word where media flows, and do not wait when it burns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.mesh.port import DataplaneSample, StreamSample, TrunkSample
from edge.mesh.probing import Measurement
from edge.mesh.telemetry import Telemetry
from edge.mesh.view import EdgeLoad
from tradewind.v1 import edge_pb2, telemetry_pb2

PROBED = Measurement(
    reachable=True,
    age_ms=10.0,
    rtt_ms=160.0,
    rtt_variance_ms=1.0,
    rtt_min_ms=158.0,
    rtt_p50_ms=160.0,
    one_way_p50_raw_ms=-4920.0,
    one_way_p95_raw_ms=-4918.0,
    jitter_ms=0.3,
    loss_2s_ratio=0.0,
    packets_2s=20,
    loss_30s_ratio=0.0,
    packets_30s=300,
    loss_10min_ratio=0.0,
    packets_10min=3000,
    mean_burst_packets=0.0,
)
TRUNK = TrunkSample("fra", True, 161.0, 0.4, 0.01, 0.012, 3.0, 0, 0, 0.2)


def sample(*trunks: TrunkSample, streams: tuple[StreamSample, ...] = (), cpu: float = 0.0) -> DataplaneSample:
    return DataplaneSample(trunks, streams, EdgeLoad(hosts=1, viewers=2), {"shard-0": cpu})


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(edge_pb2.EdgeDescription(region="sg"))


def test_the_first_report_is_full_and_the_next_holds_only_changes(telemetry: Telemetry) -> None:
    telemetry.handle_sample(sample(), {"fra": PROBED}, draining=False, now=0.0)
    first = telemetry.make_report(now=0.0)
    assert first.full
    assert first.description.region == "sg"
    assert [link.peer_edge_id for link in first.links] == ["fra"]
    telemetry.handle_sample(sample(), {"fra": PROBED}, draining=False, now=1.0)
    second = telemetry.make_report(now=1.0)
    assert not second.full
    assert not second.links
    assert second.sequence_number == 1
    slower = replace(PROBED, rtt_ms=200.0)
    telemetry.handle_sample(sample(), {"fra": slower}, draining=False, now=2.0)
    assert [link.rtt_ms for link in telemetry.make_report(now=2.0).links] == [200.0]


def test_each_minute_everything_travels(telemetry: Telemetry) -> None:
    telemetry.handle_sample(sample(), {"fra": PROBED}, draining=False, now=0.0)
    fulls = [second for second in range(130) if telemetry.make_report(now=float(second)).full]
    assert fulls == [0, 60, 120]


def test_a_lost_connection_makes_the_next_report_full(telemetry: Telemetry) -> None:
    telemetry.handle_sample(sample(), {"fra": PROBED}, draining=False, now=0.0)
    telemetry.make_report(now=0.0)
    telemetry.handle_reconnected()
    again = telemetry.make_report(now=1.0)
    assert again.full
    assert again.sequence_number == 0
    assert again.links


def test_what_is_gone_is_named(telemetry: Telemetry) -> None:
    stream = StreamSample("demo", 4, True, ("vp8",), 0, (), "source")
    telemetry.handle_sample(sample(streams=(stream,)), {"fra": PROBED}, draining=False, now=0.0)
    telemetry.make_report(now=0.0)
    telemetry.handle_sample(sample(), {}, draining=False, now=1.0)
    report = telemetry.make_report(now=1.0)
    assert list(report.gone_links) == ["fra"]
    assert [(key.room, key.incarnation) for key in report.gone_streams] == [("demo", 4)]


def test_the_trunk_replaces_the_probes_where_media_flows(telemetry: Telemetry) -> None:
    for second in range(3):
        trunk = replace(TRUNK, packets_received=240 * second, packets_lost=3 * second)
        telemetry.handle_sample(sample(trunk), {"fra": PROBED}, draining=False, now=float(second))
    (link,) = telemetry.make_report(now=2.0).links
    assert link.measured_by == telemetry_pb2.MEASURED_BY_TRUNK
    assert link.rtt_ms == pytest.approx(161.0)
    assert link.loss_2s_ratio == pytest.approx(0.01)
    assert link.packets_2s == 486
    assert link.one_way_p50_raw_ms == pytest.approx(-4920.0), "one clock for all links: the probes'"
    assert link.rtt_p50_ms == pytest.approx(160.0)


def test_heartbeats_alone_are_no_media(telemetry: Telemetry) -> None:
    for second in range(3):
        telemetry.handle_sample(
            sample(replace(TRUNK, packets_received=10 * second)), {"fra": PROBED}, draining=False, now=float(second)
        )
    (link,) = telemetry.make_report(now=2.0).links
    assert link.measured_by == telemetry_pb2.MEASURED_BY_PROBE
    assert link.utilisation == pytest.approx(0.2)


def test_a_living_trunk_outweighs_silent_probes(telemetry: Telemetry) -> None:
    silent = replace(PROBED, reachable=False)
    for second in range(3):
        trunk = replace(TRUNK, packets_received=10 * second)
        telemetry.handle_sample(sample(trunk), {"fra": silent}, draining=False, now=float(second))
    assert telemetry.make_report(now=2.0).links[0].reachable
    telemetry.handle_sample(sample(replace(TRUNK, packets_received=20)), {"fra": silent}, draining=False, now=3.0)
    assert telemetry.turned == (("fra", False),)
    assert not telemetry.make_report(now=3.0).links[0].reachable


def media(
    telemetry: Telemetry, since: float, until: float, probed: Measurement = PROBED, *, silent_from: float = 1e9
) -> None:
    """A reading every quarter of a second; 240 packets a second until the link falls silent."""
    for tick in range(int(since * 4) + 1, int(until * 4) + 1):
        trunk = replace(TRUNK, packets_received=int(240 * min(tick / 4, silent_from)))
        telemetry.handle_sample(sample(trunk), {"fra": probed}, draining=False, now=tick / 4)


def test_a_trunk_that_fell_silent_is_the_probers_to_judge(telemetry: Telemetry) -> None:
    media(telemetry, 0.0, 10.0)
    assert telemetry.make_report(now=10.0).links[0].measured_by == telemetry_pb2.MEASURED_BY_TRUNK
    media(telemetry, 10.0, 11.0, replace(PROBED, reachable=False), silent_from=10.1)
    assert telemetry.is_urgent
    (link,) = telemetry.make_report(now=11.0).links
    assert not link.reachable


def test_a_blackout_among_small_bursts_is_one_event(telemetry: Telemetry) -> None:
    lost = 0
    for tick in range(121):
        lost += 48 if tick == 100 else 3 * (tick % 10 == 0)
        trunk = replace(TRUNK, packets_received=60 * tick, packets_lost=lost)
        telemetry.handle_sample(sample(trunk), {"fra": PROBED}, draining=False, now=tick / 4)
    (link,) = telemetry.make_report(now=30.0).links
    # Twelve bursts of 3 and one of 48: a lost packet was most likely lost in the great one.
    assert link.mean_burst_packets == pytest.approx((11 * 9 + 48**2) / (11 * 3 + 48), rel=0.05)


def test_a_blackout_of_a_fifth_of_a_second_silences_no_trunk(telemetry: Telemetry) -> None:
    media(telemetry, 0.0, 10.0)
    telemetry.make_report(now=10.0)
    # Even when the prober thinks so.
    media(telemetry, 10.0, 10.25, replace(PROBED, reachable=False), silent_from=10.05)
    assert telemetry.turned == ()
    assert not telemetry.is_urgent


@pytest.mark.parametrize(
    ("change", "urgent"),
    [
        ({"rtt_ms": 165.0}, False),
        ({"rtt_ms": 250.0}, True),
        ({"loss_2s_ratio": 0.01}, False),
        ({"loss_2s_ratio": 0.05}, True),
        ({"reachable": False}, True),
    ],
)
def test_what_is_urgent(telemetry: Telemetry, change: dict[str, float], urgent: bool) -> None:
    telemetry.handle_sample(sample(), {"fra": PROBED}, draining=False, now=0.0)
    telemetry.make_report(now=0.0)
    telemetry.handle_sample(sample(), {"fra": replace(PROBED, **change)}, draining=False, now=0.3)  # type: ignore[arg-type]
    assert telemetry.is_urgent is urgent
    telemetry.make_report(now=0.3)
    assert not telemetry.is_urgent, "said once"


def test_what_is_urgent_by_a_hair_is_said_once(telemetry: Telemetry) -> None:
    near = replace(PROBED, loss_2s_ratio=0.0199)
    telemetry.handle_sample(sample(), {"fra": near}, draining=False, now=0.0)
    telemetry.make_report(now=0.0)
    telemetry.handle_sample(sample(), {"fra": replace(near, loss_2s_ratio=0.0202)}, draining=False, now=0.3)
    assert telemetry.is_urgent
    (link,) = telemetry.make_report(now=0.3).links
    assert link.loss_2s_ratio == pytest.approx(0.0202)
    assert not telemetry.is_urgent


def test_a_new_source_is_urgent(telemetry: Telemetry) -> None:
    telemetry.handle_sample(sample(), {}, draining=False, now=0.0)
    telemetry.make_report(now=0.0)
    local = StreamSample("demo", 1, True, ("vp8",), 0, (), "source")
    telemetry.handle_sample(sample(streams=(local,)), {}, draining=False, now=0.1)
    assert telemetry.is_urgent


def test_a_stream_that_the_edge_has_moved_is_told_at_once(telemetry: Telemetry) -> None:
    stream = StreamSample("demo", 4, False, ("vp8",), 1, ("sg", "fra"), "armed")
    telemetry.handle_sample(sample(streams=(stream,)), {}, draining=False, now=0.0)
    telemetry.make_report(now=0.0)
    moved = replace(stream, active_path=("sg", "iad", "fra"), phase="committed")
    telemetry.handle_sample(sample(streams=(moved,)), {}, draining=False, now=0.25)
    assert telemetry.is_urgent
    (told,) = telemetry.make_report(now=0.25).streams
    assert list(told.active_path) == ["sg", "iad", "fra"]
    telemetry.handle_sample(sample(streams=(moved,)), {}, draining=False, now=0.5)
    assert not telemetry.is_urgent


def test_cpu_is_the_busiest_thread(telemetry: Telemetry) -> None:
    telemetry.handle_sample(sample(cpu=1.0), {}, draining=False, now=0.0)
    telemetry.handle_sample(sample(cpu=1.6), {}, draining=True, now=1.0)
    report = telemetry.make_report(now=1.0)
    assert report.load.cpu_ratio == pytest.approx(0.6)
    assert report.load.draining
    assert (report.load.hosts, report.load.viewers) == (1, 2)


def test_late_packets_are_urgent_whatever_the_clocks_say(telemetry: Telemetry) -> None:
    telemetry.handle_sample(sample(), {"fra": PROBED}, draining=False, now=0.0)
    telemetry.make_report(now=0.0)
    # 82 ms of delay at the 95th percentile, behind a clock that is five seconds off.
    near = replace(PROBED, one_way_p95_raw_ms=-4885.0)
    telemetry.handle_sample(sample(), {"fra": near}, draining=False, now=0.25)
    assert not telemetry.is_urgent
    late = replace(PROBED, one_way_p95_raw_ms=-4870.0)
    telemetry.handle_sample(sample(), {"fra": late}, draining=False, now=0.5)
    assert telemetry.is_urgent


def test_one_busy_moment_fills_no_core(telemetry: Telemetry) -> None:
    for tick in range(41):
        busy = 0.25 if tick == 40 else 0.0
        telemetry.handle_sample(sample(cpu=busy), {}, draining=False, now=tick * 0.25)
    assert telemetry.make_report(now=10.0).load.cpu_ratio == pytest.approx(0.05)


def test_egress_is_trunks_and_one_copy_per_viewer() -> None:
    telemetry = Telemetry(edge_pb2.EdgeDescription(), egress_bytes_per_s=10_000.0)
    for second in range(11):
        stream = StreamSample("demo", 4, True, ("vp8",), 3, (), "source", bytes_received=1_000 * second)
        reading = DataplaneSample((), (stream,), EdgeLoad(), {}, trunk_bytes_sent=2_000 * second)
        telemetry.handle_sample(reading, {}, draining=False, now=float(second))
    # 2,000 to trunks and 3 x 1,000 to viewers, each second.
    assert telemetry.make_report(now=10.0).load.egress_utilisation == pytest.approx(0.5)


def test_egress_of_unknown_capacity_is_no_load() -> None:
    telemetry = Telemetry(edge_pb2.EdgeDescription())
    for second in range(3):
        reading = DataplaneSample((), (), EdgeLoad(), {}, trunk_bytes_sent=10**9 * second)
        telemetry.handle_sample(reading, {}, draining=False, now=float(second))
    assert telemetry.make_report(now=2.0).load.egress_utilisation == 0.0
