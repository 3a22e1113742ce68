"""All rooms of this edge: carries events of sockets and of the packet path to each room's relay, and its commands out.

A room exists while people are in it or a source is known; one with nobody left is kept for `LINGER_S`, so that a reload
of the page finds its history. Runs on one event loop; nothing here blocks or awaits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from edge.rooms.commands import Accept, Broadcast, Command, CountPeople, Dropped, Moment, Reject, SendToPeer
from edge.rooms.content import TextLimits, TextRefused, check_text
from edge.rooms.live import LiveRooms
from edge.rooms.port import NeighbourUnreachable, RoomPort
from edge.rooms.rate import RateLimiter, TokenBucket
from edge.rooms.relay import RelayLimits, RoomRelay
from edge.settings import Rooms
from tradewind.common.logging import get_logger
from tradewind.v1.room_messages import (
    Accepted,
    Batch,
    Comment,
    Danmaku,
    Live,
    MessageInvalid,
    Presence,
    Rejected,
    parse_relay_message,
)

LINGER_S: Final = 60.0
"""A reload or a change of edge takes seconds; a minute covers a phone that was in a lift."""
TIDY_S: Final = 5.0
"""How often rooms without people are looked at."""
PEOPLE_KEYS_MAX: Final = 50_000
"""People whose rate is remembered."""

log = get_logger(__name__)


class Member(Protocol):
    """A person's socket, as the hub sees it."""

    person: str
    name: str

    def offer(self, frame: str) -> None:
        """Queues one frame; a full queue ends the socket, never blocks the room."""

    def end(self, reason: str) -> None:
        """Says goodbye with a reason of `edge.rooms.goodbye`."""


class RoomMeter(Protocol):
    """What the metrics want to know."""

    def count_comment(self, outcome: str) -> None: ...

    def count_relay_drop(self, reason: str) -> None: ...

    def count_frames(self, frames: int, entries: int) -> None: ...


@dataclass(slots=True)
class _Room:
    name: str
    relay: RoomRelay
    bucket: TokenBucket
    members: set[Member] = field(default_factory=set)
    authors: dict[tuple[str, str], Member] = field(default_factory=dict)
    timer: Callable[[], None] | None = None
    due: float | None = None
    empty_since: float | None = None
    interested: bool = False
    people: int = 0


class RoomFull(Exception):
    """No more people, or no more rooms, fit on this edge."""


