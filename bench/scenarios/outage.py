"""The control plane is dead for a minute: those who watch notice nothing, those who come are let in."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.generator_process import FRAMES_PER_SECOND, Refused, Swarm, swarm
from bench.report import BarSpec, Outcome, percentile
from bench.scenario import RunOptions, Scenario
from bench.world import LinkConditions, World, WorldSpec, open_world

_ROOMS: Final = (40, 18, 3)
_OUTAGE_S: Final = (60.0, 14.0, 3.0)
_JOINS_PER_SECOND: Final = 4.0
_INTERRUPTION_MS: Final = 500.0
#: A join is cold when its edge has had no viewer of the room for longer than the 10 s of DESIGN §5.
_COLD_AFTER_S: Final = 12.0
#: More cold joins than warm ones to begin with, because some will turn out not to have been.
_COLD_AHEAD: Final = 4
_STAYS_S: Final = (1.5, 1.5, 1.0)
#: People come one after another. Those still outside so long after the last was due have been kept there.
_OVERTIME_S: Final = 10.0
#: Of the frames that each host is to send.
_SENT_MIN_RATIO: Final = 0.9
#: After control is back: whatever it makes of the fleet must disturb nobody either.
_AFTERWARDS_S: Final = (8.0, 8.0, 0.5)
_SOURCE: Final = "sg"
_FAR: Final = ("fra", "iad")
_LINKS: Final = {
    ("sg", "fra"): LinkConditions(delay_ms=80, loss_ratio=0.002, burst_packets=3),
    ("fra", "iad"): LinkConditions(delay_ms=45, loss_ratio=0.002, burst_packets=3),
    ("sg", "iad"): LinkConditions(delay_ms=115, loss_ratio=0.002, burst_packets=3),
}
Pair = tuple[str, str]


def spec(options: RunOptions) -> WorldSpec:
    """Closed rooms: whoever joins without control is let in by a key that control pushed while it lived."""
    return WorldSpec(regions=(_SOURCE, *_FAR), links=_LINKS, seed=options.seed, without=options.without, tokens=True)


async def run(options: RunOptions) -> Outcome:
    """Many rooms enter at sg; watchers stay on every edge while others join, half of them cold."""
    async with open_world(spec(options)) as world:
        return await measure(world, options)


async def measure(world: World, options: RunOptions) -> Outcome:
    """The same in a fleet that runs already, with whatever far edges it has. Control runs again at the end."""
    far = [edge for edge in world.spec.regions if edge != _SOURCE]
    outage_s = options.pick(*_OUTAGE_S)
    rooms = [f"outage-{number}" for number in range(options.pick(*_ROOMS))]
    tokens = {room: world.token(room, "viewer") for room in rooms}
    # Who stays and who joins have a process each: opening a session takes time from nobody's watching.
    async with swarm(options.seed) as hosts, swarm(options.seed) as stayers, swarm(options.seed) as joiners:
        for room in rooms:
            await hosts.host(room, world.whip(_SOURCE, room), token=world.token(room, "host"), packets_per_frame=2)
        steady = [(edge, rooms[index % len(rooms)]) for index, edge in enumerate([_SOURCE, *far, *far])]
        for edge, room in steady:
            await stayers.watch(_name_of((edge, room)), world.whep(edge, room), token=tokens[room])
        for room in rooms:
            for edge in far:
                await world.wait_for_route(room, edge, lambda route: bool(route.get("primary")), timeout_s=30)
        await asyncio.sleep(options.pick(3.0, 3.0, 0.5))
        await hosts.report()
        load = _Load(world, stayers, joiners, far, rooms, tokens, set(steady), options)
        await load.forget()
        options.progress("killing control")
        world.kill_control()
        killed = await world.control_gone()
        dark_from = asyncio.get_running_loop().time()
        joins = await load.run(outage_s)
        dark_s = asyncio.get_running_loop().time() - dark_from
        options.progress("starting control again")
        await world.restart_control()
        await asyncio.sleep(options.pick(*_AFTERWARDS_S))
        await load.collect()
        sent = await hosts.report()
        # Hosts whose edge took their port away are gone from the report: that is the product's, and watchers notice it.
        fps = [row["frames_since"] / (sent["since_ms"] / 1000) for row in sent["hosts"].values()]
        generator = {
            "hosts_cpu_s": hosts.cpu_s,
            "stayers_cpu_s": stayers.cpu_s,
            "joiners_cpu_s": joiners.cpu_s,
            "host_fps": min(fps, default=0.0),
            "hosts_gone": len(rooms) - len(fps),
            "host_late_max_ms": max((row["late_max_ms"] for row in sent["hosts"].values()), default=0.0),
            "stayers_turn_max_ms": load.longest_turn_ms,
        }
        evidence = await world.evidence(hosts=hosts.pid, stayers=stayers.pid, joiners=joiners.pid)
        return judge(
            joins,
            due=joins_due(outage_s),
            interruptions=load.interruptions(),
            generator=generator,
            dark_s=dark_s,
            wanted_s=outage_s,
            evidence={
                "watching": len(load.steady),
                "longest_pause_ms": load.longest_pauses(),
                "control_killed": killed,
                **evidence,
            },
        )


def joins_due(outage_s: float) -> int:
    """How many people come in that time."""
    return math.ceil(outage_s * _JOINS_PER_SECOND)


def attempted_per_s(joins: Sequence[Mapping[str, Any]]) -> float:
    """Joins a second that the generator itself could have begun: what each took of its own time, and never less than
    lies between two. Time in which the fleet let people wait is not the generator's."""
    took_s = sum(max(1 / _JOINS_PER_SECOND, row["own_s"]) for row in joins)
    return len(joins) / took_s if took_s else 0.0


