"""One shard on one core: packets to viewers per second of CPU, against a loop that only seals and sends."""

from __future__ import annotations

import asyncio
import json
import os
from statistics import median
from typing import Any, Final

from bench.generator_process import GeneratorProcess, generator
from bench.machine import process_usage
from bench.network import ViewerNetwork, viewer_network
from bench.report import BarSpec, Outcome
from bench.scenario import RunOptions, Scenario
from bench.world import World, WorldSpec, open_world

_SERVER_CORE: Final = 0
_VIEWER_CORE: Final = 1
_ROOM: Final = "bench"
_FRAMES_PER_SECOND: Final = 30
_PACKETS_PER_FRAME: Final = 8
#: With RTP header, mid and tag the datagram has about 1.2 KB.
_PAYLOAD_BYTES: Final = 1_168
_STAGES: Final = (50, 200)
_STAGES_QUICK: Final = (5, 20)
_ROUNDS_FULL: Final = 5
_ROUNDS_QUICK: Final = 2
#: Packets that each viewer has had before memory is read.
_PACKETS_BEFORE_RSS: Final = 1_000
#: Longer than the 10 s for which an edge keeps the state of a handshake, which is not a viewer's memory.
_STAGE_S: Final = 13.0
#: DESIGN §4 measured 774,000–869,000 on this kind of machine; below this the floor itself is disturbed.
_FLOOR_MIN_PPS: Final = 600_000.0


async def run(options: RunOptions) -> Outcome:
    """Memory at two sizes first, then rounds of load and floor in turn with all viewers connected."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        raise OSError("forward needs two cores: one for the server, one for its viewers")
    async with viewer_network(viewer_core=_VIEWER_CORE) as network:
        spec = WorldSpec(
            regions=("sg",),
            links={},
            seed=options.seed,
            without=options.without,
            tokens=True,
            media_ip=network.server_ip,
            pin_core=_SERVER_CORE,
        )
        async with open_world(spec) as world:
            return await _measure(world, network, options)


async def _measure(world: World, network: ViewerNetwork, options: RunOptions) -> Outcome:
    stages = _STAGES_QUICK if options.quick else _STAGES
    rounds = _ROUNDS_QUICK if options.quick else _ROUNDS_FULL
    memory_s = _PACKETS_BEFORE_RSS / (_FRAMES_PER_SECOND * _PACKETS_PER_FRAME)
    plan = {
        "whip": world.whip("sg", _ROOM),
        "whep": world.whep("sg", _ROOM),
        "host_token": world.token(_ROOM, "host"),
        "viewer_token": world.token(_ROOM, "viewer"),
        "stages": [*stages, *([stages[-1]] * rounds)],
        "seconds": max(memory_s, 2.0 if options.quick else _STAGE_S),
        "frames_per_second": _FRAMES_PER_SECOND,
        "packets_per_frame": _PACKETS_PER_FRAME,
        "payload_bytes": _PAYLOAD_BYTES,
        # Memory is measured with sound and picture, packets with the picture alone: the floor knows one packet size.
        "audio_stages": len(stages),
        "seed": options.seed,
    }
    server = world.edges["sg"].pid
    rss: dict[int, int] = {}
    load: list[dict[str, Any]] = []
    floors: list[dict[str, Any]] = []
    async with generator(["load", json.dumps(plan)], prefix=network.prefix) as viewers:
        for stage in stages:
            await _stage(viewers, server)
            rss[stage] = process_usage(server).rss_bytes
            options.progress(f"{stage} viewers: {rss[stage] / 2**20:.1f} MiB resident")
            await viewers.say()
        for number in range(rounds):
            load.append(await _stage(viewers, server))
            floors.append(await _floor(network, options))
            options.progress(
                f"round {number + 1} of {rounds}: {load[-1]['pps_per_busy_core']:,.0f} packets/s per busy core, "
                f"floor {floors[-1]['pps_per_busy_core']:,.0f}"
            )
            await viewers.say()
        end = await viewers.expect("end", timeout_s=30)
    return _judge(world, network, stages, rss, load, floors, end["viewers"], await world.evidence(viewers=viewers.pid))


async def _stage(viewers: GeneratorProcess, server: int) -> dict[str, Any]:
    """One measured stretch of load; the server's CPU is read from its process."""
    await viewers.expect("measuring", timeout_s=120)
    await asyncio.sleep(0.2)
    before = process_usage(server).cpu_seconds
    await viewers.say()
    stage = await viewers.expect("stage", timeout_s=120)
    busy = process_usage(server).cpu_seconds - before
    return {**stage, "server_cpu_seconds": busy, "pps_per_busy_core": stage["received_packets"] / busy if busy else 0.0}


