"""The control process from its first line to its last.

Start: data directory lock, secrets, a new leader epoch, gRPC, HTTP, metrics, ready.json. A stop ends the event streams
and the telemetry streams; edges keep their last good routes and come back to whoever leads next.
"""

from __future__ import annotations

import asyncio
import csv
import datetime
import os
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import uvloop

from control.api.app import console_app, enrolment_app, metrics_app
from control.api.demo import DemoLinks
from control.fleet.authority import Authority
from control.fleet.front import server_tls
from control.fleet.hub import FleetHub, next_leader_epoch
from control.fleet.registry import EdgeFacts, FleetRegistry
from control.fleet.service import FleetServer
from control.metrics import ControlMetrics
from control.settings import ControlSettings
from tradewind.common.logging import configure_logging, get_logger
from tradewind.common.process import DataDirectory, listen_tcp, watch_stop
from tradewind.common.serving import embedded_server
from tradewind.common.settings import Loaded

log = get_logger(__name__)

# At each of the HTTP ports. An honest fleet has a few consoles, one Prometheus, and edges at their first start.
CONNECTIONS_MAX = 1024


def run(loaded: Loaded[ControlSettings], *, exit_with_parent: bool = False) -> None:
    """Serves until SIGTERM or SIGINT, or until stdin closes. Raises StartError when it cannot start."""
    configure_logging(level=loaded.settings.log_level, process="control")
    for warning in loaded.warnings:
        log.warning("setting_ignored", detail=warning)
    uvloop.run(serve(loaded.settings, exit_with_parent=exit_with_parent))


async def serve(settings: ControlSettings, *, exit_with_parent: bool = False) -> None:
    """One control process on the running loop."""
    with ExitStack() as stack:
        directory = DataDirectory(settings.data_dir)
        stack.callback(directory.close)
        stop = asyncio.Event()
        stack.callback(watch_stop(stop, exit_with_parent=exit_with_parent))
        await serve_until(settings, directory, stop)


async def serve_until(settings: ControlSettings, directory: DataDirectory, stop: asyncio.Event) -> None:
    """Serves in a directory that is held already, until `stop` is set."""
    async with AsyncExitStack() as stack:
        await _serve(settings, directory, stop, stack)


async def _serve(
    settings: ControlSettings, directory: DataDirectory, stop: asyncio.Event, stack: AsyncExitStack
) -> None:
    metrics = ControlMetrics()
    authority = Authority(
        settings.data_dir,
        hosts=sorted({settings.grpc.host, settings.enroll.host} - {"0.0.0.0", "::", "[::]"}),
        join_secrets=[secret.get_secret_value() for secret in settings.join_secrets],
        now=datetime.datetime.now(datetime.UTC),
    )
    registry = FleetRegistry(
        settings.data_dir / "fleet.json",
        read_tariffs(settings.brain.tariffs_csv),
        read_edge_facts(settings.brain.edges_csv),
    )
    epoch = next_leader_epoch(settings.data_dir)
    hub = FleetHub(
        registry,
        authority,
        metrics,
        leader_epoch=epoch,
        clock=time.monotonic,
        decide_interval_s=settings.brain.decide_interval_s,
    )
    server = FleetServer(hub, settings.data_dir / "grpc", host=settings.grpc.host, port=settings.grpc.port)
    stack.callback(server.close)
    grpc_address = settings.grpc.public_address or f"{settings.grpc.host}:{server.port}"
    demo = None
    if settings.demo.wan_url:
        demo = DemoLinks(settings.demo.wan_url)
        stack.push_async_callback(demo.close)

    stopping = asyncio.Event()
    listeners = {
        name: listen_tcp(section.host, section.port, f"{name}.port")
        for name, section in (("http", settings.http), ("enroll", settings.enroll), ("metrics", settings.metrics))
    }
    enrolment = embedded_server(
        enrolment_app(authority, hub, metrics, grpc_address=lambda: grpc_address),
        connections_max=CONNECTIONS_MAX,
        count_refusal=lambda reason: metrics.enrolments.labels(reason).inc(),
    )
    enrolment.config.load()
    enrolment.config.ssl = server_tls(authority)
    sites = {
        "http": embedded_server(
            console_app(hub, demo, stopping),
            connections_max=CONNECTIONS_MAX,
            count_refusal=lambda reason: metrics.console_refusals.labels(reason).inc(),
        ),
        "enroll": enrolment,
        "metrics": embedded_server(metrics_app(metrics, lambda: hub.planner.pushing), connections_max=CONNECTIONS_MAX),
    }
    ports = {"grpc": server.port, **{name: listener.getsockname()[1] for name, listener in listeners.items()}}
    async with asyncio.TaskGroup() as tasks:
        for name, site in sites.items():
            tasks.create_task(site.serve_on(listeners[name]))
        await server.start()
        fronting = tasks.create_task(server.serve())
        deciding = tasks.create_task(hub.run())
        directory.write_ready({"pid": os.getpid(), **ports})
        log.info("control_serves", leader_epoch=epoch, **ports)
        await stop.wait()
        log.info("control_stops")
        stopping.set()
        await hub.wake_followers()
        for site in sites.values():
            site.should_exit = True
        await server.stop()
        fronting.cancel()
        deciding.cancel()


def read_tariffs(path: Path | None) -> dict[tuple[str, str], float]:
    """Egress prices by (from, to). Raises ValueError naming the line that cannot be read."""
    if path is None:
        return {}
    prices: dict[tuple[str, str], float] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                price = float(row["usd_per_gb"])
                sender, receiver = row["from_edge"], row["to_edge"]
            except (KeyError, TypeError, ValueError):
                raise ValueError(f"{path}:{number}: columns are from_edge,to_edge,usd_per_gb") from None
            if not 0.0 <= price < 100.0:
                raise ValueError(f"{path}:{number}: {price} $/GB is no tariff")
            prices[sender, receiver] = price
    return prices


def read_edge_facts(path: Path | None) -> dict[str, EdgeFacts]:
    """What the operator says about edges. Raises ValueError naming the line that cannot be read."""
    if path is None:
        return {}
    facts: dict[str, EdgeFacts] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            place = [(row.get(name) or "").strip() for name in ("latitude_degrees", "longitude_degrees")]
            edge_id = (row.get("edge_id") or "").strip()
            try:
                latitude, longitude = (float(text) if text else None for text in place)
            except ValueError:
                raise ValueError(f"{path}:{number}: coordinates are degrees, or both empty") from None
            if not edge_id or (latitude is None) != (longitude is None):
                raise ValueError(f"{path}:{number}: columns are edge_id,latitude_degrees,longitude_degrees,...")
            if latitude is not None and longitude is not None and not (abs(latitude) <= 90 and abs(longitude) <= 180):
                raise ValueError(f"{path}:{number}: {latitude}, {longitude} is no place on Earth")
            texts = [(row.get(name) or "").strip() for name in ("provider", "continent")]
            facts[edge_id] = EdgeFacts(latitude, longitude, *texts)
    return facts
