"""The packet path as Python sees it: commands in, events and one stats snapshot out, never a packet."""

from typing import Literal, final

@final
class PeerConfig:
    """Where a neighbouring edge is reached and who it must prove to be."""

    def __init__(self, *, edge_id: str, address: str) -> None: ...
    @property
    def edge_id(self) -> str: ...
    @property
    def address(self) -> str:
        """`host:port` of its trunk socket, or of the emulator in front of it."""

@final
class StreamRoute:
    """How this edge reaches the source of one room. Paths begin with this edge and end with the source's edge."""

    def __init__(
        self, *, room: str, incarnation: int, source_edge: str, primary: list[str], backup: list[str], reason: str
    ) -> None: ...

@final
class DataplaneConfig:
    """Everything the packet path needs to start. Ports may be 0."""

    def __init__(
        self,
        *,
        edge_id: str,
        media_bind: list[str],  # "127.0.0.1:0", "[::]:7700"; at most one IPv4 and one IPv6
        announce: list[str],  # IP addresses put into ICE candidates; the port is the bound one
        shards: int,
        pin_cores: list[int],  # empty: not pinned; shard i goes to pin_cores[i % len]
        trunk_bind: str,
        trunk_certificate_pem: bytes,
        trunk_key_pem: bytes,
        trunk_ca_pem: bytes,
        trunk_window_bytes: int,
        disabled_features: list[str],  # see edge.settings.Media
        max_sessions: int,
        peer_timeout_s: float = 30.0,  # a session whose peer is silent for so long is ended; at most 30
        clock_offset_ms: float = 0.0,  # a wrong clock on trunks, as `mesh.clock_offset_ms` makes one on probes; for tests
    ) -> None: ...

@final
class SessionAnswer:
    """What a WHIP or WHEP POST returns: 201 with this SDP."""

    @property
    def session_id(self) -> int: ...
    @property
    def sdp(self) -> str: ...
    @property
    def ice_ufrag(self) -> str: ...
    @property
    def ice_pwd(self) -> str: ...
    @property
    def left_out(self) -> list[str]: ...  # kinds that a viewer asks for in no codec that is forwarded: audio, video

OFFER_REASONS: tuple[str, ...]
"""Every reason of an `OfferRejected`."""

class OfferRejected(ValueError):
    """The offer cannot be answered. `args == (status, reason, detail)`: HTTP status 400 or 406 (or 503 when full), a
    reason in snake_case that is also the metric label, and a sentence that says what to do."""

class CommandRejected(ValueError):
    """A command cannot be carried out. `args == (reason, detail)`. Route tables that loop or name unknown edges end
    here."""

@final
class Event:
    """Something the packet path wants Python to know. Fields that a kind does not use are None or empty.

    kind               fields
    session_connected  session_id, room, role, srtp_profile, dtls_role, remote_address
    session_first_media session_id, room, role
    session_closed     session_id, room, role, reason
    source_started     room, incarnation, codecs (local publisher has sent its first packet)
    source_stopped     room, incarnation, reason
    source_warning     room, incarnation, reason (key_frame_interval, b_frames)
    source_clock       room, incarnation, media_time_ms (what a local publisher's clock shows, from its sender reports:
                       at first, when it was set, and every 10 s)
    source_seen        room, incarnation, peer (a remote source became available here through peer)
    source_lost        room, incarnation, reason
    trunk_up           peer, remote_address
    trunk_down         peer, reason
    tree_changed       room, incarnation, parent (None at the source's edge), children
    failover           room, incarnation, phase (armed | released | committed), parent, peer, reason
    room_message       room, peer, payload
    """

    kind: str
    session_id: int | None
    room: str
    role: Literal["host", "viewer", ""]
    reason: str
    incarnation: int
    srtp_profile: str
    dtls_role: str
    remote_address: str
    codecs: list[str]
    peer: str | None
    parent: str | None
    children: list[str]
    phase: str
    media_time_ms: int
    payload: bytes

@final
class Dataplane:
    """Starts threads on construction; stops them in `close`. All calls return at once; none holds the loop for long."""

    def __init__(self, config: DataplaneConfig) -> None:
        """Raises OSError (EADDRINUSE and its kin) with the address in the text."""
    @property
    def media_addresses(self) -> list[str]: ...
    @property
    def trunk_address(self) -> str: ...
    @property
    def event_fd(self) -> int:
        """Readable while `poll_events` has something; for `loop.add_reader`."""
    def poll_events(self, limit: int = 256) -> list[Event]: ...
    def publish(self, room: str, offer: bytes, incarnation: int) -> SessionAnswer:
        """Answers a WHIP offer. A second host of the room takes over when its first packet arrives."""
    def view(self, room: str, offer: bytes) -> SessionAnswer:
        """Answers a WHEP offer; before a publisher exists too. The upstream subscription starts now."""
    def check_candidates(self, session_id: int, fragment: bytes) -> None:
        """Validates a trickle PATCH (RFC 9725 §4.3.2). Raises OfferRejected(400|404|412, …)."""
    def close_session(self, session_id: int, reason: str) -> bool:
        """False when no such session is open: a second DELETE."""
    def set_peers(self, peers: list[PeerConfig]) -> None: ...
    def set_routes(self, routes: list[StreamRoute]) -> None:
        """The whole table; raises CommandRejected and keeps the old one when a route loops or names an unknown edge."""
    def set_room_interest(self, room: str, interested: bool) -> None:
        """People are in the room without watching: join its tree for room messages only."""
    def send_room_message(self, room: str, peer: str, payload: bytes) -> None:
        """To a neighbour in the room's tree, on a reliable stream. Queues and returns; raises CommandRejected when the
        trunk is down or too many messages wait."""
    def drain(self) -> None:
        """Refuse new sessions; keep those that are there."""
    def snapshot(self) -> Snapshot: ...
    def render_metrics(self) -> str:
        """Prometheus text of the packet path's own counters, every label value present from the start."""
    def close(self) -> None: ...

@final
class TrunkStats:
    """One direction-pair of one trunk, over the last window; ratios 0-1, times in ms."""

    peer: str
    connected: bool
    rtt_ms: float
    rtt_min_ms: float
    one_way_delay_raw_ms: float  # arrival clock minus sender clock: offsets telescope along a path, never absolute
    one_way_delay_p95_raw_ms: float
    jitter_ms: float
    loss_ratio: float  # 2 s window, by trunk packet number, peer -> us
    loss_ratio_30s: float
    mean_burst_packets: float
    packets_received: int
    packets_lost: int
    bytes_sent: int
    bytes_received: int
    utilisation: float
    media_bytes_sent: int
    backup_bytes_sent: int

@final
class StreamStats:
    """One source as this edge sees it."""

    room: str
    incarnation: int
    local: bool
    parent: str | None
    backup: str | None
    path: list[str]  # from the source to here
    phase: str
    viewers: int
    packets: int
    bytes: int
    packets_lost: int
    packets_recovered: int
    key_frames: int
    codecs: list[str]

@final
class Snapshot:
    """Counters since start, read without stopping the packet path."""

    trunks: list[TrunkStats]
    streams: list[StreamStats]
    sessions: int
    hosts: int
    viewers: int
    drops: dict[str, int]
    cpu_seconds: dict[str, float]  # thread name -> seconds
    packets_sent: int
    packets_received: int
    retransmissions_sent: int
    nacks_received: int
    gso_fallbacks: int
