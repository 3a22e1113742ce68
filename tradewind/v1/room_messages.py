"""What a room's WebSocket carries, subprotocol tradewind.room.v1.

Written by protos/room/generate.py from protos/room/v1/messages.schema.json. Do not edit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Largest integer that JavaScript holds exactly."""


class MessageInvalid(ValueError):
    """A message breaks the schema. `path` names the property, `problem` says what is wrong with it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


REJECTED_REASONS: Final = (
    "empty",
    "too_long",
    "control_character",
    "bidi_override",
    "invisible_run",
    "too_many_marks",
    "too_fast",
    "room_busy",
    "unreachable",
)

GOODBYE_REASONS: Final = (
    "shutting_down",
    "bad_frame",
    "not_utf8",
    "frame_too_large",
    "not_text",
    "bad_message",
    "hello_expected",
    "hello_timeout",
    "token_missing",
    "token_malformed",
    "token_algorithm",
    "token_unknown_key",
    "token_signature",
    "token_expired",
    "token_not_yet_valid",
    "token_claims",
    "token_wrong_room",
    "token_wrong_role",
    "room_full",
    "slow_consumer",
    "idle",
    "flood",
)


@dataclass(frozen=True, slots=True)
class Hello:
    """Who is here, and the last position seen. The edge answers with welcome or goodbye."""

    type: ClassVar[str] = "hello"
    name: str
    """Name to show; empty lets the edge choose a guest name."""
    token: str | None = None
    """Access token (JWT) of the room; open rooms need none."""
    person: str | None = None
    """A guest's own secret, kept by the page: the edge derives the public person from it, so that a guest is the same
    person after a reconnect at any edge and nobody else can be.
    """
    last_epoch: int | None = None
    """Epoch of the last message received, when this is a reconnect."""
    last_offset: int | None = None
    """Offset of the last message received, when this is a reconnect."""

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        result: dict[str, object] = {
            "type": self.type,
            "name": self.name,
        }
        if self.token is not None:
            result["token"] = self.token
        if self.person is not None:
            result["person"] = self.person
        if self.last_epoch is not None:
            result["last_epoch"] = self.last_epoch
        if self.last_offset is not None:
            result["last_offset"] = self.last_offset
        return result

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Danmaku:
    """A comment to fly over the picture. Answered by accepted or rejected with the same id."""

    type: ClassVar[str] = "danmaku"
    id: str
    """Chosen by the page, unique per person; a retry keeps it and is not shown twice."""
    text: str
    """Plain text. Markup is text like any other and must be shown as text."""
    color: str | None = None
    """Colour of the comment, #rrggbb."""
    media_time_ms: int | None = None
    """The publisher's clock, unix milliseconds, of the frame on the person's screen."""

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        result: dict[str, object] = {
            "type": self.type,
            "id": self.id,
            "text": self.text,
        }
        if self.color is not None:
            result["color"] = self.color
        if self.media_time_ms is not None:
            result["media_time_ms"] = self.media_time_ms
        return result

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong with the same id."""

    type: ClassVar[str] = "ping"
    id: str

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "id": self.id,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Welcome:
    """The person is in the room. A batch with the newest messages follows when there are any."""

    type: ClassVar[str] = "welcome"
    room: str
    edge_id: str
    person: str
    """Public identity of this person in the room."""
    name: str
    """Name as it will be shown."""
    edges: tuple[EdgeAddress, ...]
    """Where to go on when this edge dies; this edge first."""
    epoch: int
    """Epoch of the newest message of the room known here."""
    offset: int
    """Offset of the newest message of the room known here; 0 when there is none."""
    live: bool
    """Whether the room has a picture now."""

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "room": self.room,
            "edge_id": self.edge_id,
            "person": self.person,
            "name": self.name,
            "edges": [item.fields() for item in self.edges],
            "epoch": self.epoch,
            "offset": self.offset,
            "live": self.live,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class EdgeAddress:
    """An edge that serves this room."""

    edge_id: str
    url: str
    """Base URL of its HTTP surface, without a slash at the end."""

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "edge_id": self.edge_id,
            "url": self.url,
        }


@dataclass(frozen=True, slots=True)
class Batch:
    """What was said in the last moment (at most 100 ms), oldest first. A message may come twice; (person, id) tells."""

    type: ClassVar[str] = "batch"
    messages: tuple[RoomEntry, ...]

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "messages": [item.fields() for item in self.messages],
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """One comment with its place in the room's log and its time in the picture."""

    epoch: int
    """Incarnation of the source whose edge gave the offset; 0 while the room has no source."""
    offset: int
    """Position in the epoch's log, from 1 without holes."""
    id: str
    person: str
    name: str
    text: str
    """Plain text, to be shown as text."""
    media_time_ms: int
    """The publisher's clock, unix milliseconds, of the frame the comment belongs to."""
    unix_ms: int
    """Wall clock of the edge that gave the offset."""
    color: str | None = None

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        result: dict[str, object] = {
            "epoch": self.epoch,
            "offset": self.offset,
            "id": self.id,
            "person": self.person,
            "name": self.name,
            "text": self.text,
            "media_time_ms": self.media_time_ms,
            "unix_ms": self.unix_ms,
        }
        if self.color is not None:
            result["color"] = self.color
        return result


