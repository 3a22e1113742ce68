"""The emulator's process: sockets, admin surface, `ready.json`, a clean end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from bench.wan.admin import application, sockets
from bench.wan.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.wan.settings import WanSettings


def run(settings: WanSettings, *, exit_with_parent: bool = False) -> None:
    """Serves until SIGTERM or SIGINT, or until stdin closes when `exit_with_parent`."""
    uvloop.run(serve(settings, exit_with_parent=exit_with_parent))


async def serve(settings: WanSettings, *, exit_with_parent: bool = False) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if exit_with_parent:
        loop.add_reader(sys.stdin.fileno(), _handle_stdin, loop, stop)
    relay = Relay(settings, loop)
    try:
        listener = _listen(settings)
        config = uvicorn.Config(application(relay), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        server = _Server(config)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            await server.bound.wait()
            _write_ready(settings.data_dir, relay, f"{settings.admin.host}:{listener.getsockname()[1]}")
            await stop.wait()
            server.should_exit = True
    finally:
        relay.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.bound = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.bound.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would take SIGTERM, drain, and raise it again; this process ends by its own event.
        yield


def _listen(settings: WanSettings) -> socket.socket:
    admin = settings.admin
    try:
        return socket.create_server((admin.host, admin.port))
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"{reason}: {admin.host}:{admin.port} (setting admin.port of the emulator)"
        ) from error


def _handle_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


def _write_ready(data_dir: Path, relay: Relay, admin: str) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    ready = {"pid": os.getpid(), "admin": admin, "links": sockets(relay)}
    partial = data_dir / "ready.json.partial"
    partial.write_text(json.dumps(ready, indent=1) + "\n", encoding="utf-8")
    partial.replace(data_dir / "ready.json")  # whoever waits for the file never reads half of it
