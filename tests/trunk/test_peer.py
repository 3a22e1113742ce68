"""A neighbour written from `docs/wire.md` with aioquic, on both ends of an edge that relays."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from edge.dataplane import CommandRejected, Dataplane, PeerConfig, StreamRoute
from tests.trunk.certificates import Authority
from tests.trunk.harness import INCARNATION, ROOM, VIDEO_SSRC, Events, Publication, dataplane, eventually, publishing
from tests.trunk.peer import TrunkPeer, dial, listen
from tests.trunk.wire import Rtp, Subscribe, flow_id, key_frame_request, nack, room_message, sender_clock, varint

SUBSCRIPTION = 7


@dataclass
class Line:
    """src (aioquic) > mid (the edge) > leaf (aioquic)."""

    source: Publication
    edge: Dataplane
    events: Events
    leaf: TrunkPeer

    @property
    def flow(self) -> int:
        return flow_id(SUBSCRIPTION, 0, 0)


@asynccontextmanager
async def line(folder: Path, *disabled: str) -> AsyncIterator[Line]:
    authority = Authority(folder)
    mid = authority.issue("mid")
    async with listen(authority.issue("src")) as src:
        with dataplane("mid", mid, *disabled) as edge:
            edge.set_peers(
                [PeerConfig(edge_id="src", address=src.address), PeerConfig(edge_id="leaf", address="127.0.0.1:9")]
            )
            async with dial(edge.trunk_address, "mid", authority.issue("leaf")) as leaf:
                events = Events(edge)
                await events.until("the leaf's trunk", lambda event: event.kind == "trunk_up" and event.peer == "leaf")
                leaf.say(Subscribe(SUBSCRIPTION, 1, ROOM, ["mid", "src"], ["leaf"]).encode())
                async with publishing(await src.connection(), "src") as source:
                    await leaf.until("the source", lambda: leaf.heard.sources)
                    yield Line(source, edge, events, leaf)


async def test_a_stream_passes_through_as_the_wire_page_says(tmp_path: Path) -> None:
    async with line(tmp_path) as path:
        asked = path.source.peer.heard.subscribes[0]
        assert (asked.room, asked.route, asked.via) == (ROOM, ["src"], ["leaf", "mid"])
        announced = path.leaf.heard.sources[0]
        assert (announced.incarnation, announced.origin, announced.generation) == (INCARNATION, "src", 0)
        assert announced.tracks[0].fmtp == "max-fs=3600"
        numbers = [path.source.send(key=index == 0) for index in range(50)]
        await path.leaf.until("50 packets", lambda: len(path.leaf.heard.packets) >= 50)
        got = path.leaf.heard.packets
        assert [packet.rtp.sequence_number for packet in got] == numbers
        assert {packet.flow for packet in got} == {path.flow}
        assert [packet.rtp.key_frame_start for packet in got] == [True] + [False] * 49
        assert [int.from_bytes(packet.rtp.payload[:8], "big") for packet in got] == list(range(50))
        # Each hop counts its own packets, heartbeats among them.
        trunk_numbers = [packet.rtp.trunk_number for packet in got]
        assert trunk_numbers == sorted(set(trunk_numbers))
        beat = await path.leaf.until(
            "a source heartbeat", lambda: next((b for b in path.leaf.heard.source_heartbeats if b.counter > 3), None)
        )
        assert beat.repair_ms >= 105, "the hop before it takes a round trip and 105 ms"
        assert (beat.subscription, beat.incarnation, beat.state, beat.path) == (
            SUBSCRIPTION,
            INCARNATION,
            0,
            ["src", "mid"],
        )
        stats = await eventually(
            "a round trip as short as loopback's, however long the first took",
            lambda: next((t for t in path.edge.snapshot().trunks if t.peer == "leaf" and 0 < t.rtt_ms < 100), None),
        )
        assert stats.connected


async def test_a_lost_packet_is_asked_for_and_comes_again(tmp_path: Path) -> None:
    async with line(tmp_path) as path:
        numbers = [path.source.send(key=index == 0) for index in range(20)]
        leaf = path.leaf
        await leaf.until("20 packets", lambda: len(leaf.heard.packets) >= 20)
        leaf.send_control(nack(path.flow, VIDEO_SSRC, numbers[5]))
        await leaf.until("the repetition", lambda: len(leaf.heard.packets) >= 21)
        again, first = leaf.heard.packets[20].rtp, leaf.heard.packets[5].rtp
        assert (again.sequence_number, again.payload) == (first.sequence_number, first.payload)
        assert again.trunk_number > leaf.heard.packets[19].rtp.trunk_number
        # The edge itself asks its parent for what is missing, and passes it on when it comes.
        path.source.sent += 2
        path.source.send()
        upstream = path.source.peer.heard
        await path.source.peer.until("a request", lambda: upstream.nacks)
        assert upstream.nacks[0] == (path.source.flow, VIDEO_SSRC, (65_020, 65_021))
        path.source.sent = 20
        late = [path.source.send(), path.source.send()]
        await leaf.until("the late packets", lambda: len(leaf.heard.packets) >= 24)
        assert [packet.rtp.sequence_number for packet in leaf.heard.packets[22:]] == late


async def test_clocks_extensions_and_key_frame_requests_pass_and_the_end_is_told(tmp_path: Path) -> None:
    async with line(tmp_path) as path:
        leaf, source = path.leaf, path.source
        source.send(key=True)
        known = {2: bytes(range(16)), 3: b"\x8a", 4: b"\x01"}
        rtp = Rtp(65_001, 0, VIDEO_SSRC, b"picture", source.peer.take_number(), others={**known, 9: b"xyz"})
        source.peer.send_rtp(source.flow, rtp)
        await leaf.until("both packets", lambda: len(leaf.heard.packets) >= 2)
        assert [packet.rtp.others for packet in leaf.heard.packets[:2]] == [{}, known]
        clock = 0x1234_5678_90AB_CDEF, 0xFFFF_FFF0
        source.peer.send_control(sender_clock(source.flow, *clock))
        await leaf.until("the clock", lambda: leaf.heard.sender_clocks)
        assert leaf.heard.sender_clocks[0] == (path.flow, *clock)
        leaf.send_control(key_frame_request(path.flow))
        await source.peer.until("a request", lambda: source.peer.heard.key_frame_requests)
        assert source.peer.heard.key_frame_requests[0] == source.flow
        source.end()
        await leaf.until("the source's end", lambda: leaf.heard.gone)
        assert leaf.heard.gone == [(SUBSCRIPTION, INCARNATION, "ended")]


async def test_a_large_packet_travels_on_a_stream(tmp_path: Path) -> None:
    async with line(tmp_path) as path:
        path.source.send(key=True)
        large = Rtp(65_001, 0, VIDEO_SSRC, bytes(4_000), path.source.peer.take_number()).encode()
        path.source.peer.say_raw(varint(path.source.flow) + varint(len(large)) + large)
        packet = await path.leaf.until(
            "the large packet", lambda: next((p for p in path.leaf.heard.packets if len(p.rtp.payload) == 4_000), None)
        )
        assert packet.on_stream
        assert packet.flow == path.flow
        assert "\ntradewind_dataplane_trunk_oversize_total 1\n" in path.edge.render_metrics(), "and it is counted"


async def test_room_messages_pass_both_ways(tmp_path: Path) -> None:
    async with line(tmp_path) as path:
        path.leaf.say(room_message(ROOM, b"hello"))
        event = await path.events.until("a message", lambda event: event.kind == "room_message")
        assert (event.room, event.peer, event.payload) == (ROOM, "leaf", b"hello")
        path.edge.send_room_message(ROOM, "leaf", b"welcome")
        await path.leaf.until("the answer", lambda: path.leaf.heard.room_messages)
        assert path.leaf.heard.room_messages == [(ROOM, b"welcome")]
        tree = await path.events.until("the tree", lambda event: event.kind == "tree_changed" and event.parent == "src")
        assert tree.children == ["leaf"]
        with pytest.raises(CommandRejected) as refused:
            path.edge.send_room_message(ROOM, "nobody", b"?")
        assert refused.value.args[0] == "trunk_down"


GARBAGE = {
    "trunk_datagram_malformed": b"",
    "trunk_message_malformed": varint(0) + b"\x01\x02\xff\xff",
    "trunk_message_unknown": varint(0) + b"\x3f\x02ab",
    "trunk_flow_unknown": varint(99 << 8) + Rtp(1, 1, 1, b"x").encode(),
    "trunk_subscription_unknown": varint(0) + nack(flow_id(55, 0, 0), 1, 1),
    "trunk_nack_unknown": varint(0) + nack(flow_id(SUBSCRIPTION, 0, 0), VIDEO_SSRC, 12_345),
}


async def test_garbage_is_counted_by_name_and_hurts_nothing(tmp_path: Path) -> None:
    async with line(tmp_path) as path:
        path.source.send(key=True)
        before = path.edge.snapshot().drops
        assert set(GARBAGE) <= set(before), "every label exists from the start"
        for datagram in GARBAGE.values():
            path.leaf.send(datagram)
        broken = Rtp(1, 1, VIDEO_SSRC, b"x").encode()
        path.source.peer.send(varint(path.source.flow) + b"\x80" + broken[1:])
        for size in (1, 7, 300, 1_100):
            path.leaf.send(os.urandom(size))
        path.leaf.say_raw(b"\x00\xff\xff\xff\xff")
        path.leaf.say_raw(varint(0) + varint(40) + b"too short")
        expected = [*GARBAGE, "trunk_rtp_malformed", "trunk_stream_malformed"]

        def missing() -> list[str]:
            drops = path.edge.snapshot().drops
            return [name for name in expected if drops[name] <= before[name]]

        await eventually(f"all of {expected}", lambda: not missing())
        seen = len(path.leaf.heard.packets)
        path.source.send()
        await path.leaf.until("the stream to go on", lambda: len(path.leaf.heard.packets) > seen)


async def test_udp_garbage_at_the_port_is_survived(tmp_path: Path) -> None:
    async with line(tmp_path) as path:
        host, port = path.edge.trunk_address.rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for size in (0, 1, 20, 21, 50, 1_200, 1_472):
                for first in (0x00, 0x40, 0x80, 0xC0, 0xFF):
                    stranger.sendto((bytes([first]) + os.urandom(size))[:size], (host, int(port)))
        path.source.send(key=True)
        await path.leaf.until("the stream to go on", lambda: path.leaf.heard.packets)


async def test_without_a_certificate_of_the_fleet_nobody_gets_in(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "fleet"), Authority(tmp_path / "other")
    with dataplane("mid", authority.issue("mid")) as edge:
        edge.set_peers([PeerConfig(edge_id="leaf", address="127.0.0.1:9")])
        leaf = authority.issue("leaf")
        foreign = other.issue("leaf")
        mixed = type(leaf)(foreign.certificate, foreign.key, leaf.authority)
        for credentials, anonymous in ((leaf, True), (mixed, False)):
            # To a TLS 1.3 client the handshake is complete before its certificate is judged (RFC 8446 §4.4.2.4).
            try:
                async with dial(edge.trunk_address, "mid", credentials, anonymous=anonymous) as peer:
                    await peer.until("the end", partial(getattr, peer, "terminated"))
                    assert not peer.heard.heartbeats
            except ConnectionError:
                pass
        await eventually("two refusals", lambda: edge.snapshot().drops["trunk_handshake_failed"] >= 2)
        # Of the fleet, but nobody this edge was told of.
        async with dial(edge.trunk_address, "mid", authority.issue("iad")) as peer:
            ended = await peer.until("the end", lambda: peer.terminated)
            assert (ended.error_code, ended.reason_phrase) == (3, "unknown_peer")
        await eventually("an unknown peer", lambda: edge.snapshot().drops["trunk_peer_unknown"])


async def test_who_has_no_way_to_the_source_refuses_and_says_why(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with dataplane("mid", authority.issue("mid")) as edge:
        edge.set_peers([PeerConfig(edge_id="leaf", address="127.0.0.1:9")])
        async with dial(edge.trunk_address, "mid", authority.issue("leaf")) as leaf:
            await Events(edge).until("the trunk", lambda event: event.kind == "trunk_up")
            leaf.say(Subscribe(1, 1, "empty", ["mid"], ["leaf"]).encode())
            await leaf.until("a refusal", lambda: len(leaf.heard.refused) == 1)
            leaf.say(Subscribe(2, 1, "loop", ["mid", "leaf", "src"], ["leaf"]).encode())
            await leaf.until("a refusal", lambda: len(leaf.heard.refused) == 2)
            leaf.say(Subscribe(3, 1, "elsewhere", ["fra", "src"], ["leaf"]).encode())
            await leaf.until("a refusal", lambda: len(leaf.heard.refused) == 3)
            assert leaf.heard.refused == ["no_source", "loop", "not_on_route"]


def test_a_route_that_loops_or_names_a_stranger_is_rejected_and_the_last_good_one_stays(tmp_path: Path) -> None:
    with dataplane("fra", Authority(tmp_path).issue("fra")) as edge:
        edge.set_peers([PeerConfig(edge_id=name, address="127.0.0.1:9") for name in ("sg", "iad")])

        def route(*path: str) -> StreamRoute:
            return StreamRoute(
                room=ROOM, incarnation=1, source_edge=path[-1], primary=list(path), backup=[], reason="test"
            )

        edge.set_routes([route("fra", "iad", "sg")])
        for bad, reason in (
            (route("fra", "iad", "fra", "sg"), "route_loop"),
            (route("fra", "mars", "sg"), "route_unknown_edge"),
            (route("iad", "sg"), "route_start"),
        ):
            with pytest.raises(CommandRejected) as rejected:
                edge.set_routes([bad])
            assert rejected.value.args[0] == reason


async def test_the_source_is_unsubscribed_when_the_leaf_is_gone(tmp_path: Path) -> None:
    async with line(tmp_path) as path:
        path.source.end()
        await path.events.until("the end of the source", lambda event: event.kind == "source_lost")
        path.leaf.say(b"\x07" + varint(len(body := varint(SUBSCRIPTION) + varint(2))) + body)
        await path.source.peer.until("an unsubscription", lambda: path.source.peer.heard.unsubscribed)
