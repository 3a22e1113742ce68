"""Relays of one city share its streams; equal input gives equal output."""

from __future__ import annotations

from collections import Counter

from control.brain.metro import choose_of_two, group_metros
from control.brain.paths import Path
from control.brain.world import EdgeState
from tests.brain.worlds import Fleet

METROS = {"bom1": "bom1", "bom2": "bom1", "bom3": "bom1", "dxb": "dxb"}


def path(relay: str, cost_ms: float = 100.0) -> Path:
    return Path(("sg", relay, "fra"), cost_ms, 180.0, 0.0, 0.0, True, (0, 0, cost_ms))


def test_a_metro_is_a_city_and_not_a_name() -> None:
    edges = (
        EdgeState(edge_id="bom2", region="west", latitude_degrees=19.2, longitude_degrees=72.9),
        EdgeState(edge_id="bom1", region="south", latitude_degrees=19.0, longitude_degrees=72.8),
        EdgeState(edge_id="pnq", latitude_degrees=18.5, longitude_degrees=73.9),
        EdgeState(edge_id="nowhere"),
        EdgeState(edge_id="nowhere2"),
    )
    groups = group_metros(edges)
    assert groups == {"bom1": "bom1", "bom2": "bom1", "pnq": "pnq", "nowhere": "nowhere", "nowhere2": "nowhere2"}


def test_assignments_spread_far_better_than_by_chance_alone() -> None:
    options = [path("bom1"), path("bom2", 100.5), path("bom3", 101.0), path("dxb", 104.0)]
    assigned: Counter[str] = Counter()
    for number in range(300):
        chosen = choose_of_two(options[0], options, METROS, assigned, (), f"room{number} fra")
        assigned.update(chosen.relays)
    assert set(assigned) == {"bom1", "bom2", "bom3"}, "another city is no sibling"
    assert max(assigned.values()) - min(assigned.values()) <= 10


def test_a_dearer_or_lossier_sibling_is_none() -> None:
    lossy = Path(("sg", "bom3", "fra"), 100.0, 180.0, 1e-3, 1e-3, True, (0, 2, 100.0))
    options = [path("bom1"), path("bom2", 111.0), lossy]
    for number in range(20):
        assert choose_of_two(options[0], options, METROS, {"bom1": 99}, (), str(number)).relays == ("bom1",)


def test_whoever_is_on_a_sibling_stays() -> None:
    options = [path("bom1"), path("bom2", 103.0), path("bom3")]
    held = options[1].nodes
    assert choose_of_two(options[0], options, METROS, {"bom2": 99}, held, "demo fra").nodes == held


def test_a_burst_of_streams_goes_to_both_relays_of_a_city() -> None:
    fleet = Fleet({("sg", "fra"): 400.0})
    for relay, place in (("bom1", (19.0, 72.8)), ("bom2", (19.1, 72.9))):
        fleet.places[relay] = place
        fleet.edges.append(relay)
        fleet.last_report[relay] = fleet.now
        fleet.set_link("sg", relay, 60.0)
        fleet.set_link(relay, "fra", 120.0)
    fleet.set_link("bom1", "bom2", 1.0)
    fleet.edges.sort()
    fleet.run(2)
    for number in range(20):
        fleet.publish(f"room{number}", "sg", watched_at=("fra",))
    fleet.tick()
    used = Counter(fleet.route("fra", f"room{number}").primary[1] for number in range(20))
    assert used == {"bom1": 10, "bom2": 10}
