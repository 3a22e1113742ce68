"""A network namespace of the bench's own: viewers behind a veth pair, their receive work on their own core."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ViewerNetwork:
    """Where the server listens and how a viewer process is started. `kind` is `veth` or `loopback`, `why` is why not
    veth."""

    kind: str
    server_ip: str
    viewer_ip: str
    prefix: Sequence[str]
    why: str = ""


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    if process.returncode:
        raise OSError(f"{' '.join(command)}: {errors.decode().strip()}")


@asynccontextmanager
async def viewer_network(*, viewer_core: int) -> AsyncIterator[ViewerNetwork]:
    """A namespace joined by veth when root and the kernel lets us, loopback otherwise.

    Receive packet steering moves the viewers' receive work to `viewer_core`, so that the server is charged for
    sending only (Documentation/networking/scaling.rst, RPS).
    """
    namespace = f"twb-{secrets.token_hex(3)}"
    pin = ("taskset", "-c", str(viewer_core))
    try:
        try:
            network = await _open_namespace(namespace, viewer_core, pin)
        except OSError as error:
            network = ViewerNetwork("loopback", "127.0.0.1", "127.0.0.1", pin, str(error))
        yield network
    finally:
        with suppress(OSError):
            await _run("ip", "netns", "del", namespace)


async def _open_namespace(namespace: str, viewer_core: int, pin: Sequence[str]) -> ViewerNetwork:
    if os.geteuid() != 0:
        raise PermissionError("only root makes network namespaces")
    near, far = namespace.replace("twb-", "twn"), namespace.replace("twb-", "twf")
    # RFC 2544 set 198.18.0.0/15 aside for benchmarks.
    octet = secrets.randbelow(250) + 1
    server_ip, viewer_ip = f"198.18.{octet}.1", f"198.18.{octet}.2"
    await _run("ip", "netns", "add", namespace)
    await _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
    await _run("ip", "addr", "add", f"{server_ip}/24", "dev", near)
    await _run("ip", "link", "set", near, "up")
    inside = ("ip", "netns", "exec", namespace)
    await _run(*inside, "ip", "addr", "add", f"{viewer_ip}/24", "dev", far)
    await _run(*inside, "ip", "link", "set", far, "up")
    await _run(*inside, "ip", "link", "set", "lo", "up")
    mask = f"{1 << viewer_core:x}"
    await _run(*inside, "sh", "-c", f"echo {mask} > /sys/class/net/{far}/queues/rx-0/rps_cpus")
    return ViewerNetwork("veth", server_ip, viewer_ip, (*inside, *pin))
