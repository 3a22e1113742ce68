"""What signalling asks of the packet path: a small protocol, and the adapter to the native module.

OfferRefused
    An offer or a candidate fragment that cannot be used; carries the HTTP status, a reason and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from edge.dataplane import Dataplane

OFFER_REASONS: Final = (
    "sdp_too_large",
    "sdp_line_too_long",
    "sdp_too_many_media",
    "sdp_too_many_attributes",
    "sdp_not_text",
    "sdp_malformed",
    "sdp_no_media",
    "no_bundle",
    "no_rtcp_mux",
    "no_fingerprint",
    "no_ice_credentials",
    "bad_setup",
    "ice_lite_peer",
    "wrong_direction",
    "too_many_tracks",
    "no_common_codec",
    "ice_restart_unsupported",
    "trickle_mismatch",
    "draining",
    "out_of_memory",
    "full",
    "overloaded",
    "session_unknown",
)
"""Every reason of an OfferRefused, as `edge.dataplane.OFFER_REASONS`; here so that metrics need no native module."""


class OfferRefused(Exception):
    """The packet path cannot answer."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Answer:
    """A session that waits for its peer's first packets."""

    session_id: int
    sdp: str
    left_out: tuple[str, ...] = ()
    """Kinds (audio, video) that a viewer asks for in none of the codecs that are forwarded."""


class SessionPort(Protocol):
    """Sessions of the packet path. All calls return at once."""

    def publish(self, room: str, offer: bytes, incarnation: int) -> Answer:
        """Answers a host's offer; raises OfferRefused."""

    def view(self, room: str, offer: bytes) -> Answer:
        """Answers a viewer's offer, with or without a host in the room; raises OfferRefused."""

    def check_candidates(self, session_id: int, fragment: bytes) -> None:
        """Validates a trickle fragment; raises OfferRefused."""

    def close_session(self, session_id: int, reason: str) -> bool:
        """Ends a session; False when it has ended already."""


class NativeSessions:
    """`SessionPort` over `edge.dataplane`."""

    def __init__(self, dataplane: Dataplane) -> None:
        from edge.dataplane import OfferRejected

        self._dataplane = dataplane
        self._rejected = OfferRejected

    def publish(self, room: str, offer: bytes, incarnation: int) -> Answer:
        """See SessionPort."""
        try:
            answer = self._dataplane.publish(room, offer, incarnation)
        except self._rejected as error:
            raise _refused(error) from None
        return Answer(answer.session_id, answer.sdp)

    def view(self, room: str, offer: bytes) -> Answer:
        """See SessionPort."""
        try:
            answer = self._dataplane.view(room, offer)
        except self._rejected as error:
            raise _refused(error) from None
        return Answer(answer.session_id, answer.sdp, tuple(answer.left_out))

    def check_candidates(self, session_id: int, fragment: bytes) -> None:
        """See SessionPort."""
        try:
            self._dataplane.check_candidates(session_id, fragment)
        except self._rejected as error:
            raise _refused(error) from None

    def close_session(self, session_id: int, reason: str) -> bool:
        """See SessionPort."""
        return self._dataplane.close_session(session_id, reason)


def _refused(error: ValueError) -> OfferRefused:
    status, reason, detail = error.args
    return OfferRefused(int(status), str(reason), str(detail))
