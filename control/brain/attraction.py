"""How fast streams may flock to one edge.

An edge that claims to be near everyone would draw the whole fleet within three reports. So no edge begins to relay
more than a tenth of the live streams within a minute: what it really carries shows in its peers' measurements by then.
Routes that leave a failure are counted but not held back when no other edge may take them, because the evidence is not
the new relay's own word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control.brain.world import Gain

GAIN_RATIO = 0.10
GAIN_WINDOW_S = 60.0
# A tenth of a small fleet's streams is less than one. So many an edge may always gain: a demo has one stream, and what
# a lie about so few costs is seen by their leaves within a report.
GAIN_FLOOR_STREAMS = 5


class Attraction:
    """Which edge has gained which rooms within the last minute; one decision's working copy."""

    def __init__(
        self,
        before: Mapping[str, tuple[Gain, ...]],
        relayed: Mapping[str, frozenset[str]],
        streams: int,
        now: float,
        *,
        counting: bool,
    ) -> None:
        """`relayed` maps an edge to the rooms it relays already. Without `counting` everything is allowed: a leader
        that has just begun gives everyone its first routes."""
        self._gains = {
            edge: recent
            for edge, gains in before.items()
            if (recent := tuple(gain for gain in gains if now - gain.at < GAIN_WINDOW_S))
        }
        self._relayed = relayed
        self._limit = max(GAIN_FLOOR_STREAMS, int(GAIN_RATIO * streams))
        self._now = now
        self._counting = counting

    def allows(self, room: str, relays: Iterable[str]) -> bool:
        """Whether every relay may carry the room: it does already, or its gains leave room for one more."""
        if not self._counting:
            return True
        return all(not self._is_new(edge, room) or len(self._gains.get(edge, ())) < self._limit for edge in relays)

    def handle_routed(self, room: str, relays: Iterable[str]) -> None:
        """A route of the room leads over these relays now."""
        if not self._counting:
            return
        for edge in relays:
            if self._is_new(edge, room):
                self._gains[edge] = (*self._gains.get(edge, ()), Gain(room, self._now))

    def _is_new(self, edge: str, room: str) -> bool:
        held = room in self._relayed.get(edge, ())
        return not held and all(gain.room != room for gain in self._gains.get(edge, ()))

    @property
    def gains(self) -> dict[str, tuple[Gain, ...]]:
        """To carry into the next decision."""
        return dict(self._gains)
