"""The running fleet: reports wake the planner, changed slices wake the edges that follow.

The one place of `control.fleet` that knows time and tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from control.fleet.authority import Authority, write_private
from control.fleet.planner import Planner, Slice
from control.fleet.registry import FleetRegistry
from control.fleet.wire import encode_delta, encode_slice
from control.metrics import ControlMetrics
from tradewind.common.logging import get_logger
from tradewind.common.slice_reasons import SLICE_REASONS
from tradewind.v1 import routes_pb2, telemetry_pb2

log = get_logger(__name__)

# Urgent reports come in clusters, both ends of a broken link at once; one decision serves them together.
URGENT_SETTLE_S = 0.05
# Decisions of a large fleet take long; reports and pages must have the loop in between.
DECIDE_SHARE = 0.25


class FleetHub:
    """Registry, planner and authority of one leader, with the clock that drives them."""

    def __init__(
        self,
        registry: FleetRegistry,
        authority: Authority,
        metrics: ControlMetrics,
        *,
        leader_epoch: int,
        clock: Callable[[], float],
        decide_interval_s: float = 1.0,
    ) -> None:
        self.registry = registry
        self.authority = authority
        self.metrics = metrics
        self.leader_epoch = leader_epoch
        self.clock = clock
        self._interval_s = decide_interval_s
        self.planner = Planner(registry, now=clock(), on_decided=metrics.handle_table)
        self._urgent = asyncio.Event()
        self._changed: dict[str, asyncio.Event] = {}
        self._decided = asyncio.Condition()
        self._rejections: dict[str, tuple[str, str]] = {}
        self._applied: dict[str, tuple[int, int]] = {}
        metrics.leader_epoch.set(leader_epoch)

    async def run(self) -> None:
        """Decides each interval, and soon after anything urgent, until cancelled."""
        while True:
            self._urgent.clear()
            began = self.clock()
            changed = self.planner.step(began)
            took = self.clock() - began
            self.metrics.decide_seconds.observe(took)
            for edge in changed:
                if edge in self._changed:
                    self._changed[edge].set()
            await self.wake_followers()
            try:
                async with asyncio.timeout(max(self._interval_s, took / DECIDE_SHARE)):
                    await self._urgent.wait()
                await asyncio.sleep(max(URGENT_SETTLE_S, took))
            except TimeoutError:
                pass

    async def wake_followers(self) -> None:
        """Lets everyone in `wait_decided` go on: after a decision, and when control stops."""
        async with self._decided:
            self._decided.notify_all()

    async def wait_decided(self) -> None:
        """Returns after the next decision."""
        async with self._decided:
            await self._decided.wait()

    def handle_report(self, edge_id: str, report: telemetry_pb2.ReportRequest) -> None:
        """A checked report."""
        self.metrics.reports.inc()
        if self.registry.handle_report(edge_id, report, self.clock()):
            self._urgent.set()

    def watch(self, edge_id: str) -> asyncio.Event:
        """Set whenever the edge's slice has changed. A second connection of an edge takes over from the first."""
        self._changed[edge_id] = asyncio.Event()
        return self._changed[edge_id]

    def slice_for(self, edge_id: str) -> Slice | None:
        """The newest slice, once this leader pushes at all."""
        return self.planner.plan.slices.get(edge_id) if self.planner.pushing else None

    def encode(self, edge_id: str, slice_: Slice) -> routes_pb2.RouteSlice:
        """The slice as it crosses the wire, keys included."""
        return encode_slice(edge_id, slice_, self.leader_epoch, self.authority)

    def encode_delta(self, edge_id: str, base: Slice, slice_: Slice) -> routes_pb2.RouteDelta | None:
        """What has changed since `base`, or None when the edge has not said that it works with that."""
        if self._applied.get(edge_id) != (self.leader_epoch, base.version):
            return None
        return encode_delta(edge_id, base, slice_, self.leader_epoch, self.authority)

    def handle_applied(self, edge_id: str, leader_epoch: int, version: int) -> None:
        """The edge works with what it was sent."""
        self.handle_following(edge_id, leader_epoch, version)
        self._rejections.pop(edge_id, None)
        self.metrics.edges_refusing.set(len(self._rejections))
        self.metrics.slices_applied.inc()

    def handle_following(self, edge_id: str, leader_epoch: int, version: int) -> None:
        """What the edge works with."""
        self._applied[edge_id] = (leader_epoch, version)

    def handle_rejected(self, edge_id: str, version: int, reason: str, detail: str) -> None:
        """The edge keeps what it had, and says why."""
        known = reason if reason in SLICE_REASONS else "rejected"
        self.metrics.slices_rejected.labels(known).inc()
        self._rejections[edge_id] = (reason[:64], detail[:512])
        self.metrics.edges_refusing.set(len(self._rejections))
        log.warning("slice_rejected", edge_id=edge_id, version=version, reason=reason[:64], detail=detail[:512])

    def applied(self, edge_id: str) -> tuple[int, int] | None:
        """The (leader epoch, version) the edge works with, as it said last."""
        return self._applied.get(edge_id)

    def rejection(self, edge_id: str) -> tuple[str, str] | None:
        """Why the edge refused its newest slice, if it did."""
        return self._rejections.get(edge_id)


def next_leader_epoch(data_dir: Path) -> int:
    """One more than the last leader's on this data directory, durable before it is used."""
    path = data_dir / "leader_epoch"
    epoch = int(path.read_text()) + 1 if path.exists() else 1
    write_private(path, f"{epoch}\n".encode())
    return epoch
