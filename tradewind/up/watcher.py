"""A viewer that only wants to know whether frames arrive."""

from __future__ import annotations

import asyncio

from aiortc.mediastreams import MediaStreamError

from tradewind.up.whip import SignalledConnection


async def count_frames(url: str, *, wanted: int, timeout_s: float, token: str = "") -> int:
    """Watches a WHEP address until `wanted` frames are decoded; the number that came in time."""
    frames = 0
    async with SignalledConnection(url, token=token) as session:
        receiver = session.connection.addTransceiver("video", direction="recvonly").receiver
        session.connection.addTransceiver("audio", direction="recvonly")
        await session.open()
        try:
            async with asyncio.timeout(timeout_s):
                while frames < wanted:
                    await receiver.track.recv()
                    frames += 1
        except (TimeoutError, MediaStreamError):
            pass
    return frames
