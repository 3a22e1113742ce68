"""Once a minute the worst leaves of all trees are looked at again.

A leaf keeps the joint it once chose while its own path is no tenth better elsewhere. Meanwhile nearer edges have got
the stream, or the way has become longer than a join would accept. Moving all such leaves would shake the trees, so of
those with media the worst twentieth per minute may move for the tree's sake, still after three reports and the dwell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from control.brain.hysteresis import BETTER_MS, BETTER_RATIO
from control.brain.paths import Path
from control.brain.world import Review

REVIEW_EVERY_S = 60.0
REVIEW_RATIO = 0.05


def review_gain_ms(
    incumbent: Path, incumbent_own_ms: float, target: Path, target_own_ms: float, limit_ms: float
) -> float:
    """What the tree gains when the leaf moves, in ms; 0 when it is not worth moving.

    `*_own_ms` is the cost of what the path adds to the tree; `limit_ms` the delay that a join accepts. Milliseconds
    beyond that limit count too.
    """
    if target.nodes == incumbent.nodes or not target.measured or target.rank[:2] > incumbent.rank[:2]:
        return 0.0
    beyond = max(0.0, incumbent.delay_ms - limit_ms) - max(0.0, target.delay_ms - limit_ms)
    gain = incumbent_own_ms - target_own_ms + beyond
    return gain if gain >= BETTER_MS and gain >= BETTER_RATIO * incumbent_own_ms else 0.0


def decide_review(gains: Mapping[tuple[str, str], float], leaves: int, before: Review, now: float) -> Review:
    """The leaves to review from now on. `gains` are those worth moving, `leaves` counts all that have media."""
    if now - before.at < REVIEW_EVERY_S:
        return before
    # Of a tree with one leaf a twentieth is that leaf.
    worst = sorted((gain, key) for key, gain in gains.items() if gain > 0.0)[::-1]
    return Review(frozenset(key for _, key in worst[: math.ceil(REVIEW_RATIO * leaves)]), now)
