"""Claims of both ends merged into one estimate per direction.

Clock offsets: an offset adds +x to everything that arrives at an edge and -x to everything that leaves it. It is a
potential on nodes, so it cancels in any difference of two paths with the same ends. Subtracting *some* potential
therefore changes no comparison; we subtract the one that makes opposite directions as equal as possible, so that
absolute numbers stay near RTT/2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from control.brain.cost import LOSS_MAX_RATIO, Matrix, link_cost_ms
from control.brain.world import EdgeState, EdgeVerdict, LinkClaim, LinkVerdict, Snapshot

# Light in fibre, group index 1.468.
FIBRE_KM_PER_MS = 204.2
EARTH_RADIUS_KM = 6371.0
# Cables are longer than great circles; only used for a link that nobody has measured yet.
CABLE_STRETCH = 1.6
UNMEASURED_PENALTY_MS = 200.0
# Weight of the prior in packets: (lost + 20 p0) / (sent + 20). A Wilson bound would read a clean 1 Hz candidate as 33 %
# loss.
PRIOR_PACKETS = 20.0
# A ten-minute value stands on its own from here on; below it the region pair's is used.
PRIOR_MIN_PACKETS = 50
# Before anything is known: what a decent inter-region path loses.
DEFAULT_LOSS_RATIO = 1e-3
# A two-second window decides alone only with media behind it; a probe burst or two prove nothing.
FRESH_LOSS_MIN_PACKETS = 100
# Probes are few, and doubting an honest edge costs more than believing a small lie: no chance in a thousand.
SUSPICION_DEVIATIONS = 3.0
# Both directions together must take at least the round trip; medians of a sum and sums of medians differ by this much.
SUM_TOLERANCE_RATIO = 0.05
SUM_TOLERANCE_MS = 2.0


class Hop(NamedTuple):
    """One usable link, as paths need it."""

    cost_ms: float
    rtt_ms: float
    proven_loss_ratio: float
    fresh_loss_ratio: float
    measured: bool


@dataclass(frozen=True, slots=True)
class LinkTable:
    """Estimates by (sending edge, receiving edge) index. An entry counts only where `usable` is true.

    `measured` is false for a link that nobody has reported on: usable as a last resort, at a guess from geography.
    """

    index: Mapping[str, int]
    edge_ids: tuple[str, ...]
    usable: NDArray[np.bool_]
    measured: NDArray[np.bool_]
    d50_ms: Matrix
    d95_ms: Matrix
    rtt_ms: Matrix
    rtt_base_ms: Matrix
    loss_ratio: Matrix
    # What the residual check may hold against a link: proven loss over 30 s, and the worse of that and the last 2 s.
    proven_loss_ratio: Matrix
    fresh_loss_ratio: Matrix
    # For people: what is lost now where that is proven, else the steady value.
    seen_loss_ratio: Matrix
    utilisation: Matrix
    cost_ms: Matrix
    # Where the price is a mean over similar links.
    tariff_guessed: NDArray[np.bool_]
    # The usable links once more as plain numbers: paths are summed hop by hop, and a numpy scalar costs ten times a
    # float.
    hops: tuple[tuple[Hop | None, ...], ...]

    def verdicts(self) -> tuple[LinkVerdict, ...]:
        """Every measured link as plain values; a link that is out of use costs 0 and says so."""
        return tuple(
            LinkVerdict(
                from_edge=self.edge_ids[a],
                to_edge=self.edge_ids[b],
                usable=bool(self.usable[a, b]),
                one_way_ms=float(self.d50_ms[a, b]),
                p95_ms=float(self.d95_ms[a, b]),
                rtt_ms=float(self.rtt_ms[a, b]),
                loss_ratio=float(self.seen_loss_ratio[a, b]),
                utilisation=float(self.utilisation[a, b]),
                cost_ms=float(self.cost_ms[a, b]) if self.usable[a, b] else 0.0,
                tariff_guessed=bool(self.tariff_guessed[a, b]),
            )
            for a, b in zip(*np.nonzero(self.measured), strict=True)
        )


def estimate_links(snapshot: Snapshot, verdicts: Mapping[str, EdgeVerdict]) -> LinkTable:
    """Merges all claims. Links of edges that are down, and links that either end calls unreachable, are not usable."""
    edges = snapshot.edges
    count = len(edges)
    index = {edge.edge_id: position for position, edge in enumerate(edges)}
    claims = {
        (index[claim.from_edge], index[claim.to_edge]): claim
        for claim in snapshot.claims
        if claim.from_edge in index and claim.to_edge in index and claim.from_edge != claim.to_edge
    }
    alive = np.array([verdicts.get(edge.edge_id, "up") != "down" for edge in edges], dtype=bool)
    floor = light_floor_ms(edges)
    guess = CABLE_STRETCH * floor + UNMEASURED_PENALTY_MS / 2
    d50, d95, rtt, base = guess.copy(), guess.copy(), guess * 2, guess * 2
    loss = np.full((count, count), DEFAULT_LOSS_RATIO)
    proven, fresh, load = np.zeros((count, count)), np.zeros((count, count)), np.zeros((count, count))
    seen = loss.copy()
    measured = np.zeros((count, count), dtype=bool)
    usable = alive[:, None] & alive[None, :] & ~np.eye(count, dtype=bool)
    potentials = clock_potentials(claims, count)
    region_loss = _region_pair_loss(edges, claims)

    for (a, b), claim in claims.items():
        other = claims.get((b, a))
        pair = (claim,) if other is None else (claim, other)
        # The worse of both claims counts: neither end can make the link look better than the other sees it.
        rtt_now = max(each.rtt_ms for each in pair)
        median = max(2 * floor[a, b], *(each.rtt_p50_ms for each in pair))
        one_way, spread = _one_way_ms(claim, other, median, potentials[b] - potentials[a])
        # A median over 60 s is late; the smoothed round trip says at once that a link has become slow.
        excess = max(0.0, rtt_now - median) / 2
        measured[a, b] = True
        d50[a, b] = max(one_way, floor[a, b]) + excess
        d95[a, b] = d50[a, b] + spread
        rtt[a, b] = max(rtt_now, 2 * floor[a, b])
        base[a, b] = max(2 * floor[a, b], *(each.rtt_min_ms for each in pair))
        prior = region_loss.get(_region_pair(edges[a], edges[b]), DEFAULT_LOSS_RATIO)
        loss[a, b] = smoothed_loss_ratio(claim, prior)
        proven[a, b] = proven_loss_ratio(claim.loss_30s_ratio, claim.packets_30s, claim.mean_burst_packets)
        if other is not None:
            # What the receiver keeps to itself shows in the echoes that the sender misses.
            hidden = echoed_loss_ratio(other)
            proven[a, b] = max(proven[a, b], hidden)
            loss[a, b] = max(loss[a, b], hidden)
        seen[a, b] = loss[a, b]
        fresh[a, b] = proven[a, b]
        # A probe burst or two in two seconds prove nothing.
        if claim.packets_2s >= FRESH_LOSS_MIN_PACKETS:
            now_lost = proven_loss_ratio(claim.loss_2s_ratio, claim.packets_2s, claim.mean_burst_packets)
            fresh[a, b] = max(proven[a, b], now_lost)
            if now_lost > proven[a, b]:
                seen[a, b] = claim.loss_2s_ratio
        load[a, b] = 0.0 if other is None else other.utilisation
        usable[a, b] &= all(each.reachable for each in pair)
    # One end's word that nothing arrives is enough: media needs its feedback.
    usable &= usable.T

    sender_load = np.array([max(edge.egress_utilisation, edge.cpu_ratio) for edge in edges])
    if count:
        load = np.asarray(np.maximum(load, sender_load[:, None]), dtype=np.float64)
    money, guessed = _tariffs(snapshot, index)
    cost = link_cost_ms(d50, d95, rtt, loss, load, money)
    cost = np.where(usable, cost + np.where(measured, 0.0, UNMEASURED_PENALTY_MS), np.inf)
    return LinkTable(
        index=index,
        edge_ids=tuple(edge.edge_id for edge in edges),
        usable=usable,
        measured=measured,
        d50_ms=d50,
        d95_ms=d95,
        rtt_ms=rtt,
        rtt_base_ms=base,
        loss_ratio=loss,
        proven_loss_ratio=proven,
        fresh_loss_ratio=fresh,
        seen_loss_ratio=seen,
        utilisation=load,
        cost_ms=cost,
        tariff_guessed=guessed,
        hops=hop_rows(cost, rtt, proven, fresh, measured),
    )


def hop_rows(
    cost_ms: Matrix, rtt_ms: Matrix, proven: Matrix, fresh: Matrix, measured: NDArray[np.bool_]
) -> tuple[tuple[Hop | None, ...], ...]:
    """Matrices as rows of hops; None where the cost is infinite."""
    columns = (matrix.tolist() for matrix in (cost_ms, rtt_ms, proven, fresh, measured))
    return tuple(
        tuple(Hop(*values) if math.isfinite(values[0]) else None for values in zip(*row, strict=True))
        for row in zip(*columns, strict=True)
    )


def clock_potentials(claims: Mapping[tuple[int, int], LinkClaim], count: int) -> Matrix:
    """Clock offset of each edge in ms, up to one constant per connected part, by least squares over links measured both
    ways.

    Minimises the sum of ((raw_ab - raw_ba)/2 - (offset_b - offset_a))^2: the graph's Laplacian on the right-hand sides.
    """
    laplacian = np.zeros((count, count))
    right = np.zeros(count)
    for (a, b), claim in claims.items():
        other = claims.get((b, a))
        if a > b or other is None or claim.one_way_p50_raw_ms is None or other.one_way_p50_raw_ms is None:
            continue
        difference = (claim.one_way_p50_raw_ms - other.one_way_p50_raw_ms) / 2
        laplacian[a, a] += 1
        laplacian[b, b] += 1
        laplacian[a, b] -= 1
        laplacian[b, a] -= 1
        right[a] -= difference
        right[b] += difference
    if not right.any():
        return np.zeros(count)
    # Minimum-norm solution: the Laplacian is singular by one constant per connected part.
    return np.asarray(np.linalg.lstsq(laplacian, right, rcond=None)[0], dtype=np.float64)


def smoothed_loss_ratio(claim: LinkClaim, region_prior_ratio: float) -> float:
    """(lost + 20 p0) / (sent + 20) over 30 s; p0 is the link's ten-minute value, else its region pair's."""
    prior = claim.loss_10min_ratio if claim.packets_10min >= PRIOR_MIN_PACKETS else region_prior_ratio
    return (claim.loss_30s_ratio * claim.packets_30s + PRIOR_PACKETS * prior) / (claim.packets_30s + PRIOR_PACKETS)


def proven_loss_ratio(loss_ratio: float, packets: int, mean_burst_packets: float, *, deviations: float = 1.0) -> float:
    """What is left of a measured loss when its bursts are counted as single events and one standard deviation (or
    `deviations`) is given away.

    Losses come in bursts, so n lost packets are only k = n / burst observations, and k has a standard deviation of
    sqrt(k).
    Without this, one burst among the first few hundred probes would condemn a good link against a limit of 1e-5.
    """
    bursts = loss_ratio * packets / max(1.0, mean_burst_packets)
    return loss_ratio * max(0.0, 1.0 - deviations / math.sqrt(bursts)) if bursts > 0 else 0.0


def echoed_loss_ratio(claim: LinkClaim) -> float:
    """What `claim.to_edge`'s missing echoes prove lost on the way to `claim.from_edge`, whatever that edge says itself.

    An echo needs both ways: 1 - echo_loss = (1 - there) (1 - back), and the way back is the claimer's own to measure.
    An echo carries the nonce of its probe, so that nobody can answer what did not arrive.
    """
    back = min(claim.loss_30s_ratio, LOSS_MAX_RATIO)
    there = 1.0 - (1.0 - claim.echo_loss_30s_ratio) / (1.0 - back)
    return proven_loss_ratio(
        max(0.0, there), claim.echo_packets_30s, claim.echo_mean_burst_packets, deviations=SUSPICION_DEVIATIONS
    )


def light_floor_ms(edges: tuple[EdgeState, ...]) -> Matrix:
    """One-way time of light in fibre along the great circle; 0 where an edge has no coordinates."""
    if not edges:
        return np.zeros((0, 0))
    known = np.array([edge.latitude_degrees is not None and edge.longitude_degrees is not None for edge in edges])
    latitude = np.radians([edge.latitude_degrees or 0.0 for edge in edges])
    longitude = np.radians([edge.longitude_degrees or 0.0 for edge in edges])
    # Haversine formula.
    half = (
        np.sin((latitude[:, None] - latitude[None, :]) / 2) ** 2
        + np.cos(latitude[:, None])
        * np.cos(latitude[None, :])
        * np.sin((longitude[:, None] - longitude[None, :]) / 2) ** 2
    )
    distance_km = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))
    floor: Matrix = np.where(known[:, None] & known[None, :], distance_km / FIBRE_KM_PER_MS, 0.0)
    return floor


def _one_way_ms(
    claim: LinkClaim, other: LinkClaim | None, rtt_median_ms: float, offset_ms: float
) -> tuple[float, float]:
    """One-way median without the clocks' offset, and the distance from there to the 95th percentile."""
    half = rtt_median_ms / 2
    if other is None or claim.one_way_p50_raw_ms is None or other.one_way_p50_raw_ms is None:
        return half, claim.rtt_variance_ms
    late = claim.one_way_p95_raw_ms
    spread = claim.jitter_ms if late is None else max(0.0, late - claim.one_way_p50_raw_ms)
    one_way = claim.one_way_p50_raw_ms - offset_ms
    # Offsets cancel in the sum of both directions: an edge that claims too little arrives too early is caught here.
    deficit = rtt_median_ms - (claim.one_way_p50_raw_ms + other.one_way_p50_raw_ms)
    if deficit > SUM_TOLERANCE_MS + SUM_TOLERANCE_RATIO * rtt_median_ms:
        one_way += deficit / 2
    if not math.isfinite(one_way):
        return half, claim.rtt_variance_ms
    return one_way, spread


