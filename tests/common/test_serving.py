"""The server that edge and control embed: who keeps a connection without using it."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette

from tradewind.common.process import listen_tcp
from tradewind.common.serving import embedded_server


async def test_who_connects_and_asks_nothing_is_not_kept() -> None:
    listener = listen_tcp("127.0.0.1", 0, "http.port")
    server = embedded_server(Starlette(), idle_timeout_s=0.05)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve_on(listener))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        async with asyncio.timeout(30):
            assert await reader.read() == b"", "closed without a word: nothing was asked"
        writer.close()
        server.should_exit = True
