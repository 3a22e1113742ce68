"""Glass to glass across an ocean: the host's Chromium writes the time into the picture, the viewer's reads it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.browser import wait_for_frames
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.scenarios.ocean import FRAMES_PER_SECOND, HostRate, Ocean, open_ocean

_ROOM: Final = "latency"
_SECONDS_FULL: Final = 300.0
_SECONDS_QUICK: Final = 20.0
_SECONDS_UNTIMED: Final = 4.0
#: The jitter buffers settle before anything is counted.
_SETTLE_S: Final = 10.0
_CHUNK_S: Final = 15.0
_HEIGHT: Final = 360
#: Of the 30 frames that were drawn each second.
_ENCODED_MIN_FPS: Final = 28.0
#: The delay of a frame whose clock is smeared is known from its RTP timestamp alone. With more of them the figure is no
#: longer read from the picture.
_UNREADABLE_MAX_RATIO: Final = 0.02
#: A busy machine's page is not called for each frame that the browser shows; what it is not called for is not read.
_LOOKED_AT_MIN_RATIO: Final = 0.8
#: RFC 6184 §8.2.1: H.264 over RTP counts 90,000 a second.
_RTP_PER_MS: Final = 90
#: webrtc-stats, totalFreezesDuration: a freeze is an interval longer than the usual one and 150 ms. It is counted when
#: its end comes; one that lasts when the measurement ends is not in it.
_FREEZE_FROM_S: Final = 0.15 + 1 / FRAMES_PER_SECOND


async def run(options: RunOptions) -> Outcome:
    """Host on sg, viewer on fra; every presented frame is read."""
    async with open_ocean(options) as ocean:
        return await measure(ocean, options)


async def measure(ocean: Ocean, options: RunOptions) -> Outcome:
    """The same in a fleet that runs already."""
    host, viewer = ocean.host, ocean.viewer
    browsers = {"chromium_host": host, "chromium_viewer": viewer}
    await host.call("startHost", ocean.publish(_ROOM))
    await viewer.call("startViewer", ocean.watch(_ROOM))
    await wait_for_frames(viewer, 30, timeout_s=30)
    options.progress("the picture moves; settling")
    await asyncio.sleep(options.pick(_SETTLE_S, _SETTLE_S, 0.5))
    rate = HostRate(host)
    await rate.begin()
    before = await viewer.call("viewerReport")
    cpu = {name: browser.cpu_s for name, browser in browsers.items()}
    seconds = options.pick(_SECONDS_FULL, _SECONDS_QUICK, _SECONDS_UNTIMED)
    passed = 0.0
    while passed < seconds:
        await asyncio.sleep(min(_CHUNK_S, seconds - passed))
        passed = min(passed + _CHUNK_S, seconds)
        options.progress(f"{passed:.0f} of {seconds:.0f} s")
    after = await viewer.call("viewerReport", {"since": len(before["samples"])})
    elapsed = (after["video"]["timestamp"] - before["video"]["timestamp"]) / 1000
    used = {name: browser.cpu_s - cpu[name] for name, browser in browsers.items()}
    generator = {f"{name}_cpu_s": seconds for name, seconds in used.items()}
    generator |= {f"{name}_cores": seconds / elapsed for name, seconds in used.items()}
    outcome = judge(
        before=before,
        after=after,
        elapsed_s=elapsed,
        rate=await rate.end(),
        generator=generator,
        host=await host.call("hostReport"),
        world=await ocean.evidence(),
    )
    await viewer.call("stopViewer")
    await host.call("stopHost")
    return outcome


def judge(
    *,
    before: dict[str, Any],
    after: dict[str, Any],
    elapsed_s: float,
    rate: dict[str, Any],
    generator: dict[str, float],
    host: dict[str, Any],
    world: dict[str, object],
) -> Outcome:
    """Delay percentiles from the picture, freezes and frames from the difference of two W3C statistics."""
    frames = frame_delays(after["samples"])
    delays = [delay for delay in frames.delays_ms if delay is not None]
    # Whoever could tell nothing of a frame has waited for it for longer than for any other.
    counted = [math.inf if delay is None else delay for delay in frames.delays_ms]
    first, last = before["video"], after["video"]
    emitted = last["jitterBufferEmittedCount"] - first["jitterBufferEmittedCount"]
    buffered_s = last["jitterBufferDelay"] - first["jitterBufferDelay"]
    silence_s = (after["reportedAt"] - (after["samples"][-1][0] if after["samples"] else before["reportedAt"])) / 1000
    frozen_at_end_s = silence_s if silence_s > _FREEZE_FROM_S else 0.0
    frozen_s = last["totalFreezesDuration"] - first["totalFreezesDuration"] + frozen_at_end_s
    presented = after["presented"] - before["presented"]
    no_proof = []
    if len(after["samples"]) < _LOOKED_AT_MIN_RATIO * presented:
        no_proof.append(f"the viewer's page looked at {len(after['samples'])} of {presented} presented frames")
    if frames.unreadable > _UNREADABLE_MAX_RATIO * len(after["samples"]):
        no_proof.append(f"{frames.unreadable} of {len(after['samples'])} presented frames could not be read")
    if rate["achieved"] < _ENCODED_MIN_FPS:
        no_proof.append(f"the host's Chromium encoded {rate['achieved']:.1f} frames/s: the machine is the limit")
    if host["video"]["frameHeight"] != _HEIGHT:
        no_proof.append(f"the picture had {host['video']['frameHeight']} lines, not {_HEIGHT}")
    return Outcome(
        results={
            "glass_to_glass_p95_ms": _finite(percentile(counted, 0.95)),
            "freeze_ratio": frozen_s / elapsed_s,
            "decoded_fps": (last["framesDecoded"] - first["framesDecoded"]) / elapsed_s,
        },
        evidence={
            "samples": len(delays),
            "attempts": len(after["samples"]),
            "rate": rate,
            "seconds": elapsed_s,
            "glass_to_glass_p50_ms": _finite(percentile(counted, 0.5)),
            "unreadable_frames": frames.unreadable,
            "clock_against_timestamp_p95_ms": percentile(frames.apart_ms, 0.95),
            "frozen_at_end_s": frozen_at_end_s,
            "presented_frames": presented,
            "jitter_buffer_ms": buffered_s / emitted * 1000 if emitted else None,
            "packets_lost_at_viewer": last["packetsLost"] - first["packetsLost"],
            "viewer": last,
            "transport": after.get("transport"),
            "host": host,
            "generator": generator,
            "raw_samples": {
                "delay_ms": [None if delay is None else round(delay, 1) for delay in frames.delays_ms],
                "unreadable_at_ms": [sample[0] for sample in after["samples"] if sample[1] is None],
            },
            **world,
        },
        no_proof=no_proof,
    )


@dataclass(frozen=True, slots=True)
class FrameDelays:
    """Of each presented frame; None where neither its picture nor its timestamp says anything."""

    delays_ms: list[float | None]
    unreadable: int
    """Frames whose picture could not be read."""
    apart_ms: list[float]
    """How far each picture's clock stood from its RTP timestamp: whether it was that frame which was read."""


