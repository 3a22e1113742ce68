"""Which edges are alive: silence makes suspect, longer silence makes down, unless a neighbour still hears the edge."""

from __future__ import annotations

from control.brain.world import EdgeVerdict, Snapshot

# Reports come each second.
SUSPECT_AFTER_S = 3.0
DOWN_AFTER_S = 6.0
# A neighbour's word counts while it is fresh itself.
WITNESS_MAX_AGE_S = 3.0


def judge_edges(snapshot: Snapshot, grace_until: float, now: float) -> dict[str, EdgeVerdict]:
    """Verdict per edge. Before `grace_until` nobody is judged down: a new leader has not heard everyone yet."""
    witnessed = {
        claim.from_edge
        for claim in snapshot.claims
        if claim.reachable and now - claim.received_at + claim.age_ms / 1000 < WITNESS_MAX_AGE_S
    }
    verdicts: dict[str, EdgeVerdict] = {}
    for edge in snapshot.edges:
        silence = now - edge.last_report_at
        if silence < SUSPECT_AFTER_S:
            verdicts[edge.edge_id] = "up"
        elif silence < DOWN_AFTER_S or edge.edge_id in witnessed or now < grace_until:
            verdicts[edge.edge_id] = "suspect"
        else:
            verdicts[edge.edge_id] = "down"
    return verdicts
