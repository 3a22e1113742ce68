"""Two edges with 160 ms and loss in bursts of three between them: every packet, once, within its deadline."""

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
from tests.trunk.harness import ROOM, Events, Publication, dataplane, publishing
from tests.trunk.peer import TrunkPeer, dial, listen
from tests.trunk.wire import Subscribe

SEED = 4
FRAMES = 450
REPAIR_DEADLINE_S = 0.300
ONE_WAY_S = 0.080
# Two processes' worth of work on one loaded core: what scheduling may add to a packet. The bench has the bar.
SCHEDULING_S = 0.150


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


async def test_every_packet_crosses_160_ms_and_bursts_of_three_within_300_ms(tmp_path: Path) -> None:
    async with crossing(tmp_path) as path:
        await path.source.play(FRAMES)
        leaf, sent = path.leaf, path.source.sent_at
        await leaf.until("all packets", lambda: len({p.rtp.sequence_number for p in leaf.heard.packets}) == len(sent))
        numbers = [packet.rtp.sequence_number for packet in leaf.heard.packets]
        assert len(numbers) == len(set(numbers)), f"seed {SEED}: a packet came twice"
        late = sorted(p.at - sent[p.rtp.sequence_number] - ONE_WAY_S for p in leaf.heard.packets)
        lost = path.relay.directions["sg", "fra"].model.counters.drops
        evidence = (
            f"seed {SEED}: emulator lost {dict(lost)}, late p50 {late[len(late) // 2]:.3f} s, max {late[-1]:.3f} s"
        )
        print(evidence)
        assert sum(lost.values()) > 5, evidence
        assert late[-1] <= REPAIR_DEADLINE_S + SCHEDULING_S, evidence
        (stats,) = (trunk for trunk in path.fra.snapshot().trunks if trunk.peer == "sg")
        assert 155 <= stats.rtt_ms <= 160 + 1_000 * SCHEDULING_S, evidence
        assert stats.packets_lost > 0, evidence


async def test_without_repair_packets_stay_lost(tmp_path: Path) -> None:
    async with crossing(tmp_path, "trunk_nack", loss_ratio=0.05) as path:
        await path.source.play(60)
        sent = {(65_000 + index) & 0xFFFF for index in range(path.source.sent)}
        # The link keeps the order: when one of these has come, nothing from before them is still on its way.
        end = {path.source.send() for _ in range(20)}
        seen = path.leaf.heard.packets
        await path.leaf.until("the end", lambda: any(packet.rtp.sequence_number in end for packet in seen))
        assert not sent <= {packet.rtp.sequence_number for packet in seen}, f"seed {SEED}"
