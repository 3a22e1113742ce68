"""aiortc as a host and as a viewer of a packet path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack

from tests.dataplane.harness import PacketPath


@asynccontextmanager
async def peer() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        yield connection
    finally:
        await connection.close()


async def publish(path: PacketPath, connection: RTCPeerConnection, room: str, incarnation: int) -> int:
    connection.addTrack(AudioStreamTrack())
    connection.addTrack(VideoStreamTrack())
    await connection.setLocalDescription(await connection.createOffer())
    answer = path.dataplane.publish(room, connection.localDescription.sdp.encode(), incarnation)
    await connection.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    return answer.session_id


async def view(path: PacketPath, connection: RTCPeerConnection, room: str) -> tuple[int, list[MediaStreamTrack]]:
    tracks: list[MediaStreamTrack] = []
    connection.on("track", tracks.append)
    connection.addTransceiver("audio", "recvonly")
    connection.addTransceiver("video", "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    answer = path.dataplane.view(room, connection.localDescription.sdp.encode())
    await connection.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    return answer.session_id, tracks
