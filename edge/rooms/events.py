"""The packet path's events that concern rooms, translated for the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.rooms.hub import RoomHub

if TYPE_CHECKING:
    from edge.dataplane import Event


class RoomEvents:
    """Handles sources, trees and neighbours' messages."""

    def __init__(self, hub: RoomHub) -> None:
        self._hub = hub

    def handle_event(self, event: Event) -> None:
        """Everything else is somebody else's."""
        match event.kind:
            case "source_started":
                self._hub.handle_source(event.room, event.incarnation, local=True, peer=None)
            case "source_seen":
                self._hub.handle_source(event.room, event.incarnation, local=False, peer=event.peer)
            case "source_stopped" | "source_lost":
                self._hub.handle_source_gone(event.room, event.incarnation)
            case "tree_changed":
                self._hub.handle_tree(event.room, event.incarnation, event.parent, tuple(event.children))
            case "room_message":
                self._hub.handle_peer_message(event.room, event.peer or "", event.payload)
            case _:
                pass
