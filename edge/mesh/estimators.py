"""Estimators of one direction of one link. Pure: every call brings `now` in monotonic seconds.

- round-trip time: RFC 9002 section 5.3, with a ten-minute minimum and a 60 s median;
- one-way delay: quantiles over 60 s of arrival clock minus sender clock, restarted when a clock has been stepped;
- loss: gaps in packet numbers, over 2 s, and with exponential memory of 30 s and ten minutes; mean length of a burst.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

QUANTILE_WINDOW_S = 60.0
MINIMUM_WINDOW_S = 600.0
# 60 s of five bursts of two packets a second and as many echoes, twice.
QUANTILE_SAMPLES_MAX = 2400
FRESH_WINDOW_S = 2.0
STEADY_MEMORY_S = 30.0
LONG_MEMORY_S = 600.0
# A number that has not come so long after a later one is lost; reordering on the Internet is far shorter.
SETTLE_S = 0.25
# A larger gap is a pause of the sender's, counted up to here.
GAP_MAX_PACKETS = 1000
# A stepped clock shifts one direction and leaves the round trip alone, for good. So long and so far makes it certain.
STEP_MS = 100.0
STEP_CONFIRM_S = 2.0


class WindowQuantiles:
    """Quantiles over a sliding window; at the bound the oldest sample goes early."""

    def __init__(self, window_s: float = QUANTILE_WINDOW_S, samples_max: int = QUANTILE_SAMPLES_MAX) -> None:
        self._window_s = window_s
        self._samples_max = samples_max
        self._by_time: deque[tuple[float, float]] = deque()
        self._sorted: list[float] = []

    def handle_value(self, value: float, *, now: float) -> None:
        """Adds a sample."""
        self._by_time.append((now, value))
        insort(self._sorted, value)
        self._expire(now)

    def quantile(self, ratio: float, *, now: float) -> float | None:
        """The nearest-rank quantile, or None without samples."""
        self._expire(now)
        if not self._sorted:
            return None
        rank = math.ceil(ratio * len(self._sorted)) - 1
        return self._sorted[min(max(rank, 0), len(self._sorted) - 1)]

    def clear(self) -> None:
        """Forgets everything."""
        self._by_time.clear()
        self._sorted.clear()

    def __len__(self) -> int:
        return len(self._sorted)

    def _expire(self, now: float) -> None:
        while self._by_time and (now - self._by_time[0][0] > self._window_s or len(self._by_time) > self._samples_max):
            _, value = self._by_time.popleft()
            del self._sorted[bisect_left(self._sorted, value)]


class WindowMinimum:
    """The least value of a sliding window, in constant time on average."""

    def __init__(self, window_s: float = MINIMUM_WINDOW_S) -> None:
        self._window_s = window_s
        self._rising: deque[tuple[float, float]] = deque()

    def handle_value(self, value: float, *, now: float) -> None:
        """Adds a sample."""
        while self._rising and self._rising[-1][1] >= value:
            self._rising.pop()
        self._rising.append((now, value))
        self._expire(now)

    def minimum(self, *, now: float) -> float | None:
        """The minimum, or None without samples."""
        self._expire(now)
        return self._rising[0][1] if self._rising else None

    def _expire(self, now: float) -> None:
        while self._rising and now - self._rising[0][0] > self._window_s:
            self._rising.popleft()


class RttEstimator:
    """RFC 9002 section 5.3 without acknowledgement delay: the time an echo spends at the peer counts as its path."""

    def __init__(self) -> None:
        self.latest_ms: float | None = None
        self.smoothed_ms = 0.0
        self.variance_ms = 0.0
        self._minimum = WindowMinimum()
        self._recent = WindowQuantiles()

    def handle_sample(self, rtt_ms: float, *, now: float) -> None:
        """One round trip."""
        if self.latest_ms is None:
            # RFC 9002 section 5.3: smoothed_rtt = latest_rtt, rttvar = latest_rtt / 2.
            self.smoothed_ms, self.variance_ms = rtt_ms, rtt_ms / 2
        else:
            # RFC 9002 section 5.3: the variance takes the distance from the old smoothed value.
            self.variance_ms = 0.75 * self.variance_ms + 0.25 * abs(self.smoothed_ms - rtt_ms)
            self.smoothed_ms = 0.875 * self.smoothed_ms + 0.125 * rtt_ms
        self.latest_ms = rtt_ms
        self._minimum.handle_value(rtt_ms, now=now)
        self._recent.handle_value(rtt_ms, now=now)

    def minimum_ms(self, *, now: float) -> float:
        """Over ten minutes; the smoothed value when all samples are older."""
        found = self._minimum.minimum(now=now)
        return self.smoothed_ms if found is None else found

    def median_ms(self, *, now: float) -> float:
        """Over 60 s; the smoothed value when all samples are older."""
        found = self._recent.quantile(0.5, now=now)
        return self.smoothed_ms if found is None else found


class OneWayEstimator:
    """Raw one-way delay and its jitter (RFC 3550 section 6.4.1, in ms)."""

    def __init__(self) -> None:
        self.jitter_ms = 0.0
        self._window = WindowQuantiles()
        self._last_ms: float | None = None
        self._strange_since: float | None = None

    def handle_sample(self, raw_ms: float, rtt: RttEstimator, *, now: float) -> None:
        """One packet; `rtt` tells a slow path from a stepped clock."""
        if self._last_ms is not None:
            self.jitter_ms += (abs(raw_ms - self._last_ms) - self.jitter_ms) / 16
        self._last_ms = raw_ms
        if self._stepped(raw_ms, rtt, now):
            self._window.clear()
            self._strange_since = None
        self._window.handle_value(raw_ms, now=now)

    def quantile_ms(self, ratio: float, *, now: float) -> float | None:
        """Over 60 s, or None without samples."""
        return self._window.quantile(ratio, now=now)

    def _stepped(self, raw_ms: float, rtt: RttEstimator, now: float) -> bool:
        usual = self._window.quantile(0.5, now=now)
        if usual is None or rtt.latest_ms is None:
            return False
        shift = abs(raw_ms - usual)
        if shift < STEP_MS or abs(rtt.latest_ms - rtt.median_ms(now=now)) > shift / 4:
            self._strange_since = None
            return False
        if self._strange_since is None:
            self._strange_since = now
        return now - self._strange_since >= STEP_CONFIRM_S


class DecayingRatio:
    """A ratio of counts whose past fades with a time constant."""

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._part = 0.0
        self._whole = 0.0
        self._at: float | None = None

    def handle_counts(self, part: int, whole: int, *, now: float) -> None:
        """Adds `part` of `whole`."""
        self._fade(now)
        self._part += part
        self._whole += whole

    def value(self, *, now: float) -> tuple[float, int]:
        """The ratio and the count that stands behind it."""
        self._fade(now)
        return (self._part / self._whole if self._whole > 0 else 0.0), int(self._whole)

    def _fade(self, now: float) -> None:
        if self._at is not None and now > self._at:
            factor = math.exp((self._at - now) / self._memory_s)
            self._part *= factor
            self._whole *= factor
        self._at = now


class LossEstimator:
    """Loss by gaps in packet numbers that count up by one per packet sent."""

    def __init__(self) -> None:
        self._highest: int | None = None
        self._pending: dict[int, float] = {}
        self._recent: deque[tuple[float, int, int]] = deque()
        self._steady = DecayingRatio(STEADY_MEMORY_S)
        self._long = DecayingRatio(LONG_MEMORY_S)
        # Bursts among lost packets: its inverse is the mean burst length.
        self._bursts = DecayingRatio(LONG_MEMORY_S)
        # Squares of losses declared together: a lost packet's own mean.
        self._together = DecayingRatio(STEADY_MEMORY_S)
        self._last_lost: int | None = None

    def handle_packet(self, number: int, *, now: float) -> None:
        """A packet has arrived for the first time."""
        self.settle(now=now)
        if self._highest is None:
            self._highest = number
        elif number > self._highest:
            for missing in range(max(self._highest + 1, number - GAP_MAX_PACKETS), number):
                self._pending[missing] = now
            self._highest = number
        else:
            self._pending.pop(number, None)
        self._count(0, 1, now)

    def settle(self, *, now: float) -> None:
        """Declares lost what has been missing for long enough."""
        lost = [number for number, since in self._pending.items() if now - since >= SETTLE_S]
        if not lost:
            return
        bursts = 0
        for number in lost:
            del self._pending[number]
            bursts += self._last_lost is None or number != self._last_lost + 1
            self._last_lost = number
        self._bursts.handle_counts(bursts, len(lost), now=now)
        self._together.handle_counts(len(lost) ** 2, len(lost), now=now)
        self._count(len(lost), len(lost), now)

    def handle_restart(self) -> None:
        """The sender counts from the beginning."""
        self._highest = None
        self._pending.clear()
        self._last_lost = None

    def fresh(self, *, now: float) -> tuple[float, int]:
        """Ratio and packets of the last 2 s."""
        self._expire(now)
        whole = sum(count for _, _, count in self._recent)
        return (sum(lost for _, lost, _ in self._recent) / whole if whole else 0.0), whole

    def steady(self, *, now: float) -> tuple[float, int]:
        """Ratio and packets, 30 s memory."""
        return self._steady.value(now=now)

    def long(self, *, now: float) -> tuple[float, int]:
        """Ratio and packets, ten-minute memory."""
        return self._long.value(now=now)

    def mean_burst_packets(self, *, now: float) -> float:
        """Mean length of runs of lost packets; 0 before the first."""
        ratio, _ = self._bursts.value(now=now)
        return 1 / ratio if ratio > 0 else 0.0

    def lost_together(self, *, now: float) -> float:
        """How many packets go missing together, as a lost packet sees it, over 30 s; 0 before the first.

        One outage among many small bursts is one event here, while it would count as a dozen of the mean length.
        """
        return self._together.value(now=now)[0]

    def burst_packets(self, *, now: float) -> float:
        """The length of a burst for judging how much a measured loss proves."""
        return max(self.mean_burst_packets(now=now), self.lost_together(now=now))

    def _count(self, lost: int, whole: int, now: float) -> None:
        self._recent.append((now, lost, whole))
        self._steady.handle_counts(lost, whole, now=now)
        self._long.handle_counts(lost, whole, now=now)
        self._expire(now)

    def _expire(self, now: float) -> None:
        while self._recent and now - self._recent[0][0] > FRESH_WINDOW_S:
            self._recent.popleft()
