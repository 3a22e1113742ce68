"""Real edges, a real control and the emulator: what an operator would see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal
from urllib.parse import urljoin

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.world import LinkConditions, World, WorldSpec
from tests.peer.dtls import Certificate
from tests.peer.media import host
from tests.peer.sdp import OfferParameters
from tests.waiting import PATIENCE_S, until
from tradewind.common.tokens import TokenIssuer
from tradewind.up.children import Children

LINKS = {
    ("sg", "fra"): LinkConditions(delay_ms=80),
    ("fra", "iad"): LinkConditions(delay_ms=45),
    ("sg", "iad"): LinkConditions(delay_ms=115),
}
# A loaded machine starts seven Python processes in a minute rather than in five seconds.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
DIRECT = ["fra", "sg"]
AROUND = ["fra", "iad", "sg"]


class AdjustedWorld(World):
    """A fleet in which the settings of some processes are changed before they start."""

    changes: Mapping[str, Mapping[str, Mapping[str, Any]]] = {}

    def _write(self, name: str, settings: Mapping[str, Any]) -> str:
        adjusted = {section: dict(value) if isinstance(value, dict) else value for section, value in settings.items()}
        for section, values in self.changes.get(name, {}).items():
            adjusted[section] = {**adjusted.get(section, {}), **values}
        return super()._write(name, adjusted)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One fleet for the whole file, because starting seven processes is most of the time; fra's clock is 5 s ahead."""
    folder = tmp_path_factory.mktemp("fleet")
    children = Children(folder / "logs")
    spec = WorldSpec(regions=("sg", "fra", "iad"), links=LINKS, seed=3)
    started = AdjustedWorld(spec, folder, children, TokenIssuer(Ed25519PrivateKey.generate()))
    started.changes = {"fra": {"mesh": {"clock_offset_ms": 5000.0}}}
    try:
        await started.start()
        url = f"http://127.0.0.1:{started.edges['sg'].ready['http']}"
        await children.start("host", "publish", "test", "--room", "demo", "--edge", url)
        yield started
    finally:
        await children.stop()


async def test_a_clock_five_seconds_ahead_changes_neither_routes_nor_delays(world: World) -> None:
    route = await world.wait_for_route(
        "demo", "fra", lambda route: route["primary"] == DIRECT and route["backup"] == AROUND, timeout_s=60
    )
    assert "not measured" not in route["reason"]

    async def settled() -> bool:
        rows = (await world.console())["links"]
        one_way = {(row["from_edge"], row["to_edge"]): row["one_way_ms"] for row in rows}
        # Five seconds would show; what a busy machine adds to a round trip does not.
        assert all(delay < 1000 for delay in one_way.values()), one_way
        wanted = {pair: link.delay_ms for (a, b), link in LINKS.items() for pair in ((a, b), (b, a))}
        return one_way.keys() == wanted.keys() and all(
            wanted[pair] - 5 <= delay <= wanted[pair] + 60 for pair, delay in one_way.items()
        )

    await until(settled, 60.0)


async def test_control_dies_and_comes_back_and_no_edge_notices(world: World) -> None:
    await world.wait_for_route("demo", "fra", lambda route: bool(route["backup"]), timeout_s=60)
    epoch = (await world.console())["leader_epoch"]
    world.kill_control()
    for edge in ("sg", "fra", "iad"):
        assert (await world.metric(edge, "tradewind_mesh_leader_epoch"))[""] == epoch
    routes = {edge: (await world.metric(edge, "tradewind_mesh_routes"))[""] for edge in ("sg", "fra", "iad")}
    assert routes == {"sg": 0.0, "fra": 1.0, "iad": 1.0}
    # An edge that starts anew meanwhile has its routes from its own disk.
    world.kill_edge("iad")
    await world.restart_edge("iad")
    assert (await world.metric("iad", "tradewind_mesh_control_connected"))[""] == 0.0
    assert (await world.metric("iad", "tradewind_mesh_routes"))[""] == 1.0
    assert (await world.metric("iad", "tradewind_mesh_leader_epoch"))[""] == epoch
    await world.restart_control()
    await world.wait_for_route("demo", "fra", lambda route: bool(route["backup"]), timeout_s=60)
    assert (await world.console())["leader_epoch"] == epoch + 1

    async def followed() -> bool:
        return (await world.metric("fra", "tradewind_mesh_leader_epoch"))[""] == epoch + 1

    await until(followed)
    assert all(edge.child.process.returncode is None for edge in world.edges.values())


async def test_a_bad_link_moves_the_route_and_says_why(world: World) -> None:
    await world.wait_for_route(
        "demo", "fra", lambda route: route["primary"] == DIRECT and route["backup"] == AROUND, timeout_s=90
    )
    await world.set_link("sg", "fra", loss_ratio=0.1, burst_packets=3, delay_ms=280)
    route = await world.wait_for_route("demo", "fra", lambda route: route["primary"] == AROUND, timeout_s=60)
    assert route["reason"].startswith("direct sg–fra")
    assert ": via iad " in route["reason"]
    assert route["backup"] == DIRECT


async def test_a_host_takes_over_from_the_edge_whose_clock_is_ahead(world: World) -> None:
    """By its own clock sg would number the takeover below the publication at fra, and nobody would see it."""

    def edge(name: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.edges[name].ready['http']}", timeout=PATIENCE_S)

    async def enters_at(name: str) -> bool:
        streams = (await world.console())["streams"]
        return any((stream["room"], stream["source_edge"]) == ("moving", name) for stream in streams)

    async def known_at_sg() -> bool:
        async with edge("sg") as http:
            return bool((await http.get("/v1/rooms/moving/join")).json()["live"])

    async with edge("fra") as fra, edge("sg") as sg, host(fra, "moving"):
        await until(lambda: enters_at("fra"))
        await until(known_at_sg)
        async with host(sg, "moving"):
            await until(lambda: enters_at("sg"))


async def test_the_first_viewer_at_an_edge_is_told_of_the_rooms_codec(world: World) -> None:
    def offer(video: Literal["VP8", "H264"]) -> str:
        return OfferParameters(Certificate(), "recvonly", video=video).sdp()

    await world.wait_for_route("demo", "iad", lambda _route: True, timeout_s=60)
    headers = {"Content-Type": "application/sdp"}
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        refused = await http.post(world.whep("iad", "demo"), content=offer("VP8"), headers=headers)
        assert (refused.status_code, refused.json()["reason"]) == (406, "no_common_codec")
        assert "H264" in refused.json()["detail"]
        taken = await http.post(world.whep("iad", "demo"), content=offer("H264"), headers=headers)
        assert taken.status_code == 201
        assert (await http.delete(urljoin(str(taken.url), taken.headers["location"]))).status_code == 200
