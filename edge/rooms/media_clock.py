"""What a publisher's clock shows now, from what its sender reports have said. Pure.

A comment belongs to a frame, and frames carry the publisher's clock, right or wrong. Edges and pages therefore compare
times of that clock only; the wall clock here has no say while there is a better one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Reading:
    incarnation: int
    media_time_ms: int
    at: float


class MediaClocks:
    """One clock per room whose host is connected here; as many as there are hosts."""

    def __init__(self) -> None:
        self._readings: dict[str, _Reading] = {}

    def handle_reading(self, room: str, incarnation: int, media_time_ms: int, *, now: float) -> None:
        """The newest publication's clock showed `media_time_ms`; an older one's is of no interest."""
        known = self._readings.get(room)
        if known is None or incarnation >= known.incarnation:
            self._readings[room] = _Reading(incarnation, media_time_ms, now)

    def handle_source_gone(self, room: str, incarnation: int) -> None:
        """A publication has ended."""
        known = self._readings.get(room)
        if known is not None and known.incarnation == incarnation:
            del self._readings[room]

    def media_time_ms(self, room: str, *, now: float) -> int | None:
        """The time of the room's newest frame; None before its first sender report."""
        known = self._readings.get(room)
        return None if known is None else known.media_time_ms + int((now - known.at) * 1000)
