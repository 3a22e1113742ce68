"""From POST to the first decoded frame in Chromium, warm and cold; hosts that answer key-frame requests, and not."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from bench.browser import Browser, open_browser, wait_for_frames
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.world import OCEAN, World, WorldSpec, open_world

_JOINS_FULL: Final = 15
_JOINS_QUICK: Final = 2
_ROOMS: Final = ("chromium", "ffmpeg")
#: An edge leaves a stream's tree 10 s after its last viewer (DESIGN §5), so that a join after this is cold.
_COLD_AFTER_S: Final = 11.5
_SETTLED_AFTER_S: Final = 5.0
_STEADY_AFTER_S_FULL: Final = 20.0
_STEADY_AFTER_S_QUICK: Final = 4.0


async def run(options: RunOptions) -> Outcome:
    """Half of the joins watch an FFmpeg host, half a Chromium host; both enter at sg, viewers are on fra."""
    spec = WorldSpec(regions=("sg", "fra"), links={("sg", "fra"): OCEAN}, seed=options.seed, without=options.without)
    joins = _JOINS_QUICK if options.quick else _JOINS_FULL
    async with open_world(spec) as world, open_browser() as host, open_browser() as viewer:
        await host.call("startHost", {"url": world.whip("sg", "chromium")})
        async with world.ffmpeg_host("sg", "ffmpeg") as ffmpeg:
            for room in () if options.quick else _ROOMS:
                await _join(world, viewer, room)
            warm: list[dict[str, Any]] = []
            cold: list[dict[str, Any]] = []
            for attempt in range(joins):
                room = _ROOMS[attempt % len(_ROOMS)]
                await asyncio.sleep(_COLD_AFTER_S)
                cold.append(await _join(world, viewer, room))
                # Without a pause the edge still has the stream: the next join of the same room is warm.
                warm.append(await _join(world, viewer, room))
                options.progress(
                    f"{attempt + 1} of {joins} ({room}): cold {cold[-1]['first_frame_ms']:.0f} ms, "
                    f"warm {warm[-1]['first_frame_ms']:.0f} ms"
                )
            steady_after_s = _STEADY_AFTER_S_QUICK if options.quick else _STEADY_AFTER_S_FULL
            steady = {room: await _steady_delay_ms(world, viewer, room, steady_after_s) for room in _ROOMS}
            excess = [
                row["settled_ms"] - steady[row["room"]] for row in (*warm, *cold) if row["settled_ms"] is not None
            ]
            return Outcome(
                results={
                    "first_frame_warm_p95_ms": percentile([row["first_frame_ms"] for row in warm], 0.95),
                    "first_frame_cold_p95_ms": percentile([row["first_frame_ms"] for row in cold], 0.95),
                    "delay_excess_ms": percentile(excess, 0.95),
                },
                evidence={
                    "samples": len(warm) + len(cold),
                    "attempts": 2 * joins,
                    "warm": warm,
                    "cold": cold,
                    "steady_delay_ms": steady,
                    "raw_delay_excess_ms": excess,
                    "generator": {"host_cpu_s": host.usage().cpu_seconds, "viewer_cpu_s": viewer.usage().cpu_seconds},
                    **await world.evidence(chromium_host=host.pid, chromium_viewer=viewer.pid, ffmpeg_host=ffmpeg.pid),
                },
            )


async def _join(world: World, viewer: Browser, room: str) -> dict[str, Any]:
    started = await viewer.call("startViewer", {"url": world.whep("fra", room)})
    await wait_for_frames(viewer, 1, timeout_s=20)
    await asyncio.sleep(_SETTLED_AFTER_S)
    report = await viewer.call("viewerReport")
    await viewer.call("stopViewer")
    until = report["firstFrameAt"] + _SETTLED_AFTER_S * 1000
    recent = [delay for at, delay, _ in report["samples"] if delay is not None and until - 1000 <= at <= until]
    return {
        "room": room,
        "first_frame_ms": report["firstFrameAt"] - started["postedAt"],
        "settled_ms": percentile(recent, 0.5),
    }


async def _steady_delay_ms(world: World, viewer: Browser, room: str, after_s: float) -> float:
    await viewer.call("startViewer", {"url": world.whep("fra", room)})
    await wait_for_frames(viewer, 1, timeout_s=20)
    await asyncio.sleep(after_s)
    report = await viewer.call("viewerReport")
    await viewer.call("stopViewer")
    delays = [delay for _, delay, _ in report["samples"][-300:] if delay is not None]
    steady = percentile(delays, 0.5)
    return float("nan") if steady is None else steady


SCENARIO = Scenario(
    name="startup",
    claim="POST to first decoded frame in Chromium over 160 ms RTT and 1 % loss, FFmpeg and Chromium hosts",
    bars=(
        BarSpec("first_frame_warm_p95_ms", "<=", 700),
        BarSpec("first_frame_cold_p95_ms", "<=", 1200),
        BarSpec("delay_excess_ms", "<=", 80),
    ),
    run=run,
    features=("cache",),
)
