"""What edges report, judged and turned into the brain's words. A report is taken whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass

from control.brain.world import LinkClaim
from tradewind.v1 import telemetry_pb2

# Far above what an honest edge sends; a larger report would cost memory and say nothing.
LINKS_MAX = 4096
STREAMS_MAX = 10_000
PATH_MAX_EDGES = 16
TEXT_MAX = 256
# They travel on to every edge.
CODEC_MAX = 32
# No link on Earth takes a minute; larger numbers are faults of the edge.
DELAY_MAX_MS = 60_000.0
# Raw one-way delays contain the clocks' difference, up to decades.
RAW_MAX_MS = 4e12

REASONS = (
    "not_finite",
    "negative",
    "out_of_range",
    "unknown_edge",
    "unspecified",
    "missing",
    "too_many",
    "duplicate",
    "own_edge",
)

_DELAYS = ("rtt_ms", "rtt_variance_ms", "rtt_min_ms", "rtt_p50_ms", "jitter_ms")
_RATIOS = ("loss_2s_ratio", "loss_30s_ratio", "loss_10min_ratio", "echo_loss_30s_ratio")
_BURSTS = ("mean_burst_packets", "echo_mean_burst_packets")


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks the rules; `reason` is one of REASONS."""

    field: str
    reason: str
    detail: str


def check_report(
    report: telemetry_pb2.ReportRequest, reporter: str, known_edges: Container[str]
) -> tuple[Violation, ...]:
    """Everything that is wrong with a report, or nothing."""
    return tuple(_check(report, reporter, known_edges))


def to_claim(link: telemetry_pb2.LinkMeasurement, reporter: str, now: float) -> LinkClaim:
    """A checked measurement in the brain's words."""
    trunk = link.measured_by == telemetry_pb2.MEASURED_BY_TRUNK
    return LinkClaim(
        from_edge=link.peer_edge_id,
        to_edge=reporter,
        measured_by="trunk" if trunk else "probe",
        reachable=link.reachable,
        age_ms=link.age_ms,
        rtt_ms=link.rtt_ms,
        rtt_variance_ms=link.rtt_variance_ms,
        rtt_min_ms=link.rtt_min_ms,
        rtt_p50_ms=link.rtt_p50_ms,
        one_way_p50_raw_ms=link.one_way_p50_raw_ms if link.HasField("one_way_p50_raw_ms") else None,
        one_way_p95_raw_ms=link.one_way_p95_raw_ms if link.HasField("one_way_p95_raw_ms") else None,
        jitter_ms=link.jitter_ms,
        loss_2s_ratio=link.loss_2s_ratio,
        packets_2s=link.packets_2s,
        loss_30s_ratio=link.loss_30s_ratio,
        packets_30s=link.packets_30s,
        loss_10min_ratio=link.loss_10min_ratio,
        packets_10min=link.packets_10min,
        mean_burst_packets=link.mean_burst_packets,
        utilisation=link.utilisation,
        echo_loss_30s_ratio=link.echo_loss_30s_ratio,
        echo_packets_30s=link.echo_packets_30s,
        echo_mean_burst_packets=link.echo_mean_burst_packets,
        received_at=now,
    )


def _check(report: telemetry_pb2.ReportRequest, reporter: str, known_edges: Container[str]) -> Iterator[Violation]:
    if report.full and not report.HasField("description"):
        yield Violation("description", "missing", "a full report describes its edge")
    if report.HasField("description"):
        yield from _check_description(report)
    for name in ("cpu_ratio", "egress_utilisation"):
        yield from _number(f"load.{name}", getattr(report.load, name), 0.0, 64.0)
    if len(report.links) > LINKS_MAX or len(report.gone_links) > LINKS_MAX:
        yield Violation("links", "too_many", f"at most {LINKS_MAX} links")
        return
    if len(report.streams) > STREAMS_MAX or len(report.gone_streams) > STREAMS_MAX:
        yield Violation("streams", "too_many", f"at most {STREAMS_MAX} streams")
        return
    seen: set[str] = set()
    for position, link in enumerate(report.links):
        field = f"links[{position}]"
        if link.peer_edge_id in seen:
            yield Violation(f"{field}.peer_edge_id", "duplicate", f"{link.peer_edge_id} appears twice")
        seen.add(link.peer_edge_id)
        yield from _check_link(field, link, reporter, known_edges)
    for position, stream in enumerate(report.streams):
        yield from _check_stream(f"streams[{position}]", stream, known_edges)


