"""aiortc as host and viewer over WHIP and WHEP."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import AudioFrame, VideoFrame

SDP = {"Content-Type": "application/sdp"}
TIMEOUT_S = 60.0


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
