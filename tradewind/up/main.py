"""`tradewind up`: emulator, control, edges, broadcast, in that order; three lines when a picture has crossed
regions."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tradewind.common.process import DataDirectory
from tradewind.up import plan
from tradewind.up.children import Child, ChildFailedError, Children
from tradewind.up.regions import Region, rtt_ms

DATA_DIR = Path(".tradewind")
ROOM = "demo"
# On two busy cores; an idle machine needs a tenth of it.
READY_TIMEOUT_S = 60.0
FRAMES_TIMEOUT_S = 90.0
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
    _make_room(up.data_dir)
    ports = plan.Ports(up.port_base)
    wan_ready = await _start_wan(up, children)
    _say(f"links    {_links(up.regions)}")
    control_ready, control = await _start_control(up, children, wan_ready, ports)
    _say(f"control  127.0.0.1:{control_ready['http']}")
    edges = await _start_edges(up, children, control, wan_ready, ports)
    await _register_targets(wan_ready["admin"], edges)
    for name, ready in edges.items():
        _say(f"edge     {name} 127.0.0.1:{ready['http']}")
    _write_up(up, wan_ready, control_ready, edges)
    ingest, viewing = up.regions[0].name, up.regions[1].name
    urls = {name: f"http://127.0.0.1:{ready['http']}" for name, ready in edges.items()}
    if up.broadcast:
        await _broadcast(up, children, urls[ingest], urls[viewing])
        took_s = time.monotonic() - started
        _say(f"a broadcast enters at {ingest} and comes out at {viewing} ({took_s:.1f} s after the start)")
    # Plain lines, whole and unstyled: people and scripts copy them.
    print(f"watch {urls[viewing]}/watch/{ROOM}")
    print(f"studio {urls[ingest]}/studio/{ROOM}")
    print(f"console http://127.0.0.1:{control_ready['http']}/console", flush=True)
    _say(f"Ctrl-C ends it. Make a link bad: tradewind demo link {ingest} {viewing} --loss 10 --delay 400")
    await _report_deaths(children)


async def _start_wan(up: UpPlan, children: Children) -> dict[str, Any]:
    folder = up.data_dir / "wan"
    config = _write_settings(up, "wan", plan.wan_settings(up.regions, str(folder), SEED))
    child = await children.start("wan", "wan", "--config", str(config))
    return await child.wait_ready(folder / "ready.json", READY_TIMEOUT_S)


async def _start_control(
    up: UpPlan, children: Children, wan_ready: dict[str, Any], ports: plan.Ports
) -> tuple[dict[str, Any], plan.ControlAddress]:
    folder = up.data_dir / "control"
    config = _write_settings(up, "control", plan.control_settings(str(folder), wan_ready["admin"], ports))
    child = await children.start("control", "control", "--config", str(config))
    ready = await child.wait_ready(folder / "ready.json", READY_TIMEOUT_S)
    join_token = (folder / "join_token").read_text(encoding="utf-8").strip()
    return ready, plan.ControlAddress(ready["grpc"], ready["enroll"], join_token)


async def _start_edges(
    up: UpPlan, children: Children, control: plan.ControlAddress, wan_ready: dict[str, Any], ports: plan.Ports
) -> dict[str, dict[str, Any]]:
    starting = []
    for index, region in enumerate(up.regions):
        folder = up.data_dir / "edges" / region.name
        settings = plan.edge_settings(region, index, str(folder), control, wan_ready, ports)
        config = _write_settings(up, region.name, settings)
        child = await children.start(region.name, "edge", "--config", str(config))
        starting.append(child.wait_ready(folder / "ready.json", READY_TIMEOUT_S))
    ready = await asyncio.gather(*starting)
    return {region.name: content for region, content in zip(up.regions, ready, strict=True)}


async def _register_targets(wan_admin: str, edges: dict[str, dict[str, Any]]) -> None:
    async with httpx.AsyncClient(base_url=f"http://{wan_admin}", trust_env=False) as http:
        for name, ready in edges.items():
            target = {kind: f"127.0.0.1:{ready[kind]}" for kind in ("trunk", "probe")}
            (await http.put(f"/targets/{name}", json=target)).raise_for_status()


async def _broadcast(up: UpPlan, children: Children, ingest_url: str, viewing_url: str) -> None:
    """Starts the broadcast and waits until its own viewer has seen frames at the other edge."""
    title = f"Tradewind · {up.regions[0].city}"
    arguments = ("publish", "test", "--room", ROOM, "--edge", ingest_url, "--check", viewing_url, "--title", title)
    child = await children.start("broadcast", *arguments, capture=True)
    assert child.process.stdout is not None, "captured"
    trouble = ""
    try:
        async with asyncio.timeout(FRAMES_TIMEOUT_S):
            while line := (await child.process.stdout.readline()).decode().strip():
                if line.startswith("frames "):
                    return
                if line.startswith("waiting: ") and line != trouble:
                    trouble = line
                    _say(f"broadcast {line}")
    except TimeoutError:
        raise ChildFailedError(
            f"no frames at {viewing_url} after {FRAMES_TIMEOUT_S:.0f} s ({trouble or 'no reason given'}); "
            f"the logs are in {up.data_dir / 'logs'}"
        ) from None
    await child.process.wait()
    raise child.failure()


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
    """Each start is a new fleet: identities and routes of an earlier one would speak of edges that are no more."""
    for name in ("wan", "control", "edges", "settings"):
        shutil.rmtree(data_dir / name, ignore_errors=True)
    (data_dir / "settings").mkdir(parents=True)


def _write_settings(up: UpPlan, name: str, settings: dict[str, Any]) -> Path:
    path = up.data_dir / "settings" / f"{name}.toml"
    path.touch(mode=0o600)  # edges' settings hold the join token
    path.write_text(plan.to_toml(settings), encoding="utf-8")
    return path


def _write_up(
    up: UpPlan, wan_ready: dict[str, Any], control_ready: dict[str, Any], edges: dict[str, dict[str, Any]]
) -> None:
    """What other commands (`tradewind demo link`) need to find this fleet."""
    content = {"pid": os.getpid(), "wan": wan_ready, "control": control_ready, "edges": edges}
    (up.data_dir / "up.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _links(regions: tuple[Region, ...]) -> str:
    pairs = [(a, b) for i, a in enumerate(regions) for b in regions[i + 1 :]]
    shown = ", ".join(f"{a.name}-{b.name} {rtt_ms(a, b):g} ms" for a, b in pairs[:6])
    return shown if len(pairs) <= 6 else f"{shown} and {len(pairs) - 6} more"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
