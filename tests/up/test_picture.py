"""The test picture moves and tells the time; the tracks keep their clock and their key frames."""

from __future__ import annotations

import itertools
import time

import av
import numpy as np

from tradewind.up.encoding import KEY_FRAME_INTERVAL_S, TestAudio, TestVideo
from tradewind.up.picture import FRAMES_PER_SECOND, HEIGHT, WIDTH, TestPicture, TestTone


def test_every_frame_differs_from_the_one_before() -> None:
    picture = TestPicture("test")
    frames = [picture.planes(index, 0)[0] for index in range(5)]
    for before, after in itertools.pairwise(frames):
        assert np.mean(before != after) > 0.2


def test_the_clock_in_the_picture_changes_with_the_time_alone() -> None:
    picture = TestPicture("test")
    same, later = picture.planes(0, 0)[0], picture.planes(0, 1)[0]
    assert (same == picture.planes(0, 0)[0]).all()
    assert (same != later).any()


def test_the_tone_has_no_jump_between_frames() -> None:
    tone = TestTone()
    samples = np.concatenate([tone.frame(index).to_ndarray().reshape(-1, 2)[:, 0] for index in range(4)]).astype(int)
    steps = np.abs(np.diff(samples))
    assert steps.max() <= 0.2 * 32767 * 2 * np.pi * 440 / 48000 + 2
    assert samples.max() > 0.19 * 32767


async def test_video_has_a_key_frame_every_two_seconds_and_on_request() -> None:
    # Started long ago enough that no frame is waited for, and not so long that frames are skipped.
    track = TestVideo("test", time.monotonic(), lambda: 0)
    packets = [packet for index in range(130) for packet in track._encode(index)]
    keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    interval = KEY_FRAME_INTERVAL_S * FRAMES_PER_SECOND
    assert keys == [0, interval, 2 * interval]
    track.request_key_frame()
    (wanted,) = track._encode(130)
    assert wanted.is_keyframe
    decoder = av.CodecContext.create("h264", "r")
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    assert (decoded[0].width, decoded[0].height) == (WIDTH, HEIGHT)
    assert len(decoded) >= 128


async def test_skipped_frames_do_not_put_off_the_next_key_frame() -> None:
    track = TestVideo("test", time.monotonic(), lambda: 0)
    interval = KEY_FRAME_INTERVAL_S * FRAMES_PER_SECOND
    # Every third frame is lost to a busy machine.
    indexes = [index for index in range(3 * interval + 1) if index % 3 != 2]
    keys = [index for index in indexes for packet in track._encode(index) if packet.is_keyframe]
    assert keys == [0, interval, 2 * interval, 3 * interval]


async def test_a_late_machine_skips_frames_instead_of_sending_a_burst() -> None:
    track = TestVideo("test", time.monotonic() - 10, lambda: 0)
    packet = await track.recv()
    assert packet.pts is not None
    assert packet.pts >= 9.8 * FRAMES_PER_SECOND


async def test_audio_is_twenty_milliseconds_a_packet() -> None:
    track = TestAudio(time.monotonic())
    packets = [packet for index in range(10) for packet in track._encode(index)]
    stamps = [packet.pts for packet in packets]
    assert len(stamps) >= 8
    assert {b - a for a, b in itertools.pairwise(stamps) if a is not None and b is not None} == {960}
