"""STUN messages of a test peer, right or wrong on purpose (RFC 8489, RFC 8445)."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass, field
from typing import Final

COOKIE: Final = 0x2112A442
REQUEST: Final = 0x0001
INDICATION: Final = 0x0011
SUCCESS: Final = 0x0101
USERNAME: Final = 0x0006
MESSAGE_INTEGRITY: Final = 0x0008
XOR_MAPPED_ADDRESS: Final = 0x0020
PRIORITY: Final = 0x0024
USE_CANDIDATE: Final = 0x0025
FINGERPRINT: Final = 0x8028
ICE_CONTROLLING: Final = 0x802A


@dataclass(frozen=True, slots=True)
class Check:
    """A connectivity check; every field can be spoiled."""

    username: str | None
    password: str | None
    message_type: int = REQUEST
    use_candidate: bool = True
    controlling: bool = True
    fingerprint: bool = True
    transaction_id: bytes = field(default_factory=lambda: os.urandom(12))

    def encode(self) -> bytes:
        attributes = b""
        if self.username is not None:
            attributes += _attribute(USERNAME, self.username.encode())
        attributes += _attribute(PRIORITY, struct.pack("!I", 0x6E0001FF))
        if self.controlling:
            attributes += _attribute(ICE_CONTROLLING, bytes(8))
        if self.use_candidate:
            attributes += _attribute(USE_CANDIDATE, b"")
        if self.password is not None:
            covered = self._header(len(attributes) + 24) + attributes
            tag = hmac.new(self.password.encode(), covered, hashlib.sha1).digest()
            attributes += _attribute(MESSAGE_INTEGRITY, tag)
        if self.fingerprint:
            covered = self._header(len(attributes) + 8) + attributes
            attributes += _attribute(FINGERPRINT, struct.pack("!I", binascii.crc32(covered) ^ 0x5354554E))
        return self._header(len(attributes)) + attributes

    def _header(self, length: int) -> bytes:
        return struct.pack("!HHI", self.message_type, length, COOKIE) + self.transaction_id


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def is_stun(datagram: bytes) -> bool:
    """Told from DTLS and media by the first byte (RFC 7983)."""
    return len(datagram) >= 20 and datagram[0] < 4


def is_success(datagram: bytes, transaction_id: bytes) -> bool:
    """A success response to one request."""
    return is_stun(datagram) and datagram[:2] == struct.pack("!H", SUCCESS) and datagram[8:20] == transaction_id
