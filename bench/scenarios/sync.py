"""Lip sync: one flash and beep a second, seen and heard in the far viewer's Chromium, also after a takeover."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from bench.browser import Browser, open_browser, wait_for_frames
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.world import OCEAN, WorldSpec, open_world

_SECONDS_FULL: Final = 40.0
_SECONDS_QUICK: Final = 12.0
#: libwebrtc moves sound and picture towards each other by at most 80 ms a second (stream_synchronization.cc).
_SETTLE_S: Final = 12.0
_PAIR_WITHIN_MS: Final = 400.0


async def run(options: RunOptions) -> Outcome:
    """FFmpeg publishes, Chromium takes over while the viewer stays, and a fresh viewer joins Chromium."""
    spec = WorldSpec(regions=("sg", "fra"), links={("sg", "fra"): OCEAN}, seed=options.seed, without=options.without)
    seconds = _SECONDS_QUICK if options.quick else _SECONDS_FULL
    async with open_world(spec) as world, open_browser() as host, open_browser() as viewer:
        watch = {"url": world.whep("fra", "bench"), "listen": True}
        skews: dict[str, list[float]] = {}
        async with world.ffmpeg_host("sg", "bench", flash=True) as ffmpeg:
            await viewer.call("startViewer", watch)
            await wait_for_frames(viewer, 1, timeout_s=30)
            skews["ffmpeg"] = await _measure(viewer, seconds)
            options.progress(f"ffmpeg: {len(skews['ffmpeg'])} flashes with a beep")
            await host.call("startHost", {"url": world.whip("sg", "bench"), "flash": True})
            skews["takeover_by_chromium"] = await _measure(viewer, seconds)
            options.progress(f"takeover: {len(skews['takeover_by_chromium'])} flashes with a beep")
        await viewer.call("stopViewer")
        await viewer.call("startViewer", watch)
        await wait_for_frames(viewer, 1, timeout_s=30)
        skews["chromium"] = await _measure(viewer, seconds)
        options.progress(f"chromium: {len(skews['chromium'])} flashes with a beep")
        every = [abs(skew) for phase in skews.values() for skew in phase]
        return Outcome(
            results={"av_skew_p95_ms": percentile(every, 0.95)},
            evidence={
                "samples": len(every),
                "attempts": len(skews),
                "p95_by_phase_ms": {
                    name: percentile([abs(skew) for skew in phase], 0.95) for name, phase in skews.items()
                },
                "raw_samples_ms": skews,
                "generator": {"host_cpu_s": host.usage().cpu_seconds, "viewer_cpu_s": viewer.usage().cpu_seconds},
                **await world.evidence(chromium_host=host.pid, chromium_viewer=viewer.pid, ffmpeg_host=ffmpeg.pid),
            },
            no_proof=[
                f"{name}: only {len(phase)} flashes had a beep in {seconds:.0f} s"
                for name, phase in skews.items()
                if len(phase) < seconds / 2
            ],
        )


async def _measure(viewer: Browser, seconds: float) -> list[float]:
    await asyncio.sleep(_SETTLE_S)
    before = await viewer.call("viewerReport", {"since": 10**9})
    await asyncio.sleep(seconds)
    after: dict[str, Any] = await viewer.call("viewerReport", {"since": 10**9})
    to_loudspeaker = playout_delay_ms(before["playout"], after["playout"])
    beeps = [beep + to_loudspeaker for beep in after["beeps"][len(before["beeps"]) :]]
    return pair(after["flashes"][len(before["flashes"]) :], beeps)


def playout_delay_ms(before: dict[str, float], after: dict[str, float]) -> float:
    """Mean time from the player's jitter buffer to the loudspeaker (webrtc-stats, RTCAudioPlayoutStats), in ms."""
    samples = after["totalSamplesCount"] - before["totalSamplesCount"]
    return 1_000 * (after["totalPlayoutDelay"] - before["totalPlayoutDelay"]) / samples if samples else 0.0


def pair(flashes: Sequence[float], beeps: Sequence[float]) -> list[float]:
    """Beep minus flash in ms, for each flash that has a beep near it; positive when the sound is late."""
    skews = []
    for flash in flashes:
        nearest = min(beeps, key=lambda beep: abs(beep - flash), default=None)
        if nearest is not None and abs(nearest - flash) <= _PAIR_WITHIN_MS:
            skews.append(nearest - flash)
    return skews


SCENARIO = Scenario(
    name="sync",
    claim="sound and picture together at the far edge, from FFmpeg and Chromium, also after a takeover",
    bars=(BarSpec("av_skew_p95_ms", "<=", 60),),
    run=run,
)