def judge(
    joins: Sequence[Mapping[str, Any]],
    *,
    due: int,
    interruptions: Sequence[Mapping[str, Any]],
    generator: Mapping[str, float],
    dark_s: float,
    wanted_s: float,
    evidence: Mapping[str, Any],
) -> Outcome:
    """Who was refused, who got no picture, and who was still outside at the end because others were kept waiting."""
    refused = [row for row in joins if row["error"]]
    silent = [row for row in joins if not row["error"] and row["first_frame_ms"] is None]
    cold = [row for row in joins if row["cold"] and not _had_the_stream(row)]
    still_outside = due - len(joins)
    doubts = []
    if 2 * len(cold) < len(joins):
        doubts.append(f"only {len(cold)} of {len(joins)} joins were cold")
    if dark_s < wanted_s:
        doubts.append(f"control was away for {dark_s:.1f} s, not {wanted_s:.0f} s")
    if generator["host_fps"] < _SENT_MIN_RATIO * FRAMES_PER_SECOND and generator["hosts_gone"] == 0:
        doubts.append(f"a host sent {generator['host_fps']:.1f} frames/s: the generator is the limit")
    late = max(generator["host_late_max_ms"], generator["stayers_turn_max_ms"])
    if interruptions and late > _INTERRUPTION_MS / 2:
        doubts.append(f"the generator was {late:.0f} ms late: {len(interruptions)} interruptions may be its own")
    return Outcome(
        results={
            "viewer_interruptions": float(len(interruptions)),
            "joins_refused": float(len(refused) + len(silent) + still_outside),
        },
        evidence={
            "samples": len(joins) + evidence["watching"],
            "attempts": due + evidence["watching"],
            "rate": {
                "unit": "joins/s attempted",
                "offered": _JOINS_PER_SECOND,
                "achieved": attempted_per_s(joins),
            },
            "raw_samples": {"joins": joins, "longest_pause_ms": evidence["longest_pause_ms"]},
            "cold_joins": len(cold),
            "outage_s": dark_s,
            "interruptions": interruptions,
            "refused": refused + silent,
            "still_outside": still_outside,
            "first_frame_cold_p95_ms": percentile(
                [row["first_frame_ms"] for row in cold if row["first_frame_ms"] is not None], 0.95
            ),
            "join_p95_ms": percentile([row["took_ms"] for row in joins], 0.95),
            "generator": generator,
            **{name: value for name, value in evidence.items() if name != "longest_pause_ms"},
        },
        no_proof=doubts,
    )


