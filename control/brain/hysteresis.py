"""Whether a route moves: slowly for a gain, at once for a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

from control.brain.loss import residual_class
from control.brain.paths import Path
from control.brain.world import RouteMemory

# A gain must be both, or two nearly equal paths trade places for ever.
BETTER_RATIO = 0.10
BETTER_MS = 5.0
BETTER_REPORTS = 3
DWELL_S = 30.0
# A young route was chosen from the first few samples; three reports may correct it without waiting for the dwell.
YOUNG_S = 15.0
# Coming back to the path before this soon is a flap; each doubles the dwell, up to eight minutes.
FLAP_WINDOW_S = 300.0
FLAPS_MAX = 4
FLAPS_FORGOTTEN_S = 600.0
# The path's own cost against its best since it was chosen: so much worse is a failure and not noise. Two reports
# confirm it.
JUMP_RATIO = 1.5
JUMP_MS = 50.0
JUMP_REPORTS = 2
# A path this much dearer than the best is no noise that a dwell must calm: 100 ms one way is the step from good to
# acceptable talk (ITU-T G.114). Who fled to such a haven leaves it after as many reports.
HAVEN_MS = 100.0
HAVEN_REPORTS = 5
# Residual loss two decades beyond the limit: a visible freeze every few seconds. The reports that confirm it last
# longer than the window of the fresh loss, so that a blackout of 200 ms moves nothing.
FAILED_CLASS = 2
LOSS_REPORTS = 4
# Measured loss wanders by such a factor; an incumbent is not left for less.
RESIDUAL_TOLERANCE = 4.0
# Urgent reports make decisions more frequent than reports; a streak counts at most one of them per interval.
REPORT_INTERVAL_S = 0.8
# Of the routes over a link, at most this share leaves it within a second, so that its alternative is not flooded.
DEPARTURES_RATIO = 0.10


class Move(Enum):
    """What to do with a route now."""

    STAY = "stay"
    MOVE = "move"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class MoveVerdict:
    """The verdict, and the memory with its streaks brought up to date."""

    move: Move
    memory: RouteMemory


def decide_move(
    memory: RouteMemory, incumbent: Path | None, target: Path, carries: bool, now: float, *, reviewed: bool = False
) -> MoveVerdict:
    """Judges leaving `incumbent` (None: it is out of use) for `target`. `carries`: media flows over it now; `reviewed`:
    the move is worth it for the tree, if not for the leaf."""
    if incumbent is None:
        return MoveVerdict(Move.FAILED, memory)
    if incumbent.cost_ms < memory.cost_when_chosen_ms:
        memory = replace(memory, cost_when_chosen_ms=incumbent.cost_ms)
    if target.nodes == incumbent.nodes:
        provisional = memory.provisional and not target.measured
        if memory.better_streak or memory.worse_streak or provisional != memory.provisional:
            memory = replace(memory, better_streak=0, worse_streak=0, provisional=provisional)
        return MoveVerdict(Move.STAY, memory)
    if memory.provisional and target.measured:
        return MoveVerdict(Move.MOVE, memory)
    # A route that carries nothing may follow the tree's shape; nobody notices.
    better = is_better(target, incumbent) or reviewed or not carries
    patience = reports_until_failed(memory, incumbent, target)
    if now - memory.streak_at >= REPORT_INTERVAL_S:
        memory = replace(
            memory,
            better_streak=memory.better_streak + 1 if better else 0,
            worse_streak=memory.worse_streak + 1 if patience else 0,
            streak_at=now,
        )
    if patience and memory.worse_streak >= patience:
        return MoveVerdict(Move.FAILED, memory)
    young = now - memory.born_at < YOUNG_S
    rested = young or now - memory.moved_at >= DWELL_S * 2.0**memory.flaps
    if better and rested and memory.better_streak >= BETTER_REPORTS:
        return MoveVerdict(Move.MOVE, memory)
    return MoveVerdict(Move.STAY, memory)


def is_better(target: Path, incumbent: Path) -> bool:
    """Whether `target` is worth moving to: a lower class of residual loss, or the same and cheaper by 10 % and 5 ms."""
    late, incumbent_late = target.rank[0], incumbent.rank[0]
    if late != incumbent_late:
        return late < incumbent_late
    loss = residual_class(target.residual_ratio)
    if loss < residual_class(incumbent.residual_ratio / RESIDUAL_TOLERANCE):
        return True
    if loss > residual_class(incumbent.residual_ratio):
        return False
    gain_ms = incumbent.cost_ms - target.cost_ms
    return gain_ms >= BETTER_MS and gain_ms >= BETTER_RATIO * abs(incumbent.cost_ms)


def reports_until_failed(memory: RouteMemory, incumbent: Path, target: Path) -> int:
    """How many reports confirm that the incumbent has become so bad that waiting is worse than moving; 0: it has
    not."""
    jumped = incumbent.cost_ms >= JUMP_RATIO * memory.cost_when_chosen_ms + JUMP_MS
    if jumped and is_better(target, incumbent):
        return JUMP_REPORTS
    if incumbent.cost_ms - target.cost_ms >= HAVEN_MS and is_better(target, incumbent):
        return HAVEN_REPORTS
    loss = residual_class(incumbent.fresh_residual_ratio / RESIDUAL_TOLERANCE)
    lossy = loss >= FAILED_CLASS and residual_class(target.fresh_residual_ratio) < loss
    return LOSS_REPORTS if lossy else 0


def moved(memory: RouteMemory, target: Path, now: float, *, fled: bool) -> RouteMemory:
    """The memory after the move, with flaps counted. `fled`: a failure was left, not a gain taken."""
    rest = now - memory.moved_at
    flaps = memory.flaps
    # Coming home after a failure is no flap; having to leave again is.
    returns = target.nodes == memory.previous_path and (fled or not memory.fled)
    if returns and rest < FLAP_WINDOW_S * 2.0**flaps:
        flaps = min(flaps + 1, FLAPS_MAX)
    elif rest >= FLAPS_FORGOTTEN_S:
        flaps = 0
    return replace(
        memory,
        path=target.nodes,
        previous_path=memory.path,
        moved_at=now,
        cost_when_chosen_ms=target.cost_ms,
        provisional=not target.measured,
        better_streak=0,
        worse_streak=0,
        flaps=flaps,
        fled=fled,
    )


class Departures:
    """Who left which link within the last second; one decision's working copy."""

    def __init__(self, before: Mapping[tuple[str, str], tuple[float, ...]], now: float) -> None:
        recent = {link: tuple(at for at in times if now - at < 1.0) for link, times in before.items()}
        self._times = {link: times for link, times in recent.items() if times}
        self._now = now

    def allow(self, old: tuple[str, ...], new: tuple[str, ...], users: Mapping[tuple[str, str], int]) -> bool:
        """Whether one more route may leave the links of `old` that `new` does not use; counts it when it may."""
        left = hops(old) - hops(new)
        for link in left:
            if len(self._times.get(link, ())) >= max(1, int(DEPARTURES_RATIO * users.get(link, 0))):
                return False
        for link in left:
            self._times[link] = (*self._times.get(link, ()), self._now)
        return True

    @property
    def times(self) -> dict[tuple[str, str], tuple[float, ...]]:
        """To carry into the next decision."""
        return dict(self._times)


def hops(nodes: tuple[str, ...]) -> set[tuple[str, str]]:
    """The links of a path."""
    return set(pairwise(nodes))
