"""A neighbouring edge written with aioquic: a subscriber that dials, and a source that is dialled."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, QuicEvent, StreamDataReceived

from tests.trunk.certificates import Credentials
from tests.trunk.wire import (
    ALPN,
    Heartbeat,
    Kind,
    Reader,
    Rtp,
    Source,
    SourceHeartbeat,
    Subscribe,
    decode_nack,
    decode_sender_clock,
    messages,
    varint,
)
from tests.waiting import PATIENCE_S

HEARTBEAT_S = 0.1

T = TypeVar("T")


def clock_us() -> int:
    return time.monotonic_ns() // 1000


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet as it came, and when."""

    at: float
    flow: int
    rtp: Rtp
    on_stream: bool


@dataclass
class Heard:
    """Everything a neighbour has said."""

    heartbeats: list[Heartbeat] = field(default_factory=list)
    source_heartbeats: list[SourceHeartbeat] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    subscribes: list[Subscribe] = field(default_factory=list)
    key_frame_requests: list[int] = field(default_factory=list)
    sender_clocks: list[tuple[int, int, int]] = field(default_factory=list)
    gone: list[tuple[int, int, str]] = field(default_factory=list)
    nacks: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)
    room_messages: list[tuple[str, bytes]] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    unsubscribed: int = 0


