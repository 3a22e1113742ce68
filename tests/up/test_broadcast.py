"""The built-in host against a real edge: it arrives, stands aside for another host, and comes back when the room is
silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edge_process import edge_process
from tradewind.up import broadcast
from tradewind.up.broadcast import BroadcastPlan


class Host:
    """A running broadcast and what it has said."""

    def __init__(self, edge_url: str, *, check: bool = False) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.stop = asyncio.Event()
        self.plan = BroadcastPlan(
            whip_url=f"{edge_url}/whip/demo", title="test", check_url=f"{edge_url}/whep/demo" if check else ""
        )

    async def says(self, wanted: str) -> None:
        async with asyncio.timeout(60):
            while not (await self.lines.get()).startswith(wanted):
                pass

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Host]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(broadcast.run(self.plan, self.stop, self.lines.put_nowait))
            try:
                yield self
            finally:
                self.stop.set()


@pytest.mark.timeout(180)
async def test_it_arrives_stands_aside_for_another_host_and_comes_back(tmp_path: Path) -> None:
    with edge_process(tmp_path) as edge:
        async with Host(edge.http, check=True).running() as first:
            await first.says("frames 3")
            async with Host(edge.http).running() as second:
                await second.says("publishing")
                await first.says("the session ended")
                # Hosting again would take the room from the second, whose session would end in turn.
                async with asyncio.timeout(30):
                    assert await broadcast._somebody_hosts(first.plan)
                assert first.lines.empty()
                assert second.lines.empty()
            await first.says("publishing")


async def test_a_key_not_known_yet_is_waited_for_and_a_wrong_role_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RETRY_S", 0.0)
    answers = iter(["401 token_unknown_key", "401 token_unknown_key", "403 token_wrong_role"])
    posts: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if head.startswith("post"):
            await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
            status, reason = next(answers).split()
            posts.append(reason)
        else:
            status, reason = "404", "not_found"  # nobody hosts
        body = json.dumps({"status": int(status), "reason": reason, "detail": f"because of {reason}"})
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    said: list[str] = []
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        plan = BroadcastPlan(whip_url=f"http://127.0.0.1:{port}/whip/demo", title="test")
        with pytest.raises(broadcast.BroadcastRefused, match="refused: because of token_wrong_role"):
            async with asyncio.timeout(30):
                await broadcast.run(plan, asyncio.Event(), said.append)
    assert posts == ["token_unknown_key", "token_unknown_key", "token_wrong_role"]
    assert said == ["waiting: 401 token_unknown_key: because of token_unknown_key"]
