"""A whole fleet on this machine for the browser: `tradewind up` without its broadcast, in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Two cores shared with a browser; an idle machine needs a twentieth of it.
START_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs. `edges` maps a name to its ready.json."""

    control_url: str
    edges: dict[str, dict[str, Any]]

    def edge_url(self, name: str) -> str:
        """Base URL of an edge."""
        return f"http://127.0.0.1:{self.edges[name]['http']}"

    def kill_edge(self, name: str) -> None:
        """SIGKILL: no goodbye of any kind."""
        os.kill(self.edges[name]["pid"], signal.SIGKILL)


@asynccontextmanager
async def running_fleet(folder: Path, regions: str = "sg,fra,iad") -> AsyncIterator[Fleet]:
    """Starts `tradewind up` and ends it, with all of its children, on leaving."""
    command = [sys.executable, "-c", "from tradewind.cli import main; main()"]
    arguments = ["up", "--regions", regions, "--no-broadcast", "--data-dir", str(folder / "fleet")]
    with (folder / "up.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        console = ""
        assert process.stdout is not None, "piped"
        async with asyncio.timeout(START_TIMEOUT_S):
            while not console and (line := (await process.stdout.readline()).decode()):
                if line.startswith("console "):
                    console = line.split()[1]
        assert console, f"the fleet did not start:\n{(folder / 'up.log').read_text()}"
        up = json.loads((folder / "fleet" / "up.json").read_text())
        yield Fleet(console.removesuffix("/console"), up["edges"])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
