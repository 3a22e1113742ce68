"""Child processes that never outlive their parent.

A child holds the read end of a pipe as its standard input and ends when the pipe closes, which the kernel does when the
parent dies, however it dies. It has a session of its own, so that Ctrl-C reaches the parent alone and the end has an
order.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Edges say goodbye to sockets and viewers within 4 s; all children together must be gone within 5 s of Ctrl-C.
STOP_GRACE_S = 4.2
READY_POLL_S = 0.02
LOG_TAIL_LINES = 8


class ChildFailedError(OSError):
    """A child ended while it was needed; the text has the end of its log."""


@dataclass(slots=True, eq=False)
class Child:
    """One running child."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def failure(self) -> ChildFailedError:
        """What to tell the user about a child that ended too early."""
        tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        text = "\n".join(f"  {line}" for line in tail)
        return ChildFailedError(f"{self.name} ended with status {self.process.returncode}; {self.log} says:\n{text}")

    async def wait_ready(self, path: Path, timeout_s: float) -> dict[str, Any]:
        """The content of its ready.json. Raises ChildFailedError when it ends first or takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while not path.exists():
                    if self.process.returncode is not None:
                        raise self.failure()
                    await asyncio.sleep(READY_POLL_S)
        except TimeoutError:
            raise ChildFailedError(f"{self.name} is not ready after {timeout_s:.0f} s; see {self.log}") from None
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content


class Children:
    """Starts children and ends them all."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self.children: list[Child] = []

    async def start(self, name: str, *arguments: str, capture: bool = False) -> Child:
        """Runs `tradewind ARGUMENTS --exit-with-parent`; its output goes to a log file, stdout to us with `capture`."""
        log = self._log_dir / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tradewind.cli",
                *arguments,
                "--exit-with-parent",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if capture else file,
                stderr=file,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    async def stop(self) -> None:
        """Asks all to end, then makes them; returns when none is left."""
        running = [child for child in self.children if child.process.returncode is None]
        for child in running:
            with suppress(ProcessLookupError):
                child.process.terminate()
        waiting = asyncio.gather(*(child.process.wait() for child in running))
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await asyncio.shield(waiting)
        except TimeoutError:
            for child in running:
                if child.process.returncode is None:
                    with suppress(ProcessLookupError):
                        child.process.kill()
            await waiting
