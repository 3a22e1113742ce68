"""Chromium as a measuring instrument: pages that write the time into a picture and read it back."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page, async_playwright

from bench.machine import ProcessUsage, tree_usage

_PROBE = Path(__file__).with_name("pages") / "probe.js"

#: Plain Chromium: no feature of the browser is switched off that a viewer would have; background services are silenced.
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)


class BrowserMissing(OSError):
    """No Chromium on this machine; the text says how to get one."""


def chromium_path() -> str:
    """The system's Chromium. Raises BrowserMissing with the way to install it."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise BrowserMissing("no chromium found: install Debian's package `chromium`, or put one on the PATH")


@dataclass(slots=True)
class Browser:
    """One Chromium with one page. `pid` is its main process; its children are found through it."""

    page: Page
    pid: int

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all of its processes so far."""
        return self.usage().cpu_seconds

    def usage(self) -> ProcessUsage:
        """CPU and memory of all of its processes."""
        return tree_usage(self.pid)

    async def call(self, function: str, argument: object = None) -> Any:
        """Call one of probe.js' functions with a JSON argument; its exception becomes one here."""
        return await self.page.evaluate(f"argument => window.{function}(argument ?? {{}})", argument)


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Start a Chromium of its own (own profile, own processes) with the probe loaded, and end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="tradewind-bench-") as profile:
        async with async_playwright() as playwright, _blank_page() as blank:
            context = await playwright.chromium.launch_persistent_context(
                profile,
                executable_path=chromium_path(),
                args=list(_ARGUMENTS),
                headless=True,
                chromium_sandbox=False,
            )
            try:
                page = context.pages[0] if context.pages else await context.new_page()
                await page.add_init_script(path=_PROBE)
                # A loopback origin is a secure context, which reading media demands; nothing is fetched from it.
                await page.goto(blank)
                yield Browser(page, _browser_pid(profile))
            finally:
                await context.close()


@asynccontextmanager
async def _blank_page() -> AsyncIterator[str]:
    """An empty page on loopback: a secure context, which reading media demands, that may talk to loopback servers."""
    body = b"<!doctype html><title>bench</title><body></body>"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Chromium opens a second connection ahead of need and closes it unused.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def _browser_pid(profile: str) -> int:
    """The main process of the Chromium that uses `profile`: the one whose parent does not use it too."""
    using: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if profile.encode() in (entry / "cmdline").read_bytes():
                parent = int((entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
                using[int(entry.name)] = parent
        except (FileNotFoundError, ProcessLookupError):
            continue
    for pid, parent in using.items():
        if parent not in using:
            return pid
    raise BrowserMissing("chromium ended while it was starting")


async def wait_for_frames(browser: Browser, frames: int, *, timeout_s: float) -> None:
    """Wait until the viewer page has presented `frames` frames. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        await browser.page.wait_for_function(f"window.viewer && window.viewer.frames >= {frames}", timeout=0)
