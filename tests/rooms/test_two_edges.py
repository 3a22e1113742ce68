"""Comments between two real edge processes, over a real trunk, beside a real stream."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.edge_process import EdgeProcess, edge_process
from tests.peer.media import host
from tradewind.operate.certificates import make_certificates
from tradewind.v1.room_messages import (
    Accepted,
    Batch,
    Danmaku,
    Hello,
    Live,
    RoomEntry,
    ServerMessage,
    Welcome,
    parse_server_message,
)

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeProcess, EdgeProcess]]:
    """`sg`, where the host is, and `fra`, which knows one route: to sg."""
    folder = tmp_path_factory.mktemp("edges")
    make_certificates(folder, ["sg", "fra"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        fra_trunk = free.getsockname()[1]
    # Each must know the other before it takes its trunk.
    with edge_process(folder, f"mesh.peer_addresses.fra.trunk=127.0.0.1:{fra_trunk}", edge_id="sg") as sg:
        trunk = json.loads((folder / "sg" / "ready.json").read_text())["trunk"]
        routes = json.dumps([{"room": "demo", "source_edge": "sg", "primary": ["fra", "sg"]}])
        settings = (
            f"trunk.port={fra_trunk}",
            f"mesh.peer_addresses.sg.trunk=127.0.0.1:{trunk}",
            f"mesh.static_routes={routes}",
        )
        with edge_process(folder, *settings, edge_id="fra") as fra:
            yield sg, fra


class Person:
    """A page in room demo."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.entries: list[RoomEntry] = []
        self.seen: list[ServerMessage] = []

    async def say(self, comment_id: str) -> Accepted:
        await self.connection.send(Danmaku(id=comment_id, text=f"text of {comment_id}").encode())
        return await self.until(
            lambda: next((m for m in self.seen if isinstance(m, Accepted) and m.id == comment_id), None)
        )

    async def until(self, found):  # type: ignore[no-untyped-def]
        async with asyncio.timeout(TIMEOUT_S):
            while (result := found()) is None:
                message = parse_server_message(str(await self.connection.recv()))
                self.seen.append(message)
                if isinstance(message, Batch):
                    self.entries += message.messages
            return result

    async def sees(self, *comment_ids: str) -> None:
        """Every one of them, once."""
        await self.until(lambda: {entry.id for entry in self.entries} >= set(comment_ids) or None)
        assert len({(entry.epoch, entry.offset) for entry in self.entries}) == len(self.entries)


@asynccontextmanager
async def person(edge: EdgeProcess, name: str) -> AsyncIterator[Person]:
    url = edge.http.replace("http", "ws", 1) + "/v1/rooms/demo/socket"
    async with connect(url, subprotocols=["tradewind.room.v1"], compression=None) as connection:  # type: ignore[list-item]
        page = Person(connection)
        await connection.send(Hello(name=name).encode())
        await page.until(lambda: next((m for m in page.seen if isinstance(m, Welcome)), None))
        yield page


async def test_comments_cross_the_trunk_both_ways_with_one_numbering(edges: tuple[EdgeProcess, EdgeProcess]) -> None:
    sg, fra = edges
    async with httpx.AsyncClient(base_url=sg.http, timeout=30) as http, person(fra, "Jo") as jo, host(http, "demo"):
        live = await jo.until(lambda: next((m for m in jo.seen if isinstance(m, Live) and m.live), None))
        async with person(sg, "Mei") as mei:
            places = [await jo.say("from-fra"), await mei.say("from-sg"), await jo.say("again-from-fra")]
            assert [(place.epoch, place.offset) for place in places] == [(live.incarnation, n) for n in (1, 2, 3)]
            for page in (mei, jo):
                await page.sees("from-fra", "from-sg", "again-from-fra")
            assert {e.offset: e.text for e in mei.entries} == {e.offset: e.text for e in jo.entries}
        async with person(fra, "Late") as late:
            await late.sees("from-fra", "from-sg", "again-from-fra")
