"""From lost packets to routes in virtual time: control never moves a route for a moment's fault, and soon for a real
one. Fail-over inside edges is not in this world: whatever moves, control has moved it."""

from __future__ import annotations

import pytest

from tests.brain.worlds import FIVE, THREE
from tests.fleet.virtual import VirtualFleet

RELAYED = {**FIVE, ("sg", "fra"): 560.0}


def relayed(seed: int, loss_ratio: float = 0.0) -> VirtualFleet:
    """sg -> bom -> fra with a spare relay that is hardly worse."""
    fleet = VirtualFleet(RELAYED, "sg", "fra", seed=seed)
    for link in fleet.links.values():
        link.loss_ratio = loss_ratio
    fleet.run(40)
    assert fleet.path == ("sg", "bom", "fra")
    return fleet


@pytest.mark.parametrize("loss_ratio", [0.0, 0.002])
def test_blackouts_of_a_fifth_of_a_second_and_bursts_of_eight_move_no_relayed_route(loss_ratio: float) -> None:
    fleet = relayed(1, loss_ratio)
    moves = len(fleet.routes)
    # As in the failover bench: one or the other every three seconds.
    for _ in range(5):
        fleet.link("bom", "fra").dark_until = fleet.now + 0.2
        fleet.run(3)
        fleet.link("bom", "fra").lose_next = 8
        fleet.run(3)
    assert fleet.routes[moves:] == []


@pytest.mark.parametrize("loss_ratio", [0.0, 0.002])
def test_two_blackouts_in_half_a_minute_move_no_direct_route(loss_ratio: float) -> None:
    fleet = VirtualFleet(THREE, "sg", "fra", seed=1)
    for link in fleet.links.values():
        link.loss_ratio = loss_ratio
    fleet.run(40)
    assert fleet.path == ("sg", "fra")
    moves = len(fleet.routes)
    for _ in range(3):
        fleet.link("sg", "fra").dark_until = fleet.now + 0.2
        fleet.run(15)
    assert fleet.routes[moves:] == []


def test_four_hundred_milliseconds_more_are_left_within_four_seconds() -> None:
    fleet = VirtualFleet(FIVE, "sg", "fra", seed=1)
    fleet.run(40)
    assert fleet.path == ("sg", "fra")
    fleet.link("sg", "fra").rtt_ms += 400
    broken_at = fleet.now
    fleet.run(10)
    moved_at, path = fleet.routes[-1]
    assert path == ("sg", "bom", "fra")
    assert moved_at - broken_at <= 4


def test_a_link_that_stays_dark_is_left_within_two_seconds() -> None:
    fleet = relayed(3)
    fleet.link("bom", "fra").dark_until = float("inf")
    broken_at = fleet.now
    fleet.run(10)
    assert fleet.path == ("sg", "dxb", "fra")
    assert fleet.routes[-1][0] - broken_at <= 2
