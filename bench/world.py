"""A fleet for one scenario: emulator, control and edges as real processes on this machine, and what they used.

The processes are those that `tradewind up` starts, with the settings it writes; a scenario adds link conditions,
switched-off features and closed rooms, and may kill and restart any of them. Tokens are signed with control's own key,
which edges know only because control pushed it to them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.features import apply_without
from bench.machine import process_usage
from bench.wan.model import LinkConditions
from tradewind.common.tokens import Role, TokenIssuer
from tradewind.up import plan
from tradewind.up.children import Child, Children
from tradewind.up.regions import REGIONS

_READY_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.1
_TOKEN_VALID_S: Final = 3600.0

#: The link of several promises: 160 ms RTT, 1 % loss in bursts of 3, in both directions.
OCEAN: Final = LinkConditions(delay_ms=80, loss_ratio=0.01, burst_packets=3)
#: Pairs for which a scenario names nothing.
_ELSEWHERE: Final = LinkConditions(delay_ms=100)


class WorldNotReady(RuntimeError):
    """What a scenario waits for has not come about; the text has the last state seen."""


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """What a scenario needs: one entry of `links` a pair; `tokens` closes the rooms; edges listen on `media_ip`."""

    regions: tuple[str, ...]
    links: Mapping[tuple[str, str], LinkConditions]
    seed: int
    without: tuple[str, ...] = ()
    tokens: bool = False
    media_ip: str = "127.0.0.1"
    pin_core: int | None = None


@dataclass(slots=True)
class EdgeProcess:
    """A running edge and its bound ports."""

    child: Child
    ready: Mapping[str, Any]

    @property
    def pid(self) -> int:
        """Process id."""
        return self.child.pid


@dataclass(slots=True)
class World:
    """A running fleet."""

    spec: WorldSpec
    directory: Path
    children: Children
    issuer: TokenIssuer
    wan: Mapping[str, Any] = field(default_factory=dict)
    wan_pid: int = 0
    control: Child | None = None
    control_ready: Mapping[str, Any] = field(default_factory=dict)
    edges: dict[str, EdgeProcess] = field(default_factory=dict)

    def whip(self, edge: str, room: str) -> str:
        """Where a host publishes."""
        return f"http://{self.spec.media_ip}:{self.edges[edge].ready['http']}/whip/{room}"

    def whep(self, edge: str, room: str) -> str:
        """Where a viewer watches."""
        return f"http://{self.spec.media_ip}:{self.edges[edge].ready['http']}/whep/{room}"

    def token(self, room: str, role: str) -> str:
        """A token for `room`, or nothing where rooms are open."""
        if not self.spec.tokens:
            return ""
        return self.issuer.issue(room=room, role=Role(role), person="bench", unix_s=time.time(), valid_s=_TOKEN_VALID_S)

    # --- faults -------------------------------------------------------------------------------------------------

    async def set_link(self, a: str, b: str, **changes: object) -> None:
        """Change both directions of a link."""
        await self._wan("PUT", f"/links/{a}/{b}?both=1", changes)

    async def set_direction(self, a: str, b: str, **changes: object) -> None:
        """Change the direction a → b, or lose its next packets (`lose_next`)."""
        await self._wan("PUT", f"/links/{a}/{b}", changes)

    def kill_edge(self, edge: str) -> None:
        """SIGKILL."""
        self.edges[edge].child.process.kill()

    async def restart_edge(self, edge: str, *, without: tuple[str, ...] | None = None) -> None:
        """Start a killed edge again with its data and its settings, or with other features switched off."""
        await self.edges[edge].child.process.wait()
        await self._start_edge(edge, self.spec.without if without is None else without)

    async def start_again(self, *, without: tuple[str, ...]) -> None:
        """All edges once more, with other features switched off; whoever watched or published is gone."""
        for edge in self.edges:
            self.kill_edge(edge)
        await asyncio.gather(*(self.restart_edge(edge, without=without) for edge in self.edges))
        await self._wait_until_up()

    def kill_control(self) -> None:
        """SIGKILL."""
        assert self.control is not None
        self.control.process.kill()

    async def control_gone(self) -> dict[str, int | None]:
        """Wait until the killed control has ended; how it did."""
        assert self.control is not None
        return {"pid": self.control.pid, "exit_status": await self.control.process.wait()}

    async def restart_control(self) -> None:
        """Start control again, on the ports its edges know."""
        assert self.control is not None
        await self.control.process.wait()
        await self._start_control(ports=self.control_ready)

    # --- what is going on ---------------------------------------------------------------------------------------

    async def console(self) -> dict[str, Any]:
        """Control's snapshot, as the console shows it."""
        url = f"http://127.0.0.1:{self.control_ready['http']}/v1/console/snapshot"
        async with httpx.AsyncClient(trust_env=False) as client:
            content: dict[str, Any] = (await client.get(url)).raise_for_status().json()
        return content

    async def wait_for_route(
        self, room: str, edge: str, wanted: Callable[[dict[str, Any]], bool], *, timeout_s: float
    ) -> dict[str, Any]:
        """The route of `edge` to `room` once it is as wanted. Raises WorldNotReady with the last one seen."""
        last: dict[str, Any] | None = None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            last = await self.route(room, edge) or last
            if last is not None and wanted(last):
                return last
            await asyncio.sleep(_POLL_S)
        raise WorldNotReady(f"no such route from {edge} to {room} within {timeout_s:.0f} s; last: {last}")

    async def route(self, room: str, edge: str) -> dict[str, Any] | None:
        """The route of `edge` to the newest source of `room` as control sees it, with what the edge says of it."""
        streams = [stream for stream in (await self.console())["streams"] if stream["room"] == room]
        routes = [route for stream in streams for route in stream["routes"] if route["edge_id"] == edge]
        return dict(routes[-1]) if routes else None

    async def links(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The emulator's counters of each direction."""
        stats = await self._wan("GET", "/stats")
        return {(row["from"], row["to"]): row for row in stats["links"]}

    async def wan_bytes(self) -> dict[tuple[str, str], int]:
        """Trunk bytes that came out of each direction of each link."""
        return {pair: row["delivered_bytes_by_kind"]["trunk"] for pair, row in (await self.links()).items()}

    async def metric(self, edge: str, name: str) -> dict[str, float]:
        """Samples of one metric of an edge by their label text."""
        return (await self.metrics(edge)).get(name, {})

    async def metrics(self, edge: str) -> dict[str, dict[str, float]]:
        """All samples of an edge, by metric and label text."""
        url = f"http://127.0.0.1:{self.edges[edge].ready['metrics']}/metrics"
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(url)).raise_for_status().text
        samples: dict[str, dict[str, float]] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                head, _, value = line.rpartition(" ")
                metric, _, labels = head.partition("{")
                samples.setdefault(metric, {})[labels.rstrip("}")] = float(value)
        return samples

    async def committed_moves(self, edge: str) -> int:
        """How often this edge has moved a stream to its backup for good."""
        samples = await self.metric(edge, "tradewind_dataplane_failovers_committed_total")
        if not samples:
            raise WorldNotReady("the edge has no tradewind_dataplane_failovers_committed_total")
        return int(sum(samples.values()))

    async def counter(self, edge: str, name: str) -> float:
        """One of the packet path's counters, all labels together."""
        return sum((await self.metric(edge, f"tradewind_dataplane_{name}_total")).values())

    @asynccontextmanager
    async def ffmpeg_host(
        self, edge: str, room: str, *, flash: bool = False, until_superseded: bool = False
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """FFmpeg publishing to `room` in a process of its own; `until_superseded` when another host is to take over."""
        arguments = [
            "--url",
            self.whip(edge, room),
            "--token",
            self.token(room, "host"),
            *(["--flash"] if flash else []),
            *(["--until-superseded"] if until_superseded else []),
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.ffmpeg_host", *arguments, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(_READY_TIMEOUT_S):
                if not await process.stdout.readline():
                    raise WorldNotReady("the FFmpeg host ended before it sent anything")
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()

    async def evidence(self, **others: int) -> dict[str, object]:
        """Process ids, what the edges used, and the emulator's own counters and delays.

        `others` are the processes that made the load; their CPU is read by the scenario."""
        usage: dict[str, dict[str, object]] = {}
        for name, edge in self.edges.items():
            if edge.child.process.returncode is None:
                used = process_usage(edge.pid)
                counters = {
                    metric: {labels: value for labels, value in samples.items() if value}
                    for metric, samples in (await self.metrics(name)).items()
                    if metric.startswith("tradewind_dataplane_")
                }
                usage[name] = {"cpu_seconds": used.cpu_seconds, "rss_bytes": used.rss_bytes, "counters": counters}
        control = {"control": self.control.pid} if self.control else {}
        return {
            "process_ids": {name: edge.pid for name, edge in self.edges.items()}
            | control
            | {"wan": self.wan_pid}
            | others,
            "edges": usage,
            "emulator": await self._wan("GET", "/stats"),
        }

    # --- start --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything and wait until control hears every edge."""
        await self._start_wan()
        await self._start_control(ports={})
        await asyncio.gather(*(self._start_edge(region, self.spec.without) for region in self.spec.regions))
        await self._wait_until_up()

    async def _wait_until_up(self) -> None:
        """Until control hears every edge, and every edge has heard control."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            up = {row["edge_id"] for row in (await self.console())["edges"] if row["status"] == "up"}
            epochs = [await self.metric(edge, "tradewind_mesh_leader_epoch") for edge in self.edges]
            if up >= set(self.spec.regions) and all(epoch.get("") for epoch in epochs):
                return
            if time.monotonic() > deadline:
                raise WorldNotReady(f"control hears {sorted(up)} of {sorted(self.spec.regions)}; epochs: {epochs}")
            await asyncio.sleep(_POLL_S)

    async def _start_wan(self) -> None:
        given = {frozenset(pair): conditions for pair, conditions in self.spec.links.items()}
        links = [
            {"a": a, "b": b, **_plain(given.get(frozenset((a, b)), _ELSEWHERE))}
            for a, b in combinations(self.spec.regions, 2)
        ]
        folder = self.directory / "wan"
        settings = {"data_dir": str(folder), "seed": self.spec.seed, "links": links}
        child = await self.children.start("wan", "wan", "--config", self._write("wan", settings))
        self.wan_pid = child.pid
        self.wan = await child.wait_ready(folder / "ready.json", _READY_TIMEOUT_S)

    async def _start_control(self, ports: Mapping[str, Any]) -> None:
        folder = self.directory / "control"
        (folder / "ready.json").unlink(missing_ok=True)
        settings = plan.control_settings(str(folder), self.wan["admin"], plan.Ports())
        for name in ("http", "grpc", "enroll", "metrics"):
            settings[name]["port"] = ports.get(name, 0)
        self.control = await self.children.start("control", "control", "--config", self._write("control", settings))
        self.control_ready = await self.control.wait_ready(folder / "ready.json", _READY_TIMEOUT_S)
        key = (folder / "keys" / "token.key").read_bytes()
        self.issuer = TokenIssuer(Ed25519PrivateKey.from_private_bytes(key))

    async def _start_edge(self, edge: str, without: tuple[str, ...]) -> None:
        folder = self.directory / "edges" / edge
        (folder / "ready.json").unlink(missing_ok=True)
        join_token = (self.directory / "control" / "join_token").read_text(encoding="utf-8").strip()
        address = plan.ControlAddress(self.control_ready["grpc"], self.control_ready["enroll"], join_token)
        settings = plan.edge_settings(REGIONS[edge], 0, str(folder), address, self.wan, plan.Ports())
        settings["http"]["host"] = self.spec.media_ip
        settings["media"] |= {"host": [self.spec.media_ip], "shards": 1}
        apply_without(settings, without)
        if self.spec.pin_core is not None:
            settings["media"]["pin_cores"] = [self.spec.pin_core]
        settings["rooms"]["open_rooms"] = [] if self.spec.tokens else ["*"]
        child = await self.children.start(edge, "edge", "--config", self._write(edge, settings))
        ready = await child.wait_ready(folder / "ready.json", _READY_TIMEOUT_S)
        self.edges[edge] = EdgeProcess(child, ready)
        if len(self.spec.regions) > 1:
            target = {kind: f"127.0.0.1:{ready[kind]}" for kind in ("trunk", "probe")}
            await self._wan("PUT", f"/targets/{edge}", target)

    def _write(self, name: str, settings: Mapping[str, Any]) -> str:
        path = self.directory / f"{name}.toml"
        path.write_text(plan.to_toml(settings), encoding="utf-8")
        return str(path)

    async def _wan(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        async with httpx.AsyncClient(base_url=f"http://{self.wan['admin']}", trust_env=False) as client:
            response = await client.request(method, path, content=json.dumps(body) if body is not None else None)
            return response.raise_for_status().json()


def _plain(conditions: LinkConditions) -> dict[str, object]:
    """Only what differs from a perfect wire: TOML has no null."""
    perfect = asdict(LinkConditions())
    return {name: value for name, value in asdict(conditions).items() if value != perfect[name]}


@asynccontextmanager
async def open_world(spec: WorldSpec) -> AsyncIterator[World]:
    """Start a fleet and end it; its directory stays when the scenario fails, and the error names it."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    children = Children(directory / "logs")
    world = World(spec, directory, children, TokenIssuer(Ed25519PrivateKey.generate()))
    try:
        await world.start()
        yield world
    except BaseException as error:
        error.add_note(f"the processes' logs are in {directory / 'logs'}")
        raise
    else:
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        await children.stop()


__all__ = ["OCEAN", "EdgeProcess", "LinkConditions", "World", "WorldNotReady", "WorldSpec", "open_world"]
