"""Where a leaf joins a stream's tree.

Among the edges that have the stream and keep the leaf's delay within a stretch of its best path, the one with the
cheapest way from there. The bound on delay is the point: choosing by the last link alone stretched delay by 17-29 %
when it was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from control.brain.paths import DELAY_MAX_MS, Path

Measure = Callable[[tuple[str, ...]], Path | None]

STRETCH_RATIO = 1.1
STRETCH_MS = 5.0
RELAYS_MAX = 2
# Trunks one edge feeds with one stream.
FAN_OUT_MAX = 16


def decide_join(
    leaf: str,
    best: Path,
    tree: Mapping[str, tuple[str, ...]],
    children: Mapping[str, int],
    measure: Measure,
    keeps_backup: Callable[[str, str], bool],
    *,
    best_is_full: bool = False,
) -> Path:
    """The path to graft onto, or `best` when no edge of the tree serves. When `best` is full, every edge that serves is
    better.

    `tree` maps each edge that has the stream to its path from the source; `children` counts who hangs below it already;
    `keeps_backup(edge, leaf)` tells whether `edge` still has a backup that does not lead through `leaf`.
    """
    limit_ms = join_limit_ms(best)
    own_cost = float("inf") if best_is_full else best.cost_ms
    chosen = best
    for joint, trunk in sorted(tree.items()):
        if joint == leaf or leaf in trunk or len(trunk) - 1 > RELAYS_MAX or children.get(joint, 0) >= FAN_OUT_MAX:
            continue
        whole, stem = measure((*trunk, leaf)), measure(trunk)
        if whole is None or stem is None or not whole.measured or whole.delay_ms > limit_ms:
            continue
        if whole.rank[:2] > best.rank[:2] or not all(keeps_backup(edge, leaf) for edge in trunk[1:]):
            continue
        added = whole.cost_ms - stem.cost_ms
        if added < own_cost:
            chosen, own_cost = whole, added
    return chosen


def join_limit_ms(best: Path) -> float:
    """The delay from the source that a leaf accepts for the tree's sake."""
    return min(STRETCH_RATIO * best.delay_ms + STRETCH_MS, DELAY_MAX_MS)


def own_cost_ms(path: Path, tree: Mapping[str, tuple[str, ...]], measure: Measure) -> float:
    """What the path adds to the tree: its last link when its parent has the stream over it anyway, else all of it."""
    stem = path.nodes[:-1]
    carried = measure(stem) if len(stem) > 1 and tree.get(stem[-1]) == stem else None
    return path.cost_ms if carried is None else path.cost_ms - carried.cost_ms


def subtrees(paths: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Edge -> the edges whose path from the source leads through it."""
    below: dict[str, set[str]] = {}
    for leaf, path in paths.items():
        for edge in path:
            if edge != leaf:
                below.setdefault(edge, set()).add(leaf)
    return below
