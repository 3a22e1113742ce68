"""A running packet path with trunks, and a source that publishes through an aioquic neighbour."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from edge.dataplane import Dataplane, DataplaneConfig, Event
from tests.trunk.certificates import Credentials
from tests.trunk.peer import HEARTBEAT_S, TrunkPeer
from tests.trunk.wire import Kind, Rtp, Source, SourceHeartbeat, Track, flow_id, message, text, varint
from tests.waiting import PATIENCE_S, until

T = TypeVar("T")

ROOM = "demo"
INCARNATION = 1_790_000_000_000
VIDEO_SSRC = 0x1111
FIRST_NUMBER = 65_000
VP8 = 2


@contextmanager
def dataplane(edge: str, credentials: Credentials, *disabled: str) -> Iterator[Dataplane]:
    """One edge's packet path on free loopback ports."""
    running = Dataplane(
        DataplaneConfig(
            edge_id=edge,
            media_bind=["127.0.0.1:0"],
            announce=["127.0.0.1"],
            shards=1,
            pin_cores=[],
            trunk_bind="127.0.0.1:0",
            trunk_certificate_pem=credentials.certificate.read_bytes(),
            trunk_key_pem=credentials.key.read_bytes(),
            trunk_ca_pem=credentials.authority.read_bytes(),
            trunk_window_bytes=4_000_000,
            disabled_features=list(disabled),
            max_sessions=16,
        )
    )
    try:
        yield running
    finally:
        running.close()


@dataclass
class Events:
    """What a packet path has said so far, and waiting for more."""

    dataplane: Dataplane
    seen: list[Event] = field(default_factory=list)

    async def until(self, what: str, wanted: Callable[[Event], bool]) -> Event:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.dataplane.event_fd, ready.set)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    self.seen += self.dataplane.poll_events()
                    for event in self.seen:
                        if wanted(event):
                            self.seen.remove(event)
                            return event
                    ready.clear()
                    await ready.wait()
        except TimeoutError:
            raise AssertionError(f"waited for {what} in vain; seen {self.seen}") from None
        finally:
            loop.remove_reader(self.dataplane.event_fd)


async def eventually(what: str, found: Callable[[], T | None]) -> T:
    """A snapshot, which changes five times a second and has no event for it."""
    value = await until(found, why=what)
    assert value is not None
    return value


@dataclass
class Publication:
    """A source behind an aioquic neighbour: announces itself, beats, and sends what it is told to."""

    peer: TrunkPeer
    origin: str
    subscription: int = 0
    sent_at: dict[int, float] = field(default_factory=dict)
    sent: int = 0
    counter: int = 0

    @property
    def flow(self) -> int:
        return flow_id(self.subscription, 0, 0)

    async def accept(self) -> None:
        """Waits for a subscription and takes it."""
        asked = await self.peer.until("a subscription", lambda: next(iter(self.peer.heard.subscribes), None))
        self.subscription = asked.subscription
        tracks = (Track(VP8, "max-fs=3600", VIDEO_SSRC),)
        self.peer.say(Source(asked.subscription, 0, ROOM, INCARNATION, self.origin, tracks).encode())

    def end(self) -> None:
        body = varint(self.subscription) + varint(INCARNATION) + text("ended")
        self.peer.say(message(Kind.SOURCE_GONE, body))

    async def beat(self) -> None:
        while self.peer.terminated is None:
            self.counter += 1
            beat = SourceHeartbeat(self.subscription, INCARNATION, self.counter, 0, [self.origin])
            self.peer.send_control(beat.encode())
            await asyncio.sleep(HEARTBEAT_S)

    def send(self, *, size: int = 1_100, key: bool = False, marker: bool = False, timestamp: int = 0) -> int:
        """Sends the next packet; returns its sequence number."""
        number = (FIRST_NUMBER + self.sent) & 0xFFFF
        payload = self.sent.to_bytes(8, "big").ljust(size, b"\xab")
        rtp = Rtp(number, timestamp, VIDEO_SSRC, payload, self.peer.take_number(), marker, 96, key)
        self.sent_at[number] = time.monotonic()
        self.sent += 1
        self.peer.send_rtp(self.flow, rtp)
        return number

    async def play(self, frames: int, *, packets: int = 8, interval_s: float = 1 / 30) -> None:
        """Frames at a steady rate, the first one a key frame, one every two seconds."""
        start = time.monotonic()
        for frame in range(frames):
            for packet in range(packets):
                self.send(
                    key=frame % 60 == 0 and packet == 0,
                    marker=packet + 1 == packets,
                    timestamp=(frame * 3_000) & 0xFFFFFFFF,
                )
            await asyncio.sleep(max(0.0, start + (frame + 1) * interval_s - time.monotonic()))


@asynccontextmanager
async def publishing(peer: TrunkPeer, origin: str) -> AsyncIterator[Publication]:
    """Takes the neighbour's subscription and keeps the source alive."""
    publication = Publication(peer, origin)
    await publication.accept()
    async with asyncio.TaskGroup() as group:
        beats = [group.create_task(publication.beat()), group.create_task(peer.beat())]
        try:
            yield publication
        finally:
            for beat in beats:
                beat.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await beat
