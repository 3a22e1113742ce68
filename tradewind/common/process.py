"""What every server process does around its work: hold its directory, find its ports free, say that it serves, stop.

StartError (OSError)
├── DirectoryInUse     another process holds the data directory
└── PortTaken          another process has the port; the text names port, owner and setting

Binding alone does not show a taken port: sockets with SO_REUSEPORT join the old process's group and then serve nothing,
or half of everything. So each port is first bound plainly, and the directory's lock keeps two starts apart.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from tradewind.common.logging import get_logger

log = get_logger(__name__)
_TCP_LISTEN = "0A"


class StartError(OSError):
    """The process cannot start; the text is one line and says what to do."""


class DirectoryInUse(StartError):
    """Another process works in this directory."""


class PortTaken(StartError):
    """Another process has this port."""


class DataDirectory:
    """A locked data directory; the lock goes with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        """Creates and locks it. Raises DirectoryInUse, or OSError when it cannot be made."""
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise DirectoryInUse(
                f"{path} is in use by process {owner}: stop it, or give this one another data_dir"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        self._ready = path / "ready.json"
        # One of an earlier run would say that this one serves already.
        self._ready.unlink(missing_ok=True)

    def write_ready(self, content: Mapping[str, Any]) -> None:
        """Says with its bound ports that the process serves; appears whole or not at all."""
        scratch = self.path / ".ready.json"
        scratch.write_text(json.dumps(content) + "\n", encoding="utf-8")
        scratch.replace(self._ready)

    def close(self) -> None:
        """Takes ready.json away and unlocks."""
        self._ready.unlink(missing_ok=True)
        os.close(self._lock)


def probe_port(kind: Literal["tcp", "udp"], host: str, port: int, setting: str) -> None:
    """Binds plainly and lets go. Raises PortTaken, or StartError for an address that is not this machine's."""
    if port == 0:
        return
    family, _, _, _, address = _resolve(kind, host, port, setting)
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as probe:
        if kind == "tcp":
            # Connections of an earlier run in TIME_WAIT are no owner.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            if kind == "tcp":
                probe.listen(1)
        except OSError as error:
            raise _bind_error(error, kind, host, port, setting) from None


def listen_tcp(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket. Raises PortTaken or StartError."""
    family, _, _, _, address = _resolve("tcp", host, port, setting)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _bind_error(error, "tcp", host, port, setting) from None
    return listener


def port_owner(kind: Literal["tcp", "udp"], port: int) -> str:
    """Name and id of the process that has the port, as far as /proc shows it to us; else an empty string."""
    inodes = set()
    for table in (f"/proc/net/{kind}", f"/proc/net/{kind}6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                listening = kind == "udp" or fields[3] == _TCP_LISTEN
                if listening and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        name = (process / "comm").read_text().strip()
                        return f"{name}, process {process.name}"
    return ""


def watch_stop(stop: asyncio.Event, *, exit_with_parent: bool) -> Callable[[], None]:
    """Sets `stop` on SIGTERM, SIGINT and, if wished, when standard input closes. Returns what undoes it."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watched: list[int] = []
    if exit_with_parent:
        descriptor = sys.stdin.fileno()

        def readable() -> None:
            with suppress(BlockingIOError):
                if not os.read(descriptor, 4096):
                    loop.remove_reader(descriptor)
                    watched.clear()
                    stop.set()

        try:
            os.set_blocking(descriptor, False)
            loop.add_reader(descriptor, readable)
            watched.append(descriptor)
        except (OSError, ValueError):
            log.warning("standard_input_cannot_be_watched", detail="give --exit-with-parent a pipe")

    def undo() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        for descriptor in watched:
            loop.remove_reader(descriptor)

    return undo


def _resolve(kind: str, host: str, port: int, setting: str) -> tuple[Any, Any, Any, Any, Any]:
    try:
        return socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
        )[0]
    except (OSError, UnicodeError) as error:
        raise StartError(f"{setting}: {host} is no address of this machine ({error})") from None


def _bind_error(error: OSError, kind: Literal["tcp", "udp"], host: str, port: int, setting: str) -> StartError:
    if error.errno == errno.EADDRINUSE:
        owner = port_owner(kind, port)
        by = f" by {owner}" if owner else ""
        return PortTaken(f"{kind} port {port} on {host} is taken{by}: stop it, or set {setting} to another port or 0")
    if error.errno == errno.EACCES:
        return StartError(f"{kind} port {port} on {host} needs more rights: set {setting} to 1024 or above")
    return StartError(f"{kind} {host}:{port} ({setting}) cannot be bound: {error.strerror}")
