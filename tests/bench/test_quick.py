"""The untimed part of each quick scenario, with and without what it claims: proof is whole, and the feature is real.

No figure is held against its bar here: the machine may be busy. What is switched off by the product's settings must be
gone from the packet path's own counters, and what is on must have worked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from bench import registry
from bench.generator_process import GeneratorMissing, generator_path
from bench.report import Outcome
from bench.scenario import RunOptions


@pytest.fixture(autouse=True)
def _generator() -> None:
    try:
        generator_path()
    except GeneratorMissing as missing:
        pytest.fail(str(missing))


def _run(name: str, *without: str) -> Outcome:
    options = RunOptions(seed=7, quick=True, without=without)
    outcome = asyncio.run(registry.scenario(name).run(options))
    for key in ("samples", "process_ids", "generator", "emulator"):
        assert outcome.evidence[key], key
    return outcome


def _counter(outcome: Outcome, edge: str, name: str) -> float:
    edges: Mapping[str, Any] = outcome.evidence["edges"]  # type: ignore[assignment]
    samples = edges[edge]["counters"].get(f"tradewind_dataplane_{name}_total", {})
    return float(sum(samples.values()))


@pytest.mark.timeout(480)
def test_forward_sends_runs_and_without_gso_single_packets() -> None:
    whole, single = _run("forward"), _run("forward", "gso")
    for outcome in (whole, single):
        assert outcome.evidence["srtp_profile"] == "SRTP_AEAD_AES_128_GCM"
        assert outcome.evidence["missing"] == 0
        assert outcome.evidence["wrong"] == 0
    per_call = [_counter(run, "sg", "packets_sent") / _counter(run, "sg", "send_calls") for run in (whole, single)]
    assert per_call[0] > 3
    assert per_call[1] == pytest.approx(1, abs=0.05)


@pytest.mark.timeout(480)
def test_failover_moves_and_without_it_the_picture_stops() -> None:
    whole, stuck = _run("failover"), _run("failover", "failover")
    assert _counter(whole, "fra", "failovers_committed") >= 1
    assert _counter(stuck, "fra", "failovers_committed") == 0
    assert whole.results["media_gap_max_ms"] is not None
    assert stuck.results["media_gap_max_ms"] is not None
    assert stuck.results["media_gap_max_ms"] > 1000


@pytest.mark.timeout(480)
def test_startup_replays_and_without_the_cache_waits() -> None:
    whole, waiting = _run("startup"), _run("startup", "cache")
    assert _counter(whole, "fra", "replays_started") >= 1
    assert _counter(waiting, "fra", "replays_started") == 0


@pytest.mark.timeout(480)
def test_latency_reads_the_picture_across_the_ocean() -> None:
    outcome = _run("latency")
    assert outcome.results["glass_to_glass_p95_ms"] is not None
    # Light is not outrun: half of the emulated round trip, and the encoder and decoder besides.
    assert outcome.results["glass_to_glass_p95_ms"] > 80


@pytest.mark.timeout(480)
def test_outage_lets_people_in_without_control() -> None:
    outcome = _run("outage")
    assert outcome.results["joins_refused"] == 0


@pytest.mark.timeout(120)
def test_hostile_offers_are_refused() -> None:
    outcome = _run("offers")
    assert not outcome.no_proof
