"""A leader that has just begun is careful: it knows nobody's silence and pushes no half table. Virtual time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.fleet.planner import PUSH_AFTER_S, Planner
from control.fleet.registry import EdgeFacts, FleetRegistry
from control.main import read_edge_facts
from tradewind.v1 import edge_pb2, telemetry_pb2


def report(edge: str, *streams: telemetry_pb2.StreamReport) -> telemetry_pb2.ReportRequest:
    description = edge_pb2.EdgeDescription(
        region=edge, latitude_degrees=1.0, longitude_degrees=2.0, trunk_address=f"{edge}:1"
    )
    return telemetry_pb2.ReportRequest(full=True, description=description, streams=streams)


def known(path: Path, edges: Iterable[str]) -> Path:
    """What an earlier leader left behind."""
    earlier = FleetRegistry(path)
    for edge in edges:
        earlier.handle_enrolled(edge)
        earlier.handle_report(edge, report(edge), 0.0)
    return path


SOURCE = telemetry_pb2.StreamReport(room="demo", incarnation=7, local=True, codecs=["h264"])
SEEN = telemetry_pb2.StreamReport(
    room="demo", incarnation=7, active_path=["sg", "fra"], codecs=["h264"], phase="steady"
)


def test_nothing_is_pushed_before_nine_in_ten_are_heard(tmp_path: Path) -> None:
    edges = [f"e{number}" for number in range(20)]
    registry = FleetRegistry(known(tmp_path / "fleet.json", edges))
    planner = Planner(registry, now=100.0)
    for edge in edges[:17]:
        registry.handle_report(edge, report(edge), 101.0)
    assert planner.step(101.0) == []
    assert not planner.pushing
    registry.handle_report(edges[17], report(edges[17]), 102.0)
    assert set(planner.step(102.0)) == set(edges)
    assert planner.pushing


def test_after_fifteen_seconds_it_pushes_whatever_it_has_heard(tmp_path: Path) -> None:
    registry = FleetRegistry(known(tmp_path / "fleet.json", ["fra", "iad", "sg"]))
    planner = Planner(registry, now=100.0)
    for second in range(int(PUSH_AFTER_S)):
        registry.handle_report("sg", report("sg"), 100.0 + second)
        assert planner.step(100.0 + second) == []
    assert planner.step(100.0 + PUSH_AFTER_S) != []


def test_a_first_leader_of_an_empty_fleet_pushes_at_once() -> None:
    registry = FleetRegistry()
    planner = Planner(registry, now=0.0)
    registry.handle_enrolled("sg")
    registry.handle_report("sg", report("sg"), 0.0)
    assert planner.step(0.0) == ["sg"]


@given(st.lists(st.sampled_from(["fra", "iad", "sg"]), max_size=20))
def test_nobody_is_down_in_its_first_fifteen_seconds_whoever_is_silent(heard: list[str]) -> None:
    registry = FleetRegistry()
    for edge in ("fra", "iad", "sg"):
        registry.handle_enrolled(edge)
        registry.handle_report(edge, report(edge), 0.0)
    planner = Planner(registry, now=1000.0)
    for position, edge in enumerate(heard):
        now = 1000.0 + 14.9 * position / max(1, len(heard))
        registry.handle_report(edge, report(edge), now)
        planner.step(now)
        assert "down" not in planner.plan.table.verdicts.values()


def test_a_stream_whose_source_is_not_heard_yet_lives_on_where_it_flows(tmp_path: Path) -> None:
    registry = FleetRegistry(known(tmp_path / "fleet.json", ["fra", "iad", "sg"]))
    planner = Planner(registry, now=0.0)
    for now in (0.5, PUSH_AFTER_S):
        registry.handle_report("fra", report("fra", SEEN), now)
        registry.handle_report("iad", report("iad"), now)
        planner.step(now)
    assert [route.primary for route in planner.plan.slices["fra"].routes] == [("fra", "sg")]
    # The source speaks: its own word counts from here on.
    registry.handle_report("sg", report("sg"), PUSH_AFTER_S + 1)
    planner.step(PUSH_AFTER_S + 1)
    assert planner.plan.slices["fra"].routes == ()


def test_a_source_is_known_by_its_own_word_first() -> None:
    registry = FleetRegistry()
    for edge in ("fra", "sg"):
        registry.handle_enrolled(edge)
    registry.handle_report("fra", report("fra", SEEN), 0.0)
    registry.handle_report("sg", report("sg", SOURCE), 0.0)
    assert registry.directory()["demo"][0] == "sg"
    assert registry.directory()["demo"][1].local
    assert registry.directory(["sg"]) == {}


def test_what_the_operator_says_of_an_edge_counts_more_than_what_it_says_itself(tmp_path: Path) -> None:
    table = tmp_path / "edges.csv"
    table.write_text(
        "edge_id,latitude_degrees,longitude_degrees,provider,continent\nsg,1.35,103.82,aws,asia\nfra,,,own,europe\n"
    )
    registry = FleetRegistry(facts=read_edge_facts(table))
    for edge in ("fra", "sg"):
        registry.handle_enrolled(edge)
        registry.handle_report(edge, report(edge), 0.0)
    fra, sg = registry.snapshot().edges
    assert (sg.latitude_degrees, sg.longitude_degrees, sg.provider, sg.continent) == (1.35, 103.82, "aws", "asia")
    assert (fra.latitude_degrees, fra.longitude_degrees, fra.provider) == (1.0, 2.0, "own")


@pytest.mark.parametrize("row", ["sg,1.35,,aws,asia", "sg,north,103.82,,", "sg,91,0,,", "sg,nan,0,,", ",1,2,,"])
def test_a_bad_line_about_an_edge_is_named(tmp_path: Path, row: str) -> None:
    table = tmp_path / "edges.csv"
    table.write_text(f"edge_id,latitude_degrees,longitude_degrees,provider,continent\n{row}\n")
    with pytest.raises(ValueError, match=r"edges\.csv:2: "):
        read_edge_facts(table)


def test_a_table_of_edges_may_hold_only_names_and_providers(tmp_path: Path) -> None:
    table = tmp_path / "edges.csv"
    table.write_text("edge_id,provider\nsg,aws\n")
    assert read_edge_facts(table) == {"sg": EdgeFacts(provider="aws")}
