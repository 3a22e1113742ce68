"""What sessions tell after they were answered: logs, metrics, and resources that end with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from edge.signaling.sessions import SessionTable
from tradewind.common.logging import get_logger

if TYPE_CHECKING:
    from edge.dataplane import Event

log = get_logger(__name__)

CLOSE_REASONS: Final = (
    "deleted",
    "superseded",
    "peer_closed",
    "peer_goodbye",
    "ice_timeout",
    "handshake_timeout",
    "dtls_failed",
    "fingerprint_mismatch",
    "no_srtp_profile",
    "shutdown",
)
"""Why sessions end: `deleted` is said here, the others by the packet path's shards."""


class SessionMeter(Protocol):
    """What the metrics want to know."""

    def count_connected(self, role: str) -> None: ...

    def count_closed(self, role: str, reason: str) -> None: ...

    def observe_first_media(self, role: str, seconds: float) -> None: ...


class SessionEvents:
    """Handles the packet path's session events."""

    def __init__(self, table: SessionTable, meter: SessionMeter, monotonic_s: Callable[[], float]) -> None:
        self._table = table
        self._meter = meter
        self._monotonic_s = monotonic_s

    def handle_event(self, event: Event) -> None:
        """Everything but sessions is somebody else's."""
        match event.kind:
            case "session_connected":
                self._meter.count_connected(event.role)
                log.info(
                    "session_connected",
                    room=event.room,
                    role=event.role,
                    session_id=event.session_id,
                    srtp_profile=event.srtp_profile,
                    dtls_role=event.dtls_role,
                )
            case "session_first_media":
                resource = self._table.of_session(event.session_id) if event.session_id is not None else None
                if resource is not None:
                    self._meter.observe_first_media(event.role, self._monotonic_s() - resource.posted_at)
            case "session_closed":
                if event.session_id is not None:
                    self._table.remove(event.session_id)
                self._meter.count_closed(event.role, event.reason)
                log.info("session_closed", room=event.room, role=event.role, reason=event.reason)
            case "source_warning":
                log.warning("source_warning", room=event.room, incarnation=event.incarnation, reason=event.reason)
            case _:
                pass