def _check_description(report: telemetry_pb2.ReportRequest) -> Iterator[Violation]:
    description = report.description
    yield from _number("description.latitude_degrees", description.latitude_degrees, -90.0, 90.0)
    yield from _number("description.longitude_degrees", description.longitude_degrees, -180.0, 180.0)
    for name in ("region", "trunk_address", "probe_address", "http_url", "software_version"):
        if len(getattr(description, name)) > TEXT_MAX:
            yield Violation(f"description.{name}", "out_of_range", f"at most {TEXT_MAX} characters")


def _check_link(
    field: str, link: telemetry_pb2.LinkMeasurement, reporter: str, known_edges: Container[str]
) -> Iterator[Violation]:
    if link.peer_edge_id == reporter:
        yield Violation(f"{field}.peer_edge_id", "own_edge", "an edge has no link to itself")
    elif link.peer_edge_id not in known_edges:
        yield Violation(f"{field}.peer_edge_id", "unknown_edge", f"no edge {link.peer_edge_id[:40]!r} is enrolled")
    if link.measured_by not in (telemetry_pb2.MEASURED_BY_PROBE, telemetry_pb2.MEASURED_BY_TRUNK):
        yield Violation(f"{field}.measured_by", "unspecified", "say how the link was measured")
    for name in _DELAYS:
        yield from _number(f"{field}.{name}", getattr(link, name), 0.0, DELAY_MAX_MS)
    for name in _RATIOS:
        yield from _number(f"{field}.{name}", getattr(link, name), 0.0, 1.0)
    yield from _number(f"{field}.age_ms", link.age_ms, 0.0, RAW_MAX_MS)
    for name in _BURSTS:
        yield from _number(f"{field}.{name}", getattr(link, name), 0.0, 1e6)
    yield from _number(f"{field}.utilisation", link.utilisation, 0.0, 64.0)
    for name in ("one_way_p50_raw_ms", "one_way_p95_raw_ms"):
        if link.HasField(name):  # type: ignore[arg-type]
            yield from _number(f"{field}.{name}", getattr(link, name), -RAW_MAX_MS, RAW_MAX_MS)


def _check_stream(field: str, stream: telemetry_pb2.StreamReport, known_edges: Container[str]) -> Iterator[Violation]:
    if not 0 < len(stream.room) <= TEXT_MAX:
        yield Violation(f"{field}.room", "out_of_range", f"a room name has 1-{TEXT_MAX} characters")
    if len(stream.active_path) > PATH_MAX_EDGES or len(stream.codecs) > PATH_MAX_EDGES:
        yield Violation(field, "too_many", f"at most {PATH_MAX_EDGES} edges in a path, and as many codecs")
        return
    for edge in stream.active_path:
        if edge not in known_edges:
            yield Violation(f"{field}.active_path", "unknown_edge", f"no edge {edge[:40]!r} is enrolled")
    if not all(0 < len(codec) <= CODEC_MAX for codec in stream.codecs):
        yield Violation(f"{field}.codecs", "out_of_range", f"a codec's name has 1-{CODEC_MAX} characters")


def _number(field: str, value: float, low: float, high: float) -> Iterator[Violation]:
    if not math.isfinite(value):
        yield Violation(field, "not_finite", f"{value} is no measurement")
    elif value < 0.0 <= low:
        yield Violation(field, "negative", f"{value} is below 0")
    elif not low <= value <= high:
        yield Violation(field, "out_of_range", f"{value} is not within {low:g} and {high:g}")