class RoomHub:
    """`at(room)` gives the moment; `call_at(when, function)` gives a function that cancels."""

    def __init__(
        self,
        settings: Rooms,
        port: RoomPort,
        live: LiveRooms,
        meter: RoomMeter,
        *,
        at: Callable[[str], Moment],
        call_at: Callable[[float, Callable[[], None]], Callable[[], None]],
    ) -> None:
        self._settings = settings
        self._port = port
        self._live = live
        self._meter = meter
        self._at = at
        self._call_at = call_at
        self._rooms: dict[str, _Room] = {}
        self._limits = RelayLimits(settings.batch_ms, settings.log_messages, settings.submit_timeout_s)
        self._text_limits = TextLimits(settings.text_max_graphemes, settings.text_max_bytes)
        self._people = RateLimiter(settings.rate_per_s, settings.rate_burst, keys_max=PEOPLE_KEYS_MAX)
        self._tidy: Callable[[], None] | None = None
        self._when_empty: Callable[[], None] | None = None

    @property
    def rooms(self) -> int:
        """Rooms known here."""
        return len(self._rooms)

    @property
    def sockets(self) -> int:
        """Sockets in all rooms."""
        return sum(len(room.members) for room in self._rooms.values())

    def join(self, name: str, member: Member, welcome: Callable[[int, int], str], last: tuple[int, int]) -> None:
        """Lets a person in: `welcome(epoch, offset)`, then what was missed, then everything new.

        Raises RoomFull.
        """
        room = self._rooms.get(name)
        if room is None and len(self._rooms) >= self._settings.rooms_max:
            raise RoomFull
        room = room or self._open(name)
        if len(room.members) >= self._settings.people_max:
            raise RoomFull
        member.offer(welcome(*room.relay.log.newest()))
        if room.people:
            member.offer(Presence(count=room.people).encode())
        history = self._settings.history_messages if last == (0, 0) else self._settings.log_messages
        missed = room.relay.log.since(last, history)
        if missed:
            member.offer(Batch(messages=tuple(missed)).encode())
        room.members.add(member)
        room.empty_since = None
        self._set_interest(room, True)
        room.relay.handle_people(len(room.members), self._at(name))
        self._drain(room)

    def leave(self, name: str, member: Member) -> None:
        """A socket has closed."""
        room = self._rooms.get(name)
        if room is None or member not in room.members:
            return
        room.members.discard(member)
        room.authors = {key: author for key, author in room.authors.items() if author is not member}
        at = self._at(name)
        if not room.members:
            room.empty_since = at.now
            self._schedule_tidy(at.now)
        room.relay.handle_people(len(room.members), at)
        self._drain(room)
        if self._when_empty is not None and not self.sockets:
            self._when_empty()

    def handle_danmaku(self, name: str, member: Member, said: Danmaku) -> None:
        """Somebody says something: rules, rates, then the relay."""
        room = self._rooms[name]
        at = self._at(name)
        try:
            text = check_text(said.text, self._text_limits)
        except TextRefused as error:
            self._reject(member, said.id, error.reason, error.detail)
            return
        if room.relay.log.place(member.person, said.id) is None:
            # A retry of what has its place costs nothing.
            personal = self._people.bucket((name, member.person), now=at.now)
            wait = personal.take(now=at.now)
            if wait:
                self._reject(member, said.id, "too_fast", "Wait a moment before you write again.", wait)
                return
            wait = room.bucket.take(now=at.now)
            if wait:
                personal.put_back()
                self._reject(member, said.id, "room_busy", "Everybody is writing. Try again in a moment.", wait)
                return
        room.authors[member.person, said.id] = member
        comment = Comment(said.id, member.person, member.name, text, said.color, said.media_time_ms)
        room.relay.handle_comment(comment, at)
        self._drain(room)

    def handle_source(self, name: str, incarnation: int, *, local: bool, peer: str | None) -> None:
        """A source began here (`local`) or can be had through `peer`."""
        before = self._live.incarnation(name)
        self._live.handle_source(name, incarnation)
        room = self._rooms.get(name) or self._open(name)
        at = self._at(name)
        if local:
            room.relay.handle_local_source(incarnation, at)
        else:
            room.relay.handle_remote_source(incarnation, peer, at)
        self._drain(room)
        self._tell_live(name, before)

    def handle_source_gone(self, name: str, incarnation: int) -> None:
        """A source ended or was lost."""
        before = self._live.incarnation(name)
        self._live.handle_source_gone(name, incarnation)
        room = self._rooms.get(name)
        if room is not None:
            room.relay.handle_source_gone(incarnation, self._at(name))
            self._drain(room)
        self._tell_live(name, before)

    def handle_tree(self, name: str, incarnation: int, parent: str | None, children: tuple[str, ...]) -> None:
        """Neighbours in the room's tree changed."""
        room = self._rooms.get(name) or self._open(name)
        room.relay.handle_tree(incarnation, parent, children, self._at(name))
        self._drain(room)

    def handle_peer_message(self, name: str, peer: str, payload: bytes) -> None:
        """A neighbour's room message."""
        room = self._rooms.get(name)
        if room is None:
            self._meter.count_relay_drop("room_unknown")
            return
        try:
            message = parse_relay_message(payload)
        except MessageInvalid as error:
            self._meter.count_relay_drop("message_invalid")
            log.warning("relay_message_invalid", room=name, peer=peer, problem=str(error))
            return
        room.relay.handle_relayed(peer, message, self._at(name))
        self._drain(room)

    def end_all(self, reason: str, when_empty: Callable[[], None]) -> None:
        """Says goodbye to everybody; `when_empty` is called when the last socket has left."""
        self._when_empty = when_empty
        for room in self._rooms.values():
            for member in list(room.members):
                member.end(reason)
        if not self.sockets:
            when_empty()

    def close(self) -> None:
        """Cancels every timer."""
        for room in self._rooms.values():
            if room.timer is not None:
                room.timer()
        if self._tidy is not None:
            self._tidy()

    def _open(self, name: str) -> _Room:
        at = self._at(name)
        rate = self._settings.room_rate_per_s
        room = _Room(name, RoomRelay(self._limits), TokenBucket(rate, max(1.0, rate), now=at.now))
        room.empty_since = at.now
        self._rooms[name] = room
        self._schedule_tidy(at.now)
        return room

    def _set_interest(self, room: _Room, interested: bool) -> None:
        if room.interested != interested:
            room.interested = interested
            self._port.set_interest(room.name, interested)

    def _drain(self, room: _Room) -> None:
        while (command := room.relay.poll_command()) is not None:
            self._carry_out(room, command)
        due = room.relay.poll_timeout()
        if due != room.due:
            if room.timer is not None:
                room.timer()
            room.due = due
            room.timer = self._call_at(due, lambda: self._tick(room)) if due is not None else None

    def _tick(self, room: _Room) -> None:
        room.due, room.timer = None, None
        room.relay.handle_timeout(self._at(room.name))
        self._drain(room)

    def _carry_out(self, room: _Room, command: Command) -> None:
        match command:
            case Broadcast():
                # Encoded once for the room, whatever the number of sockets.
                self._send_all(room, Batch(messages=command.entries).encode(), len(command.entries))
            case CountPeople():
                room.people = command.count
                self._send_all(room, Presence(count=command.count).encode(), 0)
            case Accept():
                member = room.authors.pop((command.person, command.comment_id), None)
                if member is not None:
                    self._meter.count_comment("accepted")
                    member.offer(Accepted(command.comment_id, command.epoch, command.offset).encode())
            case Reject():
                member = room.authors.pop((command.person, command.comment_id), None)
                if member is not None:
                    wait_s = command.retry_after_ms / 1000
                    self._reject(member, command.comment_id, command.reason, command.detail, wait_s)
            case SendToPeer():
                try:
                    self._port.send(room.name, command.peer, command.message.encode().encode())
                except NeighbourUnreachable as error:
                    # The relay repeats what matters; the tree changes when the trunk stays down.
                    self._meter.count_relay_drop("neighbour_unreachable")
                    log.info("neighbour_unreachable", room=room.name, peer=command.peer, reason=error.reason)
            case Dropped():
                self._meter.count_relay_drop(command.reason)

    def _send_all(self, room: _Room, frame: str, entries: int) -> None:
        self._meter.count_frames(len(room.members), entries)
        for member in list(room.members):
            member.offer(frame)

    def _tell_live(self, name: str, before: int) -> None:
        after = self._live.incarnation(name)
        room = self._rooms.get(name)
        if room is not None and before != after:
            self._send_all(room, Live(live=after != 0, incarnation=after).encode(), 0)

    def _reject(self, member: Member, comment_id: str, reason: str, detail: str, wait_s: float | None = None) -> None:
        self._meter.count_comment(reason)
        retry_after_ms = None if wait_s is None else int(wait_s * 1000) + 1
        member.offer(Rejected(comment_id, reason, detail, retry_after_ms).encode())

    def _schedule_tidy(self, now: float) -> None:
        if self._tidy is None:
            self._tidy = self._call_at(now + TIDY_S, self._tidy_up)

    def _tidy_up(self) -> None:
        self._tidy = None
        empty = [room for room in self._rooms.values() if not room.members]
        for room in empty:
            now = self._at(room.name).now
            idle = room.empty_since is not None and now >= room.empty_since + LINGER_S
            if idle:
                self._set_interest(room, False)
            # Where a source is known the place in its tree is, too, and nobody would tell it again.
            if idle and room.relay.position.is_alone:
                if room.timer is not None:
                    room.timer()
                del self._rooms[room.name]
        if any(not room.members for room in self._rooms.values()):
            self._schedule_tidy(self._at("").now)
