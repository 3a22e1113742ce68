"""Room for the death of any one relay.

When a relay dies, all leaves behind it turn to their backups in the same moment and ask nobody. So a backup is only a
backup when its relays can carry, besides what they carry now, everything that would come to them from that one death.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from control.brain.cost import GRAFT_LIMIT_UTILISATION
from control.brain.paths import Path

# An edge that sends little is busy with itself: probes, timers, handshakes. Its load is spread over at least so many
# copies, or a small fleet on a busy machine would find that nobody can stand in for anyone.
COPIES_MIN = 10


class Headroom:
    """What every edge would have to take over from each other one; one decision's working copy."""

    def __init__(self, loads: Mapping[str, float], copies: Mapping[str, int]) -> None:
        """`loads` are the edges' own ratios (0-1), `copies` how many times they send a stream out now."""
        self._loads = loads
        # The edge's whole load is put on its copies, so that the estimate errs on the careful side.
        own = {edge: load / max(COPIES_MIN, copies[edge]) for edge, load in loads.items() if copies.get(edge)}
        # Whoever sends nothing yet is taken for an average edge.
        mean = sum(own.values()) / len(own) if own else 0.0
        self._per_copy = {edge: own.get(edge, mean) for edge in loads}
        self._reserved: dict[tuple[str, str], int] = {}

    def allows(self, primary: Path, backup: Path) -> bool:
        """Whether the backup's relays could take one more stream if a relay of the primary died."""
        return all(
            self._loads.get(heir, 0.0) + self._per_copy.get(heir, 0.0) * (self._reserved.get((dead, heir), 0) + 1)
            <= GRAFT_LIMIT_UTILISATION
            for dead in primary.relays
            for heir in backup.relays
        )

    def reserve(self, primary: Path, backup: Path) -> None:
        """The leaf has this backup."""
        for dead in primary.relays:
            for heir in backup.relays:
                self._reserved[dead, heir] = self._reserved.get((dead, heir), 0) + 1


def count_copies(paths: Iterable[tuple[str, tuple[str, ...]]], viewers: Mapping[str, int]) -> dict[str, int]:
    """How often each edge sends a stream: once per local viewer and once per room and next edge.

    `paths` are (room, path from the source) of the leaves that have the stream.
    """
    sent = {(room, one, other) for room, path in paths for one, other in pairwise(path)}
    copies = dict(viewers)
    for _, sender, _ in sent:
        copies[sender] = copies.get(sender, 0) + 1
    return copies