class TrunkPeer(QuicConnectionProtocol):
    """One connection. Sends heartbeats from the handshake on; writes down what arrives."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard = Heard()
        self.terminated: ConnectionTerminated | None = None
        self.next_number = 0
        self._changed = asyncio.Event()
        self._streams: dict[int, bytes] = {}
        self._control_stream: int | None = None
        self._echo: tuple[int, float] | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        match event:
            case DatagramFrameReceived(data=data):
                reader = Reader(data)
                self._handle_payload(reader.varint(), reader.rest, on_stream=False)
            case StreamDataReceived(data=data, stream_id=stream_id):
                self._handle_stream(stream_id, data)
            case ConnectionTerminated():
                self.terminated = event
        self._changed.set()

    async def until(self, what: str, found: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
        """Waits until `found` gives something true."""
        async with asyncio.timeout(timeout_s):
            while True:
                if value := found():
                    return value
                if self.terminated and what != "the end":
                    raise AssertionError(f"waiting for {what}: {self.terminated}")
                self._changed.clear()
                await self._changed.wait()

    def say(self, message: bytes) -> None:
        """On the reliable stream of flow 0."""
        framed = varint(len(message)) + message
        if self._control_stream is None:
            self._control_stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
            framed = varint(0) + framed
        self._quic.send_stream_data(self._control_stream, framed)
        self.transmit()

    def say_raw(self, data: bytes, *, end: bool = True) -> None:
        """Anything at all on a new stream."""
        stream_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(stream_id, data, end_stream=end)
        self.transmit()

    def send(self, datagram: bytes) -> None:
        self._quic.send_datagram_frame(datagram)
        self.transmit()

    def send_control(self, message: bytes) -> None:
        self.send(varint(0) + message)

    def send_rtp(self, flow: int, rtp: Rtp) -> None:
        self.send(varint(flow) + rtp.encode())

    def take_number(self) -> int:
        self.next_number += 1
        return (self.next_number - 1) & 0xFFFF

    async def beat(self) -> None:
        """Heartbeats until the connection ends."""
        while self.terminated is None:
            echo, delay = (self._echo[0], time.monotonic() - self._echo[1]) if self._echo else (0, 0.0)
            self.send_control(Heartbeat(self.take_number(), clock_us(), echo, int(delay * 1e6)).encode())
            await asyncio.sleep(HEARTBEAT_S)

    def _handle_stream(self, stream_id: int, data: bytes) -> None:
        buffered = self._streams.get(stream_id, b"") + data
        flow_bytes = 1 << (buffered[0] >> 6)
        flow, rest = Reader(buffered[:flow_bytes]).varint(), buffered[flow_bytes:]
        while rest:
            try:
                reader = Reader(rest)
                payload = reader.take(reader.varint())
            except ValueError:
                break
            self._handle_payload(flow, payload, on_stream=True)
            rest = reader.rest
        self._streams[stream_id] = buffered[:flow_bytes] + rest

    def _handle_payload(self, flow: int, payload: bytes, *, on_stream: bool) -> None:
        if flow:
            self.heard.packets.append(Packet(time.monotonic(), flow, Rtp.decode(payload), on_stream))
            return
        for kind, body in messages(payload):
            match kind:
                case Kind.HEARTBEAT:
                    self.heard.heartbeats.append(Heartbeat.decode(body))
                    self._echo = self.heard.heartbeats[-1].clock_us, time.monotonic()
                case Kind.SOURCE_HEARTBEAT:
                    self.heard.source_heartbeats.append(SourceHeartbeat.decode(body))
                case Kind.SUBSCRIBE:
                    self.heard.subscribes.append(Subscribe.decode(body))
                case Kind.UNSUBSCRIBE:
                    self.heard.unsubscribed += 1
                case Kind.SOURCE:
                    self.heard.sources.append(Source.decode(body))
                case Kind.REFUSED:
                    body.varint()
                    self.heard.refused.append(body.text())
                case Kind.NACK:
                    self.heard.nacks.append(decode_nack(body))
                case Kind.KEY_FRAME_REQUEST:
                    self.heard.key_frame_requests.append(body.varint())
                case Kind.SENDER_CLOCK:
                    self.heard.sender_clocks.append(decode_sender_clock(body))
                case Kind.SOURCE_GONE:
                    self.heard.gone.append((body.varint(), body.varint(), body.text()))
                case Kind.ROOM_MESSAGE:
                    self.heard.room_messages.append((body.text(), body.rest))


@asynccontextmanager
async def dial(
    address: str, name: str, credentials: Credentials, *, anonymous: bool = False
) -> AsyncIterator[TrunkPeer]:
    """Connects to an edge as another one; `anonymous` without a certificate."""
    host, port = address.rsplit(":", 1)
    configuration = _configuration(credentials, is_client=True, anonymous=anonymous)
    configuration.server_name = name
    async with connect(host, int(port), configuration=configuration, create_protocol=TrunkPeer) as peer:
        assert isinstance(peer, TrunkPeer)
        async with _beating(peer):
            yield peer


@dataclass
class ListeningPeer:
    """An edge that is dialled."""

    address: str
    connections: asyncio.Queue[TrunkPeer]

    async def connection(self) -> TrunkPeer:
        return await asyncio.wait_for(self.connections.get(), PATIENCE_S)


@asynccontextmanager
async def listen(credentials: Credentials) -> AsyncIterator[ListeningPeer]:
    """An edge of that name on a free port."""
    connections: asyncio.Queue[TrunkPeer] = asyncio.Queue()

    class Accepted(TrunkPeer):
        def quic_event_received(self, event: QuicEvent) -> None:
            first = not self._announced
            self._announced = True
            if first:
                connections.put_nowait(self)
            super().quic_event_received(event)

        _announced = False

    configuration = _configuration(credentials, is_client=False)
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Accepted)
    try:
        assert server._transport is not None
        host, port = server._transport.get_extra_info("sockname")[:2]
        yield ListeningPeer(f"{host}:{port}", connections)
    finally:
        server.close()


@asynccontextmanager
async def _beating(peer: TrunkPeer) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        beat = group.create_task(peer.beat())
        try:
            yield
        finally:
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat


def _configuration(credentials: Credentials, *, is_client: bool, anonymous: bool = False) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        max_datagram_frame_size=65_536,
        max_datagram_size=1_350,
        verify_mode=ssl.CERT_REQUIRED if is_client else ssl.CERT_NONE,
    )
    if not anonymous:
        configuration.load_cert_chain(str(credentials.certificate), str(credentials.key))
    configuration.load_verify_locations(str(credentials.authority))
    return configuration
