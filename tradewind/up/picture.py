"""The test picture and tone: something that moves, a clock to read delays from, and a steady 440 Hz.

Everything that stays the same is drawn once. A frame is a view into a wider background (the pattern moves by moving the
view), a sliding bar and ten digits copied from ready-made glyphs: some hundred microseconds, so that the broadcast
leaves the machine to what it demonstrates.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Plane = NDArray[np.uint8]

WIDTH, HEIGHT = 640, 360
FRAMES_PER_SECOND = 30
SAMPLE_RATE = 48_000
TONE_HZ = 440.0
# A fifth of full scale: audible, and kind to whoever opens the page with headphones on.
TONE_AMPLITUDE = 0.2
AUDIO_FRAME_SAMPLES = 960
"""20 ms, Opus' usual frame."""

# The pattern repeats after this many pixels, so a view may start anywhere in one period.
_PERIOD = 320
_CLOCK_TOP, _CLOCK_LEFT = 228, 70
_GLYPHS = "0123456789:."


class TestPicture:
    """Draws frames as yuv420p; `frame(index, unix_ms)` depends on its arguments only."""

    __test__ = False  # pytest would take the name for a test

    def __init__(self, title: str) -> None:
        self._luma = _background(WIDTH + _PERIOD, HEIGHT)
        self._u, self._v = _chroma(WIDTH // 2 + _PERIOD // 2, HEIGHT // 2)
        self._glyphs = {character: _text(character, 72) for character in _GLYPHS}
        self._title = _text(title, 28)

    def planes(self, index: int, unix_ms: int) -> tuple[Plane, Plane, Plane]:
        """Y, U and V of one frame."""
        shift = (index * 2) % _PERIOD
        luma = self._luma[:, shift : shift + WIDTH].copy()
        half = shift // 2
        u = self._u[:, half : half + WIDTH // 2].copy()
        v = self._v[:, half : half + WIDTH // 2].copy()
        luma[20 : 20 + self._title.shape[0], 20 : 20 + self._title.shape[1]] = self._title
        self._draw_ball(luma, index)
        self._draw_clock(luma, u, v, unix_ms)
        return luma, u, v

    def frame(self, index: int, unix_ms: int) -> av.VideoFrame:
        """One frame without a timestamp."""
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane, content in zip(frame.planes, self.planes(index, unix_ms), strict=True):
            _fill(plane, content)
        return frame

    def _draw_ball(self, luma: Plane, index: int) -> None:
        # One pass over the width in two seconds; a freeze or a jump is plain to see.
        phase = index % (2 * FRAMES_PER_SECOND)
        left = int(phase / (2 * FRAMES_PER_SECOND) * (WIDTH - 40))
        luma[HEIGHT - 36 : HEIGHT - 12, :] = 24
        luma[HEIGHT - 36 : HEIGHT - 12, left : left + 40] = 230

    def _draw_clock(self, luma: Plane, u: Plane, v: Plane, unix_ms: int) -> None:
        seconds, milliseconds = divmod(unix_ms, 1000)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        text = f"{hours % 24:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
        left = _CLOCK_LEFT
        for character in text:
            glyph = self._glyphs[character]
            luma[_CLOCK_TOP : _CLOCK_TOP + glyph.shape[0], left : left + glyph.shape[1]] = glyph
            left += glyph.shape[1]
        bottom = _CLOCK_TOP + self._glyphs["0"].shape[0]
        for chroma in (u, v):
            chroma[_CLOCK_TOP // 2 : bottom // 2, _CLOCK_LEFT // 2 : left // 2] = 128


class TestTone:
    """A sine whose phase never jumps."""

    __test__ = False

    def __init__(self) -> None:
        # 440 Hz at 48 kHz repeats exactly after 1,200 samples (11 periods).
        period = np.sin(2 * np.pi * TONE_HZ * np.arange(1200) / SAMPLE_RATE) * TONE_AMPLITUDE * 32767
        self._wave = np.tile(period.astype(np.int16), 3)

    def frame(self, index: int) -> av.AudioFrame:
        """20 ms of stereo, interleaved 16 bit, without a timestamp."""
        start = (index * AUDIO_FRAME_SAMPLES) % 1200
        mono = self._wave[start : start + AUDIO_FRAME_SAMPLES]
        frame = av.AudioFrame(format="s16", layout="stereo", samples=AUDIO_FRAME_SAMPLES)
        frame.planes[0].update(np.repeat(mono, 2).tobytes())
        frame.sample_rate = SAMPLE_RATE
        return frame


def _background(width: int, height: int) -> Plane:
    x = np.arange(width)[None, :]
    y = np.arange(height)[:, None]
    waves = np.sin(2 * np.pi * x / _PERIOD) * np.cos(2 * np.pi * y / height)
    tiles = ((x // 40 + y // 40) % 2) * 24
    return np.asarray(np.clip(110 + 50 * waves + tiles, 16, 235), dtype=np.uint8)


def _chroma(width: int, height: int) -> tuple[Plane, Plane]:
    x = np.arange(width)[None, :]
    y = np.arange(height)[:, None]
    u = 128 + 44 * np.sin(4 * np.pi * x / _PERIOD + 0 * y)
    v = 128 + 44 * np.cos(4 * np.pi * x / _PERIOD + 2 * np.pi * y / height)
    return np.asarray(u, dtype=np.uint8), np.asarray(v, dtype=np.uint8)


def _text(text: str, size: int) -> Plane:
    """White on black, with even sides, because colour has half the resolution."""
    font = ImageFont.load_default(size)
    width = round(font.getlength(text))
    width += width % 2 + 4
    height = int(size * 1.2) // 2 * 2
    image = Image.new("L", (width, height), 16)
    ImageDraw.Draw(image).text((2, 0), text, fill=235, font=font)
    return np.asarray(image, dtype=np.uint8)


def _fill(plane: Any, content: Plane) -> None:
    height, width = content.shape
    if plane.line_size == width:
        plane.update(content.tobytes())
    else:
        padded = np.zeros((height, plane.line_size), dtype=np.uint8)
        padded[:, :width] = content
        plane.update(padded.tobytes())
