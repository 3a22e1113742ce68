"""The way of a comment between edges, for one room. Pure: events and a `Moment` in, commands out.

    relay.handle_comment(comment, at)         a person here says something
    relay.handle_relayed(peer, message, at)   a neighbour sends something
    relay.handle_tree(…), handle_local_source(…), …
    relay.handle_timeout(at)                  when `poll_timeout()` has passed
    while (command := relay.poll_command()): …

A comment travels from edge to edge towards the home edge, which gives it a place and its time in the picture, and comes
back down the tree to everybody. Its edge repeats it until it comes back; places are given once per (person, id). A new
parent is asked for what was missed. What a neighbour says is used only if the tree gives it the right to say it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final, TypeVar

from edge.rooms.commands import Accept, Broadcast, Command, CountPeople, Dropped, Moment, Reject, SendToPeer
from edge.rooms.log import Place, RoomLog
from edge.rooms.tree import Position, RoomTree
from tradewind.v1.room_messages import (
    Catchup,
    Comment,
    Down,
    Fill,
    Headcount,
    RelayMessage,
    RoomEntry,
    Submit,
)

RELAY_MS: Final = 20.0
"""Comments to neighbours are gathered for so long; with three hops it stays below one batch of the sockets."""
CHUNK_ENTRIES: Final = 32
CHUNK_BYTES: Final = 48 * 1024
"""Comments in one message to a neighbour or one frame to a socket: trunks carry at most 64 KiB at once."""
ENVELOPE_BYTES: Final = 450
"""Of one entry in JSON, without name and text: keys, numbers and the longest id and person."""
RESEND_S: Final = 1.0
"""A comment that has not come back is sent again; three times the round trip of the longest tree."""
CATCHUP_S: Final = 0.5
"""Holes are asked for at once, then this often: above the round trip to any parent."""
PENDING_MAX: Final = 1024
"""Comments that wait for their place at one edge; more are rejected as room_busy."""
HEADCOUNT_S: Final = 1.0
"""The number of people is told at most this often."""
CLAIM_BEHIND_MS: Final = 30_000
CLAIM_AHEAD_MS: Final = 2_000
"""A page may claim that its comment belongs to a frame up to 30 s old (a slow player, a slow typist), or 2 s ahead
(clock error of the mapping). Anything else is taken for the newest frame."""


_T = TypeVar("_T", Comment, RoomEntry)


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """From the settings."""

    batch_ms: float
    log_messages: int
    submit_timeout_s: float


@dataclass(slots=True)
class _Pending:
    comment: Comment
    since: float
    sent_at: float


class RoomRelay:
    """One room at one edge."""

    def __init__(self, limits: RelayLimits) -> None:
        self.log = RoomLog(limits.log_messages)
        self._limits = limits
        self._tree = RoomTree()
        self._position = Position()
        self._next_offset: dict[int, int] = {}
        self._pending: OrderedDict[tuple[str, str], _Pending] = OrderedDict()
        self._commands: deque[Command] = deque()
        self._batch = _Outbox(limits.batch_ms / 1000)
        self._relay = _Outbox(RELAY_MS / 1000)
        self._up: list[Comment] = []
        self._down: list[RoomEntry] = []
        self._said: list[RoomEntry] = []
        self._catchup_at: float | None = None
        self._caught_up = True
        self._people = 0
        self._people_below: dict[str, int] = {}
        self._people_told = 0
        self._headcount = _Outbox(HEADCOUNT_S)

    @property
    def position(self) -> Position:
        """Where this edge stands in the room's tree."""
        return self._position

    def poll_command(self) -> Command | None:
        """The next thing to do."""
        return self._commands.popleft() if self._commands else None

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        times = [self._batch.due, self._relay.due, self._headcount.due, self._catchup_at]
        for pending in self._pending.values():
            times.append(min(pending.sent_at + RESEND_S, pending.since + self._limits.submit_timeout_s))
        return min((time for time in times if time is not None), default=None)

    def handle_comment(self, comment: Comment, at: Moment) -> None:
        """A comment of somebody connected here, which has passed the rules."""
        place = self.log.place(comment.person, comment.id)
        if place is not None:
            self._commands.append(Accept(comment.person, comment.id, *place))
        elif self._position.gives_places:
            entry = self._stamp(comment, at)
            self._commands.append(Accept(entry.person, entry.id, entry.epoch, entry.offset))
        elif len(self._pending) >= PENDING_MAX and (comment.person, comment.id) not in self._pending:
            self._reject(comment, "room_busy", "Too many comments are on their way. Try again in a moment.", 2000)
        else:
            self._pending[comment.person, comment.id] = _Pending(comment, at.now, at.now)
            self._up.append(comment)
            self._relay.want(at.now)
        self._flush(at)

    def handle_people(self, count: int, at: Moment) -> None:
        """So many people are connected here."""
        self._people = count
        self._headcount.want(at.now)
        self._flush(at)

    def handle_local_source(self, incarnation: int, at: Moment) -> None:
        """The host's first packet arrived at this edge."""
        self._tree.handle_local_source(incarnation)
        self._move(at)

    def handle_remote_source(self, incarnation: int, peer: str | None, at: Moment) -> None:
        """A source at another edge can be had through `peer`."""
        self._tree.handle_remote_source(incarnation, peer)
        self._move(at)

    def handle_source_gone(self, incarnation: int, at: Moment) -> None:
        """A source ended or cannot be reached."""
        self._tree.handle_source_gone(incarnation)
        self._move(at)

    def handle_tree(self, incarnation: int, parent: str | None, children: tuple[str, ...], at: Moment) -> None:
        """The neighbours in the tree of one incarnation changed."""
        self._tree.handle_tree(incarnation, parent, children)
        self._move(at)

    def handle_relayed(self, peer: str, message: RelayMessage, at: Moment) -> None:
        """A neighbour's message. One that its place in the tree does not allow is dropped by name."""
        position = self._position
        match message:
            case Submit() if peer == position.parent:
                self._drop("submit_from_parent")
            case Submit():
                for comment in message.comments:
                    self._handle_submitted(peer, comment, at)
            case Down() if position.parent is not None and peer == position.parent:
                self._learn(message.entries, at)
            case Fill() if position.parent is not None and peer == position.parent:
                self._handle_fill(message, at)
            case Down() | Fill():
                self._drop("down_from_stranger")
            case Catchup() if peer == position.parent:
                self._drop("catchup_from_parent")
            case Catchup():
                self._answer_catchup(peer, message)
            case Headcount():
                self._handle_headcount(peer, message.count, at)
        self._flush(at)

    def handle_timeout(self, at: Moment) -> None:
        """Time has passed."""
        for key, pending in list(self._pending.items()):
            if at.now >= pending.since + self._limits.submit_timeout_s:
                del self._pending[key]
                detail = "The room cannot be reached from here now. Try again."
                self._reject(pending.comment, "unreachable", detail, 1000)
            elif at.now >= pending.sent_at + RESEND_S:
                pending.sent_at = at.now
                self._up.append(pending.comment)
                self._relay.want(at.now)
        if self._catchup_at is not None and at.now >= self._catchup_at:
            self._ask_for_missing(at.now)
        self._flush(at)

    def _move(self, at: Moment) -> None:
        before, after = self._position, self._tree.position()
        if before == after:
            return
        self._position = after
        for gone in set(self._people_below) - set(after.children):
            del self._people_below[gone]
        self._headcount.want(at.now)
        if after.gives_places:
            self._catchup_at, self._caught_up = None, True
            # What waited for the former home gets its place here, unless it came back already.
            waiting = [pending.comment for pending in self._pending.values()]
            self._pending.clear()
            for comment in waiting:
                self.handle_comment(comment, at)
        elif after.parent != before.parent or after.epoch != before.epoch:
            self._caught_up = False
            self._ask_for_missing(at.now)
            # A former parent may have taken them with it; places are given once, so repeating is safe.
            for pending in self._pending.values():
                pending.sent_at = at.now
                self._up.append(pending.comment)
            if self._up:
                self._relay.want(at.now)
        self._flush(at)

    def _stamp(self, comment: Comment, at: Moment) -> RoomEntry:
        epoch = self._position.epoch
        # An edge can be home of the same epoch again only after it heard of places given meanwhile.
        offset = max(self._next_offset.get(epoch, 1), self.log.contiguous(epoch) + 1)
        self._next_offset = {epoch: offset + 1, 0: self._next_offset.get(0, 1)}
        if epoch == 0:
            self._next_offset[0] = offset + 1
        entry = _entry(comment, (epoch, offset), at)
        self._publish(entry, at.now)
        return entry

    def _publish(self, entry: RoomEntry, now: float) -> bool:
        if not self.log.add(entry):
            return False
        self._said.append(entry)
        self._batch.want(now)
        if self._position.children:
            self._down.append(entry)
            self._relay.want(now)
        return True

    def _handle_submitted(self, peer: str, comment: Comment, at: Moment) -> None:
        place = self.log.place(comment.person, comment.id)
        if place is not None:
            # The child missed the answer: the same again, to it alone. Only the home knows the picture's time, so an
            # entry that has left the log gets the best guess there is.
            entry = self.log.entry(place) or _entry(comment, place, at)
            self._commands.append(SendToPeer(peer, Down(entries=(entry,))))
        elif self._position.gives_places:
            self._stamp(comment, at)
        elif self._position.parent is None:
            self._drop("submit_without_parent")
        elif len(self._up) >= PENDING_MAX:
            self._drop("submit_overflow")
        else:
            self._up.append(comment)
            self._relay.want(at.now)

    def _learn(self, entries: tuple[RoomEntry, ...], at: Moment) -> None:
        for entry in entries:
            if entry.epoch == 0:
                self._drop("epoch_zero_from_peer")
                continue
            self._publish(entry, at.now)
            if self._pending.pop((entry.person, entry.id), None) is not None:
                self._commands.append(Accept(entry.person, entry.id, entry.epoch, entry.offset))
        if self.log.has_hole(self._position.epoch) and self._catchup_at is None:
            self._ask_for_missing(at.now)

    def _handle_fill(self, fill: Fill, at: Moment) -> None:
        self.log.give_up_before(fill.epoch, fill.first_offset)
        self._learn(fill.entries, at)
        if fill.epoch == self._position.epoch:
            self._caught_up = True
            if not self.log.has_hole(fill.epoch):
                self._catchup_at = None

    def _ask_for_missing(self, now: float) -> None:
        position = self._position
        if position.parent is None or (self._caught_up and not self.log.has_hole(position.epoch)):
            self._catchup_at = None
            return
        self._catchup_at = now + CATCHUP_S
        asked = Catchup(epoch=position.epoch, offset=self.log.contiguous(position.epoch))
        self._commands.append(SendToPeer(position.parent, asked))

    def _answer_catchup(self, peer: str, asked: Catchup) -> None:
        if asked.epoch != self._position.epoch or not (self._position.gives_places or self._caught_up):
            # The child asks again; by then this edge knows what is complete.
            return
        first_offset, entries = self.log.after(asked.epoch, asked.offset)
        head, *rest = _chunks(entries) or [()]
        self._commands.append(SendToPeer(peer, Fill(epoch=asked.epoch, first_offset=first_offset, entries=head)))
        self._commands.extend(SendToPeer(peer, Down(entries=chunk)) for chunk in rest)

    def _handle_headcount(self, peer: str, count: int, at: Moment) -> None:
        if peer == self._position.parent:
            self._people_told = count
            self._commands.append(CountPeople(count))
            self._commands.extend(SendToPeer(child, Headcount(count=count)) for child in self._position.children)
        elif peer in self._position.children:
            self._people_below[peer] = count
            self._headcount.want(at.now)
        else:
            self._drop("headcount_from_stranger")

    def _flush(self, at: Moment) -> None:
        if self._batch.take(at.now):
            self._commands.extend(Broadcast(chunk) for chunk in _chunks(self._said))
            self._said = []
        if self._relay.take(at.now):
            if self._position.parent is not None and self._up:
                self._commands.extend(
                    SendToPeer(self._position.parent, Submit(comments=chunk)) for chunk in _chunks(self._up)
                )
            self._up = []
            for chunk in _chunks(self._down):
                self._commands.extend(SendToPeer(child, Down(entries=chunk)) for child in self._position.children)
            self._down = []
        if self._headcount.take(at.now):
            self._tell_people()

    def _tell_people(self) -> None:
        count = self._people + sum(self._people_below.values())
        if self._position.parent is not None:
            self._commands.append(SendToPeer(self._position.parent, Headcount(count=count)))
        elif count != self._people_told or self._position.children:
            self._people_told = count
            self._commands.append(CountPeople(count))
            self._commands.extend(SendToPeer(child, Headcount(count=count)) for child in self._position.children)

    def _reject(self, comment: Comment, reason: str, detail: str, retry_after_ms: int) -> None:
        self._commands.append(Reject(comment.person, comment.id, reason, detail, retry_after_ms))

    def _drop(self, reason: str) -> None:
        self._commands.append(Dropped(reason))


