"""A network namespace of the bench's own: viewers behind a veth pair, their receive work on their own core."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ViewerNetwork:
    """Where the server listens and how a viewer process is started. `kind` is `veth` or `loopback`."""

    kind: str
    server_ip: str
    viewer_ip: str
    prefix: Sequence[str]


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    if process.returncode:
        raise OSError(f"{' '.join(command)}: {errors.decode().strip()}")


@asynccontextmanager
async def viewer_network(*, viewer_core: int) -> AsyncIterator[ViewerNetwork]:
    """A namespace joined by veth when root, loopback otherwise.

    Receive packet steering moves the viewers' receive work to `viewer_core`, so that the server is charged for
    sending only (Documentation/networking/scaling.rst, RPS). Raises OSError when the kernel refuses.
    """
    pin = ("taskset", "-c", str(viewer_core))
    if os.geteuid() != 0 or shutil.which("ip") is None:
        yield ViewerNetwork("loopback", "127.0.0.1", "127.0.0.1", pin)
        return
    tag = secrets.token_hex(3)
    namespace, near, far = f"twb-{tag}", f"twn{tag}", f"twf{tag}"
    # RFC 2544 set 198.18.0.0/15 aside for benchmarks.
    octet = secrets.randbelow(250) + 1
    server_ip, viewer_ip = f"198.18.{octet}.1", f"198.18.{octet}.2"
    await _run("ip", "netns", "add", namespace)
    try:
        await _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
        await _run("ip", "addr", "add", f"{server_ip}/24", "dev", near)
        await _run("ip", "link", "set", near, "up")
        inside = ("ip", "netns", "exec", namespace)
        await _run(*inside, "ip", "addr", "add", f"{viewer_ip}/24", "dev", far)
        await _run(*inside, "ip", "link", "set", far, "up")
        await _run(*inside, "ip", "link", "set", "lo", "up")
        mask = f"{1 << viewer_core:x}"
        await _run(*inside, "sh", "-c", f"echo {mask} > /sys/class/net/{far}/queues/rx-0/rps_cpus")
        yield ViewerNetwork("veth", server_ip, viewer_ip, (*inside, *pin))
    finally:
        await _run("ip", "netns", "del", namespace)
