"""The cost of a link in milliseconds (DESIGN section 6).

w = d50 + 0.5 (d95 - d50) + p (RTT + 25) / (1 - p) + 1 + 60 sigma((u - 0.8) / 0.05) + lambda $/GB
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# Half of the spread counts: a receiver's jitter buffer follows the late packets, but not all the way.
SPREAD_WEIGHT = 0.5
# What a receiver needs on top of the round trip to notice a gap and answer it.
REPAIR_OVERHEAD_MS = 25.0
# Each hop costs a little even when it is free: processing, and one more thing that can fail.
HOP_COST_MS = 1.0
LOAD_COST_MS = 60.0
LOAD_KNEE = 0.8
LOAD_WIDTH = 0.05
# What a dollar per gigabyte is worth in delay.
MONEY_MS_PER_USD_GB = 200.0
# Beyond this a link refuses new grafts; it never evicts.
GRAFT_LIMIT_UTILISATION = 0.95
# p/(1-p) must stay finite; such a link is beyond use anyway.
LOSS_MAX_RATIO = 0.99


def link_cost_ms(
    d50_ms: Matrix, d95_ms: Matrix, rtt_ms: Matrix, loss_ratio: Matrix, utilisation: Matrix, usd_per_gb: Matrix
) -> Matrix:
    """Cost of each link; all arguments broadcast against each other. Delays are one-way, losses and loads 0-1."""
    loss = np.clip(loss_ratio, 0.0, LOSS_MAX_RATIO)
    recovery = loss * (rtt_ms + REPAIR_OVERHEAD_MS) / (1.0 - loss)
    load = LOAD_COST_MS / (1.0 + np.exp(-(utilisation - LOAD_KNEE) / LOAD_WIDTH))
    spread = SPREAD_WEIGHT * np.maximum(d95_ms - d50_ms, 0.0)
    cost: Matrix = d50_ms + spread + recovery + HOP_COST_MS + load + MONEY_MS_PER_USD_GB * usd_per_gb
    return cost
