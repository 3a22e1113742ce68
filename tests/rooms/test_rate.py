"""Token buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.rooms.rate import RateLimiter, TokenBucket


def test_burst_passes_then_the_rate_holds() -> None:
    bucket = TokenBucket(2.0, 3, now=0.0)
    assert [bucket.take(now=0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(now=0.5) == 0
    assert bucket.take(now=0.5) == 0.5


def test_waiting_as_told_is_enough() -> None:
    bucket = TokenBucket(3.0, 1, now=0.0)
    assert bucket.take(now=0.0) == 0
    assert bucket.take(now=bucket.take(now=0.0) + 1e-9) == 0


@given(st.lists(st.floats(0, 10), max_size=200), st.floats(0.1, 10), st.integers(1, 10))
def test_no_more_than_burst_and_rate_allow(pauses: list[float], rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst, now=0.0)
    now, taken = 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now=now) == 0
    assert taken <= burst + rate * now + 1e-6


def test_clock_that_stands_or_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(1.0, 1, now=100.0)
    assert bucket.take(now=100.0) == 0
    assert bucket.take(now=50.0) > 0


def test_table_of_people_is_bounded() -> None:
    limiter = RateLimiter(1.0, 1, keys_max=2)
    first = limiter.bucket("a", now=0.0)
    assert limiter.bucket("a", now=0.0) is first
    limiter.bucket("b", now=0.0)
    limiter.bucket("c", now=0.0)
    assert limiter.bucket("a", now=0.0) is not first, "the least recently used key made room"
