"""Edges that stand in the same city, and which of them relays.

Reports are a second old. When many streams ask at once, the least loaded relay of a city would get them all. Choosing
the better of two taken at random spreads them nearly as well as perfect knowledge would (Mitzenmacher 2001, "The power
of two choices in randomized load balancing"); what was assigned here counts, because no report shows it yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from control.brain.links import FIBRE_KM_PER_MS, light_floor_ms
from control.brain.paths import Path
from control.brain.world import EdgeState

# Buildings of one metro area are within so far of each other.
METRO_KM = 100.0
# Siblings are interchangeable while their paths differ by less than a move would need.
NEAR_RATIO = 0.10
NEAR_MS = 5.0


def group_metros(edges: tuple[EdgeState, ...]) -> dict[str, str]:
    """Edge -> the first edge (by id) of its metro. Edges without coordinates stand alone."""
    placed = sorted(
        (edge for edge in edges if edge.latitude_degrees is not None and edge.longitude_degrees is not None),
        key=lambda edge: edge.edge_id,
    )
    groups = {edge.edge_id: edge.edge_id for edge in edges}
    if len(placed) < 2:
        return groups
    near = light_floor_ms(tuple(placed)) * FIBRE_KM_PER_MS <= METRO_KM
    for position, edge in enumerate(placed):
        first = placed[int(np.argmax(near[position]))].edge_id
        groups[edge.edge_id] = groups[first]
    return groups


def choose_of_two(
    best: Path,
    options: Sequence[Path],
    metros: Mapping[str, str],
    assigned: Mapping[str, int],
    incumbent: tuple[str, ...],
    seed: str,
) -> Path:
    """`best`, or a path that differs from it only by relays of the same metros and is as good.

    Two of them are drawn by a hash of `seed`, so that equal input gives equal output; the one whose relays have fewer
    routes is taken. Whoever is on one of them stays.
    """
    if not best.relays:
        return best
    shape = [metros.get(edge, edge) for edge in best.nodes[1:-1]]
    limit_ms = max(best.cost_ms * (1.0 + NEAR_RATIO), best.cost_ms + NEAR_MS)
    alike = sorted(
        (
            path
            for path in options
            if path.cost_ms <= limit_ms
            and path.rank[:2] == best.rank[:2]
            and [metros.get(edge, edge) for edge in path.nodes[1:-1]] == shape
        ),
        key=lambda path: path.nodes,
    )
    for path in alike:
        if path.nodes == incumbent:
            return path
    if len(alike) < 2:
        return best
    digest = hashlib.sha256(seed.encode()).digest()
    first = int.from_bytes(digest[:8], "big") % len(alike)
    step = 1 + int.from_bytes(digest[8:16], "big") % (len(alike) - 1)
    drawn = (alike[first], alike[(first + step) % len(alike)])
    return min(drawn, key=lambda path: (sum(assigned.get(edge, 0) for edge in path.relays), path.cost_ms, path.nodes))
