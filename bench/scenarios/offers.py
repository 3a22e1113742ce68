"""Hostile offers: how long an edge takes to refuse them, while it goes on answering good ones."""

from __future__ import annotations

import time
from typing import Final

import httpx

from bench.report import BarSpec, Outcome
from bench.scenario import RunOptions, Scenario
from bench.world import World, WorldSpec, open_world

_TRIES: Final = 20
_HEAD: Final = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
_MEDIA: Final = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\n"


def hostile_offers() -> dict[str, bytes]:
    """By name: 1 MB of anything, 10,000 m-lines in as few bytes as they take, one line of 60 KB, many attributes."""
    return {
        "one_megabyte": (_HEAD + "a=x:" + "y" * 1_000_000).encode(),
        "ten_thousand_m_lines": (_HEAD + _MEDIA * 10_000).encode(),
        "short_m_lines": (_HEAD + "m=a 9 x 0\r\n" * 5_500).encode(),
        "long_line": (_HEAD + _MEDIA + "a=fmtp:96 " + "z" * 60_000).encode(),
        "many_attributes": (_HEAD + _MEDIA + "a=rtpmap:96 VP8/90000\r\n" * 2_500).encode(),
        "random_bytes": bytes(range(256)) * 200,
    }


async def run(options: RunOptions) -> Outcome:
    """Each hostile offer many times over one kept connection; the time is the client's."""
    spec = WorldSpec(regions=("sg",), links={}, seed=options.seed, without=options.without)
    async with open_world(spec) as world:
        rows = await _refusals(world, options)
        worst = max(max(times) for times in rows["times_ms"].values())
        answered = {name: sorted(set(statuses)) for name, statuses in rows["statuses"].items()}
        accepted = [
            name for name, statuses in answered.items() if any(status < 400 or status >= 500 for status in statuses)
        ]
        return Outcome(
            results={"hostile_offer_max_ms": worst},
            evidence={
                "samples": sum(len(times) for times in rows["times_ms"].values()),
                "attempts": len(rows["times_ms"]),
                "statuses": answered,
                "raw_samples_ms": rows["times_ms"],
                "generator": {"client": "httpx, one connection"},
                **await world.evidence(),
                "emulator": {"used": False, "why": "offers are HTTP to the edge itself"},
            },
            no_proof=[f"{name} was not refused: {answered[name]}" for name in accepted],
        )


async def _refusals(world: World, options: RunOptions) -> dict[str, dict[str, list[float]]]:
    times: dict[str, list[float]] = {}
    statuses: dict[str, list[float]] = {}
    async with httpx.AsyncClient(timeout=10) as client:
        for name, offer in hostile_offers().items():
            for _ in range(3 if options.quick else _TRIES):
                started = time.perf_counter()
                response = await client.post(
                    world.whep("sg", "bench"), content=offer, headers={"Content-Type": "application/sdp"}
                )
                times.setdefault(name, []).append((time.perf_counter() - started) * 1000)
                statuses.setdefault(name, []).append(response.status_code)
            options.progress(f"{name}: {max(times[name]):.1f} ms at worst")
    return {"times_ms": times, "statuses": statuses}


SCENARIO = Scenario(
    name="offers",
    claim="hostile offers (1 MB, 10,000 m-lines) are refused within 50 ms",
    bars=(BarSpec("hostile_offer_max_ms", "<=", 50),),
    run=run,
)
