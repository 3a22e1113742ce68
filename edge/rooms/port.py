"""What rooms ask of the packet path: a small protocol, and the adapter to the native module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge.dataplane import Dataplane


class NeighbourUnreachable(Exception):
    """The trunk to a neighbour is down; the tree will say so soon. `reason` is snake_case."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RoomPort(Protocol):
    """Room messages on the trunks' reliable streams."""

    def set_interest(self, room: str, interested: bool) -> None:
        """People are in the room, watching or not."""

    def send(self, room: str, peer: str, payload: bytes) -> None:
        """To a neighbour in the room's tree; raises NeighbourUnreachable."""


class NativeRooms:
    """`RoomPort` over `edge.dataplane`."""

    def __init__(self, dataplane: Dataplane) -> None:
        from edge.dataplane import CommandRejected

        self._dataplane = dataplane
        self._rejected = CommandRejected

    def set_interest(self, room: str, interested: bool) -> None:
        """See RoomPort."""
        self._dataplane.set_room_interest(room, interested)

    def send(self, room: str, peer: str, payload: bytes) -> None:
        """See RoomPort."""
        try:
            self._dataplane.send_room_message(room, peer, payload)
        except self._rejected as error:
            raise NeighbourUnreachable(str(error.args[0])) from None
