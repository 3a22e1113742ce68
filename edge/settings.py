"""Settings of an edge. `tradewind config edge` prints them with their origin; every one is documented here."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from tradewind.common.settings import Loaded, ProcessSettings, Section, load_settings, parse_flags
from tradewind.common.tokens import decode_public_key

# Bound to these, a socket takes everything; told to others, they mean nothing.
WILDCARDS = ("0.0.0.0", "::")
EDGE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def _edge_id(value: str) -> str:
    if not EDGE_ID.fullmatch(value):
        raise ValueError("an edge id is 1-32 of a-z, 0-9 and -, for example sg or fra-2")
    return value


def _address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if value and (not separator or not host or not port.isdigit() or int(port) > 65535):
        raise ValueError("write host:port, for example 203.0.113.7:7701 or [2001:db8::7]:7701")
    return value


def _ip(value: str) -> str:
    return str(ipaddress.ip_address(value.strip("[]")))


def _url(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^/\s?#]+", value):
        raise ValueError("write http://host:port or https://host, without a path")
    return value


def _check_dialled(host: str, public_address: str) -> None:
    if host.strip("[]") in WILDCARDS and not public_address:
        raise ValueError(f"host {host} is no address that other edges can dial: set public_address")


def _ice_server(value: str) -> str:
    # RFC 7064, RFC 7065. The URL stands between < and > in a header, user and credential between quotation marks.
    url, *credential = value.split(" ")
    plain = all(re.fullmatch(r"[!#-\[\]-~]+", part) for part in credential)
    if not re.fullmatch(r"(stuns?|turns?):[^\s<>\"]+", url) or len(credential) not in (0, 2) or not plain:
        raise ValueError("write stun:host:port or turn:host:port?transport=udp USER CREDENTIAL (or stuns:, turns:)")
    return value


def _public_key(value: str) -> str:
    decode_public_key(value)
    return value


EdgeId = Annotated[str, AfterValidator(_edge_id)]
Address = Annotated[str, AfterValidator(_address)]
IpAddress = Annotated[str, AfterValidator(_ip)]
Url = Annotated[str, AfterValidator(_url)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
IceServer = Annotated[str, AfterValidator(_ice_server)]
Port = Annotated[int, Field(ge=0, le=65535)]
Feature = Literal[
    "gso",
    "nack",
    "cache",
    "failover",
    "trunk_nack",
    "twcc",
    "backup",
    "sound_hold",
    "sender_reports",
    "offer_limits",
]


class Http(Section):
    """Signalling, pages and the room's sockets."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 7780
    """TCP port; 0 takes a free one."""
    public_url: Url = ""
    """How browsers reach this edge, without a path; empty: http:// with the bound address."""
    sdp_max_bytes: Annotated[int, Field(ge=4096, le=1 << 20)] = 65_536
    """Larger WHIP and WHEP bodies are refused with 413 while they arrive. Chromium's largest offer has about 10 KiB."""
    body_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """A body that has not arrived by then is refused with 408."""
    connections_max: Annotated[int, Field(ge=16)] = 20_000
    """Open TCP connections; a request on one more gets 503 and the connection is closed."""
    head_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    """A request whose head has begun and is not complete by then is refused with 408."""
    ice_servers: tuple[IceServer, ...] = ()
    """URLs put into `Link: <…>; rel="ice-server"` of answers (RFC 9725 §4.6), for viewers behind strict firewalls.
    After a space each, user and credential of a TURN server; whoever gets a session sees them, others do not."""

    @model_validator(mode="after")
    def _pages_are_reachable(self) -> Self:
        if self.host.strip("[]") in WILDCARDS and not self.public_url:
            raise ValueError(f"host {self.host} is no address that browsers can open: set public_url")
        return self


