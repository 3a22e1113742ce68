"""What a room's relay is told about the moment, and what it asks its rim to do."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.v1.room_messages import RelayMessage, RoomEntry


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happens: monotonic seconds, wall clock, and the newest frame's time on the publisher's clock.

    `media_time_ms` is None where this edge does not know it.
    """

    now: float
    unix_ms: int
    media_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SendToPeer:
    """To a neighbour in the room's tree, over the trunk's reliable stream."""

    peer: str
    message: RelayMessage


@dataclass(frozen=True, slots=True)
class Broadcast:
    """To every socket of the room, as one frame."""

    entries: tuple[RoomEntry, ...]


@dataclass(frozen=True, slots=True)
class Accept:
    """To the author: the comment has its place."""

    person: str
    comment_id: str
    epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class Reject:
    """To the author: the comment was not taken."""

    person: str
    comment_id: str
    reason: str
    detail: str
    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class CountPeople:
    """To every socket: so many people are in the room."""

    count: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """To the metrics: a neighbour's message was not used, and why."""

    reason: str


Command = SendToPeer | Broadcast | Accept | Reject | CountPeople | Dropped
