"""What one direction of a link does to a packet, in virtual time."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wan.model import DelayHistogram, Drop, LinkConditions, LinkDirection

SEED = 20260501


def direction(**conditions: float | bool | None) -> LinkDirection:
    return LinkDirection(LinkConditions(**conditions), Random(SEED))  # type: ignore[arg-type]


def send(link: LinkDirection, count: int, *, size_bytes: int = 1200, interval: float = 0.001) -> list[list[float]]:
    """Due times of each packet's copies."""
    return [
        [delivery.due for delivery in link.handle_packet(size_bytes, now=100.0 + i * interval)] for i in range(count)
    ]


def runs(lost: list[bool]) -> list[int]:
    lengths = []
    length = 0
    for is_lost in [*lost, False]:
        if is_lost:
            length += 1
        elif length:
            lengths.append(length)
            length = 0
    return lengths


@pytest.mark.parametrize(("loss_ratio", "burst_packets"), [(0.01, 1), (0.02, 3), (0.05, 8), (0.4, 60), (0.6, 1)])
def test_loss_ratio_and_burst_length_are_what_was_asked_for(loss_ratio: float, burst_packets: float) -> None:
    link = direction(loss_ratio=loss_ratio, burst_packets=burst_packets)
    lost = [not due for due in send(link, 200_000)]
    reachable_burst = max(burst_packets, loss_ratio / (1 - loss_ratio))
    assert sum(lost) / len(lost) == pytest.approx(loss_ratio, rel=0.1), f"seed {SEED}"
    lengths = runs(lost)
    assert sum(lengths) / len(lengths) == pytest.approx(reachable_burst, rel=0.1), f"seed {SEED}"
    assert link.counters.drops[Drop.LOSS] == sum(lost)
    assert link.counters.loss_bursts == len(lengths)


def test_a_perfect_wire_changes_nothing() -> None:
    assert send(direction(), 3, interval=1.0) == [[100.0], [101.0], [102.0]]


def test_delay_is_added_to_every_packet() -> None:
    (due,) = send(direction(delay_ms=80), 1)[0]
    assert due == pytest.approx(100.080)


def test_jitter_stays_in_its_range_and_keeps_the_order() -> None:
    link = direction(delay_ms=80, jitter_ms=10)
    dues = [due for (due,) in send(link, 5000)]
    delays_ms = [(due - 100.0 - i * 0.001) * 1000 for i, due in enumerate(dues)]
    assert dues == sorted(dues)
    assert min(delays_ms) >= 80 - 1e-6
    assert max(delays_ms) <= 90 + 1e-6
    assert max(delays_ms) - min(delays_ms) > 5


def test_reorder_lets_successors_overtake() -> None:
    link = direction(delay_ms=80, reorder_ratio=0.05)
    dues = [due for (due,) in send(link, 5000)]
    overtaken = sum(dues[i] > dues[i + 1] for i in range(len(dues) - 1))
    assert overtaken == pytest.approx(5000 * 0.05, rel=0.2), f"seed {SEED}"
    assert link.counters.reordered == pytest.approx(250, rel=0.2)


def test_duplicates_and_corruption_come_at_their_ratios() -> None:
    link = direction(duplicate_ratio=0.1, corrupt_ratio=0.2)
    deliveries = [link.handle_packet(100, now=float(i)) for i in range(5000)]
    assert sum(len(copies) == 2 for copies in deliveries) == pytest.approx(500, rel=0.2)
    corrupted = [copies[0].corrupt_at for copies in deliveries if copies[0].corrupt_at is not None]
    assert len(corrupted) == pytest.approx(1000, rel=0.2)
    assert all(0 <= at < 100 for at in corrupted)


