"""From POST to the first decoded frame in Chromium, warm and cold; hosts that answer key-frame requests, and not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from playwright.async_api import Error as BrowserError

from bench.browser import wait_for_frames
from bench.machine import process_usage
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.scenarios.ocean import FAR, HostRate, Ocean, open_ocean

_JOINS_FULL: Final = 15
#: FFmpeg's next key frame is up to two seconds away: with two joins of its stream of each kind, one in a hundred runs
#: without the cache has luck enough to hold the bars.
_JOINS_QUICK: Final = 4
_CHROMIUM: Final = "startup-chromium"
_FFMPEG: Final = "startup-ffmpeg"
#: An edge leaves a stream's tree 10 s after its last viewer (DESIGN §5), so that a join after this is cold.
_COLD_AFTER_S: Final = 11.5
_SETTLED_AFTER_S: Final = 5.0
_STEADY_AFTER_S: Final = (20.0, 4.0, 1.0)
#: A join without a picture by then counts as one that took this long.
_GIVEN_UP_S: Final = 20.0


async def run(options: RunOptions) -> Outcome:
    """Half of the joins watch an FFmpeg host, half a Chromium host; both enter at sg, viewers are on fra."""
    async with open_ocean(options) as ocean:
        return await measure(ocean, options)


async def measure(ocean: Ocean, options: RunOptions) -> Outcome:
    """The same in a fleet that runs already. Untimed, both joins are of FFmpeg's stream, which keeps no player waiting
    only because of the edge's cache."""
    world, host, viewer = ocean.world, ocean.host, ocean.viewer
    rooms = options.pick((_CHROMIUM, _FFMPEG), (_CHROMIUM, _FFMPEG), (_FFMPEG,))
    joins = options.pick(_JOINS_FULL, _JOINS_QUICK, 1)
    await host.call("startHost", ocean.publish(_CHROMIUM))
    async with world.ffmpeg_host("sg", _FFMPEG) as ffmpeg:
        for room in rooms:
            await world.wait_for_route(room, FAR, lambda route: bool(route["primary"]), timeout_s=30)
        rate = HostRate(host)
        await rate.begin()
        # A browser's first session of all starts its codecs and threads; not that is measured.
        for room in options.pick(rooms, (), ()):
            await _join(ocean, room, options)
        warm: list[dict[str, Any]] = []
        cold: list[dict[str, Any]] = []
        for attempt in range(joins):
            room = rooms[attempt % len(rooms)]
            await asyncio.sleep(options.pick(_COLD_AFTER_S, _COLD_AFTER_S, 0.0))
            cold.append(await _join(ocean, room, options))
            # Without a pause the edge still has the stream: the next join of the same room is warm.
            warm.append(await _join(ocean, room, options))
            options.progress(
                f"{attempt + 1} of {joins} ({room}): cold {cold[-1]['first_frame_ms']:.0f} ms, "
                f"warm {warm[-1]['first_frame_ms']:.0f} ms"
            )
        steady = {room: await _steady_delay_ms(ocean, room, options) for room in rooms}
        evidence = {
            "rate": await rate.end(),
            "replays_started": await world.counter(FAR, "replays_started"),
            "generator": {
                "chromium_host_cpu_s": host.cpu_s,
                "chromium_viewer_cpu_s": viewer.cpu_s,
                "ffmpeg_host_cpu_s": process_usage(ffmpeg.pid).cpu_seconds,
            },
            **await ocean.evidence(ffmpeg_host=ffmpeg.pid),
        }
    await host.call("stopHost")
    return judge(warm, cold, steady, evidence)


def judge(
    warm: Sequence[Mapping[str, Any]],
    cold: Sequence[Mapping[str, Any]],
    steady: Mapping[str, float | None],
    evidence: Mapping[str, object],
) -> Outcome:
    """A join without a picture is a sample, too: of all the time that it was waited for."""
    joins = (*warm, *cold)
    settled = [(row["settled_ms"], steady[row["room"]]) for row in joins]
    excess = [at - usual for at, usual in settled if at is not None and usual is not None]
    return Outcome(
        results={
            "first_frame_warm_p95_ms": percentile([row["first_frame_ms"] for row in warm], 0.95),
            "first_frame_cold_p95_ms": percentile([row["first_frame_ms"] for row in cold], 0.95),
            "delay_excess_ms": percentile(excess, 0.95) if len(excess) == len(settled) else None,
        },
        evidence={
            "samples": len(joins),
            "attempts": len(joins),
            "without_a_picture": sum(row["error"] != "" for row in joins),
            "raw_samples": {"warm": warm, "cold": cold, "delay_excess_ms": excess},
            "steady_delay_ms": steady,
            **evidence,
        },
        no_proof=_wrong_kind(warm, cold),
    )


def _wrong_kind(warm: Sequence[Mapping[str, Any]], cold: Sequence[Mapping[str, Any]]) -> list[str]:
    """Joins that were not what they are counted as, by what the far edge told control just before them. After a cold
    join without a picture there is nothing that could be warm: that is no fault of the next one."""
    return [
        f"a cold join of {row['room']} found its edge subscribed: {row['path_before']}"
        for row in cold
        if row["path_before"]
    ] + [
        f"a warm join of {row['room']} found no subscription"
        for row, before in zip(warm, cold, strict=True)
        if not row["path_before"] and not before["error"]
    ]


async def _join(ocean: Ocean, room: str, options: RunOptions) -> dict[str, Any]:
    viewer = ocean.viewer
    route = await ocean.world.route(room, FAR)
    row: dict[str, Any] = {
        "room": room,
        "path_before": (route or {}).get("active_path") or [],
        "first_frame_ms": _GIVEN_UP_S * 1000,
        "settled_ms": None,
        "error": "",
    }
    try:
        started = await viewer.call("startViewer", ocean.watch(room))
        await wait_for_frames(viewer, 1, timeout_s=_GIVEN_UP_S)
    except (TimeoutError, BrowserError) as error:
        row["error"] = str(error) or "no picture"
    else:
        settled_after_s = options.pick(_SETTLED_AFTER_S, _SETTLED_AFTER_S, 1.0)
        await asyncio.sleep(settled_after_s)
        report = await viewer.call("viewerReport")
        until = report["firstFrameAt"] + settled_after_s * 1000
        recent = [delay for at, delay, _ in report["samples"] if delay is not None and until - 1000 <= at <= until]
        row["first_frame_ms"] = report["firstFrameAt"] - started["postedAt"]
        row["settled_ms"] = percentile(recent, 0.5)
    await viewer.call("stopViewer")
    return row


async def _steady_delay_ms(ocean: Ocean, room: str, options: RunOptions) -> float | None:
    try:
        await ocean.viewer.call("startViewer", ocean.watch(room))
        await wait_for_frames(ocean.viewer, 1, timeout_s=_GIVEN_UP_S)
    except (TimeoutError, BrowserError):
        await ocean.viewer.call("stopViewer")
        return None
    await asyncio.sleep(options.pick(*_STEADY_AFTER_S))
    report = await ocean.viewer.call("viewerReport")
    await ocean.viewer.call("stopViewer")
    delays = [delay for _, delay, _ in report["samples"][-300:] if delay is not None]
    return percentile(delays, 0.5)


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
