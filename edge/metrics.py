"""What an edge counts in Python, by Prometheus' rules; the packet path renders its own text, which is put behind ours.

Labels are reasons, roles and surfaces, all known beforehand and present at 0 from the start: a counter that appears
with its first error leaves every ratio over it empty. Never a room, a stream or a person.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from edge.rooms.goodbye import FAREWELLS
from edge.rooms.relay import DROP_REASONS
from edge.signaling.events import CLOSE_REASONS
from edge.signaling.port import OFFER_REASONS
from tradewind.common.bodies import REASONS as BODY_REASONS
from tradewind.common.refusing import REASONS as CONNECTION_REASONS
from tradewind.common.tokens import REASONS as TOKEN_REASONS
from tradewind.v1.room_messages import REJECTED_REASONS

# Series of creation times would double the text and say nothing that process_start_time does not.
disable_created_metrics()  # type: ignore[no-untyped-call]

SESSION_REASONS: Final = (
    *TOKEN_REASONS,
    *BODY_REASONS,
    "room_name",
    "content_type",
    "offer_empty",
    "draining",
    "session_unknown",
    "not_yours",
    "if_match_missing",
    "etag_mismatch",
    "ice_restart_unsupported",
)
"""Refusals that signalling itself gives; those of offers are the packet path's."""
ANYWHERE: Final = ("not_found", "method_not_allowed", "internal_error")
FIRST_MEDIA_BUCKETS_S: Final = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Around the promises: 0.7 s warm, 1.2 s cold."""
ROLES: Final = ("host", "viewer")
REFUSALS: Final = {
    "whip": (*SESSION_REASONS, *OFFER_REASONS, *ANYWHERE),
    "whep": (*SESSION_REASONS, *OFFER_REASONS, *ANYWHERE),
    "rooms": ("room_name", "draining", "subprotocol", *ANYWHERE),
    "pages": ("room_name", "pages_missing", *ANYWHERE),
    "connection": CONNECTION_REASONS,
}
"""Every reason by surface; `connection` is what was refused before it was a request."""
_PATHS: Final = {"whip": "whip", "whep": "whep", "v1": "rooms"}


class EdgeMetrics:
    """One registry per edge process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.ready = Gauge("tradewind_edge_ready", "1 when /readyz says so.", registry=self.registry)
        self._refused = Counter(
            "tradewind_http_refused", "Requests refused, by reason.", ("surface", "reason"), registry=self.registry
        )
        self._answered = Counter(
            "tradewind_sessions_answered", "Offers answered with 201.", ("role",), registry=self.registry
        )
        self._connected = Counter(
            "tradewind_sessions_connected", "Sessions whose DTLS is up.", ("role",), registry=self.registry
        )
        self._closed = Counter(
            "tradewind_sessions_closed", "Sessions that ended, by reason.", ("role", "reason"), registry=self.registry
        )
        self._first_media = Histogram(
            "tradewind_session_first_media_seconds",
            "From POST to the first media packet.",
            ("role",),
            buckets=FIRST_MEDIA_BUCKETS_S,
            registry=self.registry,
        )
        self._comments = Counter(
            "tradewind_room_comments", "Comments of people here, by outcome.", ("outcome",), registry=self.registry
        )
        self._relay_drops = Counter(
            "tradewind_room_relay_dropped", "Neighbours' messages not used.", ("reason",), registry=self.registry
        )
        self._goodbyes = Counter(
            "tradewind_room_goodbyes", "Sockets ended by this edge.", ("reason",), registry=self.registry
        )
        self._frames = Counter("tradewind_room_frames", "Frames queued for sockets.", registry=self.registry)
        self._entries = Counter("tradewind_room_entries", "Comments published here.", registry=self.registry)
        self._handler_failures = Counter(
            "tradewind_event_handler_failures", "Events whose handler failed.", registry=self.registry
        )
        self._start_labels()

    def watch(self, *, rooms: Callable[[], float], sockets: Callable[[], float]) -> None:
        """Gauges that are read when somebody asks."""
        Gauge("tradewind_rooms", "Rooms known here.", registry=self.registry).set_function(rooms)
        Gauge("tradewind_room_sockets", "Open sockets of rooms.", registry=self.registry).set_function(sockets)

    def count_refusal(self, surface: str, reason: str) -> None:
        """A request was answered with a problem. `surface` is one of REFUSALS."""
        self._refused.labels(surface, reason).inc()

    def count_problem(self, path: str, reason: str) -> None:
        """`count_refusal` by the request's path."""
        self.count_refusal(_PATHS.get(path.split("/")[1], "pages"), reason)

    def count_answer(self, role: str) -> None:
        """An offer was answered."""
        self._answered.labels(role).inc()

    def count_connected(self, role: str) -> None:
        """A session's DTLS is up."""
        self._connected.labels(role).inc()

    def count_closed(self, role: str, reason: str) -> None:
        """A session ended."""
        self._closed.labels(role, reason).inc()

    def observe_first_media(self, role: str, seconds: float) -> None:
        """From POST to the first packet."""
        self._first_media.labels(role).observe(seconds)

    def count_comment(self, outcome: str) -> None:
        """A comment was accepted, or rejected for a reason."""
        self._comments.labels(outcome).inc()

    def count_relay_drop(self, reason: str) -> None:
        """A neighbour's message was not used."""
        self._relay_drops.labels(reason).inc()

    def count_goodbye(self, reason: str) -> None:
        """A socket was ended."""
        self._goodbyes.labels(reason).inc()

    def count_frames(self, frames: int, entries: int) -> None:
        """One frame went to so many sockets."""
        self._frames.inc(frames)
        self._entries.inc(entries)

    def count_handler_failure(self) -> None:
        """A handler of packet-path events failed; the failure is in the log."""
        self._handler_failures.inc()

    def render(self) -> bytes:
        """Prometheus text. Takes milliseconds: call it off the loop."""
        return generate_latest(self.registry)

    def _start_labels(self) -> None:
        for surface, reasons in REFUSALS.items():
            for reason in reasons:
                self._refused.labels(surface, reason)
        for role in ROLES:
            self._answered.labels(role)
            self._connected.labels(role)
            self._first_media.labels(role)
            for reason in CLOSE_REASONS:
                self._closed.labels(role, reason)
        for outcome in ("accepted", *REJECTED_REASONS):
            self._comments.labels(outcome)
        for reason in (*DROP_REASONS, "room_unknown", "message_invalid", "neighbour_unreachable"):
            self._relay_drops.labels(reason)
        for reason in FAREWELLS:
            self._goodbyes.labels(reason)
