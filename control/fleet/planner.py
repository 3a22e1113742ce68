"""Asks the brain, and cuts its table into one versioned slice per edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

from control.brain import decide, start
from control.brain.probes import probe_partners
from control.brain.world import EdgeState, EdgeVerdict, Route, RouteTable
from control.fleet.registry import EdgeRecord, FleetRegistry

# A new leader pushes nothing before it has heard so many of the edges it knew, or so long has passed.
PUSH_AFTER_HEARD_RATIO = 0.9
PUSH_AFTER_S = 15.0


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Whom to probe; `warm` targets lie on a route or a backup and get five bursts a second."""

    edge_id: str
    warm: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """What one edge gets. `version` counts up within one leader epoch."""

    version: int
    neighbours: tuple[tuple[EdgeRecord, EdgeVerdict], ...]
    probe_targets: tuple[ProbeTarget, ...]
    routes: tuple[Route, ...]


@dataclass(slots=True)
class Plan:
    """The newest table and slices."""

    version: int = 0
    table: RouteTable = field(default_factory=lambda: RouteTable((), MappingProxyType({}), ()))
    slices: dict[str, Slice] = field(default_factory=dict)


class Planner:
    """Steps from snapshot to slices. `step` is the only thing that changes it; the caller brings the time."""

    def __init__(
        self, registry: FleetRegistry, *, now: float, on_decided: Callable[[RouteTable], None] | None = None
    ) -> None:
        self._registry = registry
        self._state = start(now)
        self._started_at = now
        self._on_decided = on_decided
        self.pushing = False
        self.plan = Plan()

    def step(self, now: float) -> list[str]:
        """Decides; returns the edges whose slice has changed and may be pushed."""
        verdicts = self.plan.table.verdicts
        down = [edge for edge, verdict in verdicts.items() if verdict == "down"]
        snapshot = self._registry.snapshot(down)
        decision = decide(snapshot, self._state, now)
        self._state = decision.state
        self.plan.table = decision.table
        if self._on_decided is not None:
            self._on_decided(decision.table)
        if not self.pushing:
            heard = self._registry.heard_ratio() >= PUSH_AFTER_HEARD_RATIO
            self.pushing = heard or now - self._started_at >= PUSH_AFTER_S
            if not self.pushing:
                return []
        return self._cut(decision.table, snapshot.edges, now)

    def _cut(self, table: RouteTable, edges: Sequence[EdgeState], now: float) -> list[str]:
        reachable = {edge: record for edge, record in sorted(self._registry.edges.items()) if record.described}
        warm = _warm_pairs(table.routes)
        partners = probe_partners(edges, warm, now)
        routes: dict[str, list[Route]] = {edge: [] for edge in reachable}
        for route in table.routes:
            routes.setdefault(route.edge_id, []).append(route)
        changed: list[str] = []
        fresh: dict[str, Slice] = {}
        for edge in self._registry.edges:
            neighbours = tuple(
                (record, table.verdicts.get(other, "suspect")) for other, record in reachable.items() if other != edge
            )
            targets = tuple(ProbeTarget(other, (edge, other) in warm) for other in partners.get(edge, ()))
            slice_ = Slice(0, neighbours, targets, tuple(routes.get(edge, ())))
            held = self.plan.slices.get(edge)
            if held is None or _differs(slice_, held):
                changed.append(edge)
                fresh[edge] = slice_
        if fresh:
            self.plan.version += 1
            for edge, slice_ in fresh.items():
                self.plan.slices[edge] = Slice(
                    self.plan.version, slice_.neighbours, slice_.probe_targets, slice_.routes
                )
        return changed


def _warm_pairs(routes: Iterable[Route]) -> set[tuple[str, str]]:
    pairs: set[tuple[str, str]] = set()
    for route in routes:
        for path in (route.primary, route.backup):
            for one, other in pairwise(path):
                pairs |= {(one, other), (other, one)}
    return pairs


def _differs(fresh: Slice, held: Slice) -> bool:
    """Whether an edge would act differently; costs and delays alone are no reason to push."""
    if (fresh.neighbours, fresh.probe_targets) != (held.neighbours, held.probe_targets):
        return True
    return [route.essence for route in fresh.routes] != [route.essence for route in held.routes]
