"""aiortc publishes and watches through the packet path: ICE, DTLS, SRTP and the way of a packet between them."""

from __future__ import annotations

import asyncio
import errno

import pytest

from edge.dataplane import Dataplane, DataplaneConfig, Event, OfferRejected
from tests.dataplane.harness import packet_path
from tests.dataplane.peers import peer, publish, view


@pytest.mark.parametrize("shards", [1, 3])
async def test_a_viewer_gets_the_hosts_sound_and_picture(shards: int) -> None:
    async with packet_path(shards=shards) as path, peer() as host, peer() as early, peer() as late:
        early_id, early_tracks = await view(path, early, "r")
        host_id = await publish(path, host, "r", 7)
        connected = await path.event("session_connected", lambda event: event.session_id == host_id)
        assert (connected.role, connected.room, connected.dtls_role) == ("host", "r", "server")
        assert connected.srtp_profile.startswith("SRTP_")
        started = await path.event("source_started")
        assert (started.room, started.incarnation, sorted(started.codecs)) == ("r", 7, ["VP8", "opus"])
        late_id, late_tracks = await view(path, late, "r")
        for session_id, tracks in ((early_id, early_tracks), (late_id, late_tracks)):

            def is_own(event: Event, own: int = session_id) -> bool:
                return event.session_id == own

            await path.event("session_first_media", is_own)
            async with asyncio.timeout(60):
                for track in tracks:
                    for _ in range(5):
                        await track.recv()
        snapshot = await path.until(lambda now: bool(now.streams) and now.streams[0].viewers == 2, "two viewers")
        assert (snapshot.hosts, snapshot.viewers) == (1, 2)
        assert snapshot.streams[0].local
        assert snapshot.streams[0].packets > 0


async def test_a_closed_session_is_gone_and_said_so() -> None:
    async with packet_path() as path, peer() as host:
        host_id = await publish(path, host, "r", 1)
        await path.event("source_started")
        assert path.dataplane.close_session(host_id, "deleted")
        assert not path.dataplane.close_session(host_id, "deleted")
        assert (await path.event("session_closed")).reason == "deleted"
        assert (await path.event("source_stopped")).incarnation == 1
        assert path.dataplane.snapshot().sessions == 0


async def test_a_host_that_says_goodbye_ends_its_source() -> None:
    async with packet_path() as path, peer() as host:
        await publish(path, host, "r", 1)
        await path.event("source_started")
        await host.close()
        assert (await path.event("source_stopped")).reason in {"peer_closed", "peer_goodbye"}


async def test_a_newer_publication_takes_over_and_the_older_is_closed() -> None:
    async with packet_path() as path, peer() as first, peer() as second, peer() as viewer:
        _, tracks = await view(path, viewer, "r")
        first_id = await publish(path, first, "r", 1)
        await path.event("source_started")
        async with asyncio.timeout(60):
            await asyncio.gather(*(track.recv() for track in tracks))
        await publish(path, second, "r", 2)
        closed = await path.event("session_closed", lambda event: event.session_id == first_id)
        assert closed.reason == "superseded"
        async with asyncio.timeout(60):
            for track in tracks:
                for _ in range(20):
                    await track.recv()


async def test_offers_beyond_the_limit_are_refused() -> None:
    async with packet_path(max_sessions=1) as path, peer() as host, peer() as viewer:
        await publish(path, host, "r", 1)
        with pytest.raises(OfferRejected) as refusal:
            await view(path, viewer, "r")
        assert refusal.value.args[:2] == (503, "full")


async def test_a_taken_port_names_itself() -> None:
    async with packet_path() as path:
        address = path.dataplane.media_addresses[0]
        with pytest.raises(OSError, match=address) as taken:
            Dataplane(
                DataplaneConfig(
                    edge_id="sg",
                    media_bind=[address],
                    announce=[],
                    shards=2,
                    pin_cores=[],
                    trunk_bind="127.0.0.1:0",
                    trunk_certificate_pem=b"",
                    trunk_key_pem=b"",
                    trunk_ca_pem=b"",
                    trunk_window_bytes=1,
                    disabled_features=[],
                    max_sessions=1,
                )
            )
        assert taken.value.errno == errno.EADDRINUSE


async def test_every_counter_exists_from_the_start() -> None:
    async with packet_path() as path:
        text = path.dataplane.render_metrics()
        for reason in path.dataplane.snapshot().drops:
            assert f'tradewind_dataplane_drops_total{{reason="{reason}"}} 0' in text
        assert "tradewind_dataplane_packets_sent_total 0" in text
        assert 'tradewind_dataplane_sessions{role="viewer"} 0' in text
