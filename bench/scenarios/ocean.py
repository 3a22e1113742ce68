"""Where three scenarios play: a host's Chromium at sg, a viewer's at fra, 160 ms RTT and bursty loss between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.browser import Browser, open_browser
from bench.scenario import RunOptions
from bench.world import OCEAN, World, WorldSpec, open_world

NEAR: Final = "sg"
FAR: Final = "fra"
FRAMES_PER_SECOND: Final = 30.0
#: Untimed runs last seconds, and something must be lost in them.
_UNTIMED_LOSS_RATIO: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ocean:
    """A fleet of two edges and two browsers."""

    world: World
    host: Browser
    viewer: Browser

    def publish(self, room: str, **more: object) -> dict[str, object]:
        """Argument of `startHost`."""
        return {"url": self.world.whip(NEAR, room), "token": self.world.token(room, "host"), **more}

    def watch(self, room: str, **more: object) -> dict[str, object]:
        """Argument of `startViewer`."""
        return {"url": self.world.whep(FAR, room), "token": self.world.token(room, "viewer"), **more}

    async def evidence(self, **others: int) -> dict[str, object]:
        """What the world saw, with the browsers among its processes."""
        return await self.world.evidence(chromium_host=self.host.pid, chromium_viewer=self.viewer.pid, **others)


def spec(options: RunOptions) -> WorldSpec:
    """Closed rooms and clean access links; the trunk alone is bad."""
    trunk = replace(OCEAN, loss_ratio=_UNTIMED_LOSS_RATIO) if options.untimed else OCEAN
    return WorldSpec(
        regions=(NEAR, FAR), links={(NEAR, FAR): trunk}, seed=options.seed, without=options.without, tokens=True
    )


@asynccontextmanager
async def open_ocean(options: RunOptions) -> AsyncIterator[Ocean]:
    """Start the fleet and both browsers, and end them."""
    async with open_world(spec(options)) as world, open_browser() as host, open_browser() as viewer:
        yield Ocean(world, host, viewer)


class HostRate:
    """Whether the host's Chromium encoded the frames it was given; a machine too slow for that measures itself."""

    def __init__(self, host: Browser) -> None:
        self._host = host
        self._before: dict[str, Any] = {}

    async def begin(self) -> None:
        """From here on."""
        self._before = (await self._host.call("hostReport"))["video"]

    async def end(self) -> dict[str, Any]:
        """Frames a second, offered and encoded, between `begin` and now."""
        now = (await self._host.call("hostReport"))["video"]
        seconds = (now["timestamp"] - self._before["timestamp"]) / 1000
        encoded = (now["framesEncoded"] - self._before["framesEncoded"]) / seconds if seconds else 0.0
        return {"unit": "frames/s encoded by the host", "offered": FRAMES_PER_SECOND, "achieved": encoded}
