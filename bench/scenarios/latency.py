"""Glass to glass across an ocean: the host's Chromium writes the time into the picture, the viewer's reads it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from bench.browser import wait_for_frames
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.scenarios.ocean import HostRate, Ocean, open_ocean

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
#: Frames whose clock could not be read say nothing about delay; this many may be torn or smeared.
_READABLE_MIN_RATIO: Final = 0.8


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
    delays = [sample[1] for sample in after["samples"] if sample[1] is not None]
    first, last = before["video"], after["video"]
    emitted = last["jitterBufferEmittedCount"] - first["jitterBufferEmittedCount"]
    buffered_s = last["jitterBufferDelay"] - first["jitterBufferDelay"]
    no_proof = []
    if len(delays) < _READABLE_MIN_RATIO * len(after["samples"]):
        no_proof.append(f"only {len(delays)} of {len(after['samples'])} presented frames could be read")
    if rate["achieved"] < _ENCODED_MIN_FPS:
        no_proof.append(f"the host's Chromium encoded {rate['achieved']:.1f} frames/s: the machine is the limit")
    if host["video"]["frameHeight"] != _HEIGHT:
        no_proof.append(f"the picture had {host['video']['frameHeight']} lines, not {_HEIGHT}")
    return Outcome(
        results={
            "glass_to_glass_p95_ms": percentile(delays, 0.95),
            "freeze_ratio": (last["totalFreezesDuration"] - first["totalFreezesDuration"]) / elapsed_s,
            "decoded_fps": (last["framesDecoded"] - first["framesDecoded"]) / elapsed_s,
        },
        evidence={
            "samples": len(delays),
            "attempts": len(after["samples"]),
            "rate": rate,
            "seconds": elapsed_s,
            "glass_to_glass_p50_ms": percentile(delays, 0.5),
            "jitter_buffer_ms": buffered_s / emitted * 1000 if emitted else None,
            "packets_lost_at_viewer": last["packetsLost"] - first["packetsLost"],
            "viewer": last,
            "transport": after.get("transport"),
            "host": host,
            "generator": generator,
            "raw_samples": {"delay_ms": [round(delay, 1) for delay in delays]},
            **world,
        },
        no_proof=no_proof,
    )


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
