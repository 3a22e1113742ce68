"""A picture and a sound through a real edge process: published and watched by aiortc over WHIP and WHEP."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import httpx
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import AudioFrame, VideoFrame

from tests.edge_process import EdgeProcess, edge_process

SDP = {"Content-Type": "application/sdp"}
TIMEOUT_S = 30.0


class Gradient(VideoStreamTrack):
    """A moving picture, so that frames differ."""

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        picture = np.zeros((240, 320, 3), np.uint8)
        picture[:, :, 0] = (np.arange(320) + pts // 3000) % 256
        picture[:, :, 1] = 200
        frame = VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(AudioStreamTrack):
    """440 Hz."""

    async def recv(self) -> AudioFrame:
        frame = await super().recv()
        assert isinstance(frame, AudioFrame)
        phase = (np.arange(frame.samples) + (frame.pts or 0)) * 2 * math.pi * 440 / frame.sample_rate
        tone = AudioFrame.from_ndarray((np.sin(phase) * 8000).astype(np.int16)[None, :], format="s16", layout="mono")
        tone.pts, tone.sample_rate, tone.time_base = frame.pts, frame.sample_rate, Fraction(1, frame.sample_rate)
        return tone


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    with edge_process(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


async def exchange(peer: RTCPeerConnection, http: httpx.AsyncClient, path: str) -> str:
    """Offer, answer; returns the session's address."""
    await peer.setLocalDescription(await peer.createOffer())
    response = await http.post(path, content=peer.localDescription.sdp, headers=SDP)
    assert response.status_code == 201, response.text
    await peer.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
    return str(response.headers["location"])


@asynccontextmanager
async def host(http: httpx.AsyncClient, room: str) -> AsyncIterator[str]:
    peer = RTCPeerConnection()
    peer.addTrack(Gradient())
    peer.addTrack(Tone())
    try:
        yield await exchange(peer, http, f"/whip/{room}")
    finally:
        await peer.close()


@asynccontextmanager
async def viewer(http: httpx.AsyncClient, room: str) -> AsyncIterator[tuple[dict[str, MediaStreamTrack], str]]:
    peer = RTCPeerConnection()
    tracks: dict[str, MediaStreamTrack] = {}
    peer.on("track", lambda track: tracks.__setitem__(track.kind, track))
    for kind in ("audio", "video"):
        peer.addTransceiver(kind, direction="recvonly")
    try:
        location = await exchange(peer, http, f"/whep/{room}")
        yield tracks, location
    finally:
        await peer.close()


async def frames(track: MediaStreamTrack, count: int) -> list[Any]:
    async with asyncio.timeout(TIMEOUT_S):
        return [await track.recv() for _ in range(count)]


async def metric(http: httpx.AsyncClient, edge: EdgeProcess, line: str) -> float:
    text = (await http.get(f"{edge.metrics}/metrics")).text
    return sum(float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line))


async def test_picture_and_sound_arrive_and_sessions_end(edge: EdgeProcess) -> None:
    async with httpx.AsyncClient(base_url=edge.http, timeout=10) as http:
        async with host(http, "demo") as published, viewer(http, "demo") as (tracks, watched):
            pictures, sounds = await asyncio.gather(frames(tracks["video"], 20), frames(tracks["audio"], 50))
            assert (pictures[-1].width, pictures[-1].height) == (320, 240)
            green = pictures[-1].to_ndarray(format="bgr24")[:, :, 1].mean()
            assert 180 < green < 220, "it is the picture that was published"
            times = [picture.pts for picture in pictures]
            assert times == sorted(set(times))
            loudness = np.abs(np.concatenate([sound.to_ndarray().ravel() for sound in sounds[-20:]])).max()
            assert loudness > 2000, "it is the tone that was published"
            assert (await http.get("/v1/rooms/demo/join")).json()["live"] is True
            assert (await http.delete(watched)).status_code == 200
            assert (await http.delete(published)).status_code == 200
            assert (await http.delete(published)).status_code == 404
        assert await metric(http, edge, 'tradewind_sessions_connected_total{role="viewer"}') >= 1
        assert await metric(http, edge, 'tradewind_session_first_media_seconds_count{role="viewer"}') >= 1


async def test_viewer_who_comes_first_waits_for_the_host(edge: EdgeProcess) -> None:
    async with (
        httpx.AsyncClient(base_url=edge.http, timeout=10) as http,
        viewer(http, "early") as (tracks, _),
        host(http, "early"),
    ):
        assert len(await frames(tracks["video"], 10)) == 10


async def test_host_who_publishes_again_takes_over_without_a_new_offer(edge: EdgeProcess) -> None:
    async with (
        httpx.AsyncClient(base_url=edge.http, timeout=10) as http,
        viewer(http, "again") as (tracks, _),
        host(http, "again"),
    ):
        before = await frames(tracks["video"], 10)
        async with host(http, "again"):
            after = await frames(tracks["video"], 60)
            times = [frame.pts for frame in before + after]
            assert times == sorted(set(times)), "the timeline goes forward"
