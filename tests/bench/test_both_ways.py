"""The untimed part of each quick scenario, with and without what it claims: proof is whole, and the feature is real.

No figure is held against its bar here: the machine may be busy. What is switched off by the product's settings must be
gone from what the wire and the packet path show, and what is on must have worked. Scenarios that play between the same
two edges share one fleet and two browsers; its edges start a second time with everything switched off at once, each
scenario looking at its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from bench import registry
from bench.evidence import missing
from bench.generator_process import SRTP_PROFILES, GeneratorMissing, generator_path
from bench.network import viewer_network
from bench.report import Outcome
from bench.scenario import RunOptions
from bench.scenarios import failover, forward, latency, ocean, offers, outage, startup, sync
from bench.world import World, open_world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
OPTIONS = RunOptions(seed=7, quick=True, untimed=True)
OCEAN_FEATURES = ("trunk_nack", "cache", "sender_reports", "offer_limits", "last_good")


@dataclass
class BothWays:
    """Outcomes by scenario; one that failed fails its own test and no other."""

    whole: dict[str, Outcome | Exception] = field(default_factory=dict)
    without: dict[str, Outcome | Exception] = field(default_factory=dict)

    def of(self, name: str) -> tuple[Outcome, Outcome]:
        """With everything, and without; raises what the scenario raised."""
        for outcome in (self.whole[name], self.without[name]):
            if isinstance(outcome, Exception):
                raise outcome
            assert missing(outcome.evidence, registry.scenario(name).evidence) == []
            assert set(outcome.results) == {bar.key for bar in registry.scenario(name).bars}
        whole, without = self.whole[name], self.without[name]
        assert isinstance(whole, Outcome)
        assert isinstance(without, Outcome)
        return whole, without


async def _attempt(measure: Callable[[], Awaitable[Outcome]]) -> Outcome | Exception:
    try:
        return await measure()
    except Exception as error:
        return error


def _counter(outcome: Outcome, edge: str, name: str) -> float:
    edges: Mapping[str, Any] = outcome.evidence["edges"]  # type: ignore[assignment]
    return float(sum(edges[edge]["counters"].get(f"tradewind_dataplane_{name}_total", {}).values()))


def _let_in(outcome: Outcome) -> set[bool]:
    """What happened to those who came; how soon they had a picture is for the bench to say."""
    samples: Mapping[str, Any] = outcome.evidence["raw_samples"]  # type: ignore[assignment]
    return {row["error"] == "" for row in samples["joins"]}


def _number(outcome: Outcome, name: str) -> float:
    value = outcome.evidence[name]
    assert isinstance(value, int | float)
    return float(value)


@pytest.fixture(scope="module", autouse=True)
def _generator() -> None:
    try:
        generator_path()
    except GeneratorMissing as missing_generator:
        pytest.fail(str(missing_generator))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def across_the_ocean() -> AsyncIterator[BothWays]:
    found = BothWays()
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(ocean.open_ocean(OPTIONS))
        for outcomes, features in ((found.whole, ()), (found.without, OCEAN_FEATURES)):
            if features:
                await stage.world.start_again(without=features)
            outcomes["latency"] = await _attempt(lambda: latency.measure(stage, OPTIONS))
            outcomes["startup"] = await _attempt(lambda: startup.measure(stage, OPTIONS))
            outcomes["sync"] = await _attempt(lambda: sync.measure(stage, OPTIONS))
            outcomes["offers"] = await _attempt(lambda: offers.measure(stage.world, OPTIONS))
            # Last, because it takes control away for a while.
            outcomes["outage"] = await _attempt(lambda: outage.measure(stage.world, OPTIONS))
        yield found


async def _twice(
    world: World, name: str, features: tuple[str, ...], measure: Callable[[], Awaitable[Outcome]]
) -> BothWays:
    found = BothWays()
    found.whole[name] = await _attempt(measure)
    await world.start_again(without=features)
    found.without[name] = await _attempt(measure)
    return found


async def test_latency_repairs_on_the_trunk_and_without_it_packets_stay_lost(across_the_ocean: BothWays) -> None:
    whole, without = across_the_ocean.of("latency")
    delay = whole.results["glass_to_glass_p95_ms"]
    # Light is not outrun: half of the emulated round trip, and the encoder and decoder besides.
    assert delay is not None
    assert delay > 80
    # Without repair the viewer misses what the emulator takes away; how many frames are decoded depends on the machine
    # as well.
    assert _number(without, "packets_lost_at_viewer") > _number(whole, "packets_lost_at_viewer")


async def test_startup_replays_and_without_the_cache_waits(across_the_ocean: BothWays) -> None:
    whole, without = across_the_ocean.of("startup")
    assert _number(whole, "replays_started") >= 1
    assert _number(without, "replays_started") == 0


async def test_sync_has_the_publishers_clocks_and_without_reports_none(across_the_ocean: BothWays) -> None:
    whole, without = across_the_ocean.of("sync")
    assert _number(whole, "sender_reports_at_viewer") >= 2
    assert _number(without, "sender_reports_at_viewer") == 0


async def test_hostile_offers_are_refused_and_without_limits_let_in(across_the_ocean: BothWays) -> None:
    whole, without = across_the_ocean.of("offers")
    assert whole.results["hostile_offers_accepted"] == 0
    assert without.results["hostile_offers_accepted"] != 0


async def test_people_are_let_in_without_control_and_not_without_its_last_good_table(
    across_the_ocean: BothWays,
) -> None:
    whole, without = across_the_ocean.of("outage")
    assert _let_in(whole) == {True}
    assert _number(without, "samples") > 0
    refused = without.results["joins_refused"]
    assert refused is not None
    assert refused > 0


async def test_forward_sends_runs_and_without_gso_single_packets() -> None:
    async with (
        viewer_network(viewer_core=forward.cores()[1]) as network,
        open_world(forward.spec(OPTIONS, network)) as world,
    ):
        found = await _twice(world, "forward", ("gso",), lambda: forward.measure(world, network, OPTIONS))
    whole, single = found.of("forward")
    for outcome in (whole, single):
        assert outcome.evidence["srtp_profile"] == "SRTP_AEAD_AES_128_GCM"
        assert outcome.evidence["chromium"] == {"srtp_cipher": "SRTP_AEAD_AES_128_GCM", "offered": list(SRTP_PROFILES)}
        assert outcome.evidence["missing"] == 0
        assert outcome.evidence["wrong"] == 0
        assert outcome.evidence["sockets_with_gro"] == 0
        assert _number(outcome, "decrypted_ratio") >= 0.01
        assert outcome.evidence["answered"] == outcome.evidence["asked_again"] == outcome.evidence["sockets"]
    per_call = [_counter(run, "sg", "packets_sent") / _counter(run, "sg", "send_calls") for run in (whole, single)]
    assert per_call[0] > 3
    assert per_call[1] == pytest.approx(1, abs=0.05)


async def test_failover_moves_and_without_it_the_picture_stops() -> None:
    async with open_world(failover.spec(OPTIONS)) as world:
        found = await _twice(world, "failover", ("failover",), lambda: failover.measure(world, OPTIONS))
    whole, stuck = found.of("failover")
    assert _counter(whole, "fra", "failovers_committed") >= 1
    assert _counter(stuck, "fra", "failovers_committed") == 0
    gap, longer = whole.results["media_gap_max_ms"], stuck.results["media_gap_max_ms"]
    assert gap is not None
    assert longer is not None
    assert longer > 1000
    faults: Mapping[str, Any] = whole.evidence["raw_samples"]  # type: ignore[assignment]
    for row in faults["faults"]:
        assert row["relay"] in row["active"][1:-1]
        assert row["relay"] not in row["backup"]
    assert {row["kind"] for row in faults["faults"]} == {"kill", "blackout"}
    assert [row["lost"] for row in faults["false_alarms"] if row["kind"] == "burst"] == [8]
