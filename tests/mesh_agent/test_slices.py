"""Slices are applied whole or not at all, and survive a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.mesh.errors import SliceRefused
from edge.mesh.settings import MeshSettings, PeerAddress
from edge.mesh.slices import FILE_NAME, check_slice, load_slice, save_slice
from edge.mesh.view import Route
from tradewind.common.slice_reasons import SLICE_REASONS
from tradewind.v1 import edge_pb2, routes_pb2


def settings(**changes: object) -> MeshSettings:
    return MeshSettings(edge_id="fra", data_dir=Path("/nowhere"), **changes)  # type: ignore[arg-type]


def neighbour(edge_id: str) -> routes_pb2.Neighbour:
    return routes_pb2.Neighbour(
        edge_id=edge_id,
        status=edge_pb2.EDGE_STATUS_UP,
        trunk_address=f"{edge_id}.test:7701",
        probe_address=f"{edge_id}.test:7702",
    )


def route(*primary: str, backup: tuple[str, ...] = (), source: str = "sg") -> routes_pb2.StreamRoute:
    return routes_pb2.StreamRoute(room="demo", incarnation=1, source_edge=source, primary=primary, backup=backup)


def slice_(*routes: routes_pb2.StreamRoute, epoch: int = 2, version: int = 7) -> routes_pb2.RouteSlice:
    return routes_pb2.RouteSlice(
        leader_epoch=epoch,
        version=version,
        neighbours=[neighbour("sg"), neighbour("iad")],
        probe_targets=[
            routes_pb2.ProbeTarget(edge_id="sg", pace=routes_pb2.PROBE_PACE_BACKUP, key=bytes(32)),
            routes_pb2.ProbeTarget(edge_id="iad", pace=routes_pb2.PROBE_PACE_CANDIDATE, key=bytes(32)),
        ],
        routes=routes,
    )


def test_a_good_slice_becomes_a_view() -> None:
    sent = route("fra", "sg", backup=("fra", "iad", "sg"))
    sent.codecs.extend(["h264", "opus"])
    checked = check_slice(slice_(sent), settings(), (2, 6))
    assert checked.view.routes[0].codecs == ("h264", "opus")
    assert checked.view.routes[0].primary == ("fra", "sg")
    assert checked.trunk_addresses == {"sg": "sg.test:7701", "iad": "iad.test:7701"}
    assert [(target.edge_id, target.warm) for target in checked.probe_targets] == [("sg", True), ("iad", False)]


def test_settings_override_addresses() -> None:
    own = settings(peer_addresses={"sg": PeerAddress(trunk="127.0.0.1:1"), "iad": PeerAddress(probe="127.0.0.1:2")})
    checked = check_slice(slice_(), own, (0, 0))
    assert checked.trunk_addresses == {"sg": "127.0.0.1:1", "iad": "iad.test:7701"}
    assert [target.address for target in checked.probe_targets] == ["sg.test:7702", "127.0.0.1:2"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (route("fra", "iad", "fra", "sg"), "route_loop"),
        (route("fra", "sg", backup=("fra", "iad", "iad", "sg")), "route_loop"),
        (route("fra", "atlantis", "sg"), "unknown_edge"),
        (route("fra", "atlantis", source="atlantis"), "unknown_edge"),
        (route("iad", "sg"), "bad_slice"),
        (route("fra", "iad"), "bad_slice"),
        (route("fra", source="fra"), "bad_slice"),
        (route(), "bad_slice"),
    ],
)
def test_bad_routes_are_refused_by_name(bad: routes_pb2.StreamRoute, reason: str) -> None:
    with pytest.raises(SliceRefused) as refusal:
        check_slice(slice_(route("fra", "sg"), bad), settings(), (0, 0))
    assert refusal.value.reason == reason


EDGES = st.sampled_from(["sg", "fra", "iad", "atlantis", ""])
PATHS = st.lists(EDGES, max_size=10)


@given(st.lists(st.tuples(PATHS, PATHS, EDGES), max_size=3))
def test_no_route_that_is_taken_loops_or_leaves_the_fleet(paths: list[tuple[list[str], list[str], str]]) -> None:
    routes = [route(*primary, backup=tuple(backup), source=source) for primary, backup, source in paths]
    refused = ""
    taken_routes: tuple[Route, ...] = ()
    try:
        taken_routes = check_slice(slice_(*routes), settings(), (0, 0)).view.routes
    except SliceRefused as refusal:
        refused = refusal.reason
    assert refused in SLICE_REASONS or len(taken_routes) == len(routes)
    for taken in taken_routes:
        for path in filter(None, (taken.primary, taken.backup)):
            assert len(set(path)) == len(path)
            assert set(path) <= {"sg", "fra", "iad"}
            assert (path[0], path[-1]) == ("fra", taken.source_edge)


@pytest.mark.parametrize(
    ("current", "reason"), [((3, 1), "stale_epoch"), ((2, 8), "stale_version"), ((2, 7), None), ((1, 99), None)]
)
def test_older_slices_are_refused(current: tuple[int, int], reason: str | None) -> None:
    if reason is None:
        assert check_slice(slice_(), settings(), current).view.version == 7
        return
    with pytest.raises(SliceRefused) as refusal:
        check_slice(slice_(), settings(), current)
    assert refusal.value.reason == reason


def test_unspecified_enums_are_refused() -> None:
    unspecified = slice_()
    unspecified.neighbours[0].status = edge_pb2.EDGE_STATUS_UNSPECIFIED
    with pytest.raises(SliceRefused):
        check_slice(unspecified, settings(), (0, 0))
    unpaced = slice_()
    unpaced.probe_targets[0].pace = routes_pb2.PROBE_PACE_UNSPECIFIED
    with pytest.raises(SliceRefused):
        check_slice(unpaced, settings(), (0, 0))


def test_the_last_good_slice_survives_on_disk(tmp_path: Path) -> None:
    assert load_slice(tmp_path) is None
    save_slice(slice_(route("fra", "sg")), tmp_path)
    assert load_slice(tmp_path) == slice_(route("fra", "sg"))
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0, "it holds probe keys"


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    save_slice(slice_(), tmp_path)
    stored = bytearray((tmp_path / FILE_NAME).read_bytes())
    stored[-1] ^= 1
    (tmp_path / FILE_NAME).write_bytes(stored)
    assert load_slice(tmp_path) is None
    (tmp_path / FILE_NAME).write_bytes(b"")
    assert load_slice(tmp_path) is None