def _region_pair(one: EdgeState, other: EdgeState) -> tuple[str, str]:
    first, second = sorted((one.region or one.edge_id, other.region or other.edge_id))
    return first, second


def _region_pair_loss(
    edges: tuple[EdgeState, ...], claims: Mapping[tuple[int, int], LinkClaim]
) -> dict[tuple[str, str], float]:
    """Ten-minute loss of region pairs over those of their links that have enough packets."""
    lost: dict[tuple[str, str], float] = {}
    sent: dict[tuple[str, str], int] = {}
    for (a, b), claim in claims.items():
        if claim.packets_10min >= PRIOR_MIN_PACKETS:
            pair = _region_pair(edges[a], edges[b])
            lost[pair] = lost.get(pair, 0.0) + claim.loss_10min_ratio * claim.packets_10min
            sent[pair] = sent.get(pair, 0) + claim.packets_10min
    return {pair: lost[pair] / sent[pair] for pair in sent}


def _tariffs(snapshot: Snapshot, index: Mapping[str, int]) -> tuple[Matrix, NDArray[np.bool_]]:
    """$/GB per link, and which of them are guesses: a missing tariff takes the mean of the same provider and continent,
    else of all that are known."""
    count = len(index)
    table = np.full((count, count), np.nan)
    for (sender, receiver), usd in snapshot.tariffs_usd_per_gb.items():
        if sender in index and receiver in index:
            table[index[sender], index[receiver]] = usd
    missing = np.isnan(table)
    if missing.all():
        return np.zeros((count, count)), np.zeros((count, count), dtype=bool)
    overall = float(np.nanmean(table))
    groups: dict[tuple[str, str], list[int]] = {}
    for position, edge in enumerate(snapshot.edges):
        groups.setdefault((edge.provider, edge.continent), []).append(position)
    for members in groups.values():
        known = table[members][~np.isnan(table[members])]
        mean = float(known.mean()) if known.size else overall
        for position in members:
            table[position] = np.where(np.isnan(table[position]), mean, table[position])
    return table, missing & ~np.eye(count, dtype=bool)
