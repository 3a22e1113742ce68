"""Who probes whom: both ends, everything on a route, and everyone in time."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from control.brain.probes import ASKED_MAX, NEAREST, ROTATING, ROTATION_S, probe_partners
from control.brain.world import EdgeState


def fleet(count: int, seed: int = 1) -> list[EdgeState]:
    rng = random.Random(seed)
    return [
        EdgeState(
            edge_id=f"e{number:03}",
            latitude_degrees=rng.uniform(-50, 60),
            longitude_degrees=rng.uniform(-180, 180),
        )
        for number in range(count)
    ]


@given(st.integers(0, 80), st.integers(0, 2**32), st.floats(0, 1e6))
@settings(max_examples=30, deadline=None)
def test_pairs_are_probed_from_both_ends(count: int, seed: int, now: float) -> None:
    edges = fleet(count, seed)
    warm = {("e000", "e050"), ("e003", "gone")}
    partners = probe_partners(edges, warm, now)
    assert set(partners) == {edge.edge_id for edge in edges}
    for edge, others in partners.items():
        assert edge not in others
        assert all(edge in partners[other] for other in others)
        assert len(others) >= min(count - 1, ASKED_MAX - ROTATING)
    if count > 50:
        assert "e050" in partners["e000"], "a link of a route is always probed"


def test_a_small_fleet_probes_everyone() -> None:
    partners = probe_partners(fleet(ASKED_MAX + 1), (), 0.0)
    assert all(len(others) == ASKED_MAX for others in partners.values())


def test_a_large_fleet_probes_a_bounded_part_and_meets_everyone_in_time() -> None:
    edges = fleet(120)
    met: dict[str, set[str]] = {edge.edge_id: set() for edge in edges}
    for minute in range(120 // ROTATING):
        partners = probe_partners(edges, (), minute * ROTATION_S)
        assert sum(map(len, partners.values())) / len(edges) <= 2 * (NEAREST + 8) + ROTATING
        for edge, others in partners.items():
            met[edge].update(others)
    assert all(len(others) == 119 for others in met.values())
