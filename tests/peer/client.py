"""A WHIP or WHEP client made of parts: every datagram it sends can be spoiled, and everything it gets can be seen.

Blocking, one socket per path. `connect` does what a browser does; tests take its steps apart where they need to.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import httpx
from pylibsrtp import Policy, Session

from tests.edge_process import EdgeProcess
from tests.peer.dtls import Certificate, Dtls, SrtpKeys
from tests.peer.sdp import Answer, OfferParameters
from tests.peer.stun import Check, is_stun, is_success
from tests.waiting import PATIENCE_S, wait_for

# One for all, since each loads the machine's certificates; nothing is kept open, so that an edge holds only its own.
HTTP: Final = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=PATIENCE_S)
OPUS: Final = 111
VIDEO: Final = 96
RTX: Final = 97
SENDER_REPORT: Final = 200
# VP8: descriptor without extensions, key frame tag; and an inter frame.
KEY_FRAME: Final = b"\x10\x10\x00\x00\x9d\x01\x2a\x40\x01\xf0\x00" + bytes(50)
INTER_FRAME: Final = b"\x10\x11" + bytes(50)


@dataclass(frozen=True, slots=True)
class Rtp:
    """A plaintext RTP packet without extensions."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = True

    def encode(self) -> bytes:
        second = self.payload_type | (0x80 if self.marker else 0)
        return struct.pack("!BBHII", 0x80, second, self.sequence_number, self.timestamp, self.ssrc) + self.payload

    @classmethod
    def decode(cls, packet: bytes) -> Rtp:
        first, second, sequence_number, timestamp, ssrc = struct.unpack("!BBHII", packet[:12])
        at = 12 + 4 * (first & 0x0F)
        if first & 0x10:
            at += 4 + 4 * int.from_bytes(packet[at + 2 : at + 4])
        return cls(second & 0x7F, sequence_number, timestamp, ssrc, packet[at:], bool(second & 0x80))


