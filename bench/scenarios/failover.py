"""A relay in the active route dies, or its link goes dark: how long the far viewer has nothing to decode."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from typing import Any, Final

from bench.generator_process import Swarm, longest_pause_ms, swarm
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.world import LinkConditions, World, WorldSpec, open_world

_FRAME_INTERVAL_MS: Final = 1000 / 30
_ROOM: Final = "bench"
_FAULTS_FULL: Final = 20
_FAULTS_QUICK: Final = 2
_FALSE_ALARMS_FULL: Final = 10
_FALSE_ALARMS_QUICK: Final = 2
_BEFORE_S: Final = 2.0
_AFTER_S: Final = 4.0
_BLACKOUT_MS: Final = 200.0
_BURST_PACKETS: Final = 8

#: Round-trip times in ms between the five edges; direct sg–fra is made 400 ms worse than its 160.
RTT_MS: Final = {
    ("sg", "bom"): 60.0,
    ("bom", "fra"): 120.0,
    ("sg", "dxb"): 80.0,
    ("dxb", "fra"): 110.0,
    ("sg", "fra"): 560.0,
    ("sg", "iad"): 230.0,
    ("fra", "iad"): 90.0,
    ("dxb", "iad"): 200.0,
    ("bom", "iad"): 215.0,
    ("dxb", "bom"): 40.0,
}


def _rtt_of_path_ms(path: Sequence[str]) -> float:
    return sum(RTT_MS.get((a, b)) or RTT_MS[(b, a)] for a, b in itertools.pairwise(path))


async def run(options: RunOptions) -> Outcome:
    """One host on sg, one watcher on fra; both are generators whose every frame is accounted for."""
    links = {pair: LinkConditions(delay_ms=rtt / 2) for pair, rtt in RTT_MS.items()}
    spec = WorldSpec(
        regions=("sg", "fra", "iad", "dxb", "bom"), links=links, seed=options.seed, without=options.without
    )
    choice = random.Random(options.seed)
    faults = _FAULTS_QUICK if options.quick else _FAULTS_FULL
    alarms = _FALSE_ALARMS_QUICK if options.quick else _FALSE_ALARMS_FULL
    async with open_world(spec) as world, swarm(options.seed) as hosts, swarm(options.seed) as watchers:
        await hosts.host("host", world.whip("sg", _ROOM))
        await watchers.watch("viewer", world.whep("fra", _ROOM))
        run_ = _Run(world, watchers, options)
        await run_.relayed_route()
        backup_ratio = await run_.backup_bytes_ratio()
        moves = [await run_.false_alarm(kind) for _ in range(alarms) for kind in ("blackout", "burst")]
        rows = []
        for number in range(faults):
            for kind in ("kill", "blackout"):
                rows.append(await run_.fault(kind, choice))
                options.progress(
                    f"{number + 1} of {faults}: {kind} of {rows[-1]['relay']}: gap {rows[-1]['gap_ms']:.0f} ms"
                )
        gaps = [row["gap_ms"] for row in rows]
        return Outcome(
            results={
                "gap_minus_backup_rtt_p95_ms": percentile([row["gap_ms"] - row["backup_rtt_ms"] for row in rows], 0.95),
                "media_gap_max_ms": max(gaps),
                "backup_bytes_ratio": backup_ratio["ratio"],
                "false_moves": float(sum(row["moved"] for row in moves)),
            },
            evidence={
                "samples": len(rows),
                "attempts": len(rows) + len(moves),
                "faults": rows,
                "false_alarms": moves,
                "backup": backup_ratio,
                "generator": {
                    "hosts_pid": hosts.pid,
                    "watchers_pid": watchers.pid,
                    "frame_interval_ms": _FRAME_INTERVAL_MS,
                },
                **await world.evidence(hosts=hosts.pid, watchers=watchers.pid),
            },
        )


class _Run:
    def __init__(self, world: World, watchers: Swarm, options: RunOptions) -> None:
        self._world, self._watchers, self._options = world, watchers, options

    async def relayed_route(self) -> tuple[list[str], list[str]]:
        """Wait for a path sg → relay → fra and a backup that shares no relay: (active, backup), source first."""

        def usable(route: dict[str, Any]) -> bool:
            active, backup = route.get("active_path") or [], route.get("backup") or []
            relays = set(active[1:-1])
            return (
                len(active) == 3
                and active[0] == "sg"
                and active[-1] == "fra"
                and route.get("phase") in ("steady", "committed")
                and bool(backup)
                and not relays & set(backup[1:-1])
            )

        route = await self._world.wait_for_route(_ROOM, "fra", usable, timeout_s=60)
        return list(route["active_path"]), list(reversed(route["backup"]))

    async def backup_bytes_ratio(self) -> dict[str, Any]:
        """Bytes on the wire from the unarmed backup's last relay to fra, over those of the active one."""
        active, backup = await self.relayed_route()
        before = await self._world.wan_bytes()
        await asyncio.sleep(5 if self._options.quick else 20)
        after = await self._world.wan_bytes()
        media = after[active[-2], "fra"] - before[active[-2], "fra"]
        warm = after[backup[-2], "fra"] - before[backup[-2], "fra"]
        return {
            "ratio": warm / media if media else None,
            "active": active,
            "backup": backup,
            "media_bytes": media,
            "backup_bytes": warm,
        }

    async def fault(self, kind: str, choice: random.Random) -> dict[str, Any]:
        """Break the active relay, measure the viewer's longest pause, mend it."""
        active, backup = await self.relayed_route()
        relay = active[1]
        await self._watchers.report()
        await asyncio.sleep(_BEFORE_S)
        quiet = await self._watchers.report()
        hop = choice.choice([("sg", relay), (relay, "fra")])
        if kind == "kill":
            self._world.kill_edge(relay)
        else:
            await self._world.set_link(*hop, blackout=True)
        await asyncio.sleep(_AFTER_S)
        report = await self._watchers.report()
        frames = report["watchers"]["viewer"]["frames"]
        pause = longest_pause_ms(frames, since_ms=quiet["now_ms"], until_ms=report["now_ms"])
        if kind == "kill":
            await self._world.restart_edge(relay)
        else:
            await self._world.set_link(*hop, blackout=False)
        return {
            "kind": kind,
            "relay": relay,
            "hop": hop,
            "active": active,
            "backup": backup,
            "gap_ms": pause - _FRAME_INTERVAL_MS,
            "backup_rtt_ms": _rtt_of_path_ms(backup),
            "frames_before": len(quiet["watchers"]["viewer"]["frames"]),
            "frames_after": len(frames),
        }

    async def false_alarm(self, kind: str) -> dict[str, Any]:
        """A short fault that must not move anything: 200 ms of darkness, or one burst of 8 packets."""
        active, _ = await self.relayed_route()
        hop = (active[1], "fra")
        committed = await self._world.committed_moves("fra")
        if kind == "blackout":
            await self._world.set_link(*hop, blackout_ms=_BLACKOUT_MS)
        else:
            await self._world.set_direction(*hop, lose_next=_BURST_PACKETS)
        await asyncio.sleep(3)
        return {"kind": kind, "hop": hop, "moved": await self._world.committed_moves("fra") - committed}


SCENARIO = Scenario(
    name="failover",
    claim="a relay killed or its link dark, five edges: the longest pause between decodable frames",
    bars=(
        BarSpec("gap_minus_backup_rtt_p95_ms", "<=", 250),
        BarSpec("media_gap_max_ms", "<=", 1000),
        BarSpec("backup_bytes_ratio", "<", 0.02),
        BarSpec("false_moves", "<=", 0),
    ),
    run=run,
    features=("failover", "backup"),
)
