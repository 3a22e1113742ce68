"""Waiting for what cannot announce itself: a file or a counter of another process, a snapshot, what a page shows.

These can only be asked again, and that happens here alone. What gives an event (a line, a readable descriptor, a frame,
the end of a process) is waited for by that event.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import select
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import AnyStr, Final, TypeVar

T = TypeVar("T")

# For what takes milliseconds on an idle machine: tests share two cores with each other's processes.
PATIENCE_S: Final = 30.0
_ASK_AGAIN_S: Final = 0.02


def wait_for(found: Callable[[], T], why: Callable[[], object] | str, timeout_s: float = PATIENCE_S) -> T:
    """Asks until the answer is true, and returns it; fails with `why` when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not (answer := found()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {why() if callable(why) else why}"
        time.sleep(_ASK_AGAIN_S)
    return answer


async def until(
    found: Callable[[], T | Awaitable[T]], timeout_s: float = PATIENCE_S, why: Callable[[], object] | str = ""
) -> T:
    """As `wait_for`, for a loop that goes on meanwhile; `found` may be a coroutine function."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = found()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {why() if callable(why) else why}"
        await asyncio.sleep(_ASK_AGAIN_S)


def end(process: subprocess.Popen[AnyStr]) -> None:
    """Asks a process of ours to end, and sees that it does."""
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Processes:
    """Other people's processes whose end is waited for: pidfd_open(2) tells of it, whoever their parent is."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._open = {os.pidfd_open(pid): name for name, pid in pids.items()}

    def left_after(self, timeout_s: float = PATIENCE_S) -> set[str]:
        """Waits until all have ended; the names of those that have not by then."""
        poll, deadline = select.poll(), time.monotonic() + timeout_s
        for descriptor in self._open:
            poll.register(descriptor, select.POLLIN)
        while self._open and (events := poll.poll(1000 * max(0.0, deadline - time.monotonic()))):
            for descriptor, _ in events:
                poll.unregister(descriptor)
                os.close(descriptor)
                del self._open[descriptor]
        left = set(self._open.values())
        for descriptor in self._open:
            os.close(descriptor)
        self._open = {}
        return left
