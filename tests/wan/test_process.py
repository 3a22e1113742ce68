"""The emulator as a process: real sockets, real time, its HTTP surface."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx

from tests.waiting import PATIENCE_S, until

CONFIG = """
data_dir = "{data_dir}"
seed = 7
[[links]]
a = "sg"
b = "fra"
delay_ms = 40
[[links]]
a = "fra"
b = "iad"
"""


@dataclass
class Peer(asyncio.DatagramProtocol):
    """A UDP socket that keeps what arrives, with its time and origin."""

    received: asyncio.Queue[tuple[bytes, tuple[str, int], float]] = field(default_factory=asyncio.Queue)
    transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait((data, addr[:2], time.monotonic()))

    @property
    def address(self) -> str:
        assert self.transport is not None
        host, port = self.transport.get_extra_info("sockname")[:2]
        return f"{host}:{port}"

    def send(self, data: bytes, to: str) -> None:
        assert self.transport is not None
        host, port = to.split(":")
        self.transport.sendto(data, (host, int(port)))

    async def receive(self) -> tuple[bytes, tuple[str, int], float]:
        return await asyncio.wait_for(self.received.get(), PATIENCE_S)


@dataclass
class Emulator:
    process: asyncio.subprocess.Process
    ready: dict[str, Any]
    http: httpx.AsyncClient

    def side(self, near: str, far: str) -> dict[str, str]:
        for link in self.ready["links"]:
            if (link["a"], link["b"]) == (near, far):
                return dict(link["a_side"])
            if (link["a"], link["b"]) == (far, near):
                return dict(link["b_side"])
        raise LookupError(f"{near}-{far}")

    async def direction(self, origin: str, destination: str) -> dict[str, Any]:
        stats = (await self.http.get("/stats")).json()
        (row,) = [row for row in stats["links"] if (row["from"], row["to"]) == (origin, destination)]
        return dict(row)


async def open_peer() -> Peer:
    loop = asyncio.get_running_loop()
    _transport, peer = await loop.create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
    return peer


@asynccontextmanager
async def emulator(directory: Path, *options: str) -> AsyncIterator[Emulator]:
    config = directory / "wan.toml"
    config.write_text(CONFIG.format(data_dir=directory / "data"))
    command = [sys.executable, "-m", "tradewind.cli", "wan", "--config", str(config), *options]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    try:
        ready = directory / "data" / "ready.json"
        await until(lambda: ready.exists() or process.returncode is not None)
        assert process.returncode is None
        content = json.loads(ready.read_text())
        async with httpx.AsyncClient(base_url=f"http://{content['admin']}") as http:
            yield Emulator(process, content, http)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_edges_reach_each_other_with_the_delay_and_one_stable_address(tmp_path: Path) -> None:
    async with emulator(tmp_path) as wan:
        sg, fra = await open_peer(), await open_peer()
        await wan.http.put("/targets/sg", json={"trunk": sg.address})
        await wan.http.put("/targets/fra", json={"trunk": fra.address})
        started = time.monotonic()
        sg.send(b"hello", wan.side("sg", "fra")["trunk"])
        data, seen_from, at = await fra.receive()
        assert data == b"hello"
        assert "{}:{}".format(*seen_from) == wan.side("fra", "sg")["trunk"]
        # How much later it is depends on the machine and stands in every bench report.
        assert at - started >= 0.040
        fra.send(b"hello back", wan.side("fra", "sg")["trunk"])
        assert (await sg.receive())[0] == b"hello back"


async def test_a_client_with_its_own_port_gets_its_own_answers(tmp_path: Path) -> None:
    async with emulator(tmp_path) as wan:
        server, other_server, client = await open_peer(), await open_peer(), await open_peer()
        await wan.http.put("/targets/iad", json={"probe": server.address})
        await wan.http.put("/targets/fra", json={"probe": other_server.address})
        client.send(b"ping", wan.side("fra", "iad")["probe"])
        data, seen_from, _at = await server.receive()
        assert data == b"ping"
        server.send(b"pong", "{}:{}".format(*seen_from))
        assert (await client.receive())[0] == b"pong"
        assert other_server.received.empty()


async def test_a_link_changes_while_traffic_flows(tmp_path: Path) -> None:
    async with emulator(tmp_path) as wan:
        fra, iad = await open_peer(), await open_peer()
        await wan.http.put("/targets/iad", json={"trunk": iad.address})
        await wan.http.put("/targets/fra", json={"trunk": fra.address})
        answer = await wan.http.put("/links/fra/iad", json={"blackout": True})
        assert answer.json()["links"][0]["blackout"] is True
        fra.send(b"lost", wan.side("fra", "iad")["trunk"])
        iad.send(b"the other direction is untouched", wan.side("iad", "fra")["trunk"])
        await fra.receive()
        await wan.http.put("/links/fra/iad", json={"blackout": False, "delay_ms": 5})
        fra.send(b"again", wan.side("fra", "iad")["trunk"])
        assert (await iad.receive())[0] == b"again"
        row = await wan.direction("fra", "iad")
        assert row["drops"]["blackout"] == 1
        assert row["delivered_packets"] == 1
        assert row["conditions"]["delay_ms"] == 5


async def test_a_paced_stream_keeps_its_order_and_is_never_early(tmp_path: Path) -> None:
    async with emulator(tmp_path) as wan:
        sg, fra = await open_peer(), await open_peer()
        await wan.http.put("/targets/sg", json={"trunk": sg.address})
        await wan.http.put("/targets/fra", json={"trunk": fra.address})
        for i in range(300):
            sg.send(i.to_bytes(4, "big") * 300, wan.side("sg", "fra")["trunk"])
            await asyncio.sleep(0.003)
        order = [int.from_bytes((await fra.receive())[0][:4], "big") for _ in range(300)]
        assert order == list(range(300))
        stats = (await wan.http.get("/stats")).json()
        row = await wan.direction("sg", "fra")
        assert row["delay_ms"]["p50"] >= 40
        assert stats["kernel_drops"] == 0


async def test_bad_requests_say_what_to_do(tmp_path: Path) -> None:
    async with emulator(tmp_path) as wan:
        unknown = await wan.http.put("/links/sg/nowhere", json={"delay_ms": 1})
        assert unknown.status_code == 404
        assert "fra-sg" in unknown.json()["detail"] or "sg-fra" in unknown.json()["detail"]
        assert (await wan.http.put("/links/sg/fra", json={"loss_ratio": 2})).status_code == 400
        assert (await wan.http.put("/links/sg/fra", json={"latency": 2})).status_code == 400
        assert (await wan.http.put("/links/sg/fra", content=b"{")).status_code == 400
        assert (await wan.http.put("/targets/sg", json={"trunk": "nonsense"})).status_code == 400
        assert (await wan.http.put("/targets/xxx", json={"trunk": "127.0.0.1:1"})).status_code == 404


async def test_sigterm_and_a_closed_stdin_both_end_it(tmp_path: Path) -> None:
    async with emulator(tmp_path) as wan:
        wan.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(wan.process.wait(), PATIENCE_S) == 0
    assert not (tmp_path / "data" / "ready.json").exists()
    async with emulator(tmp_path, "--exit-with-parent") as wan:
        assert wan.process.stdin is not None
        wan.process.stdin.close()
        assert await asyncio.wait_for(wan.process.wait(), PATIENCE_S) == 0
