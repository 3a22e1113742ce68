"""When the machine's own host took a core away: players remember for half a minute a pause that no network made.

One watcher for each core sleeps for 5 ms at a time and notes when it woke much later while the kernel counted stolen
time (proc(5), `steal`). A core that is busy with this machine's own work is no stall: that is the product's, or the
bench's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_NAP_S: Final = 0.005
#: As long as libwebrtc's jitter buffer for sound hides.
_STALL_MIN_MS: Final = 40.0
#: Of a stall that is its host's, stolen time is at least this share.
_STOLEN_MIN_RATIO: Final = 0.25
#: Stolen time is read again after this long, so that what was stolen before a stall is not counted in it.
_REREAD_S: Final = 0.1
_TICK_MS: Final = 1_000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stall:
    """A core stood still."""

    unix_s: float
    core: int
    late_ms: float
    stolen_ms: float


@dataclass(slots=True)
class StallDetector:
    """Judges one core's wake-ups; the caller brings the clock and the kernel's count of stolen time."""

    core: int
    woke_s: float
    stolen_ms: float
    read_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.read_s = self.woke_s

    def wants_stolen(self, now_s: float) -> bool:
        """Whether to read the count before `handle_wake`: it takes a system call."""
        return self._late_ms(now_s) >= _STALL_MIN_MS or now_s - self.read_s >= _REREAD_S

    def handle_wake(self, now_s: float, unix_s: float, stolen_ms: float | None) -> Stall | None:
        """A nap is over; `stolen_ms` since boot, when it was wanted."""
        late_ms = self._late_ms(now_s)
        self.woke_s = now_s
        if stolen_ms is None:
            return None
        taken, self.stolen_ms, self.read_s = stolen_ms - self.stolen_ms, stolen_ms, now_s
        if late_ms < _STALL_MIN_MS or taken < late_ms * _STOLEN_MIN_RATIO:
            return None
        return Stall(unix_s, self.core, round(late_ms, 1), taken)

    def _late_ms(self, now_s: float) -> float:
        return (now_s - self.woke_s - _NAP_S) * 1_000


class StallWatch:
    """Stalls of all cores while it is open; the watchers write them to these files."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def between(self, from_unix_s: float, to_unix_s: float) -> list[Stall]:
        """Those of a stretch of time."""
        lines = [line for file in self._files for line in file.read_text(encoding="ascii").splitlines()]
        stalls = (Stall(**json.loads(line)) for line in lines)
        return [stall for stall in stalls if from_unix_s <= stall.unix_s <= to_unix_s]


@asynccontextmanager
async def watch_stalls() -> AsyncIterator[StallWatch]:
    """A watcher on each core that this process may use."""
    watchers: list[asyncio.subprocess.Process] = []
    with tempfile.TemporaryDirectory(prefix="tradewind-bench-") as folder:
        files = [Path(folder) / str(core) for core in sorted(os.sched_getaffinity(0))]
        try:
            for file in files:
                with file.open("wb") as output:
                    command = (sys.executable, "-m", "bench.stalls", file.name)
                    watchers.append(await asyncio.create_subprocess_exec(*command, stdout=output))
            yield StallWatch(files)
        finally:
            for watcher in watchers:
                watcher.kill()
                await watcher.wait()


def _stolen_ms(core: int) -> float:
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        if line.startswith(f"cpu{core} "):
            return int(line.split()[8]) * _TICK_MS
    raise OSError(f"/proc/stat has no cpu{core}")


def main(core: int) -> None:
    """Watch one core until killed, or until nobody reads."""
    os.sched_setaffinity(0, {core})
    detector = StallDetector(core, time.monotonic(), _stolen_ms(core))
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_NAP_S)
        now = time.monotonic()
        stolen_ms = _stolen_ms(core) if detector.wants_stolen(now) else None
        stall = detector.handle_wake(now, time.time(), stolen_ms)
        if stall:
            text = json.dumps({name: getattr(stall, name) for name in Stall.__slots__})
            print(text, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
