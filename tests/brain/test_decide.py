"""Scripts: a fleet lives through something, and its routes say what they should."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from control.brain import decide, start
from control.brain.world import EdgeState, Snapshot, StreamState
from tests.brain.worlds import FIVE, THREE, Fleet


@pytest.fixture
def three() -> Fleet:
    fleet = Fleet(THREE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(20)
    return fleet


def test_direct_wins_while_all_is_well(three: Fleet) -> None:
    route = three.route("fra")
    assert route.primary == ("fra", "sg")
    assert route.backup == ("fra", "iad", "sg")
    assert route.reason == "direct 160 ms; via iad 320 ms"
    assert route.delay_ms == pytest.approx(80.0)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_fleets_of_any_size_get_routes_with_a_backup_that_shares_no_relay(count: int, seed: int) -> None:
    rng = random.Random(seed)
    names = [f"edge-{number}" for number in range(count)]
    fleet = Fleet({pair: rng.uniform(20.0, 300.0) for pair in combinations(names, 2)})
    fleet.edges, fleet.last_report = names, dict.fromkeys(names, fleet.now)
    source, *leaves = names
    fleet.publish("a room / 世界", source, watched_at=leaves)
    fleet.run(8)
    assert fleet.decision is not None
    routes = {route.edge_id: route for route in fleet.decision.table.routes}
    assert routes.keys() == set(leaves)
    for leaf, route in routes.items():
        for path in (route.primary, route.backup) if count > 2 else (route.primary,):
            assert (path[0], path[-1]) == (leaf, source)
            assert len(set(path)) == len(path) <= 4
        assert route.backup != route.primary
        assert set(route.primary[1:-1]).isdisjoint(route.backup[1:-1])


def test_bad_link_is_left_within_ten_seconds_in_spite_of_the_dwell(three: Fleet) -> None:
    three.degrade("sg", "fra", 800.0, loss=0.1)
    assert three.seconds_until("fra", ("fra", "iad", "sg")) <= 4
    assert three.route("fra").reason == "direct sg–fra +800 ms, loses 10.0 %: via iad 320 ms"
    assert three.route("fra").backup == ("fra", "sg")


def test_heavy_loss_alone_is_a_failure(three: Fleet) -> None:
    three.degrade("sg", "fra", 0.0, loss=0.1)
    assert three.seconds_until("fra", ("fra", "iad", "sg")) <= 5


def test_a_blackout_of_a_moment_moves_nothing(three: Fleet) -> None:
    three.run(60)
    for _ in range(10):
        three.degrade("sg", "fra", 0.0, loss=0.1)
        three.run(3)
        three.degrade("sg", "fra", 0.0, loss=0.0)
        three.run(5)
        assert three.route("fra").primary == ("fra", "sg")


def test_one_burst_among_the_first_probes_condemns_nobody() -> None:
    fleet = Fleet(THREE)
    for pair in (("sg", "fra"), ("fra", "sg")):
        probed = replace(fleet.claims[pair], loss_30s_ratio=0.005, packets_30s=600, packets_10min=600, packets_2s=20)
        fleet.claims[pair] = replace(probed, loss_10min_ratio=0.005)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(30)
    assert fleet.route("fra").primary == ("fra", "sg")


def test_a_cut_link_is_left_at_once(three: Fleet) -> None:
    three.cut("sg", "fra")
    assert three.seconds_until("fra", ("fra", "iad", "sg")) == 1
    assert three.route("fra").reason == "direct sg–fra is down: via iad 320 ms"


def test_return_waits_for_the_dwell_and_flaps_double_it(three: Fleet) -> None:
    waits = []
    for _ in range(3):
        three.degrade("sg", "fra", 800.0, loss=0.1)
        three.seconds_until("fra", ("fra", "iad", "sg"))
        three.set_link("sg", "fra", 160.0)
        waits.append(three.seconds_until("fra", ("fra", "sg"), limit=400))
    assert 30 <= waits[0] <= 32
    assert waits[1] >= 2 * waits[0] - 2
    assert waits[2] >= 2 * waits[1] - 4


def test_a_haven_is_left_soon_however_often_relays_failed() -> None:
    fleet = Fleet(FIVE)
    fleet.set_link("sg", "fra", 560.0)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(40)
    for _ in range(6):
        for relay in ("bom", "dxb", "iad"):
            fleet.set_link("sg", relay, 900.0)
        fleet.seconds_until("fra", ("fra", "sg"), limit=60)
        for relay, rtt_ms in (("bom", 60.0), ("dxb", 80.0), ("iad", 230.0)):
            fleet.set_link("sg", relay, rtt_ms)
        assert fleet.seconds_until("fra", ("fra", "bom", "sg"), limit=400) <= 15


def test_a_small_gain_moves_nothing() -> None:
    fleet = Fleet({("sg", "fra"): 160.0, ("sg", "bom"): 60.0, ("bom", "fra"): 90.0})
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(5)
    first = fleet.route("fra").primary
    fleet.set_link("sg", "fra", 152.0)
    fleet.run(120)
    fleet.set_link("sg", "fra", 160.0)
    fleet.run(120)
    assert fleet.route("fra").primary == first


def test_a_real_gain_moves_after_dwell_and_three_reports() -> None:
    fleet = Fleet(FIVE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(40)
    assert fleet.route("fra").primary == ("fra", "sg")
    fleet.set_link("sg", "bom", 40.0)
    fleet.set_link("bom", "fra", 80.0)
    assert 3 <= fleet.seconds_until("fra", ("fra", "bom", "sg")) <= 4


def test_a_first_choice_from_noisy_samples_is_corrected_soon() -> None:
    fleet = Fleet(THREE)
    fleet.set_link("sg", "fra", 700.0)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(2)
    assert fleet.route("fra").primary == ("fra", "iad", "sg")
    fleet.set_link("sg", "fra", 160.0)
    assert fleet.seconds_until("fra", ("fra", "sg")) == 3


def test_two_good_reports_are_not_three() -> None:
    fleet = Fleet(FIVE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(40)
    for _ in range(20):
        fleet.set_link("bom", "fra", 40.0)
        fleet.run(2)
        fleet.set_link("bom", "fra", 120.0)
        fleet.run(1)
    assert fleet.route("fra").primary == ("fra", "sg")


def test_five_edges_take_the_nearest_relay_and_a_disjoint_backup() -> None:
    fleet = Fleet(FIVE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(5)
    fleet.degrade("sg", "fra", 800.0)
    fleet.run(6)
    route = fleet.route("fra")
    assert route.primary == ("fra", "bom", "sg")
    assert route.backup == ("fra", "dxb", "sg")
    assert route.reason == "direct sg–fra +800 ms: via bom 180 ms"


@pytest.mark.parametrize("ahead_ms", [5000.0, -5000.0, 3_600_000.0])
def test_a_clock_that_is_off_changes_neither_routes_nor_delays(ahead_ms: float) -> None:
    plain, skewed = Fleet(FIVE), Fleet(FIVE, clocks={"fra": ahead_ms})
    for fleet in (plain, skewed):
        fleet.publish("demo", "sg", watched_at=("fra", "iad"))
        fleet.run(5)
    for leaf in ("bom", "dxb", "fra", "iad"):
        one, other = plain.route(leaf), skewed.route(leaf)
        assert (one.primary, one.backup, one.reason) == (other.primary, other.backup, other.reason)
        assert one.delay_ms == pytest.approx(other.delay_ms)
        assert one.cost_ms == pytest.approx(other.cost_ms, abs=0.5)


def test_paths_begin_at_the_edge_and_end_at_the_source() -> None:
    fleet = Fleet(FIVE)
    fleet.publish("demo", "sg")
    fleet.publish("other", "iad")
    decision = fleet.tick()
    assert len(decision.table.routes) == 8
    for route in decision.table.routes:
        assert route.primary[0] == route.edge_id
        assert route.primary[-1] == route.source_edge
        assert len(set(route.primary)) == len(route.primary)


def test_a_silent_edge_is_suspect_then_down_and_its_relay_duty_ends() -> None:
    fleet = Fleet(FIVE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.degrade("sg", "fra", 800.0)
    fleet.run(20)
    assert fleet.route("fra").primary == ("fra", "bom", "sg")
    fleet.silent.add("bom")
    for other in ("sg", "fra", "dxb", "iad"):
        fleet.cut("bom", other)
    fleet.run(1)
    assert fleet.route("fra").primary == ("fra", "dxb", "sg")
    fleet.run(2)
    decision = fleet.tick()
    assert decision.table.verdicts["bom"] == "suspect"
    fleet.run(2)
    decision = fleet.tick()
    assert decision.table.verdicts["bom"] == "down"


def test_an_edge_that_neighbours_hear_is_never_down() -> None:
    fleet = Fleet(THREE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(20)
    fleet.silent.add("iad")
    for _ in range(30):
        decision = fleet.tick()
    assert decision.table.verdicts["iad"] == "suspect"
    assert fleet.route("fra").backup == ("fra", "iad", "sg")


def test_nobody_is_down_in_the_first_fifteen_seconds() -> None:
    edges = (EdgeState(edge_id="fra", last_report_at=-100.0), EdgeState(edge_id="sg", last_report_at=0.0))
    snapshot = Snapshot(edges, (), ())
    state = start(0.0)
    early = decide(snapshot, state, 1.0)
    assert early.table.verdicts["fra"] == "suspect"
    state = early.state
    for second in range(2, 17):
        state = decide(snapshot, state, float(second)).state
    assert decide(snapshot, state, 16.0).table.verdicts["fra"] == "down"


def test_a_leader_that_stood_still_judges_nobody_down() -> None:
    fleet = Fleet(THREE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(20)
    before = fleet.route("fra")
    fleet.silent.update(fleet.edges)
    decision = fleet.tick(60.0)
    assert set(decision.table.verdicts.values()) == {"suspect"}
    assert fleet.route("fra").primary == before.primary


def test_before_anything_is_measured_the_straight_way_is_tried() -> None:
    edges = tuple(EdgeState(edge_id=edge, last_report_at=0.0) for edge in ("fra", "sg"))
    decision = decide(Snapshot(edges, (), (StreamState("demo", 1, "sg"),)), start(0.0), 1.0)
    (route,) = decision.table.routes
    assert route.primary == ("fra", "sg")
    assert route.reason == "direct, not measured yet"


def test_the_first_measurement_overrules_a_guess_without_dwell() -> None:
    fleet = Fleet({("sg", "bom"): 60.0, ("bom", "fra"): 120.0})
    fleet.publish("demo", "sg", watched_at=("fra",))
    claims, fleet.claims = fleet.claims, {}
    fleet.run(3)
    assert fleet.route("fra").primary == ("fra", "sg")
    fleet.claims = claims
    assert fleet.seconds_until("fra", ("fra", "bom", "sg")) == 1


def test_when_every_way_is_out_the_last_route_stays() -> None:
    fleet = Fleet(THREE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(5)
    for a, b in THREE:
        fleet.cut(a, b)
    fleet.run(10)
    assert fleet.route("fra").primary == ("fra", "sg")


def test_a_full_relay_gets_no_new_routes_and_keeps_the_old() -> None:
    fleet = Fleet({("sg", "fra"): 400.0, ("sg", "bom"): 60.0, ("bom", "fra"): 120.0})
    fleet.publish("old", "sg", watched_at=("fra",))
    fleet.run(5)
    assert fleet.route("fra", "old").primary == ("fra", "bom", "sg")
    fleet.cpu["bom"] = 0.97
    fleet.publish("new", "sg", watched_at=("fra",))
    fleet.run(5)
    assert fleet.route("fra", "old").primary == ("fra", "bom", "sg")
    assert fleet.route("fra", "new").primary == ("fra", "sg")


def test_a_far_leaf_grafts_near_by_when_the_tree_keeps_its_backups() -> None:
    rtts = {
        ("sg", "fra"): 160.0,
        ("sg", "lhr"): 168.0,
        ("fra", "lhr"): 14.0,
        ("sg", "bom"): 60.0,
        ("bom", "fra"): 130.0,
    }
    rtts[("bom", "lhr")] = 140.0
    fleet = Fleet(rtts)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(5)
    assert fleet.route("lhr").primary == ("lhr", "fra", "sg")
    assert fleet.route("fra").backup == ("fra", "bom", "sg")


def test_nobody_hangs_below_an_edge_whose_only_backup_it_is() -> None:
    fleet = Fleet({("sg", "fra"): 160.0, ("fra", "iad"): 90.0, ("sg", "iad"): 230.0})
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(60)
    assert fleet.route("iad").primary == ("iad", "sg")


def test_at_most_a_tenth_of_the_routes_leaves_a_link_each_second() -> None:
    fleet = Fleet(FIVE)
    fleet.set_link("sg", "fra", 300.0)
    rooms = [f"room{number}" for number in range(40)]
    for room in rooms:
        fleet.publish(room, "sg", watched_at=("fra",))
    fleet.run(40)
    assert {fleet.route("fra", room).primary for room in rooms} == {("fra", "bom", "sg")}
    # Home to the direct path, because there no relay's gain counts.
    fleet.set_link("sg", "fra", 150.0)
    moved_before = 0
    for _ in range(40):
        fleet.tick()
        moved = sum(fleet.route("fra", room).primary == ("fra", "sg") for room in rooms)
        assert moved - moved_before <= 4
        moved_before = moved
    assert moved_before == 40


def test_no_relay_gains_more_than_its_share_of_the_streams_in_a_minute() -> None:
    fleet = Fleet({("sg", "fra"): 160.0, ("sg", "liar"): 200.0, ("liar", "fra"): 200.0})
    rooms = [f"room{number}" for number in range(70)]
    for room in rooms:
        fleet.publish(room, "sg", watched_at=("fra",))
    fleet.run(60)
    # Coordinates are unknown here and both ends agree: nothing but the cap stands against it.
    fleet.set_link("sg", "liar", 1.0)
    fleet.set_link("liar", "fra", 1.0)
    for minutes in (1, 2):
        fleet.run(60)
        drawn = sum("liar" in fleet.route("fra", room).primary for room in rooms)
        assert drawn <= 7 * minutes
    assert drawn == 14


def test_one_stream_may_always_move() -> None:
    fleet = Fleet(FIVE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(40)
    fleet.set_link("sg", "bom", 30.0)
    fleet.set_link("bom", "fra", 60.0)
    assert fleet.seconds_until("fra", ("fra", "bom", "sg")) <= 4


def test_a_failure_is_left_even_when_every_relay_has_had_its_share() -> None:
    fleet = Fleet(THREE)
    rooms = [f"room{number}" for number in range(20)]
    for room in rooms:
        fleet.publish(room, "sg", watched_at=("fra",))
    fleet.run(40)
    fleet.cut("sg", "fra")
    fleet.run(1)
    assert {fleet.route("fra", room).primary for room in rooms} == {("fra", "iad", "sg")}


def test_a_new_leader_takes_over_what_flows() -> None:
    fleet = Fleet(FIVE)
    fleet.set_link("sg", "fra", 560.0)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(20)
    assert fleet.route("fra").primary == ("fra", "bom", "sg")
    # A little worse than dxb, but not by the tenth that a move needs.
    fleet.set_link("bom", "fra", 138.0)
    fleet.run(5)
    fleet.restart_control()
    fleet.run(60)
    assert fleet.route("fra").primary == ("fra", "bom", "sg")


def test_a_new_leader_leaves_a_failure_it_inherits_at_once() -> None:
    fleet = Fleet(THREE)
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(20)
    fleet.restart_control()
    fleet.cut("sg", "fra")
    fleet.run(1)
    assert fleet.route("fra").primary == ("fra", "iad", "sg")


def test_a_full_link_takes_no_new_graft_and_keeps_what_it_carries() -> None:
    fleet = Fleet({("sg", "fra"): 160.0, ("sg", "bom"): 90.0, ("bom", "fra"): 90.0})
    fleet.publish("old", "sg", watched_at=("fra",))
    fleet.run(5)
    assert fleet.route("fra", "old").primary == ("fra", "sg")
    # A link's load is its sender's word, which comes with the other direction's claim.
    fleet.claims["fra", "sg"] = replace(fleet.claims["fra", "sg"], utilisation=0.97)
    fleet.publish("new", "sg", watched_at=("fra",))
    fleet.tick()
    assert fleet.route("fra", "old").primary == ("fra", "sg")
    assert fleet.route("fra", "new").primary == ("fra", "bom", "sg")


def test_a_full_source_is_joined_at_an_edge_that_has_the_stream() -> None:
    rtts = {
        ("sg", "fra"): 160.0,
        ("sg", "lhr"): 168.0,
        ("fra", "lhr"): 14.0,
        ("sg", "bom"): 60.0,
        ("bom", "fra"): 130.0,
    }
    fleet = Fleet({**rtts, ("bom", "lhr"): 140.0})
    fleet.publish("demo", "sg", watched_at=("fra",))
    fleet.run(20)
    fleet.cpu["sg"] = 0.97
    fleet.publish("other", "sg", watched_at=("lhr",))
    fleet.run(2)
    assert fleet.route("lhr").primary == ("lhr", "fra", "sg")
    # Nobody else has the other stream: a full way is better than none, and the reason says so.
    assert fleet.route("lhr", "other").reason.endswith("over a full link")


def test_the_worst_leaf_joins_a_nearer_edge_within_two_minutes_and_one_at_a_time() -> None:
    near = ("ams", "cdg", "lhr")
    rtts = {("sg", "fra"): 160.0, ("sg", "bom"): 60.0, ("bom", "fra"): 130.0}
    for position, edge in enumerate(near):
        rtts |= {("sg", edge): 166.0 + position, ("fra", edge): 10.0 + position, ("bom", edge): 140.0}
    fleet = Fleet(rtts)
    fleet.publish("demo", "sg", watched_at=near)
    fleet.run(40)
    assert all(fleet.route(edge).primary == (edge, "sg") for edge in near)
    fleet.watched["demo"].add("fra")
    grafted = []
    for _ in range(6):
        fleet.run(60)
        grafted.append(sum(fleet.route(edge).primary[1] != "sg" for edge in near))
    assert grafted[0] <= 1
    assert all(later - before <= 1 for before, later in pairwise(grafted))
    assert grafted[-1] >= 2


def test_same_input_same_table() -> None:
    one, other = Fleet(FIVE), Fleet(FIVE)
    for fleet in (one, other):
        fleet.publish("demo", "sg", watched_at=("fra",))
        fleet.run(10)
    assert one.decision == other.decision
