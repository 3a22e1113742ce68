"""The packet path's events that concern rooms, translated for the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.rooms.hub import RoomHub
from edge.rooms.media_clock import MediaClocks

if TYPE_CHECKING:
    from edge.dataplane import Event


class RoomEvents:
    """Handles sources, their clocks, trees and neighbours' messages."""

    def __init__(self, hub: RoomHub, media_clocks: MediaClocks, monotonic_s: Callable[[], float]) -> None:
        self._hub = hub
        self._media_clocks = media_clocks
        self._monotonic_s = monotonic_s

    def handle_event(self, event: Event) -> None:
        """Everything else is somebody else's."""
        match event.kind:
            case "source_started":
                self._hub.handle_source(event.room, event.incarnation, local=True, peer=None)
            case "source_seen":
                self._hub.handle_source(event.room, event.incarnation, local=False, peer=event.peer)
            case "source_clock":
                self._media_clocks.handle_reading(
                    event.room, event.incarnation, event.media_time_ms, now=self._monotonic_s()
                )
            case "source_stopped" | "source_lost":
                self._media_clocks.handle_source_gone(event.room, event.incarnation)
                self._hub.handle_source_gone(event.room, event.incarnation)
            case "tree_changed":
                self._hub.handle_tree(event.room, event.incarnation, event.parent, tuple(event.children))
            case "room_message":
                self._hub.handle_peer_message(event.room, event.peer or "", event.payload)
            case _:
                pass
