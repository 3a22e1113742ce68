"""What the brain looks at and what it answers, as plain frozen values. Times are control's monotonic seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

EdgeVerdict = Literal["up", "suspect", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkClaim:
    """What `to_edge` says about packets that arrive from `from_edge`. Ratios are 0-1.

    `one_way_*_raw_ms` is arrival clock minus sender clock, so it may be negative; `utilisation` is of the other
    direction, `to_edge` -> `from_edge`, because only a sender knows its window.
    """

    from_edge: str
    to_edge: str
    measured_by: Literal["probe", "trunk"] = "probe"
    reachable: bool = True
    age_ms: float = 0.0
    rtt_ms: float
    rtt_variance_ms: float = 0.0
    rtt_min_ms: float
    rtt_p50_ms: float
    one_way_p50_raw_ms: float | None = None
    one_way_p95_raw_ms: float | None = None
    jitter_ms: float = 0.0
    loss_2s_ratio: float = 0.0
    packets_2s: int = 0
    loss_30s_ratio: float = 0.0
    packets_30s: int = 0
    loss_10min_ratio: float = 0.0
    packets_10min: int = 0
    mean_burst_packets: float = 1.0
    utilisation: float = 0.0
    # Of `to_edge`'s own probes: what `from_edge`'s echoes prove lost on either way.
    echo_loss_30s_ratio: float = 0.0
    echo_packets_30s: int = 0
    echo_mean_burst_packets: float = 1.0
    received_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeState:
    """One edge as control knows it. Provider and continent serve only to guess a missing tariff."""

    edge_id: str
    region: str = ""
    latitude_degrees: float | None = None
    longitude_degrees: float | None = None
    cpu_ratio: float = 0.0
    egress_utilisation: float = 0.0
    viewers: int = 0
    draining: bool = False
    last_report_at: float = 0.0
    provider: str = ""
    continent: str = ""


@dataclass(frozen=True, slots=True)
class StreamState:
    """A live publication: the directory's newest incarnation of a room, and which edges have it over which path.

    `active_paths` maps an edge to the path its packets take now, from the source to that edge.
    """

    room: str
    incarnation: int
    source_edge: str
    active_paths: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one decision looks at. `tariffs_usd_per_gb` is keyed (sending edge, receiving edge)."""

    edges: tuple[EdgeState, ...]
    claims: tuple[LinkClaim, ...]
    streams: tuple[StreamState, ...]
    tariffs_usd_per_gb: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Route:
    """How `edge_id` reaches a room's source. Paths begin with `edge_id` and end with the source's edge.

    `delay_ms` is one-way, half the round-trip time of the links; `cost_ms` includes loss, load and money.
    `codecs` are the stream's, for edges that do not carry it and are asked for it.
    """

    edge_id: str
    room: str
    incarnation: int
    source_edge: str
    primary: tuple[str, ...]
    backup: tuple[str, ...]
    reason: str
    cost_ms: float
    delay_ms: float
    codecs: tuple[str, ...] = ()

    @property
    def essence(self) -> tuple[object, ...]:
        """What an edge acts on or shows; cost and delay wander and are no news."""
        return self.room, self.incarnation, self.source_edge, self.primary, self.backup, self.reason, self.codecs


@dataclass(frozen=True, slots=True)
class LinkVerdict:
    """One direction of a measured link as it entered the decision; one-way numbers are free of clock offsets."""

    from_edge: str
    to_edge: str
    usable: bool
    one_way_ms: float
    p95_ms: float
    rtt_ms: float
    loss_ratio: float
    utilisation: float
    cost_ms: float
    # Nobody has told this link's tariff: it counts with the mean of the same provider and continent.
    tariff_guessed: bool = False


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Routes of the whole fleet, ordered by edge and room, and what was judged about edges and links on the way."""

    routes: tuple[Route, ...]
    verdicts: Mapping[str, EdgeVerdict]
    links: tuple[LinkVerdict, ...]


@dataclass(frozen=True, slots=True)
class RouteMemory:
    """What has to be remembered about one route between decisions; paths run from the source to the leaf."""

    source_edge: str
    incarnation: int
    path: tuple[str, ...]
    backup: tuple[str, ...]
    moved_at: float
    cost_when_chosen_ms: float
    # Chosen before its links were measured: the first measurement may overrule it at once.
    provisional: bool
    reason: str
    reason_at: float
    # When the leaf got its first route to this source.
    born_at: float
    better_streak: int = 0
    worse_streak: int = 0
    streak_at: float = float("-inf")
    flaps: int = 0
    # The last move left a failure.
    fled: bool = False
    previous_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gain:
    """An edge began to relay a room."""

    room: str
    at: float


@dataclass(frozen=True, slots=True)
class Review:
    """The leaves, as (room, edge), that may move for the tree's sake until the next review."""

    leaves: frozenset[tuple[str, str]] = frozenset()
    at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class BrainState:
    """Carried from one decision to the next. Keys of `routes` are (room, leaf edge)."""

    grace_until: float
    decided_at: float | None = None
    routes: Mapping[tuple[str, str], RouteMemory] = field(default_factory=lambda: MappingProxyType({}))
    # When routes last left a link, for the ten per cent a second: (from, to) -> times within the last second.
    departures: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))
    # Which rooms each edge began to relay within the last minute.
    gains: Mapping[str, tuple[Gain, ...]] = field(default_factory=lambda: MappingProxyType({}))
    review: Review = Review()


@dataclass(frozen=True, slots=True)
class Decision:
    """A table and the state to hand back next time."""

    table: RouteTable
    state: BrainState
