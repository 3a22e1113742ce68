"""Datagrams on a running edge's trunk port that QUIC can make nothing of, beside a neighbour that goes on."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from tests.edge_process import EdgeProcess, edge_process
from tests.trunk.certificates import Credentials
from tests.trunk.peer import TrunkPeer, dial
from tests.trunk.wire import ALPN
from tests.waiting import wait_for
from tradewind.operate.certificates import make_certificates

LONG_INITIAL = 0xC0
LONG_HANDSHAKE = 0xE0
CONNECTION_ID = slice(1, 9)


class Tap:
    """A neighbour's UDP transport that remembers what it has sent."""

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport
        self.sent: list[bytes] = []
        self.to: Any = None  # unlike a plain transport's, aioquic's names its end with every datagram

    def sendto(self, datagram: bytes, to: Any = None) -> None:
        self.sent.append(datagram)
        self.to = to
        self._transport.sendto(datagram, to)

    def again(self, datagram: bytes) -> None:
        self._transport.sendto(datagram, self.to)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def long_header(first: int, version: int, size: int) -> bytes:
    ids = bytes([8]) + os.urandom(8) + bytes([0])
    return (bytes([first]) + struct.pack("!I", version) + ids).ljust(size, b"\x55")


STRANGE = {
    "zeros": (bytes(40), "trunk_datagram_not_quic"),
    "rtp": (b"\x80\x60\x00\x01" + os.urandom(60), "trunk_datagram_not_quic"),
    "stun": (struct.pack("!HHI", 1, 0, 0x2112A442) + os.urandom(12), "trunk_datagram_not_quic"),
    "dtls": (b"\x16\xfe\xfd" + os.urandom(60), "trunk_datagram_not_quic"),
    "another_version": (long_header(LONG_INITIAL, 0x6B3343CF, 1_200), "trunk_datagram_not_quic"),
    "empty": (b"", "trunk_datagram_truncated"),
    "one_byte": (b"\x40", "trunk_datagram_truncated"),
    "cut_header": (long_header(LONG_INITIAL, 1, 0)[:9], "trunk_datagram_truncated"),
    "short_initial": (long_header(LONG_INITIAL, 1, 300), "trunk_datagram_initial_short"),
    "handshake_of_nobody": (long_header(LONG_HANDSHAKE, 1, 300), "trunk_datagram_unknown_connection"),
    "short_header_of_nobody": (b"\x40" + os.urandom(200), "trunk_datagram_unknown_connection"),
}


def is_sealed(datagram: bytes) -> bool:
    """A short header, and more behind it than an acknowledgement."""
    return datagram[0] & 0xC0 == 0x40 and len(datagram) > 44


def handshake_packet(connection_id: bytes) -> bytes:
    """For a connection whose handshake may be over."""
    head = bytes([LONG_HANDSHAKE]) + struct.pack("!I", 1)
    return (head + bytes([len(connection_id)]) + connection_id + bytes([0])).ljust(300, b"\x55")


@asynccontextmanager
async def neighbour(folder: Path) -> AsyncIterator[tuple[EdgeProcess, TrunkPeer, Tap]]:
    """An edge, and an aioquic neighbour whose trunk to it is up."""
    make_certificates(folder, ["sg", "leaf"])
    own = folder / "leaf" / "identity"
    credentials = Credentials(own / "cert.pem", own / "key.pem", own / "ca.pem")
    with edge_process(folder, "mesh.peer_addresses.leaf.trunk=127.0.0.1:9") as edge:
        # Peers of the settings are known from the loop's first turn on, and that is over when the edge answers.
        await asyncio.to_thread(edge.drops)
        async with dial(f"127.0.0.1:{edge.trunk[1]}", "sg", credentials) as leaf:
            await leaf.until("a heartbeat", lambda: leaf.heard.heartbeats)
            assert leaf._transport is not None
            tap = Tap(leaf._transport)
            leaf._transport = tap  # type: ignore[assignment]
            yield edge, leaf, tap


async def goes_on(leaf: TrunkPeer) -> None:
    """The edge still answers: its heartbeats echo ours."""
    seen = len(leaf.heard.heartbeats)
    await leaf.until("further heartbeats", lambda: len(leaf.heard.heartbeats) > seen + 2)


async def counted(edge: EdgeProcess, before: dict[str, int], reason: str, least: int = 1) -> None:
    assert reason in before, f"no counter {reason}; there are {sorted(before)}"

    def seen() -> bool:
        return edge.drops()[reason] >= before[reason] + least

    await asyncio.to_thread(wait_for, seen, f"{reason} is not counted")


async def test_what_is_not_for_a_trunk_is_counted_by_name_and_the_trunk_goes_on(tmp_path: Path) -> None:
    async with neighbour(tmp_path) as (edge, leaf, _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for datagram, reason in STRANGE.values():
                before = await asyncio.to_thread(edge.drops)
                stranger.sendto(datagram, edge.trunk)
                await counted(edge, before, reason)
        await goes_on(leaf)


async def test_forged_cut_and_replayed_packets_are_counted_by_name_and_the_trunk_goes_on(tmp_path: Path) -> None:
    async with neighbour(tmp_path) as (edge, leaf, tap):
        genuine = await leaf.until("a packet of ours", lambda: next(filter(is_sealed, reversed(tap.sent)), None))
        forged = genuine[:-1] + bytes([genuine[-1] ^ 1])
        other_connection = bytearray(genuine)
        other_connection[CONNECTION_ID] = os.urandom(8)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for datagram, reason in (
                (genuine, "trunk_packet_replayed"),
                (forged, "trunk_packet_authentication_failed"),
                (genuine[:40], "trunk_packet_authentication_failed"),
                (genuine[:20], "trunk_datagram_truncated"),
                (bytes(other_connection), "trunk_datagram_unknown_connection"),
                (handshake_packet(genuine[CONNECTION_ID]), "trunk_packet_handshake_over"),
            ):
                before = await asyncio.to_thread(edge.drops)
                tap.again(datagram)
                stranger.sendto(datagram, edge.trunk)
                await counted(edge, before, reason, least=2)
        await goes_on(leaf)
        assert leaf.terminated is None


async def test_packets_of_an_ended_connection_are_counted(tmp_path: Path) -> None:
    async with neighbour(tmp_path) as (edge, leaf, tap):
        late = await leaf.until("a packet of ours", lambda: next(filter(is_sealed, reversed(tap.sent)), None))
        before = await asyncio.to_thread(edge.drops)
        leaf.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as network:

            def seen() -> bool:
                # For three time-outs after its end, a connection still answers what comes (RFC 9000 §10.2).
                network.sendto(late, edge.trunk)
                reason = "trunk_datagram_connection_ended"
                return edge.drops()[reason] > before[reason]

            await asyncio.to_thread(wait_for, seen, "late packets are not counted")


async def test_a_first_packet_that_nobody_sealed_is_counted(tmp_path: Path) -> None:
    stranger = QuicConnection(configuration=QuicConfiguration(is_client=True, alpn_protocols=[ALPN]))
    stranger.connect(("127.0.0.1", 1), now=0.0)
    first, _ = stranger.datagrams_to_send(now=0.0)[0]
    async with neighbour(tmp_path) as (edge, leaf, _):
        before = await asyncio.to_thread(edge.drops)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            # In the middle of its ClientHello; what fills the datagram up stands behind the packet.
            sender.sendto(first[:100] + bytes([first[100] ^ 1]) + first[101:], edge.trunk)
        await counted(edge, before, "trunk_packet_authentication_failed")
        await counted(edge, before, "trunk_handshake_failed")
        await goes_on(leaf)
