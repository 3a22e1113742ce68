"""Telemetry that no honest edge sends: every field that can be wrong is found, by name, before anything is used."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.fleet.reports import LINKS_MAX, PATH_MAX_EDGES, REASONS, STREAMS_MAX, check_report, to_claim
from tradewind.v1 import edge_pb2, telemetry_pb2

KNOWN = {"sg", "fra", "iad"}
Report = telemetry_pb2.ReportRequest
Spoil = Callable[[Report], object]


def good() -> Report:
    return Report(
        full=True,
        description=edge_pb2.EdgeDescription(region="sg", latitude_degrees=1.3, longitude_degrees=103.8),
        links=[
            telemetry_pb2.LinkMeasurement(
                peer_edge_id="fra",
                measured_by=telemetry_pb2.MEASURED_BY_PROBE,
                reachable=True,
                rtt_ms=160.0,
                one_way_p50_raw_ms=-4920.0,
            )
        ],
        streams=[telemetry_pb2.StreamReport(room="demo", incarnation=1, active_path=["sg", "fra"])],
    )


def test_an_honest_report_is_taken() -> None:
    assert check_report(good(), "sg", KNOWN) == ()
    assert check_report(Report(), "sg", KNOWN) == (), "nothing has changed"


def change(part: str, name: str, value: object) -> Spoil:
    def spoil(report: Report) -> None:
        target = {
            "description": report.description,
            "load": report.load,
            "link": report.links[0],
            "stream": report.streams[0],
        }[part]
        setattr(target, name, value)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "field", "reason"),
    [
        *(
            (change("link", name, math.nan), f"links[0].{name}", "not_finite")
            for name in ("rtt_ms", "rtt_variance_ms", "rtt_min_ms", "rtt_p50_ms", "jitter_ms", "loss_2s_ratio")
        ),
        *(
            (change("link", name, value), f"links[0].{name}", reason)
            for name in ("loss_30s_ratio", "loss_10min_ratio", "mean_burst_packets", "utilisation", "age_ms")
            for value, reason in ((math.nan, "not_finite"), (math.inf, "not_finite"), (-0.1, "negative"))
        ),
        (change("link", "one_way_p95_raw_ms", -math.inf), "links[0].one_way_p95_raw_ms", "not_finite"),
        (change("link", "one_way_p95_raw_ms", 1e300), "links[0].one_way_p95_raw_ms", "out_of_range"),
        (change("link", "rtt_ms", 60_001.0), "links[0].rtt_ms", "out_of_range"),
        (change("link", "peer_edge_id", "atlantis"), "links[0].peer_edge_id", "unknown_edge"),
        (change("link", "peer_edge_id", ""), "links[0].peer_edge_id", "unknown_edge"),
        (change("link", "peer_edge_id", "sg"), "links[0].peer_edge_id", "own_edge"),
        (change("link", "measured_by", 77), "links[0].measured_by", "unspecified"),
        (lambda report: report.links.append(report.links[0]), "links[1].peer_edge_id", "duplicate"),
        (lambda report: report.links.extend([report.links[0]] * LINKS_MAX), "links", "too_many"),
        (lambda report: report.gone_links.extend(["x"] * (LINKS_MAX + 1)), "links", "too_many"),
        (lambda report: report.streams.extend([report.streams[0]] * STREAMS_MAX), "streams", "too_many"),
        (lambda report: report.streams[0].active_path.append("atlantis"), "streams[0].active_path", "unknown_edge"),
        (lambda report: report.streams[0].active_path.extend(["sg"] * PATH_MAX_EDGES), "streams[0]", "too_many"),
        (change("stream", "room", ""), "streams[0].room", "out_of_range"),
        (change("stream", "room", "r" * 257), "streams[0].room", "out_of_range"),
        (lambda report: report.streams[0].codecs.append("c" * 33), "streams[0].codecs", "out_of_range"),
        (change("load", "cpu_ratio", math.nan), "load.cpu_ratio", "not_finite"),
        (change("load", "egress_utilisation", -1.0), "load.egress_utilisation", "negative"),
        (change("description", "latitude_degrees", 91.0), "description.latitude_degrees", "out_of_range"),
        (change("description", "longitude_degrees", math.nan), "description.longitude_degrees", "not_finite"),
        (change("description", "region", "r" * 257), "description.region", "out_of_range"),
        (lambda report: report.ClearField("description"), "description", "missing"),
    ],
)
def test_what_is_wrong_is_named(spoil: Spoil, field: str, reason: str) -> None:
    report = good()
    spoil(report)
    violations = check_report(report, "sg", KNOWN)
    assert (field, reason) in {(violation.field, violation.reason) for violation in violations}
    assert reason in REASONS
    assert all(violation.detail for violation in violations)


NUMBERS = [
    field.name
    for field in telemetry_pb2.LinkMeasurement.DESCRIPTOR.fields
    if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT)
]


@given(st.dictionaries(st.sampled_from(NUMBERS), st.floats(width=32)))
def test_no_number_that_is_taken_is_beyond_reason(values: dict[str, float]) -> None:
    report = good()
    for name, value in values.items():
        setattr(report.links[0], name, value)
    if not check_report(report, "sg", KNOWN):
        claim = to_claim(report.links[0], "sg", 0.0)
        numbers = [getattr(claim, name) for name in NUMBERS]
        assert all(number is None or math.isfinite(number) for number in numbers)
        assert all(number >= 0 for name, number in zip(NUMBERS, numbers, strict=True) if number and "raw" not in name)
