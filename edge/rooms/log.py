"""The newest comments of one room, in the order they became known here. Pure.

A place is (epoch, offset). Within an epoch the home edge numbers from 1 without holes, so a hole is something this edge
has missed. An epoch begins with each publication; 0 is an edge alone, while the room has no source, and its places mean
nothing at another edge.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from tradewind.v1.room_messages import RoomEntry

PLACES_REMEMBERED: Final = 8192
"""Comments that a retry is recognised by: 80 s of a room at its rate limit, sixteen times the longest retry."""

Place = tuple[int, int]


class RoomLog:
    """Bounded: the oldest entries leave first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: deque[RoomEntry] = deque()
        self._places: OrderedDict[tuple[str, str], Place] = OrderedDict()
        self._epochs: dict[int, _EpochRecord] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: RoomEntry) -> bool:
        """Takes an entry; False when it, or the same comment at another place, is known already."""
        record = self._epochs.setdefault(entry.epoch, _EpochRecord())
        if not record.mark(entry.offset):
            return False
        key = (entry.person, entry.id)
        if key in self._places:
            return False
        self._places[key] = (entry.epoch, entry.offset)
        if len(self._places) > PLACES_REMEMBERED:
            self._places.popitem(last=False)
        self._entries.append(entry)
        if len(self._entries) > self._capacity:
            oldest = self._entries.popleft()
            self._record(oldest.epoch).gone = max(self._record(oldest.epoch).gone, oldest.offset)
            self._forget_epochs()
        return True

    def place(self, person: str, comment_id: str) -> Place | None:
        """Where a comment already stands."""
        return self._places.get((person, comment_id))

    def entry(self, place: Place) -> RoomEntry | None:
        """What stands at a place, while it is kept."""
        return next((entry for entry in self._entries if (entry.epoch, entry.offset) == place), None)

    def newest(self) -> Place:
        """The highest place known; (0, 0) for an empty log."""
        return max(((entry.epoch, entry.offset) for entry in self._entries), default=(0, 0))

    def tail(self, count: int) -> list[RoomEntry]:
        """The last `count` entries."""
        return list(self._entries)[-count:] if count else []

    def since(self, place: Place, count: int) -> list[RoomEntry]:
        """At most `count` newest entries that somebody who stopped at `place` may have missed.

        Where the place is not known here, too much is given rather than too little: readers drop what they have.
        """
        entries = list(self._entries)
        for index, entry in enumerate(entries):
            if (entry.epoch, entry.offset) == place and entry.epoch != 0:
                entries = entries[index + 1 :]
                break
        else:
            entries = [entry for entry in entries if entry.epoch != place[0] or entry.offset > place[1] or not place[0]]
        return entries[-count:] if count else []

    def after(self, epoch: int, offset: int) -> tuple[int, list[RoomEntry]]:
        """Entries of an epoch above `offset`, in order, and the first offset that is still complete here."""
        found = sorted(
            (entry for entry in self._entries if entry.epoch == epoch and entry.offset > offset),
            key=lambda entry: entry.offset,
        )
        return max(offset, self._record(epoch).gone) + 1, found

    def contiguous(self, epoch: int) -> int:
        """Everything of the epoch up to this offset was received or is known to be gone."""
        return self._record(epoch).contiguous

    def has_hole(self, epoch: int) -> bool:
        """Whether something after the contiguous part has come already."""
        return bool(self._record(epoch).ahead)

    def give_up_before(self, epoch: int, offset: int) -> None:
        """What is missing below `offset` can no longer be had."""
        record = self._epochs.setdefault(epoch, _EpochRecord())
        record.gone = max(record.gone, offset - 1)
        record.skip_to(offset - 1)

    def _record(self, epoch: int) -> _EpochRecord:
        return self._epochs.get(epoch) or _EpochRecord()

    def _forget_epochs(self) -> None:
        kept = {entry.epoch for entry in self._entries}
        newest = max(self._epochs, default=0)
        for epoch in [epoch for epoch in self._epochs if epoch not in kept and epoch != newest]:
            del self._epochs[epoch]


class _EpochRecord:
    """What has been received of one epoch."""

    __slots__ = ("ahead", "contiguous", "gone")

    AHEAD_MAX: Final = 4096
    """Offsets remembered beyond a hole; at the bound the hole is given up."""

    def __init__(self) -> None:
        self.contiguous = 0
        self.gone = 0
        self.ahead: set[int] = set()

    def mark(self, offset: int) -> bool:
        if offset <= self.contiguous or offset in self.ahead:
            return False
        self.ahead.add(offset)
        if len(self.ahead) > self.AHEAD_MAX:
            self.skip_to(min(self.ahead) - 1)
        self._advance()
        return True

    def skip_to(self, offset: int) -> None:
        self.contiguous = max(self.contiguous, offset)
        self.ahead = {ahead for ahead in self.ahead if ahead > self.contiguous}
        self._advance()

    def _advance(self) -> None:
        while self.contiguous + 1 in self.ahead:
            self.contiguous += 1
            self.ahead.discard(self.contiguous)
