"""What one direction of a link does to a packet: pure, seeded, no sockets and no clock.

`LinkDirection.handle_packet(size_bytes, now=...)` returns the deliveries of one packet (none when it is dropped, two
when it is duplicated); the caller sends them when they are due. The order of the stages is that of a long path: a
blackout cuts everything, loss strikes before the bottleneck, then the bottleneck's queue, then propagation with jitter.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

# A packet held back on purpose arrives after its successors even when the link has no jitter of its own.
REORDER_HOLD_MIN_MS = 5.0


class Drop(StrEnum):
    """Why a packet does not come out at the other side. Every reason is one counter."""

    LOSS = "loss"
    QUEUE = "queue"
    BLACKOUT = "blackout"
    NO_TARGET = "no_target"
    SCHEDULE_FULL = "schedule_full"
    SEND_FAILED = "send_failed"


@dataclass(frozen=True, slots=True)
class LinkConditions:
    """One direction of a link. Delays in ms, ratios 0-1; the default is a perfect wire."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Uniform extra delay in [0, jitter_ms]; keeps the order unless `reorder_ratio` says otherwise."""
    loss_ratio: float = 0.0
    burst_packets: float = 1.0
    """Mean length of a run of lost packets; 1 is the shortest there is."""
    rate_kbps: float | None = None
    """Bottleneck; None is no bottleneck."""
    queue_ms: float = 200.0
    """What the bottleneck's queue holds, as time at its rate; a packet that finds it full is dropped."""
    reorder_ratio: float = 0.0
    duplicate_ratio: float = 0.0
    corrupt_ratio: float = 0.0
    blackout: bool = False

    def __post_init__(self) -> None:
        for name in ("loss_ratio", "reorder_ratio", "duplicate_ratio", "corrupt_ratio"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is a ratio between 0 and 1, not {value}")
        for name in ("delay_ms", "jitter_ms", "queue_ms"):
            value = getattr(self, name)
            if not 0.0 <= value <= 60_000.0:
                raise ValueError(f"{name} lies between 0 and 60,000 ms, not {value}")
        if not 1.0 <= self.burst_packets <= 10_000.0:
            raise ValueError(f"burst_packets is a mean run length between 1 and 10,000, not {self.burst_packets}")
        if self.rate_kbps is not None and not 1.0 <= self.rate_kbps <= 1e8:
            raise ValueError(f"rate_kbps lies between 1 and 100,000,000, not {self.rate_kbps}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One copy of a packet leaving the link."""

    due: float
    """Monotonic seconds."""
    corrupt_at: int | None = None
    """Index of the byte whose bits are flipped; None leaves the packet whole."""


@dataclass(slots=True)
class DirectionCounters:
    """What one direction has done since the start."""

    offered_packets: int = 0
    offered_bytes: int = 0
    delivered_packets: int = 0
    delivered_bytes: int = 0
    loss_bursts: int = 0
    """Runs of consecutive lost packets; lost packets / runs is the burst length that really happened."""
    ordered_losses: int = 0
    """Of the lost packets, those that `lose_next` had asked for."""
    reordered: int = 0
    duplicated: int = 0
    corrupted: int = 0
    drops: dict[Drop, int] = field(default_factory=lambda: dict.fromkeys(Drop, 0))


class GilbertElliott:
    """Loss in bursts: a good state that loses nothing, a bad state that loses everything.

    Gilbert 1960 with h = 0. The mean stay in the bad state is the burst length B = 1/r, and the stationary share of the
    bad state is the loss ratio p = g/(g + r); hence g = p/(B(1 - p)). A loss ratio that bursts of B cannot reach (g >
    1) lengthens them.
    """

    __slots__ = ("_bad", "_loss_ratio", "_random", "_to_bad", "_to_good")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._bad = False
        self._loss_ratio = 0.0
        self._to_bad = 0.0
        self._to_good = 1.0

    def apply(self, loss_ratio: float, burst_packets: float) -> None:
        """Takes new parameters; the state stays, so a change in the middle of a burst does not end it."""
        self._loss_ratio = loss_ratio
        if loss_ratio >= 1.0:
            return
        burst_packets = max(burst_packets, loss_ratio / (1.0 - loss_ratio))
        self._to_good = 1.0 / burst_packets
        self._to_bad = loss_ratio / (burst_packets * (1.0 - loss_ratio))

    def handle_packet(self) -> bool:
        """True when this packet is lost."""
        if self._loss_ratio <= 0.0:
            self._bad = False
        elif self._loss_ratio >= 1.0:
            self._bad = True
        elif self._bad:
            self._bad = self._random.random() >= self._to_good
        else:
            self._bad = self._random.random() < self._to_bad
        return self._bad


class LinkDirection:
    """One direction of one link: conditions that may change at any time, and the state that carries over."""

    def __init__(self, conditions: LinkConditions, random: Random) -> None:
        self.counters = DirectionCounters()
        self._random = random
        self._loss = GilbertElliott(random)
        self._in_loss_burst = False
        self._lose_next = 0
        self._dark_until = 0.0
        self._last_due = 0.0
        self._bottleneck_free_at = 0.0
        self._conditions = conditions
        self.apply_conditions(conditions)

    @property
    def conditions(self) -> LinkConditions:
        return self._conditions

    def apply_conditions(self, conditions: LinkConditions) -> None:
        """Takes effect with the next packet; packets on their way keep the delay they were given."""
        self._conditions = conditions
        self._loss.apply(conditions.loss_ratio, conditions.burst_packets)

    def apply_changes(self, **changes: float | bool | None) -> LinkConditions:
        """Changes some fields and keeps the rest. Raises ValueError for a value out of range."""
        self.apply_conditions(replace(self._conditions, **changes))  # type: ignore[arg-type]
        return self._conditions

    def lose_next(self, packets: int) -> None:
        """One burst of exactly this length, beginning with the next packet; counted as loss. Raises ValueError."""
        if not 0 <= packets <= 10_000:
            raise ValueError(f"a burst has 0 to 10,000 packets, not {packets}")
        self._lose_next = packets

    def go_dark(self, duration_ms: float, *, now: float) -> None:
        """A blackout that ends by itself. Raises ValueError."""
        if not 0.0 <= duration_ms <= 60_000.0:
            raise ValueError(f"a blackout lasts between 0 and 60,000 ms, not {duration_ms}")
        self._dark_until = now + duration_ms / 1000.0

    def handle_packet(self, size_bytes: int, *, now: float, burst_hits: bool = True) -> list[Delivery]:
        """Decides the fate of one packet that enters now; an empty list is a counted drop.

        A burst that was asked for by `lose_next` passes over packets with `burst_hits` False.
        """
        conditions = self._conditions
        counters = self.counters
        counters.offered_packets += 1
        counters.offered_bytes += size_bytes
        if conditions.blackout or now < self._dark_until:
            return self._drop(Drop.BLACKOUT)
        ordered = burst_hits and self._lose_next > 0
        if ordered or self._loss.handle_packet():
            self._lose_next -= ordered
            counters.ordered_losses += ordered
            if not self._in_loss_burst:
                counters.loss_bursts += 1
            self._in_loss_burst = True
            return self._drop(Drop.LOSS)
        self._in_loss_burst = False

        leaves_at = now
        if conditions.rate_kbps is not None:
            leaves_at = max(now, self._bottleneck_free_at)
            if (leaves_at - now) * 1000.0 > conditions.queue_ms:
                return self._drop(Drop.QUEUE)
            leaves_at += size_bytes * 8.0 / (conditions.rate_kbps * 1000.0)
            self._bottleneck_free_at = leaves_at

        due = leaves_at + conditions.delay_ms / 1000.0
        if conditions.jitter_ms > 0.0:
            due += self._random.random() * conditions.jitter_ms / 1000.0
        if conditions.reorder_ratio > 0.0 and self._random.random() < conditions.reorder_ratio:
            # Held back without moving the order's mark, so that its successors overtake it.
            counters.reordered += 1
            due += max(conditions.jitter_ms, REORDER_HOLD_MIN_MS) / 1000.0
        else:
            due = self._last_due = max(due, self._last_due)

        corrupt_at = None
        if conditions.corrupt_ratio > 0.0 and size_bytes > 0 and self._random.random() < conditions.corrupt_ratio:
            counters.corrupted += 1
            corrupt_at = self._random.randrange(size_bytes)
        deliveries = [Delivery(due, corrupt_at)]
        if conditions.duplicate_ratio > 0.0 and self._random.random() < conditions.duplicate_ratio:
            counters.duplicated += 1
            deliveries.append(Delivery(due))
        return deliveries

    def handle_drop(self, reason: Drop) -> None:
        """The rim could not send or keep the packet."""
        self.counters.drops[reason] += 1

    def handle_delivered(self, size_bytes: int) -> None:
        """One copy has left."""
        self.counters.delivered_packets += 1
        self.counters.delivered_bytes += size_bytes

    def _drop(self, reason: Drop) -> list[Delivery]:
        self.counters.drops[reason] += 1
        return []


class DelayHistogram:
    """Delays in 300 buckets, each a twentieth wider than the one before, from 0.05 ms to about 100 s."""

    BOUNDS_MS: tuple[float, ...] = tuple(0.05 * 1.05**i for i in range(300))

    __slots__ = ("count", "counts", "maximum_ms", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS_MS) + 1)
        self.count = 0
        self.sum_ms = 0.0
        self.maximum_ms = 0.0

    def handle_value(self, value_ms: float) -> None:
        self.counts[bisect_left(self.BOUNDS_MS, value_ms)] += 1
        self.count += 1
        self.sum_ms += value_ms
        self.maximum_ms = max(self.maximum_ms, value_ms)

    def quantile_ms(self, quantile: float) -> float:
        """The upper bound of the bucket that holds the quantile, never above the maximum seen; 0 when empty."""
        rank = quantile * self.count
        seen = 0
        for bound, count in zip((*self.BOUNDS_MS, self.maximum_ms), self.counts, strict=True):
            seen += count
            if count and seen >= rank:
                return min(bound, self.maximum_ms)
        return 0.0
