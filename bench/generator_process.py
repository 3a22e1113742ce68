"""The Rust load generator as child processes: one command a line in, one JSON event a line out."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from bench.machine import process_usage

_ROOT = Path(__file__).resolve().parent.parent
_LINE_MAX_BYTES: Final = 64 * 1024 * 1024

#: What the generator offers, in this order (`SRTP_PROFILES` in its session.rs); `forward` compares it with Chromium's.
SRTP_PROFILES: Final = ("SRTP_AES128_CM_SHA1_80", "SRTP_AEAD_AES_256_GCM", "SRTP_AEAD_AES_128_GCM")

#: Of a swarm's hosts.
FRAMES_PER_SECOND: Final = 30


class GeneratorMissing(OSError):
    """The generator is not built; the text says how to build it."""


def generator_path() -> Path:
    """The built generator. Raises GeneratorMissing."""
    if named := os.environ.get("TRADEWIND_GENERATOR"):
        return Path(named)
    target = Path(os.environ.get("CARGO_TARGET_DIR", _ROOT / "target"))
    for profile in ("release", "quick"):
        candidate = target / profile / "tradewind-generator"
        if candidate.exists():
            return candidate
    raise GeneratorMissing(
        "the load generator is not built: run `make bench-build`, or set TRADEWIND_GENERATOR to its path"
    )


class GeneratorFailed(RuntimeError):
    """The generator ended or refused; the text has its last words."""


class Refused(GeneratorFailed):
    """The server did not let a session in; the text has its words, or what was missing from its side."""


class GeneratorProcess:
    """One generator process. `events` that nobody waits for are kept in order of arrival."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def say(self, command: Mapping[str, object] | None = None) -> None:
        """Send a command, or an empty line as the sign to go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(((json.dumps(command) if command else "") + "\n").encode())
        await self._process.stdin.drain()

    async def hear(self, *, timeout_s: float) -> dict[str, Any]:
        """The next event. Raises GeneratorFailed when there will be none, TimeoutError when it does not come."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async with asyncio.timeout(timeout_s):
            line = await self._process.stdout.readline()
            if not line:
                words = (await self._process.stderr.read()).decode(errors="replace").strip()
                raise GeneratorFailed(words or f"the generator ended with {self._process.returncode}")
        event: dict[str, Any] = json.loads(line)
        return event

    async def expect(self, *names: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The next event of one of these names; others before it are dropped."""
        async with asyncio.timeout(timeout_s):
            while True:
                event = await self.hear(timeout_s=timeout_s)
                if event["event"] in names:
                    return event

    async def close(self) -> dict[str, Any] | None:
        """End of input, last event, end of process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        last = None
        try:
            async with asyncio.timeout(10):
                async for line in self._process.stdout:
                    last = json.loads(line)
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        return last


@asynccontextmanager
async def generator(arguments: Sequence[str], *, prefix: Sequence[str] = ()) -> AsyncIterator[GeneratorProcess]:
    """Start the generator (behind `prefix`, such as `taskset` or `ip netns exec`) and end it afterwards."""
    process = await asyncio.create_subprocess_exec(
        *prefix,
        str(generator_path()),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_MAX_BYTES,
    )
    child = GeneratorProcess(process)
    try:
        yield child
    finally:
        if process.returncode is None:
            await child.close()


class Swarm:
    """Hosts and watchers of one generator process, by name."""

    def __init__(self, process: GeneratorProcess, seed: int) -> None:
        self._process = process
        self._seed = seed
        self.pid = process.pid

    async def host(self, name: str, url: str, *, token: str = "", packets_per_frame: int = 3) -> float:
        """Publish; milliseconds until the session was connected. Raises Refused with the server's words."""
        return await self._open(
            {
                "op": "host",
                "id": name,
                "url": url,
                "token": token,
                "packets_per_frame": packets_per_frame,
                "seed": self._seed,
            }
        )

    async def watch(self, name: str, url: str, *, token: str = "") -> float:
        """Watch; milliseconds until the session was connected. Raises Refused with the server's words."""
        return await self._open({"op": "watch", "id": name, "url": url, "token": token, "seed": self._seed})

    async def close(self, name: str) -> None:
        """DELETE one session; a server that is gone does not matter."""
        await self._process.say({"op": "close", "id": name})
        await self._process.expect("closed", timeout_s=20)

    async def report(self) -> dict[str, Any]:
        """What all watchers saw and all hosts sent since the last report; times in ms since the generator's start."""
        await self._process.say({"op": "report"})
        return await self._process.expect("report", timeout_s=20)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of this process so far."""
        return process_usage(self.pid).cpu_seconds

    async def _open(self, command: Mapping[str, object]) -> float:
        await self._process.say(command)
        event = await self._process.expect("opened", "refused", timeout_s=30)
        if event["event"] == "refused":
            raise Refused(str(event["error"]))
        return float(event["took_ms"])


@asynccontextmanager
async def swarm(seed: int) -> AsyncIterator[Swarm]:
    """A generator that is steered host by host and watcher by watcher."""
    async with generator(["swarm"]) as process:
        await process.expect("ready", timeout_s=10)
        yield Swarm(process, seed)


def longest_pause_ms(frames: Sequence[Sequence[float]], *, since_ms: float, until_ms: float) -> float:
    """The longest time without a decodable frame between two moments, open ends included.

    `frames` are `[time_ms, rtp_timestamp, key_frame]` as a watcher reports them.
    """
    moments = [since_ms, *(frame[0] for frame in frames if since_ms <= frame[0] <= until_ms), until_ms]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))
