"""The mesh's counters (STYLE 15), in a registry of their own that the edge's `/metrics` adds to its text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from edge.mesh.probe_wire import ProbeDrop
from tradewind.common.slice_reasons import SLICE_REASONS

SLICE_RESULTS = ("applied", *SLICE_REASONS)
STREAMS = ("report", "follow")
CODES = ("UNAVAILABLE", "INVALID_ARGUMENT", "UNAUTHENTICATED", "CANCELLED", "other")


class MeshMetrics:
    """Every label value exists from the start."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reports = Counter("tradewind_mesh_reports_total", "Reports sent.", registry=self.registry)
        self._slices = Counter(
            "tradewind_mesh_slices_total", "Route slices by result.", ["result"], registry=self.registry
        )
        self._drops = Counter(
            "tradewind_mesh_probe_drops_total", "Probe datagrams without a reply.", ["reason"], registry=self.registry
        )
        self._ends = Counter(
            "tradewind_mesh_streams_ended_total",
            "Streams to control that ended.",
            ["stream", "code"],
            registry=self.registry,
        )
        self.control_connected = Gauge(
            "tradewind_mesh_control_connected", "1 while control answers.", registry=self.registry
        )
        self.leader_epoch = Gauge(
            "tradewind_mesh_leader_epoch", "Leader epoch of the routes in use.", registry=self.registry
        )
        self.routes = Gauge("tradewind_mesh_routes", "Routes in use.", registry=self.registry)
        for result in SLICE_RESULTS:
            self._slices.labels(result)
        for reason in ProbeDrop:
            self._drops.labels(reason.value)
        for stream in STREAMS:
            for code in CODES:
                self._ends.labels(stream, code)

    def handle_probe_drop(self, reason: ProbeDrop) -> None:
        """A datagram got no reply."""
        self._drops.labels(reason.value).inc()

    def handle_slice(self, result: str) -> None:
        """A slice was applied or refused."""
        self._slices.labels(result if result in SLICE_RESULTS else "rejected").inc()

    def handle_stream_end(self, stream: str, code: str) -> None:
        """A stream to control has ended."""
        self._ends.labels(stream, code if code in CODES else "other").inc()

    def render(self) -> str:
        """Prometheus text."""
        return generate_latest(self.registry).decode()
