"""Two edges with 160 ms and loss in bursts of three between them: what is lost comes again, once.

That everything does, and within its deadline, is for the packet path's own tests in virtual time (`core/tests/world`):
here sockets and clocks are real, and the machine would have a say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.wan.relay import Relay
from bench.wan.settings import LinkSettings, WanSettings
from edge.dataplane import Dataplane, PeerConfig
from tests.trunk.certificates import Authority
from tests.trunk.harness import FIRST_NUMBER, ROOM, Events, Publication, dataplane, publishing
from tests.trunk.peer import TrunkPeer, dial, listen
from tests.trunk.wire import Rtp, Subscribe

SEED = 4
REPAIRS = 20
PLAY_MAX_S = 90.0
FRAMES_MAX = 3_000


@dataclass
class Crossing:
    """src (aioquic) > sg > emulator > fra > leaf (aioquic)."""

    source: Publication
    sg: Dataplane
    fra: Dataplane
    leaf: TrunkPeer
    relay: Relay


@asynccontextmanager
async def crossing(folder: Path, *disabled: str, loss_ratio: float = 0.01) -> AsyncIterator[Crossing]:
    authority = Authority(folder)
    link = LinkSettings(a="sg", b="fra", delay_ms=80, loss_ratio=loss_ratio, burst_packets=3)
    relay = Relay(WanSettings(data_dir=folder, seed=SEED, links=(link,)), asyncio.get_running_loop())
    nowhere = "127.0.0.1:9"
    try:
        async with listen(authority.issue("src")) as src:
            with (
                dataplane("sg", authority.issue("sg"), *disabled) as sg,
                dataplane("fra", authority.issue("fra"), *disabled) as fra,
            ):
                for edge, running in (("sg", sg), ("fra", fra)):
                    host, port = running.trunk_address.rsplit(":", 1)
                    relay.apply_target(edge, "trunk", (host, int(port)))

                def through(near: str, far: str) -> PeerConfig:
                    host, port = relay.sides[near, far, "trunk"].address[:2]
                    return PeerConfig(edge_id=far, address=f"{host}:{port}")

                sg.set_peers([through("sg", "fra"), PeerConfig(edge_id="src", address=src.address)])
                strangers = [PeerConfig(edge_id=edge, address=nowhere) for edge in ("leaf", "src")]
                fra.set_peers([through("fra", "sg"), *strangers])
                async with dial(fra.trunk_address, "fra", authority.issue("leaf")) as leaf:
                    await Events(fra).until(
                        "the trunk", lambda event: event.kind == "trunk_up" and event.peer == "leaf"
                    )
                    leaf.say(Subscribe(1, 1, ROOM, ["fra", "sg", "src"], ["leaf"]).encode())
                    async with publishing(await src.connection(), "src") as source:
                        await leaf.until("the source", lambda: leaf.heard.sources)
                        yield Crossing(source, sg, fra, leaf, relay)
    finally:
        relay.close()


async def test_what_bursts_of_three_take_away_over_160_ms_comes_again(tmp_path: Path) -> None:
    async with crossing(tmp_path, loss_ratio=0.02) as path:
        again = Repairs(path.leaf)
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(path.source.play(FRAMES_MAX))
            # A machine that is busy elsewhere lets most repairs come too late to be passed on, and needs longer.
            await path.leaf.until(f"{REPAIRS} repairs", lambda: again.count() >= REPAIRS, PLAY_MAX_S)
            playing.cancel()
        numbers = [packet.rtp.sequence_number for packet in path.leaf.heard.packets]
        assert len(numbers) == len(set(numbers)), f"seed {SEED}: a packet came twice"
        lost = path.relay.directions["sg", "fra"].model.counters.drops
        assert sum(lost.values()) >= REPAIRS, f"seed {SEED}: emulator lost {dict(lost)}"
        (stats,) = (trunk for trunk in path.fra.snapshot().trunks if trunk.peer == "sg")
        assert stats.rtt_ms >= 155
        assert stats.packets_lost > 0


async def test_without_repair_packets_stay_lost(tmp_path: Path) -> None:
    async with crossing(tmp_path, "trunk_nack", loss_ratio=0.05) as path:
        await path.source.play(60)
        last = path.source.sent
        for _ in range(20):
            path.source.send()
        heard, again = path.leaf.heard.packets, Repairs(path.leaf)
        # The link keeps the order: when one of these has come, nothing from before them is still on its first way.
        await path.leaf.until("the end", lambda: any(position(packet.rtp) >= last for packet in heard))
        assert again.count() == 0
        assert not set(range(last)) <= {position(packet.rtp) for packet in heard}, f"seed {SEED}"


class Repairs:
    """Counts packets that came after later ones: over a link that keeps the order, none but repaired ones do."""

    def __init__(self, peer: TrunkPeer) -> None:
        self._packets = peer.heard.packets
        self._looked_at = 0
        self._highest = -1
        self._found = 0

    def count(self) -> int:
        for packet in self._packets[self._looked_at :]:
            here = position(packet.rtp)
            self._found += here < self._highest
            self._highest = max(self._highest, here)
        self._looked_at = len(self._packets)
        return self._found


def position(rtp: Rtp) -> int:
    """Its number from 0 on: `Publication` begins before a rollover."""
    return (rtp.sequence_number - FIRST_NUMBER) & 0xFFFF
