"""Glass to glass across an ocean: the host's Chromium writes the time into the picture, the viewer's reads it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from bench.browser import open_browser, wait_for_frames
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.world import OCEAN, WorldSpec, open_world

_SECONDS_FULL: Final = 300.0
_SECONDS_QUICK: Final = 20.0
#: The jitter buffers settle before anything is counted.
_SETTLE_S: Final = 10.0
_CHUNK_S: Final = 15.0


async def run(options: RunOptions) -> Outcome:
    """Host on sg, viewer on fra; every presented frame is read."""
    spec = WorldSpec(regions=("sg", "fra"), links={("sg", "fra"): OCEAN}, seed=options.seed, without=options.without)
    async with open_world(spec) as world, open_browser() as host, open_browser() as viewer:
        browsers = {"chromium_host": host, "chromium_viewer": viewer}
        await host.call("startHost", {"url": world.whip("sg", "bench")})
        await viewer.call("startViewer", {"url": world.whep("fra", "bench")})
        await wait_for_frames(viewer, 30, timeout_s=30)
        options.progress("the picture moves; settling")
        await asyncio.sleep(_SETTLE_S)
        before = await viewer.call("viewerReport")
        cpu = {name: browser.usage().cpu_seconds for name, browser in browsers.items()}
        seconds = _SECONDS_QUICK if options.quick else _SECONDS_FULL
        passed = 0.0
        while passed < seconds:
            await asyncio.sleep(min(_CHUNK_S, seconds - passed))
            passed = min(passed + _CHUNK_S, seconds)
            options.progress(f"{passed:.0f} of {seconds:.0f} s")
        after = await viewer.call("viewerReport", {"since": len(before["samples"])})
        elapsed = (after["video"]["timestamp"] - before["video"]["timestamp"]) / 1000
        used = {
            f"{name}_cores": (browser.usage().cpu_seconds - cpu[name]) / elapsed for name, browser in browsers.items()
        }
        return judge(
            before=before,
            after=after,
            elapsed_s=elapsed,
            generator=used,
            host=await host.call("hostReport"),
            world=await world.evidence(**{name: browser.pid for name, browser in browsers.items()}),
        )


def judge(
    *,
    before: dict[str, Any],
    after: dict[str, Any],
    elapsed_s: float,
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
    if len(delays) < 0.8 * len(after["samples"]):
        no_proof.append(f"only {len(delays)} of {len(after['samples'])} presented frames could be read")
    encoded_fps = (host.get("video") or {}).get("framesPerSecond") or 0
    if encoded_fps < 28:
        no_proof.append(f"the host's Chromium encoded {encoded_fps} frames/s: the machine is the limit")
    return Outcome(
        results={
            "glass_to_glass_p95_ms": percentile(delays, 0.95),
            "freeze_ratio": (last["totalFreezesDuration"] - first["totalFreezesDuration"]) / elapsed_s,
            "decoded_fps": (last["framesDecoded"] - first["framesDecoded"]) / elapsed_s,
        },
        evidence={
            "samples": len(delays),
            "attempts": 1,
            "seconds": elapsed_s,
            "glass_to_glass_p50_ms": percentile(delays, 0.5),
            "jitter_buffer_ms": buffered_s / emitted * 1000 if emitted else None,
            "viewer": last,
            "transport": after.get("transport"),
            "host": host,
            "generator": generator,
            "raw_samples_ms": [round(delay, 1) for delay in delays],
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