def frame_delays(samples: Sequence[Sequence[Any]]) -> FrameDelays:
    """`samples` are [unix ms of presentation, delay read from the picture in ms or None, RTP timestamp or None].

    Hosts stamp a frame when they draw its clock, so that the timestamp of one that cannot be read tells when it was
    drawn, by those that can. A frame that the way has damaged is as late as it is.
    """
    first = next((rtp for _, _, rtp in samples if rtp is not None), 0)
    # The same moment on the timestamps' clock, whose numbers have 32 bits.
    stamps = [None if rtp is None else ((rtp - first + 2**31) % 2**32 - 2**31) / _RTP_PER_MS for _, _, rtp in samples]
    read = [
        (shown - delay, stamp)
        for (shown, delay, _), stamp in zip(samples, stamps, strict=True)
        if delay is not None and stamp is not None
    ]
    offset = median(drawn - stamp for drawn, stamp in read) if read else None
    delays: list[float | None] = []
    for (shown, delay, _), stamp in zip(samples, stamps, strict=True):
        if delay is None and stamp is not None and offset is not None:
            delays.append(shown - offset - stamp)
        else:
            delays.append(delay)
    return FrameDelays(
        delays_ms=delays,
        unreadable=sum(delay is None for _, delay, _ in samples),
        apart_ms=[abs(drawn - stamp - offset) for drawn, stamp in read] if offset is not None else [],
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


SCENARIO = Scenario(
    name="latency",
    claim="glass to glass over 160 ms RTT with 1 % loss in bursts of 3, read from the picture in Chromium",
    bars=(
        BarSpec("glass_to_glass_p95_ms", "<=", 450),
        BarSpec("freeze_ratio", "<=", 0.01),
        BarSpec("decoded_fps", ">=", 27),
    ),
    run=run,
    features=("trunk_nack",),
)
