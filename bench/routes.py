"""What the brain makes of a matrix of round-trip times: `python -m bench.routes [--rtt-matrix FILE.csv] [--seed N]`.

No packets: claims as edges would make them, the very functions that control runs, and numbers in JSON. Without a file
the world is synthetic: metros on a sphere, fibre distance times a random inflation per link.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import mean

from control.brain import decide, start
from control.brain.links import light_floor_ms
from control.brain.world import EdgeState, LinkClaim, Snapshot, StreamState

# Twice the one-way time of light in fibre, times this, is what published inter-region tables show.
INFLATION_MIN, INFLATION_MAX = 1.2, 2.4
SYNTHETIC_EDGES = 32
# A quiet long-haul link.
LOSS_RATIO = 1e-4
REPORTS = 4

Rtts = Mapping[tuple[str, str], float]


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rtt-matrix", type=Path, help="CSV: first row and column name the edges, cells are ms")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rtts = read_matrix(options.rtt_matrix) if options.rtt_matrix else synthetic(Random(options.seed))
    print(
        json.dumps({"seed": options.seed, "matrix": str(options.rtt_matrix or "synthetic"), **evaluate(rtts)}, indent=1)
    )


def read_matrix(path: Path) -> dict[tuple[str, str], float]:
    """Pairs with their RTT; empty cells are pairs without a link. Raises ValueError for a cell that is no time."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    rtts: dict[tuple[str, str], float] = {}
    for row in rows:
        for name, cell in zip(header[1:], row[1:], strict=True):
            if name != row[0] and cell.strip():
                rtt = float(cell)
                if not 0.0 < rtt < 10_000.0:
                    raise ValueError(f"{path}: {row[0]} to {name}: {cell} ms is no round-trip time")
                rtts[row[0], name] = rtt
    # One table, two directions: the worse of both counts, as it does between two edges' claims.
    return {pair: max(rtt, rtts.get((pair[1], pair[0]), rtt)) for pair, rtt in rtts.items()}


def synthetic(random: Random, count: int = SYNTHETIC_EDGES) -> dict[tuple[str, str], float]:
    """Metros between the 50th parallels."""
    edges = tuple(
        EdgeState(
            edge_id=f"metro-{number:02}",
            latitude_degrees=random.uniform(-50, 50),
            longitude_degrees=random.uniform(-180, 180),
        )
        for number in range(count)
    )
    floor = light_floor_ms(edges)
    rtts: dict[tuple[str, str], float] = {}
    for a in range(count):
        for b in range(a):
            rtt = 4.0 + 2 * float(floor[a, b]) * random.uniform(INFLATION_MIN, INFLATION_MAX)
            rtts[edges[a].edge_id, edges[b].edge_id] = rtts[edges[b].edge_id, edges[a].edge_id] = rtt
    return rtts


def evaluate(rtts: Rtts) -> dict[str, object]:
    """Routes between all pairs, against the direct link."""
    names = sorted({name for pair in rtts for name in pair})
    snapshot = make_snapshot(names, rtts)
    state, now, took = start(0.0), 0.0, []
    for _ in range(REPORTS):
        now += 1.0
        began = time.process_time()
        decision = decide(snapshot(now), state, now)
        took.append(time.process_time() - began)
        state = decision.state
    direct, chosen, backups, relayed, violations = [], [], [], 0, 0
    for route in decision.table.routes:
        straight = rtts.get((route.source_edge, route.edge_id))
        if straight is None:
            continue
        primary = path_rtt_ms(route.primary, rtts)
        direct.append(straight)
        chosen.append(primary)
        relayed += len(route.primary) > 2
        violations += any(
            rtts.get((route.source_edge, relay), 1e9) + rtts.get((relay, route.edge_id), 1e9) < straight
            for relay in names
            if relay not in (route.source_edge, route.edge_id)
        )
        if route.backup:
            backups.append(path_rtt_ms(route.backup, rtts) / primary)
    return {
        "edges": len(names),
        "pairs": len(direct),
        "triangle_violation_ratio": violations / len(direct),
        "relayed_ratio": relayed / len(direct),
        "rtt_direct_mean_ms": mean(direct),
        "rtt_chosen_mean_ms": mean(chosen),
        "rtt_gain_mean_ratio": 1 - mean(chosen) / mean(direct),
        "rtt_direct_p50_p95_ms": quantiles(direct),
        "rtt_chosen_p50_p95_ms": quantiles(chosen),
        "with_backup_ratio": len(backups) / len(direct),
        "backup_rtt_to_primary_p50_p95": quantiles(backups),
        "decide_cpu_mean_s": mean(took),
    }


def make_snapshot(names: Sequence[str], rtts: Rtts) -> Callable[[float], Snapshot]:
    """One stream per edge, watched nowhere yet; settled measurements of every pair."""
    streams = tuple(StreamState(f"room-{name}", 1, name) for name in names)

    def at(now: float) -> Snapshot:
        edges = tuple(EdgeState(edge_id=name, region=name, last_report_at=now) for name in names)
        claims = tuple(
            LinkClaim(
                from_edge=a,
                to_edge=b,
                rtt_ms=rtt,
                rtt_min_ms=rtt,
                rtt_p50_ms=rtt,
                rtt_variance_ms=0.5,
                loss_30s_ratio=LOSS_RATIO,
                packets_30s=7200,
                loss_10min_ratio=LOSS_RATIO,
                packets_10min=144_000,
                received_at=now,
            )
            for (a, b), rtt in rtts.items()
        )
        return Snapshot(edges, claims, streams)

    return at


def path_rtt_ms(path: Sequence[str], rtts: Rtts) -> float:
    """Sum along a path."""
    return sum(rtts[pair] for pair in zip(path[1:], path, strict=False))


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    ordered = sorted(values)
    return (ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))]) if ordered else (0.0, 0.0)


if __name__ == "__main__":
    main()
