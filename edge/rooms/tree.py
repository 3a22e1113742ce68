"""Where this edge stands in a room's tree. Pure.

Sources come and go under their incarnation, and while a host moves between edges there are two trees for a moment. The
room's comments follow the tree of the highest incarnation. Three positions:

| position | when | a comment gets its place |
|---|---|---|
| alone | no source is known | here, in epoch 0 |
| home | the source is connected to this edge | here, in the epoch of its incarnation |
| member | the source is at another edge | at home: the comment travels to the parent; without one it waits |
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """One of the three; `parent` is None for home, alone, and a member that has lost its parent."""

    epoch: int = 0
    local: bool = True
    parent: str | None = None
    children: tuple[str, ...] = ()

    @property
    def gives_places(self) -> bool:
        """Whether comments get their place here."""
        return self.local

    @property
    def is_alone(self) -> bool:
        """Whether no source is known."""
        return self.epoch == 0


class RoomTree:
    """The trees of one room, one per incarnation; at most `TREES_MAX`, the lowest leaves first."""

    TREES_MAX = 8

    def __init__(self) -> None:
        self._trees: dict[int, Position] = {}

    def position(self) -> Position:
        """In the tree that counts now."""
        return self._trees[max(self._trees)] if self._trees else Position()

    def handle_local_source(self, incarnation: int) -> None:
        """The host is connected here."""
        known = self._trees.get(incarnation)
        self._put(Position(incarnation, True, None, known.children if known else ()))

    def handle_remote_source(self, incarnation: int, peer: str | None) -> None:
        """The source can be had through `peer`."""
        if incarnation not in self._trees:
            self._put(Position(incarnation, False, peer))

    def handle_tree(self, incarnation: int, parent: str | None, children: tuple[str, ...]) -> None:
        """Neighbours changed. Without a parent and without a local source the edge is cut off."""
        known = self._trees.get(incarnation)
        local = parent is None and known is not None and known.local
        self._put(Position(incarnation, local, parent, children))

    def handle_source_gone(self, incarnation: int) -> None:
        """The source ended or cannot be reached."""
        self._trees.pop(incarnation, None)

    def _put(self, position: Position) -> None:
        self._trees[position.epoch] = position
        if len(self._trees) > self.TREES_MAX:
            del self._trees[min(self._trees)]
