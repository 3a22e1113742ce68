"""Paths are the cheapest over at most two relays, backups share nothing with them, and loss is judged per path."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from math import inf, isfinite

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.brain.links import LinkTable, hop_rows
from control.brain.loss import RESIDUAL_MAX_RATIO, residual_class, residual_loss_ratio
from control.brain.paths import PathFinder, decide_backup, measure_path, min_plus


def table(costs: np.ndarray, loss: float = 0.0) -> LinkTable:
    count = len(costs)
    names = tuple(f"e{position}" for position in range(count))
    finite = np.isfinite(costs) & ~np.eye(count, dtype=bool)
    cost = np.where(finite, costs, inf)
    rtt = np.where(finite, costs, 0.0)
    lossy = np.full((count, count), loss)
    return LinkTable(
        index={name: position for position, name in enumerate(names)},
        edge_ids=names,
        usable=finite,
        measured=finite,
        d50_ms=rtt / 2,
        d95_ms=rtt / 2,
        rtt_ms=rtt,
        rtt_base_ms=rtt,
        loss_ratio=lossy,
        proven_loss_ratio=lossy,
        fresh_loss_ratio=lossy,
        seen_loss_ratio=lossy,
        utilisation=np.zeros((count, count)),
        cost_ms=cost,
        tariff_guessed=np.zeros((count, count), dtype=bool),
        hops=hop_rows(cost, rtt, lossy, lossy, finite),
    )


@given(st.integers(2, 7), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_best_path_equals_brute_force(count: int, seed: int) -> None:
    rng = random.Random(seed)
    costs = np.array([[rng.choice([inf, rng.uniform(1, 200)]) for _ in range(count)] for _ in range(count)])
    links = table(costs)
    for source, leaf in itertools.permutations(range(count), 2):
        found = PathFinder(links, f"e{source}").candidates(f"e{leaf}")
        rest = [edge for edge in range(count) if edge not in (source, leaf)]
        best = inf
        for relays in itertools.chain.from_iterable(itertools.permutations(rest, size) for size in range(3)):
            nodes = (source, *relays, leaf)
            best = min(best, sum(links.cost_ms[hop] for hop in itertools.pairwise(nodes)))
        assert isfinite(best) == bool(found), f"seed {seed}"
        if found:
            cheapest = min(path.cost_ms for path in found)
            assert cheapest == pytest.approx(best), f"seed {seed}"
            assert all(len(set(path.nodes)) == len(path.nodes) <= 4 for path in found)


def test_min_plus_names_the_middle() -> None:
    left = np.array([[1.0, 5.0]])
    right = np.array([[9.0], [2.0]])
    values, through = min_plus(left, right)
    assert (values[0, 0], through[0, 0]) == (7.0, 1)


@given(st.integers(4, 7), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_backup_shares_no_relay_and_no_link(count: int, seed: int) -> None:
    rng = random.Random(seed)
    links = table(np.array([[rng.uniform(1, 200) for _ in range(count)] for _ in range(count)]))
    options = PathFinder(links, "e0").candidates("e1")
    for primary in options:
        backup = decide_backup(options, primary, ())
        assert backup is not None, f"seed {seed}"
        assert not set(backup.relays) & set(primary.relays)
        assert not set(itertools.pairwise(backup.nodes)) & set(itertools.pairwise(primary.nodes))


def test_backup_stays_outside_the_own_subtree_while_it_can() -> None:
    links = table(np.array([[0, 10, 10, 30], [10, 0, 1, 1], [10, 1, 0, 1], [30, 1, 1, 0]], dtype=float))
    options = PathFinder(links, "e0").candidates("e1")
    primary = options[0]
    assert primary.nodes == ("e0", "e1")
    near = decide_backup(options, primary, ())
    assert near is not None
    assert near.relays == ("e2",)
    outside = decide_backup(options, primary, ("e2",))
    assert outside is not None
    assert outside.relays == ("e3",)
    forced = decide_backup(options, primary, ("e2", "e3"))
    assert forced is not None


def test_barred_relays_carry_nothing_new() -> None:
    links = table(np.array([[0, 100, 10], [100, 0, 10], [10, 10, 0]], dtype=float))
    assert PathFinder(links, "e0").candidates("e1")[0].relays == ("e2",)
    assert PathFinder(links, "e0", {"e2"}).candidates("e1")[0].relays == ()
    assert PathFinder(links, "e0", {"e2"}).candidates("e2")[0].nodes == ("e0", "e2")


def test_path_over_a_dead_link_is_none() -> None:
    links = table(np.array([[0, inf], [inf, 0]]))
    assert measure_path(links, ("e0", "e1")) is None
    assert measure_path(links, ("e0", "nowhere")) is None


def test_residual_loss_is_what_a_simulation_of_tries_finds() -> None:
    hops = [(0.2, 60.0), (0.1, 100.0)]
    rng = random.Random(7)
    missing, packets = 0, 200_000
    for _ in range(packets):
        spent = 0.0
        for loss, rtt in hops:
            while rng.random() < loss:
                spent += rtt + 25.0
        missing += spent > 300.0
    assert residual_loss_ratio(hops) == pytest.approx(missing / packets, rel=0.1), "seed 7"


def test_slack_is_shared_by_all_hops() -> None:
    alone = residual_loss_ratio([(1e-3, 160.0)])
    both = residual_loss_ratio([(1e-3, 160.0), (1e-3, 160.0)])
    assert alone == pytest.approx(1e-6)
    # Either hop may try once, but not both.
    assert both == pytest.approx(3e-6, rel=0.01)
    assert residual_class(both) == 0


def test_classes_count_decades_beyond_the_limit() -> None:
    assert residual_class(RESIDUAL_MAX_RATIO) == 0
    assert residual_class(2e-5) == 1
    assert residual_class(1e-2) == 3


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 500)), max_size=3))
def test_residual_loss_is_a_ratio_and_grows_with_a_hop(hops: list[tuple[float, float]]) -> None:
    value = residual_loss_ratio(hops)
    assert 0.0 <= value <= 1.0
    assert residual_loss_ratio([*hops, (0.05, 80.0)]) >= value


@given(st.integers(5, 9), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_path_over_two_relays_leaves_a_disjoint_one_among_the_candidates(count: int, seed: int) -> None:
    rng = random.Random(seed)
    # One hub is so good that all the cheapest detours lead over it.
    costs = np.array([[rng.uniform(50, 200) for _ in range(count)] for _ in range(count)])
    costs[:, 2] /= 50
    costs[2, :] /= 50
    links = table(costs)
    options = PathFinder(links, "e0").candidates("e1")
    detours = [path for path in options if path.relays]
    for primary in options:
        assert any(not set(path.relays) & set(primary.relays) for path in detours if path != primary), f"seed {seed}"


def test_detours_in_a_large_world_do_not_all_share_one_hub() -> None:
    count = 40
    costs = np.full((count, count), 100.0)
    costs[2, 1] = 1.0
    costs[0, 2] = 50.0
    options = PathFinder(table(costs), "e0").candidates("e1")
    without_hub = [path for path in options if path.relays and "e2" not in path.relays]
    assert len(without_hub) >= 2
    assert not set(without_hub[0].relays) & set(without_hub[1].relays)


def test_full_links_are_left_out_even_when_direct() -> None:
    links = table(np.array([[0, 10, 30], [10, 0, 30], [30, 30, 0]], dtype=float))
    full = np.zeros((3, 3), dtype=bool)
    full[0, 1] = True
    assert [path.nodes for path in PathFinder(links, "e0", (), full).candidates("e1")] == [("e0", "e2", "e1")]
    full[2, 1] = True
    assert PathFinder(links, "e0", (), full).candidates("e1") == []


def test_a_backup_without_room_serves_only_when_there_is_no_other() -> None:
    links = table(np.array([[0, 10, 10, 30], [10, 0, 1, 1], [10, 1, 0, 1], [30, 1, 1, 0]], dtype=float))
    options = PathFinder(links, "e0").candidates("e1")
    roomy = decide_backup(options, options[0], (), has_room=lambda path: "e2" not in path.relays)
    assert roomy is not None
    assert roomy.relays == ("e3",)
    assert decide_backup(options, options[0], (), has_room=lambda _path: False) is not None


def test_the_cheapest_path_that_loses_too_much_is_passed_over() -> None:
    costs = np.array([[0, 100, 60], [100, 0, 60], [60, 60, 0]], dtype=float)
    links = table(costs)
    lossy = np.zeros((3, 3))
    lossy[0, 1] = 0.05
    links = replace(
        links, fresh_loss_ratio=lossy, hops=hop_rows(links.cost_ms, links.rtt_ms, lossy, lossy, links.measured)
    )
    found = PathFinder(links, "e0").candidates("e1")
    assert [path.nodes for path in found][:2] == [("e0", "e2", "e1"), ("e0", "e1")]
    assert found[1].cost_ms < found[0].cost_ms