class Media(Section):
    """The packet path's sockets and shards."""

    host: tuple[str, ...] = ("127.0.0.1",)
    """Addresses to bind: at most one IPv4 and one IPv6."""
    port: Port = 7700
    """UDP port, the same on every address; 0 takes a free one."""
    announce: tuple[IpAddress, ...] = ()
    """IP addresses in ICE candidates, when they differ from `host` (NAT, 0.0.0.0); empty: those of `host`."""
    shards: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads that forward packets; one per core that the edge may use."""
    pin_cores: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Cores for the shards, in turn; empty leaves the choice to the kernel."""
    max_sessions: Annotated[int, Field(ge=1)] = 20_000
    """Hosts and viewers together; more get 503 with Retry-After."""
    peer_timeout_s: Annotated[float, Field(ge=1, le=30)] = 30.0
    """A host or viewer from whom nothing authentic came for so long is gone. 30 s is the longest that RFC 7675 §5.1
    allows; browsers show themselves every 2.5 s, so below 10 s a bad network looks like an empty chair."""
    disabled_features: tuple[Feature, ...] = ()
    """Mechanisms switched off, to measure what they are worth."""

    @model_validator(mode="after")
    def _candidates_are_reachable(self) -> Self:
        wild = [host for host in self.host if host.strip("[]") in WILDCARDS]
        if wild and not self.announce:
            raise ValueError(f"host {wild[0]} is no address that viewers can send to: set announce to public ones")
        return self


class Trunk(Section):
    """Connections to other edges."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: Port = 7701
    """UDP port; 0 takes a free one."""
    public_address: Address = ""
    """host:port at which other edges reach this trunk; empty: the bound address."""
    window_bytes: Annotated[int, Field(ge=64 * 1024)] = 4 * 1024 * 1024
    """Bytes in flight per trunk: bandwidth × RTT of the fattest one, here 100 Mbit/s × 300 ms."""

    @model_validator(mode="after")
    def _others_can_dial(self) -> Self:
        _check_dialled(self.host, self.public_address)
        return self


class Probe(Section):
    """Path measurements to other edges."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: Port = 7702
    """UDP port; 0 takes a free one."""
    public_address: Address = ""
    """host:port at which other edges reach this prober; empty: the bound address."""

    @model_validator(mode="after")
    def _others_can_dial(self) -> Self:
        _check_dialled(self.host, self.public_address)
        return self


class Metrics(Section):
    """Prometheus text, /livez and /readyz on a port of their own."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 7790
    """TCP port; 0 takes a free one."""


class Control(Section):
    """Where the control plane is. Without `http_url` and `grpc_address` the edge runs alone on static routes."""

    grpc_address: Address = ""
    """host:port of control's gRPC; empty: the one that control named at enrolment."""
    http_url: Url = ""
    """Base URL for enrolment, https://host:port."""
    join_token: SecretStr = SecretStr("")
    """Lets this edge enrol once; not needed when data_dir/identity holds a certificate."""
    certificate_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Hash of control's certificate when the join token does not carry it."""


class PeerAddress(Section):
    """Where one other edge is reached; takes the place of what control says."""

    trunk: Address = ""
    """host:port of its trunk."""
    probe: Address = ""
    """host:port of its prober."""


class StaticRoute(Section):
    """A route for an edge that runs without control."""

    room: str
    """Room name."""
    source_edge: EdgeId
    """Edge where its host is."""
    primary: tuple[EdgeId, ...]
    """From this edge to the source's edge."""
    backup: tuple[EdgeId, ...] = ()
    """Another way, when there is one."""
    incarnation: Annotated[int, Field(ge=0)] = 0
    """0: whichever comes."""


class Mesh(Section):
    """Other edges."""

    peer_addresses: dict[EdgeId, PeerAddress] = Field(default_factory=dict)
    """Overrides of addresses by edge, for example an emulator in front of them."""
    static_routes: tuple[StaticRoute, ...] = ()
    """Routes of an edge without control."""
    keep_last_good: bool = True
    """Routes, the directory of streams and token keys stay in force while control is away, and are read from disk at
    start. Switched off, they are forgotten as soon as control is gone; that shows what they are worth."""
    egress_mbit_per_s: Annotated[float, Field(ge=0)] = 0.0
    """What this machine's uplink carries. Control sends no new streams over an edge that uses 95 % of it; 0: unknown,
    only CPU and trunks count."""
    clock_offset_ms: float = 0.0
    """Shifts this edge's wall clock; for tests of the claim that clock errors change no route."""


