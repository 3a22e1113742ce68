"""The built-in host against a real edge: it arrives, stands aside for another host, and comes back when the room is
silent."""

from __future__ import annotations

import asyncio
import contextlib
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
                async with asyncio.timeout(10):
                    assert await broadcast._somebody_hosts(first.plan)
                assert first.lines.empty()
                assert second.lines.empty()
            await first.says("publishing")
