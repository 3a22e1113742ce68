"""The emulator's process: sockets, admin surface, `ready.json`, a clean end."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import uvloop

from bench.wan.admin import application, sockets
from bench.wan.relay import Relay
from tradewind.common.process import DataDirectory, listen_tcp, watch_stop
from tradewind.common.serving import embedded_server

if TYPE_CHECKING:
    from bench.wan.settings import WanSettings


PRIORITY = -10


def run(settings: WanSettings, *, exit_with_parent: bool = False) -> None:
    """Serves until SIGTERM or SIGINT, or until stdin closes when `exit_with_parent`. Raises OSError with one line."""
    # A network does not wait for a busy processor. Without the right to ask, lateness in /stats tells how it went.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    uvloop.run(serve(settings, exit_with_parent=exit_with_parent))


async def serve(settings: WanSettings, *, exit_with_parent: bool = False) -> None:
    """One emulator on the running loop."""
    admin = settings.admin
    with ExitStack() as cleanup:
        directory = DataDirectory(settings.data_dir)
        cleanup.callback(directory.close)
        stop = asyncio.Event()
        cleanup.callback(watch_stop(stop, exit_with_parent=exit_with_parent))
        relay = Relay(settings, asyncio.get_running_loop())
        cleanup.callback(relay.close)
        listener = listen_tcp(admin.host, admin.port, "admin.port")
        server = embedded_server(application(relay))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve_on(listener))
            # The socket listens already: a request that comes before the server is up waits in its queue.
            address = f"{admin.host}:{listener.getsockname()[1]}"
            directory.write_ready({"pid": os.getpid(), "admin": address, "links": sockets(relay)})
            await stop.wait()
            server.should_exit = True