@dataclass(frozen=True, slots=True)
class Accepted:
    """The comment has its place; it comes (or came) in a batch too."""

    type: ClassVar[str] = "accepted"
    id: str
    epoch: int
    offset: int

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "id": self.id,
            "epoch": self.epoch,
            "offset": self.offset,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Rejected:
    """The comment was not taken; the socket stays open."""

    type: ClassVar[str] = "rejected"
    id: str
    reason: str
    detail: str
    """A sentence for the person: what to do."""
    retry_after_ms: int | None = None
    """When a retry with the same id may work."""

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        result: dict[str, object] = {
            "type": self.type,
            "id": self.id,
            "reason": self.reason,
            "detail": self.detail,
        }
        if self.retry_after_ms is not None:
            result["retry_after_ms"] = self.retry_after_ms
        return result

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Presence:
    """How many people are in the room, as far as this edge knows."""

    type: ClassVar[str] = "presence"
    count: int

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "count": self.count,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Live:
    """The picture began, ended or changed its source."""

    type: ClassVar[str] = "live"
    live: bool
    incarnation: int

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "live": self.live,
            "incarnation": self.incarnation,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to a ping."""

    type: ClassVar[str] = "pong"
    id: str

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "id": self.id,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Last message before the edge closes the socket; the close code says the same (see edge/rooms/goodbye.py)."""

    type: ClassVar[str] = "goodbye"
    reason: str
    retry: bool
    """Whether to come again, to this or the next edge."""

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "reason": self.reason,
            "retry": self.retry,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Submit:
    """Towards the home edge: comments that want an offset."""

    type: ClassVar[str] = "submit"
    comments: tuple[Comment, ...]

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "comments": [item.fields() for item in self.comments],
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment that passed the rules of the edge where the person is connected."""

    id: str
    person: str
    name: str
    text: str
    color: str | None = None
    media_time_ms: int | None = None

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        result: dict[str, object] = {
            "id": self.id,
            "person": self.person,
            "name": self.name,
            "text": self.text,
        }
        if self.color is not None:
            result["color"] = self.color
        if self.media_time_ms is not None:
            result["media_time_ms"] = self.media_time_ms
        return result


@dataclass(frozen=True, slots=True)
class Down:
    """From the home edge: comments with their place."""

    type: ClassVar[str] = "down"
    entries: tuple[RoomEntry, ...]

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "entries": [item.fields() for item in self.entries],
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Catchup:
    """From a child to its (new) parent: everything of this epoch after this offset, please."""

    type: ClassVar[str] = "catchup"
    epoch: int
    offset: int

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "epoch": self.epoch,
            "offset": self.offset,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Fill:
    """Answer to catchup: all that is known of the epoch from first_offset on. What lies before is gone."""

    type: ClassVar[str] = "fill"
    epoch: int
    first_offset: int
    entries: tuple[RoomEntry, ...]

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "epoch": self.epoch,
            "first_offset": self.first_offset,
            "entries": [item.fields() for item in self.entries],
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


@dataclass(frozen=True, slots=True)
class Headcount:
    """People below (child to parent), or in the whole tree (parent to child)."""

    type: ClassVar[str] = "headcount"
    count: int

    def fields(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "type": self.type,
            "count": self.count,
        }

    def encode(self) -> str:
        """As JSON text."""
        return _encode(self.fields())


ClientMessage = Hello | Danmaku | Ping
"""Everything a page may send."""


def parse_client_message(text: str | bytes) -> ClientMessage:
    """Reads one message; raises MessageInvalid."""
    return read_client_message(_decode(text))


def read_client_message(value: object) -> ClientMessage:
    """Checks decoded JSON; raises MessageInvalid."""
    fields = _object(value, "message")
    name = _required(fields, "type", "message")
    read = _CLIENT_MESSAGE.get(name) if isinstance(name, str) else None
    if read is None:
        raise MessageInvalid("message.type", "is not known")
    return read(fields, "message")


ServerMessage = Welcome | Batch | Accepted | Rejected | Presence | Live | Pong | Goodbye
"""Everything an edge may send."""


def parse_server_message(text: str | bytes) -> ServerMessage:
    """Reads one message; raises MessageInvalid."""
    return read_server_message(_decode(text))


def read_server_message(value: object) -> ServerMessage:
    """Checks decoded JSON; raises MessageInvalid."""
    fields = _object(value, "message")
    name = _required(fields, "type", "message")
    read = _SERVER_MESSAGE.get(name) if isinstance(name, str) else None
    if read is None:
        raise MessageInvalid("message.type", "is not known")
    return read(fields, "message")


RelayMessage = Submit | Down | Catchup | Fill | Headcount
"""What edges tell their neighbours in a room's tree, on the reliable streams of trunks; never seen by pages. Receivers
drop what they cannot read and count it.
"""


def parse_relay_message(text: str | bytes) -> RelayMessage:
    """Reads one message; raises MessageInvalid."""
    return read_relay_message(_decode(text))


def read_relay_message(value: object) -> RelayMessage:
    """Checks decoded JSON; raises MessageInvalid."""
    fields = _object(value, "message")
    name = _required(fields, "type", "message")
    read = _RELAY_MESSAGE.get(name) if isinstance(name, str) else None
    if read is None:
        raise MessageInvalid("message.type", "is not known")
    return read(fields, "message")


_PATTERN_0 = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_PATTERN_1 = re.compile(r"^#[0-9a-fA-F]{6}$")


def _read_hello(value: object, path: str) -> Hello:
    fields = _object(value, path)
    return Hello(
        name=_string(_required(fields, "name", path), f"{path}.name", 0, 64),
        token=_string(fields["token"], f"{path}.token", 1, 4096) if "token" in fields else None,
        person=_string(fields["person"], f"{path}.person", 8, 128) if "person" in fields else None,
        last_epoch=_integer(fields["last_epoch"], f"{path}.last_epoch", 0) if "last_epoch" in fields else None,
        last_offset=_integer(fields["last_offset"], f"{path}.last_offset", 0) if "last_offset" in fields else None,
    )


def _read_danmaku(value: object, path: str) -> Danmaku:
    fields = _object(value, path)
    return Danmaku(
        id=_string(_required(fields, "id", path), f"{path}.id", 0, 0, _PATTERN_0),
        text=_string(_required(fields, "text", path), f"{path}.text", 1, 2000),
        color=_string(fields["color"], f"{path}.color", 0, 0, _PATTERN_1) if "color" in fields else None,
        media_time_ms=_integer(fields["media_time_ms"], f"{path}.media_time_ms", 0)
        if "media_time_ms" in fields
        else None,
    )


def _read_ping(value: object, path: str) -> Ping:
    fields = _object(value, path)
    return Ping(
        id=_string(_required(fields, "id", path), f"{path}.id", 0, 0, _PATTERN_0),
    )


def _read_welcome(value: object, path: str) -> Welcome:
    fields = _object(value, path)
    return Welcome(
        room=_string(_required(fields, "room", path), f"{path}.room", 1, 64),
        edge_id=_string(_required(fields, "edge_id", path), f"{path}.edge_id", 1, 64),
        person=_string(_required(fields, "person", path), f"{path}.person", 1, 128),
        name=_string(_required(fields, "name", path), f"{path}.name", 1, 64),
        edges=_array(_required(fields, "edges", path), f"{path}.edges", 8, _read_edge_address),
        epoch=_integer(_required(fields, "epoch", path), f"{path}.epoch", 0),
        offset=_integer(_required(fields, "offset", path), f"{path}.offset", 0),
        live=_boolean(_required(fields, "live", path), f"{path}.live"),
    )


def _read_edge_address(value: object, path: str) -> EdgeAddress:
    fields = _object(value, path)
    return EdgeAddress(
        edge_id=_string(_required(fields, "edge_id", path), f"{path}.edge_id", 1, 64),
        url=_string(_required(fields, "url", path), f"{path}.url", 1, 512),
    )


def _read_batch(value: object, path: str) -> Batch:
    fields = _object(value, path)
    return Batch(
        messages=_array(_required(fields, "messages", path), f"{path}.messages", 512, _read_room_entry),
    )


def _read_room_entry(value: object, path: str) -> RoomEntry:
    fields = _object(value, path)
    return RoomEntry(
        epoch=_integer(_required(fields, "epoch", path), f"{path}.epoch", 0),
        offset=_integer(_required(fields, "offset", path), f"{path}.offset", 1),
        id=_string(_required(fields, "id", path), f"{path}.id", 0, 0, _PATTERN_0),
        person=_string(_required(fields, "person", path), f"{path}.person", 1, 128),
        name=_string(_required(fields, "name", path), f"{path}.name", 1, 64),
        text=_string(_required(fields, "text", path), f"{path}.text", 1, 2000),
        color=_string(fields["color"], f"{path}.color", 0, 0, _PATTERN_1) if "color" in fields else None,
        media_time_ms=_integer(_required(fields, "media_time_ms", path), f"{path}.media_time_ms", 0),
        unix_ms=_integer(_required(fields, "unix_ms", path), f"{path}.unix_ms", 0),
    )


def _read_accepted(value: object, path: str) -> Accepted:
    fields = _object(value, path)
    return Accepted(
        id=_string(_required(fields, "id", path), f"{path}.id", 0, 0, _PATTERN_0),
        epoch=_integer(_required(fields, "epoch", path), f"{path}.epoch", 0),
        offset=_integer(_required(fields, "offset", path), f"{path}.offset", 1),
    )


def _read_rejected(value: object, path: str) -> Rejected:
    fields = _object(value, path)
    return Rejected(
        id=_string(_required(fields, "id", path), f"{path}.id", 0, 0, _PATTERN_0),
        reason=_string(_required(fields, "reason", path), f"{path}.reason", 1, 64),
        detail=_string(_required(fields, "detail", path), f"{path}.detail", 0, 512),
        retry_after_ms=_integer(fields["retry_after_ms"], f"{path}.retry_after_ms", 0)
        if "retry_after_ms" in fields
        else None,
    )


def _read_presence(value: object, path: str) -> Presence:
    fields = _object(value, path)
    return Presence(
        count=_integer(_required(fields, "count", path), f"{path}.count", 0),
    )


def _read_live(value: object, path: str) -> Live:
    fields = _object(value, path)
    return Live(
        live=_boolean(_required(fields, "live", path), f"{path}.live"),
        incarnation=_integer(_required(fields, "incarnation", path), f"{path}.incarnation", 0),
    )


def _read_pong(value: object, path: str) -> Pong:
    fields = _object(value, path)
    return Pong(
        id=_string(_required(fields, "id", path), f"{path}.id", 0, 0, _PATTERN_0),
    )


def _read_goodbye(value: object, path: str) -> Goodbye:
    fields = _object(value, path)
    return Goodbye(
        reason=_string(_required(fields, "reason", path), f"{path}.reason", 1, 64),
        retry=_boolean(_required(fields, "retry", path), f"{path}.retry"),
    )


def _read_submit(value: object, path: str) -> Submit:
    fields = _object(value, path)
    return Submit(
        comments=_array(_required(fields, "comments", path), f"{path}.comments", 512, _read_comment),
    )


def _read_comment(value: object, path: str) -> Comment:
    fields = _object(value, path)
    return Comment(
        id=_string(_required(fields, "id", path), f"{path}.id", 0, 0, _PATTERN_0),
        person=_string(_required(fields, "person", path), f"{path}.person", 1, 128),
        name=_string(_required(fields, "name", path), f"{path}.name", 1, 64),
        text=_string(_required(fields, "text", path), f"{path}.text", 1, 2000),
        color=_string(fields["color"], f"{path}.color", 0, 0, _PATTERN_1) if "color" in fields else None,
        media_time_ms=_integer(fields["media_time_ms"], f"{path}.media_time_ms", 0)
        if "media_time_ms" in fields
        else None,
    )


def _read_down(value: object, path: str) -> Down:
    fields = _object(value, path)
    return Down(
        entries=_array(_required(fields, "entries", path), f"{path}.entries", 512, _read_room_entry),
    )


def _read_catchup(value: object, path: str) -> Catchup:
    fields = _object(value, path)
    return Catchup(
        epoch=_integer(_required(fields, "epoch", path), f"{path}.epoch", 0),
        offset=_integer(_required(fields, "offset", path), f"{path}.offset", 0),
    )


def _read_fill(value: object, path: str) -> Fill:
    fields = _object(value, path)
    return Fill(
        epoch=_integer(_required(fields, "epoch", path), f"{path}.epoch", 0),
        first_offset=_integer(_required(fields, "first_offset", path), f"{path}.first_offset", 1),
        entries=_array(_required(fields, "entries", path), f"{path}.entries", 512, _read_room_entry),
    )


def _read_headcount(value: object, path: str) -> Headcount:
    fields = _object(value, path)
    return Headcount(
        count=_integer(_required(fields, "count", path), f"{path}.count", 0),
    )


_CLIENT_MESSAGE: Final[dict[str, Callable[[object, str], ClientMessage]]] = {
    "hello": _read_hello,
    "danmaku": _read_danmaku,
    "ping": _read_ping,
}


_SERVER_MESSAGE: Final[dict[str, Callable[[object, str], ServerMessage]]] = {
    "welcome": _read_welcome,
    "batch": _read_batch,
    "accepted": _read_accepted,
    "rejected": _read_rejected,
    "presence": _read_presence,
    "live": _read_live,
    "pong": _read_pong,
    "goodbye": _read_goodbye,
}


_RELAY_MESSAGE: Final[dict[str, Callable[[object, str], RelayMessage]]] = {
    "submit": _read_submit,
    "down": _read_down,
    "catchup": _read_catchup,
    "fill": _read_fill,
    "headcount": _read_headcount,
}

_T = TypeVar("_T")


def _encode(fields: dict[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _refuse_constant(name: str) -> object:
    raise MessageInvalid("message", f"{name} is not JSON")


def _decode(text: str | bytes) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except MessageInvalid:
        raise
    except (ValueError, RecursionError):
        raise MessageInvalid("message", "is not JSON") from None


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise MessageInvalid(path, "must be an object")
    return value


def _required(fields: dict[str, object], name: str, path: str) -> object:
    if name not in fields:
        raise MessageInvalid(f"{path}.{name}", "is missing")
    return fields[name]


def _string(value: object, path: str, min_length: int, max_length: int, pattern: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str):
        raise MessageInvalid(path, "must be a string")
    if pattern is not None and pattern.fullmatch(value) is None:
        raise MessageInvalid(path, f"must match {pattern.pattern}")
    if len(value) < min_length:
        raise MessageInvalid(path, f"must have at least {min_length} characters")
    if max_length and len(value) > max_length:
        raise MessageInvalid(path, f"must have at most {max_length} characters")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise MessageInvalid(path, "must be well-formed Unicode")
    return value


def _integer(value: object, path: str, minimum: int) -> int:
    # JSON does not tell 1 from 1.0, and JavaScript cannot.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MessageInvalid(path, "must be an integer")
    if value < minimum:
        raise MessageInvalid(path, f"must be at least {minimum}")
    if value > MAX_SAFE_INTEGER:
        raise MessageInvalid(path, "must be below 2^53")
    return value


def _boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise MessageInvalid(path, "must be true or false")
    return value


def _array(value: object, path: str, max_items: int, parse: Callable[[object, str], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise MessageInvalid(path, "must be an array")
    if len(value) > max_items:
        raise MessageInvalid(path, f"must have at most {max_items} items")
    return tuple(parse(item, f"{path}[{index}]") for index, item in enumerate(value))
