"""Who probes whom.

In a small fleet everyone probes everyone. In a large one each edge asks for its neighbourhood, some far landmarks and
a part that changes each minute; whatever is a link of a route or a backup is always among them. A pair is probed from
both ends when either asks for it: only both directions together are free of clocks, and only who probes has the key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from control.brain.links import light_floor_ms
from control.brain.world import EdgeState

NEAREST = 16
LANDMARKS = 8
ROTATING = 8
ASKED_MAX = NEAREST + LANDMARKS + ROTATING
ROTATION_S = 60.0


def probe_partners(
    edges: Sequence[EdgeState], warm: Collection[tuple[str, str]], now: float
) -> dict[str, tuple[str, ...]]:
    """Edge -> whom it probes, by name; symmetric. `warm` are pairs on routes and backups."""
    ordered = tuple(sorted(edges, key=lambda edge: edge.edge_id))
    names = [edge.edge_id for edge in ordered]
    if len(names) <= ASKED_MAX + 1:
        return {name: tuple(other for other in names if other != name) for name in names}
    partners: dict[str, set[str]] = {name: set() for name in names}

    def pair(one: str, other: str) -> None:
        if one != other and one in partners and other in partners:
            partners[one].add(other)
            partners[other].add(one)

    for position, row in enumerate(np.argsort(light_floor_ms(ordered), axis=1, kind="stable")):
        others = [int(other) for other in row if other != position]
        rest = sorted(others[NEAREST:])
        landmarks = rest[:: max(1, len(rest) // LANDMARKS)][:LANDMARKS]
        for place in (*others[:NEAREST], *landmarks):
            pair(names[position], names[place])
    # Rounds of a tournament: in each, everyone meets one other, and after as many rounds as edges all have met.
    first = int(now // ROTATION_S) * ROTATING
    for turn in range(first, first + ROTATING):
        for position, name in enumerate(names):
            pair(name, names[(turn - position) % len(names)])
    for one, other in warm:
        pair(one, other)
    return {name: tuple(sorted(found)) for name, found in partners.items()}
