"""Decisions as pure functions: `decide(snapshot, state, now)` turns measurements into a table of routes with reasons.

In order: `links` (claims merged into estimates) -> `cost` and `loss` -> `paths` (min-plus, candidates, disjoint
backups) -> `metro` (which of several near relays) -> `trees` (where to graft) -> `hysteresis` and `review` (whether to
move), `attraction` (not all at once to one edge), `headroom` (backups that hold) -> `decide`; `liveness` judges edges,
`reasons` puts it into words.
Never here: clocks, sockets, asyncio, randomness, protobuf.
"""

from control.brain.decide import decide, start

__all__ = ["decide", "start"]
