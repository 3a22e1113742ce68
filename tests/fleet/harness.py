"""A real control in this process and mesh agents with a fake packet path, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from control.main import serve_until
from control.settings import ControlSettings
from edge.mesh.agent import MeshAgent
from edge.mesh.errors import SliceRefused
from edge.mesh.identity import EdgeIdentity, ensure_identity
from edge.mesh.port import DataplaneSample, StreamSample, TrunkSample
from edge.mesh.settings import MeshSettings
from edge.mesh.view import EdgeLoad, Route
from tests.waiting import until
from tradewind.common.process import DataDirectory


class Control:
    """A running control; `stop` ends it as SIGTERM does."""

    def __init__(self, data_dir: Path, ready: Mapping[str, Any], stop: asyncio.Event) -> None:
        self.data_dir = data_dir
        self.ready = ready
        self.stop = stop
        self.join_token = (data_dir / "join_token").read_text().strip()
        self.enroll_url = f"https://127.0.0.1:{ready['enroll']}"
        self.http_url = f"http://127.0.0.1:{ready['http']}"
        self.grpc_address = f"127.0.0.1:{ready['grpc']}"

    async def snapshot(self) -> dict[str, Any]:
        """What the console sees."""
        return dict(json.loads(await self.get("/v1/console/snapshot")))

    async def get(self, path: str) -> str:
        """The body of a page."""
        async with httpx.AsyncClient(base_url=self.http_url, trust_env=False) as client:
            response = await client.get(path)
            response.raise_for_status()
            return response.text

    async def metric(self, line: str) -> float:
        """The value of a series in the metrics text."""
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"http://127.0.0.1:{self.ready['metrics']}/metrics")).text
        return next(float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line + " "))


@asynccontextmanager
async def running_control(data_dir: Path, *, grpc_port: int = 0, **settings: Any) -> AsyncIterator[Control]:
    """Starts control on `data_dir` and ends it with the block."""
    stop = asyncio.Event()
    loaded = ControlSettings.model_validate(
        {
            "data_dir": data_dir,
            "grpc": {"port": grpc_port},
            **{name: {"port": 0} for name in ("http", "enroll", "metrics")},
            **settings,
        }
    )
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        directory = DataDirectory(data_dir)
        stack.callback(directory.close)
        serving = tasks.create_task(serve_until(loaded, directory, stop))
        stack.callback(stop.set)
        ready = data_dir / "ready.json"
        await until(lambda: ready.exists() or serving.done())
        try:
            yield Control(data_dir, json.loads(ready.read_text()), stop)
        finally:
            stop.set()
            await serving


class FakePort:
    """A packet path that remembers what it was told and reports what the test wants."""

    def __init__(self) -> None:
        self.peers: dict[str, str] = {}
        self.routes: tuple[Route, ...] = ()
        self.refuse: SliceRefused | None = None
        self.streams: list[StreamSample] = []
        self.trunks: list[TrunkSample] = []

    def apply_peers(self, addresses: Mapping[str, str]) -> None:
        self.peers = dict(addresses)

    def apply_routes(self, routes: Sequence[Route]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.routes = tuple(routes)

    def sample(self) -> DataplaneSample:
        return DataplaneSample(tuple(self.trunks), tuple(self.streams), EdgeLoad(), {})

    def publish(self, room: str, incarnation: int = 1) -> None:
        """A host is connected here."""
        self.streams.append(StreamSample(room, incarnation, True, ("h264", "opus"), 0, (), "source"))

    def watch(self, room: str, path: tuple[str, ...], incarnation: int = 1) -> None:
        """The stream flows here over `path`."""
        self.streams.append(StreamSample(room, incarnation, False, ("h264", "opus"), 1, path, "primary"))

    def route(self, room: str) -> Route | None:
        """What the packet path would do for a room."""
        return next((route for route in self.routes if route.room == room), None)


def edge_settings(edge_id: str, data_dir: Path, control: Control, **changes: Any) -> MeshSettings:
    """Settings of one edge; coordinates stay unset, because loopback is faster than light between continents."""
    fields: dict[str, Any] = {
        "edge_id": edge_id,
        "data_dir": data_dir,
        "region": edge_id,
        "http_url": f"http://{edge_id}.test",
        "trunk_address": f"127.0.0.1:{7000 + sum(edge_id.encode())}",
        "control_http_url": control.enroll_url,
        "join_token": control.join_token,
        **changes,
    }
    data_dir.mkdir(parents=True, exist_ok=True)
    return MeshSettings(**fields)


class Edge:
    """An enrolled agent under test."""

    def __init__(self, settings: MeshSettings, identity: EdgeIdentity) -> None:
        self.port = FakePort()
        self.identity = identity
        self.agent = MeshAgent(settings, identity, self.port)
        self.edge_id = settings.edge_id

    def route(self, room: str = "demo") -> tuple[str, ...] | None:
        """The primary path to a room."""
        found = self.port.route(room)
        return found.primary if found else None


@asynccontextmanager
async def running_edges(
    control: Control, folder: Path, *edge_ids: str, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> AsyncIterator[dict[str, Edge]]:
    """Enrols and runs agents; they end with the block."""
    edges: dict[str, Edge] = {}
    for edge_id in edge_ids:
        settings = edge_settings(edge_id, folder / edge_id, control, **(changes or {}).get(edge_id, {}))
        edges[edge_id] = Edge(settings, await ensure_identity(settings))
    async with running(*edges.values()):
        yield edges


@asynccontextmanager
async def running(*edges: Edge) -> AsyncIterator[None]:
    """Runs agents until the block ends."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(edge.agent.run()) for edge in edges]
        try:
            yield
        finally:
            for task in started:
                task.cancel()


def trusting_nobody() -> ssl.SSLContext:
    """For requests that look at control's TLS without checking it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
