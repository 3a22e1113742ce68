"""Lip sync: one flash and beep a second, seen and heard in the far viewer's Chromium, also after a takeover."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from bench.browser import Browser, wait_for_frames
from bench.machine import process_usage
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.scenarios.ocean import Ocean, open_ocean

_ROOM: Final = "sync"
_SECONDS: Final = (40.0, 12.0, 4.0)
#: libwebrtc moves sound and picture towards each other by at most 80 ms a second (stream_synchronization.cc).
_SETTLE_S: Final = 12.0
_SETTLE_UNTIMED_S: Final = 1.0
#: Half of the second between two flashes: no flash is without its nearest beep because they are far apart.
_PAIR_WITHIN_MS: Final = 500.0
#: The host makes one a second; a flash can fall out at either end, and a beep can be lost with its packets.
_PAIRED_MIN_RATIO: Final = 0.8


async def run(options: RunOptions) -> Outcome:
    """FFmpeg publishes, Chromium takes over while the viewer stays, and a fresh viewer joins Chromium."""
    async with open_ocean(options) as ocean:
        return await measure(ocean, options)


async def measure(ocean: Ocean, options: RunOptions) -> Outcome:
    """The same in a fleet that runs already."""
    world, host, viewer = ocean.world, ocean.host, ocean.viewer
    seconds = options.pick(*_SECONDS)
    watch = ocean.watch(_ROOM, listen=True)
    skews: dict[str, list[float]] = {}
    async with world.ffmpeg_host("sg", _ROOM, flash=True, until_superseded=True) as ffmpeg:
        await viewer.call("startViewer", watch)
        await wait_for_frames(viewer, 1, timeout_s=30)
        skews["ffmpeg"] = await _measure(viewer, seconds, options)
        options.progress(f"ffmpeg: {len(skews['ffmpeg'])} flashes with a beep")
        used = {"ffmpeg_host_cpu_s": process_usage(ffmpeg.pid).cpu_seconds}
        await host.call("startHost", ocean.publish(_ROOM, flash=True))
        skews["takeover_by_chromium"] = await _measure(viewer, seconds, options)
        options.progress(f"takeover: {len(skews['takeover_by_chromium'])} flashes with a beep")
        reports = (await viewer.call("viewerReport", {"since": 10**9}))["senderReports"]
    await viewer.call("stopViewer")
    if not options.untimed:
        await viewer.call("startViewer", watch)
        await wait_for_frames(viewer, 1, timeout_s=30)
        skews["chromium"] = await _measure(viewer, seconds, options)
        options.progress(f"chromium: {len(skews['chromium'])} flashes with a beep")
        await viewer.call("stopViewer")
    every = [abs(skew) for phase in skews.values() for skew in phase]
    outcome = Outcome(
        results={"av_skew_p95_ms": percentile(every, 0.95)},
        evidence={
            "samples": len(every),
            "attempts": round(seconds) * len(skews),
            "rate": {"unit": "flashes with a beep", "offered": seconds * len(skews), "achieved": len(every)},
            "p95_by_phase_ms": {name: percentile([abs(skew) for skew in phase], 0.95) for name, phase in skews.items()},
            "raw_samples": {"skew_ms": skews},
            "sender_reports_at_viewer": reports,
            "generator": used | {"chromium_host_cpu_s": host.cpu_s, "chromium_viewer_cpu_s": viewer.cpu_s},
            **await ocean.evidence(ffmpeg_host=ffmpeg.pid),
        },
        no_proof=[
            f"{name}: only {len(phase)} flashes had a beep in {seconds:.0f} s"
            for name, phase in skews.items()
            if len(phase) < seconds * _PAIRED_MIN_RATIO
        ],
    )
    await host.call("stopHost")
    return outcome


async def _measure(viewer: Browser, seconds: float, options: RunOptions) -> list[float]:
    await asyncio.sleep(options.pick(_SETTLE_S, _SETTLE_S, _SETTLE_UNTIMED_S))
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
    features=("sound_hold", "sender_reports"),
)
