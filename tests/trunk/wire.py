"""The trunk's messages, written from `docs/wire.md` alone; shares no code with the packet path."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum

ALPN = "tradewind-trunk/1"


class Kind(IntEnum):
    """Types of control messages."""

    HEARTBEAT = 1
    SOURCE_HEARTBEAT = 2
    NACK = 3
    KEY_FRAME_REQUEST = 4
    SENDER_CLOCK = 5
    SUBSCRIBE = 6
    UNSUBSCRIBE = 7
    SOURCE = 8
    REFUSED = 9
    SOURCE_GONE = 10
    ROOM_MESSAGE = 11


@dataclass(slots=True)
class Reader:
    """Takes fields from the front of `rest`; raises ValueError past the end."""

    rest: bytes

    def take(self, count: int) -> bytes:
        if len(self.rest) < count:
            raise ValueError("truncated")
        head, self.rest = self.rest[:count], self.rest[count:]
        return head

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def varint(self) -> int:
        first = self.take(1)
        length = 1 << (first[0] >> 6)
        return int.from_bytes(bytes([first[0] & 0x3F]) + self.take(length - 1), "big")

    def text(self) -> str:
        return self.take(self.varint()).decode()

    def path(self) -> list[str]:
        return [self.text() for _ in range(self.varint())]


def varint(value: int) -> bytes:
    """RFC 9000 §16."""
    for length, prefix in ((1, 0x00), (2, 0x40), (4, 0x80), (8, 0xC0)):
        if value < 1 << (8 * length - 2):
            encoded = bytearray(value.to_bytes(length, "big"))
            encoded[0] |= prefix
            return bytes(encoded)
    raise ValueError(f"{value} does not fit into 62 bits")


def text(value: str) -> bytes:
    return varint(len(value.encode())) + value.encode()


def path(edges: list[str]) -> bytes:
    return varint(len(edges)) + b"".join(text(edge) for edge in edges)


def message(kind: Kind, body: bytes) -> bytes:
    return varint(kind) + varint(len(body)) + body


def messages(payload: bytes) -> list[tuple[int, Reader]]:
    """All messages of a datagram of flow 0."""
    reader, found = Reader(payload), []
    while reader.rest:
        kind = reader.varint()
        found.append((kind, Reader(reader.take(reader.varint()))))
    return found


@dataclass(frozen=True, slots=True)
class Heartbeat:
    trunk_number: int
    clock_us: int
    echo_clock_us: int = 0
    echo_delay_us: int = 0
    received_highest: int = 0
    received: int = 0
    lost: int = 0

    def encode(self) -> bytes:
        values = (self.trunk_number, self.clock_us, self.echo_clock_us, self.echo_delay_us)
        counts = (self.received_highest, self.received, self.lost)
        return message(Kind.HEARTBEAT, b"".join(varint(value) for value in (*values, *counts)))

    @staticmethod
    def decode(body: Reader) -> Heartbeat:
        return Heartbeat(*(body.varint() for _ in range(7)))


@dataclass(frozen=True, slots=True)
class SourceHeartbeat:
    subscription: int
    incarnation: int
    counter: int
    state: int
    path: list[str]
    repair_ms: int = 0

    def encode(self) -> bytes:
        numbers = varint(self.subscription) + varint(self.incarnation) + varint(self.counter)
        return message(Kind.SOURCE_HEARTBEAT, numbers + bytes([self.state]) + path(self.path) + varint(self.repair_ms))

    @staticmethod
    def decode(body: Reader) -> SourceHeartbeat:
        return SourceHeartbeat(body.varint(), body.varint(), body.varint(), body.u8(), body.path(), body.varint())


@dataclass(frozen=True, slots=True)
class Subscribe:
    subscription: int
    revision: int
    room: str
    route: list[str]
    via: list[str]
    media: bool = True
    tree: bool = True
    backup: bool = False
    last_seen: tuple[tuple[int, int], ...] = ()

    def encode(self) -> bytes:
        wants = self.media | self.tree << 1 | self.backup << 2
        body = varint(self.subscription) + varint(self.revision) + bytes([wants]) + text(self.room)
        seen = b"".join(struct.pack("!IH", ssrc, number) for ssrc, number in self.last_seen)
        body += path(self.route) + path(self.via) + varint(len(self.last_seen)) + seen
        return message(Kind.SUBSCRIBE, body)

    @staticmethod
    def decode(body: Reader) -> Subscribe:
        subscription, revision, wants, room = body.varint(), body.varint(), body.u8(), body.text()
        route, via = body.path(), body.path()
        seen = tuple((body.u32(), body.u16()) for _ in range(body.varint()))
        flags = bool(wants & 1), bool(wants & 2), bool(wants & 4)
        return Subscribe(subscription, revision, room, route, via, *flags, seen)


@dataclass(frozen=True, slots=True)
class Track:
    codec: int
    fmtp: str
    ssrc: int | None


@dataclass(frozen=True, slots=True)
class Source:
    subscription: int
    generation: int
    room: str
    incarnation: int
    origin: str
    tracks: tuple[Track, ...]

    def encode(self) -> bytes:
        body = varint(self.subscription) + bytes([self.generation]) + text(self.room) + varint(self.incarnation)
        body += text(self.origin) + varint(len(self.tracks))
        for track in self.tracks:
            body += bytes([track.codec]) + text(track.fmtp)
            body += struct.pack("!BI", track.ssrc is not None, track.ssrc or 0)
        return message(Kind.SOURCE, body)

    @staticmethod
    def decode(body: Reader) -> Source:
        subscription, generation = body.varint(), body.u8()
        room, incarnation, origin = body.text(), body.varint(), body.text()
        tracks = []
        for _ in range(body.varint()):
            codec, fmtp, known, ssrc = body.u8(), body.text(), body.u8(), body.u32()
            tracks.append(Track(codec, fmtp, ssrc if known else None))
        return Source(subscription, generation, room, incarnation, origin, tuple(tracks))


def nack(flow: int, ssrc: int, number: int) -> bytes:
    return message(Kind.NACK, varint(flow) + struct.pack("!I", ssrc) + varint(1) + struct.pack("!HH", number, 0))


def decode_nack(body: Reader) -> tuple[int, int, tuple[int, ...]]:
    """Flow id, ssrc and sequence numbers."""
    flow, ssrc, numbers = body.varint(), body.u32(), []
    for _ in range(body.varint()):
        first, mask = body.u16(), body.u16()
        numbers += [first, *((first + bit + 1) & 0xFFFF for bit in range(16) if mask >> bit & 1)]
    return flow, ssrc, tuple(numbers)


def key_frame_request(flow: int) -> bytes:
    return message(Kind.KEY_FRAME_REQUEST, varint(flow))


def sender_clock(flow: int, ntp: int, rtp: int) -> bytes:
    return message(Kind.SENDER_CLOCK, varint(flow) + struct.pack("!QI", ntp, rtp))


def decode_sender_clock(body: Reader) -> tuple[int, int, int]:
    """Flow id, NTP and RTP time."""
    return body.varint(), int.from_bytes(body.take(8), "big"), body.u32()


def room_message(room: str, payload: bytes) -> bytes:
    return message(Kind.ROOM_MESSAGE, text(room) + payload)


def flow_id(subscription: int, generation: int, track: int) -> int:
    return subscription << 8 | generation << 4 | track


@dataclass(frozen=True, slots=True)
class Rtp:
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes
    trunk_number: int = 0
    marker: bool = False
    payload_type: int = 96
    key_frame_start: bool = False
    # Extensions by id, but for the trunk number and the flags.
    others: dict[int, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        block = bytes([0x11]) + struct.pack("!H", self.trunk_number)
        if self.key_frame_start:
            block += bytes([0x50, 1])
        for number, value in self.others.items():
            block += bytes([number << 4 | len(value) - 1]) + value
        block += bytes(-len(block) % 4)
        second = self.marker << 7 | self.payload_type
        fixed = struct.pack("!BBHII", 0x90, second, self.sequence_number, self.timestamp, self.ssrc)
        return fixed + struct.pack("!HH", 0xBEDE, len(block) // 4) + block + self.payload

    @staticmethod
    def decode(packet: bytes) -> Rtp:
        first, second, number, timestamp, ssrc, profile, words = struct.unpack_from("!BBHIIHH", packet)
        if first != 0x90 or profile != 0xBEDE:
            raise ValueError("not RTP as trunks carry it")
        block, elements = Reader(packet[16 : 16 + 4 * words]), {}
        while block.rest:
            head = block.u8()
            if head:
                elements[head >> 4] = block.take((head & 15) + 1)
        return Rtp(
            sequence_number=number,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=packet[16 + 4 * words :],
            trunk_number=int.from_bytes(elements.pop(1), "big"),
            marker=bool(second >> 7),
            payload_type=second & 0x7F,
            key_frame_start=bool(elements.pop(5, b"\0")[0] & 1),
            others=elements,
        )
