"""`tradewind up`: emulator, control, edges, broadcast, in that order; three lines when a picture has crossed
regions."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradewind.common.process import DataDirectory, StartError, probe_port
from tradewind.up import plan
from tradewind.up.children import Child, ChildFailedError, Children
from tradewind.up.regions import Region, rtt_ms

DATA_DIR = Path(".tradewind")
ROOM = "demo"
# On two busy cores; an idle machine needs a tenth of it.
READY_TIMEOUT_S = 60.0
FRAMES_TIMEOUT_S = 90.0
EMULATOR_TIMEOUT_S = 10.0
SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UpPlan:
    """What to start."""

    regions: tuple[Region, ...]
    port_base: int = 0
    data_dir: Path = DATA_DIR
    broadcast: bool = True


def run(up: UpPlan) -> int:
    """Runs until Ctrl-C or SIGTERM; the exit status. Raises OSError with one line for the user."""
    return asyncio.run(_run(up))


async def _run(up: UpPlan) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    _probe_ports(up)
    directory = DataDirectory(up.data_dir)
    children = Children(up.data_dir / "logs")
    failures: list[OSError] = []

    async def serve() -> None:
        try:
            await _serve(up, children)
        except OSError as error:
            failures.append(error)
        finally:
            stop.set()

    try:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(serve())
            await stop.wait()
            serving.cancel()
        if not failures:
            _say("stopping")
    finally:
        await children.stop()
        (up.data_dir / "up.json").unlink(missing_ok=True)
        directory.close()
    if failures:
        raise failures[0]
    return 0


async def _serve(up: UpPlan, children: Children) -> None:
    started = time.monotonic()
    alone = len(up.regions) == 1
    cities = ", ".join(region.city for region in up.regions)
    _say(f"starting {cities}" if alone else f"starting {cities} and the links between them")
    _make_room(up.data_dir)
    fleet = Fleet(up)
    # All start at once and load their libraries; each goes on when its settings, which name its elders' ports, are
    # there.
    wan = await children.start("wan", "wan", *fleet.config("wan"))
    control = await children.start("control", "control", *fleet.config("control"))
    edges = [await children.start(region.name, "edge", *fleet.config(region.name)) for region in up.regions]
    broadcast = await children.start("broadcast", *fleet.broadcast_arguments(), capture=True) if up.broadcast else None

    fleet.write_settings("wan", plan.wan_settings(up.regions, str(fleet.folder("wan")), SEED))
    wan_ready = await wan.wait_ready(fleet.folder("wan") / "ready.json", READY_TIMEOUT_S)
    _say(f"links    {_links(up.regions)}")

    ports = plan.Ports(up.port_base)
    fleet.write_settings("control", plan.control_settings(str(fleet.folder("control")), wan_ready["admin"], ports))
    control_ready = await control.wait_ready(fleet.folder("control") / "ready.json", READY_TIMEOUT_S)
    join_token = (fleet.folder("control") / "join_token").read_text(encoding="utf-8").strip()
    address = plan.ControlAddress(control_ready["grpc"], control_ready["enroll"], join_token)
    _say(f"control  127.0.0.1:{control_ready['http']}")

    for index, region in enumerate(up.regions):
        folder = str(fleet.folder(region.name))
        fleet.write_settings(region.name, plan.edge_settings(region, index, folder, address, wan_ready, ports))
    ready = {
        edge.name: await edge.wait_ready(fleet.folder(edge.name) / "ready.json", READY_TIMEOUT_S) for edge in edges
    }
    if not alone:
        await asyncio.to_thread(_register_targets, wan_ready["admin"], ready)
    for name, content in ready.items():
        _say(f"edge     {name} 127.0.0.1:{content['http']}")
    _write_up(up, wan_ready, control_ready, ready)

    ingest, viewing = fleet.ingest, fleet.viewing
    urls = {name: f"http://127.0.0.1:{content['http']}" for name, content in ready.items()}
    if broadcast is not None:
        _say("waiting for a picture" if alone else f"waiting for a picture to cross from {ingest} to {viewing}")
        try:
            async with asyncio.timeout(FRAMES_TIMEOUT_S):
                await _wait_for_frames(broadcast, children.children)
        except TimeoutError:
            raise ChildFailedError(
                f"no frames at {urls[viewing]} after {FRAMES_TIMEOUT_S:.0f} s; the logs are in {up.data_dir / 'logs'}"
            ) from None
        took_s = time.monotonic() - started
        _say(f"a broadcast enters at {ingest} and comes out at {viewing} ({took_s:.1f} s after the start)")
    # Plain lines, whole and unstyled: people and scripts copy them.
    print(f"watch {urls[viewing]}/watch/{ROOM}")
    print(f"studio {urls[ingest]}/studio/{ROOM}")
    print(f"console http://127.0.0.1:{control_ready['http']}/console", flush=True)
    hint = "" if alone else f" Make a link bad: {_demo_link(up, ingest, viewing)} --loss 10 --delay 400"
    _say(f"Ctrl-C ends it.{hint}")
    await _report_deaths(children)


class Fleet:
    """Where each child's files are, and what it is called with."""

    def __init__(self, up: UpPlan) -> None:
        self._up = up
        # One region is its own other end.
        self.ingest, self.viewing = up.regions[0].name, up.regions[:2][-1].name

    def folder(self, name: str) -> Path:
        """A child's data directory."""
        return self._up.data_dir / (name if name in ("wan", "control") else f"edges/{name}")

    def config(self, name: str) -> tuple[str, ...]:
        """Arguments that make a child wait for its settings."""
        return ("--wait-for-config", "--config", str(self._settings(name)))

    def write_settings(self, name: str, settings: dict[str, Any]) -> None:
        """Lets a child go on."""
        partial = self._settings(name).with_suffix(".partial")
        partial.touch(mode=0o600)  # edges' settings hold the join token
        partial.write_text(plan.to_toml(settings), encoding="utf-8")
        partial.replace(self._settings(name))

    def broadcast_arguments(self) -> tuple[str, ...]:
        """The test picture into the first region, watched at the second if there is one."""
        places = [str(self.folder(name) / "ready.json") for name in (self.ingest, self.viewing)]
        title = f"Tradewind · {self._up.regions[0].city}"
        return ("publish", "test", "--room", ROOM, "--edge", places[0], "--check", places[1], "--title", title)

    def _settings(self, name: str) -> Path:
        return self._up.data_dir / "settings" / f"{name}.toml"


