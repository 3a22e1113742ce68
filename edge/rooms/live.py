"""Which rooms have a picture, as the packet path has told. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

ROOMS_REMEMBERED: Final = 4096
"""Rooms whose last incarnation outlives them: the next one is higher even if the wall clock went back."""


class LiveRooms:
    """Sources per room by incarnation, local and remote."""

    def __init__(self) -> None:
        self._sources: dict[str, set[int]] = {}
        self._last: OrderedDict[str, int] = OrderedDict()

    def handle_source(self, room: str, incarnation: int) -> None:
        """A source can be had here."""
        self._sources.setdefault(room, set()).add(incarnation)
        self._remember(room, incarnation)

    def handle_source_gone(self, room: str, incarnation: int) -> None:
        """It cannot any more."""
        sources = self._sources.get(room)
        if sources is not None:
            sources.discard(incarnation)
            if not sources:
                del self._sources[room]

    def incarnation(self, room: str) -> int:
        """Newest source of the room; 0 when it has none."""
        return max(self._sources.get(room, ()), default=0)

    def next_incarnation(self, room: str, *, unix_ms: int, above: int = 0) -> int:
        """For a new publication: the time, but always higher than every incarnation seen here and than `above`."""
        incarnation = max(unix_ms, above + 1, self._last.get(room, 0) + 1)
        self._remember(room, incarnation)
        return incarnation

    def _remember(self, room: str, incarnation: int) -> None:
        self._last[room] = max(self._last.get(room, 0), incarnation)
        self._last.move_to_end(room)
        if len(self._last) > ROOMS_REMEMBERED:
            self._last.popitem(last=False)
