"""The worst leaves are looked at once a minute, and few of them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from control.brain.paths import Path
from control.brain.review import REVIEW_EVERY_S, decide_review, review_gain_ms
from control.brain.world import Review


def path(*nodes: str, cost_ms: float, rtt_ms: float, loss_class: int = 0) -> Path:
    return Path(nodes, cost_ms, rtt_ms, 0.0, 0.0, True, (0, loss_class, cost_ms))


DIRECT = path("sg", "lhr", cost_ms=85.0, rtt_ms=168.0)
GRAFT = path("sg", "fra", "lhr", cost_ms=89.0, rtt_ms=174.0)


def test_a_near_joint_is_a_gain_for_the_tree_though_the_whole_path_is_longer() -> None:
    assert review_gain_ms(DIRECT, 85.0, GRAFT, 8.0, 97.4) == 77.0


def test_no_gain_without_better_by_a_tenth_and_five_ms_or_with_more_loss() -> None:
    assert review_gain_ms(DIRECT, 85.0, GRAFT, 81.0, 97.4) == 0.0
    assert review_gain_ms(DIRECT, 85.0, GRAFT, 78.0, 97.4) == 0.0
    lossy = path("sg", "fra", "lhr", cost_ms=89.0, rtt_ms=174.0, loss_class=1)
    assert review_gain_ms(DIRECT, 85.0, lossy, 8.0, 97.4) == 0.0
    assert review_gain_ms(DIRECT, 85.0, DIRECT, 85.0, 97.4) == 0.0


def test_delay_beyond_what_a_join_accepts_counts() -> None:
    stretched = path("sg", "fra", "lhr", cost_ms=89.0, rtt_ms=220.0)
    assert review_gain_ms(stretched, 20.0, DIRECT, 20.0, 97.4) == 110.0 - 97.4


@given(st.dictionaries(st.tuples(st.just("demo"), st.text(max_size=3)), st.floats(0.0, 500.0)), st.integers(0, 40))
def test_the_worst_twentieth_and_nobody_for_nothing(gains: dict[tuple[str, str], float], others: int) -> None:
    leaves = len(gains) + others
    review = decide_review(gains, leaves, Review(), 1000.0)
    worth = sorted((gain for gain in gains.values() if gain > 0), reverse=True)
    assert len(review.leaves) == min(len(worth), math.ceil(0.05 * leaves))
    assert sorted((gains[leaf] for leaf in review.leaves), reverse=True) == worth[: len(review.leaves)]
    later = {key: gain + 1 for key, gain in gains.items()}
    assert decide_review(later, leaves, review, 1000.0 + REVIEW_EVERY_S - 1) == review
    assert decide_review(later, leaves, review, 1000.0 + REVIEW_EVERY_S).at == 1000.0 + REVIEW_EVERY_S
