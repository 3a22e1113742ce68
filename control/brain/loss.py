"""What loss is left on a path after retransmission.

Each hop repairs its own losses; every try costs one round trip plus the time to notice. A packet is lost for the viewer
when the tries of all hops together exceed the slack in the player's buffer, so the check is a property of the path and
not of its links.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from control.brain.cost import LOSS_MAX_RATIO, REPAIR_OVERHEAD_MS

# What repairs of all hops may take together; trunks give up on a packet after the same time.
SLACK_MS = 300.0
# One packet in 100,000: a visible freeze every few minutes at 240 packets/s is already too much.
RESIDUAL_MAX_RATIO = 1e-5


def residual_loss_ratio(hops: Sequence[tuple[float, float]], slack_ms: float = SLACK_MS) -> float:
    """Chance that a packet is still missing when the slack is used up; `hops` are (loss ratio, RTT in ms).

    The number of tries on a hop is geometric, so this is 1 - P(sum of tries x (RTT + 25) <= slack), exactly.
    """
    # A hop without loss takes nothing from the slack.
    tries = tuple((min(p, LOSS_MAX_RATIO), rtt + REPAIR_OVERHEAD_MS) for p, rtt in hops if p > 0.0)
    return _unrepaired(tries, slack_ms)


def residual_class(residual_ratio: float) -> int:
    """0 when the path qualifies, else how many decades it misses by, begun ones counted.

    Least-bad comparisons use classes, because measured loss is far too noisy for a finer order.
    """
    if residual_ratio <= RESIDUAL_MAX_RATIO:
        return 0
    return max(1, math.ceil(math.log10(residual_ratio / RESIDUAL_MAX_RATIO)))


def _unrepaired(hops: tuple[tuple[float, float], ...], slack_ms: float) -> float:
    if not hops:
        return 0.0
    (loss, try_ms), rest = hops[0], hops[1:]
    tries = int(slack_ms // try_ms)
    missing = loss ** (tries + 1)
    if not rest:
        return missing
    # Tails are summed instead of 1 - P: the answer is near 1e-5 and must not drown in rounding.
    for used in range(tries + 1):
        missing += (1.0 - loss) * loss**used * _unrepaired(rest, slack_ms - used * try_ms)
    return missing
