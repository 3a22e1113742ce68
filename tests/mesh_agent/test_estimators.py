"""Estimators against their sources: RFC 9002 for round trips, gaps in numbers for loss, quantiles for delay."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.mesh.estimators import (
    LossEstimator,
    OneWayEstimator,
    RttEstimator,
    WindowMinimum,
    WindowQuantiles,
)


def test_first_sample_sets_both_as_rfc_9002_says() -> None:
    rtt = RttEstimator()
    rtt.handle_sample(100.0, now=0.0)
    assert (rtt.smoothed_ms, rtt.variance_ms) == (100.0, 50.0)
    rtt.handle_sample(200.0, now=0.1)
    # RFC 9002 section 5.3: rttvar = 3/4 rttvar + 1/4 |smoothed - sample|, smoothed = 7/8 smoothed + 1/8 sample.
    assert rtt.variance_ms == pytest.approx(0.75 * 50 + 0.25 * 100)
    assert rtt.smoothed_ms == pytest.approx(112.5)


def test_a_jump_shows_in_the_smoothed_value_long_before_the_median() -> None:
    rtt = RttEstimator()
    for tick in range(600):
        rtt.handle_sample(160.0, now=tick * 0.1)
    for tick in range(30):
        rtt.handle_sample(960.0, now=60 + tick * 0.1)
    assert rtt.smoothed_ms > 900
    assert rtt.median_ms(now=63.0) == 160.0
    assert rtt.minimum_ms(now=63.0) == 160.0


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(-1e9, 1e9)), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_window_quantile_equals_sorting_what_is_young_enough(steps: list[tuple[float, float]], ratio: float) -> None:
    window = WindowQuantiles(window_s=60.0)
    samples: list[tuple[float, float]] = []
    now = 0.0
    for step, value in steps:
        now += step
        window.handle_value(value, now=now)
        samples.append((now, value))
    young = sorted(value for at, value in samples if now - at <= 60.0)
    found = window.quantile(ratio, now=now)
    assert found in young
    assert sum(value <= found for value in young) >= ratio * len(young) - 1e-9


def test_window_quantiles_have_a_bound() -> None:
    window = WindowQuantiles(samples_max=100)
    for tick in range(1000):
        window.handle_value(float(tick), now=tick / 1000)
    assert len(window) == 100
    assert window.quantile(0.01, now=1.0) == 900.0


@given(st.lists(st.tuples(st.floats(0.0, 300.0), st.floats(0.0, 1e6)), min_size=1, max_size=100))
def test_window_minimum_equals_searching(steps: list[tuple[float, float]]) -> None:
    window = WindowMinimum(window_s=600.0)
    now, samples = 0.0, []
    for step, value in steps:
        now += step
        window.handle_value(value, now=now)
        samples.append((now, value))
    assert window.minimum(now=now) == min(value for at, value in samples if now - at <= 600.0)


def test_gaps_are_losses_once_they_have_settled() -> None:
    loss = LossEstimator()
    for number in (1, 2, 3, 7, 8):
        loss.handle_packet(number, now=0.0)
    assert loss.fresh(now=0.1) == (0.0, 5)
    loss.settle(now=0.3)
    assert loss.fresh(now=0.3) == (3 / 8, 8)
    assert loss.mean_burst_packets(now=0.3) == pytest.approx(3.0)


def test_late_packets_are_no_losses() -> None:
    loss = LossEstimator()
    for number in (1, 2, 5, 3, 4):
        loss.handle_packet(number, now=0.0)
    loss.settle(now=1.0)
    assert loss.fresh(now=1.0) == (0.0, 5)


def test_a_restarted_sender_is_no_loss() -> None:
    loss = LossEstimator()
    loss.handle_packet(10_000, now=0.0)
    loss.handle_restart()
    loss.handle_packet(1, now=0.1)
    loss.settle(now=1.0)
    assert loss.steady(now=1.0)[0] == 0.0


def test_steady_loss_finds_the_true_ratio_and_burst_length() -> None:
    rng = random.Random(11)
    loss, now, bad = LossEstimator(), 0.0, False
    # Gilbert: bursts of mean 3, one per cent in all.
    for number in range(60_000):
        now = number / 240
        bad = rng.random() < (2 / 3 if bad else 0.01 / 2.97)
        if not bad:
            loss.handle_packet(number, now=now)
    assert loss.long(now=now)[0] == pytest.approx(0.01, rel=0.2), "seed 11"
    assert loss.mean_burst_packets(now=now) == pytest.approx(3.0, rel=0.2), "seed 11"


def test_old_losses_fade() -> None:
    loss = LossEstimator()
    for number in range(0, 100, 2):
        loss.handle_packet(number, now=0.0)
    loss.settle(now=1.0)
    assert loss.steady(now=1.0)[0] == pytest.approx(0.5, abs=0.02)
    for number in range(100, 1000):
        loss.handle_packet(number, now=1.0 + number / 10)
    assert loss.steady(now=101.0)[0] < 0.02
    assert loss.fresh(now=101.0)[0] == 0.0


def test_a_stepped_clock_starts_the_window_anew() -> None:
    rtt, one_way = RttEstimator(), OneWayEstimator()
    now = 0.0
    for raw in [80.0] * 300 + [5080.0] * 100:
        now += 0.1
        rtt.handle_sample(160.0, now=now)
        one_way.handle_sample(raw, rtt, now=now)
    assert one_way.quantile_ms(0.5, now=now) == 5080.0
    assert one_way.quantile_ms(0.05, now=now) == 5080.0


def test_a_slow_path_is_no_stepped_clock() -> None:
    rtt, one_way = RttEstimator(), OneWayEstimator()
    now = 0.0
    for raw in [80.0] * 300 + [480.0] * 100:
        now += 0.1
        rtt.handle_sample(2 * raw, now=now)
        one_way.handle_sample(raw, rtt, now=now)
    assert one_way.quantile_ms(0.5, now=now) == 80.0


def test_an_outage_among_small_bursts_is_one_event() -> None:
    loss = LossEstimator()
    for number in range(600):
        # Every fortieth is lost, and once ten seconds' worth.
        if number % 40 and not 400 <= number < 500:
            loss.handle_packet(number, now=number / 10)
    assert loss.mean_burst_packets(now=60.0) < 15
    assert loss.burst_packets(now=60.0) == pytest.approx(100.0, rel=0.15)