class Rooms(Section):
    """Danmaku and who may join."""

    open_rooms: tuple[str, ...] = ()
    """Rooms that need no token, "*" for all. Taken only when http.host is a loopback address."""
    rate_per_s: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Comments per second and person, in the long run. A fast typist finishes a short line in about a second."""
    rate_burst: Annotated[int, Field(ge=1, le=100)] = 5
    """Comments that a person may send at once."""
    room_rate_per_s: Annotated[float, Field(gt=0)] = 100.0
    """Comments per second that one edge takes for one room; a screen shows fewer."""
    text_max_graphemes: Annotated[int, Field(ge=1, le=500)] = 100
    """Length of a comment as a person counts it."""
    text_max_bytes: Annotated[int, Field(ge=4, le=6000)] = 800
    """Length of a comment in UTF-8, which bounds marks stacked on one grapheme."""
    frame_max_bytes: Annotated[int, Field(ge=512, le=65536)] = 8192
    """Larger frames end the socket."""
    batch_ms: Annotated[float, Field(ge=10, le=100)] = 80.0
    """Comments that arrive within this time go to sockets as one frame; the first after a pause goes at once."""
    history_messages: Annotated[int, Field(ge=0, le=500)] = 50
    """Comments replayed to who joins."""
    log_messages: Annotated[int, Field(ge=16, le=500)] = 256
    """Comments kept per room, for those who reconnect and for edges that change their parent."""
    socket_queue_frames: Annotated[int, Field(ge=4)] = 64
    """Frames that wait for one slow socket; one more and it is told to come again (slow_consumer)."""
    people_max: Annotated[int, Field(ge=1)] = 10_000
    """Sockets of one room on this edge; more are refused (room_full)."""
    rooms_max: Annotated[int, Field(ge=1)] = 2_000
    """Rooms with people on this edge at the same time."""
    submit_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    """A comment that has not got its place by then is rejected (unreachable)."""
    hello_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    """A socket that has not said hello by then is closed."""
    idle_timeout_s: Annotated[float, Field(gt=0)] = 90.0
    """A socket from which nothing came for so long is closed; pages ping every 20 s."""


class Tokens(Section):
    """Who may sign access tokens."""

    public_keys: tuple[PublicKey, ...] = ()
    """Ed25519 public keys (32 bytes, base64url), besides those that control pushes."""


class EdgeSettings(ProcessSettings):
    """All settings of an edge."""

    edge_id: EdgeId
    """Name of this edge, unique in the fleet; part of its certificate."""
    region: str = ""
    """Region label for people; empty: the edge id."""
    latitude: Annotated[float, Field(ge=-90, le=90)] = 0.0
    """Where it stands, degrees north; the floor of what light allows."""
    longitude: Annotated[float, Field(ge=-180, le=180)] = 0.0
    """Degrees east."""
    data_dir: Path
    """Lock file, identity, last good routes, ready.json. One process per directory."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log lines written."""
    http: Http = Http()
    media: Media = Media()
    trunk: Trunk = Trunk()
    probe: Probe = Probe()
    metrics: Metrics = Metrics()
    control: Control = Control()
    mesh: Mesh = Mesh()
    rooms: Rooms = Rooms()
    tokens: Tokens = Tokens()

    @property
    def http_is_loopback(self) -> bool:
        """Whether only this machine reaches the HTTP port."""
        try:
            return ipaddress.ip_address(self.http.host.strip("[]")).is_loopback
        except ValueError:
            return self.http.host == "localhost"

    def room_is_open(self, room: str) -> bool:
        """Whether a room may be joined without a token."""
        return self.http_is_loopback and ("*" in self.rooms.open_rooms or room in self.rooms.open_rooms)


def load(path: Path | None, overrides: Sequence[str] = ()) -> Loaded[EdgeSettings]:
    """From a file, the environment and `KEY=VALUE` flags. Raises SettingsInvalid."""
    return load_settings(EdgeSettings, toml_path=path, environ=os.environ, flags=parse_flags(list(overrides)))