class Peer:
    """One session with an edge."""

    def __init__(
        self,
        edge: EdgeProcess,
        role: Literal["host", "viewer"],
        room: str,
        *,
        setup: Literal["actpass", "active", "passive"] = "actpass",
        certificate: Certificate | None = None,
        fingerprint: str = "",
        over_ipv6: bool = False,
        headers: Mapping[str, str] | None = None,
        **offer: object,
    ) -> None:
        self.headers = dict(headers or {})
        self.certificate = certificate or Certificate()
        direction: Literal["sendonly", "recvonly"] = "sendonly" if role == "host" else "recvonly"
        self.offer = OfferParameters(self.certificate, direction, setup=setup, fingerprint=fingerprint, **offer)  # type: ignore[arg-type]
        path = "whip" if role == "host" else "whep"
        response = HTTP.post(
            f"{edge.http}/{path}/{room}",
            content=self.offer.sdp(),
            headers={"content-type": "application/sdp", **self.headers},
        )
        assert response.status_code == 201, response.text
        self.resource = httpx.URL(edge.http).join(response.headers["location"])
        self.answer = Answer(response.text)
        self.address = next(there for there in self.answer.addresses if (":" in there[0]) == over_ipv6)
        self.socket = self.open_socket()
        self.dtls = Dtls(self.certificate, is_client=self.answer.value("setup") == "passive")
        self.keys: SrtpKeys | None = None
        self.received: deque[bytes] = deque()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        HTTP.delete(self.resource, headers=self.headers)
        self.socket.close()

    def open_socket(self) -> socket.socket:
        """Another local address of this peer."""
        over_ipv6 = ":" in self.address[0]
        one = socket.socket(socket.AF_INET6 if over_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("::1" if over_ipv6 else "127.0.0.1", 0))
        one.connect(self.address)
        return one

    @property
    def username(self) -> str:
        return f"{self.answer.value('ice-ufrag')}:{self.offer.ufrag}"

    def check(self, *, use_candidate: bool = True) -> Check:
        """A valid check for this session."""
        return Check(self.username, self.answer.value("ice-pwd"), use_candidate=use_candidate)

    def send(self, datagram: bytes) -> None:
        self.socket.send(datagram)

    def validate(self, on: socket.socket | None = None, *, use_candidate: bool = True) -> None:
        """Checks once and waits for the answer."""
        check = self.check(use_candidate=use_candidate)
        (on or self.socket).send(check.encode())
        wait_for(lambda: self._answered(on or self.socket, check.transaction_id), "a check is not answered")

    def connect(self) -> Peer:
        """ICE, then DTLS."""
        self.validate()
        self.handshake()
        return self

    def handshake(self, edit: Callable[[list[bytes]], list[bytes]] = lambda records: records) -> None:
        """DTLS to its end; `edit` may spoil each flight on its way out."""
        for record in edit(self.dtls.start() if self.dtls.is_client else []):
            self.send(record)
        deadline = time.monotonic() + PATIENCE_S
        while not self.dtls.is_connected:
            assert time.monotonic() < deadline, f"no DTLS connection: {self.dtls.error}"
            assert self.dtls.error is None, self.dtls.error
            datagram = self.receive(0.05)
            records = self.dtls.timeout() if datagram is None else []
            if datagram is not None and 20 <= datagram[0] < 64:
                records = self.dtls.handle(datagram)
            for record in edit(records):
                self.send(record)
        assert self.dtls.peer_fingerprint() == self.answer.fingerprint
        self.use_keys(self.dtls.srtp_keys())

    def use_keys(self, keys: SrtpKeys) -> None:
        """Starts SRTP both ways."""
        profile = {
            "SRTP_AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
            "SRTP_AES128_CM_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        }[keys.profile]
        self.keys = keys
        outbound = Policy(key=keys.local, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        outbound.allow_repeat_tx = True
        inbound = Policy(key=keys.remote, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        self.outbound, self.inbound = Session(policy=outbound), Session(policy=inbound)

    def seal(self, packet: Rtp) -> bytes:
        return bytes(self.outbound.protect(packet.encode()))

    def seal_rtcp(self, compound: bytes) -> bytes:
        return bytes(self.outbound.protect_rtcp(compound))

    def send_report(self, ntp: int) -> None:
        """A sender report of the video: this clock shows `ntp` (UQ32.32 seconds since 1900) now. RFC 3550 §6.4.1."""
        words = (0x80, SENDER_REPORT, 6, self.offer.video_ssrc, ntp, 0, 0, 0)
        self.send(self.seal_rtcp(struct.pack("!BBHIQIII", *words)))

    def receive(self, timeout_s: float, on: socket.socket | None = None) -> bytes | None:
        """The next datagram, or None in time."""
        one = on or self.socket
        one.settimeout(timeout_s)
        try:
            return one.recv(2048)
        except (TimeoutError, ConnectionRefusedError):
            return None

    def receive_rtp(self, wanted: Callable[[Rtp], bool], what: str, on: socket.socket | None = None) -> Rtp:
        """The first media packet that is wanted; others, RTCP included, are skipped."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            datagram = self.receive(0.1, on)
            if datagram is None or not 128 <= datagram[0] < 192 or 192 <= datagram[1] < 224:
                continue
            packet = Rtp.decode(bytes(self.inbound.unprotect(datagram)))
            if wanted(packet):
                return packet
        raise AssertionError(f"no {what} in {PATIENCE_S} s")

    def _answered(self, one: socket.socket, transaction_id: bytes) -> bool:
        datagram = self.receive(0.2, one)
        if datagram is not None and not is_stun(datagram):
            self.received.append(datagram)
        return datagram is not None and is_success(datagram, transaction_id)


class Host(Peer):
    """Publishes VP8 and Opus; counts its own sequence numbers."""

    def __init__(self, edge: EdgeProcess, room: str, **offer: object) -> None:
        super().__init__(edge, "host", room, **offer)  # type: ignore[arg-type]
        self.sequence_number = 100
        self.timestamp = 0

    def frame(self, *, key: bool = False, payload: bytes = b"") -> Rtp:
        """The next one-packet video frame, not sent yet."""
        self.sequence_number = (self.sequence_number + 1) & 0xFFFF
        self.timestamp = (self.timestamp + 3000) & 0xFFFFFFFF
        body = (KEY_FRAME if key else INTER_FRAME) + payload
        return Rtp(VIDEO, self.sequence_number, self.timestamp, self.offer.video_ssrc, body)

    def send_frame(self, *, key: bool = False, payload: bytes = b"") -> Rtp:
        packet = self.frame(key=key, payload=payload)
        self.send(self.seal(packet))
        return packet


class Viewer(Peer):
    """Watches a room."""

    def __init__(self, edge: EdgeProcess, room: str, **offer: object) -> None:
        super().__init__(edge, "viewer", room, **offer)  # type: ignore[arg-type]

    def sees(self, payload: bytes) -> Rtp:
        """Waits for video whose payload ends so."""
        return self.receive_rtp(lambda packet: packet.payload.endswith(payload), f"packet ending in {payload!r}")
