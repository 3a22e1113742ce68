"""Two packet paths with a trunk between them: what is published at one is watched at the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.dataplane import CommandRejected, PeerConfig, StreamRoute
from tests.dataplane.harness import PacketPath, identities, packet_path
from tests.dataplane.peers import peer, publish, view


def connect(a: tuple[str, PacketPath], b: tuple[str, PacketPath]) -> None:
    for (_, own), (name, other) in ((a, b), (b, a)):
        own.dataplane.set_peers([PeerConfig(edge_id=name, address=other.dataplane.trunk_address)])


def route(room: str, incarnation: int) -> StreamRoute:
    return StreamRoute(
        room=room, incarnation=incarnation, source_edge="sg", primary=["fra", "sg"], backup=[], reason="test"
    )


@pytest.mark.parametrize("shards", [1, 2])
async def test_a_viewer_at_the_far_edge_gets_sound_and_picture(tmp_path: Path, shards: int) -> None:
    known = identities(tmp_path, ["sg", "fra"])
    async with (
        packet_path(edge_id="sg", identity=known["sg"], shards=shards) as sg,
        packet_path(edge_id="fra", identity=known["fra"], shards=shards) as fra,
        peer() as host,
        peer() as early,
        peer() as late,
    ):
        connect(("sg", sg), ("fra", fra))
        await publish(sg, host, "r", 7)
        await sg.event("source_started")
        fra.dataplane.set_routes([route("r", 7)])
        _, early_tracks = await view(fra, early, "r")
        await fra.event("source_seen", lambda event: event.incarnation == 7)
        async with asyncio.timeout(60):
            for track in early_tracks:
                for _ in range(5):
                    await track.recv()
        _, late_tracks = await view(fra, late, "r")
        async with asyncio.timeout(60):
            for track in late_tracks:
                for _ in range(5):
                    await track.recv()
        snapshot = await fra.until(lambda now: any(s.viewers == 2 for s in now.streams), "two viewers")
        (stream,) = snapshot.streams
        assert (stream.path, stream.parent, stream.local) == (["sg", "fra"], "sg", False)
        assert snapshot.trunks[0].connected
        text = fra.dataplane.render_metrics()
        assert 'tradewind_dataplane_drops_total{reason="trunk_handshake_failed"} 0' in text


async def test_a_route_that_loops_is_refused_as_a_whole(tmp_path: Path) -> None:
    known = identities(tmp_path, ["sg"])
    async with packet_path(edge_id="sg", identity=known["sg"]) as sg:
        sg.dataplane.set_peers([PeerConfig(edge_id="fra", address="127.0.0.1:9")])
        looping = StreamRoute(
            room="r", incarnation=1, source_edge="fra", primary=["sg", "fra", "sg", "fra"], backup=[], reason="test"
        )
        with pytest.raises(CommandRejected):
            sg.dataplane.set_routes([looping])