async def _floor(network: ViewerNetwork, options: RunOptions) -> dict[str, Any]:
    count = _STAGES_QUICK[-1] if options.quick else _STAGES[-1]
    async with generator(["sink", network.viewer_ip, str(count)], prefix=network.prefix) as sink:
        destinations = (await sink.expect("sink"))["destinations"]
        plan = {
            "destinations": destinations,
            "seconds": 1.0 if options.quick else 3.0,
            "packets_per_frame": _PACKETS_PER_FRAME,
            "payload_bytes": _PAYLOAD_BYTES,
            "seed": options.seed,
        }
        async with generator(["floor", json.dumps(plan)], prefix=("taskset", "-c", str(_SERVER_CORE))) as floor:
            return await floor.expect("floor", timeout_s=60)


def _judge(
    world: World,
    network: ViewerNetwork,
    stages: tuple[int, ...],
    rss: dict[int, int],
    load: list[dict[str, Any]],
    floors: list[dict[str, Any]],
    viewers: list[dict[str, Any]],
    evidence: dict[str, object],
) -> Outcome:
    pps = median(row["pps_per_busy_core"] for row in load)
    floor = median(row["pps_per_busy_core"] for row in floors)
    ratios = [row["pps_per_busy_core"] / base["pps_per_busy_core"] for row, base in zip(load, floors, strict=True)]
    missing, wrong = sum(row["missing"] for row in viewers), sum(row["wrong"] for row in viewers)
    packets, decrypted = sum(row["packets"] for row in viewers), sum(row["decrypted"] for row in viewers)
    no_proof = []
    if missing or wrong:
        no_proof.append(f"{missing} packets missing and {wrong} wrong at the viewers")
    if decrypted < packets / 100:
        no_proof.append(f"only {decrypted} of {packets} packets were decrypted")
    if network.kind == "veth" and floor < _FLOOR_MIN_PPS:
        no_proof.append(f"bad floor: {floor:,.0f} packets/s per busy core, expected at least {_FLOOR_MIN_PPS:,.0f}")
    generator_load = max(row["generator_cpu_seconds"] / row["seconds"] for row in load)
    if generator_load > 0.95:
        no_proof.append(f"the generator used {generator_load:.0%} of its core: it is the limit")
    return Outcome(
        results={
            "pps_per_busy_core": pps,
            "ratio_to_floor": median(ratios),
            "kib_per_viewer": (rss[stages[-1]] - rss[stages[0]]) / 1024 / (stages[-1] - stages[0]),
        },
        evidence={
            "samples": len(load),
            "attempts": len(viewers),
            "network": network.kind,
            "srtp_profile": load[0]["srtp_profile"],
            "offered_pps": [row["offered_packets"] / row["seconds"] for row in load],
            "achieved_pps": [row["received_packets"] / row["seconds"] for row in load],
            "load": load,
            "floor": floors,
            "rss_bytes": rss,
            "packets": packets,
            "decrypted": decrypted,
            "missing": missing,
            "wrong": wrong,
            "late": sum(row["late"] for row in viewers),
            "generator": {"cores": generator_load},
            **evidence,
            "emulator": {"used": False, "why": "viewers stand beside the edge"},
        },
        no_proof=no_proof,
    )


SCENARIO = Scenario(
    name="forward",
    claim="30 frames/s of 8 packets to 200 viewers from one shard on one core, AES-128-GCM, against the floor",
    bars=(
        BarSpec("pps_per_busy_core", ">=", 250_000),
        BarSpec("ratio_to_floor", ">=", 0.4),
        BarSpec("kib_per_viewer", "<=", 64),
    ),
    run=run,
    evidence=("srtp_profile", "offered_pps", "achieved_pps"),
    features=("gso",),
)
