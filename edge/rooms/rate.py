"""Token buckets: so many at once, so many per second in the long run. Pure; `now` is monotonic seconds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class TokenBucket:
    """One allowance."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, *, now: float) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, *, now: float) -> float:
        """0 when one was taken, else the seconds until one is there."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate

    def put_back(self) -> None:
        """Returns one that was taken for something that did not happen."""
        self._tokens = min(self._burst, self._tokens + 1.0)


class RateLimiter:
    """A bucket per key. The table is bounded: at the bound the least recently used key starts afresh."""

    def __init__(self, rate_per_s: float, burst: float, *, keys_max: int) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._keys_max = keys_max
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def bucket(self, key: Hashable, *, now: float) -> TokenBucket:
        """The bucket of a key, full when the key is new."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now=now)
            if len(self._buckets) > self._keys_max:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket
