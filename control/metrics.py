"""Control's own counters (STYLE 15). Every label value exists from the start, so that a ratio of two counters is never
empty."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from control.brain.world import RouteTable
from control.fleet.front import REASONS as GRPC_REASONS
from control.fleet.reports import REASONS
from tradewind.common.refusing import REASONS as CONNECTION_REASONS
from tradewind.common.slice_reasons import SLICE_REASONS

# As on edges: creation times would double the text and say nothing that process_start_time does not.
disable_created_metrics()  # type: ignore[no-untyped-call]

_ANYWHERE = ("not_found", "method_not_allowed", "internal_error", "body_timeout", "client_gone", *CONNECTION_REASONS)
ENROLMENT_RESULTS = (
    "issued",
    "bad_join_token",
    "bad_csr",
    "bad_edge_id",
    "bad_request",
    "too_large",
    *_ANYWHERE,
)
CONSOLE_REASONS = (
    "bad_request",
    "too_large",
    "too_many_followers",
    "no_demo",
    "no_bundle",
    "unknown_link",
    "wan_unreachable",
    *_ANYWHERE,
)
SLICE_KINDS = ("whole", "delta")
STREAM_ENDS = ("invalid_report", "closed", "no_identity")


class ControlMetrics:
    """One registry per process; nothing here is global, so that tests may run two controls."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def counter(name: str, text: str, label: str, values: tuple[str, ...]) -> Counter:
            made = Counter(name, text, [label], registry=self.registry)
            for value in values:
                made.labels(value)
            return made

        self.reports = Counter("tradewind_control_reports_total", "Reports taken.", registry=self.registry)
        self.report_violations = counter(
            "tradewind_control_report_violations_total", "Fields that made a report invalid.", "reason", REASONS
        )
        self.grpc_refusals = counter(
            "tradewind_control_grpc_connections_refused_total",
            "Connections to the gRPC port refused.",
            "reason",
            GRPC_REASONS,
        )
        self.report_streams = counter(
            "tradewind_control_report_streams_ended_total", "Telemetry streams that ended.", "reason", STREAM_ENDS
        )
        self._slices_pushed = counter(
            "tradewind_control_slices_pushed_total", "Slices sent, whole or as what changed.", "kind", SLICE_KINDS
        )
        self._slice_bytes = counter(
            "tradewind_control_slices_pushed_bytes_total", "Bytes of slices sent.", "kind", SLICE_KINDS
        )
        self.slices_applied = Counter(
            "tradewind_control_slices_applied_total", "Slices that edges work with.", registry=self.registry
        )
        self.slices_rejected = counter(
            "tradewind_control_slices_rejected_total", "Slices that edges refused.", "reason", SLICE_REASONS
        )
        self.edges_refusing = Gauge(
            "tradewind_control_edges_refusing", "Edges that refused their newest slice.", registry=self.registry
        )
        self.enrolments = counter(
            "tradewind_control_enrolments_total", "Requests for a certificate.", "result", ENROLMENT_RESULTS
        )
        self.console_refusals = counter(
            "tradewind_control_http_refused_total",
            "Requests to the console and its API refused.",
            "reason",
            CONSOLE_REASONS,
        )
        self.edges = Gauge("tradewind_control_edges", "Edges by verdict.", ["status"], registry=self.registry)
        self.routes = Gauge("tradewind_control_routes", "Routes in the table.", registry=self.registry)
        self.leader_epoch = Gauge("tradewind_control_leader_epoch", "Epoch of this leader.", registry=self.registry)
        self.decide_seconds = Histogram(
            "tradewind_control_decide_seconds",
            "Time one decision takes.",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
            registry=self.registry,
        )
        for status in ("up", "suspect", "down"):
            self.edges.labels(status)

    def handle_pushed(self, *, whole: bool, size_bytes: int) -> None:
        """A slice went out."""
        kind = "whole" if whole else "delta"
        self._slices_pushed.labels(kind).inc()
        self._slice_bytes.labels(kind).inc(size_bytes)

    def handle_table(self, table: RouteTable) -> None:
        """Takes gauges from a fresh decision."""
        for status in ("up", "suspect", "down"):
            self.edges.labels(status).set(sum(verdict == status for verdict in table.verdicts.values()))
        self.routes.set(len(table.routes))

    def render(self) -> bytes:
        """Prometheus text."""
        return generate_latest(self.registry)
