"""Sound over an ocean waits for the picture, for players that were told to buffer the picture, and for them alone."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from av import AudioFrame

from bench.wan.relay import Relay
from bench.wan.settings import LinkSettings, WanSettings
from edge.dataplane import PeerConfig, StreamRoute
from tests.dataplane.harness import PacketPath, identities, packet_path
from tests.dataplane.peers import peer

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
LOUD = 3_000
# Two seconds: the machine may hold up one viewer's frames for some of it, not for half of it.
COMPARED = 100


class Bell(AudioStreamTrack):
    """Silence until `ring` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = asyncio.Event()

    async def recv(self) -> AudioFrame:
        frame = await super().recv()
        if self.ring.is_set():
            wave = 12_000 * np.sin(2 * np.pi * 1_000 * np.arange(frame.samples) / frame.sample_rate)
            frame.planes[0].update(wave.astype(np.int16).tobytes())
        return frame


async def view(path: PacketPath, connection: RTCPeerConnection, *, buffers_pictures: bool) -> MediaStreamTrack:
    """The sound as this viewer gets it."""
    sound: list[MediaStreamTrack] = []
    connection.on("track", lambda track: sound.append(track) if track.kind == "audio" else None)
    connection.addTransceiver("audio", "recvonly")
    connection.addTransceiver("video", "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    if buffers_pictures:
        offer = offer.rstrip() + f"\r\na=extmap:9 {PLAYOUT_DELAY}\r\n"  # the video section is the last one
    answer = path.dataplane.view("r", offer.encode())
    assert (PLAYOUT_DELAY in answer.sdp) == buffers_pictures
    await connection.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    return sound[0]


class Ear:
    """Plays a viewer's sound, and knows by the sound's own clock how long the bell has rung in it: a busy machine holds
    that up for both viewers alike."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self.track = track
        self.plays = asyncio.Event()
        self.rung_ms: float | None = None
        self._bell = 0

    async def frame(self) -> None:
        frame = await self.track.recv()
        assert isinstance(frame, AudioFrame)
        assert frame.pts is not None
        self.plays.set()
        if self.rung_ms is None:
            if np.abs(frame.to_ndarray()).max() <= LOUD:
                return
            self._bell = frame.pts
        self.rung_ms = 1_000 * ((frame.pts - self._bell) % 2**32) / frame.sample_rate

    async def listen(self) -> None:
        while True:
            await self.frame()


async def later_ms(one: Ear, other: Ear, bell: asyncio.Event) -> float:
    """By how much one viewer hears what the other has heard before: the median over many frames."""
    differences: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(other.listen())
        while len(differences) < COMPARED:
            await one.frame()
            if other.plays.is_set():
                bell.set()
            if one.rung_ms is not None and other.rung_ms is not None:
                differences.append(other.rung_ms - one.rung_ms)
        listening.cancel()
    return statistics.median(differences)


@pytest.mark.parametrize("disabled", [[], ["sound_hold"]], ids=["held", "switched off"])
async def test_sound_waits_for_a_picture_that_is_buffered(tmp_path: Path, disabled: list[str]) -> None:
    known = identities(tmp_path, ["sg", "fra"])
    settings = WanSettings(data_dir=tmp_path, seed=1, links=(LinkSettings(a="sg", b="fra", delay_ms=80),))
    relay = Relay(settings, asyncio.get_running_loop())
    bell = Bell()
    try:
        async with (
            packet_path(edge_id="sg", identity=known["sg"]) as sg,
            packet_path(edge_id="fra", identity=known["fra"], disabled_features=disabled) as fra,
            peer() as host,
            peer() as buffering,
            peer() as plain,
        ):
            for name, path, other in (("sg", sg, "fra"), ("fra", fra, "sg")):
                address, port = path.dataplane.trunk_address.rsplit(":", 1)
                relay.apply_target(name, "trunk", (address, int(port)))
                through, port_there = relay.sides[name, other, "trunk"].address[:2]
                path.dataplane.set_peers([PeerConfig(edge_id=other, address=f"{through}:{port_there}")])
            host.addTrack(bell)
            host.addTrack(VideoStreamTrack())
            await host.setLocalDescription(await host.createOffer())
            answer = sg.dataplane.publish("r", host.localDescription.sdp.encode(), 7)
            await host.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
            await sg.event("source_started")
            fra.dataplane.set_routes(
                [
                    StreamRoute(
                        room="r", incarnation=7, source_edge="sg", primary=["fra", "sg"], backup=[], reason="test"
                    )
                ]
            )
            waits = Ear(await view(fra, buffering, buffers_pictures=True))
            at_once = Ear(await view(fra, plain, buffers_pictures=False))
            async with asyncio.timeout(60):
                later = await later_ms(waits, at_once, bell.ring)
            # Held for the round trip of 160 ms, 105 ms of repair less 90 ms of the player's own.
            if disabled:
                assert abs(later) < 90, later
            else:
                assert 150 < later < 320, later
    finally:
        relay.close()
