"""The test broadcast's tracks: drawn, encoded and handed to aiortc as finished packets.

aiortc passes packets through untouched, so the encoder and its key-frame interval are ours. Both tracks keep to one
clock: a frame's timestamp is the time it was due, and a late frame is followed by the next one at its own time, never
by a burst.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from tradewind.up.picture import (
    AUDIO_FRAME_SAMPLES,
    FRAMES_PER_SECOND,
    HEIGHT,
    SAMPLE_RATE,
    WIDTH,
    TestPicture,
    TestTone,
)

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_FRAME_INTERVAL_S = 2
VIDEO_BIT_RATE = 800_000
AUDIO_BIT_RATE = 48_000
# A frame that would leave later than this is skipped: the machine was busy, and the next one is due.
LATE_MAX_S = 0.1


class _PacedTrack(MediaStreamTrack):
    """Gives one packet per interval of a clock that both tracks share."""

    def __init__(self, interval_s: float, started: float) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._started = started
        self._index = 0
        self._pending: deque[av.Packet[Any]] = deque()

    async def recv(self) -> av.Packet[Any]:
        while not self._pending:
            if self.readyState != "live":
                raise MediaStreamError
            index, self._index = self._index, self._index + 1
            wait_s = self._started + index * self._interval_s - time.monotonic()
            if wait_s < -LATE_MAX_S:
                continue
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._pending.extend(self._encode(index))
        return self._pending.popleft()

    @abstractmethod
    def _encode(self, index: int) -> list[av.Packet[Any]]:
        """The packets of one frame interval, by its number."""


class TestVideo(_PacedTrack):
    """H.264 constrained baseline, one key frame every two seconds and one when asked."""

    __test__ = False
    kind = "video"

    def __init__(self, title: str, started: float, unix_ms: Callable[[], int]) -> None:
        super().__init__(1 / FRAMES_PER_SECOND, started)
        self._picture = TestPicture(title)
        self._unix_ms = unix_ms
        self._key_frame_wanted = False
        self._key_frame_at = 0
        self.frames = 0
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context.time_base = Fraction(1, FRAMES_PER_SECOND)
        context.framerate = Fraction(FRAMES_PER_SECOND, 1)
        context.bit_rate = VIDEO_BIT_RATE
        context.gop_size = KEY_FRAME_INTERVAL_S * FRAMES_PER_SECOND
        context.thread_count = 1
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            # The buffer bounds a key frame to about half a second of the rate, so that it crosses a trunk without a
            # burst.
            "x264-params": "scenecut=0:repeat-headers=1:sliced-threads=0:vbv-maxrate=1000:vbv-bufsize=500",
        }
        self._context = context

    def request_key_frame(self) -> None:
        """The next frame is a key frame."""
        self._key_frame_wanted = True

    def _encode(self, index: int) -> list[av.Packet[Any]]:
        frame = self._picture.frame(index, self._unix_ms())
        frame.pts, frame.time_base = index, Fraction(1, FRAMES_PER_SECOND)
        # The encoder counts frames; where some were skipped, its two seconds would be longer.
        if self._key_frame_wanted or index - self._key_frame_at >= KEY_FRAME_INTERVAL_S * FRAMES_PER_SECOND:
            self._key_frame_wanted = False
            self._key_frame_at = index
            frame.pict_type = av.video.frame.PictureType.I
        self.frames += 1
        return list(self._context.encode(frame))


class TestAudio(_PacedTrack):
    """The tone as Opus, 20 ms a packet."""

    __test__ = False
    kind = "audio"

    def __init__(self, started: float) -> None:
        super().__init__(AUDIO_FRAME_SAMPLES / SAMPLE_RATE, started)
        self._tone = TestTone()
        context = av.CodecContext.create("libopus", "w")
        context.sample_rate = SAMPLE_RATE
        context.format = av.AudioFormat("s16")
        context.layout = av.AudioLayout("stereo")
        context.bit_rate = AUDIO_BIT_RATE
        context.options = {"application": "audio", "frame_duration": "20"}
        self._context = context

    def _encode(self, index: int) -> list[av.Packet[Any]]:
        frame = self._tone.frame(index)
        frame.pts, frame.time_base = index * AUDIO_FRAME_SAMPLES, Fraction(1, SAMPLE_RATE)
        return list(self._context.encode(frame))