def test_the_bottleneck_spaces_packets_and_its_full_queue_drops() -> None:
    link = direction(rate_kbps=960, queue_ms=95)  # 10 ms per packet of 1,200 bytes
    dues = send(link, 20, interval=0.0)
    kept = [due[0] for due in dues if due]
    # Ten packets wait at most 90 ms; the eleventh would find 100 ms of queue.
    assert kept == pytest.approx([100.0 + 0.01 * (i + 1) for i in range(10)])
    assert link.counters.drops[Drop.QUEUE] == 10


def test_a_blackout_drops_everything_until_it_ends() -> None:
    link = direction(blackout=True)
    assert send(link, 10) == [[]] * 10
    assert link.counters.drops[Drop.BLACKOUT] == 10
    link.apply_changes(blackout=False)
    assert all(send(link, 10))


def test_a_change_keeps_the_fields_it_does_not_name() -> None:
    link = direction(delay_ms=80, loss_ratio=0.01, burst_packets=3)
    assert link.apply_changes(delay_ms=400) == LinkConditions(delay_ms=400, loss_ratio=0.01, burst_packets=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("loss_ratio", 1.5), ("loss_ratio", float("nan")), ("delay_ms", -1), ("burst_packets", 0.5), ("rate_kbps", 0)],
)
def test_conditions_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        direction(**{field: value})


def test_the_same_seed_gives_the_same_fate() -> None:
    fates = [send(direction(delay_ms=5, jitter_ms=3, loss_ratio=0.1, duplicate_ratio=0.1), 500) for _ in range(2)]
    assert fates[0] == fates[1]


@given(
    loss_ratio=st.floats(0, 1),
    burst_packets=st.floats(1, 100),
    jitter_ms=st.floats(0, 50),
    rate_kbps=st.none() | st.floats(1, 1e6),
    sizes=st.lists(st.integers(0, 1500), max_size=50),
)
def test_every_packet_is_delivered_or_counted(
    loss_ratio: float, burst_packets: float, jitter_ms: float, rate_kbps: float | None, sizes: list[int]
) -> None:
    link = direction(loss_ratio=loss_ratio, burst_packets=burst_packets, jitter_ms=jitter_ms, rate_kbps=rate_kbps)
    delivered = 0
    for i, size_bytes in enumerate(sizes):
        now = i * 0.002
        for delivery in link.handle_packet(size_bytes, now=now):
            assert delivery.due >= now
            delivered += 1
    assert delivered + sum(link.counters.drops.values()) == len(sizes)


def test_histogram_quantiles_are_within_a_bucket() -> None:
    histogram = DelayHistogram()
    for value in range(1, 1001):
        histogram.handle_value(float(value))
    assert histogram.quantile_ms(0.5) == pytest.approx(500, rel=0.25)
    assert histogram.quantile_ms(1.0) == 1000
    assert histogram.sum_ms / histogram.count == pytest.approx(500.5)


def test_lose_next_loses_exactly_that_burst() -> None:
    direction = LinkDirection(LinkConditions(), Random(1))
    direction.handle_packet(100, now=0.0)
    direction.lose_next(8)
    fates = [bool(direction.handle_packet(100, now=1.0)) for _ in range(12)]
    assert fates == [False] * 8 + [True] * 4
    assert (direction.counters.loss_bursts, direction.counters.ordered_losses) == (1, 8)


def test_a_burst_passes_over_what_it_is_not_meant_for() -> None:
    direction = LinkDirection(LinkConditions(), Random(1))
    direction.lose_next(2)
    fates = [bool(direction.handle_packet(100, now=1.0, burst_hits=hits)) for hits in (False, True, False, True, True)]
    assert fates == [True, False, True, False, True]


def test_go_dark_ends_by_itself() -> None:
    direction = LinkDirection(LinkConditions(), Random(1))
    direction.go_dark(200, now=10.0)
    assert [bool(direction.handle_packet(100, now=now)) for now in (10.0, 10.199, 10.201)] == [False, False, True]
    assert direction.counters.drops[Drop.BLACKOUT] == 2
