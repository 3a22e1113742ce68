"""One decision: a snapshot and what was remembered go in, a route table and the new memory come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from control.brain.attraction import Attraction
from control.brain.cost import GRAFT_LIMIT_UTILISATION
from control.brain.headroom import Headroom, count_copies
from control.brain.hysteresis import Departures, Move, decide_move, hops, moved
from control.brain.links import LinkTable, estimate_links
from control.brain.liveness import judge_edges
from control.brain.metro import choose_of_two, group_metros
from control.brain.paths import Path, PathFinder, decide_backup, measure_path
from control.brain.reasons import describe
from control.brain.review import decide_review, review_gain_ms
from control.brain.trees import RELAYS_MAX, decide_join, join_limit_ms, own_cost_ms, subtrees
from control.brain.world import (
    BrainState,
    Decision,
    EdgeVerdict,
    Route,
    RouteMemory,
    RouteTable,
    Snapshot,
    StreamState,
)

# After a start, or after control itself stood still: reports are on their way and prove nothing by their absence.
GRACE_S = 15.0
STANDSTILL_S = 3.0
# Numbers in a reason grow old; a fresh wording is worth one push this often and no more.
REASON_REFRESH_S = 30.0


def start(now: float) -> BrainState:
    """The state of a leader that has just begun."""
    return BrainState(grace_until=now + GRACE_S)


def decide(snapshot: Snapshot, state: BrainState, now: float) -> Decision:
    """Routes from every edge to every live stream. Pure; call it with each batch of reports, about once a second."""
    grace_until = state.grace_until
    if state.decided_at is not None and now - state.decided_at > STANDSTILL_S:
        grace_until = max(grace_until, now + GRACE_S)
    verdicts = judge_edges(snapshot, grace_until, now)
    links = estimate_links(snapshot, verdicts)
    round_ = _Round(snapshot, state, verdicts, links, now, counting=now >= grace_until)
    for source in sorted({stream.source_edge for stream in snapshot.streams} & set(links.index)):
        round_.decide_source(source)
    routes = tuple(sorted(round_.routes, key=lambda route: (route.edge_id, route.room)))
    return Decision(
        RouteTable(routes, verdicts, links.verdicts()),
        BrainState(
            grace_until,
            now,
            round_.memories,
            round_.departures.times,
            round_.attraction.gains,
            decide_review(round_.review_gains, round_.carrying, state.review, now),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Reach:
    """What one source offers to every leaf: all candidates, and those that accept new grafts, which may be none."""

    options: Mapping[str, list[Path]]
    open_options: Mapping[str, list[Path]]

    def best_first(self, leaf: str) -> list[Path]:
        """What a new route may take; a full path is better than none."""
        return self.open_options[leaf] or self.options[leaf]


class _Round:
    """The working memory of one decision."""

    def __init__(
        self,
        snapshot: Snapshot,
        state: BrainState,
        verdicts: Mapping[str, EdgeVerdict],
        links: LinkTable,
        now: float,
        *,
        counting: bool,
    ) -> None:
        self._snapshot = snapshot
        self._verdicts = verdicts
        self._links = links
        self._now = now
        self._before = state.routes
        self._review = state.review
        self._users = Counter(hop for memory in state.routes.values() for hop in hops(memory.path))
        # Full or leaving edges take no new grafts as relays; what they carry stays.
        loads = {edge.edge_id: max(edge.egress_utilisation, edge.cpu_ratio) for edge in snapshot.edges}
        self._leaving = {edge.edge_id for edge in snapshot.edges if edge.draining}
        self._closed = self._leaving | {edge for edge, load in loads.items() if load > GRAFT_LIMIT_UTILISATION}
        # A link's utilisation is never below its sender's load.
        self._full = links.utilisation > GRAFT_LIMIT_UTILISATION
        self._metros = group_metros(snapshot.edges)
        self._assigned = Counter(relay for memory in state.routes.values() for relay in memory.path[1:-1])
        active = [(stream.room, path) for stream in snapshot.streams for path in stream.active_paths.values()]
        self._headroom = Headroom(loads, count_copies(active, {edge.edge_id: edge.viewers for edge in snapshot.edges}))
        self.departures = Departures(state.departures, now)
        self.attraction = Attraction(
            state.gains, _relayed_rooms(state.routes), len(snapshot.streams), now, counting=counting
        )
        # Many streams of one source ask for the same paths.
        self._measured: dict[tuple[str, ...], Path | None] = {}
        self._backups: dict[tuple[tuple[str, ...], frozenset[str], tuple[str, ...]], Path | None] = {}
        self.memories: dict[tuple[str, str], RouteMemory] = {}
        self.routes: list[Route] = []
        # What moving each leaf would gain its tree, and how many leaves have media.
        self.review_gains: dict[tuple[str, str], float] = {}
        self.carrying = 0

    def decide_source(self, source: str) -> None:
        """All routes to the streams of one edge."""
        leaves = [edge for edge in self._links.edge_ids if edge != source]
        every = PathFinder(self._links, source)
        options = {leaf: every.candidates(leaf) for leaf in leaves}
        reach = _Reach(options, options)
        if self._leaving or self._full.any():
            some = PathFinder(self._links, source, self._leaving, self._full)
            reach = _Reach(options, {leaf: some.candidates(leaf) for leaf in leaves})
        # Near leaves first, so that farther ones can graft onto them.
        leaves.sort(key=lambda leaf: (reach.options[leaf][0].cost_ms if reach.options[leaf] else float("inf"), leaf))
        for stream in sorted(self._snapshot.streams, key=lambda stream: stream.room):
            if stream.source_edge == source:
                self._decide_stream(stream, leaves, reach)

    def _measure(self, nodes: tuple[str, ...]) -> Path | None:
        if nodes not in self._measured:
            self._measured[nodes] = measure_path(self._links, nodes)
        return self._measured[nodes]

    def _decide_stream(self, stream: StreamState, leaves: list[str], reach: _Reach) -> None:
        paths: dict[str, tuple[str, ...]] = {}
        for leaf in leaves:
            memory = self._memory(stream, leaf)
            if memory is not None:
                paths[leaf] = memory.path
        chosen: dict[str, RouteMemory] = {}
        for leaf in leaves:
            memory = self._decide_leaf(stream, leaf, reach, paths)
            if memory is not None:
                chosen[leaf] = memory
                paths[leaf] = memory.path
        below = subtrees(paths)
        for leaf, memory in chosen.items():
            self._finish(stream, leaf, memory, reach.options[leaf], below.get(leaf, frozenset()))

    def _memory(self, stream: StreamState, leaf: str) -> RouteMemory | None:
        memory = self._before.get((stream.room, leaf))
        if memory is None or memory.source_edge != stream.source_edge:
            return self._adopted(stream, leaf)
        # Making thousands of equal memories anew each second would be most of a decision's time.
        return memory if memory.incarnation == stream.incarnation else replace(memory, incarnation=stream.incarnation)

    def _adopted(self, stream: StreamState, leaf: str) -> RouteMemory | None:
        """What flows already although this leader has not routed it: its predecessor's route, or a fail-over since."""
        path = stream.active_paths.get(leaf, ())
        if not 2 <= len(path) <= RELAYS_MAX + 2 or (path[0], path[-1]) != (stream.source_edge, leaf):
            return None
        measured = self._measure(path)
        if measured is None or len(set(path)) != len(path):
            return None
        # Neither young nor provisional: viewers watch it, so that only the ordinary rules may move it.
        return replace(self._first(stream, path, measured.cost_ms, measured=True), born_at=float("-inf"))

    def _decide_leaf(
        self, stream: StreamState, leaf: str, reach: _Reach, paths: Mapping[str, tuple[str, ...]]
    ) -> RouteMemory | None:
        """The leaf's memory with its path settled for this round."""
        memory = self._memory(stream, leaf)
        out = "down" in (self._verdicts[leaf], self._verdicts[stream.source_edge])
        options = reach.best_first(leaf)
        if out or not options:
            # Nothing to choose from: whoever still gets media keeps it, whoever asks tries the straight way.
            return memory or self._first(stream, (stream.source_edge, leaf), float("inf"), measured=False)
        tree = self._tree(stream, paths)
        target = self._target(stream, leaf, reach, paths, tree)
        if memory is None:
            first = self._least_gaining(stream.room, target, options)
            return self._first(stream, first.nodes, first.cost_ms, measured=first.measured)
        incumbent = self._measure(memory.path)
        carries = bool(stream.active_paths.get(leaf))
        reviewed = carries and incumbent is not None and self._reviewed(stream, leaf, incumbent, target, options, tree)
        verdict = decide_move(memory, incumbent, target, carries, self._now, reviewed=reviewed)
        if verdict.move is Move.STAY:
            return verdict.memory
        if verdict.move is Move.FAILED:
            # Leaving what has failed, take the best there is; the tree's economy can wait.
            haven = self._least_gaining(stream.room, options[0], options)
            return moved(verdict.memory, haven, self._now, fled=True)
        if not self.attraction.allows(stream.room, target.relays):
            return verdict.memory
        if not self.departures.allow(memory.path, target.nodes, self._users):
            return verdict.memory
        self._count(stream.room, target)
        return moved(verdict.memory, target, self._now, fled=False)

    def _tree(self, stream: StreamState, paths: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Edges onto which others may graft, with their paths from the source."""
        return {
            edge: paths[edge]
            for edge, active in stream.active_paths.items()
            if active and edge in paths and edge not in self._closed and self._verdicts.get(edge) == "up"
        }

    def _target(
        self,
        stream: StreamState,
        leaf: str,
        reach: _Reach,
        paths: Mapping[str, tuple[str, ...]],
        tree: Mapping[str, tuple[str, ...]],
    ) -> Path:
        children = Counter(trunk[-2] for edge, trunk in tree.items() if edge != leaf)

        def keeps_backup(edge: str, below: str) -> bool:
            primary = self._measure(paths[edge]) if edge in paths else None
            rest = [path for path in reach.options.get(edge, []) if below not in path.relays]
            return primary is not None and decide_backup(rest, primary, ()) is not None

        options = reach.best_first(leaf)
        at = self._links.index
        joints = {edge: trunk for edge, trunk in tree.items() if not self._full[at[edge], at[leaf]]}
        target = decide_join(
            leaf,
            options[0],
            joints,
            children,
            self._measure,
            keeps_backup,
            best_is_full=not reach.open_options[leaf],
        )
        if target.nodes != options[0].nodes:
            return target
        seed = f"{stream.room} {leaf}"
        return choose_of_two(target, options, self._metros, self._assigned, paths.get(leaf, ()), seed)

    def _reviewed(
        self,
        stream: StreamState,
        leaf: str,
        incumbent: Path,
        target: Path,
        options: list[Path],
        tree: Mapping[str, tuple[str, ...]],
    ) -> bool:
        """Whether the leaf may move for its tree's sake; notes what that would gain."""
        self.carrying += 1
        own, target_own = (own_cost_ms(path, tree, self._measure) for path in (incumbent, target))
        gain = review_gain_ms(incumbent, own, target, target_own, join_limit_ms(options[0]))
        self.review_gains[stream.room, leaf] = gain
        return gain > 0.0 and (stream.room, leaf) in self._review.leaves

    def _least_gaining(self, room: str, best: Path, options: list[Path]) -> Path:
        """`best`, or the next as sound whose relays have not gained too many streams lately; `best` when none is."""
        sound = (path for path in (best, *options) if path.rank[:2] <= best.rank[:2])
        chosen = next((path for path in sound if self.attraction.allows(room, path.relays)), best)
        self._count(room, chosen)
        return chosen

    def _count(self, room: str, path: Path) -> None:
        self.attraction.handle_routed(room, path.relays)
        self._assigned.update(path.relays)

    def _first(self, stream: StreamState, path: tuple[str, ...], cost_ms: float, *, measured: bool) -> RouteMemory:
        return RouteMemory(
            source_edge=stream.source_edge,
            incarnation=stream.incarnation,
            path=path,
            backup=(),
            moved_at=self._now,
            cost_when_chosen_ms=cost_ms,
            provisional=not measured,
            reason="",
            reason_at=float("-inf"),
            born_at=self._now,
        )

    def _backup(
        self, primary: Path, options: list[Path], below: frozenset[str], incumbent: tuple[str, ...]
    ) -> Path | None:
        if primary.relays:
            return decide_backup(
                options, primary, below, incumbent, lambda option: self._headroom.allows(primary, option)
            )
        # Without a relay nobody's death is to be provided for, and all streams between two ends ask the same.
        key = (primary.nodes, below, incumbent)
        if key not in self._backups:
            self._backups[key] = decide_backup(options, primary, below, incumbent)
        return self._backups[key]

    def _finish(
        self,
        stream: StreamState,
        leaf: str,
        memory: RouteMemory,
        options: list[Path],
        below: Collection[str],
    ) -> None:
        """Settles backup and wording once every leaf of the stream has its path; `below` hang from this one."""
        path = self._measure(memory.path)
        backup = memory.backup
        if path is not None:
            best = self._backup(path, options, frozenset(below), memory.backup)
            backup = () if best is None else best.nodes
            if best is not None and stream.active_paths.get(leaf):
                self._headroom.reserve(path, best)
        before = self._before.get((stream.room, leaf))
        stale = self._now - memory.reason_at >= REASON_REFRESH_S
        reason, reason_at = memory.reason, memory.reason_at
        if before is None or before.path != memory.path or stale or before.provisional != memory.provisional:
            reason_at = self._now
            reason = "no usable path, keeps the last one" if path is None else describe(self._links, path, options)
        if (backup, reason, reason_at) != (memory.backup, memory.reason, memory.reason_at):
            memory = replace(memory, backup=backup, reason=reason, reason_at=reason_at)
        self.memories[stream.room, leaf] = memory
        self.routes.append(
            Route(
                edge_id=leaf,
                room=stream.room,
                incarnation=stream.incarnation,
                source_edge=stream.source_edge,
                primary=memory.path[::-1],
                backup=memory.backup[::-1],
                reason=memory.reason,
                cost_ms=0.0 if path is None else path.cost_ms,
                delay_ms=0.0 if path is None else path.delay_ms,
                codecs=stream.codecs,
            )
        )


def _relayed_rooms(routes: Mapping[tuple[str, str], RouteMemory]) -> dict[str, frozenset[str]]:
    """Edge -> rooms that routes lead over it."""
    rooms: dict[str, set[str]] = {}
    for (room, _), memory in routes.items():
        for relay in memory.path[1:-1]:
            rooms.setdefault(relay, set()).add(room)
    return {edge: frozenset(found) for edge, found in rooms.items()}
