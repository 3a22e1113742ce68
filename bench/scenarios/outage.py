"""The control plane is dead for a minute: those who watch notice nothing, those who come are let in."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Final

from bench.generator_process import GeneratorFailed, Swarm, swarm
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.world import LinkConditions, World, WorldSpec, open_world

_ROOMS: Final = 15
_OUTAGE_S_FULL: Final = 60.0
_OUTAGE_S_QUICK: Final = 14.0
_JOINS_PER_SECOND: Final = 4.0
_INTERRUPTION_MS: Final = 500.0
#: A join is cold when its edge has had no viewer of the room for longer than the 10 s of DESIGN §5.
_COLD_AFTER_S: Final = 12.0
_STAYS_S: Final = 1.5
_LINKS: Final = {
    ("sg", "fra"): LinkConditions(delay_ms=80, loss_ratio=0.002, burst_packets=3),
    ("fra", "iad"): LinkConditions(delay_ms=45, loss_ratio=0.002, burst_packets=3),
    ("sg", "iad"): LinkConditions(delay_ms=115, loss_ratio=0.002, burst_packets=3),
}


async def run(options: RunOptions) -> Outcome:
    """Fifteen rooms enter at sg; watchers stay on every edge while others join, half of them cold."""
    spec = WorldSpec(
        regions=("sg", "fra", "iad"), links=_LINKS, seed=options.seed, without=options.without, tokens=True
    )
    outage_s = _OUTAGE_S_QUICK if options.quick else _OUTAGE_S_FULL
    async with open_world(spec) as world, swarm(options.seed) as hosts, swarm(options.seed) as watchers:
        rooms = [f"room-{number}" for number in range(_ROOMS)]
        tokens = {room: world.token(room, "viewer") for room in rooms}
        for room in rooms:
            await hosts.host(room, world.whip("sg", room), token=world.token(room, "host"), packets_per_frame=2)
        steady = [(edge, rooms[index]) for index, edge in enumerate(("sg", "fra", "iad", "fra", "iad"))]
        for edge, room in steady:
            await watchers.watch(f"steady-{edge}-{room}", world.whep(edge, room), token=tokens[room])
        for room in rooms:
            for edge in ("fra", "iad"):
                await world.wait_for_route(room, edge, lambda route: bool(route.get("primary")), timeout_s=30)
        await asyncio.sleep(3)
        await watchers.report()
        load = _Load(world, watchers, rooms, tokens, set(steady))
        options.progress("killing control")
        world.kill_control()
        joins = await load.run(outage_s, options)
        options.progress("starting control again")
        await world.restart_control()
        await asyncio.sleep(8)
        await load.collect()
        interruptions = load.interruptions()
        refused = [row for row in joins if row["error"]]
        silent = [row for row in joins if not row["error"] and row["first_frame_ms"] is None]
        cold = [row for row in joins if row["cold"]]
        no_proof = [] if options.quick or len(joins) >= 200 else [f"only {len(joins)} joins"]
        if len(cold) * 2 < len(joins) * 0.9:
            no_proof.append(f"only {len(cold)} of {len(joins)} joins were cold")
        return Outcome(
            results={
                "viewer_interruptions": float(len(interruptions)),
                "joins_refused": float(len(refused) + len(silent)),
            },
            evidence={
                "samples": len(joins) + len(steady),
                "attempts": len(joins),
                "cold_joins": len(cold),
                "outage_s": outage_s,
                "interruptions": interruptions,
                "refused": refused + silent,
                "first_frame_cold_p95_ms": percentile(
                    [row["first_frame_ms"] for row in cold if row["first_frame_ms"]], 0.95
                ),
                "joins": joins,
                "generator": {"hosts_pid": hosts.pid, "watchers_pid": watchers.pid},
                **await world.evidence(hosts=hosts.pid, watchers=watchers.pid),
            },
            no_proof=no_proof,
        )


class _Load:
    def __init__(
        self, world: World, watchers: Swarm, rooms: list[str], tokens: dict[str, str], steady: set[tuple[str, str]]
    ) -> None:
        self._world, self._watchers, self._rooms, self._tokens = world, watchers, rooms, tokens
        self._last_seen: dict[tuple[str, str], float] = {pair: float("inf") for pair in steady}
        self._frames: dict[str, list[float]] = {}
        self._first: dict[str, float] = {}

    async def run(self, seconds: float, options: RunOptions) -> list[dict[str, Any]]:
        """Join, stay a moment, leave; warm and cold in turn."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        rows: list[dict[str, Any]] = []
        leaving: list[tuple[float, str, tuple[str, str]]] = []
        while (now := loop.time()) < started + seconds:
            due = started + len(rows) / _JOINS_PER_SECOND
            if now < due:
                await asyncio.sleep(due - now)
            while leaving and leaving[0][0] <= loop.time():
                await self._leave(leaving.pop(0))
            pair, cold = self._choose(want_cold=len(rows) % 2 == 0, now=loop.time())
            name = f"join-{len(rows)}"
            row: dict[str, Any] = {
                "name": name,
                "edge": pair[0],
                "room": pair[1],
                "cold": cold,
                "error": "",
                "first_frame_ms": None,
            }
            rows.append(row)
            try:
                await self._watchers.watch(name, self._world.whep(*pair), token=self._tokens[pair[1]])
            except GeneratorFailed as error:
                row["error"] = str(error)
                continue
            self._last_seen[pair] = max(loop.time(), self._last_seen.get(pair, 0))
            leaving.append((loop.time() + _STAYS_S, name, pair))
            if len(rows) % 40 == 0:
                options.progress(f"{len(rows)} joins, {sum(bool(row['error']) for row in rows)} refused")
        await asyncio.sleep(_STAYS_S)
        for departure in leaving:
            await self._leave(departure)
        for row in rows:
            row["first_frame_ms"] = self._first.get(row["name"])
        return rows

    def _choose(self, *, want_cold: bool, now: float) -> tuple[tuple[str, str], bool]:
        pairs = [(edge, room) for edge in ("fra", "iad") for room in self._rooms]
        age = {pair: now - self._last_seen.get(pair, float("-inf")) for pair in pairs}
        if want_cold and (coldest := max(pairs, key=lambda pair: age[pair])) and age[coldest] > _COLD_AFTER_S:
            return coldest, True
        # The one seen last keeps the others cold.
        warm = min(pairs, key=lambda pair: age[pair])
        return warm, age[warm] > _COLD_AFTER_S

    async def _leave(self, departure: tuple[float, str, tuple[str, str]]) -> None:
        _, name, pair = departure
        await self.collect()
        await self._watchers.close(name)
        if self._last_seen[pair] != float("inf"):
            self._last_seen[pair] = asyncio.get_running_loop().time()

    async def collect(self) -> None:
        """Take over what watchers saw since the last time."""
        report = await self._watchers.report()
        for name, row in report["watchers"].items():
            self._frames.setdefault(name, []).extend(frame[0] for frame in row["frames"])
            if row["first_frame_ms"] is not None:
                self._first[name] = row["first_frame_ms"]

    def interruptions(self) -> list[dict[str, Any]]:
        """Pauses over 500 ms between decodable frames of anyone who was watching."""
        return [
            {"viewer": name, "at_ms": earlier, "pause_ms": later - earlier}
            for name, moments in self._frames.items()
            for earlier, later in itertools.pairwise(moments)
            if later - earlier > _INTERRUPTION_MS
        ]


SCENARIO = Scenario(
    name="outage",
    claim="control killed for 60 s under load: who watches goes on, who comes gets in",
    bars=(BarSpec("viewer_interruptions", "<=", 0), BarSpec("joins_refused", "<=", 0)),
    run=run,
)
