"""One decision: a snapshot and what was remembered go in, a route table and the new memory come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from control.brain.cost import GRAFT_LIMIT_UTILISATION
from control.brain.hysteresis import Departures, Move, decide_move, hops, moved
from control.brain.links import LinkTable, estimate_links
from control.brain.liveness import judge_edges
from control.brain.paths import Path, PathFinder, decide_backup, measure_path
from control.brain.reasons import describe
from control.brain.trees import decide_join, subtree
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
    round_ = _Round(snapshot, state, verdicts, links, now)
    for source in sorted({stream.source_edge for stream in snapshot.streams} & set(links.index)):
        round_.decide_source(source)
    routes = tuple(sorted(round_.routes, key=lambda route: (route.edge_id, route.room)))
    return Decision(
        RouteTable(routes, verdicts, links.verdicts()),
        BrainState(grace_until, now, round_.memories, round_.departures.times),
    )


@dataclass(frozen=True, slots=True)
class _Reach:
    """What one source offers to every leaf: all candidates, and those that accept new grafts."""

    options: Mapping[str, list[Path]]
    open_options: Mapping[str, list[Path]]


class _Round:
    """The working memory of one decision."""

    def __init__(
        self,
        snapshot: Snapshot,
        state: BrainState,
        verdicts: Mapping[str, EdgeVerdict],
        links: LinkTable,
        now: float,
    ) -> None:
        self._snapshot = snapshot
        self._verdicts = verdicts
        self._links = links
        self._now = now
        self._before = state.routes
        self._users = Counter(hop for memory in state.routes.values() for hop in hops(memory.path))
        # Full or leaving edges take no new grafts as relays; what they carry stays.
        self._closed = {
            edge.edge_id
            for edge in snapshot.edges
            if edge.draining or max(edge.egress_utilisation, edge.cpu_ratio) > GRAFT_LIMIT_UTILISATION
        }
        self.departures = Departures(state.departures, now)
        self.memories: dict[tuple[str, str], RouteMemory] = {}
        self.routes: list[Route] = []

    def decide_source(self, source: str) -> None:
        """All routes to the streams of one edge."""
        leaves = [edge for edge in self._links.edge_ids if edge != source]
        every = PathFinder(self._links, source)
        options = {leaf: every.candidates(leaf) for leaf in leaves}
        if self._closed:
            some = PathFinder(self._links, source, self._closed)
            reach = _Reach(options, {leaf: some.candidates(leaf) or options[leaf] for leaf in leaves})
        else:
            reach = _Reach(options, options)
        # Near leaves first, so that farther ones can graft onto them.
        leaves.sort(key=lambda leaf: (reach.options[leaf][0].cost_ms if reach.options[leaf] else float("inf"), leaf))
        for stream in sorted(self._snapshot.streams, key=lambda stream: stream.room):
            if stream.source_edge == source:
                self._decide_stream(stream, leaves, reach)

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
        for leaf, memory in chosen.items():
            self._finish(stream, leaf, memory, reach.options[leaf], paths)

    def _memory(self, stream: StreamState, leaf: str) -> RouteMemory | None:
        memory = self._before.get((stream.room, leaf))
        if memory is None or memory.source_edge != stream.source_edge:
            return None
        return replace(memory, incarnation=stream.incarnation)

    def _decide_leaf(
        self, stream: StreamState, leaf: str, reach: _Reach, paths: Mapping[str, tuple[str, ...]]
    ) -> RouteMemory | None:
        """The leaf's memory with its path settled for this round."""
        memory = self._memory(stream, leaf)
        out = "down" in (self._verdicts[leaf], self._verdicts[stream.source_edge])
        options = reach.open_options[leaf]
        if out or not options:
            # Nothing to choose from: whoever still gets media keeps it, whoever asks tries the straight way.
            return memory or self._first(stream, (stream.source_edge, leaf), float("inf"), measured=False)
        target = self._target(stream, leaf, reach, paths)
        if memory is None:
            return self._first(stream, target.nodes, target.cost_ms, measured=target.measured)
        incumbent = measure_path(self._links, memory.path)
        carries = bool(stream.active_paths.get(leaf))
        verdict = decide_move(memory, incumbent, target, carries, self._now)
        if verdict.move is Move.STAY:
            return verdict.memory
        if verdict.move is Move.FAILED:
            # Leaving what has failed, take the best there is; the tree's economy can wait.
            return moved(verdict.memory, options[0], self._now, fled=True)
        if not self.departures.allow(memory.path, target.nodes, self._users):
            return verdict.memory
        return moved(verdict.memory, target, self._now, fled=False)

    def _target(self, stream: StreamState, leaf: str, reach: _Reach, paths: Mapping[str, tuple[str, ...]]) -> Path:
        tree = {
            edge: paths[edge]
            for edge, active in stream.active_paths.items()
            if active and edge in paths and edge not in self._closed and self._verdicts.get(edge) == "up"
        }
        children = Counter(path[-2] for edge, path in paths.items() if edge in tree and edge != leaf)

        def keeps_backup(edge: str, below: str) -> bool:
            primary = measure_path(self._links, paths[edge]) if edge in paths else None
            rest = [path for path in reach.options.get(edge, []) if below not in path.relays]
            return primary is not None and decide_backup(rest, primary, ()) is not None

        return decide_join(
            leaf,
            reach.open_options[leaf][0],
            tree,
            children,
            lambda nodes: measure_path(self._links, nodes),
            keeps_backup,
        )

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

    def _finish(
        self,
        stream: StreamState,
        leaf: str,
        memory: RouteMemory,
        options: list[Path],
        paths: Mapping[str, tuple[str, ...]],
    ) -> None:
        """Settles backup and wording once every leaf of the stream has its path."""
        path = measure_path(self._links, memory.path)
        backup = memory.backup
        if path is not None:
            best = decide_backup(options, path, subtree(leaf, paths), memory.backup)
            backup = () if best is None else best.nodes
        before = self._before.get((stream.room, leaf))
        stale = self._now - memory.reason_at >= REASON_REFRESH_S
        reason, reason_at = memory.reason, memory.reason_at
        if before is None or before.path != memory.path or stale or before.provisional != memory.provisional:
            reason_at = self._now
            reason = "no usable path, keeps the last one" if path is None else describe(self._links, path, options)
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
            )
        )
