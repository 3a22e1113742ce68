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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENV_PREFIX = "TRADEWIND_"
# Edges say goodbye to sockets and viewers within 4 s; all children together must be gone within 5 s of Ctrl-C.
STOP_GRACE_S = 4.2
READY_POLL_S = 0.02
LOG_TAIL_LINES = 8
# How a command begins a line for its user, among the structured ones in its log.
SAID = "tradewind: "
TRADEWIND = (sys.executable, "-m", "tradewind.cli")


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
        """What to tell the user about a child that ended too early: its own words, or the end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        if said := [line.removeprefix(SAID) for line in lines if line.startswith(SAID)]:
            return ChildFailedError("\n".join(f"{self.name}: {line}" for line in said))
        tail = "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])
        return ChildFailedError(f"{self.name} ended with status {self.process.returncode}; {self.log} says:\n{tail}")

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

    def __init__(self, log_dir: Path, *, command: Sequence[str] = TRADEWIND, grace_s: float = STOP_GRACE_S) -> None:
        """`command` comes before each child's arguments; after `grace_s` a stop asks no more."""
        self._log_dir = log_dir
        self._command = tuple(command)
        self._grace_s = grace_s
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self.children: list[Child] = []

    async def start(self, name: str, *arguments: str, capture: bool = False) -> Child:
        """Runs `tradewind ARGUMENTS --exit-with-parent`; its output goes to a log file, stdout to us with `capture`."""
        log = self._log_dir / f"{name}.log"
        # Children are told everything by their files: a setting meant for a server on this machine is not for them.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ENV_PREFIX)}
        environment["PYTHONUNBUFFERED"] = "1"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *arguments,
                "--exit-with-parent",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if capture else file,
                stderr=file,
                start_new_session=True,
                env=environment,
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
            async with asyncio.timeout(self._grace_s):
                await asyncio.shield(waiting)
        except TimeoutError:
            for child in running:
                if child.process.returncode is None:
                    with suppress(ProcessLookupError):
                        child.process.kill()
            await waiting