DROP_REASONS: Final = (
    "submit_from_parent",
    "submit_without_parent",
    "submit_overflow",
    "down_from_stranger",
    "catchup_from_parent",
    "epoch_zero_from_peer",
    "headcount_from_stranger",
)
"""Every reason of `Dropped`."""


def media_time(claim: int | None, at: Moment) -> int:
    """The picture's time of a comment: the page's claim when it is plausible, else the newest frame known."""
    newest = at.media_time_ms if at.media_time_ms is not None else at.unix_ms
    if claim is not None and newest - CLAIM_BEHIND_MS <= claim <= newest + CLAIM_AHEAD_MS:
        return claim
    return newest


def _entry(comment: Comment, place: Place, at: Moment) -> RoomEntry:
    return RoomEntry(
        epoch=place[0],
        offset=place[1],
        id=comment.id,
        person=comment.person,
        name=comment.name,
        text=comment.text,
        color=comment.color,
        media_time_ms=media_time(comment.media_time_ms, at),
        unix_ms=at.unix_ms,
    )


class _Outbox:
    """When something gathered goes out: at once after a pause, else an interval after the last time."""

    __slots__ = ("_interval", "_last", "due")

    def __init__(self, interval_s: float) -> None:
        self._interval = interval_s
        self._last = float("-inf")
        self.due: float | None = None

    def want(self, now: float) -> None:
        if self.due is None:
            self.due = max(now, self._last + self._interval)

    def take(self, now: float) -> bool:
        if self.due is None or now < self.due:
            return False
        self.due = None
        self._last = now
        return True


def _chunks(items: list[_T]) -> list[tuple[_T, ...]]:
    chunks: list[list[_T]] = []
    room = 0
    for item in items:
        # JSON writes a quotation mark as two bytes.
        size = ENVELOPE_BYTES + 2 * (len(item.text.encode()) + len(item.name.encode()))
        if not chunks or size > room or len(chunks[-1]) == CHUNK_ENTRIES:
            chunks.append([])
            room = CHUNK_BYTES
        chunks[-1].append(item)
        room -= size
    return [tuple(chunk) for chunk in chunks]
