"""Backups hold when a relay dies: what would come to an edge from one death fits beside what it has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.brain.cost import GRAFT_LIMIT_UTILISATION
from control.brain.headroom import COPIES_MIN, Headroom, count_copies
from control.brain.paths import Path
from tests.brain.worlds import FIVE, Fleet


def path(*nodes: str) -> Path:
    return Path(nodes, 100.0, 200.0, 0.0, 0.0, True, (0, 0, 100.0))


VIA_BOM, VIA_DXB, VIA_IAD = (path("sg", relay, "fra") for relay in ("bom", "dxb", "iad"))


@given(st.floats(0.0, 0.95), st.integers(1, 50), st.integers(0, 60))
def test_whatever_dies_nobody_is_asked_for_more_than_it_has(load: float, copies: int, leaves: int) -> None:
    headroom = Headroom({"bom": 0.1, "dxb": load}, {"bom": 10, "dxb": copies})
    taken = 0
    for _ in range(leaves):
        if headroom.allows(VIA_BOM, VIA_DXB):
            headroom.reserve(VIA_BOM, VIA_DXB)
            taken += 1
    assert load + taken * load / max(copies, COPIES_MIN) <= GRAFT_LIMIT_UTILISATION + 1e-9


def test_different_deaths_do_not_add_up() -> None:
    headroom = Headroom({"dxb": 0.8}, {"dxb": 10})
    assert headroom.allows(VIA_BOM, VIA_DXB)
    headroom.reserve(VIA_BOM, VIA_DXB)
    assert not headroom.allows(VIA_BOM, VIA_DXB), "0.8 + 2 x 0.08"
    assert headroom.allows(VIA_IAD, VIA_DXB), "bom and iad do not die together"


def test_an_idle_edge_is_taken_for_an_average_one() -> None:
    headroom = Headroom({"bom": 0.8, "dxb": 0.8}, {"bom": 10})
    assert headroom.allows(VIA_BOM, VIA_DXB), "0.8 + 0.08"
    headroom.reserve(VIA_BOM, VIA_DXB)
    assert not headroom.allows(VIA_BOM, VIA_DXB), "0.8 + 0.16"


def test_one_busy_stream_does_not_rule_out_a_second() -> None:
    assert Headroom({"dxb": 0.7}, {"dxb": 1}).allows(VIA_BOM, VIA_DXB)


def test_a_direct_primary_asks_nobody() -> None:
    assert Headroom({"dxb": 0.95}, {"dxb": 1}).allows(path("sg", "fra"), VIA_DXB)


def test_copies_are_viewers_and_next_edges_once_per_room() -> None:
    flows = [("demo", ("sg", "bom", "fra")), ("demo", ("sg", "bom", "dxb")), ("other", ("sg", "bom"))]
    assert count_copies(flows, {"fra": 7}) == {"sg": 2, "bom": 2, "fra": 7}


def test_a_backup_avoids_an_edge_that_could_not_take_it_over() -> None:
    fleet = Fleet(FIVE)
    fleet.set_link("sg", "fra", 560.0)
    rooms = [f"room{number}" for number in range(4)]
    for room in rooms:
        fleet.publish(room, "sg", watched_at=("fra",))
    fleet.run(5)
    assert {fleet.route("fra", room).backup for room in rooms} == {("fra", "dxb", "sg")}
    # One more stream costs dxb a twelfth: it can stand in for one room of the four when bom dies.
    fleet.cpu["dxb"] = 0.84
    fleet.viewers["dxb"] = 10
    fleet.run(2)
    assert [fleet.route("fra", room).backup for room in rooms].count(("fra", "dxb", "sg")) == 1
    assert all(len(fleet.route("fra", room).backup) == 3 for room in rooms)
