"""What a browser offers in its DTLS ClientHello, read from the wire on the way to an edge.

`tap` stands between a browser and an edge's media address and hands every datagram on; `offered_srtp_profiles` reads
the `use_srtp` extension (RFC 5764 §4.1.1) out of what the browser sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, cast

#: IANA "DTLS-SRTP Protection Profiles", by OpenSSL's names.
PROFILE_NAMES: Final = {
    0x0001: "SRTP_AES128_CM_SHA1_80",
    0x0002: "SRTP_AES128_CM_SHA1_32",
    0x0007: "SRTP_AEAD_AES_128_GCM",
    0x0008: "SRTP_AEAD_AES_256_GCM",
}
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_USE_SRTP: Final = 14
_RECORD_HEADER_BYTES: Final = 13
_HANDSHAKE_HEADER_BYTES: Final = 12


@dataclass(slots=True)
class Tap(asyncio.DatagramProtocol):
    """One browser's way to one address. `sent` are the DTLS datagrams that the browser sent, in order."""

    target: tuple[str, int]
    sent: list[bytes] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)
    _near: asyncio.DatagramTransport | None = None
    _far: asyncio.DatagramTransport | None = None
    _browser: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of a datagram endpoint, whatever class the event loop gives it.
        self._near = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._browser = addr
        # RFC 7983 §7: 20 to 63 is DTLS.
        if data and 20 <= data[0] < 64:
            self.sent.append(data)
        if self._far is not None:
            self._far.sendto(data)

    def answer(self, data: bytes) -> None:
        """Back to the browser."""
        if self._near is not None and self._browser is not None:
            self._near.sendto(data, self._browser)


class _Far(asyncio.DatagramProtocol):
    def __init__(self, tap: Tap) -> None:
        self._tap = tap

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._tap.answer(data)


@asynccontextmanager
async def tap(target: tuple[str, int]) -> AsyncIterator[Tap]:
    """A loopback address that stands for `target`."""
    loop = asyncio.get_running_loop()
    near, opened = await loop.create_datagram_endpoint(lambda: Tap(target), local_addr=("127.0.0.1", 0))
    far, _ = await loop.create_datagram_endpoint(lambda: _Far(opened), remote_addr=target)
    opened._far = far
    try:
        yield opened
    finally:
        near.close()
        far.close()


def offered_srtp_profiles(datagrams: Sequence[bytes]) -> list[str]:
    """Profiles in the order of the ClientHello; empty when the datagrams hold none that is whole."""
    hello = _client_hello(datagrams)
    # RFC 6347 §4.2.1: version, random, session id, cookie, cipher suites, compression methods, extensions.
    at = 2 + 32
    for length_bytes in (1, 1, 2, 1):
        at += length_bytes + int.from_bytes(hello[at : at + length_bytes])
    at += 2
    while at + 4 <= len(hello):
        kind, length = int.from_bytes(hello[at : at + 2]), int.from_bytes(hello[at + 2 : at + 4])
        body = hello[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == _USE_SRTP and len(body) >= 2:
            numbers = [int.from_bytes(body[i : i + 2]) for i in range(2, 2 + int.from_bytes(body[:2]), 2)]
            return [PROFILE_NAMES.get(number, f"{number:#06x}") for number in numbers]
    return []


def _client_hello(datagrams: Sequence[bytes]) -> bytes:
    """The first ClientHello's body, put together from its fragments (RFC 6347 §4.2.2)."""
    body, have = bytearray(), 0
    for fragment in (fragment for datagram in datagrams for fragment in _fragments(datagram)):
        if fragment[0] != _CLIENT_HELLO or int.from_bytes(fragment[4:6]) != 0:
            continue
        total, start, length = (int.from_bytes(fragment[i : i + 3]) for i in (1, 6, 9))
        body = body or bytearray(total)
        # Fragments come in order here, or again from the start.
        if start <= have:
            body[start : start + length] = fragment[_HANDSHAKE_HEADER_BYTES : _HANDSHAKE_HEADER_BYTES + length]
            have = max(have, start + length)
        if have >= len(body):
            return bytes(body)
    return b""


def _fragments(datagram: bytes) -> list[bytes]:
    found = []
    while len(datagram) > _RECORD_HEADER_BYTES + _HANDSHAKE_HEADER_BYTES:
        end = _RECORD_HEADER_BYTES + int.from_bytes(datagram[11:13])
        if datagram[0] == _HANDSHAKE:
            found.append(datagram[_RECORD_HEADER_BYTES:end])
        datagram = datagram[end:]
    return found
