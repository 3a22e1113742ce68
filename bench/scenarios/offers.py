"""Hostile offers: how long an edge takes to refuse them, while it goes on answering good ones."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx

from bench.report import BarSpec, Outcome
from bench.scenario import RunOptions, Scenario
from bench.world import World, WorldSpec, open_world

_TRIES: Final = (20, 3, 1)
_GOOD_ROOM: Final = "offers"
_HEAD: Final = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
_MEDIA: Final = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\n"
_TRANSPORT: Final = (
    "a=ice-ufrag:hostile0\r\na=ice-pwd:hostilehostilehostile0000\r\na=setup:actpass\r\n"
    f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\n"
)
#: A whole offer that any edge answers, and which thousands of further m-lines do not make wrong.
GOOD: Final = (
    _HEAD + _TRANSPORT + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n"
    "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n"
)


def hostile_offers() -> dict[str, bytes]:
    """By name: 1 MB of anything, 10,000 m-lines in many and in few bytes and behind a good one, one line of 60 KB, many
    attributes."""
    return {
        "one_megabyte": (_HEAD + "a=x:" + "y" * 1_000_000).encode(),
        "ten_thousand_m_lines": (_HEAD + _MEDIA * 10_000).encode(),
        "ten_thousand_m_lines_after_a_good_one": (
            GOOD + "".join(f"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:x{number}\r\n" for number in range(10_000))
        ).encode(),
        "short_m_lines": (_HEAD + "m=a 9 x 0\r\n" * 5_500).encode(),
        "long_line": (_HEAD + _MEDIA + "a=fmtp:96 " + "z" * 60_000).encode(),
        "many_attributes": (_HEAD + _MEDIA + "a=rtpmap:96 VP8/90000\r\n" * 2_500).encode(),
        "random_bytes": bytes(range(256)) * 200,
    }


def spec(options: RunOptions) -> WorldSpec:
    """One edge."""
    return WorldSpec(regions=("sg",), links={}, seed=options.seed, without=options.without, tokens=True)


async def run(options: RunOptions) -> Outcome:
    """Each hostile offer many times over a kept connection; the time is the client's."""
    async with open_world(spec(options)) as world:
        return await measure(world, options)


async def measure(world: World, options: RunOptions) -> Outcome:
    """The same in a fleet that runs already."""
    # This process is the client.
    used = time.process_time()
    rows = await _attempts(world, options)
    cpu_s = time.process_time() - used
    return judge(rows, due=_due(options), client_cpu_s=cpu_s, evidence=await world.evidence(client=os.getpid()))


def judge(
    rows: Sequence[Mapping[str, Any]], *, due: int, client_cpu_s: float, evidence: Mapping[str, object]
) -> Outcome:
    """`rows` begin with a good offer, without which the run shows nothing. One that fails later has been harmed by the
    hostile ones before it, and counts with them."""
    first, *others = rows
    hostile = [row for row in others if row["offer"] != "good"]
    # Whatever was not refused as the client's mistake: let in, answered by a crash, or not answered at all.
    accepted = [row for row in hostile if not 400 <= row["status"] < 500]
    harmed = [row for row in others if row["offer"] == "good" and row["status"] != 201]
    return Outcome(
        results={
            "hostile_offer_max_ms": max((row["took_ms"] for row in hostile), default=None),
            "hostile_offers_accepted": float(len(accepted) + len(harmed)),
        },
        evidence={
            "samples": len(hostile),
            "attempts": len(rows),
            "rate": {"unit": "offers sent", "offered": due, "achieved": len(rows)},
            "raw_samples": {"answers": rows},
            "accepted": accepted,
            "good_offers_harmed": len(harmed),
            "generator": {"client_cpu_s": client_cpu_s, "client": "httpx, one connection"},
            **evidence,
            "emulator": {"used": False, "why": "offers are HTTP to the edge itself"},
        },
        no_proof=[] if first["status"] == 201 else [f"a good offer got {first['status']} before any hostile one"],
    )


def _due(options: RunOptions) -> int:
    return 1 + len(hostile_offers()) * (options.pick(*_TRIES) + 1)


async def _attempts(world: World, options: RunOptions) -> list[dict[str, Any]]:
    """A good offer, and every hostile one in turn with a good one after it."""
    headers = {
        "Content-Type": "application/sdp",
        "Authorization": f"Bearer {world.token(_GOOD_ROOM, 'viewer')}",
    }
    async with httpx.AsyncClient(timeout=10, trust_env=False, headers=headers) as client:
        rows = [await _post(client, world, "good", GOOD.encode())]
        for name, offer in hostile_offers().items():
            for _ in range(options.pick(*_TRIES)):
                rows.append(await _post(client, world, name, offer))
            rows.append(await _post(client, world, "good", GOOD.encode()))
            worst = max(row["took_ms"] for row in rows if row["offer"] == name)
            options.progress(f"{name}: {worst:.1f} ms at worst")
    return rows


async def _post(client: httpx.AsyncClient, world: World, name: str, offer: bytes) -> dict[str, Any]:
    """One POST; status 0 when there was no answer."""
    started = time.perf_counter()
    try:
        response = await client.post(world.whep("sg", _GOOD_ROOM), content=offer)
        status, location = response.status_code, response.headers.get("Location", "")
    except httpx.TransportError:
        status, location = 0, ""
    took_ms = (time.perf_counter() - started) * 1000
    if location:
        with suppress(httpx.TransportError):
            await client.delete(str(httpx.URL(world.whep("sg", _GOOD_ROOM)).join(location)))
    return {"offer": name, "status": status, "took_ms": took_ms}


SCENARIO = Scenario(
    name="offers",
    claim="hostile offers (1 MB, 10,000 m-lines) are refused within 50 ms",
    bars=(BarSpec("hostile_offer_max_ms", "<=", 50), BarSpec("hostile_offers_accepted", "<=", 0)),
    run=run,
    features=("offer_limits",),
)
