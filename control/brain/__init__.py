"""Decisions as pure functions: `decide(snapshot, state, now)` turns measurements into a table of routes with reasons.

In order: `links` (claims merged into estimates) -> `cost` and `loss` -> `paths` (min-plus, candidates, disjoint
backups) -> `trees` (where to graft) -> `hysteresis` (whether to move) -> `decide`; `liveness` judges edges, `reasons`
puts it into words.
Never here: clocks, sockets, asyncio, randomness, protobuf.
"""

from control.brain.decide import decide, start

__all__ = ["decide", "start"]