def _had_the_stream(row: Mapping[str, Any]) -> bool:
    """Nothing comes out of an edge that must ask the source for it sooner than light allows. An edge without viewers of
    a room may still have its stream, because a neighbour has armed its backup."""
    return row["first_frame_ms"] is not None and row["first_frame_ms"] < _rtt_ms(row["edge"])


def _rtt_ms(edge: str) -> float:
    link = _LINKS.get((_SOURCE, edge)) or _LINKS[edge, _SOURCE]
    return 2 * link.delay_ms


def _name_of(pair: Pair) -> str:
    return f"steady-{pair[0]}-{pair[1]}"


@dataclass(slots=True)
class _Watch:
    """What one watcher has had: moments of decodable frames, and until when it was there."""

    moments: list[float] = field(default_factory=list)
    until_ms: float = 0.0

    def pauses(self) -> list[tuple[float, float]]:
        """(start, length) of every pause, the one up to the end included; a stream that never came has no pause."""
        ends = [*self.moments, max(self.until_ms, self.moments[-1])] if self.moments else []
        return [(earlier, later - earlier) for earlier, later in itertools.pairwise(ends)]


class _Load:
    def __init__(
        self,
        world: World,
        stayers: Swarm,
        joiners: Swarm,
        far: list[str],
        rooms: list[str],
        tokens: dict[str, str],
        steady: set[Pair],
        options: RunOptions,
    ) -> None:
        self._world, self._stayers, self._joiners, self._options = world, stayers, joiners, options
        self._pairs = [(edge, room) for edge in far for room in rooms]
        self._tokens = tokens
        self.steady = steady
        self._last_seen: dict[Pair, float] = {pair: float("inf") for pair in steady}
        self._watches: dict[str, _Watch] = {}
        self._first: dict[str, float] = {}
        self._open: set[str] = set()
        self.longest_turn_ms = 0.0

    async def run(self, seconds: float) -> list[dict[str, Any]]:
        """Join, stay a moment, leave; as many cold as warm, by what is known of those who have left."""
        loop = asyncio.get_running_loop()
        started = answered = loop.time()
        rows: list[dict[str, Any]] = []
        leaving: list[tuple[float, str, Pair]] = []
        stays_s = self._options.pick(*_STAYS_S)
        for number in range(joins_due(seconds)):
            # Neither waiting for who is due nor for the fleet's answers is the generator's own time.
            idle_s = max(0.0, started + number / _JOINS_PER_SECOND - loop.time())
            await asyncio.sleep(idle_s)
            while leaving and leaving[0][0] <= loop.time():
                idle_s += await self._leave(leaving.pop(0))
            if loop.time() > started + seconds + _OVERTIME_S:
                break
            known = [{**row, "first_frame_ms": self._first.get(row["name"])} for row in rows if row["cold"]]
            cold_so_far = sum(not _had_the_stream(row) for row in known)
            pair, cold = self._choose(want_cold=2 * cold_so_far <= len(rows) + _COLD_AHEAD, now=loop.time())
            own_s = loop.time() - answered - idle_s
            row = await self._join(f"join-{number}", pair, cold=cold)
            answered = loop.time()
            rows.append({**row, "at_s": answered - started - row["took_ms"] / 1000, "own_s": own_s})
            if not row["error"]:
                self._last_seen[pair] = max(loop.time(), self._last_seen.get(pair, 0))
                self._open.add(row["name"])
                leaving.append((loop.time() + stays_s, row["name"], pair))
            if len(rows) % 40 == 0:
                self._options.progress(f"{len(rows)} joins, {sum(bool(row['error']) for row in rows)} refused")
        # Control stays away for as long as was said, however soon the last one was in.
        await asyncio.sleep(max(stays_s, started + seconds - loop.time()))
        for departure in leaving:
            await self._leave(departure)
        for row in rows:
            row["first_frame_ms"] = self._first.get(row["name"])
        return rows

    async def _join(self, name: str, pair: Pair, *, cold: bool) -> dict[str, Any]:
        edge, room = pair
        row = {"name": name, "edge": edge, "room": room, "cold": cold, "error": "", "first_frame_ms": None}
        began = asyncio.get_running_loop().time()
        try:
            await self._joiners.watch(name, self._world.whep(edge, room), token=self._tokens[room])
        except Refused as error:
            row["error"] = str(error)
        return {**row, "took_ms": (asyncio.get_running_loop().time() - began) * 1000}

    def _choose(self, *, want_cold: bool, now: float) -> tuple[Pair, bool]:
        age = {pair: now - self._last_seen.get(pair, float("-inf")) for pair in self._pairs}
        coldest = max(self._pairs, key=lambda pair: age[pair])
        if want_cold and age[coldest] > _COLD_AFTER_S:
            return coldest, True
        # The one seen last keeps the others cold.
        warm = min(self._pairs, key=lambda pair: age[pair])
        return warm, age[warm] > _COLD_AFTER_S

    async def _leave(self, departure: tuple[float, str, Pair]) -> float:
        """Seconds that the fleet took to answer."""
        _, name, pair = departure
        await self.collect()
        self._open.discard(name)
        began = asyncio.get_running_loop().time()
        await self._joiners.close(name)
        ended = asyncio.get_running_loop().time()
        if self._last_seen[pair] != float("inf"):
            self._last_seen[pair] = ended
        return ended - began

    async def forget(self) -> None:
        """What was before does not count."""
        await self._stayers.report()

    async def collect(self) -> None:
        """Take over what watchers saw since the last time."""
        staying = await self._stayers.report()
        self.longest_turn_ms = max(self.longest_turn_ms, staying["longest_turn_ms"])
        self._take(staying, {_name_of(pair) for pair in self.steady})
        self._take(await self._joiners.report(), self._open)

    def _take(self, report: Mapping[str, Any], there: set[str]) -> None:
        """Who is there and has lost its session is not in the report any more: time goes on for it all the same."""
        for name, row in report["watchers"].items():
            self._watches.setdefault(name, _Watch()).moments.extend(frame[0] for frame in row["frames"])
            if row["first_frame_ms"] is not None:
                self._first[name] = row["first_frame_ms"]
        for name in there:
            self._watches.setdefault(name, _Watch()).until_ms = report["now_ms"]

    def interruptions(self) -> list[dict[str, Any]]:
        """Pauses over 500 ms between decodable frames of anyone who was watching, those without an end included."""
        return [
            {"viewer": name, "at_ms": at, "pause_ms": pause}
            for name, watch in self._watches.items()
            for at, pause in watch.pauses()
            if pause > _INTERRUPTION_MS
        ] + [
            {"viewer": _name_of(pair), "at_ms": None, "pause_ms": None}
            for pair in self.steady
            if not self._watches.get(_name_of(pair), _Watch()).moments
        ]

    def longest_pauses(self) -> dict[str, float]:
        """Of every watcher that had a picture."""
        return {
            name: round(max(pause for _, pause in watch.pauses()), 1)
            for name, watch in self._watches.items()
            if len(watch.moments) > 1
        }


SCENARIO = Scenario(
    name="outage",
    claim="control killed for 60 s under load: who watches goes on, who comes gets in",
    bars=(BarSpec("viewer_interruptions", "<=", 0), BarSpec("joins_refused", "<=", 0)),
    run=run,
    evidence=("cold_joins", "outage_s"),
    features=("last_good",),
)