def _probe_ports(up: UpPlan) -> None:
    """Before anything starts: a taken port is named with its owner and the option that changes it."""
    for kind, port in plan.Ports(up.port_base).all(len(up.regions)):
        probe_port(kind, "127.0.0.1", port, "--port-base")


def _register_targets(wan_admin: str, edges: dict[str, dict[str, Any]]) -> None:
    """Tells the emulator where each edge listens."""
    connection = http.client.HTTPConnection(wan_admin, timeout=EMULATOR_TIMEOUT_S)
    try:
        for name, ready in edges.items():
            target = {kind: f"127.0.0.1:{ready[kind]}" for kind in ("trunk", "probe")}
            connection.request("PUT", f"/targets/{name}", json.dumps(target), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status >= 400:
                raise OSError(f"the emulator refused edge {name}: {answer[:200].decode(errors='replace')}")
    except http.client.HTTPException as error:
        raise OSError(f"the emulator at {wan_admin} does not answer: {error}") from None
    finally:
        connection.close()


async def _wait_for_frames(broadcast: Child, children: Sequence[Child]) -> None:
    """Until the broadcast's own viewer has seen frames at the other edge. Raises ChildFailedError when a child dies."""

    async def fail_when_ended(child: Child) -> None:
        await child.process.wait()
        raise child.failure()

    try:
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(fail_when_ended(child)) for child in children]
            await _hear_of_frames(broadcast)
            for task in watching:
                task.cancel()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _hear_of_frames(broadcast: Child) -> None:
    assert broadcast.process.stdout is not None, "captured"
    while line := (await broadcast.process.stdout.readline()).decode().strip():
        if line.startswith("frames "):
            return
        if line.startswith("waiting: "):
            _say(f"broadcast {line}")
    # Its output has ended, and so will it.
    await asyncio.Event().wait()


async def _report_deaths(children: Children) -> None:
    """Runs until cancelled. The rest goes on without a child that dies: that is what the demonstration is about."""

    async def report(child: Child) -> None:
        status = await child.process.wait()
        _say(f"{child.name} (process {child.pid}) ended with status {status}; the others go on")

    async def drain(child: Child) -> None:
        # A full pipe would stop the child.
        while child.process.stdout is not None and await child.process.stdout.readline():
            pass

    async with asyncio.TaskGroup() as tasks:
        for child in children.children:
            tasks.create_task(report(child))
            tasks.create_task(drain(child))
        await asyncio.Event().wait()


def _make_room(data_dir: Path) -> None:
    """Each start is a new fleet: identities and routes of an earlier one would speak of edges that are no more.

    Raises StartError rather than remove what no earlier start has made: a control's keys, or somebody's sources.
    """
    folders = [data_dir / name for name in ("wan", "control", "edges", "settings")]
    if not (data_dir / "settings" / "wan.toml").exists():
        for folder in folders:
            if folder.exists() and any(folder.iterdir()):
                raise StartError(
                    f"{folder} was not made by `tradewind up`, which would remove it: name another --data-dir"
                )
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    (data_dir / "settings").mkdir(parents=True)


def _write_up(
    up: UpPlan, wan_ready: dict[str, Any], control_ready: dict[str, Any], edges: dict[str, dict[str, Any]]
) -> None:
    """What other commands (`tradewind demo link`) need to find this fleet."""
    content = {"pid": os.getpid(), "wan": wan_ready, "control": control_ready, "edges": edges}
    (up.data_dir / "up.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _demo_link(up: UpPlan, a: str, b: str) -> str:
    """As it can be typed here: a newcomer's shell does not know the environment."""
    given = Path(sys.argv[0])
    command = str(given) if given.name == "tradewind" and shutil.which("tradewind") is None else "tradewind"
    place = "" if up.data_dir == DATA_DIR else f" --data-dir {up.data_dir}"
    return f"{command} demo link {a} {b}{place}"


def _links(regions: tuple[Region, ...]) -> str:
    pairs = [(a, b) for i, a in enumerate(regions) for b in regions[i + 1 :]]
    shown = ", ".join(f"{a.name}-{b.name} {rtt_ms(a, b):g} ms" for a, b in pairs[:6])
    return shown or "none" if len(pairs) <= 6 else f"{shown} and {len(pairs) - 6} more"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
