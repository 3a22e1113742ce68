"""A host that is FFmpeg: PyAV's WHIP muxer, H.264 and Opus, with the time, a flash and a beep in it.

Run as a process of its own, so that its CPU is its own: `python -m bench.ffmpeg_host --url http://…/whip/room`.
It writes one JSON line when it begins to send, one for each flash that it has sent, and one when it ends. FFmpeg
ignores key-frame requests; its key frames come every `--key-frame-s` seconds.
"""

from __future__ import annotations

import argparse
import errno
import json
import sys
import time
from fractions import Fraction
from typing import Final

import av
import numpy as np
import numpy.typing as npt

_WIDTH: Final = 640
_HEIGHT: Final = 360
_BITS: Final = 20
_CELL: Final = _WIDTH // _BITS
_SAMPLE_RATE: Final = 48_000
_AUDIO_FRAME: Final = 960
_FLASH_S: Final = 0.1
_BEEP_HZ: Final = 1_000

Picture = npt.NDArray[np.uint8]


def draw_clock(picture: Picture, unix_ms: float) -> None:
    """Write 20 bits of `unix_ms` as white cells on black, and the inverse below (read by pages/probe.js)."""
    value = int(unix_ms) % (1 << _BITS)
    for bit in range(_BITS):
        lit = 255 if value >> bit & 1 else 0
        columns = slice(bit * _CELL, (bit + 1) * _CELL)
        picture[:_CELL, columns] = lit
        picture[_CELL : 2 * _CELL, columns] = 255 - lit


def _audio_block(first_sample: int, flash: bool) -> npt.NDArray[np.int16]:
    positions = np.arange(first_sample, first_sample + _AUDIO_FRAME)
    wave = np.sin(2 * np.pi * _BEEP_HZ * positions / _SAMPLE_RATE)
    if flash:
        wave = np.where(positions % _SAMPLE_RATE < _FLASH_S * _SAMPLE_RATE, wave * 0.5, 0.0)
        wave[positions < _SAMPLE_RATE] = 0.0
    else:
        wave *= 0.05
    return (wave * 32_000).astype(np.int16).reshape(1, -1)


def run(url: str, *, token: str, fps: int, seconds: float, key_frame_s: float, flash: bool) -> int:
    """Publish until `seconds` have passed; returns the number of frames sent. Raises av.FFmpegError."""
    options = {"authorization": token} if token else {}
    with av.open(url, "w", format="whip", options=options) as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        video.bit_rate = 900_000
        video.codec_context.time_base = Fraction(1, fps)
        gop = str(int(fps * key_frame_s))
        video.options = {
            "preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "bf": "0",
            "g": gop, "keyint_min": gop, "sc_threshold": "0",
        }  # fmt: skip
        audio = container.add_stream("libopus", rate=_SAMPLE_RATE)
        audio.layout = "stereo"
        audio.options = {"application": "lowdelay", "frame_duration": "20"}
        container.start_encoding()
        print(json.dumps({"event": "sending", "unix_ms": time.time() * 1000}), flush=True)
        started = time.monotonic()
        frames = audio_samples = 0
        while (elapsed := time.monotonic() - started) < seconds:
            due = frames / fps
            if elapsed < due:
                time.sleep(due - elapsed)
            picture = np.full((_HEIGHT, _WIDTH), 16, dtype=np.uint8)
            picture[90:140, (frames * 4) % (_WIDTH - 60) :][:, :60] = 160
            if flash and due >= 1 and due % 1 < _FLASH_S:
                picture[160:, :] = 255
            draw_clock(picture, time.time() * 1000)
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = frames, Fraction(1, fps)
            for packet in video.encode(frame):
                container.mux(packet)
            frames += 1
            if flash and due >= 1 and frames % fps == 1:
                print(json.dumps({"event": "flash", "unix_ms": time.time() * 1000}), flush=True)
            while audio_samples < frames / fps * _SAMPLE_RATE:
                mono = _audio_block(audio_samples, flash)
                block = av.AudioFrame.from_ndarray(np.repeat(mono.T, 2, axis=1).reshape(1, -1), "s16", "stereo")
                block.sample_rate, block.pts, block.time_base = _SAMPLE_RATE, audio_samples, Fraction(1, _SAMPLE_RATE)
                for packet in audio.encode(block):
                    container.mux(packet)
                audio_samples += _AUDIO_FRAME
    print(json.dumps({"event": "ended", "frames": frames}), flush=True)
    return frames


def main() -> None:
    """Command line of the host process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="WHIP endpoint")
    parser.add_argument("--token", default="", help="bearer token")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=3_600.0)
    parser.add_argument("--key-frame-s", type=float, default=2.0)
    parser.add_argument("--flash", action="store_true", help="one flash and beep a second")
    parser.add_argument("--until-superseded", action="store_true", help="another host will take the room: no failure")
    arguments = parser.parse_args()
    try:
        run(
            arguments.url,
            token=arguments.token,
            fps=arguments.fps,
            seconds=arguments.seconds,
            key_frame_s=arguments.key_frame_s,
            flash=arguments.flash,
        )
    except av.FFmpegError as error:
        # FFmpeg sees no more of a takeover than that nobody answers its connectivity checks any longer.
        if arguments.until_superseded and error.errno == errno.ETIMEDOUT:
            print(json.dumps({"event": "superseded"}), flush=True)
            return
        sys.exit(f"publishing to {arguments.url} failed: {error}")


if __name__ == "__main__":
    main()
