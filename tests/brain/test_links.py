"""Claims are merged so that neither clocks nor one end's word decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.brain.cost import link_cost_ms
from control.brain.links import (
    clock_potentials,
    echoed_loss_ratio,
    estimate_links,
    proven_loss_ratio,
    smoothed_loss_ratio,
)
from control.brain.world import EdgeState, LinkClaim, Snapshot
from tests.brain.worlds import PLACES, claim


def world(*claims: LinkClaim, places: bool = False) -> Snapshot:
    names = sorted({edge for each in claims for edge in (each.from_edge, each.to_edge)})
    edges = tuple(
        EdgeState(
            edge_id=name,
            latitude_degrees=PLACES[name][0] if places else None,
            longitude_degrees=PLACES[name][1] if places else None,
        )
        for name in names
    )
    return Snapshot(edges, claims, ())


def test_cost_is_the_formula_of_the_design() -> None:
    one = np.array([[100.0]])
    cost = link_cost_ms(one, one + 20, 2 * one, np.array([[0.1]]), np.array([[0.8]]), np.array([[0.02]]))
    recovery = 0.1 * (200 + 25) / 0.9
    assert cost[0, 0] == pytest.approx(100 + 10 + recovery + 1 + 60 * 0.5 + 200 * 0.02)


@given(st.lists(st.floats(-1e7, 1e7), min_size=4, max_size=4), st.data())
def test_clock_offsets_change_no_cost(offsets: list[float], data: st.DataObject) -> None:
    names = ("fra", "iad", "sg", "zrh")
    pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
    rtts = {(a, b): data.draw(st.floats(10.0, 300.0)) for a, b in pairs if a < b}

    def costs(clock: list[float]) -> np.ndarray:
        claims = [
            claim(names[a], names[b], rtts[min(a, b), max(a, b)], raw_offset_ms=clock[b] - clock[a]) for a, b in pairs
        ]
        return estimate_links(world(*claims), {}).cost_ms

    np.testing.assert_allclose(costs(offsets), costs([0.0] * 4), atol=0.1)


def test_asymmetric_delays_keep_their_difference_along_a_path() -> None:
    # a->b takes 90 of 100 ms; the loop through c is symmetric. Whatever potential is taken, both ways around from a to
    # c must differ by what they really differ.
    true = {(0, 1): 90.0, (1, 0): 10.0, (1, 2): 30.0, (2, 1): 30.0, (0, 2): 100.0, (2, 0): 100.0}
    clock = (0.0, 4000.0, -777.0)
    claims = {
        (a, b): replace(claim(str(a), str(b), d + true[b, a]), one_way_p50_raw_ms=d + clock[b] - clock[a])
        for (a, b), d in true.items()
    }
    offsets = clock_potentials(claims, 3)
    corrected = {
        (a, b): (each.one_way_p50_raw_ms or 0.0) - (offsets[b] - offsets[a]) for (a, b), each in claims.items()
    }
    assert corrected[0, 1] + corrected[1, 2] - corrected[0, 2] == pytest.approx(90 + 30 - 100)


def test_the_worse_round_trip_of_both_claims_counts() -> None:
    links = estimate_links(world(claim("fra", "sg", 1.0), claim("sg", "fra", 160.0)), {})
    sg, fra = links.index["sg"], links.index["fra"]
    assert links.rtt_ms[fra, sg] == links.rtt_ms[sg, fra] == 160.0
    assert links.d50_ms[fra, sg] + links.d50_ms[sg, fra] >= 160.0 * 0.95


def test_nothing_is_faster_than_light_in_fibre() -> None:
    links = estimate_links(world(claim("fra", "sg", 1.0), claim("sg", "fra", 1.0), places=True), {})
    sg, fra = links.index["sg"], links.index["fra"]
    # Frankfurt-Singapore: 10,260 km of great circle.
    assert links.d50_ms[fra, sg] == pytest.approx(50.3, abs=0.5)
    assert links.rtt_ms[fra, sg] == pytest.approx(100.6, abs=1.0)


def test_an_edge_that_backdates_arrivals_gains_nothing() -> None:
    honest = (claim("fra", "sg", 160.0), claim("sg", "fra", 160.0))
    liar = (replace(honest[0], one_way_p50_raw_ms=-900.0, one_way_p95_raw_ms=-899.0), honest[1])
    for links in (estimate_links(world(*honest), {}), estimate_links(world(*liar), {})):
        sg, fra = links.index["sg"], links.index["fra"]
        assert links.cost_ms[fra, sg] + links.cost_ms[sg, fra] >= 160.0


def test_one_end_saying_unreachable_takes_the_link_out_both_ways() -> None:
    links = estimate_links(world(replace(claim("fra", "sg", 160.0), reachable=False), claim("sg", "fra", 160.0)), {})
    assert not links.usable.any()


def test_a_sudden_delay_shows_before_the_median_moves() -> None:
    jumped = [replace(claim(a, b, 160.0), rtt_ms=960.0) for a, b in (("fra", "sg"), ("sg", "fra"))]
    links = estimate_links(world(*jumped), {})
    assert links.d50_ms[0, 1] == pytest.approx(480.0)


def test_few_samples_lean_on_the_prior() -> None:
    young = replace(
        claim("fra", "sg", 160.0), loss_30s_ratio=0.5, packets_30s=2, packets_2s=2, packets_10min=2, loss_2s_ratio=0.5
    )
    assert smoothed_loss_ratio(young, 0.001) == pytest.approx((1 + 20 * 0.001) / 22)
    clean = replace(young, loss_30s_ratio=0.0, packets_30s=300)
    assert smoothed_loss_ratio(clean, 0.001) == pytest.approx(0.02 / 320)


def test_one_burst_proves_nothing_and_many_prove_nearly_all() -> None:
    assert proven_loss_ratio(0.005, 600, 3.0) == 0.0
    assert proven_loss_ratio(0.01, 7200, 3.0) == pytest.approx(0.01, rel=0.25)
    assert proven_loss_ratio(0.1, 480, 48.0) == 0.0


def test_a_short_window_is_no_verdict_without_media() -> None:
    probes = replace(claim("fra", "sg", 160.0), loss_2s_ratio=0.15, packets_2s=20)
    media = replace(probes, packets_2s=480)
    assert estimate_links(world(probes), {}).fresh_loss_ratio.max() == 0.0
    assert estimate_links(world(media), {}).fresh_loss_ratio.max() > 0.1


def test_a_receiver_that_keeps_its_losses_to_itself_is_found_out_by_missing_echoes() -> None:
    # fra says that all packets from sg arrive; of sg's probes every tenth gets no echo, and the way back is clean.
    silent = claim("sg", "fra", 160.0)
    doubting = replace(claim("fra", "sg", 160.0), echo_loss_30s_ratio=0.1, echo_packets_30s=300)
    believed = estimate_links(world(silent, claim("fra", "sg", 160.0)), {})
    doubted = estimate_links(world(silent, replace(doubting, echo_mean_burst_packets=1.5)), {})
    sg, fra = doubted.index["sg"], doubted.index["fra"]
    assert believed.proven_loss_ratio[sg, fra] == 0.0
    assert 0.02 < doubted.proven_loss_ratio[sg, fra] <= 0.1
    assert doubted.cost_ms[sg, fra] > believed.cost_ms[sg, fra] + 1.0
    assert doubted.proven_loss_ratio[fra, sg] == 0.0


@given(st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_echoes_never_prove_more_than_what_is_lost_there(there: float, back: float) -> None:
    honest = replace(
        claim("fra", "sg", 160.0, loss=back),
        echo_loss_30s_ratio=1 - (1 - there) * (1 - back),
        echo_packets_30s=300,
        echo_mean_burst_packets=1.0,
    )
    assert echoed_loss_ratio(honest) <= there + 1e-9


def test_one_outage_proves_nothing_against_the_receiver() -> None:
    outage = replace(
        claim("fra", "sg", 160.0), echo_loss_30s_ratio=0.2, echo_packets_30s=300, echo_mean_burst_packets=60.0
    )
    assert echoed_loss_ratio(outage) == 0.0


def test_a_missing_tariff_is_a_mean_and_is_marked() -> None:
    edges = tuple(
        EdgeState(edge_id=name, provider=provider, continent="eu")
        for name, provider in (("fra", "aws"), ("lhr", "aws"), ("ams", "own"))
    )
    claims = tuple(claim(a, b, 10.0) for a in ("fra", "lhr", "ams") for b in ("fra", "lhr", "ams") if a != b)
    tariffs = {("fra", "lhr"): 0.02, ("ams", "fra"): 0.1, ("ams", "lhr"): 0.1}
    links = estimate_links(Snapshot(edges, claims, (), tariffs), {})
    rows = {(row.from_edge, row.to_edge): row for row in links.verdicts()}
    assert not rows["fra", "lhr"].tariff_guessed
    assert rows["lhr", "fra"].tariff_guessed
    # 0.02 $/GB is 4 ms; the other provider's price plays no part.
    assert rows["lhr", "fra"].cost_ms == pytest.approx(rows["fra", "lhr"].cost_ms)
    assert rows["ams", "fra"].cost_ms == pytest.approx(rows["fra", "lhr"].cost_ms + 16.0)


def test_without_tariffs_nothing_is_guessed() -> None:
    links = estimate_links(world(claim("fra", "sg", 160.0), claim("sg", "fra", 160.0)), {})
    assert not any(row.tariff_guessed for row in links.verdicts())
