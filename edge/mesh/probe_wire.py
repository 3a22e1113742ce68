"""What a probe looks like inside a QUIC DATAGRAM.

Both ends of a pair share a key from control. Each datagram is numbered per direction and authenticated, receiver
included, so that nothing of one pair or direction can be replayed into another; anything else gets no reply and is
counted under the reason given here.

    version 1 | kind 1 | instance 8 | number 8 | clock_us 8 | echoed_number 8 | nonce 8 | sender 1+n | mac 16

`instance` names the sender's process, `clock_us` is its wall clock when it sent. An echo names the probe it answers and
repeats its nonce, which nobody can know who has not received the probe: an answer sent ahead of its question is
noticed. There is no field for the time an echo was held, because whoever answers would gain by overstating it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import Enum

VERSION = 2
_FIXED = struct.Struct("!BBQQqQQ")
# HMAC-SHA256 cut to 128 bit (RFC 2104 section 5).
MAC_BYTES = 16
SENDER_MAX_BYTES = 64
DATAGRAM_MAX_BYTES = _FIXED.size + 1 + SENDER_MAX_BYTES + MAC_BYTES


class Kind(Enum):
    """A question or its answer."""

    PROBE = 1
    ECHO = 2


class ProbeDrop(Enum):
    """Why a datagram got no reply. The first three are of the UDP port, the others of what QUIC carries."""

    NOT_QUIC = "not_quic"
    UNKNOWN_CONNECTION = "unknown_connection"
    CONNECTIONS_FULL = "connections_full"
    MALFORMED = "malformed"
    UNKNOWN_PEER = "unknown_peer"
    BAD_MAC = "bad_mac"
    REPLAYED = "replayed"
    UNSOLICITED = "unsolicited"
    WRONG_NONCE = "wrong_nonce"


@dataclass(frozen=True, slots=True)
class Probe:
    """One datagram, decoded. Clocks are microseconds of the sender's wall clock."""

    kind: Kind
    instance: int
    number: int
    clock_us: int
    echoed_number: int
    nonce: int
    sender: str


def encode(probe: Probe, receiver: str, key: bytes) -> bytes:
    """The datagram with its MAC."""
    sender = probe.sender.encode()
    body = _FIXED.pack(
        VERSION, probe.kind.value, probe.instance, probe.number, probe.clock_us, probe.echoed_number, probe.nonce
    )
    body += bytes((len(sender),)) + sender
    return body + _mac(body, receiver, key)


def read_sender(datagram: bytes) -> str | ProbeDrop:
    """Who claims to have sent it: needed to find the key, believed only after `decode`."""
    if not _FIXED.size + 1 + MAC_BYTES < len(datagram) <= DATAGRAM_MAX_BYTES or datagram[0] != VERSION:
        return ProbeDrop.MALFORMED
    length = datagram[_FIXED.size]
    if len(datagram) != _FIXED.size + 1 + length + MAC_BYTES or datagram[1] not in (1, 2):
        return ProbeDrop.MALFORMED
    try:
        return datagram[_FIXED.size + 1 : -MAC_BYTES].decode("ascii")
    except UnicodeDecodeError:
        return ProbeDrop.MALFORMED


def decode(datagram: bytes, receiver: str, key: bytes) -> Probe | ProbeDrop:
    """An authentic probe, or why it is none."""
    sender = read_sender(datagram)
    if isinstance(sender, ProbeDrop):
        return sender
    body, mac = datagram[:-MAC_BYTES], datagram[-MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(body, receiver, key)):
        return ProbeDrop.BAD_MAC
    _, kind, instance, number, clock_us, echoed_number, nonce = _FIXED.unpack_from(datagram)
    return Probe(Kind(kind), instance, number, clock_us, echoed_number, nonce, sender)


def _mac(body: bytes, receiver: str, key: bytes) -> bytes:
    return hmac.digest(key, body + b"\0" + receiver.encode(), hashlib.sha256)[:MAC_BYTES]
