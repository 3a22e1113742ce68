"""No number of a report is believed unseen: every field that there is, also one that is added tomorrow."""

from __future__ import annotations

import math

import pytest
from google.protobuf.descriptor import FieldDescriptor

from control.fleet.registry import FleetRegistry
from control.fleet.reports import check_report
from tradewind.v1 import edge_pb2, telemetry_pb2

KNOWN = {"sg", "fra"}
LINK_NUMBERS = [
    field.name for field in telemetry_pb2.LinkMeasurement.DESCRIPTOR.fields if field.type == FieldDescriptor.TYPE_DOUBLE
]
# Arrival clock minus sender clock may have any sign.
RAW = {"one_way_p50_raw_ms", "one_way_p95_raw_ms"}
LOAD_NUMBERS = [
    field.name for field in edge_pb2.EdgeLoad.DESCRIPTOR.fields if field.type == FieldDescriptor.TYPE_DOUBLE
]


def report(**link: float) -> telemetry_pb2.ReportRequest:
    measured = telemetry_pb2.LinkMeasurement(peer_edge_id="fra", measured_by=telemetry_pb2.MEASURED_BY_PROBE)
    for name, value in link.items():
        setattr(measured, name, value)
    return telemetry_pb2.ReportRequest(full=True, description=edge_pb2.EdgeDescription(), links=[measured])


def test_an_honest_report_passes() -> None:
    assert check_report(report(rtt_ms=160.0, one_way_p50_raw_ms=-4920.0, loss_2s_ratio=0.01), "sg", KNOWN) == ()


@pytest.mark.parametrize("name", LINK_NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_every_number_of_a_link_must_be_finite(name: str, value: float) -> None:
    (violation,) = check_report(report(**{name: value}), "sg", KNOWN)
    assert (violation.field, violation.reason) == (f"links[0].{name}", "not_finite")


@pytest.mark.parametrize("name", sorted(set(LINK_NUMBERS) - RAW))
def test_no_number_of_a_link_but_raw_delays_may_be_negative(name: str) -> None:
    (violation,) = check_report(report(**{name: -0.001}), "sg", KNOWN)
    assert (violation.field, violation.reason) == (f"links[0].{name}", "negative")


@pytest.mark.parametrize("name", [name for name in LINK_NUMBERS if name.startswith(("loss", "echo_loss"))])
def test_no_loss_is_more_than_everything(name: str) -> None:
    (violation,) = check_report(report(**{name: 1.001}), "sg", KNOWN)
    assert (violation.field, violation.reason) == (f"links[0].{name}", "out_of_range")


@pytest.mark.parametrize("name", LOAD_NUMBERS)
@pytest.mark.parametrize(("value", "reason"), [(math.nan, "not_finite"), (-0.1, "negative"), (1e9, "out_of_range")])
def test_every_load_is_judged(name: str, value: float, reason: str) -> None:
    loaded = telemetry_pb2.ReportRequest(load=edge_pb2.EdgeLoad(**{name: value}))
    (violation,) = check_report(loaded, "sg", KNOWN)
    assert (violation.field, violation.reason) == (f"load.{name}", reason)


@pytest.mark.parametrize(("peer", "reason"), [("atlantis", "unknown_edge"), ("sg", "own_edge"), ("", "unknown_edge")])
def test_links_lead_to_other_edges_of_the_fleet(peer: str, reason: str) -> None:
    bad = report()
    bad.links[0].peer_edge_id = peer
    (violation,) = check_report(bad, "sg", KNOWN)
    assert violation.reason == reason


def test_a_path_through_an_unknown_edge_is_refused() -> None:
    stream = telemetry_pb2.StreamReport(room="demo", incarnation=1, active_path=["sg", "atlantis", "fra"])
    (violation,) = check_report(telemetry_pb2.ReportRequest(streams=[stream]), "fra", KNOWN)
    assert (violation.field, violation.reason) == ("streams[0].active_path", "unknown_edge")


def test_every_field_of_a_link_reaches_the_brain() -> None:
    """What is checked and then dropped on the way would be decided without."""
    registry = FleetRegistry()
    for edge in ("fra", "sg"):
        registry.handle_enrolled(edge)
    full = report()
    numbered = dict.fromkeys(LINK_NUMBERS, 0.0)
    for value, name in enumerate(numbered, start=1):
        setattr(full.links[0], name, value / 100)
    registry.handle_report("sg", full, 0.0)
    claim = registry.live["sg"].claims["fra"]
    for value, name in enumerate(numbered, start=1):
        assert getattr(claim, name) == value / 100, name
