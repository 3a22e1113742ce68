"""Paths over at most two relays, cheapest first, and backups that share no relay with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from control.brain.cost import Matrix
from control.brain.links import LinkTable
from control.brain.loss import residual_class, residual_loss_ratio

# Residual loss is not additive, so it is checked on this many of the cheapest.
CANDIDATES = 16
# Whatever path a leaf takes over at most two relays, one of three relay-disjoint ones shares none of them.
DISJOINT = 3
# Players' buffers and people's patience end here, one-way.
DELAY_MAX_MS = 300.0


@dataclass(frozen=True, slots=True)
class Path:
    """A path from the source to a leaf, as edge ids, with what was measured along it. `rtt_ms` sums its links'."""

    nodes: tuple[str, ...]
    cost_ms: float
    rtt_ms: float
    # Over 30 s, and with the last two seconds: the first is for gains, the second for choosing and for failures.
    residual_ratio: float
    fresh_residual_ratio: float
    measured: bool
    # Order of preference: within the delay limit, residual loss by decades, then cost.
    rank: tuple[int, int, float]

    @property
    def relays(self) -> tuple[str, ...]:
        """The edges between the ends."""
        return self.nodes[1:-1]

    @property
    def delay_ms(self) -> float:
        """One-way: half the round-trip time, free of clocks."""
        return self.rtt_ms / 2


class PathFinder:
    """Candidate paths from one source to every leaf over one table of links."""

    def __init__(
        self,
        links: LinkTable,
        source: str,
        barred_relays: Collection[str] = (),
        barred_hops: NDArray[np.bool_] | None = None,
    ) -> None:
        """`barred_hops` marks links, by index, that no path may use."""
        self._links = links
        self._source = links.index[source]
        self._direct = links.cost_ms if barred_hops is None else np.where(barred_hops, np.inf, links.cost_ms)
        relayed = self._direct.copy()
        # A guess from geography may serve as a last resort between the ends, never as part of a detour.
        relayed[~links.measured] = np.inf
        relayed[:, self._source] = np.inf
        barred = [links.index[edge] for edge in barred_relays if edge in links.index]
        self._into_relay = relayed.copy()
        self._into_relay[:, barred] = np.inf
        from_relay = relayed.copy()
        from_relay[barred, :] = np.inf
        self._from_relay = from_relay
        self._second_leg, self._second_relay = min_plus(self._into_relay, from_relay)

    def candidates(self, leaf: str) -> list[Path]:
        """Direct, every one-relay path and the best two-relay path behind each first relay: the cheapest, by `rank`,
        and among them, or besides, the cheapest that share no relay with each other.

        Exact for one relay, and for the best path over two.
        """
        s, t = self._source, self._links.index[leaf]
        first_leg = self._into_relay[s]
        one = first_leg + self._from_relay[:, t]
        two = first_leg + self._second_leg[:, t]
        one[t] = two[t] = np.inf
        # The direct path is always among them: everything is explained against it.
        direct = [(s, t)] if np.isfinite(self._direct[s, t]) else []
        over_one = [(float(one[k]), (s, int(k), t)) for k in np.flatnonzero(np.isfinite(one))]
        over_two = [
            (float(two[k]), (s, int(k), int(self._second_relay[k, t]), t)) for k in np.flatnonzero(np.isfinite(two))
        ]
        detours = [nodes for _, nodes in sorted([*over_one, *over_two])]
        taken = dict.fromkeys([*direct, *detours[: CANDIDATES - len(direct)], *relay_disjoint(detours)])
        measured = (measure_nodes(self._links, nodes) for nodes in taken)
        return sorted((path for path in measured if path is not None), key=lambda path: path.rank)


def relay_disjoint(detours: Iterable[tuple[int, ...]], count: int = DISJOINT) -> list[tuple[int, ...]]:
    """The first of `detours` that share no relay with one taken before."""
    found: list[tuple[int, ...]] = []
    used: set[int] = set()
    for nodes in detours:
        if used.isdisjoint(nodes[1:-1]):
            found.append(nodes)
            used.update(nodes[1:-1])
            if len(found) == count:
                break
    return found


def min_plus(left: Matrix, right: Matrix) -> tuple[Matrix, NDArray[np.intp]]:
    """(left (x) right)[a, c] = min over b of left[a, b] + right[b, c], and the b that attains it."""
    rows, columns = left.shape[0], right.shape[1]
    values = np.full((rows, columns), np.inf)
    through = np.zeros((rows, columns), dtype=np.intp)
    if left.shape[1] == 0:
        return values, through
    for row in range(rows):
        sums = left[row][:, None] + right
        through[row] = np.argmin(sums, axis=0)
        values[row] = sums[through[row], np.arange(columns)]
    return values, through


def measure_nodes(links: LinkTable, nodes: Sequence[int]) -> Path | None:
    """Sums along a path of edge indices; None when a link is out of use."""
    hops = []
    for a, b in pairwise(nodes):
        hop = links.hops[a][b]
        if hop is None:
            return None
        hops.append(hop)
    cost = sum(hop.cost_ms for hop in hops)
    rtt = sum(hop.rtt_ms for hop in hops)
    proven = [(hop.proven_loss_ratio, hop.rtt_ms) for hop in hops]
    fresh = [(hop.fresh_loss_ratio, hop.rtt_ms) for hop in hops]
    residual = residual_loss_ratio(proven)
    fresh_residual = residual if fresh == proven else residual_loss_ratio(fresh)
    return Path(
        nodes=tuple(links.edge_ids[node] for node in nodes),
        cost_ms=cost,
        rtt_ms=rtt,
        residual_ratio=residual,
        fresh_residual_ratio=fresh_residual,
        measured=all(hop.measured for hop in hops),
        rank=(int(rtt / 2 > DELAY_MAX_MS), residual_class(fresh_residual), cost),
    )


def measure_path(links: LinkTable, nodes: Sequence[str]) -> Path | None:
    """The same by edge ids; None when an edge is unknown or a link is out of use."""
    if len(nodes) < 2 or any(node not in links.index for node in nodes):
        return None
    return measure_nodes(links, [links.index[node] for node in nodes])


def decide_backup(
    options: Iterable[Path],
    primary: Path,
    avoid: Collection[str],
    incumbent: tuple[str, ...] = (),
    has_room: Callable[[Path], bool] = lambda _path: True,
) -> Path | None:
    """The best path that shares neither a relay nor its first link with the primary.

    `avoid` are the edges that hang below the leaf: a parent among them would be cut off together with it. They serve
    only when nothing else is left, and so do paths that would be overloaded in the moment of need (`has_room`). The
    incumbent stays while it is within 10 % and 5 ms of the best, because a backup is kept warm.
    """
    taken = set(primary.relays)
    disjoint = [path for path in options if path.nodes != primary.nodes and not taken.intersection(path.relays)]
    outside = [path for path in disjoint if not set(avoid).intersection(path.relays)] or disjoint
    outside = [path for path in outside if has_room(path)] or outside
    if not outside:
        return None
    best = min(outside, key=lambda path: path.rank)
    for path in outside:
        near = path.cost_ms <= max(best.cost_ms * 1.1, best.cost_ms + 5.0)
        if path.nodes == incumbent and path.rank[:2] <= best.rank[:2] and near:
            return path
    return best
