"""One person's WebSocket: hello, then comments in and frames out. The rim of `RoomHub`.

A reader and a writer share one TaskGroup; whoever has a reason to end the socket raises SocketEnded, and the person
gets goodbye and the close code of `edge/rooms/goodbye.py`. The queue between room and writer is bounded: at the bound
the socket is ended as slow_consumer, because everything it misses waits in the room's log.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from edge.rooms.content import clean_name
from edge.rooms.goodbye import FAREWELLS, FRAMES_BURST, FRAMES_PER_S, Farewell, SocketEnded
from edge.rooms.hub import RoomFull, RoomHub
from edge.rooms.rate import TokenBucket
from edge.settings import Rooms
from tradewind.common.tokens import LEEWAY_S, Claims, Role, TokenRefused
from tradewind.v1.room_messages import (
    ClientMessage,
    Danmaku,
    EdgeAddress,
    Goodbye,
    Hello,
    MessageInvalid,
    Ping,
    Pong,
    Welcome,
    parse_client_message,
)

_E = TypeVar("_E", bound=BaseException)

SUBPROTOCOL: Final = "tradewind.room.v1"
GOODBYE_TIMEOUT_S: Final = 1.0
"""A peer that does not even take a goodbye is cut off."""
_PROTOCOL_CODES: Final = {1002: "bad_frame", 1007: "not_utf8", 1009: "frame_too_large"}


class Gate(Protocol):
    """Who may enter."""

    def check_token(self, token: str | None, room: str, roles: frozenset[Role]) -> Claims | None:
        """See `AccessGate.check_token`."""


class SocketMeter(Protocol):
    """What the metrics want to know."""

    def count_goodbye(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class RoomContext:
    """What every socket of an edge needs."""

    edge_id: str
    settings: Rooms
    hub: RoomHub
    gate: Gate
    meter: SocketMeter
    edges: Callable[[], tuple[EdgeAddress, ...]]
    is_live: Callable[[str], bool]
    monotonic_s: Callable[[], float]
    unix_s: Callable[[], float]


class RoomSocket:
    """A member of one room."""

    def __init__(self, websocket: WebSocket, room: str, context: RoomContext) -> None:
        self.person = ""
        self.name = ""
        self._websocket = websocket
        self._room = room
        self._context = context
        self._frames: asyncio.Queue[str] = asyncio.Queue(context.settings.socket_queue_frames)
        self._ended: asyncio.Future[Farewell] = asyncio.get_running_loop().create_future()
        self._expires_unix: float | None = None
        self._bucket = TokenBucket(FRAMES_PER_S, FRAMES_BURST, now=context.monotonic_s())

    def offer(self, frame: str) -> None:
        """See `hub.Member`."""
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.end("slow_consumer")

    def end(self, reason: str) -> None:
        """See `hub.Member`."""
        if not self._ended.done():
            self._ended.set_result(FAREWELLS[reason])

    async def run(self) -> None:
        """From the accepted handshake to the close."""
        try:
            await self._converse()
        except* SocketEnded as ended:
            await self._say_goodbye(_first(ended).farewell)
        except* WebSocketDisconnect as gone:
            reason = _PROTOCOL_CODES.get(_first(gone).code)
            if reason is not None:
                self._context.meter.count_goodbye(reason)
        finally:
            self._context.hub.leave(self._room, self)

    async def _converse(self) -> None:
        try:
            async with asyncio.timeout(self._context.settings.hello_timeout_s):
                hello = await self._receive()
        except TimeoutError:
            raise SocketEnded("hello_timeout") from None
        if not isinstance(hello, Hello):
            raise SocketEnded("hello_expected")
        self._enter(hello)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._write())
            tasks.create_task(self._watch())

    def _enter(self, hello: Hello) -> None:
        context = self._context
        try:
            claims = context.gate.check_token(hello.token, self._room, frozenset(Role))
        except TokenRefused as error:
            raise SocketEnded(error.reason) from None
        if claims is None:
            self.person = guest_person(hello.person or secrets.token_hex(16))
            self.name = clean_name(hello.name, f"guest {self.person[-4:]}")
        else:
            self.person = claims.person
            self.name = clean_name(claims.name or hello.name, clean_name(claims.person, "guest"))
            self._expires_unix = claims.expires_unix

        def welcome(epoch: int, offset: int) -> str:
            return Welcome(
                room=self._room,
                edge_id=context.edge_id,
                person=self.person,
                name=self.name,
                edges=context.edges(),
                epoch=epoch,
                offset=offset,
                live=context.is_live(self._room),
            ).encode()

        last = (hello.last_epoch or 0, hello.last_offset or 0)
        try:
            context.hub.join(self._room, self, welcome, last)
        except RoomFull:
            raise SocketEnded("room_full") from None

    async def _read(self) -> None:
        idle_s = self._context.settings.idle_timeout_s
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    message = await self._receive()
            except TimeoutError:
                raise SocketEnded("idle") from None
            match message:
                case Danmaku():
                    self._context.hub.handle_danmaku(self._room, self, message)
                case Ping():
                    self.offer(Pong(id=message.id).encode())
                case Hello():
                    raise SocketEnded("hello_expected")

    async def _receive(self) -> ClientMessage:
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code", 1005))
        text = event.get("text")
        if text is None:
            raise SocketEnded("not_text")
        # Characters bound bytes from below, so the cheap test comes first.
        limit = self._context.settings.frame_max_bytes
        if len(text) > limit or len(text.encode()) > limit:
            raise SocketEnded("frame_too_large")
        if self._bucket.take(now=self._context.monotonic_s()):
            raise SocketEnded("flood")
        try:
            return parse_client_message(text)
        except MessageInvalid:
            raise SocketEnded("bad_message") from None

    async def _write(self) -> None:
        while True:
            frame = await self._frames.get()
            await self._websocket.send({"type": "websocket.send", "text": frame})

    async def _watch(self) -> None:
        """Ends the socket from outside, and when its token expires."""
        remaining = None
        if self._expires_unix is not None:
            remaining = max(0.0, self._expires_unix + LEEWAY_S - self._context.unix_s())
        try:
            async with asyncio.timeout(remaining):
                raise SocketEnded((await self._ended).reason)
        except TimeoutError:
            raise SocketEnded("token_expired") from None

    async def _say_goodbye(self, farewell: Farewell) -> None:
        self._context.meter.count_goodbye(farewell.reason)
        goodbye = Goodbye(reason=farewell.reason, retry=farewell.retry).encode()
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                with suppress(WebSocketDisconnect, RuntimeError, OSError):
                    await self._websocket.send({"type": "websocket.send", "text": goodbye})
                    await self._websocket.close(farewell.code, farewell.reason)
        except TimeoutError:
            abort = self._websocket.scope.get("extensions", {}).get("tradewind.abort")
            if abort is not None:
                abort()


def guest_person(secret: str) -> str:
    """Public identity of a guest: the same at every edge, and not to be turned back into the page's secret."""
    digest = hashlib.sha256(b"tradewind guest\0" + secret.encode()).digest()
    return "guest-" + urlsafe_b64encode(digest[:12]).decode()


def _first(group: BaseExceptionGroup[_E]) -> _E:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
